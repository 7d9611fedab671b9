//! Recurrent networks: one product for the inputs of all steps, then a walk over time.
//!
//! Each step of a direction calls, for each part of its cell, the product of the state with weights packed once and a
//! kernel of the part's expressions. A run copies the step's pointer table once, and changes the few entries that move
//! with time, so a step costs its calls and little else. Where the layout allows it the states are written straight into
//! the result `Y`; else into two blocks by turns, from which their rows are copied.
//!
//! Invariant: a sequence that ended keeps its state, and its rows of `Y` stay zero; both directions pass over the steps
//! behind its end, so the backward one begins at the sequence's own end.

use super::kernels::{self, BufferRef, Code, Layout, LoopTemplate, Pending, Record};
use super::plan::{Place, operand};
use super::run::Run;
use super::table::{Pointers, Slot};
use super::{Engine, Shared, groups, interpret};
use crate::builder::Elem;
use crate::interp::Region;
use crate::kernels::gemm::{PackedRhs, Rhs};
use egret_ir::eval::Limits;
use egret_ir::loops::{Compute, ComputeBuilder, Program, Role, inline};
use egret_ir::lower::{CellTensor, MatMul, Recurrent};
use egret_ir::{DType, Error, Graph, Result, Tensor, ValueId};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

const F32_BYTES: usize = size_of::<f32>();

/// A recurrent network ready to run.
#[derive(Clone)]
pub struct RecurrentStep {
    /// The node that it computes.
    pub node: usize,
    /// Floating-point operations of all steps, those of the inputs' product left out.
    pub flops: u64,
    sizes: Sizes,
    directions: Vec<Walk<Code>>,
    /// Lengths of the sequences.
    pub(super) lens: Option<ValueId>,
    /// First states and results, state and cell state: those that are given or wanted.
    ends: Ends<Option<BufferRef>>,
}

/// What a walk begins and ends with.
#[derive(Clone)]
struct Ends<T> {
    first: [T; 2],
    y: T,
    last: [T; 2],
}

/// A recurrent network before its kernels are compiled.
pub(crate) struct PendingRecurrent {
    step: RecurrentStep,
    directions: Vec<Walk<Arc<Record>>>,
}

/// Extents, in elements.
#[derive(Clone, Copy)]
struct Sizes {
    seq: usize,
    batch: usize,
    hidden: usize,
    n_dirs: usize,
    batch_first: bool,
    cell_state: bool,
    /// Between the projections of neighbouring steps.
    projection_step: usize,
}

impl Sizes {
    /// Bytes of a state of one direction.
    fn block_bytes(&self) -> usize {
        self.batch * self.hidden * F32_BYTES
    }
}

/// One direction: what a step calls, with kernels before or after compilation.
#[derive(Clone)]
struct Walk<K> {
    backward: bool,
    calls: Vec<Call<K>>,
    /// Two blocks for the state, two for the cell state.
    states: [BufferRef; 4],
}

#[derive(Clone)]
struct Call<K> {
    kernel: K,
    extent: usize,
    grain: usize,
    scratch_bytes: usize,
    entries: Vec<Entry>,
    /// As in [`kernels::KernelStep`].
    nest: Option<(Arc<Program>, usize)>,
}

/// An entry of a pointer table.
#[derive(Clone)]
enum Entry {
    /// The same in all steps, with an offset in bytes.
    Fixed(BufferRef, usize),
    /// The step's part of the projection, from an offset in bytes on.
    Projection(BufferRef, usize),
    State,
    NextState,
    Cell,
    NextCell,
}

impl Entry {
    fn buffer(&self) -> Option<&BufferRef> {
        match self {
            Entry::Fixed(b, _) | Entry::Projection(b, _) => Some(b),
            Entry::State | Entry::NextState | Entry::Cell | Entry::NextCell => None,
        }
    }
}

impl<T> Ends<T> {
    fn all(&self) -> [&T; 5] {
        [&self.first[0], &self.first[1], &self.y, &self.last[0], &self.last[1]]
    }
}

