//! Whole models: in, out, and broken.

use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, ModelProto, TensorProto};
use super::testing::*;
use super::{Limits, Model, export, import_bytes, import_file, tensor};
use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::eval::{Env, evaluate};
use crate::graph::ValueId;
use crate::tensor::Tensor;
use crate::value::Value;
use prost::Message;
use std::path::{Path, PathBuf};

fn import(proto: &ModelProto) -> Result<Model> {
    import_bytes(proto.encode_to_vec().into(), None, &Limits::default())
}

fn error(proto: &ModelProto) -> Error {
    import(proto).expect_err("the model must be refused")
}

fn run(model: &Model, args: &[Tensor]) -> Vec<Tensor> {
    let args = args.iter().cloned().map(Value::Tensor).collect();
    let values = evaluate(&model.graph, args, &Env::new(Default::default(), 0)).unwrap();
    values.iter().map(|v| v.tensor().unwrap().clone()).collect()
}

fn types(model: &Model) -> Vec<String> {
    model.graph.outputs.iter().map(|&v| model.graph.ty(v).to_string()).collect()
}

/// Element types and ranks of the results: symbols for what depends on data are numbered anew by each import.
fn kinds(model: &Model) -> Vec<Option<(DType, Option<usize>)>> {
    let tensor = |&v: &ValueId| model.graph.ty(v).as_tensor().map(|t| (t.dtype, t.shape.dims().map(<[_]>::len)));
    model.graph.outputs.iter().map(tensor).collect()
}

fn initialiser(name: &str, tensor: &Tensor) -> TensorProto {
    tensor::to_proto(tensor, name)
}

fn tensor_attr(name: &str, tensor: &Tensor) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(tensor::to_proto(tensor, "")),
        ..AttributeProto::default()
    }
}

fn f32s(values: &[f32]) -> Tensor {
    Tensor::from_slice(&[values.len()], values)
}

/// `y = Relu(x + w)`, `w` an initialiser.
fn small() -> ModelProto {
    let nodes = vec![node("Add", "x w", "s").named("sum"), node("Relu", "s", "y").named("act")];
    let mut g = graph(&[info("x", DType::F32, "batch 2")], nodes, &[info("y", DType::F32, "batch 2")]);
    g.initializer.push(initialiser("w", &f32s(&[1.0, -3.0])));
    model(g, vec![])
}

#[test]
fn a_model_is_typed_and_runs() {
    let m = import(&small()).unwrap();
    assert_eq!(types(&m), ["f32[batch, 2]"]);
    assert_eq!(m.opsets["ai.onnx"], 17);
    let x = Tensor::from_slice(&[1, 2], &[0.5f32, 1.0]);
    assert_eq!(run(&m, &[x]), [Tensor::from_slice(&[1, 2], &[1.5f32, 0.0])]);
}

#[test]
fn a_model_without_shapes_is_typed_as_far_as_it_goes() {
    let mut proto = small();
    proto.graph.as_mut().unwrap().input[0] = bare("x");
    proto.graph.as_mut().unwrap().output[0] = bare("y");
    let m = import(&proto).unwrap();
    assert_eq!(run(&m, &[f32s(&[0.0, 4.0])]), [f32s(&[1.0, 1.0])]);
}

#[test]
fn initialised_inputs_are_defaults_since_ir_version_4() {
    let mut proto = small();
    proto.graph.as_mut().unwrap().input.push(info("w", DType::F32, "2"));
    let mut m = import(&proto).unwrap();
    assert_eq!(m.graph.inputs.len(), 2);
    let w = m.graph.inputs[1];
    assert_eq!(m.graph.value(w).constant, Some(f32s(&[1.0, -3.0])));
    assert_eq!(m.graph.constant(w), None);
    m.bind_defaults();
    assert_eq!((m.graph.inputs.len(), m.graph.constant(w).is_some()), (1, true));
    proto.ir_version = Some(3);
    assert_eq!(import(&proto).unwrap().graph.inputs.len(), 1);
    proto.ir_version = Some(8);
    proto.graph.as_mut().unwrap().input[1] = info("w", DType::F32, "3");
    assert!(error(&proto).message().contains("its default is f32[2]"));
}

#[test]
fn constants_of_all_spellings_become_values() {
    let float = AttributeProto {
        f: Some(2.5),
        r#type: Some(AttributeType::Float.into()),
        ..tensor_attr("value_float", &f32s(&[]))
    };
    let cases = [
        (tensor_attr("value", &f32s(&[1.0])), f32s(&[1.0])),
        (int("value_int", 7), Tensor::scalar(7i64)),
        (ints("value_ints", &[1, 2]), Tensor::from_slice(&[2], &[1i64, 2])),
        (float, Tensor::scalar(2.5f32)),
    ];
    for (attr, want) in cases {
        let dtype = want.dtype();
        let g = graph(&[], vec![node("Constant", "", "c").with(attr)], &[info("c", dtype, "")]);
        let m = import(&model(g, vec![])).unwrap();
        assert_eq!(run(&m, &[]), [want]);
    }
    let g = graph(&[], vec![node("Constant", "", "c").with(int("value", 7))], &[]);
    assert!(error(&model(g, vec![])).message().contains("attribute `value` (an integer) of Constant"));
}

