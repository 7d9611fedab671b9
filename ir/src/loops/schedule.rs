//! From computations to loop nests.
//!
//! Stages are cut into kernels. The stages of one kernel share a set of *row* axes: in each of them a row axis is the same
//! loop variable and every load between them stays in its row, so softmax or layer normalisation is computed row by row,
//! with what passes between stages in registers (one value a row) or in a small scratch block. The rows are the parallel
//! loop. Within a row each stage is a nest of its own (see [`super::stage`]).

use std::collections::{BTreeSet, HashMap};

use super::compute::{Compute, LoopError, Stage, TensorDesc, renumber_stages};
use super::expr::{Arena, ExprId, Node, Source, VarId};
use super::fuse::node_cost;
use super::nest::{Buffer, Kernel, Program, Role};
use super::stage::{Home, Lower};

/// What one thread may keep between the stages of a row: half of a usual 512 KiB second-level cache.
const MAX_SCRATCH_BYTES: usize = 256 << 10;

/// Stages without common rows share a kernel if no stage takes more than so many evaluations; one thread does it all.
const MAX_SINGLE_ROW: f64 = 16384.0;

/// An axis shorter than this is not worth vectors.
const MIN_ACROSS: i64 = 8;

/// A run of stages in one kernel.
#[derive(Debug)]
struct Group {
    stages: Vec<usize>,
    /// For each row: its axis in each stage, in the order of `stages`.
    rows: Vec<Vec<usize>>,
}

/// Schedules a computation.
pub fn schedule(compute: &Compute) -> Result<Program, LoopError> {
    compute.check()?;
    let mut compute = compute.clone();
    extract_reductions(&mut compute);
    let groups = cut_into_groups(&compute);
    let mut buffers: Vec<Buffer> = Vec::new();
    for (i, d) in compute.inputs.iter().enumerate() {
        buffers.push(Buffer { dtype: d.dtype, len_elems: d.len_elems(), role: Role::Input(i) });
    }
    let mut homes: Vec<Vec<usize>> = vec![Vec::new(); compute.stages.len()];
    for (o, &s) in compute.outputs.iter().enumerate() {
        let d = &compute.stages[s].desc;
        homes[s].push(buffers.len());
        buffers.push(Buffer { dtype: d.dtype, len_elems: d.len_elems(), role: Role::Output(o) });
    }
    let mut group_of = vec![0; compute.stages.len()];
    for (g, group) in groups.iter().enumerate() {
        group.stages.iter().for_each(|&s| group_of[s] = g);
    }
    let mut temps = Vec::new();
    for (reader, stage) in compute.stages.iter().enumerate() {
        for s in compute.stages_read_by(stage.value) {
            if group_of[s] != group_of[reader] && homes[s].is_empty() {
                let d = compute.stages[s].desc.clone();
                homes[s].push(buffers.len());
                buffers.push(Buffer { dtype: d.dtype, len_elems: d.len_elems(), role: Role::Temp(temps.len()) });
                temps.push(d);
            }
        }
    }
    let (n_inputs, n_outputs) = (compute.inputs.len(), compute.outputs.len());
    let mut lower = Lower::new(compute, buffers, homes);
    let mut kernels = Vec::new();
    for group in &groups {
        kernels.push(kernel(&mut lower, group)?);
    }
    let Lower { arena, buffers, .. } = lower;
    Ok(Program { arena, buffers, kernels, n_inputs, n_outputs, temps })
}

