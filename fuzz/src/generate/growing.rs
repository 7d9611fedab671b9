//! A graph in the making, with the value of everything in it: operands for a form, calls that are evaluated and added.

use super::control::stated_type;
use super::prepared::{Prepared, Present};
use super::quantised::Parameters;
use super::{Bounds, Case, Config, Refused, limits};
use crate::choices::{Choices, pick};
use crate::form::{Operand, is_plain};
use crate::probe::kind_of;
use crate::solve::State;
use crate::stated::quantises;
use crate::values::{self, Values};
use egret_ir::eval::{Env, Reference, eval_call};
use egret_ir::infer::infer_call;
use egret_ir::rule::Content;
use egret_ir::{
    Attr, Attrs, DType, Dim, ErrorKind, Fact, Graph, Node, Op, OpDef, Tensor, Type, Value, ValueId, attrs, ops,
};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Of so many calls with a content, one has it as an argument.
const LATE: usize = 12;
/// Forms that are drawn until one has worked before, or was not tried much.
const FORM_DRAWS: usize = 6;

#[derive(Clone)]
pub(super) struct Growing {
    pub(super) graph: Graph,
    /// By value.
    pub(super) values: Vec<Value>,
    pub(super) inputs: Vec<Value>,
    /// In front of all names, so that those of a body are not those of the graph around it.
    pub(super) prefix: String,
    /// Of quantised values, by what.
    pub(super) parameters: BTreeMap<ValueId, Parameters>,
}

/// Scales of quantised tensors.
pub(super) const SCALES: (f64, f64) = (1.0 / 64.0, 2.0);

/// The names of an operator's operands, lower case.
pub(crate) fn operand_names(def: &OpDef) -> Vec<String> {
    OpDef::names(def.inputs).map(str::to_lowercase).collect()
}

/// An operand before it has elements.
pub(super) enum Planned {
    None,
    Existing(ValueId),
    /// Element type, extents, whether it is a constant.
    New(DType, Vec<usize>, bool),
    Content(Tensor),
}

/// Where an operand comes from.
pub(super) enum Source {
    None,
    Existing(ValueId),
    New(Tensor, bool),
}

impl Growing {
    pub(super) fn new(name: &str) -> Growing {
        Growing {
            graph: Graph::new(name),
            values: Vec::new(),
            inputs: Vec::new(),
            prefix: String::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// The name of the next value: what it is, and a number.
    pub(super) fn name(&self, kind: &str) -> String {
        format!("{}{kind}{}", self.prefix, self.graph.values.len())
    }

    /// All values.
    pub(super) fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len() as u32).map(ValueId)
    }

    /// A value without a maker.
    pub(super) fn value(&mut self, value: Value) -> ValueId {
        let v = self.graph.add_value(self.name("p"), value.ty());
        self.values.push(value);
        v
    }

    /// A new argument.
    pub(super) fn argument(&mut self, value: Value) -> ValueId {
        let v = self.graph.add_input(self.name("x"), value.ty());
        self.values.push(value.clone());
        self.inputs.push(value);
        v
    }

    pub(super) fn constant(&mut self, t: Tensor) -> ValueId {
        let v = self.graph.add_constant(self.name("c"), t.clone());
        self.values.push(t.into());
        v
    }

    /// A new argument, or a constant now and then.
    pub(super) fn source(&mut self, t: Tensor, config: &Config, choices: &mut dyn Choices) -> ValueId {
        if choices.below(100) < config.constant_percent { self.constant(t) } else { self.argument(t.into()) }
    }

    pub(super) fn identity(&mut self, v: ValueId) -> Option<ValueId> {
        let op = (ops::find("ai.onnx", "Identity")?.parse)(&attrs! {}).ok()?;
        let value = self.values[v.index()].clone();
        Some(self.append(&op, vec![Some(v)], Vec::new(), vec![value])[0])
    }

