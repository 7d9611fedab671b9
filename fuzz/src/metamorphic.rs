//! Graphs that must give the same results as another: what a compiler does with one it may not do differently with the other.
//!
//! A graph is written anew with detours that change no element (a transposition and its inverse, an axis that comes and goes,
//! a product with 1, a cast to a wider type and back, parts that are joined again, …), calls made twice of which each reader
//! takes one, operands exchanged, another order of the calls, constants that become arguments and arguments that become
//! constants, and values inside that become results too. What is fused, folded, laid out or planned in the one is not in the
//! other (metamorphic testing: Chen, Cheung, Yiu 1998; of compilers: Le, Afshari, Su, PLDI 2014).

use crate::bounds::Silent;
use crate::check::judge;
use crate::choices::{Choices, pick};
use crate::generate::{Case, Run, name_all};
use egret_ir::eval::{Env, Limits, evaluate};
use egret_ir::{Class, DType, Graph, GraphBuilder, Node, Result, Tensor, Value, ValueId, attrs};

/// Of 8 operands or results, how many make a detour.
const DETOURS: usize = 2;

/// What came of writing a graph anew.
#[derive(Debug)]
pub enum Rewritten {
    /// An equal graph, with the results that the reference gives for it.
    Equal(Box<Case>),
    /// None: a rule does not take what was tried.
    No,
    /// The reference disagrees with itself, or refuses what it took before: graph, arguments, and in words.
    Bug(Box<Graph>, Vec<Value>, String),
}

/// The case with an equal graph.
pub fn rewritten(case: &Case, choices: &mut dyn Choices) -> Rewritten {
    let Ok((graph, all_inputs)) = Writer::write(case, choices) else { return Rewritten::No };
    let open = |v: ValueId| graph.ty(v).as_tensor().is_some() && graph.ty(v).concrete().is_none();
    if case.others.is_empty() && graph.nodes.iter().flat_map(Node::defs).any(open) {
        return Rewritten::No;
    }
    let env = Env::new(Limits { loop_steps: 1 << 16, ..Limits::default() }, 0);
    let mut runs = Vec::with_capacity(all_inputs.len());
    for (inputs, was) in all_inputs.into_iter().zip(case.runs().iter()) {
        let done = match evaluate(&graph, inputs.clone(), &env) {
            Ok(outputs) => match judge(was, &outputs[..was.outputs.len()], Silent::Reference) {
                None => Ok(outputs),
                Some(text) => Err(format!("an equal graph gives something else: {text}")),
            },
            Err(e) => Err(format!("an equal graph is refused: {e}")),
        };
        match done {
            Ok(outputs) => runs.push(Run { inputs, outputs }),
            Err(text) => return Rewritten::Bug(Box::new(graph), inputs, text),
        }
    }
    let first = runs.remove(0);
    Rewritten::Equal(Box::new(Case {
        graph,
        inputs: first.inputs,
        outputs: first.outputs,
        others: runs,
        ..Case::default()
    }))
}

/// A graph being written anew.
struct Writer<'a> {
    b: GraphBuilder,
    choices: &'a mut dyn Choices,
    /// What stands for each value of the old graph: one value, or some that are equal.
    at: Vec<Vec<ValueId>>,
}

