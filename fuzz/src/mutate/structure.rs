//! Changes of nodes, edges, operators, attributes, bodies, functions and versions.

use super::{Change, any_graph, any_node, odd_int, odd_text};
use crate::random::Random;
use egret_ir::onnx::proto::attribute_proto::AttributeType;
use egret_ir::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use egret_ir::ops;

/// Every change, by name.
pub(super) const CHANGES: &[(&str, Change)] = &[
    ("node erased", erase_node),
    ("node doubled", double_node),
    ("nodes swapped", swap_nodes),
    ("operand left out", leave_out),
    ("operand rewired", rewire),
    ("operand rewired", rewire),
    ("operand from nowhere", from_nowhere),
    ("circle", circle),
    ("operands added", add_operand),
    ("operand removed", remove_operand),
    ("results changed", change_results),
    ("other operator", other_operator),
    ("other operator", other_operator),
    ("attribute extreme", attribute_extreme),
    ("attribute extreme", attribute_extreme),
    ("attribute extreme", attribute_extreme),
    ("attribute removed", attribute_removed),
    ("attribute of another node", attribute_borrowed),
    ("attribute retyped", attribute_retyped),
    ("attribute bomb", attribute_bomb),
    ("nested", nest),
    ("endless loop", endless_loop),
    ("recursive function", recursive_function),
    ("function tower", function_tower),
    ("opset", opset),
    ("graph outputs", graph_outputs),
    ("any value as output", inner_output),
];

fn erase_node(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    if graph.node.is_empty() {
        return false;
    }
    let at = random.below(graph.node.len());
    graph.node.remove(at);
    true
}

fn double_node(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let Some(node) = random.pick(&graph.node).cloned() else { return false };
    let mut copy = node;
    if random.one_in(2) {
        for (i, name) in copy.output.iter_mut().enumerate() {
            *name = format!("{name}_copy{i}");
        }
    }
    graph.node.push(copy);
    true
}

fn swap_nodes(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let n = graph.node.len();
    let (a, b) = (random.below(n), random.below(n));
    if a == b {
        return false;
    }
    graph.node.swap(a, b);
    // Under each other's wires as well, so that the operators change places.
    if random.one_in(2) {
        let (ia, ib) = (graph.node[a].input.clone(), graph.node[b].input.clone());
        let (oa, ob) = (graph.node[a].output.clone(), graph.node[b].output.clone());
        (graph.node[a].input, graph.node[b].input) = (ib, ia);
        (graph.node[a].output, graph.node[b].output) = (ob, oa);
    }
    true
}

/// Names that a node of the graph could read.
fn names(graph: &GraphProto) -> Vec<String> {
    let mut all: Vec<String> = graph.input.iter().map(|i| i.name().to_owned()).collect();
    all.extend(graph.initializer.iter().map(|t| t.name().to_owned()));
    all.extend(graph.node.iter().flat_map(|n| n.output.iter().cloned()));
    all
}

fn operand<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut String> {
    let node = any_node(model, random)?;
    random.pick_mut(&mut node.input)
}

fn leave_out(model: &mut ModelProto, random: &mut Random) -> bool {
    operand(model, random).is_some_and(|name| !std::mem::take(name).is_empty())
}

fn rewire(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let names = names(graph);
    let Some(name) = random.pick(&names).cloned() else { return false };
    let Some(node) = random.pick_mut(&mut graph.node) else { return false };
    let Some(operand) = random.pick_mut(&mut node.input) else { return false };
    *operand = name;
    true
}

fn from_nowhere(model: &mut ModelProto, random: &mut Random) -> bool {
    let text = odd_text(random);
    operand(model, random).map(|name| *name = text).is_some()
}

fn circle(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let n = graph.node.len();
    let (early, late) = (random.below(n), random.below(n));
    let (early, late) = (early.min(late), early.max(late));
    let Some(name) = graph.node.get(late).and_then(|node| node.output.first().cloned()) else { return false };
    let Some(operand) = random.pick_mut(&mut graph.node[early].input) else { return false };
    *operand = name;
    true
}