    /// Adds a call that was evaluated.
    pub(super) fn append(
        &mut self,
        op: &Arc<dyn Op>,
        inputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
        results: Vec<Value>,
    ) -> Vec<ValueId> {
        let mut outputs = Vec::new();
        for value in results {
            outputs.push(self.graph.add_value(self.name("v"), stated_type(&value)));
            self.values.push(value);
        }
        let name = format!("{}n{}", self.prefix, self.graph.nodes.len());
        let op = Arc::clone(op);
        self.graph.nodes.push(Node {
            op,
            name,
            inputs,
            captures,
            outputs: outputs.iter().copied().map(Some).collect(),
        });
        outputs
    }

    /// Evaluates a call and adds it.
    pub(super) fn call(
        &mut self,
        name: &str,
        attrs: &Attrs,
        inputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
        n_outputs: usize,
        bounds: Bounds<'_>,
    ) -> Result<Vec<ValueId>, Refused> {
        let def = ops::find("ai.onnx", name).ok_or(Refused::Quietly)?;
        let op = (def.parse)(attrs).map_err(|_| Refused::Quietly)?;
        self.call_op(&op, inputs, captures, n_outputs, bounds)
    }

    /// As [`Growing::call`], of an operator with its attributes.
    pub(super) fn call_op(
        &mut self,
        op: &Arc<dyn Op>,
        inputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
        n_outputs: usize,
        bounds: Bounds<'_>,
    ) -> Result<Vec<ValueId>, Refused> {
        let facts: Vec<Option<Fact>> = inputs.iter().map(|v| v.map(|v| self.fact(v))).collect();
        let captured: Vec<Fact> = captures.iter().map(|v| self.fact(*v)).collect();
        let open = infer_call(&**op, &facts, &captured, n_outputs, &mut 0).map_err(|_| Refused::Quietly)?;
        if open.deferred.is_some() {
            return Err(Refused::Quietly);
        }
        let operands: Vec<Option<&Value>> = inputs.iter().map(|v| v.map(|v| &self.values[v.index()])).collect();
        let values: Vec<Value> = captures.iter().map(|v| self.values[v.index()].clone()).collect();
        let results = match evaluated(&**op, &operands, &values, n_outputs, bounds) {
            Ok(results) => results,
            Err(e) if e.kind() == ErrorKind::Bug => {
                let mut shown = self.clone();
                shown.append(op, inputs, captures, Vec::new());
                return Err(shown.blamed(&**op, &e));
            }
            Err(_) => return Err(Refused::Quietly),
        };
        let small = |v: &Value| match v {
            Value::Tensor(t) => t.len() <= bounds.config.max_elems,
            _ => true,
        };
        if !results.iter().all(small) || !bounds.config.wants(&**op, &operands, &results) {
            return Err(Refused::Quietly);
        }
        Ok(self.append(op, inputs, captures, results))
    }

    /// The tensor of a value, if it has elements of `f32` that are all finite.
    pub(super) fn finite(&self, v: ValueId) -> Option<&Tensor> {
        let t = self.values[v.index()].tensor().ok()?;
        (t.dtype() == DType::F32 && !t.is_empty() && values::is_finite(t)).then_some(t)
    }

    /// A call with one result.
    pub(super) fn one(
        &mut self,
        name: &str,
        attrs: &Attrs,
        inputs: &[ValueId],
        bounds: Bounds<'_>,
    ) -> Result<ValueId, Refused> {
        let inputs = inputs.iter().copied().map(Some).collect();
        Ok(self.call(name, attrs, inputs, Vec::new(), 1, bounds)?[0])
    }

    /// A tensor of finite `f32` elements and at least `least` axes: one that is there, or a new one.
    pub(super) fn floats(&mut self, least: usize, choices: &mut dyn Choices) -> ValueId {
        self.there_or_new(least, |this, v| this.finite(v).is_some(), choices)
    }