impl Writer<'_> {
    /// The graph, and its arguments in each run.
    fn write(case: &Case, choices: &mut dyn Choices) -> Result<(Graph, Vec<Vec<Value>>)> {
        let old = &case.graph;
        let b = GraphBuilder::new(old.name.clone());
        let mut w = Writer { b, choices, at: vec![Vec::new(); old.values.len()] };
        let runs = w.arguments(case);
        for n in w.order(old) {
            w.call(&old.nodes[n])?;
        }
        let mut outputs = Vec::with_capacity(old.outputs.len());
        for v in &old.outputs {
            let v = w.read(*v);
            // Each result is a value of its own, no argument, no constant.
            outputs.push(if outputs.contains(&v) { w.b.op("Identity", attrs! {}, &[v])? } else { v });
        }
        let tensors = |v: &ValueId| w.b.ty(*v).as_tensor().is_some() && !outputs.contains(v);
        let inside: Vec<ValueId> = w.b.graph().nodes.iter().flat_map(Node::defs).filter(tensors).collect();
        if !inside.is_empty() && w.choices.chance(1, 4) {
            outputs.push(*pick(w.choices, &inside));
        }
        let mut graph = w.b.finish(&outputs);
        name_all(&mut graph);
        Ok((graph, runs))
    }

    /// Arguments and constants, some of them the other; the arguments in each run.
    fn arguments(&mut self, case: &Case) -> Vec<Vec<Value>> {
        let old = &case.graph;
        let mut runs: Vec<Vec<Value>> = vec![Vec::new(); 1 + case.others.len()];
        let inputs = |run: usize| if run == 0 { &case.inputs } else { &case.others[run - 1].inputs };
        // In a graph that runs with several shapes, arguments differ from run to run.
        let swaps = self.choices.chance(1, 2);
        for (k, v) in old.inputs.iter().enumerate() {
            let info = old.value(*v);
            let to = match inputs(0)[k].tensor() {
                Ok(t) if swaps && runs.len() == 1 && self.choices.chance(1, 4) => self.b.constant(t.clone()),
                _ => {
                    runs.iter_mut().enumerate().for_each(|(r, all)| all.push(inputs(r)[k].clone()));
                    self.b.input(info.name.clone(), info.ty.clone())
                }
            };
            self.at[v.index()] = vec![to];
        }
        for (k, info) in old.values.iter().enumerate() {
            let Some(t) = &info.constant else { continue };
            let to = if swaps && self.choices.chance(1, 4) {
                let value = Value::from(t.clone());
                let to = self.b.input(info.name.clone(), value.ty());
                runs.iter_mut().for_each(|all| all.push(value.clone()));
                to
            } else {
                self.b.constant(t.clone())
            };
            self.at[k] = vec![to];
        }
        runs
    }

    /// Another order of the calls in which each reads what is there.
    fn order(&mut self, old: &Graph) -> Vec<usize> {
        let producers = old.producers();
        let mut made = vec![false; old.nodes.len()];
        let mut order = Vec::with_capacity(old.nodes.len());
        while order.len() < old.nodes.len() {
            let waits = |v: ValueId| producers[v.index()].is_some_and(|(n, _)| !made[n]);
            let ready: Vec<usize> =
                (0..old.nodes.len()).filter(|&n| !made[n] && !old.nodes[n].uses().any(waits)).collect();
            if ready.is_empty() {
                break;
            }
            let next = *pick(self.choices, &ready);
            made[next] = true;
            order.push(next);
        }
        order
    }

    /// The call, once or twice.
    fn call(&mut self, node: &Node) -> Result<()> {
        let facts = node.op.facts();
        let times = if facts.pure && self.choices.chance(1, 8) { 2 } else { 1 };
        for _ in 0..times {
            let mut args: Vec<Option<ValueId>> = node.inputs.iter().map(|v| v.map(|v| self.read(v))).collect();
            if facts.commutative && args.len() >= 2 && self.choices.chance(1, 2) {
                args.swap(0, 1);
            }
            let captures: Vec<ValueId> = node.captures.iter().map(|v| self.read(*v)).collect();
            let made = self.b.call(node.op.clone(), &args, &captures, node.outputs.len())?;
            for (v, to) in node.outputs.iter().zip(made) {
                v.iter().for_each(|v| self.at[v.index()].push(to));
            }
        }
        Ok(())
    }

    /// What stands for a value, for one reader.
    fn read(&mut self, v: ValueId) -> ValueId {
        let mut to = *pick(self.choices, &self.at[v.index()]);
        while self.choices.chance(DETOURS, 8) {
            let way = *pick(self.choices, WAYS);
            // A way that a rule refuses, of this type say, is not taken; what was begun of it is read by nothing.
            to = way(&mut self.b, to, self.choices).ok().flatten().unwrap_or(to);
        }
        to
    }
}

