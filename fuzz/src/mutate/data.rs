//! Changes of types, extents, tensors and texts.

use super::{Change, any_graph, any_node, odd_int, odd_text};
use crate::random::Random;
use egret_ir::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use egret_ir::onnx::proto::{
    GraphProto, ModelProto, SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_proto, type_proto,
};

/// Every change, by name.
pub(super) const CHANGES: &[(&str, Change)] = &[
    ("extent", extent),
    ("extent", extent),
    ("extents scaled", extents_scaled),
    ("rank", rank),
    ("element type", element_type),
    ("element type", element_type),
    ("type", whole_type),
    ("deep type", deep_type),
    ("no types", no_types),
    ("declared inside", declared_inside),
    ("tensor", tensor),
    ("tensor", tensor),
    ("tensor", tensor),
    ("tensor element", tensor_element),
    ("tensor element", tensor_element),
    ("tensor element", tensor_element),
    ("constant as input", constant_as_input),
    ("input as constant", input_as_constant),
    ("external data", external),
    ("sparse", sparse),
    ("name", name),
];

fn declared<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut TypeProto> {
    let graph = any_graph(model, random)?;
    let list = match random.below(4) {
        0 => &mut graph.output,
        1 => &mut graph.value_info,
        _ => &mut graph.input,
    };
    random.pick_mut(list)?.r#type.as_mut()
}

fn tensor_type<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut type_proto::Tensor> {
    match declared(model, random)?.value.as_mut()? {
        type_proto::Value::TensorType(t) => Some(t),
        _ => None,
    }
}

fn any_extent(random: &mut Random) -> Dimension {
    let value = match random.below(6) {
        0 => Some(dimension::Value::DimParam(odd_text(random))),
        1 => None,
        2 => Some(dimension::Value::DimValue(random.below(9) as i64)),
        _ => Some(dimension::Value::DimValue(odd_int(random))),
    };
    Dimension { value, denotation: None }
}

fn extent(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(dims) = tensor_type(model, random).and_then(|t| t.shape.as_mut()) else { return false };
    let new = any_extent(random);
    random.pick_mut(&mut dims.dim).map(|d| *d = new).is_some()
}

/// One number becomes another wherever it is an extent or an element of a small integer tensor, so that types still agree.
fn extents_scaled(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = model.graph.as_mut() else { return false };
    let mut numbers: Vec<i64> = graph.input.iter().flat_map(extents).collect();
    numbers.sort_unstable();
    let Some(&from) = random.pick(&numbers) else { return false };
    let to = [0, 1, 17, 1000, 1 << 12, 1 << 16, 1 << 20, 1 << 31, 1 << 40][random.below(9)];
    for info in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        let Some(type_proto::Value::TensorType(t)) = info.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
            continue;
        };
        for d in t.shape.iter_mut().flat_map(|s| &mut s.dim) {
            if d.value == Some(dimension::Value::DimValue(from)) {
                d.value = Some(dimension::Value::DimValue(to));
            }
        }
    }
    for t in graph.initializer.iter_mut().filter(|t| t.data_type() == INT64) {
        if let Some(raw) = &t.raw_data {
            let mut bytes = raw.to_vec();
            for chunk in bytes.chunks_exact_mut(8).filter(|c| **c == from.to_le_bytes()) {
                chunk.copy_from_slice(&to.to_le_bytes());
            }
            t.raw_data = Some(bytes.into());
        }
    }
    from != to
}

const INT64: i32 = 7;

fn extents(info: &ValueInfoProto) -> Vec<i64> {
    let Some(type_proto::Value::TensorType(t)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Vec::new();
    };
    let number = |d: &Dimension| match d.value {
        Some(dimension::Value::DimValue(n)) => Some(n),
        _ => None,
    };
    t.shape.iter().flat_map(|s| &s.dim).filter_map(number).collect()
}