fn add_operand(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let names = names(graph);
    let times = if random.one_in(8) { 1000 } else { 1 + random.below(3) };
    let Some(node) = random.pick_mut(&mut graph.node) else { return false };
    for _ in 0..times {
        let name = if random.one_in(4) { "" } else { random.pick(&names).map_or("", String::as_str) };
        node.input.push(name.to_owned());
    }
    true
}

fn remove_operand(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(node) = any_node(model, random) else { return false };
    if node.input.is_empty() {
        return false;
    }
    let at = random.below(node.input.len());
    node.input.remove(at);
    true
}

fn change_results(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(node) = any_node(model, random) else { return false };
    match random.below(4) {
        0 => node.output.clear(),
        1 => (0..1 + random.below(5)).for_each(|k| node.output.push(format!("more{k}"))),
        2 => node.output.insert(0, String::new()),
        _ => return random.pick_mut(&mut node.output).map(std::mem::take).is_some(),
    }
    true
}

fn other_operator(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(node) = any_node(model, random) else { return false };
    let Some(def) = random.pick(ops::OPS) else { return false };
    node.op_type = Some(if random.one_in(20) { odd_text(random) } else { def.name.to_owned() });
    node.domain = Some(if random.one_in(20) { odd_text(random) } else { def.domain.to_owned() });
    // An attribute that nobody reads would be the end of it.
    if !random.one_in(4) {
        node.attribute.retain(|a| def.attrs.iter().any(|doc| doc.name == a.name()));
    }
    if random.one_in(3) {
        node.input.truncate(def.arity().1.unwrap_or(usize::MAX));
        node.output.truncate(def.n_results().1.unwrap_or(usize::MAX));
    }
    true
}

fn attribute<'a>(model: &'a mut ModelProto, random: &mut Random) -> Option<&'a mut AttributeProto> {
    let node = any_node(model, random)?;
    random.pick_mut(&mut node.attribute)
}

fn attribute_extreme(model: &mut ModelProto, random: &mut Random) -> bool {
    const FLOATS: &[f32] =
        &[0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-45];
    // Also one that the node does not give yet.
    if random.one_in(3)
        && let Some(node) = any_node(model, random)
        && let Some(def) = ops::OPS.iter().find(|d| d.name == node.op_type())
        && let Some(doc) = random.pick(def.attrs)
    {
        let name = Some(doc.name.to_owned());
        let mut attr = AttributeProto { name, ..AttributeProto::default() };
        let kind = match random.below(4) {
            0 => {
                attr.i = Some(odd_int(random));
                AttributeType::Int
            }
            1 => {
                attr.ints = (0..random.below(5)).map(|_| odd_int(random)).collect();
                AttributeType::Ints
            }
            2 => {
                attr.f = random.pick(FLOATS).copied();
                AttributeType::Float
            }
            _ => {
                attr.s = Some(odd_text(random).into_bytes().into());
                AttributeType::String
            }
        };
        attr.r#type = Some(kind.into());
        node.attribute.retain(|a| a.name() != doc.name);
        node.attribute.push(attr);
        return true;
    }
    let Some(attr) = attribute(model, random) else { return false };
    if attr.i.is_some() {
        attr.i = Some(odd_int(random));
    } else if attr.f.is_some() {
        attr.f = random.pick(FLOATS).copied();
    } else if attr.s.is_some() {
        let mut text = odd_text(random).into_bytes();
        if random.one_in(4) {
            text.extend([0xff, 0xfe, 0xc0]);
        }
        attr.s = Some(text.into());
    } else if !attr.ints.is_empty() {
        match random.below(4) {
            0 => attr.ints.push(odd_int(random)),
            1 => drop(attr.ints.pop()),
            2 => attr.ints.clear(),
            _ => {
                let value = odd_int(random);
                let at = random.below(attr.ints.len());
                attr.ints[at] = value;
            }
        }
    } else if !attr.floats.is_empty() {
        let at = random.below(attr.floats.len());
        attr.floats[at] = *random.pick(FLOATS).expect("the list is not empty");
    } else if let Some(t) = &mut attr.t {
        return super::data::change_tensor(t, random);
    } else {
        return false;
    }
    true
}

fn attribute_removed(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(node) = any_node(model, random) else { return false };
    if node.attribute.is_empty() {
        return false;
    }
    let at = random.below(node.attribute.len());
    node.attribute.remove(at);
    true
}