/// A detour: the same elements again, `None` where it does not suit the value.
type Way = fn(&mut GraphBuilder, ValueId, &mut dyn Choices) -> Result<Option<ValueId>>;

const WAYS: &[Way] = &[
    identity,
    transposed,
    flattened,
    unsqueezed,
    split_and_joined,
    whole_slice,
    gathered,
    padded_by_nothing,
    expanded,
    widened,
    times_one,
    negated_twice,
    alone,
    chosen,
    within_a_sequence,
];

/// Element type and extents where these are numbers.
fn concrete(b: &GraphBuilder, v: ValueId) -> Option<(DType, Vec<usize>)> {
    b.ty(v).concrete()
}

fn rank(b: &GraphBuilder, v: ValueId) -> Option<usize> {
    b.ty(v).as_tensor()?.shape.dims().map(<[_]>::len)
}

fn identity(b: &mut GraphBuilder, v: ValueId, _: &mut dyn Choices) -> Result<Option<ValueId>> {
    b.op("Identity", attrs! {}, &[v]).map(Some)
}

/// A permutation of the axes, and its inverse.
fn transposed(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(rank) = rank(b, v).filter(|r| *r >= 2) else { return Ok(None) };
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    for a in (1..rank).rev() {
        perm.swap(a, choices.below(a + 1));
    }
    let mut inverse = vec![0i64; rank];
    perm.iter().enumerate().for_each(|(to, from)| inverse[*from as usize] = to as i64);
    let turned = b.op("Transpose", attrs! { perm: perm }, &[v])?;
    b.op("Transpose", attrs! { perm: inverse }, &[turned]).map(Some)
}

/// Another shape of as many elements, and the first again.
fn flattened(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, v) else { return Ok(None) };
    let ints: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let joined = |b: &mut GraphBuilder, choices: &mut dyn Choices| {
        // Two axes become one, or all do.
        let mut other = ints.clone();
        if other.len() >= 2 && choices.chance(1, 2) {
            let at = choices.below(other.len() - 1);
            let next = other.remove(at + 1);
            other[at] *= next;
        } else {
            other = vec![ints.iter().product()];
        }
        let other = b.ints(&other);
        b.op("Reshape", attrs! { allowzero: true }, &[v, other])
    };
    let flat = match choices.chance(1, 3) && !shape.is_empty() {
        true => b.op("Flatten", attrs! { axis: choices.below(shape.len()) as i64 }, &[v])?,
        false => joined(b, choices)?,
    };
    let back = b.ints(&ints);
    b.op("Reshape", attrs! { allowzero: true }, &[flat, back]).map(Some)
}

/// An axis of extent 1 comes and goes.
fn unsqueezed(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(rank) = rank(b, v) else { return Ok(None) };
    let axes = b.ints(&[choices.below(rank + 1) as i64]);
    let more = b.op("Unsqueeze", attrs! {}, &[v, axes])?;
    b.op("Squeeze", attrs! {}, &[more, axes]).map(Some)
}

/// An axis and its extent, of those with at least so many entries.
fn axis_of(shape: &[usize], least: usize, choices: &mut dyn Choices) -> Option<(usize, usize)> {
    let axes: Vec<usize> = (0..shape.len()).filter(|&a| shape[a] >= least).collect();
    (!axes.is_empty()).then(|| *pick(choices, &axes)).map(|a| (a, shape[a]))
}

/// Two parts, joined again.
fn split_and_joined(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, v) else { return Ok(None) };
    let Some((axis, extent)) = axis_of(&shape, 2, choices) else { return Ok(None) };
    let first = 1 + choices.below(extent - 1);
    let sizes = b.ints(&[first as i64, (extent - first) as i64]);
    let axis = axis as i64;
    let parts = b.node("ai.onnx", "Split", attrs! { axis: axis }, &[Some(v), Some(sizes)], 2)?;
    b.op("Concat", attrs! { axis: axis }, &parts).map(Some)
}