#[test]
fn operators_of_old_opsets_are_raised() {
    let nodes = vec![
        node("Reshape", "x", "r").with(ints("shape", &[2, -1])),
        node("Add", "r b", "s").with(int("broadcast", 1)),
    ];
    let mut g = graph(&[info("x", DType::F32, "4")], nodes, &[bare("s")]);
    g.initializer.push(initialiser("b", &f32s(&[10.0, 20.0])));
    let mut proto = model(g, vec![]);
    proto.opset_import = vec![opset("", 1)];
    let m = import(&proto).unwrap();
    assert_eq!(run(&m, &[f32s(&[1.0, 2.0, 3.0, 4.0])]), [Tensor::from_slice(&[2, 2], &[11.0f32, 22.0, 13.0, 24.0])]);
    proto.opset_import = vec![opset("", 17)];
    let text = error(&proto).to_string();
    assert!(text.contains("node of `r` (Reshape)"), "{text}");
}

#[test]
fn the_nearest_of_opset_10_is_rounded_up_where_an_axis_shrinks() {
    // ONNX's cases of that opset, `resize_downsample_scales_nearest` among them, and axes of both kinds.
    let x: Vec<f32> = (0u8..8).map(f32::from).collect();
    let x = Tensor::from_slice(&[1, 1, 2, 4], &x);
    for (scales, shape, want) in [
        ([1.0, 1.0, 0.6, 0.6], [1, 1, 1, 2], vec![0.0f32, 2.0]),
        ([1.0, 1.0, 1.0, 2.0], [1, 1, 2, 8], vec![0., 0., 1., 1., 2., 2., 3., 3., 4., 4., 5., 5., 6., 6., 7., 7.]),
        ([1.0, 1.0, 1.5, 0.6], [1, 1, 3, 2], vec![0.0, 2.0, 0.0, 2.0, 4.0, 6.0]),
    ] {
        for known in [true, false] {
            let arguments = [info("x", DType::F32, "1 1 2 4"), info("s", DType::F32, "4")];
            let arguments = &arguments[..if known { 1 } else { 2 }];
            let mut g = graph(arguments, vec![node("Resize", "x s", "y")], &[bare("y")]);
            if known {
                g.initializer.push(initialiser("s", &f32s(&scales)));
            }
            let mut proto = model(g, vec![]);
            proto.opset_import = vec![opset("", 10)];
            let m = import(&proto).unwrap();
            let arguments = if known { vec![x.clone()] } else { vec![x.clone(), f32s(&scales)] };
            assert_eq!(run(&m, &arguments), [Tensor::from_slice(&shape, &want)], "{scales:?} {known}");
        }
    }
}

#[test]
fn unread_attributes_and_unknown_operators_are_named() {
    let mut proto = small();
    proto.graph.as_mut().unwrap().node[1].attribute.push(int("slope", 1));
    let text = error(&proto).to_string();
    assert!(text.contains("`slope`") && text.contains("node `act` (Relu)"), "{text}");
    let mut proto = small();
    proto.graph.as_mut().unwrap().node[1].op_type = Some("Rélu".into());
    let text = error(&proto).to_string();
    assert!(text.contains("operator `Rélu` of domain ai.onnx, opset 17") && text.contains("node `act`"), "{text}");
    proto.graph.as_mut().unwrap().node[1].op_type = Some("relu".into());
    assert!(error(&proto).message().contains("it is spelt `Relu`"));
    proto.graph.as_mut().unwrap().node[1].domain = Some("com.example".into());
    assert!(error(&proto).message().contains("no operator of that domain is known"));
    assert_eq!(error(&proto).kind(), ErrorKind::Unsupported);
}

#[test]
fn violations_name_the_constraint_the_node_and_the_operands() {
    let mut proto = small();
    proto.graph.as_mut().unwrap().input[0] = info("x", DType::F32, "batch 3");
    let e = error(&proto);
    let text = e.to_string();
    assert_eq!(e.label(), Some("Add.C2"));
    assert!(text.contains("node `sum` (Add)") && text.contains("f32[batch, 3], f32[2]"), "{text}");
    let mut proto = small();
    proto.graph.as_mut().unwrap().output[0] = info("y", DType::I64, "batch 2");
    assert!(error(&proto).message().contains("the model declares i64[batch, 2]"));
}

#[test]
fn versions_from_the_future_are_refused() {
    let mut proto = small();
    proto.opset_import = vec![opset("ai.onnx", 999)];
    assert_eq!(error(&proto).kind(), ErrorKind::Unsupported);
    let mut proto = small();
    proto.ir_version = Some(99);
    assert_eq!(error(&proto).kind(), ErrorKind::Unsupported);
    let mut proto = small();
    proto.opset_import.clear();
    assert!(error(&proto).message().contains("no version of the standard operators"));
}

