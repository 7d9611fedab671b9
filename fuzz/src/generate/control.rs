//! Calls with bodies: `If`, `Loop`, `Scan`, `SequenceMap`. A body is grown as the graph is, from values that it captures and
//! those that its arguments have when it first runs; new arguments of its calls become outer ones that it captures too.

use super::growing::Growing;
use super::{Config, Generator, Refused};
use crate::choices::{Choices, pick};
use crate::form::is_plain;
use crate::unroll::first_entry;
use crate::values::{self, Values};
use egret_ir::infer::{infer_call, walk};
use egret_ir::types::{Shape, TensorType};
use egret_ir::{Attr, Attrs, DType, Fact, Graph, Node, Tensor, Type, Value, ValueId, attrs, ops};
use std::sync::Arc;

/// Bodies within bodies end here.
const DEPTH: usize = 3;
/// Attempts to insert one such call.
const ATTEMPTS: usize = 4;
/// Most calls of one body.
const BODY: usize = 3;
/// Numbers of iterations that are drawn, by weight in the list.
const TRIPS: &[i64] = &[0, 1, 2, 2, 3, 3, 5];

/// Where a call with bodies stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Bodies around it.
    pub(super) level: usize,
    /// About how many calls its bodies have in all.
    pub(super) room: usize,
}

/// A body in the making.
struct Body {
    growing: Growing,
    /// Its arguments.
    params: Vec<ValueId>,
    /// Values of it, each with the outer one that it is.
    captured: Vec<(ValueId, ValueId)>,
}

impl Body {
    /// A body with arguments that first have these values, and a few values of the graph around it.
    fn new(outer: &Growing, level: usize, params: Vec<Value>, choices: &mut dyn Choices) -> Body {
        let mut body = Body {
            growing: Growing { prefix: format!("b{level}_"), ..Growing::new("body") },
            params: Vec::new(),
            captured: Vec::new(),
        };
        for value in params {
            let v = body.growing.value(value);
            body.params.push(v);
        }
        let plain: Vec<ValueId> = outer.ids().filter(|v| is_plain(&outer.values[v.index()].ty())).collect();
        for _ in 0..plain.len().min(3) {
            body.capture(outer, *pick(choices, &plain));
        }
        body
    }

    /// The outer value within.
    fn capture(&mut self, outer: &Growing, v: ValueId) -> ValueId {
        if let Some((inner, _)) = self.captured.iter().find(|(_, o)| *o == v) {
            return *inner;
        }
        let inner = self.growing.value(outer.values[v.index()].clone());
        self.captured.push((inner, v));
        inner
    }

    /// Values that its calls made, those that nothing reads yet at the end.
    fn made(&self) -> Vec<ValueId> {
        let g = &self.growing.graph;
        let read = |v: &ValueId| g.nodes.iter().any(|n| n.uses().any(|u| u == *v));
        let mut made: Vec<ValueId> = g.nodes.iter().flat_map(Node::defs).collect();
        made.retain(|v| is_plain(&self.growing.values[v.index()].ty()));
        made.sort_by_key(|v| !read(v));
        made
    }

    /// A value that a call of the body makes of this type, latest first; or the value itself, by an `Identity`, if it has it.
    fn result_like(&mut self, like: &Type, or: ValueId) -> Option<ValueId> {
        let fits = |v: &&ValueId| self.growing.values[v.index()].has_type(like);
        if let Some(v) = self.made().iter().rev().find(fits) {
            return Some(*v);
        }
        self.growing.values[or.index()].has_type(like).then(|| self.growing.identity(or))?
    }

