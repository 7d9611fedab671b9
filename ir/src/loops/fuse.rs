//! Fusion: the computations of several nodes as one, with cheap stages inlined into their readers.
//!
//! [`compose`] joins computations end to end without changing any of them; [`inline`] then substitutes the definition of
//! a stage for the loads of it. A stage is inlined if that costs nothing or little: a view or a few cheap operations
//! always, more where each element is read about once. Reductions stay stages (the scheduler lets them share loops), and
//! so do transcendental functions that would be evaluated more often than they are now.

use std::collections::HashMap;

use super::compute::{Compute, LoopError, Stage, TensorDesc};
use super::expr::{Arena, BinOp, ExprId, Node, Source, UnOp, VarId};

/// Where an input of a [`Part`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Input of the whole.
    External(usize),
    /// Output `output` of an earlier part.
    Part { part: usize, output: usize },
}

/// A computation within a group.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// What it computes.
    pub compute: &'a Compute,
    /// One binding per input of it.
    pub inputs: Vec<Binding>,
}

/// Joins `parts` (in order, producers first) into one computation with inputs `external` and the results `outputs`, each
/// an output of a part. Nothing is inlined yet.
pub fn compose(parts: &[Part<'_>], external: &[TensorDesc], outputs: &[(usize, usize)]) -> Result<Compute, LoopError> {
    let mut whole = Compute { inputs: external.to_vec(), ..Compute::default() };
    // Stage of the whole that each output of each part became.
    let mut results: Vec<Vec<usize>> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let from = part.compute;
        if part.inputs.len() != from.inputs.len() {
            let text = format!("part {number} has {} inputs, {} are bound", from.inputs.len(), part.inputs.len());
            return Err(LoopError::Invalid(text));
        }
        let mut sources = Vec::new();
        for (input, binding) in from.inputs.iter().zip(&part.inputs) {
            let src = match *binding {
                Binding::External(i) => Source::Input(i),
                Binding::Part { part, output } => match results.get(part).and_then(|r| r.get(output)) {
                    Some(&s) => Source::Stage(s),
                    None => {
                        let text =
                            format!("part {number} reads output {output} of part {part}, which is not before it");
                        return Err(LoopError::Invalid(text));
                    }
                },
            };
            match whole.desc(src) {
                Some(desc) if desc == input => sources.push(src),
                other => {
                    let text = format!("part {number} wants {input:?}, it is bound to {other:?}");
                    return Err(LoopError::Invalid(text));
                }
            }
        }
        let first = whole.stages.len();
        let mut vars: HashMap<VarId, VarId> = HashMap::new();
        let mut copies: HashMap<ExprId, ExprId> = HashMap::new();
        for stage in &from.stages {
            let axes = stage.axes.iter().map(|&v| copy_var(&mut whole.arena, &from.arena, v, &mut vars)).collect();
            let value =
                copy_expr(&mut whole.arena, &from.arena, stage.value, &mut vars, &mut copies, &|src| match src {
                    Source::Input(i) => sources[i],
                    Source::Stage(s) => Source::Stage(first + s),
                    other => other,
                });
            whole.stages.push(Stage { desc: stage.desc.clone(), axes, value });
        }
        results.push(from.outputs.iter().map(|&s| first + s).collect());
    }
    for &(part, output) in outputs {
        match results.get(part).and_then(|r| r.get(output)) {
            Some(&s) => whole.outputs.push(s),
            None => return Err(LoopError::Invalid(format!("no output {output} of part {part}"))),
        }
    }
    whole.remove_unused();
    Ok(whole)
}