    /// A tensor of at least `least` axes: one that is there, or a new one of `f32`.
    pub(super) fn any(&mut self, least: usize, choices: &mut dyn Choices) -> ValueId {
        self.there_or_new(least, |_, _| true, choices)
    }

    fn there_or_new(
        &mut self,
        least: usize,
        fits: impl Fn(&Growing, ValueId) -> bool,
        choices: &mut dyn Choices,
    ) -> ValueId {
        let rank = |v: ValueId| self.values[v.index()].tensor().map_or(0, |t| t.rank());
        let known: Vec<ValueId> = self.ids().filter(|v| rank(*v) >= least && fits(self, *v)).collect();
        if !known.is_empty() && choices.chance(4, 5) {
            return *pick(choices, &known);
        }
        let rank = least + choices.below(5 - least.min(4));
        let shape: Vec<usize> = (0..rank).map(|_| *pick(choices, &[1, 2, 3, 4, 5, 8])).collect();
        let x: Vec<f64> = (0..shape.iter().product()).map(|_| 4.0 * choices.unit() - 2.0).collect();
        self.argument(Tensor::from_floats(DType::F32, &shape, x).into())
    }

    /// One of the forms; if wanted, one with an operand that is there already, where there is such a form. Forms that never
    /// worked are drawn less.
    pub(super) fn form_that_fits(&self, forms: &[Prepared], wanted: bool, choices: &mut dyn Choices) -> usize {
        if wanted {
            let present = self.present();
            let fits = |p: &Prepared| p.reads(&present) && !p.is_hopeless();
            let n = forms.iter().filter(|p| fits(p)).count();
            if n > 0 && !choices.chance(1, 8) {
                let nth = choices.below(n);
                if let Some((at, _)) = forms.iter().enumerate().filter(|(_, p)| fits(p)).nth(nth) {
                    return at;
                }
            }
        }
        let mut at = choices.below(forms.len());
        for _ in 0..FORM_DRAWS {
            if !forms[at].is_hopeless() || choices.chance(1, 16) {
                break;
            }
            at = choices.below(forms.len());
        }
        at
    }

    /// By element type, a bit for each rank of which there is a value.
    pub(super) fn present(&self) -> Present {
        let mut present = [0; DType::ALL.len()];
        for t in self.values.iter().filter_map(|v| v.tensor().ok()) {
            present[t.dtype() as usize] |= 1 << t.rank().min(31);
        }
        present
    }

    pub(super) fn try_form(
        &mut self,
        prepared: &mut Prepared,
        reuse_percent: usize,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let n = prepared.form.operands.len();
        // A scale of a quantised tensor is seldom what another call gave.
        let def = prepared.form.def;
        let names = if quantises(def) { operand_names(def) } else { Vec::new() };
        let own = |i: usize| names.get(i).is_some_and(|n| n.contains("scale"));
        let (mut state, mut existing) = (prepared.start.clone(), vec![None; n]);
        let first = choices.below(n.max(1));
        for i in (first..n).chain(0..first) {
            if let Some(Operand::Tensor { dtype, rank }) = prepared.form.operands[i]
                && !own(i)
                && existing[i].is_none()
                && choices.below(100) < reuse_percent
            {
                let fits: Vec<ValueId> = self.candidates(dtype, rank, bounds, choices);
                // One that contradicts what is settled is left, and a few others are tried.
                for _ in 0..fits.len().min(3) {
                    let v = *pick(choices, &fits);
                    let mut next = state.clone();
                    if prepared.problem.set(&mut next, self.extents_of(v, &prepared.extents[i])) {
                        (state, existing[i]) = (next, Some(v));
                        self.take_parameters(prepared, &names, i, v, &mut state, &mut existing);
                        break;
                    }
                }
            }
        }
        let state = prepared.settle(&state, choices).ok_or(Refused::Quietly)?;
        // What became of the same type as a value by other ways may be that value.
        for i in 0..n {
            if let (Some(Operand::Tensor { dtype, rank }), None) = (&prepared.form.operands[i], existing[i])
                && !own(i)
                && choices.below(100) < reuse_percent
            {
                let same =
                    |v: &ValueId| self.extents_of(*v, &prepared.extents[i]).all(|(p, d)| state.get(p) == Some(d));
                let fits: Vec<ValueId> = self.of_type(*dtype, *rank).filter(same).collect();
                existing[i] = (!fits.is_empty()).then(|| *pick(choices, &fits));
            }
        }
        self.try_numbers(prepared, &existing, &state, bounds, choices)
    }