    /// The finished graph, and the outer values that it captures; new arguments of its calls are added to the graph around.
    ///
    /// Calls that no result needs are left out, but now and then: much of a body would be such calls.
    fn close(mut self, outer: &mut Growing, results: Vec<ValueId>, choices: &mut dyn Choices) -> (Graph, Vec<ValueId>) {
        let mut graph = std::mem::take(&mut self.growing.graph);
        if !choices.chance(1, 8) {
            let mut needed = vec![false; graph.values.len()];
            results.iter().for_each(|v| needed[v.index()] = true);
            let mut dead = vec![false; graph.nodes.len()];
            for (n, node) in graph.nodes.iter().enumerate().rev() {
                dead[n] = !node.defs().any(|v| needed[v.index()]);
                if !dead[n] {
                    node.uses().for_each(|v| needed[v.index()] = true);
                }
            }
            graph.remove_nodes(&dead);
        }
        let used = |v: ValueId| results.contains(&v) || graph.nodes.iter().any(|n| n.uses().any(|u| u == v));
        self.captured.retain(|(inner, _)| used(*inner));
        for (v, value) in graph.inputs.iter().zip(self.growing.inputs).filter(|(v, _)| used(**v)) {
            self.captured.push((*v, outer.argument(value)));
        }
        graph.inputs = self.params;
        graph.captures = self.captured.iter().map(|(inner, _)| *inner).collect();
        graph.outputs = results;
        (graph, self.captured.into_iter().map(|(_, v)| v).collect())
    }
}

/// Adds captures that another body of the same call has.
fn also_capture(graph: &mut Graph, outer: &Growing, more: &[ValueId]) {
    for v in more {
        let name = format!("c{}", graph.values.len());
        graph.add_capture(name, outer.graph.ty(*v).clone());
    }
}

impl Generator {
    /// Inserts a call with bodies.
    pub(super) fn insert_control(&mut self, growing: &mut Growing, place: Place, choices: &mut dyn Choices) -> bool {
        self.attempted(growing, ATTEMPTS, |this, after| match choices.below(4) {
            0 => this.branches(after, place, choices),
            1 => this.looped(after, place, choices),
            2 => this.scanned(after, place, choices),
            _ => this.mapped(after, place, choices),
        })
    }

    /// Calls in a body, which hang together more than those of a graph: little of a body can be a result.
    fn grow_body(&mut self, body: &mut Body, place: Place, choices: &mut dyn Choices) {
        let around = (self.config.reuse_percent, self.config.shared_percent, self.config.backward_percent);
        (self.config.reuse_percent, self.config.shared_percent, self.config.backward_percent) = (95, 10, 5);
        self.grow_calls(body, place, choices);
        (self.config.reuse_percent, self.config.shared_percent, self.config.backward_percent) = around;
    }

    fn grow_calls(&mut self, body: &mut Body, place: Place, choices: &mut dyn Choices) {
        let wanted = 1 + choices.below(BODY.min(place.room.max(1)));
        let mut misses = 0;
        while body.growing.graph.nodes.len() < wanted && misses < 10 {
            if place.level + 1 < DEPTH && choices.below(100) < self.config.control_percent / 2 {
                let within = Place { level: place.level + 1, room: 1 };
                misses += usize::from(!self.insert_control(&mut body.growing, within, choices));
                continue;
            }
            let Some(at) = self.least_used(choices) else { return };
            if self.insert(at, &mut body.growing, choices) {
                self.menu[at].used += 1;
            } else {
                self.menu[at].failed += 1;
                misses += 1;
            }
        }
    }

