//! Which calls share a loop nest. A call joins the group of a producer whose results nothing else reads: then running
//! the producer at the call's place is always legal, and what passes between them need not exist in memory.

use super::kernels::{BufferRef, LoopKernel, LoopTemplate, Pending};
use super::plan::LibraryStep;
use super::{Engine, Shared};
use crate::lower::{LoweredKernel, lower_program};
use egret_ir::loops::fuse::{Binding, Part, compose, inline};
use egret_ir::loops::{Compute, Role, TensorDesc, schedule};
use egret_ir::lower::{Computation, Operand};
use egret_ir::tensor::AlignedBytes;
use egret_ir::{Graph, Tensor, ValueId};
use std::sync::Arc;

/// Calls in one group; beyond, compile time grows without gain.
const MAX_PARTS: usize = 24;

/// Expressions in one group.
const MAX_EXPRESSIONS: usize = 800;

/// A call with its expressions.
pub(crate) struct Call {
    pub(crate) node: usize,
    pub(crate) computation: Computation,
}

/// What a place in the order of execution holds.
pub(crate) enum Item {
    View(usize),
    Host(usize),
    Library(LibraryStep),
    Kernel(Pending),
    Loops(Vec<Call>),
    Recurrent(usize, Box<egret_ir::lower::Recurrent>),
    /// Went into a later group.
    Moved,
}

/// Puts a call's expressions at the end of `items`, together with every group that only it reads.
pub(crate) fn push(
    items: &mut Vec<Item>,
    maker: &mut [Option<usize>],
    graph: &Graph,
    readers: &[usize],
    call: Call,
    fuse: bool,
) {
    let node = &graph.nodes[call.node];
    let mut joined: Vec<usize> = Vec::new();
    if fuse {
        let size = |c: &[Call]| c.iter().map(|c| c.computation.compute.arena.len()).sum::<usize>();
        let (mut parts, mut expressions) = (1, call.computation.compute.arena.len());
        for v in node.uses() {
            let Some(at) = maker[v.index()] else { continue };
            let Item::Loops(calls) = &items[at] else { continue };
            // What is checked must exist.
            let checked = |c: &egret_ir::lower::IndexCheck| node.inputs.get(c.operand).copied().flatten() == Some(v);
            if call.computation.checks.iter().any(checked) {
                continue;
            }
            if joined.contains(&at) || parts + calls.len() > MAX_PARTS || expressions + size(calls) > MAX_EXPRESSIONS {
                continue;
            }
            // Every result of the group's last call is read by this call alone (or by nothing).
            let last = &graph.nodes[calls.last().expect("a group has a call").node];
            let here = |v: ValueId| readers[v.index()] == usize::from(node.uses().any(|u| u == v));
            if last.defs().all(here) {
                parts += calls.len();
                expressions += size(calls);
                joined.push(at);
            }
        }
    }
    joined.sort_unstable();
    let mut calls = Vec::new();
    for at in joined {
        if let Item::Loops(more) = std::mem::replace(&mut items[at], Item::Moved) {
            calls.extend(more);
        }
    }
    calls.push(call);
    for v in node.defs() {
        maker[v.index()] = Some(items.len());
    }
    items.push(Item::Loops(calls));
}

/// What a computation reads, with its type.
type External = (Source, TensorDesc);

/// Where what a computation reads comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Value(ValueId),
    Table(Tensor),
}

impl Source {
    /// The value of the graph that it is.
    pub(crate) fn value(&self) -> Option<ValueId> {
        match self {
            Source::Value(v) => Some(*v),
            Source::Table(_) => None,
        }
    }
}

/// A value that a computation makes: part and output of the part.
type Made = (ValueId, usize, usize);