fn rank(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(t) = tensor_type(model, random) else { return false };
    let shape = t.shape.get_or_insert_with(TensorShapeProto::default);
    match random.below(5) {
        0 => t.shape = None,
        1 => shape.dim.clear(),
        2 => drop(shape.dim.pop()),
        3 => shape.dim.push(any_extent(random)),
        _ => {
            let one = Dimension { value: Some(dimension::Value::DimValue(1)), denotation: None };
            shape.dim.extend(vec![one; [3, 40, 300, 5000][random.below(4)]]);
        }
    }
    true
}

fn element_code(random: &mut Random) -> i32 {
    if random.one_in(12) { odd_int(random) as i32 } else { random.below(30) as i32 }
}

fn element_type(model: &mut ModelProto, random: &mut Random) -> bool {
    let code = element_code(random);
    tensor_type(model, random).map(|t| t.elem_type = Some(code)).is_some()
}

fn wrapped(inner: TypeProto, random: &mut Random) -> TypeProto {
    let inner = Some(Box::new(inner));
    let value = match random.below(3) {
        0 => type_proto::Value::SequenceType(Box::new(type_proto::Sequence { elem_type: inner })),
        1 => type_proto::Value::OptionalType(Box::new(type_proto::Optional { elem_type: inner })),
        _ => type_proto::Value::MapType(Box::new(type_proto::Map { key_type: Some(INT64), value_type: inner })),
    };
    TypeProto { value: Some(value), denotation: None }
}

fn whole_type(model: &mut ModelProto, random: &mut Random) -> bool {
    let how = random.below(5);
    let Some(ty) = declared(model, random) else { return false };
    *ty = match how {
        0 => TypeProto::default(),
        1 => TypeProto { value: Some(type_proto::Value::OpaqueType(type_proto::Opaque::default())), denotation: None },
        2 => {
            let sparse = type_proto::SparseTensor { elem_type: Some(1), shape: None };
            TypeProto { value: Some(type_proto::Value::SparseTensorType(sparse)), denotation: None }
        }
        _ => wrapped(ty.clone(), random),
    };
    true
}

fn deep_type(model: &mut ModelProto, random: &mut Random) -> bool {
    let depth = [3, 12, 30, 44, 80][random.below(5)];
    let Some(ty) = declared(model, random) else { return false };
    for _ in 0..depth {
        *ty = wrapped(std::mem::take(ty), random);
    }
    true
}

