//! Every test, narrow ones first: what cargo runs, then the built `egret` on ONNX's conformance cases, mutated models and the
//! networks.
//!
//! All of it uses the cargo profile `ci` (see `Cargo.toml`), so one build serves the tests and the program under test.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::Cmd;
use crate::report::{Count, Outcome, Report};
use crate::{cases, paths};

/// The cargo profile of every build for tests.
pub(crate) const PROFILE: &str = "ci";

/// Features of every build for tests: with the fuzzer. Not all features: `libfuzzer` would build a C++ library for programs
/// that only `cargo fuzz` can start.
pub(crate) const FEATURES: &str = "egret/fuzz";

/// Mutated models: enough to notice a hole, few enough for seconds.
const MUTANTS: &str = "500";

/// Generated graphs: some twenty seconds.
const GRAPHS: &str = "1000";

/// Generated graphs for ONNX Runtime, half a minute, of operators that networks are made of: what is known of it as a bug or a
/// limit (`fuzz/known`) is left out, so that anything found is new.
const SHARED_GRAPHS: &str = "300";

const SHARED: &str = "\
    Abs,Add,And,ArgMax,AveragePool,Cast,Clip,Concat,Conv,ConvInteger,ConvTranspose,CumSum,DepthToSpace,\
    DequantizeLinear,Div,DynamicQuantizeLinear,Einsum,Elu,Equal,Erf,Exp,Expand,Flatten,GRU,Gather,GatherElements,\
    GatherND,Gelu,Gemm,GlobalAveragePool,Greater,GroupNormalization,HardSwish,InstanceNormalization,LSTM,\
    LayerNormalization,LeakyRelu,Less,Log,LogSoftmax,MatMul,MatMulInteger,Max,MaxPool,Min,Mul,Neg,NonZero,Not,Or,\
    Pad,Pow,QLinearConv,QLinearMatMul,QuantizeLinear,Range,ReduceMax,ReduceMean,ReduceMin,ReduceProd,ReduceSum,Relu,\
    Reshape,Resize,ScatterElements,ScatterND,Shape,Sigmoid,Slice,Softmax,SpaceToDepth,Split,Sqrt,Squeeze,Sub,Tanh,\
    Tile,TopK,Transpose,Unsqueeze,Where";

/// `cargo xtask test`.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    cases::run(report)?;
    let cmd =
        Cmd::cargo().args(["test", "--workspace", "--no-fail-fast", "--profile", PROFILE, "--features", FEATURES]);
    counted(report, "cargo test", &cmd, Count::from_cargo_test)?;
    let onnx = paths::onnx_cases()?;
    let small = ["node", "simple", "pytorch-converted", "pytorch-operator"].map(|kind| onnx.join(kind));
    conform(report, "conformance", "reference,native", &small)?;
    runtime_cases(report)?;
    operators(report)?;
    let mutants = ["fuzz", "mutate", "--count", MUTANTS, "--out"];
    let mutate =
        Cmd::new(egret()?).args(mutants).arg(paths::target()?.join("mutants")).arg("models").arg(onnx.join("node"));
    counted(report, "mutated models", &mutate, Count::from_conform)?;
    let campaign = Cmd::new(egret()?).args(["fuzz", "run", "--count", GRAPHS]);
    counted(report, "generated graphs", &campaign, Count::from_campaign)?;
    // Infinities and numbers near overflow are where kernels of other processors differ.
    let others =
        ["fuzz", "run", "--system", "onnxruntime", "--ordinary", "--control-flow", "0", "--count", SHARED_GRAPHS];
    let others = Cmd::new(egret()?).args(others).arg("--ops").arg(SHARED).arg("--python").arg(paths::venv_python());
    counted(report, "generated graphs in onnxruntime", &others, Count::from_campaign)?;
    conform(report, "attention of onnxruntime", "reference,native", &[paths::contrib_cases()?])?;
    // The plain loops of the reference would take minutes for networks of full size.
    conform(report, "networks of onnx", "native", &[onnx.join("light")])?;
    let zoo = paths::root().join("../shared/zoo/tiny");
    if zoo.is_dir() {
        let check = Cmd::new(egret()?).arg("check").arg(&zoo);
        counted(report, "stages of networks", &check, Count::from_conform)?;
        return conform(report, "networks of papers", "reference,native", &[zoo]);
    }
    report.step("networks of papers", "cargo xtask test", || Ok(Outcome::Skipped("no ../shared/zoo/tiny".to_owned())))
}

/// Single-node cases of the operators that ONNX has no cases of, answered by ONNX Runtime.
fn runtime_cases(report: &mut Report) -> Result<()> {
    let folder = paths::target()?.join("runtime-cases");
    let script = Cmd::new(paths::venv_python()).arg("tests/python/runtime_cases.py").arg("--out").arg(&folder);
    report.step("cases of onnxruntime", &script.to_string(), || script.run().map(|()| Outcome::Done))?;
    conform(report, "operators of onnxruntime", "reference,native", &[folder])
}

/// Compares the operators with the schemas of the onnx package.
fn operators(report: &mut Report) -> Result<()> {
    let egret = egret()?;
    let cmd = Cmd::new(paths::venv_python())
        .args(["tests/python/missing_operators.py", "--manifest", "tests/conformance/operators.txt", "--egret"])
        .arg(egret);
    counted(report, "operators of onnx", &cmd, Count::from_conform)
}

/// The program that the tests of the root package have just built.
fn egret() -> Result<PathBuf> {
    Ok(paths::target()?.join(PROFILE).join("egret"))
}

/// Runs the built `egret` on folders of test cases. Cases that are known to fail are listed with the reason in
/// `tests/conformance/<name of the step, with dashes>.txt`, where there is such a file.
fn conform(report: &mut Report, name: &'static str, levels: &str, folders: &[PathBuf]) -> Result<()> {
    let mut cmd = Cmd::new(egret()?).args(["conform", "--level", levels]);
    let manifest = format!("tests/conformance/{}.txt", name.replace(' ', "-"));
    if paths::root().join(&manifest).is_file() {
        cmd = cmd.args(["--manifest", &manifest]);
    }
    counted(report, name, &cmd.args(folders), Count::from_conform)
}

/// Runs a step whose output says how many tests passed.
pub(crate) fn counted(
    report: &mut Report,
    name: &'static str,
    cmd: &Cmd,
    count: fn(&str) -> Option<Count>,
) -> Result<()> {
    report.tests(name, &cmd.to_string(), || {
        let (count, outcome) = cmd.run_counting(count);
        (Outcome::Tested(count), outcome)
    })
}