impl<K> Walk<K> {
    /// Entries of the walk's part of the table: its states, then those of each call.
    fn n_entries(&self) -> usize {
        self.states.len() + self.calls.iter().map(|c| c.entries.len()).sum::<usize>()
    }
}

impl RecurrentStep {
    /// What the step's pointer table holds, `None` where nothing is given or the entry moves: first states and results,
    /// then for each direction its states and the entries of its calls.
    pub(super) fn buffers(&self) -> Vec<Option<&BufferRef>> {
        let mut all: Vec<Option<&BufferRef>> = self.ends.all().map(Option::as_ref).to_vec();
        for walk in &self.directions {
            all.extend(walk.states.iter().map(Some));
            all.extend(walk.calls.iter().flat_map(|c| &c.entries).map(Entry::buffer));
        }
        all
    }
}

impl PendingRecurrent {
    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.directions.iter().flat_map(|d| &d.calls).map(|c| &c.kernel)
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        self.directions.iter().flat_map(|d| &d.calls).map(|c| c.scratch_bytes).max().unwrap_or(0)
    }

    /// The step, with the code of [`PendingRecurrent::records`] in order.
    pub(crate) fn with_code(self, code: &mut dyn Iterator<Item = Code>) -> Result<RecurrentStep> {
        let mut step = self.step;
        for walk in self.directions {
            let mut calls = Vec::with_capacity(walk.calls.len());
            for c in walk.calls {
                let kernel = code.next().ok_or_else(|| Error::bug("a kernel was not compiled"))?;
                let Call { extent, grain, scratch_bytes, entries, nest, .. } = c;
                calls.push(Call { kernel, extent, grain, scratch_bytes, entries, nest });
            }
            step.directions.push(Walk { backward: walk.backward, calls, states: walk.states });
        }
        Ok(step)
    }
}

/// Kernels that run before the walk, the walk, and the lengths in bytes of the temporaries of both, numbered from
/// `first_temp` on; `None` where a kernel is not to be had.
pub(crate) fn pending(
    graph: &Graph,
    n: usize,
    r: &Recurrent,
    places: &[Place],
    first_temp: usize,
    shared: &Shared,
) -> Result<Option<(Vec<Pending>, PendingRecurrent, Vec<usize>)>> {
    let mut make = Make { graph, n, r, places, shared, first_temp, temps: Vec::new(), before: Vec::new() };
    let Some(projection) = make.projection()? else { return Ok(None) };
    let mut directions = Vec::new();
    for d in 0..r.directions.len() {
        let Some(walk) = make.walk(d, &projection)? else { return Ok(None) };
        directions.push(walk);
    }
    let node = &graph.nodes[n];
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    let given = |i: usize| input(i).map(BufferRef::Value);
    let wanted = |k: usize| {
        let v = node.outputs.get(k).copied().flatten()?;
        (!matches!(places[v.index()], Place::Nowhere)).then_some(BufferRef::Value(v))
    };
    let rows = make.rows();
    let sizes = Sizes {
        seq: r.seq,
        batch: r.batch,
        hidden: r.hidden,
        n_dirs: r.directions.len(),
        batch_first: r.batch_first,
        cell_state: r.cell_state,
        projection_step: if r.batch_first { rows } else { r.batch * rows },
    };
    let cell = |end: Option<BufferRef>| end.filter(|_| r.cell_state);
    let step = RecurrentStep {
        node: n,
        flops: 2 * (r.seq * r.batch * rows) as u64 * r.hidden as u64,
        sizes,
        directions: Vec::new(),
        lens: input(4),
        ends: Ends { first: [given(5), cell(given(6))], y: wanted(0), last: [wanted(1), cell(wanted(2))] },
    };
    Ok(Some((make.before, PendingRecurrent { step, directions }, make.temps)))
}

/// The kernels of one network in the making.
struct Make<'a> {
    graph: &'a Graph,
    n: usize,
    r: &'a Recurrent,
    places: &'a [Place],
    shared: &'a Shared,
    first_temp: usize,
    /// Lengths in bytes.
    temps: Vec<usize>,
    before: Vec<Pending>,
}

