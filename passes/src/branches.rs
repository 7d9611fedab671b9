//! `If` with a known condition becomes the branch that it takes.

use egret_ir::graph::Node;
use egret_ir::{Graph, Result, ValueId};
use std::sync::Arc;

/// Puts the taken branch of every `If` whose condition is a constant in its place, types and constants of what it
/// brings being found by another [`fold`](crate::fold::fold).
///
/// # Errors
/// When a node of a branch violates its rule.
pub fn inline_branches(mut graph: Graph) -> Result<Graph> {
    // Each round takes one level of nesting away, so there is a last one.
    loop {
        let mut found = false;
        for node in std::mem::take(&mut graph.nodes) {
            match taken(&graph, &node) {
                Some(branch) => {
                    found = true;
                    splice(&mut graph, &node, &branch)?;
                }
                None => graph.nodes.push(node),
            }
        }
        if !found {
            return Ok(graph);
        }
        graph = crate::fold::fold(graph)?;
    }
}

/// The branch that an `If` takes whatever the arguments are.
fn taken(graph: &Graph, node: &Node) -> Option<Arc<Graph>> {
    let def = node.op.def();
    if def.domain != "ai.onnx" || def.name != "If" {
        return None;
    }
    let cond = *graph.constant(node.inputs.first().copied().flatten()?)?.bools().ok()?.first()?;
    let [then_branch, else_branch] = node.op.bodies()[..] else { return None };
    Some(Arc::clone(if cond { then_branch } else { else_branch }))
}

/// Puts the nodes of `branch` in the node's place, values renamed; its results are handed on by `Identity`.
fn splice(graph: &mut Graph, node: &Node, branch: &Graph) -> Result<()> {
    let mut map: Vec<Option<ValueId>> = vec![None; branch.values.len()];
    for (inner, &outer) in branch.captures.iter().zip(&node.captures) {
        map[inner.index()] = Some(outer);
    }
    let map: Vec<ValueId> = map
        .into_iter()
        .zip(&branch.values)
        .map(|(outer, info)| {
            outer.unwrap_or_else(|| {
                let v = graph.add_value(info.name.clone(), info.ty.clone());
                graph.values[v.index()].constant.clone_from(&info.constant);
                v
            })
        })
        .collect();
    let rename = |v: &Option<ValueId>| v.map(|v| map[v.index()]);
    for inner in &branch.nodes {
        graph.nodes.push(Node {
            op: Arc::clone(&inner.op),
            name: inner.name.clone(),
            inputs: inner.inputs.iter().map(rename).collect(),
            captures: inner.captures.iter().map(|v| map[v.index()]).collect(),
            outputs: inner.outputs.iter().map(rename).collect(),
        });
    }
    let identity = (egret_ir::ops::identity::DEF.parse)(&egret_ir::Attrs::new())?;
    for (from, to) in branch.outputs.iter().zip(&node.outputs) {
        if let Some(to) = to {
            graph.nodes.push(Node {
                op: Arc::clone(&identity),
                name: node.name.clone(),
                inputs: vec![Some(map[from.index()])],
                captures: Vec::new(),
                outputs: vec![Some(*to)],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::attr::Attr;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::{DType, GraphBuilder, Tensor, Type, Value, attrs};

    /// `x` plus its captured neighbour, or a constant.
    fn branch(add: bool) -> Arc<Graph> {
        let f = Type::tensor(DType::F32, &[2]);
        let mut g = Graph::new("branch");
        let x = g.add_capture("x", f.clone());
        if !add {
            let c = g.add_constant("c", Tensor::from_slice(&[2], &[7.0f32, 8.0]));
            g.outputs = vec![c, x];
            return Arc::new(g);
        }
        let y = g.add_value("y", f);
        let op = (egret_ir::ops::add::DEF.parse)(&attrs! {}).unwrap();
        let inputs = vec![Some(x), Some(x)];
        g.nodes.push(Node { op, name: String::new(), inputs, captures: vec![], outputs: vec![Some(y)] });
        g.outputs = vec![y, x];
        Arc::new(g)
    }

    #[test]
    fn a_known_condition_leaves_one_branch() {
        for cond in [true, false] {
            let f = Type::tensor(DType::F32, &[2]);
            let mut b = GraphBuilder::new("main");
            let x = b.input("x", f.clone());
            let cond = b.constant(Tensor::from_bools(&[1], [cond]));
            let mut g = b.finish(&[]);
            let attrs = [
                ("then_branch".to_owned(), Attr::Graph(branch(true))),
                ("else_branch".to_owned(), Attr::Graph(branch(false))),
            ]
            .into();
            let (y, z) = (g.add_value("y", f.clone()), g.add_value("z", f));
            g.nodes.push(Node {
                op: (egret_ir::ops::r#if::DEF.parse)(&attrs).unwrap(),
                name: String::new(),
                inputs: vec![Some(cond)],
                captures: vec![x],
                outputs: vec![Some(y), Some(z)],
            });
            g.outputs = vec![y, z];
            let inlined = inline_branches(g.clone()).unwrap();
            assert!(inlined.nodes.iter().all(|n| n.op.bodies().is_empty()));
            let run = |g: &Graph| {
                let x = Value::from(Tensor::from_slice(&[2], &[1.0f32, 2.0]));
                evaluate(g, vec![x], &Env::default()).unwrap()
            };
            assert_eq!(run(&inlined), run(&g));
        }
    }
}
