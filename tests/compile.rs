//! Models compiled ahead of time, linked by a C compiler and run in processes of their own, against the reference.

use egret::ahead::program::{self, Ended};
use egret::ahead::{AheadOptions, Compiled};
use egret::compare::Tolerance;
use egret::ir::{attrs, onnx};
use egret::{DType, ErrorKind, GraphBuilder, Level, Model, Options, Tensor, Type, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the target folder is writable");
    path
}

fn link(c: &Compiled, folder: &Path) {
    program::link(c, folder).unwrap();
}

/// Runs the program on values; its exit code and, if that is 0, its outputs.
fn execute(c: &Compiled, folder: &Path, inputs: &[Value]) -> (i32, Vec<Value>) {
    match program::run(c, folder, inputs, Duration::from_secs(60)).unwrap() {
        Ended::Done(outputs) => (0, outputs),
        Ended::Code(code) => (code, Vec::new()),
        other => panic!("{other:?}"),
    }
}

/// Compiles, links, runs and compares with the reference.
fn check(model: &Model, name: &str, inputs: &[Value]) -> Compiled {
    let mut options = AheadOptions::new(name);
    let given = model.graph().inputs.iter().zip(inputs);
    options.shapes =
        given.map(|(&v, x)| (model.graph().value(v).name.clone(), x.tensor().unwrap().shape().to_vec())).collect();
    let compiled = model.compile_ahead(&options).unwrap_or_else(|e| panic!("{name}: {e}"));
    let folder = folder(name);
    link(&compiled, &folder);
    let (code, got) = execute(&compiled, &folder, inputs);
    assert_eq!(code, 0, "{name}");
    let reference = Options { level: Level::Reference, ..Options::default() };
    let want = model.compile(&reference).unwrap().run(inputs).unwrap();
    for (k, (g, w)) in got.iter().zip(&want).enumerate() {
        Tolerance::NETWORK.compare(g, w).unwrap_or_else(|d| panic!("{name}, output {k}: {}", d.text));
    }
    compiled
}

fn digits() -> Model {
    Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.onnx")).unwrap()
}

fn image(n: usize) -> Value {
    Tensor::from_floats(DType::F32, &[n, 1, 8, 8], (0..64 * n).map(|i| (i * 7 % 17) as f64 / 17.0)).into()
}

#[test]
fn digits_runs_without_egret() {
    for n in [1, 3] {
        let compiled = check(&digits(), &format!("digits_{n}"), &[image(n)]);
        assert_eq!(compiled.outputs[0].shape, [n, 10]);
        assert!(compiled.n_kernels > 0 && compiled.checks.is_empty());
    }
}

#[test]
fn weights_that_do_not_belong_are_refused() {
    let options = AheadOptions { sizes: [("n".to_owned(), 1)].into(), ..AheadOptions::new("digits") };
    let compiled = digits().compile_ahead(&options).unwrap();
    let folder = folder("weights");
    link(&compiled, &folder);
    let file = folder.join("digits.weights");
    let whole = compiled.weights.clone();
    let run = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        execute(&compiled, &folder, &[image(1)]).0
    };
    assert_eq!(run(&whole), 0);
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    // 101 to 103: unreadable, of another model, damaged.
    for (bytes, code) in [
        (flipped(0), 102),
        (flipped(16), 102),
        (flipped(30), 102),
        (flipped(64), 103),
        (flipped(whole.len() - 200), 103),
        (whole[..whole.len() - 1].to_vec(), 103),
        ([&whole[..], &[0]].concat(), 103),
        (whole[..20].to_vec(), 102),
        (Vec::new(), 102),
    ] {
        assert_eq!(run(&bytes), code);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(execute(&compiled, &folder, &[image(1)]).0, 101);
}

#[test]
fn an_index_out_of_range_is_an_error_of_the_run() {
    let mut b = GraphBuilder::new("gather");
    let table = b.input("table", Type::tensor(DType::F32, &[4, 3]));
    let at = b.input("at", Type::tensor(DType::I64, &[2]));
    let y = b.op("Gather", attrs! {}, &[table, at]).unwrap();
    let model = Model::from_graph(b.finish(&[y]));
    let table = Value::from(Tensor::from_floats(DType::F32, &[4, 3], (0..12).map(f64::from)));
    let at = |v: [i64; 2]| Value::from(Tensor::from_slice(&[2], &v));
    let compiled = check(&model, "gather", &[table.clone(), at([3, -4])]);
    assert_eq!(compiled.checks.len(), 1);
    assert!(compiled.checks[0].contains("Gather"), "{:?}", compiled.checks);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile/gather");
    for bad in [[4, 0], [0, -5], [i64::MAX, 0]] {
        assert_eq!(execute(&compiled, &folder, &[table.clone(), at(bad)]).0, 1, "{bad:?}");
    }
}

#[test]
fn outputs_may_be_inputs_and_constants_and_each_other() {
    let mut b = GraphBuilder::new("same");
    let x = b.input("x", Type::tensor(DType::F32, &[5]));
    let y = b.op("Sin", attrs! {}, &[x]).unwrap();
    let c = b.constant(Tensor::from_slice(&[2], &[7i64, 8]));
    check(
        &Model::from_graph(b.finish(&[y, x, c, y])),
        "same",
        &[Tensor::from_slice(&[5], &[1f32, 2.0, 3.0, 4.0, 5.0]).into()],
    );
}

