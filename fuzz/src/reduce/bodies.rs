//! Smaller cases of graphs with bodies: a body in place of the call that runs it, fewer calls within a body, fewer results.

use super::{Sketch, values};
use crate::generate::Case;
use crate::unroll::{first_entry, is_control_flow, unrolled};
use egret_ir::{Attr, Graph, Node, Tensor, Type, Value, ValueId};
use std::sync::Arc;

/// Every body in line, as often as it ran.
pub(super) fn unroll(case: &Case) -> Vec<Case> {
    if !case.others.is_empty() || !case.graph.nodes.iter().any(|n| is_control_flow(&*n.op)) {
        return Vec::new();
    }
    let flat = unrolled(case).and_then(|(mut flat, deciding)| {
        flat.graph.outputs.truncate(flat.graph.outputs.len() - deciding);
        Sketch::of(&flat).rebuild()
    });
    flat.into_iter().collect()
}

/// A body once, in place of the call that runs it: as its results where types allow, else as all that there is.
pub(super) fn inline(case: &Case) -> Vec<Case> {
    let mut out = Vec::new();
    let mut all = None;
    for (n, node) in case.graph.nodes.iter().enumerate().filter(|(_, n)| is_control_flow(&*n.op)) {
        let all = all.get_or_insert_with(|| values(case));
        for body in node.op.bodies() {
            let mut s = Sketch::of(case);
            let Some(args) = first_args(&mut s, node, body, all) else { continue };
            let Some((graph, results)) = spliced(&s.graph, n, body, &args) else { continue };
            s.graph = graph;
            let skip = usize::from(node.op.def().name == "Loop");
            let mut alone = s.clone();
            alone.graph.outputs = results[skip..].to_vec();
            for (y, to) in node.outputs.iter().zip(&results[skip..]) {
                reroute(&mut s.graph, *y, *to);
            }
            out.extend(s.rebuild());
            out.extend(alone.rebuild());
        }
    }
    out
}

/// Values for the arguments of a body when it first runs.
fn first_args(s: &mut Sketch, node: &Node, body: &Graph, all: &[Option<Vec<Value>>]) -> Option<Vec<ValueId>> {
    let value = |v: &Option<ValueId>| v.and_then(|v| all[v.index()].as_ref()?.first().cloned());
    let n = node.inputs.len();
    Some(match node.op.def().name {
        "If" => Vec::new(),
        "Loop" => {
            let mut args = vec![
                s.graph.add_constant("i", Tensor::scalar(0i64)),
                s.graph.add_constant("go", Tensor::from_bools(&[], [true])),
            ];
            args.extend(node.inputs.iter().skip(2).copied().collect::<Option<Vec<_>>>()?);
            args
        }
        name => {
            let attrs = node.op.attrs();
            let int = |d: &egret_ir::Dim| d.as_int().and_then(|v| usize::try_from(v).ok());
            let m = match attrs.get("num_scan_inputs") {
                Some(Attr::Int(m)) => int(m)?,
                _ => n,
            };
            let mut args = Vec::with_capacity(n);
            for (k, v) in node.inputs.iter().enumerate() {
                let entry = match value(v)? {
                    Value::Sequence(_, items) => items.first()?.clone(),
                    Value::Tensor(t) if name == "Scan" && k + m >= n => {
                        let axis = match attrs.get("scan_input_axes") {
                            Some(Attr::Ints(axes)) => axes.get(k + m - n)?.as_int()?,
                            _ => 0,
                        };
                        let axis = usize::try_from(if axis < 0 { axis + t.rank() as i64 } else { axis }).ok()?;
                        let mut shape = t.shape().to_vec();
                        if axis >= shape.len() {
                            return None;
                        }
                        shape.remove(axis);
                        first_entry(&t, axis).or_else(|| Tensor::zeros(t.dtype(), &shape).ok())?.into()
                    }
                    _ => {
                        args.push((*v)?);
                        continue;
                    }
                };
                let arg = s.graph.add_value(body.value(body.inputs[k]).name.clone(), entry.ty());
                s.argument(arg, vec![entry]);
                args.push(arg);
            }
            args
        }
    })
}