impl<'a> Make<'a> {
    /// Rows of the weights of all directions.
    fn rows(&self) -> usize {
        self.r.directions.len() * self.r.gates * self.r.hidden
    }

    /// A new temporary of `len` elements.
    fn temp(&mut self, len: usize) -> BufferRef {
        self.temps.push(len * F32_BYTES);
        BufferRef::Temp(self.first_temp + self.temps.len() - 1)
    }

    fn constant(&self, i: usize) -> Option<&'a Tensor> {
        let v = self.graph.nodes[self.n].inputs.get(i).copied().flatten()?;
        if let Place::Const(t) = &self.places[v.index()] { Some(t) } else { None }
    }

    fn operand(&self, i: usize) -> Result<BufferRef> {
        operand(self.graph, self.n, i)
    }

    /// Loop kernels of a computation and the number of the first of its temporaries, which become ours.
    fn loops(&mut self, compute: &Compute, name: &str) -> Option<(Arc<LoopTemplate>, usize)> {
        let mut whole = compute.clone();
        inline(&mut whole);
        let key = self.shared.kernels.fingerprint(&whole);
        let template = self.shared.kernels.loops(key, || groups::template(&whole, name, self.shared))?;
        let first = self.first_temp + self.temps.len();
        self.temps.extend(&template.temps);
        Some((template, first))
    }

    /// A computation that runs once, before the walk.
    fn once(&mut self, compute: &Compute, name: &str, inputs: &[BufferRef], output: &BufferRef) -> Result<Option<()>> {
        let Some((template, first)) = self.loops(compute, name) else { return Ok(None) };
        let buffer = |role: &Role| {
            Ok(match role {
                Role::Input(i) => inputs[*i].clone(),
                Role::Output(_) => output.clone(),
                Role::Temp(t) => BufferRef::Temp(first + t),
                Role::Scratch { .. } => BufferRef::Scratch,
            })
        };
        self.before.extend(template.pending(name, vec![self.n], buffer)?);
        Ok(Some(()))
    }

    /// `x w^T + bias` of all steps and directions; what holds it.
    fn projection(&mut self) -> Result<Option<BufferRef>> {
        let (r, rows) = (self.r, self.rows());
        let mut bias = None;
        if let Some(sum) = &r.bias {
            let made = self.temp(rows);
            let mut inputs = Vec::with_capacity(sum.operands.len());
            for from in &sum.operands {
                let egret_ir::lower::Operand::Input(i) = from else { return Ok(None) };
                inputs.push(self.operand(*i)?);
            }
            if self.once(&sum.compute, "recurrent_bias", &inputs, &made)?.is_none() {
                return Ok(None);
            }
            bias = Some(made);
        }
        let weights = self.constant(1);
        let product = MatMul {
            batch: Vec::new(),
            m: r.seq * r.batch,
            n: rows,
            k: r.input,
            a_strides: (r.input, 1),
            b_strides: (1, r.input),
            bias: bias.is_some().then_some((0, 1)),
            alpha: 1.0,
            beta: 1.0,
        };
        let b_layout = if weights.is_some() { Rhs::Packed } else { Rhs::Transposed { row_stride: r.input } };
        let Some(template) = kernels::product_template(&product, Elem::F32, b_layout, None, self.shared) else {
            return Ok(None);
        };
        let b = match (weights, template.layout) {
            (Some(t), Some(layout)) => BufferRef::Packed(kernels::pack(t, layout, self.shared)?),
            _ => self.operand(1)?,
        };
        // The interpreter of loop nests copies a step's whole rows, whose last one ends behind the projection where they
        // begin at a later direction or step.
        let behind = if self.shared.engine == Engine::Interpreter { r.projection_stride() } else { 0 };
        let out = self.temp(r.seq * r.batch * rows + behind);
        let mut buffers = vec![self.operand(0)?, b, out.clone(), BufferRef::Scratch];
        buffers.extend(bias);
        self.before.push(Pending {
            record: Arc::clone(&template.record),
            name: template.name.clone(),
            nodes: vec![self.n],
            flops: template.flops,
            buffers,
            extent: template.extent,
            grain: 1,
            scratch_bytes: template.scratch_bytes,
            last: false,
            checks: Vec::new(),
            nest: None,
            before: Vec::new(),
            temps: Vec::new(),
        });
        Ok(Some(out))
    }

    /// The rows of `r` of some gates of a direction, packed.
    fn weights(&mut self, d: usize, gates: &Range<usize>, layout: PackedRhs) -> Result<Option<BufferRef>> {
        let first_row = (d * self.r.gates + gates.start) * self.r.hidden;
        if let Some(t) = self.constant(2) {
            return Ok(Some(BufferRef::Packed(kernels::pack(t, Layout::Rows(layout, first_row), self.shared)?)));
        }
        let packed = self.temp(layout.len_elems());
        let source = self.operand(2)?;
        let Some(compute) = packing(self.r, first_row, layout) else { return Ok(None) };
        Ok(self.once(&compute, "recurrent_pack", &[source], &packed)?.map(|()| packed))
    }

    fn walk(&mut self, d: usize, projection: &BufferRef) -> Result<Option<Walk<Arc<Record>>>> {
        let r = self.r;
        let block = r.batch * r.hidden;
        let states = [self.temp(block), self.temp(block), self.temp(block), self.temp(block)];
        let carried: Vec<BufferRef> = (0..r.n_carried()).map(|_| self.temp(block)).collect();
        let mut calls = Vec::new();
        for part in &r.directions[d].parts {
            let n_rows = part.gates.len() * r.hidden;
            let sums = self.temp(r.batch * n_rows);
            let product = MatMul {
                batch: Vec::new(),
                m: r.batch,
                n: n_rows,
                k: r.hidden,
                a_strides: (r.hidden, 1),
                b_strides: (1, r.hidden),
                bias: None,
                alpha: 1.0,
                beta: 1.0,
            };
            let template = kernels::product_template(&product, Elem::F32, Rhs::Packed, None, self.shared);
            let Some(template) = template else { return Ok(None) };
            let Some(Layout::Rhs(layout, ..)) = template.layout else { return Ok(None) };
            let Some(weights) = self.weights(d, &part.gates, layout)? else { return Ok(None) };
            let fixed = |b: BufferRef| Entry::Fixed(b, 0);
            let entry = |t: CellTensor| -> Result<Entry> {
                let gate_bytes = r.gates * r.hidden * F32_BYTES;
                Ok(match t {
                    CellTensor::Sums => fixed(sums.clone()),
                    CellTensor::Projection => Entry::Projection(projection.clone(), d * gate_bytes),
                    CellTensor::State => Entry::State,
                    CellTensor::NextState => Entry::NextState,
                    CellTensor::Cell => Entry::Cell,
                    CellTensor::NextCell => Entry::NextCell,
                    CellTensor::Carried(k) => fixed(carried[k].clone()),
                    CellTensor::Bias => Entry::Fixed(operand(self.graph, self.n, 3)?, d * 2 * gate_bytes),
                    CellTensor::Peepholes => {
                        Entry::Fixed(operand(self.graph, self.n, 7)?, d * 3 * r.hidden * F32_BYTES)
                    }
                })
            };
            calls.push(Call {
                kernel: Arc::clone(&template.record),
                extent: template.extent,
                grain: 1,
                scratch_bytes: template.scratch_bytes,
                entries: vec![entry(part.of)?, fixed(weights), fixed(sums.clone()), fixed(BufferRef::Scratch)],
                nest: None,
            });
            let inputs = part.inputs.iter().map(|&t| entry(t)).collect::<Result<Vec<_>>>()?;
            let outputs = part.outputs.iter().map(|&t| entry(t)).collect::<Result<Vec<_>>>()?;
            let Some((template, first)) = self.loops(&part.compute, "recurrent_cell") else { return Ok(None) };
            let role = |role: &Role| match role {
                Role::Input(i) => inputs[*i].clone(),
                Role::Output(o) => outputs[*o].clone(),
                Role::Temp(t) => fixed(BufferRef::Temp(first + t)),
                Role::Scratch { .. } => fixed(BufferRef::Scratch),
            };
            let mut entries: Vec<Entry> = template.roles.iter().map(role).collect();
            entries.extend([fixed(BufferRef::Scratch), fixed(BufferRef::HostTable)]);
            calls.extend(template.kernels.iter().enumerate().map(|(k, l)| Call {
                kernel: Arc::clone(&l.record),
                extent: l.extent,
                grain: l.grain,
                scratch_bytes: l.scratch_bytes,
                entries: entries.clone(),
                nest: template.program.as_ref().map(|program| (Arc::clone(program), k)),
            }));
        }
        Ok(Some(Walk { backward: r.directions[d].backward, calls, states }))
    }
}

