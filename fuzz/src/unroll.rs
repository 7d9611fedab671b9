//! A case without bodies: each stands in line as often as it ran, in a graph of the same values.
//!
//! An analysis that walks calls (error bounds, what is stated, what a runtime implements) then needs to know nothing of
//! control flow. What decided the way is kept beside the results: where rounding errors may change it, nothing is known of
//! what came after.

use crate::generate::{Case, name_all};
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::{Attr, Attrs, Graph, Node, Op, Tensor, Type, Value, ValueId, attrs, ops};
use std::sync::Arc;

/// Calls of an unrolled graph; longer ones are given up.
const MAX_NODES: usize = 4096;

/// Whether a graph has calls that this module takes apart.
pub(crate) fn has_control_flow(graph: &Graph) -> bool {
    graph.nodes.iter().any(|n| is_control_flow(&*n.op))
}

/// Whether it is one of the operators that run bodies by their operands.
pub(crate) fn is_control_flow(op: &dyn Op) -> bool {
    let def = op.def();
    def.domain == "ai.onnx" && matches!(def.name, "If" | "Loop" | "Scan" | "SequenceMap")
}

/// The first entry of an axis, if it has any.
pub(crate) fn first_entry(t: &Tensor, axis: usize) -> Option<Tensor> {
    let mut shape = t.shape().to_vec();
    if shape.remove(axis) == 0 {
        return None;
    }
    let at = |mut index: Vec<usize>| {
        index.insert(axis, 0);
        t.position(&index)
    };
    let from: Vec<usize> = egret_ir::tensor::indices(&shape).map(at).collect();
    t.take(&shape, from).ok()
}

/// The case with every body in line. Behind the results stand the values that decided the way (conditions, numbers of
/// iterations), which are as many as the second part says. `None` where a call refuses or there are too many.
pub(crate) fn unrolled(case: &Case) -> Option<(Case, usize)> {
    let mut u = Unroller { graph: Graph::new("unrolled"), values: Vec::new(), deciding: Vec::new() };
    let mut args = Vec::new();
    for (v, x) in case.graph.inputs.iter().zip(&case.inputs) {
        args.push(u.graph.add_input(case.graph.value(*v).name.clone(), x.ty()));
        u.values.push(x.clone());
    }
    let mut results = u.body(&case.graph, &args, &[])?;
    let deciding = u.deciding.len();
    results.append(&mut u.deciding);
    let outputs = results.iter().map(|v| u.values[v.index()].clone()).collect();
    u.graph.outputs = results;
    name_all(&mut u.graph);
    Some((Case { graph: u.graph, inputs: case.inputs.clone(), outputs, ..Case::default() }, deciding))
}

struct Unroller {
    graph: Graph,
    /// By value.
    values: Vec<Value>,
    deciding: Vec<ValueId>,
}

impl Unroller {
    /// The calls of a graph on these arguments; its results.
    fn body(&mut self, g: &Graph, args: &[ValueId], captures: &[ValueId]) -> Option<Vec<ValueId>> {
        let mut at: Vec<Option<ValueId>> = vec![None; g.values.len()];
        for (v, to) in g.inputs.iter().zip(args).chain(g.captures.iter().zip(captures)) {
            at[v.index()] = Some(*to);
        }
        for (to, info) in at.iter_mut().zip(&g.values).filter(|(to, _)| to.is_none()) {
            *to = info.constant.as_ref().map(|t| self.constant(t.clone()));
        }
        for node in &g.nodes {
            let ids: Vec<Option<ValueId>> = node.inputs.iter().map(|v| v.and_then(|v| at[v.index()])).collect();
            let captured: Vec<ValueId> = node.captures.iter().map(|v| at[v.index()]).collect::<Option<_>>()?;
            let made = if is_control_flow(&*node.op) {
                self.control(node, &ids, &captured)?
            } else {
                self.call(&node.op, ids, captured, node.outputs.len())?
            };
            for (v, to) in node.outputs.iter().zip(made) {
                v.iter().for_each(|v| at[v.index()] = Some(to));
            }
        }
        g.outputs.iter().map(|v| at[v.index()]).collect()
    }

    fn control(&mut self, node: &Node, ids: &[Option<ValueId>], captures: &[ValueId]) -> Option<Vec<ValueId>> {
        let present: Vec<ValueId> = ids.iter().flatten().copied().collect();
        let bodies = node.op.bodies();
        let attrs = node.op.attrs();
        // What no iteration gives has no other source.
        let whole = self.eval(&*node.op, ids, captures, node.outputs.len())?;
        let made = match node.op.def().name {
            "If" => {
                let taken = self.decides(ids.first().copied()??)?;
                self.body(bodies[usize::from(!taken)], &[], captures)?
            }
            "Loop" => self.looped(bodies[0], ids, captures, &whole)?,
            "Scan" => self.scan(bodies[0], &attrs, &present, captures, &whole)?,
            _ => self.mapped(bodies[0], &present, captures, &whole)?,
        };
        (made.len() >= node.outputs.len()).then_some(made)
    }

