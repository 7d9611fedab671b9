//! Pointer tables of a plan's kernels, resolved before they run.
//!
//! The entries of all tables lie in one list, each kernel's in a row. What the plan knows (constants, packed weights, the
//! arena, scratch) is written when a [`State`] is made; what a call brings (arguments, result buffers, results of host
//! calls) is written where it is known, by lists of the entries that want it. A kernel of a run is then one call.

use super::Shared;
use super::kernels::{BufferRef, Code};
use super::plan::{Place, Plan, Step};
use crate::jit::KernelAbi;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{Error, Result, ValueId};

/// What an entry points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Memory that lives as long as the plan, by address.
    Fixed(usize),
    /// Bytes of the arena from this offset.
    Arena(usize),
    /// The calling thread's scratch.
    Scratch,
    /// Written during a run.
    Late,
}

/// A kernel with its table.
pub(crate) struct Call {
    /// Machine code, where there is any.
    entry: Option<KernelAbi>,
    /// First entry of its table.
    start: usize,
    /// Entries of its table.
    len: usize,
    extent: usize,
    grain: usize,
    /// Whether the caller runs it alone.
    alone: bool,
}

/// The tables of a plan.
#[derive(Default)]
pub(crate) struct Tables {
    slots: Vec<Slot>,
    /// By step.
    calls: Vec<Option<Call>>,
    /// (entry, argument).
    args: Vec<(usize, usize)>,
    /// (entry, result buffer).
    results: Vec<(usize, usize)>,
    /// By value: which of the run's host values it is.
    host_of: Vec<Option<u32>>,
    /// By host value: the entries that point to it.
    hosts: Vec<Vec<usize>>,
}

impl Tables {
    /// Tables of a plan whose places are final.
    pub(crate) fn new(plan: &Plan, shared: &Shared) -> Result<Tables> {
        let mut tables = Tables { host_of: vec![None; plan.graph.values.len()], ..Tables::default() };
        for (v, place) in plan.places.iter().enumerate() {
            if let Place::Host = place {
                tables.host_of[v] = Some(tables.hosts.len() as u32);
                tables.hosts.push(Vec::new());
            }
        }
        for step in &plan.steps {
            let buffers = step.buffers();
            let (start, len) = (tables.slots.len(), buffers.len());
            for buffer in buffers {
                let slot = buffer.map_or(Ok(Slot::Late), |b| tables.slot(plan, b))?;
                tables.slots.push(slot);
            }
            tables.calls.push(match step {
                Step::Kernel(k) => Some(Call {
                    entry: if let Code::Machine(entry) = &k.code { Some(entry.raw()) } else { None },
                    start,
                    len,
                    extent: k.extent,
                    grain: k.grain,
                    alone: shared.pool.n_parts(k.extent, k.grain) <= 1,
                }),
                // Its own walk calls its kernels.
                Step::Recurrent(_) => Some(Call { entry: None, start, len, extent: 0, grain: 1, alone: true }),
                Step::Library(_) | Step::Host(_) | Step::Control(_) | Step::View(_) => None,
            });
        }
        Ok(tables)
    }

    /// What the next entry points to; entries that are written late are put on their lists.
    fn slot(&mut self, plan: &Plan, buffer: &BufferRef) -> Result<Slot> {
        let at = self.slots.len();
        Ok(match buffer {
            BufferRef::Packed(bytes) => Slot::Fixed(bytes.as_slice().as_ptr() as usize),
            BufferRef::Temp(t) => Slot::Arena(plan.temps[*t].0),
            BufferRef::HostTable => Slot::Fixed(crate::lower::host_table().as_ptr() as usize),
            BufferRef::Scratch => Slot::Scratch,
            BufferRef::Value(v) => {
                let root = plan.root(*v);
                match &plan.places[root.index()] {
                    Place::Const(t) => Slot::Fixed(t.bytes().as_ptr() as usize),
                    Place::Arena(at) => Slot::Arena(*at),
                    Place::Arg(i) => {
                        self.args.push((at, *i));
                        Slot::Late
                    }
                    Place::Result(r) => {
                        self.results.push((at, *r));
                        Slot::Late
                    }
                    Place::Host => {
                        let host = self.host(root).ok_or_else(|| Error::bug("a host value without a number"))?;
                        self.hosts[host].push(at);
                        Slot::Late
                    }
                    Place::Nowhere | Place::Alias(_) => {
                        let name = &plan.graph.value(*v).name;
                        return Err(Error::bug(format!("value \"{name}\" is read and never made")));
                    }
                }
            }
        })
    }

    /// Number of values that host calls make.
    pub(crate) fn n_hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Which host value `v` is.
    pub(crate) fn host(&self, v: ValueId) -> Option<usize> {
        self.host_of[v.index()].map(|h| h as usize)
    }

    /// What the entries of a table point to.
    pub(super) fn slots(&self, call: &Call) -> &[Slot] {
        &self.slots[call.start..][..call.len]
    }

    /// The kernel of a step.
    pub(crate) fn call(&self, step: usize) -> Option<&Call> {
        self.calls[step].as_ref()
    }
}

/// Memory of one run with its tables, kept by the plan between runs.
pub(crate) struct State {
    arena: AlignedBytes,
    arena_base: *mut u8,
    /// Keeps the threads' scratch alive.
    _scratch: AlignedBytes,
    scratch_base: *mut u8,
    scratch_stride: usize,
    pointers: Vec<*mut u8>,
}

// SAFETY: the pointers go into memory that the state owns or its plan keeps, or are rewritten before each run; whoever
// holds the state alone reads and writes through them.
unsafe impl Send for State {}