/// The graph with a body's calls in place of call `n`, and what became of the body's results.
fn spliced(graph: &Graph, n: usize, body: &Graph, args: &[ValueId]) -> Option<(Graph, Vec<ValueId>)> {
    if body.inputs.len() != args.len() {
        return None;
    }
    let mut graph = graph.clone();
    let node = graph.nodes[n].clone();
    let mut at: Vec<Option<ValueId>> = vec![None; body.values.len()];
    for (v, to) in body.inputs.iter().zip(args).chain(body.captures.iter().zip(&node.captures)) {
        at[v.index()] = Some(*to);
    }
    let at: Vec<ValueId> = at
        .into_iter()
        .zip(&body.values)
        .map(|(to, info)| {
            to.unwrap_or_else(|| {
                graph.values.push(info.clone());
                ValueId(graph.values.len() as u32 - 1)
            })
        })
        .collect();
    let moved = body.nodes.iter().map(|inner| Node {
        inputs: inner.inputs.iter().map(|v| v.map(|v| at[v.index()])).collect(),
        captures: inner.captures.iter().map(|v| at[v.index()]).collect(),
        outputs: inner.outputs.iter().map(|v| v.map(|v| at[v.index()])).collect(),
        ..inner.clone()
    });
    let moved: Vec<Node> = moved.collect();
    graph.nodes.splice(n..=n, moved);
    Some((graph, body.outputs.iter().map(|v| at[v.index()]).collect()))
}

/// One call less within a body, at any depth.
pub(super) fn smaller_bodies(case: &Case) -> Vec<Case> {
    let with = |graph: Graph| Sketch { graph, ..Sketch::of(case) }.rebuild();
    changed_bodies(&case.graph).into_iter().filter_map(with).collect()
}

/// Results of calls with bodies that nothing reads, left out together with what the bodies do for them.
pub(super) fn fewer_body_results(case: &Case) -> Vec<Case> {
    let mut out = Vec::new();
    for (n, node) in case.graph.nodes.iter().enumerate().filter(|(_, n)| is_control_flow(&*n.op)) {
        for k in (0..node.outputs.len()).rev() {
            let read = |v: ValueId| {
                case.graph.outputs.contains(&v) || case.graph.nodes.iter().any(|n| n.uses().any(|u| u == v))
            };
            if node.outputs[k].is_some_and(read) {
                continue;
            }
            if let Some(node) = without_result(node, k) {
                let mut s = Sketch::of(case);
                s.graph.nodes[n] = node;
                out.extend(s.rebuild());
            }
        }
    }
    out
}

/// The call without its result `k`: of loops also without the value that it carries.
fn without_result(node: &Node, k: usize) -> Option<Node> {
    let mut node = node.clone();
    let mut attrs = node.op.attrs();
    let (skip, first) = match (node.op.def().name, attrs.get("num_scan_inputs")) {
        ("Loop", _) => (1, 2),
        ("Scan", Some(Attr::Int(m))) if node.inputs.len() as i64 - m.as_int()? > k as i64 => (0, 0),
        ("Scan", _) => {
            let states = node.op.bodies().first()?.outputs.len() - node.outputs.len();
            let at = k.checked_sub(states)?;
            for name in ["scan_output_axes", "scan_output_directions"] {
                if let Some(Attr::Ints(list)) = attrs.get_mut(name)
                    && at < list.len()
                {
                    list.remove(at);
                }
            }
            (0, usize::MAX)
        }
        _ => (0, usize::MAX),
    };
    let carried = first != usize::MAX && first + k < node.inputs.len();
    for attr in attrs.values_mut() {
        let Attr::Graph(body) = attr else { continue };
        let mut inner = (**body).clone();
        if skip + k >= inner.outputs.len() {
            return None;
        }
        inner.outputs.remove(skip + k);
        if carried {
            // What the body reads of it stays what it first was.
            let param = inner.inputs.remove(first + k);
            inner.captures.push(param);
        } else if node.captures.len() < inner.captures.len() {
            return None;
        }
        *body = Arc::new(inner);
    }
    if carried {
        let v = node.inputs.remove(first + k)?;
        node.captures.push(v);
    }
    node.outputs.remove(k);
    node.op = (node.op.def().parse)(&attrs).ok()?;
    tidied(node)
}

/// The graph with one body changed.
fn changed_bodies(graph: &Graph) -> Vec<Graph> {
    let mut out = Vec::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        let attrs = node.op.attrs();
        for (name, attr) in &attrs {
            let Attr::Graph(body) = attr else { continue };
            for smaller in changed(body) {
                let mut attrs = attrs.clone();
                attrs.insert(name.clone(), Attr::Graph(Arc::new(smaller)));
                let Ok(op) = (node.op.def().parse)(&attrs) else { continue };
                let Some(node) = tidied(Node { op, ..node.clone() }) else { continue };
                let mut graph = graph.clone();
                graph.nodes[n] = node;
                out.push(graph);
            }
        }
    }
    out
}