/// All of an axis, or all of it backwards and back.
fn whole_slice(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(rank) = rank(b, v).filter(|r| *r >= 1) else { return Ok(None) };
    let axis = b.ints(&[choices.below(rank) as i64]);
    let slice = |b: &mut GraphBuilder, v: ValueId, bounds: [i64; 3]| {
        let [start, end, step] = bounds.map(|x| b.ints(&[x]));
        b.op("Slice", attrs! {}, &[v, start, end, axis, step])
    };
    if choices.chance(1, 2) {
        return slice(b, v, [0, i64::MAX, 1]).map(Some);
    }
    let back = slice(b, v, [-1, i64::MIN, -1])?;
    slice(b, back, [-1, i64::MIN, -1]).map(Some)
}

/// Every entry of an axis, by its index.
fn gathered(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, v) else { return Ok(None) };
    let Some((axis, extent)) = axis_of(&shape, 0, choices) else { return Ok(None) };
    let below = choices.below(2) as i64 * extent as i64;
    let all: Vec<i64> = (0..extent as i64).map(|i| i - below).collect();
    let all = b.ints(&all);
    b.op("Gather", attrs! { axis: axis as i64 }, &[v, all]).map(Some)
}

fn padded_by_nothing(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, v).filter(|(_, s)| !s.is_empty()) else { return Ok(None) };
    let by = |b: &mut GraphBuilder, v: ValueId, size: i64| {
        let mut pads = vec![0; 2 * shape.len()];
        pads[shape.len()] = size;
        let pads = b.ints(&pads);
        b.op("Pad", attrs! {}, &[v, pads])
    };
    if choices.chance(1, 2) {
        return by(b, v, 0).map(Some);
    }
    // A row is added, and cut off.
    let more = by(b, v, 1)?;
    by(b, more, -1).map(Some)
}

/// Broadcast to its own shape, or repeated once.
fn expanded(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, v) else { return Ok(None) };
    if choices.chance(1, 2) {
        let ones = b.ints(&vec![1; shape.len()]);
        return b.op("Tile", attrs! {}, &[v, ones]).map(Some);
    }
    let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let shape = b.ints(&shape);
    b.op("Expand", attrs! {}, &[v, shape]).map(Some)
}

/// A cast to a type that has every element, and back.
fn widened(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(dtype) = b.ty(v).as_tensor().map(|t| t.dtype) else { return Ok(None) };
    use DType::*;
    let wider: &[DType] = match dtype {
        Bool => &[U8, I32, F32],
        I8 => &[I16, I32, I64, F32],
        U8 => &[I16, U16, I32, I64, F32],
        I16 => &[I32, I64, F32],
        U16 => &[I32, U32, F32],
        I32 | U32 => &[I64, F64],
        F16 | BF16 => &[F32, F64],
        F32 => &[F64],
        _ => return Ok(None),
    };
    let to = *pick(choices, wider);
    let wide = b.op("Cast", attrs! { to: to }, &[v])?;
    b.op("Cast", attrs! { to: dtype }, &[wide]).map(Some)
}

/// A product with, or a quotient by, 1.
fn times_one(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some((dtype, rank)) = b.ty(v).as_tensor().map(|t| t.dtype).zip(rank(b, v)) else { return Ok(None) };
    let shape = vec![1; choices.below(rank + 1)];
    let one = match dtype.class() {
        Class::Float => Tensor::from_floats(dtype, &shape, [1.0]),
        Class::Signed | Class::Unsigned => Tensor::from_ints(dtype, &shape, [1]),
        _ => return Ok(None),
    };
    let one = b.constant(one);
    match choices.below(3) {
        0 => b.op("Mul", attrs! {}, &[one, v]),
        1 => b.op("Mul", attrs! {}, &[v, one]),
        _ => b.op("Div", attrs! {}, &[v, one]),
    }
    .map(Some)
}