    fn branches(&mut self, outer: &mut Growing, place: Place, choices: &mut dyn Choices) -> Result<(), Refused> {
        let cond = flag(outer, &self.config, choices);
        let half = Place { room: place.room / 2, ..place };
        let mut one = Body::new(outer, place.level + 1, Vec::new(), choices);
        self.grow_body(&mut one, half, choices);
        let made = one.made();
        let results = some_of(made, 1, choices).ok_or(Refused::Quietly)?;
        let types: Vec<Type> = results.iter().map(|v| one.growing.values[v.index()].ty()).collect();
        let (first, mut captures) = one.close(outer, results, choices);
        // The other branch starts from values of the types that it must give.
        let mut other = Body::new(outer, place.level + 1, Vec::new(), choices);
        let mut starts = Vec::new();
        for ty in &types {
            let known: Vec<ValueId> = outer.ids().filter(|v| outer.values[v.index()].has_type(ty)).collect();
            starts.push(if known.is_empty() || choices.chance(1, 4) {
                let (dtype, shape) = ty.concrete().ok_or(Refused::Quietly)?;
                let t = plain_tensor(dtype, &shape, choices)?;
                other.growing.argument(t.into())
            } else {
                other.capture(outer, *pick(choices, &known))
            });
        }
        self.grow_body(&mut other, half, choices);
        let mut results = Vec::new();
        for (ty, start) in types.iter().zip(starts) {
            // Branches may give different extents.
            let unequal = |v: &ValueId| match (&other.growing.values[v.index()], ty.concrete()) {
                (Value::Tensor(t), Some((dtype, shape))) => t.dtype() == dtype && t.rank() == shape.len(),
                _ => false,
            };
            let alike = if choices.chance(1, 6) { other.made().into_iter().rfind(unequal) } else { None };
            let found = match alike {
                Some(v) => Some(v),
                None => other.result_like(ty, start),
            };
            results.push(found.ok_or(Refused::Quietly)?);
        }
        let (mut second, more) = other.close(outer, results, choices);
        also_capture(&mut second, outer, &captures);
        // The second branch lists its own captures first.
        let mut first = first;
        let own = std::mem::take(&mut first.captures);
        also_capture(&mut first, outer, &more);
        first.captures.extend(own);
        captures.splice(0..0, more);
        let (first, second) = if choices.chance(1, 2) { (first, second) } else { (second, first) };
        let attrs = attrs! { then_branch: Attr::Graph(Arc::new(first)), else_branch: Attr::Graph(Arc::new(second)) };
        outer.call("If", &attrs, vec![Some(cond)], captures, types.len(), self.bounds())?;
        Ok(())
    }

    fn looped(&mut self, outer: &mut Growing, place: Place, choices: &mut dyn Choices) -> Result<(), Refused> {
        let trips = *pick(choices, TRIPS);
        // Without a number of iterations the condition ends it.
        let counted = choices.chance(3, 4);
        let given = !counted || choices.chance(1, 3);
        let m = if counted {
            let shape: &[usize] = if choices.chance(1, 4) { &[1] } else { &[] };
            Some(outer.source(Tensor::from_slice(shape, &[trips]), &self.config, choices))
        } else {
            None
        };
        let cond = if given { Some(flag(outer, &self.config, choices)) } else { None };
        let mut carried = Vec::new();
        for _ in 0..choices.below(3) {
            carried.push(some_value(outer, 0, &self.config, choices)?);
        }
        let mut params = vec![Tensor::scalar(0i64).into(), Tensor::from_bools(&[], [true]).into()];
        params.extend(carried.iter().map(|v| outer.values[v.index()].clone()));
        let mut body = Body::new(outer, place.level + 1, params, choices);
        self.grow_body(&mut body, place, choices);
        let mut results = vec![self.goes_on(&mut body, counted, trips, choices)?];
        for k in 0..carried.len() {
            results.push(next_of(&mut body, 2 + k, choices)?);
        }
        let n_stacked = usize::from(carried.is_empty()) + choices.below(2);
        if n_stacked > 0 {
            results.extend(some_of(body.made(), n_stacked, choices).ok_or(Refused::Quietly)?);
        }
        let n_outputs = results.len() - 1;
        let (graph, captures) = body.close(outer, results, choices);
        let mut inputs = vec![m, cond];
        inputs.extend(carried.iter().copied().map(Some));
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let args = |_: &Growing, types: &[Type]| {
            let first = [Type::tensor(DType::I64, &[]), Type::tensor(DType::Bool, &[])];
            first.into_iter().chain(types.iter().take(carried.len()).cloned()).collect::<Vec<_>>()
        };
        self.repeated("Loop", attrs! {}, outer, graph, inputs, captures, n_outputs, &args)
    }

