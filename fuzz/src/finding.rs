//! A finding as a folder that stands for itself: the smallest model, its inputs and expected outputs in the layout of
//! ONNX's backend tests, the graph as text, a script that needs only the failing runtime and numpy, and what was seen.

use crate::bounds::Silent;
use crate::check::{Failure, Kind, allowed, silent_at, system_of};
use crate::generate::{Case, Run};
use crate::memcheck::Memcheck;
use crate::runtime::file;
use anyhow::{Context, Result};
use egret_ir::onnx::{self, Limits, data};
use egret_ir::{DType, Tensor, Type, Value};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes the folder `parent/name` of a finding.
///
/// # Errors
/// When a file cannot be written.
pub fn write(parent: &Path, name: &str, case: &Case, failure: &Failure, found: &serde_json::Value) -> Result<PathBuf> {
    let folder = parent.join(name);
    write_case(&folder, case, &format!("// {}\n", one_line(failure)))?;
    // A release that takes what another refuses is right within rounding too.
    if matches!(failure.kind, Kind::Wrong | Kind::Refused) {
        write_errors(&folder, case, silent_at(&failure.stage))?;
    }
    std::fs::write(folder.join("reproduce.py"), script(failure, is_plain(case)))?;
    let report = json!({
        "stage": failure.stage,
        "kind": failure.kind.name(),
        "text": failure.text,
        "cause": failure.cause(&case.graph),
        "opset": case.opset,
        "nodes": case.graph.nodes.iter().map(|n| n.op.def().name).collect::<Vec<_>>(),
        "found": found,
    });
    std::fs::write(folder.join("finding.json"), format!("{report:#}\n"))?;
    Ok(folder)
}

/// Writes a case alone into `folder`: the model, a `test_data_set_K` of inputs and expected outputs for each run, and the graph
/// as text behind `head`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_case(folder: &Path, case: &Case, head: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(folder.join("model.onnx"), &*file(case)?)?;
    let others = case.others.iter().map(|run| (&run.inputs, &run.outputs));
    for (k, (inputs, outputs)) in std::iter::once((&case.inputs, &case.outputs)).chain(others).enumerate() {
        let set = folder.join(format!("test_data_set_{k}"));
        std::fs::create_dir_all(&set).with_context(|| set.display().to_string())?;
        let named = [("input", &case.graph.inputs, inputs), ("output", &case.graph.outputs, outputs)];
        for (stem, ids, values) in named {
            for (k, (v, value)) in ids.iter().zip(values).enumerate() {
                data::save(&set.join(format!("{stem}_{k}.pb")), &case.graph.value(*v).name, value)?;
            }
        }
    }
    std::fs::write(folder.join("graph.gir"), format!("{head}{}", egret_ir::text::print_full(&case.graph)))?;
    Ok(())
}

/// Writes the error that each element of an output may have as `allowed_J.pb` into each data set of a case's folder, NaN
/// where any element is right: the specification leaves it open. This follows the error of every call through the graph, which
/// takes far longer than its run.
///
/// # Errors
/// When a file cannot be written.
pub fn write_allowed(folder: &Path, case: &Case) -> Result<()> {
    write_errors(folder, case, Silent::Open)
}

fn write_errors(folder: &Path, case: &Case, silent: Silent) -> Result<()> {
    for (k, run) in case.runs().iter().enumerate() {
        for (j, (value, allowed)) in run.outputs.iter().zip(allowed(run, silent)).enumerate() {
            let shape = value.tensor().map_or(Vec::new(), |t| t.shape().to_vec());
            let allowed = Tensor::from_floats(DType::F64, &shape, allowed);
            let path = folder.join(format!("test_data_set_{k}/allowed_{j}.pb"));
            data::save(&path, &case.graph.value(case.graph.outputs[j]).name, &allowed.into())?;
        }
    }
    Ok(())
}

fn one_line(failure: &Failure) -> String {
    format!("{}: {}: {}", failure.stage, failure.kind.name(), failure.text.replace('\n', " "))
}