/// `producer`'s output `output` read by `consumer`'s input `input`; the other inputs of the result are the producer's,
/// then the consumer's remaining ones; its outputs are the consumer's. Cheap stages are inlined.
pub fn fuse(producer: &Compute, output: usize, consumer: &Compute, input: usize) -> Result<Compute, LoopError> {
    let n = producer.inputs.len();
    let mut external = producer.inputs.clone();
    let mut bindings = Vec::new();
    for (i, desc) in consumer.inputs.iter().enumerate() {
        if i == input {
            bindings.push(Binding::Part { part: 0, output });
        } else {
            bindings.push(Binding::External(external.len()));
            external.push(desc.clone());
        }
    }
    let parts = [
        Part { compute: producer, inputs: (0..n).map(Binding::External).collect() },
        Part { compute: consumer, inputs: bindings },
    ];
    let outputs: Vec<(usize, usize)> = (0..consumer.outputs.len()).map(|o| (1, o)).collect();
    let mut whole = compose(&parts, &external, &outputs)?;
    inline(&mut whole);
    Ok(whole)
}

fn copy_var(to: &mut Arena, from: &Arena, v: VarId, vars: &mut HashMap<VarId, VarId>) -> VarId {
    *vars.entry(v).or_insert_with(|| to.new_var(from.var_range(v)))
}

/// Copies `e` of arena `from` into arena `to`, with new variables and other sources.
pub(super) fn copy_expr(
    to: &mut Arena,
    from: &Arena,
    e: ExprId,
    vars: &mut HashMap<VarId, VarId>,
    copies: &mut HashMap<ExprId, ExprId>,
    source: &dyn Fn(Source) -> Source,
) -> ExprId {
    for old in from.reachable(&[e]) {
        if copies.contains_key(&old) {
            continue;
        }
        let new = match from.node(old).clone() {
            Node::Var(v) => {
                let v = copy_var(to, from, v, vars);
                to.var(v)
            }
            Node::Load { src, index } => {
                let index = index.iter().map(|i| copies[i]).collect();
                to.load(from.dtype(old), source(src), index)
            }
            Node::Reduce { op, vars: bound, body } => {
                let bound = bound.iter().map(|&v| copy_var(to, from, v, vars)).collect();
                to.reduce(op, bound, copies[&body])
            }
            mut node => {
                match &mut node {
                    Node::Un(_, a) | Node::Bitcast(a) | Node::Cast { value: a, .. } => *a = copies[a],
                    Node::Bin(_, a, b) | Node::Cmp(_, a, b) => (*a, *b) = (copies[a], copies[b]),
                    Node::Select(c, a, b) => (*c, *a, *b) = (copies[c], copies[a], copies[b]),
                    _ => {}
                }
                to.make(node, from.dtype(old))
            }
        };
        copies.insert(old, new);
    }
    copies[&e]
}

/// Rough cost of evaluating one node once, in additions.
pub(super) fn node_cost(arena: &Arena, e: ExprId) -> u64 {
    match arena.node(e) {
        Node::Un(op, _) => match op {
            UnOp::Neg | UnOp::Abs | UnOp::Not | UnOp::IsNan | UnOp::IsInf => 1,
            UnOp::Sign | UnOp::Floor | UnOp::Ceil | UnOp::Round | UnOp::Trunc => 2,
            UnOp::Sqrt | UnOp::Rsqrt => 6,
            UnOp::Exp | UnOp::Log | UnOp::Sigmoid | UnOp::Tanh => 15,
            UnOp::Erf | UnOp::Sin | UnOp::Cos => 20,
            _ => 40,
        },
        // Index arithmetic is folded into addresses.
        Node::Bin(..) if arena.dtype(e) == crate::DType::I64 => 0,
        Node::Bin(op, ..) => match op {
            BinOp::Div => 4,
            BinOp::Pow => 50,
            BinOp::Rem | BinOp::FloorDiv | BinOp::FloorMod => 15,
            _ => 1,
        },
        Node::Cmp(..) | Node::Select(..) | Node::Cast { .. } | Node::Load { .. } => 1,
        Node::Const(_) | Node::Var(_) | Node::Local(_) | Node::Bitcast(_) => 0,
        Node::Reduce { vars, .. } => vars.iter().map(|&v| arena.extent(v).max(1) as u64).product(),
    }
}