    /// The body's condition: as it was, computed from the iteration, or any truth value that is there.
    fn goes_on(
        &mut self,
        body: &mut Body,
        counted: bool,
        trips: i64,
        choices: &mut dyn Choices,
    ) -> Result<ValueId, Refused> {
        let condition = body.params[1];
        let way = if counted { choices.below(4) } else { 0 };
        match way {
            0 => {
                // True until the last iteration.
                let last = body.growing.constant(Tensor::scalar((trips - 1).max(0)));
                let inputs = vec![Some(body.params[0]), Some(last)];
                let made = body.growing.call("Less", &attrs! {}, inputs, Vec::new(), 1, self.bounds())?;
                Ok(made[0])
            }
            1 => Ok(body.growing.constant(Tensor::from_bools(&[], [true]))),
            2 => body.result_like(&Type::tensor(DType::Bool, &[]), condition).ok_or(Refused::Quietly),
            _ => body.growing.identity(condition).ok_or(Refused::Quietly),
        }
    }

    fn scanned(&mut self, outer: &mut Growing, place: Place, choices: &mut dyn Choices) -> Result<(), Refused> {
        let mut states = Vec::new();
        for _ in 0..choices.below(2) {
            states.push(some_value(outer, 0, &self.config, choices)?);
        }
        let first = some_value(outer, 1, &self.config, choices)?;
        let shape_of = |outer: &Growing, v: ValueId| {
            outer.values[v.index()].tensor().map(|t| (t.dtype(), t.shape().to_vec())).map_err(|_| Refused::Quietly)
        };
        let mut axes = vec![choices.below(shape_of(outer, first)?.1.len())];
        let steps = shape_of(outer, first)?.1[axes[0]];
        if steps > 8 {
            return Err(Refused::Quietly);
        }
        let mut scanned = vec![first];
        if choices.chance(1, 3) {
            let fits = |v: &ValueId| {
                let t = outer.values[v.index()].tensor().ok();
                t.filter(|t| is_plain(&outer.values[v.index()].ty()) && t.shape().contains(&steps)).is_some()
            };
            let known: Vec<ValueId> = outer.ids().filter(fits).collect();
            if !known.is_empty() {
                let v = *pick(choices, &known);
                let places: Vec<usize> =
                    shape_of(outer, v)?.1.iter().enumerate().filter(|(_, d)| **d == steps).map(|(a, _)| a).collect();
                axes.push(*pick(choices, &places));
                scanned.push(v);
            }
        }
        let mut params: Vec<Value> = states.iter().map(|v| outer.values[v.index()].clone()).collect();
        for (v, axis) in scanned.iter().zip(&axes) {
            params.push(entry(outer.values[v.index()].tensor().map_err(|_| Refused::Quietly)?, *axis, choices)?.into());
        }
        let mut body = Body::new(outer, place.level + 1, params, choices);
        self.grow_body(&mut body, place, choices);
        let mut results = Vec::new();
        for k in 0..states.len() {
            results.push(next_of(&mut body, k, choices)?);
        }
        let n_stacked = usize::from(states.is_empty()) + choices.below(2);
        if n_stacked > 0 {
            results.extend(some_of(body.made(), n_stacked, choices).ok_or(Refused::Quietly)?);
        }
        let mut attrs = attrs! { num_scan_inputs: scanned.len() as i64 };
        let mut list = |name: &str, of: Vec<i64>, choices: &mut dyn Choices| {
            if of.iter().any(|v| *v != 0) || choices.chance(1, 4) {
                attrs.insert(name.to_owned(), Attr::from(of));
            }
        };
        let negative = choices.chance(1, 4);
        let mut in_axes = Vec::new();
        for (v, a) in scanned.iter().zip(&axes) {
            let rank = shape_of(outer, *v)?.1.len() as i64;
            in_axes.push(if negative { *a as i64 - rank } else { *a as i64 });
        }
        list("scan_input_axes", in_axes, choices);
        list("scan_input_directions", scanned.iter().map(|_| i64::from(choices.chance(1, 3))).collect(), choices);
        let rank = |v: &ValueId| body.growing.values[v.index()].tensor().map_or(0, Tensor::rank);
        let ranks: Vec<usize> = results[states.len()..].iter().map(rank).collect();
        if !ranks.is_empty() {
            list("scan_output_axes", ranks.iter().map(|r| choices.below(r + 1) as i64).collect(), choices);
            list("scan_output_directions", ranks.iter().map(|_| i64::from(choices.chance(1, 3))).collect(), choices);
        }
        let n_outputs = results.len();
        let (graph, captures) = body.close(outer, results, choices);
        let inputs: Vec<Option<ValueId>> = states.iter().chain(&scanned).copied().map(Some).collect();
        let slices: Vec<Type> = scanned
            .iter()
            .zip(&axes)
            .map(|(v, axis)| {
                let (dtype, mut shape) = shape_of(outer, *v)?;
                shape.remove(*axis);
                Ok(Type::tensor(dtype, &shape))
            })
            .collect::<Result<_, Refused>>()?;
        let n_states = states.len();
        let args = |_: &Growing, types: &[Type]| {
            types.iter().take(n_states).cloned().chain(slices.iter().cloned()).collect::<Vec<_>>()
        };
        self.repeated("Scan", attrs, outer, graph, inputs, captures, n_outputs, &args)
    }

