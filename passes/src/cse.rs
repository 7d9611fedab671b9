//! Common sub-expressions: of two pure calls with the same operator, attributes and operands the second is removed.

use egret_ir::{Graph, Result, ValueId};
use std::collections::HashMap;

/// Merges equal calls.
///
/// # Errors
/// Never; the signature is that of every pass.
pub fn merge_equal_calls(mut graph: Graph) -> Result<Graph> {
    let mut alias: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    // By operator and operands; attributes are compared, since floats and tensors do not hash.
    let mut seen: HashMap<(usize, Vec<Option<ValueId>>, usize), Vec<usize>> = HashMap::new();
    let mut kept: Vec<egret_ir::Node> = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        for v in node.inputs.iter_mut().flatten().chain(&mut node.captures) {
            *v = alias[v.index()];
        }
        let def: *const egret_ir::OpDef = node.op.def();
        let key = (def as usize, node.inputs.clone(), node.outputs.len());
        let mergeable = node.op.facts().pure && node.op.bodies().is_empty();
        let same = seen.get(&key).into_iter().flatten().copied().find(|&k| {
            let other = &kept[k];
            let covers = node.outputs.iter().zip(&other.outputs).all(|(a, b)| a.is_none() || b.is_some());
            mergeable && covers && other.op.attrs() == node.op.attrs()
        });
        match same {
            Some(k) => {
                for (a, b) in node.outputs.iter().zip(&kept[k].outputs) {
                    if let (Some(a), Some(b)) = (a, b) {
                        alias[a.index()] = *b;
                    }
                }
            }
            None => {
                if mergeable {
                    seen.entry(key).or_default().push(kept.len());
                }
                kept.push(node);
            }
        }
    }
    graph.nodes = kept;
    for v in &mut graph.outputs {
        *v = alias[v.index()];
    }
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{DType, GraphBuilder, Type, attrs};

    #[test]
    fn equal_calls_merge() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let a = b.op("Relu", attrs! {}, &[x]).unwrap();
        let c = b.op("Relu", attrs! {}, &[x]).unwrap();
        let y = b.op("Add", attrs! {}, &[a, c]).unwrap();
        let g = merge_equal_calls(b.finish(&[y])).unwrap();
        assert_eq!(g.nodes.len(), 2);
        assert_eq!(g.nodes[1].inputs, [Some(a), Some(a)]);
    }
}