fn has_reduce(arena: &Arena, e: ExprId) -> bool {
    arena.reachable(&[e]).iter().any(|&e| matches!(arena.node(e), Node::Reduce { .. }))
}

/// A definition of at most so many operations is repeated wherever it is read.
const CHEAP: u64 = 4;

/// Inlined definitions stop growing at this many nodes, which bounds the code of one loop.
const MAX_NODES: usize = 600;

/// Inlines stages into their readers where that does not repeat expensive work, and removes what is then unused.
pub fn inline(compute: &mut Compute) {
    for s in 0..compute.stages.len() {
        let value = compute.stages[s].value;
        if has_reduce(&compute.arena, value) {
            continue;
        }
        let nodes = compute.arena.reachable(&[value]);
        let cost: u64 = nodes.iter().map(|&e| node_cost(&compute.arena, e)).sum();
        let pure_view = nodes.iter().all(|&e| match compute.arena.node(e) {
            Node::Load { .. } | Node::Const(_) | Node::Var(_) | Node::Select(..) | Node::Cmp(..) => true,
            _ => matches!(compute.arena.dtype(e), crate::DType::I64 | crate::DType::Bool),
        });
        if !pure_view && cost > CHEAP && n_reads(compute, s) > compute.stages[s].desc.len_elems() as f64 * 1.01 {
            continue;
        }
        for reader in s + 1..compute.stages.len() {
            let value = compute.stages[reader].value;
            if compute.stages_read_by(value).binary_search(&s).is_err() {
                continue;
            }
            if compute.arena.reachable(&[value]).len() + nodes.len() > MAX_NODES {
                continue;
            }
            compute.stages[reader].value = substitute_stage(compute, value, s);
        }
    }
    compute.remove_unused();
}

/// How many elements of stage `s` all its readers load together; reads that are not chosen count too.
fn n_reads(compute: &Compute, s: usize) -> f64 {
    let mut total = 0.0;
    // A result is computed for itself as well.
    if compute.outputs.contains(&s) {
        total += compute.stages[s].desc.len_elems() as f64;
    }
    for stage in &compute.stages[s + 1..] {
        let n = stage.desc.len_elems() as f64;
        total += n * loads_per_element(&compute.arena, stage.value, s);
    }
    total
}

fn loads_per_element(arena: &Arena, root: ExprId, s: usize) -> f64 {
    let mut inner: HashMap<ExprId, f64> = HashMap::new();
    let order = arena.reachable(&[root]);
    // Every distinct load counts once per evaluation of the reduction around it.
    for &e in order.iter().rev() {
        let Node::Reduce { vars, body, .. } = arena.node(e) else { continue };
        let turns: f64 = vars.iter().map(|&v| arena.extent(v) as f64).product();
        let around = inner.get(&e).copied().unwrap_or(1.0);
        for id in arena.reachable(&[*body]) {
            let slot = inner.entry(id).or_insert(0.0);
            *slot = slot.max(around * turns);
        }
    }
    let is_load = |e: &&ExprId| matches!(arena.node(**e), Node::Load { src: Source::Stage(t), .. } if *t == s);
    order.iter().filter(is_load).map(|e| inner.get(e).copied().unwrap_or(1.0)).sum()
}

/// `e` with loads of stage `s` replaced by its definition.
fn substitute_stage(compute: &mut Compute, e: ExprId, s: usize) -> ExprId {
    let Stage { axes, value, .. } = compute.stages[s].clone();
    compute.arena.rewrite(e, &mut |arena, node, _| match node {
        Node::Load { src: Source::Stage(t), index } if *t == s => {
            let map: HashMap<VarId, ExprId> = axes.iter().copied().zip(index.iter().copied()).collect();
            Some(arena.substitute(value, &map))
        }
        _ => None,
    })
}