    fn mapped(&mut self, outer: &mut Growing, place: Place, choices: &mut dyn Choices) -> Result<(), Refused> {
        let first = some_value(outer, 0, &self.config, choices)?;
        let Value::Tensor(t) = outer.values[first.index()].clone() else { return Err(Refused::Quietly) };
        let mut items = vec![first];
        for _ in 0..choices.below(3) {
            let same = |v: &ValueId| outer.values[v.index()].tensor().is_ok_and(|x| x.dtype() == t.dtype());
            let known: Vec<ValueId> = outer.ids().filter(same).collect();
            items.push(if choices.chance(1, 2) {
                *pick(choices, &known)
            } else {
                let t = plain_tensor(t.dtype(), t.shape(), choices)?;
                outer.source(t, &self.config, choices)
            });
        }
        let inputs = items.iter().copied().map(Some).collect();
        let sequence = outer.call("SequenceConstruct", &attrs! {}, inputs, Vec::new(), 1, self.bounds())?[0];
        let mut inputs = vec![sequence];
        let mut params = vec![Value::from(t)];
        if choices.chance(1, 3) {
            let beside = some_value(outer, 0, &self.config, choices)?;
            inputs.push(beside);
            params.push(outer.values[beside.index()].clone());
        }
        let mut body = Body::new(outer, place.level + 1, params, choices);
        self.grow_body(&mut body, place, choices);
        let results = some_of(body.made(), 1, choices).ok_or(Refused::Quietly)?;
        let n_outputs = results.len();
        let (graph, captures) = body.close(outer, results, choices);
        let operands: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        let args = |outer: &Growing, _: &[Type]| {
            let of = |v: &ValueId| match &outer.values[v.index()] {
                Value::Sequence(_, items) => {
                    let types: Vec<Type> = items.iter().map(Value::ty).collect();
                    let equal = types.windows(2).all(|w| w[0] == w[1]);
                    if equal { types[0].clone() } else { opened(&types[0]) }
                }
                other => other.ty(),
            };
            inputs.iter().map(of).collect::<Vec<_>>()
        };
        let before = outer.values.len();
        self.repeated("SequenceMap", attrs! {}, outer, graph, operands, captures, n_outputs, &args)?;
        // A tensor of each sequence, so that other calls can read it.
        for v in (before..outer.values.len()).map(|i| ValueId(i as u32)).collect::<Vec<_>>() {
            let Value::Sequence(_, made) = &outer.values[v.index()] else { continue };
            let shape = |x: &Value| x.tensor().map(|t| t.shape().to_vec()).unwrap_or_default();
            let equal = made.windows(2).all(|w| shape(&w[0]) == shape(&w[1]));
            if equal && choices.chance(2, 3) {
                let attrs = attrs! { axis: 0i64, new_axis: 1i64 };
                outer.call("ConcatFromSequence", &attrs, vec![Some(v)], Vec::new(), 1, self.bounds())?;
            } else {
                let at = choices.below(made.len()) as i64;
                let at = outer.source(Tensor::scalar(at), &self.config, choices);
                outer.call("SequenceAt", &attrs! {}, vec![Some(v), Some(at)], Vec::new(), 1, self.bounds())?;
            }
        }
        Ok(())
    }