/// The calls of a group as one computation, what it reads, and what it makes.
pub(crate) fn composed(calls: &[Call], graph: &Graph) -> Option<(Compute, Vec<External>, Vec<Made>)> {
    let mut external: Vec<External> = Vec::new();
    let mut made: Vec<(ValueId, usize, usize)> = Vec::new();
    let mut parts = Vec::new();
    for (p, call) in calls.iter().enumerate() {
        let node = &graph.nodes[call.node];
        let mut inputs = Vec::new();
        for (desc, operand) in call.computation.compute.inputs.iter().zip(&call.computation.operands) {
            let v = match operand {
                Operand::Table(numbers) => {
                    external.push((Source::Table(numbers.clone()), desc.clone()));
                    inputs.push(Binding::External(external.len() - 1));
                    continue;
                }
                Operand::Input(i) => node.inputs.get(*i).copied().flatten()?,
            };
            let binding = match made.iter().find(|m| m.0 == v) {
                Some(&(_, part, output)) => Binding::Part { part, output },
                None => {
                    let known = external.iter().position(|e| e.0.value() == Some(v) && e.1 == *desc);
                    let at = known.unwrap_or_else(|| {
                        external.push((Source::Value(v), desc.clone()));
                        external.len() - 1
                    });
                    Binding::External(at)
                }
            };
            inputs.push(binding);
        }
        for (k, v) in node.outputs.iter().enumerate() {
            made.push(((*v)?, p, k));
        }
        parts.push(Part { compute: &call.computation.compute, inputs });
    }
    // Results: of the last call all, of earlier ones none, since only calls of the group read them.
    let last = calls.len() - 1;
    let results: Vec<(ValueId, usize, usize)> = made.iter().copied().filter(|m| m.1 == last).collect();
    let descs: Vec<TensorDesc> = external.iter().map(|e| e.1.clone()).collect();
    let outputs: Vec<(usize, usize)> = results.iter().map(|r| (r.1, r.2)).collect();
    let mut whole = compose(&parts, &descs, &outputs).ok()?;
    inline(&mut whole);
    Some((whole, external, results))
}

/// The kernels of a group; `None` where loops do not do it (the caller then splits the group, or runs it on the host).
/// Temporaries are numbered from `first_temp`; their lengths in bytes are returned.
pub(crate) fn kernels(
    calls: &[Call],
    graph: &Graph,
    first_temp: usize,
    shared: &Shared,
) -> Option<(Vec<Pending>, Vec<usize>)> {
    let (whole, external, results) = composed(calls, graph)?;
    let names: Vec<String> = calls.iter().map(|c| graph.nodes[c.node].op.named().mnemonic()).collect();
    let name = if names.len() <= 4 {
        names.join("_")
    } else {
        format!("{}_and_{}_more", names[..3].join("_"), names.len() - 3)
    };
    let key = shared.kernels.fingerprint(&whole);
    let template = shared.kernels.loops(key, || template(&whole, &name, shared))?;
    let buffer = |role: &Role| {
        Ok(match *role {
            Role::Input(i) => match &external[i].0 {
                Source::Value(v) => BufferRef::Value(*v),
                Source::Table(numbers) => BufferRef::Packed(Arc::new(AlignedBytes::copy_of(numbers.bytes()))),
            },
            Role::Output(o) => BufferRef::Value(results[o].0),
            Role::Temp(t) => BufferRef::Temp(first_temp + t),
            Role::Scratch { .. } => BufferRef::Scratch,
        })
    };
    let nodes: Vec<usize> = calls.iter().map(|c| c.node).collect();
    let mut checks = Vec::new();
    for call in calls {
        for c in &call.computation.checks {
            checks.push((graph.nodes[call.node].inputs.get(c.operand).copied().flatten()?, c.range.clone(), call.node));
        }
    }
    let mut pending = template.pending(&name, nodes, buffer).ok()?;
    if let Some(first) = pending.first_mut() {
        first.checks = checks;
    }
    if let Some(last) = pending.last_mut() {
        last.last = true;
    }
    Some((pending, template.temps.clone()))
}

/// What a computation becomes.
pub(crate) fn template(whole: &Compute, name: &str, shared: &Shared) -> Option<LoopTemplate> {
    let program = schedule(whole).ok()?;
    let lowered = lower_program(&program, name, shared.isa.target).ok()?;
    let kernel = |l: LoweredKernel| {
        let extent = l.extent.max(0) as usize;
        let cost = l.flops + l.bytes / 2.0;
        let least = shared.options.parallel_cost;
        let grain = if cost < least { extent.max(1) } else { (extent as f64 * least / 2.0 / cost).ceil() as usize };
        LoopKernel {
            record: shared.kernels.record(l.kernel),
            flops: l.flops as u64,
            extent,
            grain: grain.max(1),
            scratch_bytes: l.scratch_bytes,
        }
    };
    Some(LoopTemplate {
        kernels: lowered.into_iter().map(kernel).collect(),
        roles: program.buffers.iter().take(program.n_outer_buffers()).map(|b| b.role).collect(),
        temps: program.temps.iter().map(|t| t.len_elems() * t.dtype.size_bytes()).collect(),
        program: (shared.engine == Engine::Interpreter).then(|| Arc::new(program)),
    })
}