/// The body with one call less, or a smaller body within.
fn changed(body: &Graph) -> Vec<Graph> {
    let mut out = Vec::new();
    for (n, node) in body.nodes.iter().enumerate().rev() {
        if node.op.def().name == "If" {
            for branch in node.op.bodies() {
                if let Some((mut graph, results)) = spliced(body, n, branch, &[]) {
                    node.outputs.iter().zip(results).for_each(|(y, to)| reroute(&mut graph, *y, to));
                    out.push(graph);
                }
            }
        }
        // A constant in place of each result, or one of the operands in place of the first.
        let fill = |v: ValueId| {
            let (dtype, shape) = body.ty(v).concrete()?;
            Tensor::zeros(dtype, &shape).ok()
        };
        let mut cut = body.clone();
        cut.nodes.remove(n);
        let cuts = node.defs().all(|v| match fill(v) {
            Some(t) => {
                cut.values[v.index()].constant = Some(t);
                true
            }
            None => false,
        });
        if cuts {
            out.push(cut);
        }
        let mut operands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        operands.dedup();
        for x in operands {
            let mut graph = body.clone();
            graph.nodes.remove(n);
            if node.outputs.len() == 1 && alike(body.ty(x), node.defs().next().map(|v| body.ty(v))) {
                reroute(&mut graph, node.outputs[0], x);
                out.push(graph);
            }
        }
    }
    out.extend(changed_bodies(body));
    out
}

fn alike(a: &Type, b: Option<&Type>) -> bool {
    match (a.as_tensor(), b.and_then(Type::as_tensor)) {
        (Some(a), Some(b)) => a.dtype == b.dtype,
        _ => false,
    }
}

/// What reads `y` reads `to` instead.
fn reroute(graph: &mut Graph, y: Option<ValueId>, to: ValueId) {
    let Some(y) = y else { return };
    let reads = graph.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut().flatten().chain(&mut n.captures));
    reads.chain(&mut graph.outputs).filter(|v| **v == y).for_each(|v| *v = to);
}

/// The call with bodies without dead calls, unread values and captures.
fn tidied(mut node: Node) -> Option<Node> {
    let mut attrs = node.op.attrs();
    let mut used = vec![false; node.captures.len()];
    let mut bodies: Vec<(String, Graph)> = Vec::new();
    for (name, attr) in &attrs {
        let Attr::Graph(body) = attr else { continue };
        let mut body = (**body).clone();
        if body.captures.len() != used.len() {
            return None;
        }
        let mut needed = vec![false; body.values.len()];
        body.outputs.iter().for_each(|v| needed[v.index()] = true);
        let mut dead = vec![false; body.nodes.len()];
        for (n, inner) in body.nodes.iter().enumerate().rev() {
            dead[n] = !inner.defs().any(|v| needed[v.index()]);
            if !dead[n] {
                inner.uses().for_each(|v| needed[v.index()] = true);
            }
        }
        body.remove_nodes(&dead);
        used.iter_mut().zip(&body.captures).for_each(|(u, v)| *u |= needed[v.index()]);
        bodies.push((name.clone(), body));
    }
    for (name, mut body) in bodies {
        let mut marks = used.iter();
        body.captures.retain(|_| marks.next() == Some(&true));
        attrs.insert(name, Attr::Graph(Arc::new(compact(&body))));
    }
    let mut marks = used.iter();
    node.captures.retain(|_| marks.next() == Some(&true));
    node.op = (node.op.def().parse)(&attrs).ok()?;
    Some(node)
}

/// The graph without values that nothing makes, reads or returns.
fn compact(graph: &Graph) -> Graph {
    let mut kept = vec![false; graph.values.len()];
    let lists = [&graph.inputs, &graph.captures, &graph.outputs];
    lists.into_iter().flatten().for_each(|v| kept[v.index()] = true);
    graph.nodes.iter().flat_map(|n| n.uses().chain(n.defs())).for_each(|v| kept[v.index()] = true);
    let mut at = vec![ValueId(0); graph.values.len()];
    let mut out = Graph::new(graph.name.clone());
    for (i, info) in graph.values.iter().enumerate().filter(|(i, _)| kept[*i]) {
        at[i] = ValueId(out.values.len() as u32);
        out.values.push(info.clone());
    }
    let all = |list: &[ValueId]| list.iter().map(|v| at[v.index()]).collect::<Vec<_>>();
    (out.inputs, out.captures, out.outputs) = (all(&graph.inputs), all(&graph.captures), all(&graph.outputs));
    out.nodes.extend(graph.nodes.iter().map(|n| Node {
        inputs: n.inputs.iter().map(|v| v.map(|v| at[v.index()])).collect(),
        captures: all(&n.captures),
        outputs: n.outputs.iter().map(|v| v.map(|v| at[v.index()])).collect(),
        ..n.clone()
    }));
    out
}
