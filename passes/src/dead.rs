//! Removes calls whose results nothing reads, leaves optional results out that nothing reads, and forgets the contents of
//! constants that nothing reads.

use egret_ir::{Graph, Result};

/// Removes dead calls. Order and numbering stay.
///
/// # Errors
/// Never; the signature is that of every pass.
pub fn remove_dead(mut graph: Graph) -> Result<Graph> {
    let mut live = vec![false; graph.values.len()];
    graph.outputs.iter().chain(&graph.inputs).for_each(|v| live[v.index()] = true);
    let mut dead = vec![true; graph.nodes.len()];
    for (n, node) in graph.nodes.iter().enumerate().rev() {
        if node.defs().any(|v| live[v.index()]) {
            dead[n] = false;
            node.uses().for_each(|v| live[v.index()] = true);
        }
    }
    for node in &mut graph.nodes {
        let (least, Some(_)) = node.op.def().n_results() else { continue };
        while node.outputs.len() > least.max(1)
            && node.outputs.last().is_some_and(|last| last.is_none_or(|v| !live[v.index()]))
        {
            node.outputs.pop();
        }
    }
    graph.remove_nodes(&dead);
    for (value, live) in graph.values.iter_mut().zip(live) {
        if !live {
            value.constant = None;
        }
    }
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{DType, GraphBuilder, Type, attrs};

    #[test]
    fn optional_results_without_readers_are_left_out() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[4]));
        let y = b.node("ai.onnx", "Dropout", attrs! {}, &[Some(x)], 2).unwrap();
        let k = b.constant(egret_ir::Tensor::from_slice(&[1], &[1i64]));
        let z = b.node("ai.onnx", "TopK", attrs! {}, &[Some(y[0]), Some(k)], 2).unwrap();
        let g = remove_dead(b.finish(&[z[0]])).unwrap();
        assert_eq!(g.nodes.iter().map(|n| n.outputs.len()).collect::<Vec<_>>(), [1, 2]);
    }
}