/// Rows of `r` from `first` on in the layout of a packed right operand.
fn packing(r: &Recurrent, first: usize, layout: PackedRhs) -> Option<Compute> {
    let mut c = ComputeBuilder::new();
    let rows = r.directions.len() * r.gates * r.hidden;
    let source = c.input(DType::F32, &[rows, r.hidden]);
    let panels = layout.n.div_ceil(layout.width);
    let packed = c.compute(DType::F32, &[panels, layout.k, layout.width], |e, i| {
        let column = e.affine(i[0], layout.width as i64, 0);
        let column = e.add(column, i[2]);
        let inside = e.in_range(column, 0, layout.n as i64);
        let (row, zero) = (e.affine(column, 1, first as i64), e.zero(DType::F32));
        e.load_or(inside, source, &[row, i[1]], zero)
    });
    c.output(packed);
    c.finish().ok()
}

/// One direction of a run.
struct Direction<'a> {
    sizes: Sizes,
    walk: &'a Walk<Code>,
    d: usize,
    /// The walk's part of the pointer table, as the plan resolved it: see [`RecurrentStep::buffers`].
    table: &'a [*mut u8],
    slots: &'a [Slot],
    /// Null where nothing is given or wanted.
    ends: &'a Ends<*mut u8>,
}

// SAFETY: the pointers are only read as values; each direction works on blocks, carried tensors and rows of the results
// of its own, so two threads with different directions do not touch the same bytes.
unsafe impl Sync for Direction<'_> {}