    /// The scale and zero point of a quantised operand are those that it was quantised by, where the form takes them.
    pub(super) fn take_parameters(
        &self,
        prepared: &Prepared,
        names: &[String],
        i: usize,
        v: ValueId,
        state: &mut State,
        existing: &mut [Option<ValueId>],
    ) {
        for j in 0..names.len().min(existing.len()) {
            let Some(p) = self.parameter_for(names, i, j, v) else { continue };
            let fits = match (&prepared.form.operands[j], self.values[p.index()].tensor()) {
                (Some(Operand::Tensor { dtype, rank }), Ok(t)) => t.dtype() == *dtype && t.rank() == *rank,
                _ => false,
            };
            let mut next = state.clone();
            if fits && prepared.problem.set(&mut next, self.extents_of(p, &prepared.extents[j])) {
                (*state, existing[j]) = (next, Some(p));
            }
        }
    }

    /// The values of a type.
    pub(super) fn of_type(&self, dtype: DType, rank: usize) -> impl Iterator<Item = ValueId> + '_ {
        let fits =
            move |v: &ValueId| self.values[v.index()].tensor().is_ok_and(|t| t.dtype() == dtype && t.rank() == rank);
        (0..self.values.len() as u32).map(ValueId).filter(fits)
    }

    /// Values of a type that a new call may read: those that nothing reads first, as graphs should hang together.
    pub(super) fn candidates(
        &self,
        dtype: DType,
        rank: usize,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Vec<ValueId> {
        let all: Vec<ValueId> = self.of_type(dtype, rank).collect();
        if choices.below(100) < bounds.config.shared_percent {
            return all;
        }
        let read = |v: &ValueId| self.graph.nodes.iter().any(|n| n.uses().any(|u| u == *v));
        let unread: Vec<ValueId> = all.iter().copied().filter(|v| !read(v)).collect();
        if unread.is_empty() { all } else { unread }
    }

    /// Places with the extents of a value.
    pub(super) fn extents_of<'a>(&'a self, v: ValueId, places: &'a [usize]) -> impl Iterator<Item = (usize, i64)> + 'a {
        let shape = self.values[v.index()].tensor().map_or(&[][..], Tensor::shape);
        places.iter().copied().zip(shape.iter().map(|&d| d as i64))
    }

    /// A call whose first result takes the place of an argument: what reads the argument is evaluated again.
    pub(super) fn try_before(
        &mut self,
        prepared: &mut Prepared,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let wanted = prepared.result.as_tensor().filter(|_| prepared.form.n_outputs == 1).ok_or(Refused::Quietly)?;
        let (dtype, rank) = (wanted.dtype, wanted.shape.dims().ok_or(Refused::Quietly)?.len());
        let fits: Vec<usize> = (0..self.inputs.len())
            .filter(|&k| self.inputs[k].tensor().is_ok_and(|t| t.dtype() == dtype && t.rank() == rank))
            .collect();
        if fits.is_empty() {
            return Err(Refused::Quietly);
        }
        let k = *pick(choices, &fits);
        let inverse = prepared.inverse().ok_or(Refused::Quietly)?;
        let mut state = inverse.start.clone();
        if !inverse.problem.set(&mut state, self.extents_of(self.graph.inputs[k], &inverse.result)) {
            return Err(Refused::Quietly);
        }
        let found = inverse.problem.draw(&state, choices).ok_or(Refused::Quietly)?;
        let found = inverse.problem.assignment(&found);
        let state = prepared.problem.state_of(&found).ok_or(Refused::Quietly)?;
        let mut after = self.clone();
        let n = after.graph.nodes.len();
        let nothing = vec![None; prepared.form.operands.len()];
        after.try_numbers(prepared, &nothing, &state, bounds, choices)?;
        let v = after.graph.inputs[k];
        // The new call is the last; it goes to the front and makes the argument.
        let mut call = after.graph.nodes.remove(n);
        // The value that the call was given is the last one; the argument stands for it.
        let (Some(made), Some(_)) = (after.values.pop(), after.graph.values.pop()) else {
            return Err(Refused::Quietly);
        };
        if made.ty() != after.values[v.index()].ty() {
            return Err(Refused::Quietly);
        }
        if let Some(parameters) = after.parameters.remove(&ValueId(after.values.len() as u32)) {
            after.parameters.insert(v, parameters);
        }
        after.values[v.index()] = made;
        call.outputs[0] = Some(v);
        after.graph.nodes.insert(0, call);
        after.graph.inputs.remove(k);
        after.inputs.remove(k);
        after.graph.values[v.index()].name = format!("{}v{}", after.prefix, v.index());
        after.evaluate_again(v, bounds)?;
        *self = after;
        Ok(())
    }

    /// Values of the calls that depend on `changed`, made anew; refused where a type changes.
    pub(super) fn evaluate_again(&mut self, changed: ValueId, bounds: Bounds<'_>) -> Result<(), Refused> {
        let env = Env::new(limits(bounds.config), 0);
        let mut new = vec![false; self.values.len()];
        new[changed.index()] = true;
        for node in &self.graph.nodes {
            if !node.uses().any(|v| new[v.index()]) {
                continue;
            }
            let operands: Vec<Option<&Value>> =
                node.inputs.iter().map(|v| v.map(|v| &self.values[v.index()])).collect();
            let captures: Vec<Value> = node.captures.iter().map(|v| self.values[v.index()].clone()).collect();
            let results = eval_call(&*node.op, &operands, &captures, node.outputs.len(), &env, &Reference)
                .map_err(|_| Refused::Quietly)?;
            if !bounds.config.wants(&*node.op, &operands, &results) {
                return Err(Refused::Quietly);
            }
            for (v, value) in node.outputs.iter().zip(results) {
                let Some(v) = *v else { continue };
                if value.ty() != self.values[v.index()].ty() {
                    return Err(Refused::Quietly);
                }
                self.values[v.index()] = value;
                new[v.index()] = true;
            }
        }
        Ok(())
    }

    /// The call with these numbers; its new operands get elements.
    pub(super) fn try_numbers(
        &mut self,
        prepared: &mut Prepared,
        existing: &[Option<ValueId>],
        state: &State,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let problem = &prepared.problem;
        let number = |d: &Dim| match d.as_int() {
            Some(v) => Some(v),
            None => d.eval(&|s| problem.place(s).and_then(|p| state.get(p))),
        };
        let attrs = settled(&prepared.form.attrs, &number).ok_or(Refused::Quietly)?;
        let op = (prepared.form.def.parse)(&attrs).map_err(|_| Refused::Quietly)?;
        let domain = op.facts().domain;
        // Shapes, and the elements of contents.
        let mut operands = Vec::with_capacity(existing.len());
        for (i, operand) in prepared.form.operands.iter().enumerate() {
            operands.push(match (operand, existing[i]) {
                (None, _) => Planned::None,
                (_, Some(v)) => Planned::Existing(v),
                (Some(Operand::Tensor { dtype, .. }), None) => {
                    let size = |p: &usize| state.get(*p).and_then(|v| usize::try_from(v).ok());
                    let shape = prepared.extents[i].iter().map(size).collect::<Option<Vec<_>>>();
                    let shape = shape.ok_or(Refused::Quietly)?;
                    if shape.iter().product::<usize>() > bounds.config.max_elems {
                        return Err(Refused::Quietly);
                    }
                    Planned::New(*dtype, shape, choices.below(100) < bounds.config.constant_percent)
                }
                (Some(Operand::Content { dtype, elements, scalar }), None) => {
                    let numbers = elements.iter().map(|d| number(d).map(i128::from)).collect::<Option<Vec<_>>>();
                    let numbers = numbers.ok_or(Refused::Quietly)?;
                    let shape = if *scalar { Vec::new() } else { vec![numbers.len()] };
                    Planned::Content(Tensor::from_ints(*dtype, &shape, numbers))
                }
            });
        }
        // What the call's types alone forbid, no elements mend.
        let facts: Vec<Option<Fact>> = operands
            .iter()
            .map(|o| match o {
                Planned::None => None,
                Planned::Existing(v) => Some(self.fact(*v)),
                Planned::New(dtype, shape, _) => Some(Fact::of(Type::tensor(*dtype, shape))),
                Planned::Content(t) => Some(Fact::constant(t.clone())),
            })
            .collect();
        let n_outputs = prepared.form.n_outputs;
        let open = match infer_call(&*op, &facts, &[], n_outputs, &mut 0) {
            Ok(i) => i,
            Err(_) => return Err(Refused::Quietly),
        };
        // Now and then the rule does not see what its results' extents follow from.
        let told_late = self.told_late(&*op, &facts, &operands, n_outputs, choices);
        // Elements of constants are known to the rule, those of arguments are not.
        let constants = operands.iter().any(|o| matches!(o, Planned::New(_, _, true)));
        if open.deferred.is_some() && !constants {
            return Err(Refused::Quietly);
        }
        let most = bounds.config.max_elems;
        let large = |f: &Fact| {
            f.ty.concrete().is_some_and(|(_, shape)| {
                // An extent beside an empty one counts too.
                shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1))).is_none_or(|n| n > most)
            })
        };
        if open.outputs.iter().any(large) {
            return Err(Refused::Quietly);
        }
        if !bounds.forbidden.is_empty() {
            let types = operands.iter().map(|o| match o {
                Planned::None => None,
                Planned::Existing(v) => self.values[v.index()].tensor().ok().map(|t| (t.dtype(), t.shape())),
                Planned::New(dtype, shape, _) => Some((*dtype, &shape[..])),
                Planned::Content(t) => Some((t.dtype(), t.shape())),
            });
            if bounds.forbidden.contains(&kind_of(&*op, types, n_outputs)) {
                return Err(Refused::Quietly);
            }
        }
        // An index that fits every axis of the first tensor.
        let shape_of = |o: &Planned| match o {
            Planned::New(_, shape, _) => shape.iter().copied().filter(|&d| d > 0).min(),
            Planned::Existing(v) => {
                self.values[v.index()].tensor().ok().and_then(|t| t.shape().iter().copied().filter(|&d| d > 0).min())
            }
            _ => None,
        };
        let least = operands.first().and_then(shape_of).unwrap_or(1);
        let fresh = operands.iter().any(|o| matches!(o, Planned::New(..)));
        for class in prepared.classes(choices, bounds.config.special) {
            let domain = if class == Values::Index { (0.0, least as f64) } else { domain };
            let names = operand_names(op.def());
            let mut sources = Vec::with_capacity(operands.len());
            for (i, o) in operands.iter().enumerate() {
                sources.push(match o {
                    Planned::None => Source::None,
                    Planned::Existing(v) => Source::Existing(*v),
                    Planned::New(dtype, shape, constant) => {
                        let (class, domain) = match names.get(i) {
                            // A scale of 0 or less quantises nothing.
                            Some(name) if dtype.is_float() && quantises(op.def()) && name.contains("scale") => {
                                (Values::Domain, SCALES)
                            }
                            _ => (class, domain),
                        };
                        let t = values::tensor(*dtype, shape, class, domain, choices).map_err(|_| Refused::Quietly)?;
                        Source::New(t, *constant)
                    }
                    Planned::Content(t) => Source::New(t.clone(), Some(i) != told_late),
                });
            }
            let done = self.push(&op, sources, n_outputs, open.deferred.is_some(), bounds, choices);
            if fresh && !matches!(done, Err(Refused::Bug(..))) {
                prepared.tried(class, done.is_ok());
            }
            match done {
                Err(Refused::Quietly) if fresh => {}
                done => return done,
            }
        }
        Err(Refused::Quietly)
    }

    /// A content that may be an argument and no constant, seldom: the rule can do without its elements.
    pub(super) fn told_late(
        &self,
        op: &dyn Op,
        facts: &[Option<Fact>],
        operands: &[Planned],
        n_outputs: usize,
        choices: &mut dyn Choices,
    ) -> Option<usize> {
        let at = operands.iter().position(|o| matches!(o, Planned::Content(_)))?;
        if !choices.chance(1, LATE) {
            return None;
        }
        let mut facts = facts.to_vec();
        let fact = facts[at].as_mut()?;
        fact.content = None;
        let open = infer_call(op, &facts, &[], n_outputs, &mut 0).ok()?;
        (open.deferred.is_none() && open.outputs.iter().all(|f| is_plain(&f.ty))).then_some(at)
    }

    pub(super) fn fact(&self, v: ValueId) -> Fact {
        match self.graph.constant(v) {
            Some(t) => Fact { ty: self.graph.ty(v).clone(), content: Some(Content::Tensor(t.clone())) },
            None => Fact::of(self.graph.ty(v).clone()),
        }
    }

    /// Evaluates the call and, if all is well, adds it; with `by_constants` its rule is asked again for the elements of
    /// constants.
    pub(super) fn push(
        &mut self,
        op: &Arc<dyn Op>,
        sources: Vec<Source>,
        n_outputs: usize,
        by_constants: bool,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let new: Vec<Option<Value>> = sources
            .iter()
            .map(|s| match s {
                Source::None => None,
                Source::Existing(v) => Some(self.values[v.index()].clone()),
                Source::New(t, _) => Some(t.clone().into()),
            })
            .collect();
        if by_constants {
            let facts: Vec<Option<Fact>> = sources
                .iter()
                .map(|s| match s {
                    Source::None => None,
                    Source::Existing(v) => Some(self.fact(*v)),
                    Source::New(t, true) => Some(Fact::constant(t.clone())),
                    Source::New(t, false) => Some(Fact::of(Type::tensor(t.dtype(), t.shape()))),
                })
                .collect();
            if !infer_call(&**op, &facts, &[], n_outputs, &mut 0).is_ok_and(|i| i.deferred.is_none()) {
                return Err(Refused::Quietly);
            }
        }
        let operands: Vec<Option<&Value>> = new.iter().map(Option::as_ref).collect();
        let results = match evaluated(&**op, &operands, &[], n_outputs, bounds) {
            Ok(r)
                if r.iter()
                    .all(|v| is_plain(&v.ty()) && v.tensor().is_ok_and(|t| t.len() <= bounds.config.max_elems)) =>
            {
                r
            }
            Ok(_) => return Err(Refused::Quietly),
            Err(e) if e.kind() == ErrorKind::Bug => {
                let mut shown = self.clone();
                shown.add(op, sources, Vec::new());
                return Err(shown.blamed(&**op, &e));
            }
            Err(_) => return Err(Refused::Quietly),
        };
        if !bounds.config.wants(&**op, &operands, &results) {
            return Err(Refused::Quietly);
        }
        // Outside of the domain alone nothing is shown; other elements are drawn, or other operands read, mostly.
        let (lo, hi) = op.facts().domain;
        if (lo.is_finite() || hi.is_finite())
            && results.iter().any(is_nan_alone)
            && !operands.iter().flatten().any(|v| is_nan_alone(v))
            && !choices.chance(1, 8)
        {
            return Err(Refused::Quietly);
        }
        self.add(op, sources, results);
        if quantises(op.def()) {
            self.note_parameters();
        }
        Ok(())
    }

    pub(super) fn add(&mut self, op: &Arc<dyn Op>, sources: Vec<Source>, results: Vec<Value>) {
        let mut inputs = Vec::new();
        for source in sources {
            inputs.push(match source {
                Source::None => None,
                Source::Existing(v) => Some(v),
                Source::New(t, true) => Some(self.constant(t)),
                Source::New(t, false) => Some(self.argument(t.into())),
            });
        }
        self.append(op, inputs, Vec::new(), results);
    }

    /// What is said where the reference blames itself for the last call.
    fn blamed(self, op: &dyn Op, e: &egret_ir::Error) -> Refused {
        Refused::Bug(Box::new(self.graph), self.inputs, format!("{}: {e}", op.def().name))
    }

    /// Every value that nothing reads becomes a result, now and then one that something reads too.
    pub(super) fn finish(mut self, choices: &mut dyn Choices) -> Case {
        let mut read = vec![false; self.graph.values.len()];
        self.graph.nodes.iter().flat_map(Node::uses).for_each(|v| read[v.index()] = true);
        // Sequences are read by calls that take tensors out of them.
        let tensor = |v: &ValueId| is_plain(&self.values[v.index()].ty());
        let defs: Vec<ValueId> = self.graph.nodes.iter().flat_map(Node::defs).filter(tensor).collect();
        self.graph.outputs = defs.into_iter().filter(|v| !read[v.index()] || choices.chance(1, 12)).collect();
        let outputs = self.graph.outputs.iter().map(|v| self.values[v.index()].clone()).collect();
        Case { graph: self.graph, inputs: self.inputs, outputs, ..Case::default() }
    }
}