    fn looped(
        &mut self,
        body: &Graph,
        ids: &[Option<ValueId>],
        captures: &[ValueId],
        whole: &[Value],
    ) -> Option<Vec<ValueId>> {
        let (trips, given) = (ids.first().copied().flatten(), ids.get(1).copied().flatten());
        let trips = match trips {
            Some(v) => {
                self.deciding.push(v);
                Some(*self.values[v.index()].tensor().ok()?.to_i64s().ok()?.first()?)
            }
            None => None,
        };
        let mut goes_on = given.map_or(Some(true), |v| self.decides(v))?;
        let mut carried: Vec<ValueId> = ids.iter().skip(2).copied().collect::<Option<_>>()?;
        let n = carried.len();
        let mut stacked: Vec<Vec<ValueId>> = vec![Vec::new(); body.outputs.len().checked_sub(1 + n)?];
        let mut i = 0i64;
        while goes_on && trips.is_none_or(|m| i < m) {
            let mut args = vec![self.constant(Tensor::scalar(i)), self.constant(Tensor::from_bools(&[], [true]))];
            args.append(&mut carried);
            let results = self.body(body, &args, captures)?;
            goes_on = given.is_none() || self.decides(results[0])?;
            carried = results[1..=n].to_vec();
            stacked.iter_mut().zip(&results[1 + n..]).for_each(|(all, v)| all.push(*v));
            i += 1;
            self.is_small()?;
        }
        for (k, items) in stacked.iter().enumerate() {
            let Some(whole) = whole.get(n + k) else { break };
            carried.push(self.stack(items, 0, whole)?);
        }
        Some(carried)
    }

    fn scan(
        &mut self,
        body: &Graph,
        attrs: &Attrs,
        operands: &[ValueId],
        captures: &[ValueId],
        whole: &[Value],
    ) -> Option<Vec<ValueId>> {
        let ints = |name: &str, k: usize| match attrs.get(name) {
            Some(Attr::Ints(list)) => list.get(k).and_then(egret_ir::Dim::as_int).unwrap_or(0),
            _ => 0,
        };
        let Some(Attr::Int(m)) = attrs.get("num_scan_inputs") else { return None };
        let n = operands.len().checked_sub(usize::try_from(m.as_int()?).ok()?)?;
        let (mut states, scanned) = (operands[..n].to_vec(), &operands[n..]);
        let axis_of = |axis: i64, rank: usize| if axis < 0 { axis + rank as i64 } else { axis };
        let first = self.values[scanned.first()?.index()].tensor().ok()?;
        let steps = first.shape()[axis_of(ints("scan_input_axes", 0), first.rank()) as usize];
        let mut stacked: Vec<Vec<ValueId>> = vec![Vec::new(); body.outputs.len().checked_sub(n)?];
        for t in 0..steps {
            let mut args = std::mem::take(&mut states);
            for (k, v) in scanned.iter().enumerate() {
                let at = if ints("scan_input_directions", k) == 1 { steps - 1 - t } else { t };
                let at = self.constant(Tensor::scalar(at as i64));
                let axis = ints("scan_input_axes", k);
                args.push(self.op("Gather", &attrs! { axis: axis }, &[*v, at])?);
            }
            let results = self.body(body, &args, captures)?;
            states = results[..n].to_vec();
            stacked.iter_mut().zip(&results[n..]).for_each(|(all, v)| all.push(*v));
            self.is_small()?;
        }
        for (k, items) in stacked.iter_mut().enumerate() {
            if ints("scan_output_directions", k) == 1 {
                items.reverse();
            }
            let Some(whole) = whole.get(n + k) else { break };
            states.push(self.stack(items, ints("scan_output_axes", k), whole)?);
        }
        Some(states)
    }

    fn mapped(
        &mut self,
        body: &Graph,
        operands: &[ValueId],
        captures: &[ValueId],
        whole: &[Value],
    ) -> Option<Vec<ValueId>> {
        let Value::Sequence(_, items) = &self.values[operands.first()?.index()] else { return None };
        let n = items.len();
        let mut collected: Vec<Vec<ValueId>> = vec![Vec::new(); body.outputs.len()];
        for k in 0..n {
            let at = self.constant(Tensor::scalar(k as i64));
            let mut args = Vec::new();
            for v in operands {
                args.push(match &self.values[v.index()] {
                    Value::Sequence(..) => self.op("SequenceAt", &attrs! {}, &[*v, at])?,
                    _ => *v,
                });
            }
            let results = self.body(body, &args, captures)?;
            collected.iter_mut().zip(results).for_each(|(all, v)| all.push(v));
            self.is_small()?;
        }
        let mut made = Vec::new();
        for (items, whole) in collected.iter().zip(whole) {
            made.push(match (&items[..], whole) {
                ([], Value::Sequence(Type::Tensor(t), _)) => {
                    self.op("SequenceEmpty", &attrs! { dtype: t.dtype }, &[])?
                }
                (items, _) => self.op("SequenceConstruct", &attrs! {}, items)?,
            });
        }
        Some(made)
    }