/// Runs a kernel on a table and what its entries are.
type Runner<'a> = dyn Fn(&Call<Code>, &[*mut u8], &[Slot]) -> Result<()> + 'a;

impl Run<'_> {
    /// Walks over the sequence.
    pub(super) fn recurrent(&mut self, at: usize, step: &RecurrentStep, limits: &Limits) -> Result<()> {
        let sizes = step.sizes;
        let lens = match step.lens {
            None => None,
            Some(v) => {
                let lens = self.value(v)?.tensor()?.to_i64s()?;
                if let Some(l) = lens.iter().find(|&&l| l < 0 || l > sizes.seq as i64) {
                    return Err(Error::invalid(format!("sequence length {l} is outside 0..={}", sizes.seq)));
                }
                let lens: Vec<usize> = lens.into_iter().map(|l| l as usize).collect();
                lens.iter().any(|&l| l < sizes.seq).then_some(lens)
            }
        };
        let lens = lens.as_deref();
        let call = self.plan.tables.call(at).ok_or_else(|| Error::bug("a kernel without a table"))?;
        let (mut table, mut slots) = (self.state.table(call), self.plan.tables.slots(call));
        let own: [*mut u8; 5] = table.first_chunk().copied().ok_or_else(|| Error::bug("a short table"))?;
        (table, slots) = (&table[own.len()..], &slots[own.len()..]);
        let ends = Ends { first: [own[0], own[1]], y: own[2], last: [own[3], own[4]] };
        let mut directions = Vec::with_capacity(sizes.n_dirs);
        for (d, walk) in step.directions.iter().enumerate() {
            let (mine, other) = table.split_at(walk.n_entries());
            let (my_slots, other_slots) = slots.split_at(walk.n_entries());
            directions.push(Direction { sizes, walk, d, table: mine, slots: my_slots, ends: &ends });
            (table, slots) = (other, other_slots);
        }
        if !ends.y.is_null() && lens.is_some() {
            // SAFETY: `Y` has seq * n_dirs * batch * hidden elements (the operator's rule), and nothing else runs.
            unsafe { ends.y.write_bytes(0, sizes.seq * sizes.n_dirs * sizes.block_bytes()) };
        }
        let (pool, scratch) = (&self.shared.pool, self.state.scratch());
        match self.shared.engine {
            Engine::Recorder => Ok(()),
            Engine::Interpreter => {
                directions.iter().try_for_each(|d| d.run(lens, limits, &self.interpreter(sizes.block_bytes())))
            }
            Engine::Machine if sizes.n_dirs > 1 && pool.n_threads() > 1 => {
                // Directions have nothing to do with each other: a thread each, and no waiting between steps.
                let failed: Mutex<Option<Error>> = Mutex::new(None);
                pool.parallel_for(sizes.n_dirs, 1, &|thread, begin, end| {
                    let alone = |c: &Call<Code>, mine: &[*mut u8], slots: &[Slot]| {
                        Pointers { mine, scratch, slots }.with_scratch(thread, |table| c.run(table, 0, c.extent))
                    };
                    for d in &directions[begin..end] {
                        if let Err(e) = d.run(lens, limits, &alone) {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                        }
                    }
                });
                failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
            }
            Engine::Machine => {
                let together = |c: &Call<Code>, mine: &[*mut u8], slots: &[Slot]| {
                    if pool.n_parts(c.extent, c.grain) <= 1 {
                        return c.run(mine, 0, c.extent);
                    }
                    let (table, failed) = (Pointers { mine, scratch, slots }, Mutex::new(Ok(())));
                    pool.parallel_for(c.extent, c.grain, &|thread, begin, end| {
                        if let Err(e) = table.with_scratch(thread, |table| c.run(table, begin, end)) {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Err(e);
                        }
                    });
                    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
                };
                directions.iter().try_for_each(|d| d.run(lens, limits, &together))
            }
        }
    }

    /// Runs kernels without machine code.
    fn interpreter(&self, state_bytes: usize) -> impl Fn(&Call<Code>, &[*mut u8], &[Slot]) -> Result<()> + '_ {
        move |c, table, _| {
            let Code::Recorded(kernel) = &c.kernel else { return Err(Error::bug("a kernel without its record")) };
            let mut regions = Vec::with_capacity(table.len());
            for (entry, &start) in c.entries.iter().zip(table) {
                let len_bytes = match entry {
                    Entry::Fixed(b, offset) => self.buffer_bytes(b)? - offset,
                    Entry::Projection(b, _) => {
                        let BufferRef::Temp(t) = b else { return Err(Error::bug("a projection without memory")) };
                        let (at, len) = self.plan.temps[*t];
                        self.state.bytes(at, len).as_ptr_range().end.addr() - start.addr()
                    }
                    Entry::State | Entry::NextState | Entry::Cell | Entry::NextCell => state_bytes,
                };
                regions.push(Region { start, len_bytes });
            }
            // SAFETY: the regions are the kernel's buffers, each of its own length, as in `Call::run`.
            unsafe { interpret::step(kernel, c.nest.as_ref(), c.extent, &regions, self.shared.isa.target.fused) }
        }
    }
}