/// Gives a stage of its own to every reduction that does not depend on all axes of the stage around it.
fn extract_reductions(compute: &mut Compute) {
    let mut s = 0;
    while s < compute.stages.len() {
        let arena = &mut compute.arena;
        let Stage { axes, value, .. } = compute.stages[s].clone();
        let all: BTreeSet<VarId> = axes.iter().copied().filter(|&v| arena.extent(v) != 1).collect();
        let found = arena.reachable(&[value]).into_iter().rev().find_map(|e| {
            let free = arena.free_vars(e);
            let is_reduce = matches!(arena.node(e), Node::Reduce { .. });
            (is_reduce && free.is_subset(&all) && free.len() < all.len()).then_some((e, free))
        });
        let Some((reduce, free)) = found else {
            s += 1;
            continue;
        };
        let kept: Vec<VarId> = axes.into_iter().filter(|v| free.contains(v)).collect();
        let shape: Vec<usize> = kept.iter().map(|&v| arena.extent(v) as usize).collect();
        let dtype = arena.dtype(reduce);
        let new_axes: Vec<VarId> = shape.iter().map(|&n| arena.new_var(0..n as i64)).collect();
        let map = kept.iter().copied().zip(new_axes.iter().map(|&v| arena.var(v)).collect::<Vec<_>>()).collect();
        let new_value = arena.substitute(reduce, &map);
        // The new stage takes number `s`; it and the present one read only stages before it.
        let index: Vec<ExprId> = kept.iter().map(|&v| arena.var(v)).collect();
        let load = arena.load(dtype, Source::Stage(s), index);
        compute.stages[s].value = arena.replace(value, HashMap::from([(reduce, load)]));
        for later in &mut compute.stages[s + 1..] {
            later.value = renumber_stages(arena, later.value, &|t| t + usize::from(t >= s));
        }
        compute.outputs.iter_mut().for_each(|o| *o += usize::from(*o >= s));
        compute.stages.insert(s, Stage { desc: TensorDesc { dtype, shape }, axes: new_axes, value: new_value });
        s += 1;
    }
}

/// Evaluations of a stage's innermost expression.
fn work(compute: &Compute, s: usize) -> f64 {
    let stage = &compute.stages[s];
    let turns: f64 = compute
        .arena
        .reachable(&[stage.value])
        .into_iter()
        .filter_map(|e| match compute.arena.node(e) {
            Node::Reduce { vars, .. } => Some(vars.iter().map(|&v| compute.arena.extent(v) as f64).product::<f64>()),
            _ => None,
        })
        .fold(1.0, f64::max);
    turns * stage.desc.len_elems() as f64
}

fn cut_into_groups(compute: &Compute) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for s in 0..compute.stages.len() {
        if let Some(group) = groups.last_mut() {
            let mut stages = group.stages.clone();
            stages.push(s);
            let mut rows = common_rows(compute, &stages);
            leave_an_axis(compute, &stages, &mut rows);
            rows.retain(|row| !stages.iter().zip(row).any(|(&s, &axis)| reads_across(compute, s, axis)));
            rows.retain(|row| !is_innermost(compute, &stages, row));
            if fits(compute, &stages, &rows) {
                *group = Group { stages, rows };
                continue;
            }
        }
        groups.push(Group { stages: vec![s], rows: Vec::new() });
    }
    groups
}

/// Whether a row is the innermost axis of every stage, along which their elements lie: better left for vectors.
fn is_innermost(compute: &Compute, stages: &[usize], row: &[usize]) -> bool {
    stages.iter().zip(row).all(|(&s, &axis)| {
        let shape = &compute.stages[s].desc.shape;
        axis + 1 == shape.len() && shape[axis] as i64 >= MIN_ACROSS
    })
}

/// Whether stages with these common rows are better computed together.
fn fits(compute: &Compute, stages: &[usize], rows: &[Vec<usize>]) -> bool {
    let mut scratch = 0;
    let mut most = 0.0f64;
    for (k, &s) in stages.iter().enumerate() {
        let desc = &compute.stages[s].desc;
        let n_rows: usize = rows.iter().map(|row| desc.shape[row[k]]).product();
        if n_rows == 0 {
            return false;
        }
        scratch += desc.len_elems() / n_rows * desc.dtype.size_bytes();
        most = most.max(work(compute, s));
    }
    let n_rows: usize = rows.iter().map(|row| compute.stages[stages[0]].desc.shape[row[0]]).product();
    scratch <= MAX_SCRATCH_BYTES && (n_rows >= 8 || most <= MAX_SINGLE_ROW)
}