fn negated_twice(b: &mut GraphBuilder, v: ValueId, _: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(dtype) = b.ty(v).as_tensor().map(|t| t.dtype) else { return Ok(None) };
    let op = match dtype.class() {
        Class::Bool => "Not",
        Class::Float | Class::Signed => "Neg",
        Class::Unsigned => "BitwiseNot",
        _ => return Ok(None),
    };
    let once = b.op(op, attrs! {}, &[v])?;
    b.op(op, attrs! {}, &[once]).map(Some)
}

/// A list of one.
fn alone(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(rank) = rank(b, v) else { return Ok(None) };
    match choices.below(3) {
        0 if rank > 0 => b.op("Concat", attrs! { axis: choices.below(rank) as i64 }, &[v]),
        1 => b.op("Max", attrs! {}, &[v]),
        _ => b.op("Sum", attrs! {}, &[v]),
    }
    .map(Some)
}

/// Chosen by a condition that is known, or between it and itself by one that is not.
fn chosen(b: &mut GraphBuilder, v: ValueId, choices: &mut dyn Choices) -> Result<Option<ValueId>> {
    let Some(dtype) = b.ty(v).as_tensor().map(|t| t.dtype) else { return Ok(None) };
    if dtype.class() == Class::String {
        return Ok(None);
    }
    let first = choices.chance(1, 2);
    let which = b.constant(Tensor::from_bools(&[], [first]));
    let zero = b.constant(Tensor::zeros(dtype, &[])?);
    let (x, y) = match (choices.chance(1, 3), first) {
        (true, _) => (v, v),
        (_, true) => (v, zero),
        (_, false) => (zero, v),
    };
    b.op("Where", attrs! {}, &[which, x, y]).map(Some)
}

/// Put into a sequence and taken out.
fn within_a_sequence(b: &mut GraphBuilder, v: ValueId, _: &mut dyn Choices) -> Result<Option<ValueId>> {
    if concrete(b, v).is_none() {
        return Ok(None);
    }
    let list = b.op("SequenceConstruct", attrs! {}, &[v])?;
    let zero = b.constant(Tensor::scalar(0i64));
    b.op("SequenceAt", attrs! {}, &[list, zero]).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use crate::generate::{Config, Generator};
    use egret_ir::verify::verify;

    #[test]
    fn equal_graphs_are_valid_and_differ() {
        let mut generator = Generator::new(Config::varied());
        let (mut equal, mut grown) = (0, 0);
        for i in 0..120 {
            let mut choices = Seeded::new(21, i);
            let case = generator.generate(&mut choices).unwrap();
            match rewritten(&case, &mut choices) {
                Rewritten::Equal(other) => {
                    equal += 1;
                    assert!(verify(&other.graph).is_empty(), "{}", egret_ir::text::print(&other.graph));
                    assert!(other.outputs.len() >= case.outputs.len() && other.others.len() == case.others.len());
                    grown += usize::from(other.graph.nodes.len() > case.graph.nodes.len());
                }
                Rewritten::No => {}
                Rewritten::Bug(graph, _, text) => panic!("{text}\n{}", egret_ir::text::print(&graph)),
            }
        }
        assert!(equal > 60 && grown > 50, "{equal} {grown}");
    }

    #[test]
    fn every_detour_gives_the_same_elements() {
        for dtype in [DType::F32, DType::F16, DType::Bool, DType::I8, DType::U64, DType::String] {
            for shape in [&[][..], &[3], &[2, 0, 3], &[2, 1, 3]] {
                for (k, way) in WAYS.iter().enumerate() {
                    let mut choices = Seeded::new(3, k as u64);
                    let t =
                        crate::values::tensor(dtype, shape, crate::values::Values::Ordinary, (0.0, 1.0), &mut choices);
                    let value = Value::from(t.unwrap());
                    let mut b = GraphBuilder::new("t");
                    let x = b.input("x", value.ty());
                    let Ok(Some(y)) = way(&mut b, x, &mut choices) else { continue };
                    let got = evaluate(&b.finish(&[y]), vec![value.clone()], &Env::default()).unwrap();
                    assert_eq!(format!("{got:?}"), format!("{:?}", [&value]), "way {k}");
                }
            }
        }
    }
}
