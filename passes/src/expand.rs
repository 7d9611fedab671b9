//! Composite operators replaced by what they stand for, so that their parts are compiled and fused like any others:
//! those of ONNX Runtime's domain and of the optimisers' that have an expansion, and those whose facts say so. An
//! operator whose expansion is not known for its operands (extents that it needs are still symbols) stays.

use egret_ir::graph::Node;
use egret_ir::infer::infer;
use egret_ir::{Fact, Graph, GraphBuilder, Op, Result, ValueId, attrs};

/// Domains whose operators with an expansion are defined by it.
const COMPOSITES: &[&str] = &["ai.onnx.preview.training", "com.microsoft"];

/// Replaces each composite node, and each composite among its parts.
///
/// # Errors
/// When a node violates its rule. A node whose expansion is refused stays as it is.
pub fn expand_composites(mut graph: Graph) -> Result<Graph> {
    // Every round takes one layer off; an expansion speaks of simpler operators, so there is a last one.
    while graph.nodes.iter().any(|n| is_composite(&*n.op)) {
        let facts = infer(&mut graph)?.facts;
        let mut changed = false;
        for node in std::mem::take(&mut graph.nodes) {
            let parts = if is_composite(&*node.op) { expansion(&graph, &facts, &node) } else { None };
            match parts {
                Some((parts, args, results)) => {
                    changed = true;
                    splice(&mut graph, &node, &parts, &args, &results);
                }
                None => graph.nodes.push(node),
            }
        }
        if !changed {
            break;
        }
    }
    Ok(graph)
}

fn is_composite(op: &dyn Op) -> bool {
    COMPOSITES.contains(&op.def().domain) || op.facts().composite
}

/// The node's expansion as a graph of its own, its arguments by operand, its results.
fn expansion(graph: &Graph, facts: &[Fact], node: &Node) -> Option<(Graph, Vec<Option<ValueId>>, Vec<ValueId>)> {
    let mut b = GraphBuilder::new(node.name.clone());
    let mut args = Vec::with_capacity(node.inputs.len());
    for v in node.inputs.iter().copied().chain(node.captures.iter().copied().map(Some)) {
        args.push(v.map(|v| match graph.constant(v) {
            Some(t) => b.constant(t.clone()),
            None => b.input_with_content("", facts[v.index()].clone()),
        }));
    }
    let mut results = node.op.expand(&mut b, &args).ok()??;
    if results.len() < node.outputs.len() {
        return None;
    }
    results.truncate(node.outputs.len());
    for k in 0..results.len() {
        if args.contains(&Some(results[k])) || results[..k].contains(&results[k]) {
            results[k] = b.op("Identity", attrs! {}, &[results[k]]).ok()?;
        }
    }
    Some((b.finish(&results), args, results))
}

/// Puts the parts in the node's place, values renamed.
fn splice(graph: &mut Graph, node: &Node, parts: &Graph, args: &[Option<ValueId>], results: &[ValueId]) {
    let mut map: Vec<Option<ValueId>> = vec![None; parts.values.len()];
    let given = node.inputs.iter().copied().chain(node.captures.iter().copied().map(Some));
    let bound = args.iter().zip(given).filter_map(|(a, v)| Some(((*a)?, v?)));
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
            captures: part.captures.iter().map(|v| map[v.index()]).collect(),
            outputs: part.outputs.iter().map(rename).collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::{DType, Dim, Tensor, Type, Value};

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

    fn attention(batch: Dim) -> Graph {
        let mut b = GraphBuilder::new("attention");
        let x = b.input("x", Type::ranked(DType::F32, vec![batch, Dim::int(2), Dim::int(4)]));
        let a = attrs! { num_heads: 2i64, unidirectional: true };
        let y = b.node("com.microsoft", "MultiHeadAttention", a, &[Some(x); 3], 2).unwrap();
        b.finish(&y)
    }

    #[test]
    fn attention_becomes_its_parts_once_its_extents_are_numbers() {
        let open = expand_composites(attention(Dim::sym("n"))).unwrap();
        assert_eq!(open.nodes.len(), 1);
        let graph = attention(Dim::int(1));
        let parts = expand_composites(graph.clone()).unwrap();
        assert!(parts.nodes.iter().any(|n| n.op.def().name == "Softmax"));
        assert!(!parts.nodes.iter().any(|n| is_composite(&*n.op)));
        let run = |g: &Graph| {
            let x = Value::from(Tensor::from_slice(&[1, 2, 4], &[1.0f32, -2.0, 0.5, 3.0, 0.0, 1.0, 2.0, -1.0]));
            evaluate(g, vec![x], &Env::default()).unwrap()
        };
        assert_eq!(run(&parts), run(&graph));
    }

    #[test]
    fn a_result_that_is_an_operand_is_copied() {
        let mut b = GraphBuilder::new("present");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1, 2, 1]));
        let y = b.node("ai.onnx", "Attention", attrs! {}, &[Some(x); 3], 3).unwrap();
        let graph = expand_composites(b.finish(&y)).unwrap();
        let x = Value::from(Tensor::from_slice(&[1, 1, 2, 1], &[1.0f32, 1.0]));
        assert_eq!(evaluate(&graph, vec![x.clone()], &Env::default()).unwrap(), [x.clone(), x.clone(), x]);
    }
}