/// Axes that are the same loop in all stages.
fn common_rows(compute: &Compute, stages: &[usize]) -> Vec<Vec<usize>> {
    // For every load between two of the stages: which axis of the reader indexes which axis of the one it reads.
    let mut loads: Vec<(usize, usize, Vec<Option<usize>>)> = Vec::new();
    for (r, &reader) in stages.iter().enumerate() {
        let stage = &compute.stages[reader];
        for e in compute.arena.reachable(&[stage.value]) {
            let Node::Load { src: Source::Stage(s), index } = compute.arena.node(e) else { continue };
            let Some(producer) = stages.iter().position(|t| t == s) else { continue };
            let axes = index
                .iter()
                .enumerate()
                .map(|(k, &i)| match compute.arena.node(i) {
                    Node::Var(v) => stage
                        .axes
                        .iter()
                        .position(|a| a == v)
                        .filter(|&a| stage.desc.shape[a] == compute.stages[*s].desc.shape[k]),
                    _ => None,
                })
                .collect();
            loads.push((r, producer, axes));
        }
    }
    let anchor = stages.len() - 1;
    let n_axes = compute.stages[stages[anchor]].axes.len();
    let mut rows = Vec::new();
    for axis in 0..n_axes {
        if compute.stages[stages[anchor]].desc.shape[axis] < 2 {
            continue;
        }
        let mut at: Vec<Option<usize>> = vec![None; stages.len()];
        at[anchor] = Some(axis);
        let mut consistent = true;
        // Along the loads in both directions until nothing new is learnt.
        for _ in 0..stages.len() {
            for (reader, producer, axes) in &loads {
                match (at[*reader], at[*producer]) {
                    (Some(a), None) => at[*producer] = axes.iter().position(|&x| x == Some(a)),
                    (None, Some(p)) => at[*reader] = axes[p],
                    _ => {}
                }
            }
        }
        for (reader, producer, axes) in &loads {
            consistent &= match (at[*reader], at[*producer]) {
                (Some(a), Some(p)) => axes[p] == Some(a),
                _ => false,
            };
        }
        let row: Option<Vec<usize>> = at.into_iter().collect();
        if let (true, Some(row)) = (consistent, row) {
            // An axis belongs to one row only.
            let taken = rows.iter().any(|other: &Vec<usize>| other.iter().zip(&row).any(|(a, b)| a == b));
            if !taken {
                rows.push(row);
            }
        }
    }
    rows
}

/// Takes the innermost axis out of the rows where nothing would be left to loop over within a row, so that it can become
/// a vector loop.
fn leave_an_axis(compute: &Compute, stages: &[usize], rows: &mut Vec<Vec<usize>>) {
    let loops_within = |(k, &s): (usize, &usize)| {
        let Stage { desc, value, .. } = &compute.stages[s];
        let inner = |axis: usize| desc.shape[axis] > 1 && rows.iter().all(|row| row[k] != axis);
        let reduces = |e: &ExprId| matches!(compute.arena.node(*e), Node::Reduce { .. });
        (0..desc.shape.len()).any(inner) || compute.arena.reachable(&[*value]).iter().any(reduces)
    };
    if !stages.iter().enumerate().any(loops_within) {
        // Rows are in the order of the last stage's axes.
        rows.pop();
    }
}

/// Whether a reduction of stage `s` reads memory that lies along `axis` of the stage and not along what it reduces: the
/// axis is then the one for vectors, and for the cache lines that are read.
fn reads_across(compute: &Compute, s: usize, axis: usize) -> bool {
    let stage = &compute.stages[s];
    let (arena, along) = (&compute.arena, stage.axes[axis]);
    if arena.extent(along) < MIN_ACROSS {
        return false;
    }
    let (mut across, mut within) = (false, false);
    for e in arena.reachable(&[stage.value]) {
        let Node::Reduce { vars, body, .. } = arena.node(e) else { continue };
        for load in arena.reachable(&[*body]) {
            let Node::Load { index, .. } = arena.node(load) else { continue };
            let Some(&last) = index.last() else { continue };
            let reduced = |i: &ExprId| vars.iter().any(|v| arena.free_vars(*i).contains(v));
            let unit = |v: VarId| {
                let terms = arena.linear(last).terms;
                terms.into_iter().any(|(t, factor)| factor == 1 && matches!(arena.node(t), Node::Var(w) if *w == v))
            };
            across |= unit(along) && index.iter().any(reduced);
            within |= vars.iter().any(|&v| unit(v));
        }
    }
    across && !within
}