fn attribute_borrowed(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(attr) = attribute(model, random).map(|a| a.clone()) else { return false };
    any_node(model, random).map(|node| node.attribute.push(attr)).is_some()
}

fn attribute_retyped(model: &mut ModelProto, random: &mut Random) -> bool {
    let code = if random.one_in(4) { odd_int(random) as i32 } else { random.below(16) as i32 };
    attribute(model, random).map(|attr| attr.r#type = Some(code)).is_some()
}

fn attribute_bomb(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(attr) = attribute(model, random) else { return false };
    let n = 1 << (10 + random.below(7));
    match random.below(5) {
        0 => attr.ints = vec![odd_int(random); n],
        1 => attr.floats = vec![1.0; n],
        2 => attr.s = Some("a".repeat(n).into_bytes().into()),
        3 => attr.tensors = vec![TensorProto::default(); n],
        _ => attr.graphs = vec![GraphProto::default(); n / 16],
    }
    true
}

fn plain(op: &str, input: &[&str], output: &[&str]) -> NodeProto {
    let own = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    NodeProto { op_type: Some(op.into()), input: own(input), output: own(output), ..NodeProto::default() }
}

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph.into()),
        g: Some(graph),
        ..AttributeProto::default()
    }
}

fn bare(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
}

fn scalar(name: &str, code: i32, bytes: &[u8]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(code),
        raw_data: Some(bytes.to_vec().into()),
        ..TensorProto::default()
    }
}

const BOOL: i32 = 9;
const INT64: i32 = 7;

/// A node wrapped in branches, some levels deep; now and then as deep as messages go.
fn nest(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = model.graph.as_mut() else { return false };
    let Some(at) = (!graph.node.is_empty()).then(|| random.below(graph.node.len())) else { return false };
    let depth = [1, 2, 5, 11, 13, 22][random.below(6)];
    graph.initializer.push(scalar("nest_condition", BOOL, &[random.below(2) as u8]));
    let mut node = graph.node[at].clone();
    for level in 0..depth {
        let inner = |prefix: &str| {
            let mut inside = node.clone();
            for name in inside.output.iter_mut().filter(|n| !n.is_empty()) {
                *name = format!("{prefix}{level}_{name}");
            }
            let output = inside.output.iter().filter(|n| !n.is_empty()).map(|n| bare(n)).collect();
            GraphProto { name: Some(format!("level{level}")), node: vec![inside], output, ..GraphProto::default() }
        };
        let mut outer = plain("If", &["nest_condition"], &[]);
        outer.output = node.output.iter().filter(|n| !n.is_empty()).cloned().collect();
        outer.attribute.push(body("then_branch", inner("t")));
        // Two branches each make the file grow as a power of two.
        let other = if level < 6 {
            inner("e")
        } else {
            GraphProto {
                output: outer.output.iter().map(|_| bare("nest_condition")).collect(),
                ..GraphProto::default()
            }
        };
        outer.attribute.push(body("else_branch", other));
        node = outer;
    }
    graph.node[at] = node;
    true
}

/// A loop that never ends, or one inside another, whose body is a node of the graph.
fn endless_loop(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = model.graph.as_mut() else { return false };
    let Some(at) = (!graph.node.is_empty()).then(|| random.below(graph.node.len())) else { return false };
    let count = [i64::MAX, 1 << 40, 100_000, -1, 3][random.below(5)];
    graph.initializer.push(scalar("loop_count", INT64, &count.to_le_bytes()));
    graph.initializer.push(scalar("loop_condition", BOOL, &[1]));
    let mut node = graph.node[at].clone();
    let scans = random.one_in(2);
    for level in 0..1 + random.below(2) {
        let mut inside = node.clone();
        for name in inside.output.iter_mut().filter(|n| !n.is_empty()) {
            *name = format!("in{level}_{name}");
        }
        let (iteration, go_on, keep) = (format!("i{level}"), format!("c{level}"), format!("k{level}"));
        let mut output = vec![bare(&keep)];
        let results: Vec<String> = inside.output.iter().filter(|n| !n.is_empty()).cloned().collect();
        if scans {
            output.extend(results.iter().map(|n| bare(n)));
        }
        let inner = GraphProto {
            name: Some("forever".into()),
            input: vec![bare(&iteration), bare(&go_on)],
            node: vec![inside, plain("Identity", &[&go_on], &[&keep])],
            output,
            ..GraphProto::default()
        };
        let mut outer = plain("Loop", &["loop_count", "loop_condition"], &[]);
        outer.output = if scans { node.output.iter().filter(|n| !n.is_empty()).cloned().collect() } else { Vec::new() };
        outer.attribute.push(body("body", inner));
        node = outer;
    }
    if scans {
        graph.node[at] = node;
    } else {
        // Its results are needed elsewhere: the loop stands before the node, and its output is one of the graph.
        let mut kept = node;
        kept.input[1] = "loop_condition".into();
        graph.node.insert(at, kept);
    }
    true
}