impl Call<Code> {
    /// Runs a part of the kernel's range on a table.
    fn run(&self, table: &[*mut u8], begin: usize, end: usize) -> Result<()> {
        let Code::Machine(entry) = &self.kernel else { return Err(Error::bug("a kernel without machine code")) };
        // SAFETY: the table holds a pointer for each buffer of the kernel's description, made from the extents for which it
        // was recorded (Make::walk); buffers that live together do not overlap (Plan::place), states that are read and
        // written are different blocks; scratch is the thread's own; ranges write disjoint parts.
        unsafe { entry.call(table.as_ptr(), begin as i64, end as i64) };
        Ok(())
    }
}

impl Direction<'_> {
    fn run(&self, lens: Option<&[usize]>, limits: &Limits, runner: &Runner<'_>) -> Result<()> {
        let (s, ends) = (self.sizes, self.ends);
        let (states, calls) = self.table.split_at(self.walk.states.len());
        let slots = &self.slots[states.len()..];
        let &[h, h_other, c, c_other] = states else { return Err(Error::bug("a walk without states")) };
        let block = s.block_bytes();
        for (at, from) in [(h, ends.first[0]), (c, ends.first[1])].into_iter().take(1 + usize::from(s.cell_state)) {
            match from.is_null() {
                false => (0..s.batch).for_each(|n| copy_row(from, self.state_row(n), at, n, s.hidden)),
                // SAFETY: the block is a temporary of this length (Make::walk) of this direction.
                true => unsafe { at.write_bytes(0, block) },
            }
        }
        let y = Some(ends.y).filter(|y| !y.is_null());
        // One step's states lie together in Y.
        let direct = y.filter(|_| lens.is_none() && (!s.batch_first || s.batch == 1));
        let (mut state, mut spare, mut cell, mut spare_cell) = (h, h_other, c, c_other);
        let steps = lens.map_or(s.seq, |l| l.iter().copied().max().unwrap_or(0));
        let mut table = calls.to_vec();
        let entries = || self.walk.calls.iter().flat_map(|c| &c.entries);
        for (at, entry) in table.iter_mut().zip(entries()) {
            if let Entry::Fixed(_, offset) | Entry::Projection(_, offset) = entry {
                *at = at.wrapping_add(*offset);
            }
        }
        let bases = table.clone();
        let moving: Vec<(usize, &Entry)> =
            entries().enumerate().filter(|(_, entry)| !matches!(entry, Entry::Fixed(..))).collect();
        for step in 0..steps {
            limits.check()?;
            let t = if self.walk.backward { steps - 1 - step } else { step };
            let next = direct.map_or(spare, |y| y.wrapping_add((t * s.n_dirs + self.d) * block));
            for &(i, entry) in &moving {
                table[i] = match entry {
                    Entry::Fixed(..) => continue,
                    Entry::Projection(..) => bases[i].wrapping_add(t * s.projection_step * F32_BYTES),
                    Entry::State => state,
                    Entry::NextState => next,
                    Entry::Cell => cell,
                    Entry::NextCell => spare_cell,
                };
            }
            let mut first = 0;
            for c in &self.walk.calls {
                let mine = first..first + c.entries.len();
                first = mine.end;
                runner(c, &table[mine.clone()], &slots[mine])?;
            }
            if direct.is_none() {
                for n in 0..s.batch {
                    if lens.is_some_and(|l| t >= l[n]) {
                        copy_row(state, n, next, n, s.hidden);
                        if s.cell_state {
                            copy_row(cell, n, spare_cell, n, s.hidden);
                        }
                    } else if let Some(y) = y {
                        copy_row(next, n, y, self.y_row(t, n), s.hidden);
                    }
                }
                spare = state;
            }
            state = next;
            std::mem::swap(&mut cell, &mut spare_cell);
        }
        for (from, to) in [(state, ends.last[0]), (cell, ends.last[1])] {
            if !to.is_null() {
                (0..s.batch).for_each(|n| copy_row(from, n, to, self.state_row(n), s.hidden));
            }
        }
        Ok(())
    }

    /// Row of sequence `n` in a first or last state.
    fn state_row(&self, n: usize) -> usize {
        let s = self.sizes;
        if s.batch_first { n * s.n_dirs + self.d } else { self.d * s.batch + n }
    }

    /// Row of sequence `n` at time `t` in `Y`.
    fn y_row(&self, t: usize, n: usize) -> usize {
        let s = self.sizes;
        if s.batch_first { (n * s.seq + t) * s.n_dirs + self.d } else { (t * s.n_dirs + self.d) * s.batch + n }
    }
}

/// Copies a row of `len` elements between tensors of such rows.
fn copy_row(from: *mut u8, from_row: usize, to: *mut u8, to_row: usize, len: usize) {
    let bytes = len * F32_BYTES;
    // SAFETY: rows are below the number of rows of their tensors, as their extents say (`Direction::state_row`, `y_row`);
    // the tensors are different buffers, and rows that are written belong to this direction.
    unsafe { to.wrapping_add(to_row * bytes).copy_from_nonoverlapping(from.wrapping_add(from_row * bytes), bytes) }
}