/// Operations and bytes of one stage.
fn effort(compute: &Lower, s: usize) -> (f64, f64) {
    let stage = &compute.stages[s];
    let n = stage.desc.len_elems() as f64;
    let arena = &compute.arena;
    let mut flops = 0.0;
    let mut bytes = n * stage.desc.dtype.size_bytes() as f64;
    let mut turns = 1.0f64;
    for e in arena.reachable(&[stage.value]) {
        match arena.node(e) {
            Node::Reduce { vars, .. } => turns *= vars.iter().map(|&v| arena.extent(v).max(1) as f64).product::<f64>(),
            Node::Load { src: Source::Input(i), .. } => {
                let d = &compute.inputs[*i];
                bytes += (d.len_elems() * d.dtype.size_bytes()) as f64;
            }
            _ => flops += node_cost(arena, e) as f64,
        }
    }
    (flops * n * turns, bytes)
}

fn kernel(lower: &mut Lower, group: &Group) -> Result<Kernel, LoopError> {
    let (mut flops, mut bytes) = (0.0, 0.0);
    for &s in &group.stages {
        let (f, b) = effort(lower, s);
        flops += f;
        bytes += b;
    }
    if let [s] = group.stages[..] {
        let (parallel, extent, body) = lower.single(s);
        return Ok(Kernel { parallel, extent, body, scratch_bytes: 0, flops, bytes });
    }
    let sizes: Vec<usize> = group.rows.iter().map(|row| lower.stages[group.stages[0]].desc.shape[row[0]]).collect();
    let extent: i64 = sizes.iter().product::<usize>() as i64;
    let parallel = lower.arena.new_var(0..extent);
    let turn = lower.arena.var(parallel);
    let row_index = delinearize(&mut lower.arena, turn, &sizes);
    let mut body = Vec::new();
    let mut scratch_bytes = 0usize;
    for (k, &s) in group.stages.iter().enumerate() {
        let axes = lower.stages[s].axes.clone();
        let rows: Vec<usize> = group.rows.iter().map(|row| row[k]).collect();
        let fixed: HashMap<VarId, ExprId> = rows.iter().zip(&row_index).map(|(&a, &i)| (axes[a], i)).collect();
        if lower.homes[s].is_empty() {
            let shape = lower.stages[s].desc.shape.clone();
            let len: usize = shape.iter().enumerate().filter(|(a, _)| !rows.contains(a)).map(|(_, &n)| n).product();
            lower.place[s] = if len == 1 {
                Home::Local(lower.new_local())
            } else {
                let dtype = lower.stages[s].desc.dtype;
                // Cache lines apart, so that vectors of one block do not share a line with another.
                let offset_bytes = scratch_bytes.next_multiple_of(64);
                scratch_bytes = offset_bytes + len * dtype.size_bytes();
                lower.buffers.push(Buffer { dtype, len_elems: len, role: Role::Scratch { offset_bytes } });
                Home::Scratch { buffer: lower.buffers.len() - 1, rows: rows.clone() }
            };
        }
        body.extend(lower.stage(s, &fixed));
    }
    Ok(Kernel { parallel, extent, body, scratch_bytes, flops, bytes })
}

/// The index in `sizes` at row-major position `position`, which lies inside.
pub(super) fn delinearize(arena: &mut Arena, position: ExprId, sizes: &[usize]) -> Vec<ExprId> {
    use super::expr::BinOp;
    let mut stride = 1i64;
    let mut index = Vec::with_capacity(sizes.len());
    for &n in sizes.iter().rev() {
        let by = arena.int(stride);
        let quotient = arena.bin(BinOp::FloorDiv, position, by);
        let n_elems = arena.int(n.max(1) as i64);
        index.push(arena.bin(BinOp::FloorMod, quotient, n_elems));
        stride *= n.max(1) as i64;
    }
    index.reverse();
    index
}