/// The script, without how the runtime is asked.
const TEMPLATE: &str = include_str!("../workers/reproduce.py");

/// How OpenVINO is asked: in one thread, as by the worker. Ports may lose an argument's name; they are in the order of arguments.
const OPENVINO: &str = r#"
import openvino

config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
compiled = openvino.Core().compile_model(here + "/model.onnx", "CPU", config)


def run(feeds):
    ports = compiled.inputs
    named = all(p.get_any_name() in feeds for p in ports)
    out = compiled([feeds[p.get_any_name()] for p in ports] if named else list(feeds.values()))
    return [out[i] for i in range(len(compiled.outputs))]
"#;

/// How MNN is asked: in one thread, as by the worker, with 32-bit integers for those of 64 bits.
const MNN: &str = r#"
import subprocess

import MNN.expr
import MNN.nn

# The converter in a process of its own, because it may die; not the program `mnnconvert`, which reports to its maker.
convert = "import sys, _tools; _tools.mnnconvert(sys.argv)"
options = ["-f", "ONNX", "--modelFile", here + "/model.onnx", "--MNNModel", here + "/model.mnn", "--bizCode", "egret"]
subprocess.run([sys.executable, "-c", convert, *options], cwd=here, check=True)
graph = onnx.load(here + "/model.onnx").graph
inputs = [i.name for i in graph.input if i.name not in {t.name for t in graph.initializer}]
outputs = [o.name for o in graph.output]
dtypes = [onnx.helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type) for o in graph.output]
manager = MNN.nn.create_runtime_manager(({"backend": 0, "precision": "high", "numThread": 1},))
net = MNN.nn.load_module_from_file(here + "/model.mnn", inputs, outputs, runtime_manager=manager)
kinds = {"float32": MNN.expr.float, "uint8": MNN.expr.uint8, "int8": MNN.expr.int8}


def fed(array):
    array = array.astype("int32") if array.dtype.name in ("int64", "bool") else array
    # Arrays of `int8` are not taken, lists are.
    values = array.ravel().tolist() if array.dtype.name == "int8" else array
    return MNN.expr.const(values, list(array.shape), MNN.expr.NCHW, kinds.get(array.dtype.name, MNN.expr.int))


def typed(array, dtype):
    """Its integers of 32 bits stand for those of 64 bits and for truth values; another type is another."""
    stands = array.dtype == numpy.int32 and numpy.dtype(dtype).kind in "iub"
    return array.astype(dtype) if stands and (numpy.dtype(dtype) != bool or ((array == 0) | (array == 1)).all()) else array


def run(feeds):
    results = [MNN.expr.convert(v, MNN.expr.NCHW) for v in net.forward([fed(feeds[n]) for n in inputs])]
    if len(results) < len(outputs):
        raise SystemExit("MNN gives no results")
    # A result without elements cannot be read; it has a shape.
    return [numpy.zeros(r.shape, t) if 0 in r.shape else typed(r.read(), t) for r, t in zip(results, dtypes)]
"#;

/// Whether values have element types that numpy has: others cross the border as bits, which the worker knows.
fn is_plain(case: &Case) -> bool {
    case.inputs.iter().chain(&case.outputs).all(|v| v.tensor().is_ok_and(|t| is_numpys(t.dtype())))
}

fn is_numpys(dtype: DType) -> bool {
    use DType::{Bool, F16, F32, F64, I8, I16, I32, I64, String, U8, U16, U32, U64};
    matches!(dtype, Bool | F16 | F32 | F64 | I8 | I16 | I32 | I64 | String | U8 | U16 | U32 | U64)
}