/// What the reference gives; where it panics it blames itself.
fn evaluated(
    op: &dyn Op,
    operands: &[Option<&Value>],
    captures: &[Value],
    n_outputs: usize,
    bounds: Bounds<'_>,
) -> egret_ir::Result<Vec<Value>> {
    let env = Env::new(limits(bounds.config), 0);
    let call = || eval_call(op, operands, captures, n_outputs, &env, &Reference);
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(egret_ir::Error::bug("the reference panics")))
}

/// Whether it has elements and all of them are NaN.
fn is_nan_alone(v: &Value) -> bool {
    let Ok(t) = v.tensor() else { return false };
    if !t.dtype().is_float() || t.is_empty() {
        return false;
    }
    let nan = |t: &Tensor| t.floats().is_ok_and(|x| x.iter().all(|x| x.is_nan()));
    // The first element decides most.
    t.take(&[], vec![t.position(&vec![0; t.rank()])]).is_ok_and(|first| nan(&first)) && nan(t)
}

/// Attributes with numbers for symbols.
fn settled(attrs: &Attrs, number: &dyn Fn(&Dim) -> Option<i64>) -> Option<Attrs> {
    let one = |a: &Attr| -> Option<Attr> {
        Some(match a {
            Attr::Int(d) => Attr::Int(Dim::int(number(d)?)),
            Attr::Ints(ds) => Attr::Ints(ds.iter().map(|d| number(d).map(Dim::int)).collect::<Option<_>>()?),
            other => other.clone(),
        })
    };
    attrs.iter().map(|(k, a)| Some((k.clone(), one(a)?))).collect::<Option<BTreeMap<_, _>>>()
}
