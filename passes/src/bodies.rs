//! Constants that bodies capture become constants of the bodies: there they fold, and weights are packed once.

use egret_ir::attr::Attr;
use egret_ir::graph::Node;
use egret_ir::{Graph, Result};
use std::sync::Arc;

/// Hands constants into the bodies that capture them, at every depth. Contents are shared, not copied.
///
/// # Errors
/// When an operator refuses its own attributes with changed bodies, which would be a mistake of the operator.
pub fn close_bodies(mut graph: Graph) -> Result<Graph> {
    let mut nodes = std::mem::take(&mut graph.nodes);
    for node in nodes.iter_mut().filter(|n| !n.op.bodies().is_empty()) {
        close(&graph, node)?;
    }
    graph.nodes = nodes;
    Ok(graph)
}

fn close(graph: &Graph, node: &mut Node) -> Result<()> {
    let constants: Vec<_> = node.captures.iter().map(|&v| graph.constant(v)).collect();
    let mut attrs = node.op.attrs();
    let mut changed = false;
    for attr in attrs.values_mut() {
        let Attr::Graph(body) = attr else { continue };
        let any = |n: &Node| !n.op.bodies().is_empty();
        if constants.iter().all(Option::is_none) && !body.nodes.iter().any(any) {
            continue;
        }
        let mut inner = (**body).clone();
        let captures = std::mem::take(&mut inner.captures);
        for (&v, constant) in captures.iter().zip(&constants) {
            match constant {
                None => inner.captures.push(v),
                Some(t) => {
                    inner.values[v.index()].ty = egret_ir::Type::tensor(t.dtype(), t.shape());
                    inner.values[v.index()].constant = Some((*t).clone());
                }
            }
        }
        let handed_in = inner.captures.len() < captures.len();
        let before: Vec<_> = inner.nodes.iter().map(|n| Arc::clone(&n.op)).collect();
        inner = close_bodies(inner)?;
        if handed_in || inner.nodes.iter().zip(&before).any(|(n, op)| !Arc::ptr_eq(&n.op, op)) {
            changed = true;
            *body = Arc::new(inner);
        }
    }
    if changed {
        node.op = (node.op.def().parse)(&attrs)?;
        let mut known = constants.iter();
        node.captures.retain(|_| known.next().is_some_and(Option::is_none));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::{DType, GraphBuilder, Tensor, Type, Value, attrs};

    /// `cond ? x + c : x`, `c` and `x` captured by a branch within a branch.
    fn nested(depth: usize) -> Graph {
        let f = Type::tensor(DType::F32, &[2]);
        let (bool_type, mut b) = (Type::tensor(DType::Bool, &[]), GraphBuilder::new("main"));
        let cond = b.input("cond", bool_type.clone());
        let x = b.input("x", f.clone());
        let c = b.constant(Tensor::from_slice(&[2], &[1.0f32, 2.0]));
        let mut g = b.finish(&[]);
        let mut body: Option<(Arc<Graph>, Arc<Graph>)> = None;
        for _ in 0..depth {
            let mut branches = [0, 1].map(|_| {
                let mut branch = Graph::new("branch");
                branch.add_capture("cond", bool_type.clone());
                branch.add_capture("x", f.clone());
                branch.add_capture("c", f.clone());
                branch
            });
            for (k, branch) in branches.iter_mut().enumerate() {
                let [cond, x, c] = branch.captures[..] else { unreachable!("three captures") };
                let y = branch.add_value("y", f.clone());
                let (op, inputs, captures) = match (&body, k) {
                    (None, 0) => ("Add", vec![Some(x), Some(c)], Vec::new()),
                    (Some(_), 0) => ("If", vec![Some(cond)], vec![cond, x, c]),
                    _ => ("Identity", vec![Some(x)], Vec::new()),
                };
                let mut attrs = attrs! {};
                if let (Some((a, b)), "If") = (&body, op) {
                    attrs.insert("then_branch".into(), Attr::Graph(Arc::clone(a)));
                    attrs.insert("else_branch".into(), Attr::Graph(Arc::clone(b)));
                }
                let op = (egret_ir::ops::find("ai.onnx", op).unwrap().parse)(&attrs).unwrap();
                branch.nodes.push(Node { op, name: String::new(), inputs, captures, outputs: vec![Some(y)] });
                branch.outputs = vec![y];
            }
            let [a, b] = branches.map(Arc::new);
            body = Some((a, b));
        }
        let (a, b) = body.unwrap();
        let attrs = [("then_branch".to_owned(), Attr::Graph(a)), ("else_branch".to_owned(), Attr::Graph(b))].into();
        let op = (egret_ir::ops::find("ai.onnx", "If").unwrap().parse)(&attrs).unwrap();
        let y = g.add_value("y", f);
        g.nodes.push(Node {
            op,
            name: String::new(),
            inputs: vec![Some(cond)],
            captures: vec![cond, x, c],
            outputs: vec![Some(y)],
        });
        g.outputs = vec![y];
        g
    }

    #[test]
    fn constants_move_into_bodies_at_every_depth() {
        for depth in 1..4 {
            let graph = nested(depth);
            let closed = close_bodies(graph.clone()).unwrap();
            let mut node = closed.nodes[0].clone();
            for _ in 0..depth {
                assert_eq!(node.captures.len(), 2);
                let body = Arc::clone(node.op.bodies()[0]);
                assert_eq!(body.captures.len(), 2);
                node = body.nodes[0].clone();
            }
            for cond in [false, true] {
                let args = || -> Vec<Value> {
                    vec![Tensor::from_bools(&[], [cond]).into(), Tensor::from_slice(&[2], &[5.0f32, 6.0]).into()]
                };
                let run = |g: &Graph| evaluate(g, args(), &Env::default()).unwrap();
                assert_eq!(run(&closed), run(&graph));
            }
            // Once closed, nothing changes.
            let again = close_bodies(closed.clone()).unwrap();
            assert!(Arc::ptr_eq(&again.nodes[0].op, &closed.nodes[0].op));
        }
    }
}