    /// A call whose body runs any number of times: types within are stated only where they are the same each time. `args`
    /// gives the types of the body's arguments from those that the rule gives the results.
    fn repeated(
        &mut self,
        name: &str,
        mut attrs: Attrs,
        outer: &mut Growing,
        mut body: Graph,
        inputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
        n_outputs: usize,
        args: &dyn Fn(&Growing, &[Type]) -> Vec<Type>,
    ) -> Result<(), Refused> {
        let def = ops::find("ai.onnx", name).ok_or(Refused::Quietly)?;
        open_types(&mut body);
        attrs.insert("body".to_owned(), Attr::Graph(Arc::new(body.clone())));
        let op = (def.parse)(&attrs).map_err(|_| Refused::Quietly)?;
        let facts: Vec<Option<Fact>> = inputs.iter().map(|v| v.map(|v| outer.fact(v))).collect();
        let captured: Vec<Fact> = captures.iter().map(|v| outer.fact(*v)).collect();
        let open = infer_call(&*op, &facts, &captured, n_outputs, &mut 0).map_err(|_| Refused::Quietly)?;
        let types: Vec<Type> = open.outputs.iter().map(|f| f.ty.clone()).collect();
        let facts: Vec<Fact> = args(outer, &types).into_iter().map(Fact::of).collect();
        // Types of arguments hold whatever follows from them.
        for (v, fact) in body.inputs.clone().into_iter().zip(&facts).filter(|(_, f)| f.ty.concrete().is_some()) {
            body.values[v.index()].ty = fact.ty.clone();
        }
        if facts.len() == body.inputs.len()
            && let Ok(found) = walk(&body, &facts, &captured, &mut 0)
        {
            for (info, fact) in body.values.iter_mut().zip(&found.facts) {
                if info.constant.is_none() && fact.ty.concrete().is_some() {
                    info.ty = fact.ty.clone();
                }
            }
        }
        attrs.insert("body".to_owned(), Attr::Graph(Arc::new(body)));
        outer.call(name, &attrs, inputs, captures, n_outputs, self.bounds())?;
        Ok(())
    }
}

/// The type without extents.
fn opened(ty: &Type) -> Type {
    match ty {
        Type::Tensor(t) => Type::Tensor(TensorType { dtype: t.dtype, shape: Shape::Unranked }),
        other => other.clone(),
    }
}

/// The type of a value in a graph: of sequences of unequal tensors no extents are stated.
pub(super) fn stated_type(value: &Value) -> Type {
    match value.ty() {
        Type::Sequence(ty) if ty.concrete().is_none() => Type::Sequence(Box::new(opened(&ty))),
        ty => ty,
    }
}

/// States no extents in a body but those of constants.
fn open_types(body: &mut Graph) {
    for info in body.values.iter_mut().filter(|v| v.constant.is_none()) {
        info.ty = opened(&info.ty);
    }
    open_bodies(body);
}

/// States no extents in the bodies within.
pub(super) fn open_bodies(graph: &mut Graph) {
    graph.nodes.iter_mut().for_each(open_bodies_of);
}