#[test]
fn functions_become_their_nodes() {
    let f = function("Double", "x", "y", "", vec![node("Add", "x x", "y")]);
    let nodes =
        vec![node("Double", "x", "t").of_domain("local").named("d"), node("Double", "t", "y").of_domain("local")];
    let m = import(&model(graph(&[info("x", DType::F32, "n")], nodes, &[bare("y")]), vec![f])).unwrap();
    assert_eq!(m.graph.nodes.len(), 2);
    assert_eq!(run(&m, &[f32s(&[1.5])]), [f32s(&[6.0])]);
}

#[test]
fn what_is_exported_reads_back_the_same() {
    let mut proto = small();
    proto.metadata_props.push(super::proto::StringStringEntryProto { key: Some("k".into()), value: Some("v".into()) });
    let m = import(&proto).unwrap();
    let bytes = export(&m).unwrap();
    let file = ModelProto::decode(&bytes[..]).unwrap();
    assert_eq!(file.opset_import[0].version(), 13);
    assert_eq!(file.opset_import[0].version(), crate::version::opset(&m.graph));
    assert_eq!(file.ir_version(), 7);
    let back = import_bytes(bytes.into(), None, &Limits::default()).unwrap();
    assert_eq!(back.metadata, m.metadata);
    assert_eq!(types(&back), types(&m));
    let x = Tensor::from_slice(&[2, 2], &[0.5f32, 1.0, 7.0, 8.0]);
    assert_eq!(run(&back, std::slice::from_ref(&x)), run(&m, &[x]));
    assert_eq!(
        export(&back).unwrap(),
        export(&import_bytes(export(&back).unwrap().into(), None, &Limits::default()).unwrap()).unwrap()
    );
}

#[test]
fn names_stay_unique_and_those_of_arguments_stay() {
    let mut m = import(&small()).unwrap();
    for value in &mut m.graph.values {
        value.name = "x".into();
    }
    let file = ModelProto::decode(&export(&m).unwrap()[..]).unwrap();
    assert_eq!(file.graph.as_ref().unwrap().input[0].name(), "x");
    assert_eq!(types(&import(&file).unwrap()), ["f32[batch, 2]"]);
}

#[test]
fn large_weights_go_beside_the_model() {
    let folder = std::env::temp_dir().join(format!("egret-export-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("m.onnx");
    let mut proto = small();
    super::export::move_out(&mut proto, &path, 1).unwrap();
    assert!(proto.graph.as_ref().unwrap().initializer[0].raw_data.is_none());
    std::fs::write(&path, proto.encode_to_vec()).unwrap();
    let m = import_file(&path, &Limits::default()).unwrap();
    assert_eq!(
        run(&m, &[f32s(&[0.0, 4.0])].map(|t| t.reshaped(&[1, 2]).unwrap())),
        [Tensor::from_slice(&[1, 2], &[1.0f32, 1.0])]
    );
    assert!(import_bytes(proto.encode_to_vec().into(), None, &Limits::default()).is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

/// Bytes changed, cut and doubled at random: an error or a model, never a panic. A sweep of 4,000 takes a second.
#[test]
fn broken_bytes_are_errors() {
    let f = function("Leak", "x", "y", "a", vec![node("Relu", "x", "t"), node("Add", "t x", "y")]);
    let branch = || graph(&[], vec![node("Relu", "x", "r")], &[bare("r")]);
    let choose = node("If", "c", "z").with(body("then_branch", branch())).with(body("else_branch", branch()));
    let nodes =
        vec![node("Leak", "x", "y").of_domain("local"), choose, node("Concat", "y w", "out").with(int("axis", 0))];
    let mut g = graph(&[info("x", DType::F32, "n"), info("c", DType::Bool, "")], nodes, &[bare("out"), bare("z")]);
    g.initializer.push(initialiser("w", &f32s(&[1.0, -3.0])));
    let seed = model(g, vec![f]).encode_to_vec();
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..4000 {
        let mut bytes = seed.clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let from = random(bytes.len());
                    let piece = bytes[at.min(from)..at.max(from)].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        if let Ok(m) = import_bytes(bytes.into(), None, &Limits::default()) {
            export(&m).unwrap();
        }
    }
}

/// Models beside the repository, where they are: each loads, or names an operator that is not there yet.
#[test]
fn published_architectures_load() {
    let Some(zoo) =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|p| p.join("shared/zoo/tiny")).find(|p| p.is_dir())
    else {
        return;
    };
    let mut models: Vec<PathBuf> =
        std::fs::read_dir(zoo).unwrap().map(|e| e.unwrap().path().join("model.onnx")).collect();
    models.sort();
    let mut refused = Vec::new();
    for path in models.iter().filter(|p| p.is_file()) {
        match import_file(path, &Limits::default()) {
            Ok(m) => {
                let back = import_bytes(export(&m).unwrap().into(), None, &Limits::default()).unwrap();
                assert_eq!(back.graph.nodes.len(), m.graph.nodes.len(), "{}", path.display());
                assert_eq!(kinds(&back), kinds(&m), "{}", path.display());
            }
            Err(e) => refused.push(e),
        }
    }
    let wrong: Vec<_> = refused.iter().filter(|e| !e.message().starts_with("operator `")).collect();
    assert!(wrong.is_empty(), "{} of {} models: {wrong:#?}", wrong.len(), models.len());
}