impl State {
    pub(crate) fn new(plan: &Plan, n_threads: usize) -> State {
        let scratch_stride = plan.scratch_bytes.next_multiple_of(64);
        let mut arena = AlignedBytes::pages(plan.arena_bytes);
        let mut scratch = AlignedBytes::pages(scratch_stride * n_threads);
        let (arena_base, scratch_base) = (arena.as_mut_slice().as_mut_ptr(), scratch.as_mut_slice().as_mut_ptr());
        let pointer = |slot: &Slot| match *slot {
            Slot::Fixed(address) => std::ptr::with_exposed_provenance_mut(address),
            Slot::Arena(at) => arena_base.wrapping_add(at),
            Slot::Scratch => scratch_base,
            Slot::Late => std::ptr::null_mut(),
        };
        let pointers = plan.tables.slots.iter().map(pointer).collect();
        State { arena, arena_base, _scratch: scratch, scratch_base, scratch_stride, pointers }
    }

    /// Writes the entries of arguments and result buffers. `arg` and `result` give their first byte by number.
    pub(crate) fn bind(
        &mut self,
        tables: &Tables,
        mut arg: impl FnMut(usize) -> Result<*mut u8>,
        mut result: impl FnMut(usize) -> Result<*mut u8>,
    ) -> Result<()> {
        for &(at, i) in &tables.args {
            self.pointers[at] = arg(i)?;
        }
        for &(at, r) in &tables.results {
            self.pointers[at] = result(r)?;
        }
        Ok(())
    }

    /// Writes the entries of a host value.
    pub(crate) fn bind_host(&mut self, tables: &Tables, host: usize, first: *mut u8) {
        for &at in &tables.hosts[host] {
            self.pointers[at] = first;
        }
    }

    /// Whether a kernel points to a host value.
    pub(crate) fn wants_host(tables: &Tables, host: usize) -> bool {
        !tables.hosts[host].is_empty()
    }

    /// The arena's byte at `at`.
    pub(crate) fn first(&mut self, at: usize) -> *mut u8 {
        self.arena_base.wrapping_add(at)
    }

    /// `len` bytes of the arena.
    pub(crate) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.arena.len(), "a place inside the arena");
        // SAFETY: in range of the arena, which is initialised; kernels write it only inside `call`, which borrows the state
        // exclusively.
        unsafe { std::slice::from_raw_parts(self.arena_base.wrapping_add(at), len) }
    }

    /// A kernel's table, with the scratch of the calling thread.
    pub(crate) fn table(&self, call: &Call) -> &[*mut u8] {
        &self.pointers[call.start..call.start + call.len]
    }

    /// Scratch of the threads.
    pub(super) fn scratch(&self) -> Scratch {
        Scratch { first: self.scratch_base, stride: self.scratch_stride }
    }

    /// Bytes of a thread's scratch.
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch_stride
    }

    /// Runs a kernel on its table; does nothing where there is no machine code for it.
    ///
    /// # Safety
    /// The entries of the call must be bound to buffers of the plan's types, each as long as its type says.
    pub(crate) unsafe fn call(&mut self, tables: &Tables, call: &Call, shared: &Shared) {
        let Some(entry) = call.entry.filter(|_| call.extent > 0) else { return };
        let mine = self.table(call);
        if call.alone {
            // SAFETY: of the pointers the caller; of the scratch State::new. The kernel is the plan's, which lives.
            unsafe { entry(mine.as_ptr(), 0, call.extent as i64) };
            return;
        }
        let table = Pointers { mine, scratch: self.scratch(), slots: tables.slots(call) };
        shared.pool.parallel_for(call.extent, call.grain, &|thread, begin, end| {
            let run = |bufs: &[*mut u8]| {
                // SAFETY: as above; each thread has scratch of its own, and the ranges of a kernel write disjoint parts.
                unsafe { entry(bufs.as_ptr(), begin as i64, end as i64) }
            };
            table.with_scratch(thread, run);
        });
    }
}

/// Scratch of each thread.
#[derive(Clone, Copy)]
pub(super) struct Scratch {
    first: *mut u8,
    stride: usize,
}

impl Scratch {
    /// First byte of a thread's.
    pub(super) fn of(&self, thread: usize) -> *mut u8 {
        self.first.wrapping_add(thread * self.stride)
    }
}

// SAFETY: the pointer is only read as a value; each thread uses the block of its own number.
unsafe impl Sync for Scratch {}

/// A table that threads of one job share.
pub(super) struct Pointers<'a> {
    pub(super) mine: &'a [*mut u8],
    pub(super) scratch: Scratch,
    pub(super) slots: &'a [Slot],
}

// SAFETY: the pointers are only read as values; what they point to is divided among the threads by the kernel's
// parallel range.
unsafe impl Sync for Pointers<'_> {}

impl Pointers<'_> {
    /// The table with the scratch of a thread; `mine` has that of the first.
    pub(super) fn with_scratch<R>(&self, thread: usize, run: impl FnOnce(&[*mut u8]) -> R) -> R {
        /// Tables up to this length are copied to the stack.
        const SHORT: usize = 32;
        if thread == 0 {
            return run(self.mine);
        }
        let mut short = [std::ptr::null_mut::<u8>(); SHORT];
        let mut long;
        let bufs = match self.mine.len() {
            n if n <= SHORT => &mut short[..n],
            n => {
                long = vec![std::ptr::null_mut(); n];
                &mut long[..]
            }
        };
        for ((to, &from), slot) in bufs.iter_mut().zip(self.mine).zip(self.slots) {
            *to = if *slot == Slot::Scratch { self.scratch.of(thread) } else { from };
        }
        run(bufs)
    }
}