/// States no extents in the bodies of a call.
pub(crate) fn open_bodies_of(node: &mut Node) {
    if node.op.bodies().is_empty() {
        return;
    }
    let mut attrs = node.op.attrs();
    for attr in attrs.values_mut() {
        if let Attr::Graph(inner) = attr {
            let mut inner = (**inner).clone();
            open_types(&mut inner);
            if node.op.def().name == "Loop" {
                // These are scalars in every iteration.
                for (v, dtype) in inner.inputs.clone().into_iter().zip([DType::I64, DType::Bool]) {
                    inner.values[v.index()].ty = Type::tensor(dtype, &[]);
                }
            }
            *attr = Attr::Graph(Arc::new(inner));
        }
    }
    if let Ok(op) = (node.op.def().parse)(&attrs) {
        node.op = op;
    }
}

/// Ordinary elements.
fn plain_tensor(dtype: DType, shape: &[usize], choices: &mut dyn Choices) -> Result<Tensor, Refused> {
    values::tensor(dtype, shape, Values::Ordinary, (f64::NEG_INFINITY, f64::INFINITY), choices)
        .map_err(|_| Refused::Quietly)
}

/// One entry of an axis; made up where the axis has none.
fn entry(t: &Tensor, axis: usize, choices: &mut dyn Choices) -> Result<Tensor, Refused> {
    let mut shape = t.shape().to_vec();
    shape.remove(axis);
    first_entry(t, axis).map_or_else(|| plain_tensor(t.dtype(), &shape, choices), Ok)
}

/// One truth value: one that is there, or a new one.
fn flag(outer: &mut Growing, config: &Config, choices: &mut dyn Choices) -> ValueId {
    let fits = |v: &ValueId| outer.values[v.index()].tensor().is_ok_and(|t| t.dtype() == DType::Bool && t.len() == 1);
    let known: Vec<ValueId> = outer.ids().filter(fits).collect();
    if !known.is_empty() && choices.chance(1, 2) {
        return *pick(choices, &known);
    }
    let shape: &[usize] = if choices.chance(1, 4) { &[1] } else { &[] };
    let t = Tensor::from_bools(shape, [choices.chance(1, 2)]);
    outer.source(t, config, choices)
}

/// A tensor of so many axes or more: one that is there, or a new one.
fn some_value(
    outer: &mut Growing,
    least_rank: usize,
    config: &Config,
    choices: &mut dyn Choices,
) -> Result<ValueId, Refused> {
    let fits = |v: &ValueId| {
        let value = &outer.values[v.index()];
        is_plain(&value.ty()) && value.tensor().is_ok_and(|t| t.rank() >= least_rank)
    };
    let known: Vec<ValueId> = outer.ids().filter(fits).collect();
    if !known.is_empty() && choices.chance(3, 4) {
        return Ok(*pick(choices, &known));
    }
    let dtype = *pick(choices, &[DType::F32, DType::F32, DType::F32, DType::I64, DType::F64, DType::I32, DType::U8]);
    let rank = least_rank + choices.below(3);
    let shape: Vec<usize> = (0..rank).map(|_| *pick(choices, &[1, 2, 2, 3, 3, 4, 5, 0])).collect();
    let t = plain_tensor(dtype, &shape, choices)?;
    Ok(outer.source(t, config, choices))
}

/// `least` or one more of a list, the latest most often.
fn some_of(mut list: Vec<ValueId>, least: usize, choices: &mut dyn Choices) -> Option<Vec<ValueId>> {
    let n = least + choices.below(2);
    let mut out = Vec::new();
    while out.len() < n
        && let Some(last) = list.pop()
    {
        out.push(last);
    }
    (out.len() >= least).then_some(out)
}