    /// Values of one shape side by side along a new axis; `whole` is what that should be.
    fn stack(&mut self, items: &[ValueId], axis: i64, whole: &Value) -> Option<ValueId> {
        if items.is_empty() {
            return Some(self.constant(whole.tensor().ok()?.clone()));
        }
        let axes = self.constant(Tensor::from_slice(&[1], &[axis]));
        let items = items.iter().map(|v| self.op("Unsqueeze", &attrs! {}, &[*v, axes])).collect::<Option<Vec<_>>>()?;
        self.op("Concat", &attrs! { axis: axis }, &items)
    }

    /// The truth value of one element, which decides the way.
    fn decides(&mut self, v: ValueId) -> Option<bool> {
        self.deciding.push(v);
        self.values[v.index()].tensor().ok()?.bools().ok()?.first().copied()
    }

    fn is_small(&self) -> Option<()> {
        (self.graph.nodes.len() <= MAX_NODES).then_some(())
    }

    fn constant(&mut self, t: Tensor) -> ValueId {
        self.values.push(t.clone().into());
        self.graph.add_constant("", t)
    }

    fn op(&mut self, name: &str, attrs: &Attrs, inputs: &[ValueId]) -> Option<ValueId> {
        let op = (ops::find("ai.onnx", name)?.parse)(attrs).ok()?;
        self.call(&op, inputs.iter().copied().map(Some).collect(), Vec::new(), 1)?.first().copied()
    }

    fn eval(
        &self,
        op: &dyn Op,
        inputs: &[Option<ValueId>],
        captures: &[ValueId],
        n_outputs: usize,
    ) -> Option<Vec<Value>> {
        let operands: Vec<Option<&Value>> = inputs.iter().map(|v| v.map(|v| &self.values[v.index()])).collect();
        let captured: Vec<Value> = captures.iter().map(|v| self.values[v.index()].clone()).collect();
        let env = Env::new(Limits { loop_steps: 1 << 16, ..Limits::default() }, 0);
        eval_call(op, &operands, &captured, n_outputs, &env, &Reference).ok()
    }

    fn call(
        &mut self,
        op: &Arc<dyn Op>,
        inputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
        n_outputs: usize,
    ) -> Option<Vec<ValueId>> {
        self.is_small()?;
        let results = self.eval(&**op, &inputs, &captures, n_outputs)?;
        let mut made = Vec::with_capacity(results.len());
        for value in results {
            made.push(self.graph.add_value("", value.ty()));
            self.values.push(value);
        }
        let outputs = made.iter().copied().map(Some).collect();
        self.graph.nodes.push(Node { op: Arc::clone(op), name: String::new(), inputs, captures, outputs });
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::eval::evaluate;
    use egret_ir::text;

    fn case(source: &str, inputs: Vec<Value>) -> Case {
        let mut graph = text::parse(source).unwrap().remove(0);
        egret_ir::infer::infer(&mut graph).unwrap();
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        Case { graph, inputs, outputs, ..Case::default() }
    }

    #[test]
    fn examples_of_control_flow_unroll_to_the_same_results() {
        let x = Value::from(Tensor::from_slice(&[2], &[1.0f32, -2.0]));
        let one = Value::from(Tensor::from_slice(&[1], &[1.0f32]));
        let column = Value::from(Tensor::from_slice(&[3, 1], &[1.0f32, 2.0, 3.0]));
        let given = |name: &str| match name {
            "If" => vec![Tensor::from_bools(&[], [true]).into(), x.clone()],
            "Loop" => vec![Tensor::scalar(3i64).into(), one.clone()],
            "Scan" => vec![one.clone(), column.clone()],
            _ => vec![x.clone(), one.clone()],
        };
        for (name, deciding) in [("If", 1), ("Loop", 1), ("Scan", 0), ("SequenceMap", 0)] {
            let case = case(ops::find("ai.onnx", name).unwrap().examples, given(name));
            let (flat, n) = unrolled(&case).unwrap();
            assert!(!has_control_flow(&flat.graph), "{name}");
            assert_eq!(n, deciding, "{name}");
            assert_eq!(flat.outputs[..flat.outputs.len() - n], case.outputs, "{name}");
            let again = evaluate(&flat.graph, flat.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(again, flat.outputs, "{name}");
        }
    }

    #[test]
    fn a_loop_of_no_iteration_stacks_nothing() {
        let one = Value::from(Tensor::from_slice(&[1], &[1.0f32]));
        let case = case(ops::find("ai.onnx", "Loop").unwrap().examples, vec![Tensor::scalar(0i64).into(), one]);
        let (flat, n) = unrolled(&case).unwrap();
        assert_eq!(flat.outputs[..flat.outputs.len() - n], case.outputs);
    }
}
