//! Removes calls whose results nothing reads, and forgets the contents of constants that nothing reads.

use egret_ir::{Graph, Result};

/// Removes dead calls. Order and numbering stay.
///
/// # Errors
/// Never; the signature is that of every pass.
pub fn remove_dead(mut graph: Graph) -> Result<Graph> {
    let mut live = vec![false; graph.values.len()];
    graph.outputs.iter().chain(&graph.inputs).for_each(|v| live[v.index()] = true);
    let mut keep = vec![false; graph.nodes.len()];
    for (n, node) in graph.nodes.iter().enumerate().rev() {
        if node.defs().any(|v| live[v.index()]) {
            keep[n] = true;
            node.uses().for_each(|v| live[v.index()] = true);
        }
    }
    let mut n = 0;
    graph.nodes.retain(|_| {
        n += 1;
        keep[n - 1]
    });
    for (value, live) in graph.values.iter_mut().zip(live) {
        if !live {
            value.constant = None;
        }
    }
    Ok(graph)
}