/// What a carried value becomes: of its own type, now and then of other extents; as it was where nothing has the type.
fn next_of(body: &mut Body, param: usize, choices: &mut dyn Choices) -> Result<ValueId, Refused> {
    let param = body.params[param];
    let value = body.growing.values[param.index()].clone();
    if choices.chance(1, 8)
        && let Value::Tensor(t) = &value
    {
        let fits = |v: &&ValueId| {
            body.growing.values[v.index()].tensor().is_ok_and(|x| x.dtype() == t.dtype() && x.rank() == t.rank())
        };
        if let Some(v) = body.made().iter().rev().find(fits) {
            return Ok(*v);
        }
    }
    body.result_like(&value.ty(), param).ok_or(Refused::Quietly)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Egret, System};
    use crate::choices::Seeded;
    use crate::generate::Case;
    use crate::unroll::{has_control_flow, unrolled};
    use egret_ir::eval::{Env, evaluate};
    use egret_ir::onnx::{self, Model};
    use egret_ir::verify::verify;
    use std::collections::BTreeSet;

    fn cases(seed: u64, n: u64) -> Vec<Case> {
        let only = ["Add", "Relu", "MatMul", "Concat", "ReduceSum", "Less", "Unsqueeze", "NonZero", "Cast"];
        let config = Config { control_percent: 60, nodes: 6, only: only.map(Into::into).into(), ..Config::default() };
        let mut generator = Generator::new(config);
        let made = (0..n).map(|i| generator.generate(&mut Seeded::new(seed, i)).unwrap()).collect();
        assert!(generator.bugs.is_empty(), "{:?}", generator.bugs.iter().map(|b| &b.2).collect::<Vec<_>>());
        made
    }

    fn deepest(g: &Graph) -> usize {
        g.nodes.iter().flat_map(|n| n.op.bodies()).map(|b| 1 + deepest(b)).max().unwrap_or(0)
    }

    #[test]
    fn graphs_with_bodies_are_valid_and_evaluate_to_their_outputs() {
        let mut seen = BTreeSet::new();
        let mut depth = 0;
        for case in cases(1, 60) {
            let text = egret_ir::text::print(&case.graph);
            assert!(verify(&case.graph).is_empty(), "{text}");
            let got = evaluate(&case.graph, case.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{:?}", case.outputs), "{text}");
            if has_control_flow(&case.graph) {
                let (flat, n) = unrolled(&case).unwrap();
                let results = &flat.outputs[..flat.outputs.len() - n];
                assert_eq!(format!("{results:?}"), format!("{:?}", case.outputs), "{text}");
            }
            seen.extend(case.graph.nodes.iter().map(|n| n.op.def().name).collect::<Vec<_>>());
            depth = depth.max(deepest(&case.graph));
        }
        assert!(["If", "Loop", "Scan", "SequenceMap"].iter().all(|n| seen.contains(n)), "{seen:?}");
        assert!((2..=DEPTH).contains(&depth), "{depth}");
    }

    #[test]
    fn loops_say_that_their_iteration_is_a_scalar() {
        fn check(g: &Graph, seen: &mut usize) {
            for node in &g.nodes {
                for body in node.op.bodies() {
                    if node.op.def().name == "Loop" {
                        *seen += 1;
                        assert_eq!(*body.ty(body.inputs[0]), Type::tensor(DType::I64, &[]));
                        assert_eq!(*body.ty(body.inputs[1]), Type::tensor(DType::Bool, &[]));
                    }
                    check(body, seen);
                }
            }
        }
        let mut seen = 0;
        cases(4, 40).iter().for_each(|case| check(&case.graph, &mut seen));
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn graphs_with_bodies_are_exported_and_read_back() {
        for case in cases(2, 30) {
            let bytes = onnx::export(&Model { graph: case.graph.clone(), ir_version: 10, ..Model::default() }).unwrap();
            let again = onnx::import_bytes(bytes.into(), None, &onnx::Limits::default()).unwrap().graph;
            let got = evaluate(&again, case.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{:?}", case.outputs), "{}", egret_ir::text::print(&case.graph));
        }
    }

    #[test]
    fn egret_agrees_with_its_reference_on_graphs_with_bodies() {
        for case in cases(3, 12) {
            let found = Egret::default().check(&case).unwrap();
            assert!(found.is_none(), "{found:?}\n{}", egret_ir::text::print(&case.graph));
        }
    }
}