fn no_types(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    graph.value_info.clear();
    graph.output.iter_mut().for_each(|o| o.r#type = None);
    if random.one_in(3) {
        graph.input.iter_mut().for_each(|o| o.r#type = None);
    }
    true
}

/// Says something of a value that the nodes may contradict.
fn declared_inside(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let Some(name) = random.pick(&graph.node).and_then(|n| n.output.first().cloned()) else { return false };
    let shape = TensorShapeProto { dim: (0..random.below(5)).map(|_| any_extent(random)).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(element_code(random)), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None };
    let info = ValueInfoProto { name: Some(name), r#type: Some(ty), ..ValueInfoProto::default() };
    if random.one_in(2) {
        graph.output.push(info)
    } else {
        graph.value_info.push(info)
    }
    true
}

/// A tensor of the model: initialiser or attribute.
fn any_tensor<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut TensorProto> {
    if random.one_in(4) {
        let node = any_node(model, random)?;
        return node.attribute.iter_mut().find_map(|a| a.t.as_mut());
    }
    let graph = any_graph(model, random)?;
    random.pick_mut(&mut graph.initializer)
}

fn tensor(model: &mut ModelProto, random: &mut Random) -> bool {
    match any_tensor(model, random) {
        Some(t) => change_tensor(t, random),
        None => false,
    }
}

/// Changes one field of a tensor, so that its fields may contradict each other.
pub(super) fn change_tensor(t: &mut TensorProto, random: &mut Random) -> bool {
    match random.below(8) {
        0 => {
            let new = odd_int(random);
            let Some(d) = random.pick_mut(&mut t.dims) else { return false };
            *d = new;
        }
        1 => t.dims.push(odd_int(random)),
        2 => return t.dims.pop().is_some(),
        3 => t.data_type = Some(element_code(random)),
        4 => {
            let Some(raw) = &t.raw_data else { return false };
            t.raw_data = Some(raw.slice(..random.below(raw.len())));
        }
        5 => {
            let mut bytes = t.raw_data.as_ref().map(|b| b.to_vec()).unwrap_or_default();
            bytes.extend((0..1 + random.below(64)).map(|k| k as u8));
            t.raw_data = Some(bytes.into());
        }
        6 => {
            // The same bytes under other extents.
            t.dims = match random.below(3) {
                0 => t.dims.iter().rev().copied().collect(),
                1 => vec![t.dims.iter().fold(1i64, |a, &b| a.saturating_mul(b))],
                _ => [1].into_iter().chain(t.dims.iter().copied()).collect(),
            };
        }
        _ => {
            t.raw_data = None;
            match random.below(4) {
                0 => t.float_data = vec![f32::NAN; 1 + random.below(8)],
                1 => t.int64_data = (0..1 + random.below(8)).map(|_| odd_int(random)).collect(),
                2 => t.int32_data = (0..1 + random.below(8)).map(|_| odd_int(random) as i32).collect(),
                _ => t.string_data = vec![vec![0xff, 0xfe].into(); 1 + random.below(4)],
            }
        }
    }
    true
}

/// Changes elements and nothing else: indices, axes, extents, scales at their ends.
fn tensor_element(model: &mut ModelProto, random: &mut Random) -> bool {
    let small = |t: &TensorProto| t.data_type() == INT64 && t.dims.iter().fold(1i64, |a, &b| a.saturating_mul(b)) <= 64;
    // Integers rule what happens, so they are looked for first.
    let Some(graph) = any_graph(model, random) else { return false };
    let integers: Vec<usize> = (0..graph.initializer.len()).filter(|&i| small(&graph.initializer[i])).collect();
    let at = match random.pick(&integers) {
        Some(&at) if !random.one_in(4) => at,
        _ if graph.initializer.is_empty() => return false,
        _ => random.below(graph.initializer.len()),
    };
    let t = &mut graph.initializer[at];
    let value = odd_int(random);
    if let Some(v) = random.pick_mut(&mut t.int64_data) {
        *v = value;
        return true;
    }
    let Some(raw) = &t.raw_data else { return false };
    let mut bytes = raw.to_vec();
    let size = match t.data_type() {
        INT64 | 11 | 13 => 8,
        1 | 6 | 12 => 4,
        4 | 5 | 10 | 16 => 2,
        _ => 1,
    };
    let n = bytes.len() / size;
    if n == 0 {
        return false;
    }
    let at = random.below(n) * size;
    let pattern = match (t.data_type(), random.below(3)) {
        (1, 0) => u64::from(f32::NAN.to_bits()),
        (1, 1) => u64::from(f32::INFINITY.to_bits()),
        (1, _) => u64::from((value as f32).to_bits()),
        (11, _) => (value as f64).to_bits(),
        _ => value as u64,
    };
    bytes[at..at + size].copy_from_slice(&pattern.to_le_bytes()[..size]);
    t.raw_data = Some(bytes.into());
    true
}

fn of_tensor(t: &TensorProto) -> ValueInfoProto {
    let dim = |&n: &i64| Dimension { value: Some(dimension::Value::DimValue(n)), denotation: None };
    let shape = Some(TensorShapeProto { dim: t.dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: t.data_type, shape };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None };
    ValueInfoProto { name: t.name.clone(), r#type: Some(ty), ..ValueInfoProto::default() }
}

/// What was known when compiling is known only when running.
fn constant_as_input(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = model.graph.as_mut() else { return false };
    if graph.initializer.is_empty() {
        return false;
    }
    let at = random.below(graph.initializer.len());
    let info = of_tensor(&graph.initializer[at]);
    // With its default it may still be overridden.
    if !random.one_in(4) {
        graph.initializer.remove(at);
    }
    if graph.input.iter().all(|i| i.name != info.name) {
        graph.input.push(info);
    }
    true
}

/// An input becomes a constant of small extents, so that passes fold what depends on it.
fn input_as_constant(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = model.graph.as_mut() else { return false };
    if graph.input.is_empty() {
        return false;
    }
    let at = random.below(graph.input.len());
    let Some(type_proto::Value::TensorType(t)) = graph.input[at].r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return false;
    };
    let size = match t.elem_type() {
        INT64 | 11 | 13 => 8,
        1 | 6 | 12 => 4,
        2 | 3 | 9 => 1,
        _ => return false,
    };
    let dims = extents(&graph.input[at]);
    let len = dims.iter().fold(1usize, |a, &b| a.saturating_mul(usize::try_from(b).unwrap_or(0)));
    if len > 10_000 {
        return false;
    }
    let byte = if t.elem_type() == 9 { 1 } else { [0, 1, 0x3f, 0xff][random.below(4)] };
    let constant = TensorProto {
        name: graph.input[at].name.clone(),
        dims,
        data_type: Some(t.elem_type()),
        raw_data: Some(vec![byte; len * size].into()),
        ..TensorProto::default()
    };
    graph.input.remove(at);
    graph.initializer.push(constant);
    true
}

fn external(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(t) = any_tensor(model, random) else { return false };
    const PATHS: &[&str] = &[
        "/etc/passwd",
        "../../../../etc/passwd",
        "absent.bin",
        "",
        ".",
        "/dev/zero",
        "a/../../b",
        "\0",
        "model.onnx",
        "./model.onnx",
    ];
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    t.raw_data = None;
    t.data_location = Some(tensor_proto::DataLocation::External.into());
    t.external_data = vec![entry("location", random.pick(PATHS).copied().unwrap_or_default().to_owned())];
    if random.one_in(2) {
        t.external_data.push(entry("offset", odd_int(random).to_string()));
    }
    if random.one_in(2) {
        t.external_data.push(entry("length", odd_int(random).to_string()));
    }
    true
}

fn sparse(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    sparse_in(graph, random)
}

fn sparse_in(graph: &mut GraphProto, random: &mut Random) -> bool {
    if graph.initializer.is_empty() {
        return false;
    }
    let at = random.below(graph.initializer.len());
    let dense = graph.initializer.remove(at);
    let dims = if random.one_in(2) { dense.dims.clone() } else { vec![odd_int(random), odd_int(random)] };
    let indices = TensorProto {
        dims: vec![1],
        data_type: Some(INT64),
        int64_data: vec![odd_int(random)],
        ..TensorProto::default()
    };
    let values = TensorProto {
        name: dense.name,
        dims: vec![1],
        data_type: Some(1),
        float_data: vec![1.0],
        ..TensorProto::default()
    };
    graph.sparse_initializer.push(SparseTensorProto { values: Some(values), indices: Some(indices), dims });
    true
}

/// A name everywhere it stands, so that the model stays whole.
fn name(model: &mut ModelProto, random: &mut Random) -> bool {
    let new = odd_text(random);
    let Some(graph) = model.graph.as_mut() else { return false };
    let Some(old) = random.pick(&graph.node).and_then(|n| n.output.first().cloned()) else { return false };
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output).filter(|n| **n == old) {
            name.clone_from(&new);
        }
        if random.one_in(4) {
            node.name = Some(new.clone());
        }
    }
    for info in graph.output.iter_mut().filter(|o| o.name() == old) {
        info.name = Some(new.clone());
    }
    true
}