#[test]
fn functions_of_the_runtime_library_are_linked() {
    let mut b = GraphBuilder::new("rare");
    let x = b.input("x", Type::tensor(DType::F64, &[7]));
    let y = b.op("Asinh", attrs! {}, &[x]).unwrap();
    let z = b.op("Pow", attrs! {}, &[y, x]).unwrap();
    let model = Model::from_graph(b.finish(&[z]));
    let x = Tensor::from_slice(&[7], &[0.5f64, 1.0, 1.5, 2.0, 3.0, 4.0, 0.1]);
    let compiled = check(&model, "rare", &[x.into()]);
    assert!(compiled.runtime.iter().any(|f| f == "egret_asinh_f64"), "{:?}", compiled.runtime);
}

#[test]
fn quantised_networks_need_no_float_product() {
    let mut b = GraphBuilder::new("bytes");
    let bytes = |dtype, shape: &[usize], least: i128| {
        let n: usize = shape.iter().product();
        Tensor::from_ints(dtype, shape, (0..n).map(|i| (i * 91 % 256) as i128 + least))
    };
    let (u, i) = (DType::U8, DType::I8);
    let x = b.input("x", Type::tensor(u, &[2, 5, 6, 7]));
    let (w, zw) = (b.constant(bytes(i, &[4, 5, 3, 3], -128)), b.constant(bytes(i, &[4], -3)));
    let (s, sw, zero) = (0.02f32, [0.01f32, 0.02, 0.03, 0.04], 130u8);
    let (s, zero) = (b.constant(Tensor::scalar(s)), b.constant(Tensor::scalar(zero)));
    let (sw, bias) =
        (b.constant(Tensor::from_slice(&[4], &sw)), b.constant(Tensor::from_slice(&[4], &[5i32, -900, 77, 0])));
    let large = b.constant(Tensor::scalar(0.9f32));
    let operands = [x, s, zero, w, sw, zw, large, zero, bias].map(Some);
    let y = b.node("ai.onnx", "QLinearConv", attrs! { pads: vec![1i64, 0, 1, 2] }, &operands, 1).unwrap()[0];
    let m = b.constant(bytes(u, &[7, 3], 0));
    let p =
        b.node("ai.onnx", "QLinearMatMul", attrs! {}, &[y, s, zero, m, s, zero, large, zero].map(Some), 1).unwrap()[0];
    let q = b.op("MatMulInteger", attrs! {}, &[y, m, zero]).unwrap();
    let model = Model::from_graph(b.finish(&[y, p, q]));
    let compiled = check(&model, "bytes", &[bytes(u, &[2, 5, 6, 7], 0).into()]);
    assert!(compiled.runtime.is_empty(), "{:?}", compiled.runtime);
}

#[test]
fn what_needs_egret_at_run_time_is_refused_by_name() {
    let mut b = GraphBuilder::new("nonzero");
    let x = b.input("x", Type::tensor(DType::F32, &[4]));
    let y = b.op("NonZero", attrs! {}, &[x]).unwrap();
    let error = Model::from_graph(b.finish(&[y])).compile_ahead(&AheadOptions::new("m")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("NonZero"), "{error}");
    let error = digits().compile_ahead(&AheadOptions::new("digits")).unwrap_err();
    assert!(error.to_string().contains("input \"image\""), "{error}");
    let error = digits().compile_ahead(&AheadOptions::new("not a name")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn other_targets_are_compiled_too() {
    for target in ["aarch64", "x86_64", "x86_64-v3"] {
        let options =
            AheadOptions { target: target.into(), sizes: [("n".to_owned(), 1)].into(), ..AheadOptions::new("digits") };
        let compiled = digits().compile_ahead(&options).unwrap();
        assert_eq!(&compiled.object[..4], b"\x7fELF");
        // e_machine: EM_AARCH64 is 183, EM_X86_64 62.
        assert_eq!(compiled.object[18], if target == "aarch64" { 183 } else { 62 });
    }
}

/// Models of the zoo beside the repository: each runs as the reference does or is refused with a node's name.
#[test]
fn tiny_models_of_the_zoo_run_or_are_refused_by_name() {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/zoo/tiny");
    let Ok(entries) = std::fs::read_dir(&zoo) else {
        eprintln!("skipped: {} is not there", zoo.display());
        return;
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    let (mut n_run, mut refused) = (0, Vec::new());
    for path in folders {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let Ok(model) = Model::load(path.join("model.onnx")) else { continue };
        let data = path.join("test_data_set_0");
        let read = |(i, ty): (usize, &Type)| {
            let file = data.join(format!("input_{i}.pb"));
            Some(onnx::data::load(&file, ty, &onnx::Limits::default()).ok()?.1)
        };
        let types: Vec<Type> = model.graph().inputs.iter().map(|&v| model.graph().ty(v).clone()).collect();
        let Some(inputs) = types.iter().enumerate().map(read).collect::<Option<Vec<Value>>>() else { continue };
        let mut options = AheadOptions::new("m");
        let shapes = model.graph().inputs.iter().zip(&inputs);
        options.shapes = shapes
            .filter_map(|(&v, x)| Some((model.graph().value(v).name.clone(), x.tensor().ok()?.shape().to_vec())))
            .collect();
        match model.compile_ahead(&options) {
            Ok(_) if n_run < 12 => {
                let id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
                check(&model, &format!("zoo_{id}"), &inputs);
                n_run += 1;
            }
            Ok(_) => {}
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Unsupported, "{name}: {e}");
                refused.push(format!("{name}: {e}"));
            }
        }
    }
    eprintln!("{n_run} models ran; refused:\n{}", refused.join("\n"));
}