/// A script that shows the failure by itself. For Egret, and for systems that only it knows to drive, or values that only it
/// does (not `plain`): the command that does.
fn script(failure: &Failure, plain: bool) -> String {
    let run = match system_of(&failure.stage) {
        // Only what counts memcheck's errors knows which of them are the runtime's.
        system if failure.kind == Kind::Memory => {
            let memcheck = Memcheck::that_shows(&failure.text).name();
            driven(system, &format!(", \"--memcheck={memcheck}\""))
        }
        system if !plain && system != "egret" => driven(system, ""),
        system @ ("onnxruntime" | "onnxruntime-unoptimised") => {
            let level = if system.ends_with("unoptimised") { "ORT_DISABLE_ALL" } else { "ORT_ENABLE_ALL" };
            format!(
                "import onnxruntime\n\noptions = onnxruntime.SessionOptions()\noptions.graph_optimization_level = \
                 onnxruntime.GraphOptimizationLevel.{level}\nsession = onnxruntime.InferenceSession(here + \
                 \"/model.onnx\", options, providers=[\"CPUExecutionProvider\"])\n\n\ndef run(feeds):\n    return session.run(None, feeds)\n"
            )
        }
        "openvino" => OPENVINO.to_owned(),
        "mnn" => MNN.to_owned(),
        "egret" => "import subprocess\n\nraise SystemExit(max(subprocess.run([\"egret\", \"check\", here + \"/model.onnx\", \"--data\", \
              s]).returncode for s in sets))\n"
            .to_owned(),
        other => driven(other, ""),
    };
    let summary = one_line(failure).replace('\\', "\\\\").replace("\"\"\"", "'''");
    let grows = if failure.kind == Kind::Grows { "True" } else { "False" };
    TEMPLATE.replace("@GROWS@", grows).replace("@RUN@", run.trim()).replace("@SUMMARY@", &summary)
}

/// Has Egret drive the system, with more options as Python's arguments.
fn driven(system: &str, options: &str) -> String {
    // A JSON string is one of Python too.
    let system = json!(system);
    format!(
        "import subprocess\n\nraise SystemExit(subprocess.run([\"egret\", \"fuzz\", \"repro\", here, \"--system\", {system}, \
         \"--python\", sys.executable{options}]).returncode)\n"
    )
}

/// Reads the case of a finding back.
///
/// # Errors
/// When a file is missing or wrong.
pub fn read(folder: &Path) -> Result<Case> {
    let file = std::fs::read(folder.join("model.onnx"))?;
    let graph = onnx::import_bytes(file.clone().into(), Some(folder), &Limits::default())?.graph;
    let values = |set: usize, stem: &str, n: usize| -> Result<Vec<Value>> {
        let one = |k: usize| {
            let path = folder.join(format!("test_data_set_{set}/{stem}_{k}.pb"));
            Ok(data::load(&path, &Type::Unknown, &Limits::default())?.1)
        };
        (0..n).map(one).collect()
    };
    let mut runs = Vec::new();
    while runs.is_empty() || folder.join(format!("test_data_set_{}", runs.len())).is_dir() {
        let set = runs.len();
        let inputs = values(set, "input", graph.inputs.len())?;
        runs.push(Run { inputs, outputs: values(set, "output", graph.outputs.len())? });
    }
    let Run { inputs, outputs } = runs.remove(0);
    Ok(Case { graph, inputs, outputs, others: runs, file: Some(Arc::new(file)), opset: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_drives_the_system_that_failed() {
        let script =
            |stage: &str| script(&Failure { stage: stage.into(), kind: Kind::Wrong, text: String::new() }, true);
        assert!(script("egret: after fold").contains(r#""egret", "check""#));
        assert!(script("onnxruntime-unoptimised").contains("ORT_DISABLE_ALL"));
        assert!(script("onnxruntime").contains("ORT_ENABLE_ALL"));
        assert!(script("mnn").contains("import MNN"));
        assert!(script("egret-ahead").contains(r#""--system", "egret-ahead""#));
        let memory = Failure { stage: "torch".into(), kind: Kind::Memory, text: "Invalid read at f".into() };
        assert!(super::script(&memory, true).contains(r#", "--memcheck=addresses""#));
        assert!(script("torch").contains(r#""--system", "torch""#));
        assert!(script("worker:run me --fast").contains(r#""--system", "worker:run me --fast""#));
    }
}
