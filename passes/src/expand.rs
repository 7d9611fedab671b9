//! Composite operators of ONNX Runtime's domain and of the optimisers' domain replaced by what they stand for, so that their parts are compiled and
//! fused like any others. An operator whose expansion is not known for its operands stays.

use egret_ir::graph::Node;
use egret_ir::{Graph, GraphBuilder, Result, ValueId};

/// Domains whose operators with an expansion are defined by it.
const COMPOSITES: &[&str] = &["ai.onnx.preview.training", "com.microsoft"];

/// Replaces each node of these domains that has an expansion.
///
/// # Errors
/// None at present; a node whose expansion is refused stays as it is.
pub fn expand_composites(mut graph: Graph) -> Result<Graph> {
    for node in std::mem::take(&mut graph.nodes) {
        let parts = if COMPOSITES.contains(&node.op.def().domain) { expansion(&graph, &node) } else { None };
        match parts {
            Some((parts, args, results)) => splice(&mut graph, &node, &parts, &args, &results),
            None => graph.nodes.push(node),
        }
    }
    Ok(graph)
}

/// The node's expansion as a graph of its own, its arguments by operand, its results.
fn expansion(graph: &Graph, node: &Node) -> Option<(Graph, Vec<Option<ValueId>>, Vec<ValueId>)> {
    let mut b = GraphBuilder::new(node.name.clone());
    let mut args = Vec::with_capacity(node.inputs.len());
    for v in &node.inputs {
        args.push(v.map(|v| match graph.constant(v) {
            Some(t) => b.constant(t.clone()),
            None => b.input("", graph.ty(v).clone()),
        }));
    }
    let results = node.op.expand(&mut b, &args).ok()??;
    // A result that is an operand, or stands twice, would need a copy.
    let copies = results.iter().enumerate().any(|(k, r)| args.contains(&Some(*r)) || results[..k].contains(r));
    if copies || results.len() < node.outputs.len() {
        return None;
    }
    Some((b.finish(&results), args, results))
}

/// Puts the parts in the node's place, values renamed.
fn splice(graph: &mut Graph, node: &Node, parts: &Graph, args: &[Option<ValueId>], results: &[ValueId]) {
    let mut map: Vec<Option<ValueId>> = vec![None; parts.values.len()];
    let bound = args.iter().zip(&node.inputs).filter_map(|(a, v)| Some(((*a)?, (*v)?)));
    let made = results.iter().zip(&node.outputs).filter_map(|(r, v)| Some((*r, (*v)?)));
    for (part, value) in bound.chain(made) {
        map[part.index()] = Some(value);
    }
    let map: Vec<ValueId> = map
        .into_iter()
        .zip(&parts.values)
        .map(|(v, info)| {
            v.unwrap_or_else(|| match &info.constant {
                Some(t) => graph.add_constant("", t.clone()),
                None => graph.add_value("", info.ty.clone()),
            })
        })
        .collect();
    for part in &parts.nodes {
        let rename = |v: &Option<ValueId>| v.map(|v| map[v.index()]);
        graph.nodes.push(Node {
            op: part.op.clone(),
            name: node.name.clone(),
            inputs: part.inputs.iter().map(rename).collect(),
            captures: Vec::new(),
            outputs: part.outputs.iter().map(rename).collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::{DType, Tensor, Type, Value, attrs};

    #[test]
    fn a_quantised_sum_becomes_its_parts_and_means_the_same() {
        let mut b = GraphBuilder::new("sum");
        let x = b.input("x", Type::tensor(DType::U8, &[3]));
        let s = b.constant(Tensor::scalar(0.5f32));
        let z = b.constant(Tensor::scalar(3u8));
        let operands = [x, s, z, x, s, z, s, z].map(Some);
        let y = b.node("com.microsoft", "QLinearAdd", attrs! {}, &operands, 1).unwrap()[0];
        let graph = b.finish(&[y]);
        let run = |g: &Graph| {
            let x = Value::from(Tensor::from_slice(&[3], &[1u8, 7, 250]));
            evaluate(g, vec![x], &Env::default()).unwrap()
        };
        let expanded = expand_composites(graph.clone()).unwrap();
        assert!(expanded.nodes.iter().all(|n| n.op.def().domain == "ai.onnx") && expanded.nodes.len() == 4);
        assert_eq!(run(&expanded), run(&graph));
    }
}