fn import(model: &mut ModelProto, domain: &str) {
    model.opset_import.push(OperatorSetIdProto { domain: Some(domain.into()), version: Some(1) });
}

fn recursive_function(model: &mut ModelProto, random: &mut Random) -> bool {
    let opset_import = model.opset_import.clone();
    let Some(node) = any_node(model, random) else { return false };
    node.op_type = Some("Again".into());
    node.domain = Some("egret.mutant".into());
    let mut inside = node.clone();
    let attribute = node.attribute.iter().map(|a| a.name().to_owned()).collect();
    inside.attribute.iter_mut().for_each(|a| a.ref_attr_name = Some(a.name().to_owned()));
    let function = FunctionProto {
        name: Some("Again".into()),
        domain: Some("egret.mutant".into()),
        input: node.input.clone(),
        output: node.output.clone(),
        attribute,
        node: vec![inside],
        opset_import,
        ..FunctionProto::default()
    };
    model.functions.push(function);
    import(model, "egret.mutant");
    true
}

/// Functions that each call the one below twice: short in the file, long when inlined.
fn function_tower(model: &mut ModelProto, random: &mut Random) -> bool {
    let height = [4, 12, 40, 70][random.below(4)];
    let opset_import = model.opset_import.clone();
    let Some(graph) = model.graph.as_mut() else { return false };
    let Some(node) = random.pick_mut(&mut graph.node) else { return false };
    if node.input.is_empty() || node.output.is_empty() {
        return false;
    }
    let domain = || Some("egret.mutant".to_owned());
    let mut functions = Vec::new();
    for k in 0..height {
        let call = |from: &str, to: &str| match k {
            0 => plain("Neg", &[from], &[to]),
            _ => NodeProto { domain: domain(), ..plain(&format!("Tower{}", k - 1), &[from], &[to]) },
        };
        functions.push(FunctionProto {
            name: Some(format!("Tower{k}")),
            domain: domain(),
            input: vec!["x".into()],
            output: vec!["y".into()],
            node: vec![call("x", "t"), call("t", "y")],
            opset_import: opset_import.clone(),
            ..FunctionProto::default()
        });
    }
    *node =
        NodeProto { domain: domain(), ..plain(&format!("Tower{}", height - 1), &[&node.input[0]], &[&node.output[0]]) };
    model.functions.extend(functions);
    import(model, "egret.mutant");
    true
}

fn opset(model: &mut ModelProto, random: &mut Random) -> bool {
    match random.below(4) {
        0 => model.ir_version = Some(odd_int(random)),
        1 => import(model, ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"][random.below(4)]),
        _ => {
            let version = if random.one_in(4) { odd_int(random) } else { 1 + random.below(28) as i64 };
            return random.pick_mut(&mut model.opset_import).map(|o| o.version = Some(version)).is_some();
        }
    }
    true
}

fn graph_outputs(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    match random.below(4) {
        0 => graph.output.clear(),
        1 => {
            let Some(output) = random.pick(&graph.output).cloned() else { return false };
            graph.output.push(output);
        }
        2 => graph.output.push(bare(&odd_text(random))),
        _ => {
            let Some(input) = random.pick(&graph.input).cloned() else { return false };
            graph.output.push(input);
        }
    }
    true
}

fn inner_output(model: &mut ModelProto, random: &mut Random) -> bool {
    let Some(graph) = any_graph(model, random) else { return false };
    let names = names(graph);
    random.pick(&names).map(|name| graph.output.push(bare(name))).is_some()
}
