//! A graph for concrete argument types: steps, where each value lives, and what is left for later.

use super::groups::{self, Item};
use super::kernels::{self, BufferRef, KernelStep, Pending};
use super::recurrent::{self, PendingRecurrent, RecurrentStep};
use super::table::{State, Tables};
use super::{GraphExec, Shared, tails};
use egret_ir::eval::{Env, Limits};
use egret_ir::lower::{LowerCx, Lowering};
use egret_ir::plan::{Buffer, Layout};
use egret_ir::rule::Fact;
use egret_ir::{Error, Graph, Result, Tensor, Type, ValueId};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// Where a value lives during a run.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Not made by this plan.
    Nowhere,
    /// A constant.
    Const(Tensor),
    /// An argument (or capture) by position.
    Arg(usize),
    /// Bytes of the arena from this offset.
    Arena(usize),
    /// Memory of its own, handed to the caller: result buffer by number.
    Result(usize),
    /// Made by a host call.
    Host,
    /// The bytes of another value.
    Alias(ValueId),
}

/// One step.
#[derive(Clone)]
pub enum Step {
    /// Machine code.
    Kernel(KernelStep),
    /// Machine code, for each step of a sequence in turn.
    Recurrent(Box<RecurrentStep>),
    /// A compiled kernel of the runtime.
    Library(LibraryStep),
    /// The operator's reference evaluation.
    Host(usize),
    /// Bodies, each with plans of its own.
    Control(usize),
    /// Nothing moves; the node is kept for listings.
    View(usize),
}

/// A call of a compiled kernel.
#[derive(Clone)]
pub struct LibraryStep {
    /// The node.
    pub node: usize,
    pub(crate) kernel: Arc<dyn crate::runtime::Kernel>,
    /// Whether extents of its results depend on data.
    pub(crate) found: bool,
}

impl Step {
    /// Nodes of the specialised graph that the step computes; the last one's results are the step's.
    pub fn nodes(&self) -> &[usize] {
        match self {
            Step::Kernel(k) => &k.nodes,
            Step::Recurrent(r) => std::slice::from_ref(&r.node),
            Step::Library(LibraryStep { node: n, .. }) | Step::Host(n) | Step::Control(n) | Step::View(n) => {
                std::slice::from_ref(n)
            }
        }
    }

    /// `native`, `library`, `host`, `control` or `view`.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Kernel(_) | Step::Recurrent(_) => "native",
            Step::Library(_) => "library",
            Step::Host(_) => "host",
            Step::Control(_) => "control",
            Step::View(_) => "view",
        }
    }

    /// What the step's kernels point to; for entries that move from call to call, nothing.
    pub(crate) fn buffers(&self) -> Vec<Option<&BufferRef>> {
        match self {
            Step::Kernel(k) => k.buffers.iter().map(Some).collect(),
            Step::Recurrent(r) => r.buffers(),
            Step::Library(_) | Step::Host(_) | Step::Control(_) | Step::View(_) => Vec::new(),
        }
    }
}

/// The part of a graph behind a value whose extents depend on data.
pub(crate) struct Rest {
    pub(crate) exec: GraphExec,
    /// Values of this plan that are its arguments.
    pub(crate) live_in: Vec<ValueId>,
}

/// A specialised graph.
pub struct Plan {
    /// The graph for these types, after the passes.
    pub graph: Arc<Graph>,
    /// What runs, in order.
    pub steps: Vec<Step>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Least bytes that any placement of the arena's buffers could have.
    pub bound_bytes: usize,
    pub(crate) places: Vec<Place>,
    /// For each result buffer the value and its length in bytes.
    pub(crate) result_buffers: Vec<(ValueId, usize)>,
    pub(crate) scratch_bytes: usize,
    /// Bytes of the weights that kernels read in another layout.
    packed_bytes: usize,
    pub(crate) rest: Option<Rest>,
    /// Offset in the arena and length in bytes of each temporary.
    pub(crate) temps: Vec<(usize, usize)>,
    pub(crate) tables: Tables,
    pub(crate) states: Mutex<Vec<State>>,
}

impl Plan {
    pub(crate) fn new(exec: &GraphExec, types: &[Type], shared: &Shared, env: &Env) -> Result<Plan> {
        let graph = match exec.is_plan_for(types) {
            true => Arc::clone(&exec.graph),
            false => Arc::new(shared.planner.optimise(specialised(&exec.graph, types)?)?),
        };
        let (graph, facts, cut) = in_layout(graph, shared)?;
        let mut places: Vec<Place> =
            graph.values.iter().map(|v| v.constant.clone().map_or(Place::Nowhere, Place::Const)).collect();
        for (i, v) in graph.inputs.iter().enumerate() {
            places[v.index()] = Place::Arg(i);
        }
        let readers = cut.readers(&graph);
        let mut items = Vec::new();
        let mut maker = vec![None; graph.values.len()];
        check_made(&graph, &cut.now, env)?;
        for &n in &cut.now {
            env.check()?;
            check_sizes(&graph, n, &facts, &env.limits)?;
            let node = &graph.nodes[n];
            match kernels::lower_node(&graph, n, &facts, &places, None, shared)? {
                Some(kernels::Lowered::View) => {
                    let (x, y) =
                        (node.inputs[0].expect("a view has an operand"), node.outputs[0].expect("and a result"));
                    places[y.index()] = Place::Alias(x);
                    items.push(Item::View(n));
                }
                Some(kernels::Lowered::Kernel(k)) => {
                    places[node.outputs[0].expect("a kernel has a result").index()] = Place::Arena(usize::MAX);
                    items.push(Item::Kernel(k));
                }
                Some(kernels::Lowered::Loops(computation)) => {
                    node.defs().for_each(|v| places[v.index()] = Place::Arena(usize::MAX));
                    let call = groups::Call { node: n, computation };
                    groups::push(&mut items, &mut maker, &graph, &readers, call, shared.options.fuse);
                }
                Some(kernels::Lowered::Library(kernel)) => {
                    let found = node.defs().any(|v| facts[v.index()].ty.concrete().is_none());
                    let place = || if found { Place::Host } else { Place::Arena(usize::MAX) };
                    node.defs().for_each(|v| places[v.index()] = place());
                    items.push(Item::Library(LibraryStep { node: n, kernel, found }));
                }
                Some(kernels::Lowered::Recurrent(r)) => {
                    for v in node.defs() {
                        let wanted = readers[v.index()] > 0 || shared.options.keep_values;
                        places[v.index()] = if wanted { Place::Arena(usize::MAX) } else { Place::Nowhere };
                    }
                    items.push(Item::Recurrent(n, r));
                }
                None => {
                    node.defs().for_each(|v| places[v.index()] = Place::Host);
                    items.push(Item::Host(n));
                }
            }
        }
        if shared.options.fuse {
            tails::absorb(&mut items, &graph, &facts, &readers, &mut places, shared)?;
        }
        let mut build = Build { steps: Vec::new(), pending: Vec::new(), recurrent: Vec::new(), temps: Vec::new() };
        for item in items {
            build.item(item, &graph, &mut places, shared)?;
        }
        let Build { mut steps, pending, recurrent, temps } = build;
        let mut scratch_bytes = 0;
        let records = pending.iter().map(|(_, k)| &k.record).chain(recurrent.iter().flat_map(|(_, r)| r.records()));
        let (compiled, compiled_any) = kernels::compile(records, shared)?;
        let mut compiled = compiled.into_iter();
        for ((at, k), code) in pending.into_iter().zip(compiled.by_ref()) {
            scratch_bytes = scratch_bytes.max(k.scratch_bytes);
            steps[at] = Step::Kernel(k.with_code(code));
        }
        for (at, r) in recurrent {
            scratch_bytes = scratch_bytes.max(r.scratch_bytes());
            steps[at] = Step::Recurrent(Box::new(r.with_code(&mut compiled)?));
        }
        let mut plan = Plan {
            graph,
            steps,
            arena_bytes: 0,
            bound_bytes: 0,
            places,
            result_buffers: Vec::new(),
            scratch_bytes,
            packed_bytes: 0,
            rest: None,
            temps: Vec::new(),
            tables: Tables::default(),
            states: Mutex::new(Vec::new()),
        };
        plan.rest = cut.rest(&plan.graph);
        plan.place(shared, &temps)?;
        env.check()?;
        plan.keep_constants();
        plan.packed_bytes = plan.packed_bytes();
        plan.tables = Tables::new(&plan, shared)?;
        if compiled_any {
            give_back_heap();
        }
        Ok(plan)
    }

    /// Floating-point operations of the plan's kernels.
    pub fn flops(&self) -> u64 {
        let of = |step: &Step| match step {
            Step::Kernel(k) => k.flops,
            Step::Recurrent(r) => r.flops,
            _ => 0,
        };
        self.steps.iter().map(of).sum()
    }

    /// The value whose bytes `v` is.
    pub(crate) fn root(&self, mut v: ValueId) -> ValueId {
        while let Place::Alias(x) = self.places[v.index()] {
            v = x;
        }
        v
    }

    /// Constants that runs read get elements in memory; what was only packed is left to its packed form.
    fn keep_constants(&mut self) {
        let mut read = vec![false; self.places.len()];
        let used = |step: &Step| {
            let buffers = step.buffers().into_iter().flatten();
            let pointed = buffers.filter_map(|b| if let BufferRef::Value(v) = b { Some(*v) } else { None });
            let besides: Vec<ValueId> = match step {
                Step::Kernel(k) => k.checks.iter().map(|c| c.0).collect(),
                Step::Recurrent(r) => r.lens.into_iter().collect(),
                Step::Library(LibraryStep { node: n, .. }) | Step::Host(n) | Step::Control(n) => {
                    self.graph.nodes[*n].uses().collect()
                }
                Step::View(_) => Vec::new(),
            };
            pointed.chain(besides).collect::<Vec<_>>()
        };
        let live_in = self.rest.iter().flat_map(|r| r.live_in.iter().copied());
        let all = self.steps.iter().flat_map(used).chain(self.graph.outputs.iter().copied()).chain(live_in);
        all.for_each(|v| read[self.root(v).index()] = true);
        for (place, read) in self.places.iter_mut().zip(read) {
            *place = match std::mem::replace(place, Place::Nowhere) {
                Place::Const(t) if read => Place::Const(t.materialised()),
                // An observer may ask for it all the same.
                other => other,
            };
        }
    }

    fn packed_bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let packed = self.steps.iter().flat_map(Step::buffers).flatten().filter_map(|b| match b {
            BufferRef::Packed(bytes) if seen.insert(bytes.as_slice().as_ptr()) => Some(bytes.len()),
            _ => None,
        });
        packed.fold(0, usize::saturating_add)
    }

    /// Bytes that a run takes: arena, the threads' scratch, results, and weights in other layouts.
    pub(crate) fn memory_bytes(&self, shared: &Shared) -> usize {
        let scratch = self.scratch_bytes.saturating_mul(shared.pool.n_threads());
        let results = self.result_buffers.iter().map(|r| r.1).fold(0, usize::saturating_add);
        self.arena_bytes.saturating_add(scratch).saturating_add(results).saturating_add(self.packed_bytes)
    }

    pub(crate) fn size_bytes(&self, v: ValueId) -> Result<usize> {
        let (dtype, shape) = self
            .graph
            .ty(v)
            .concrete()
            .ok_or_else(|| Error::bug(format!("a kernel makes {} of unknown extents", self.graph.ty(v))))?;
        Ok(egret_ir::tensor::len_elems(&shape)? * dtype.size_bytes())
    }

    /// Gives results memory of their own and every other kernel result a place in the arena.
    fn place(&mut self, shared: &Shared, temps: &[Temp]) -> Result<()> {
        let n_values = self.graph.values.len();
        for v in self.graph.outputs.clone() {
            let r = self.root(v);
            if matches!(self.places[r.index()], Place::Arena(_)) {
                self.places[r.index()] = Place::Result(self.result_buffers.len());
                self.result_buffers.push((r, self.size_bytes(r)?));
            }
        }
        let (mut first, mut last) = (vec![usize::MAX; n_values], vec![0; n_values]);
        for (s, step) in self.steps.iter().enumerate() {
            for &n in step.nodes() {
                for v in self.graph.nodes[n].uses().chain(self.graph.nodes[n].defs()) {
                    let r = self.root(v).index();
                    first[r] = first[r].min(s);
                    last[r] = last[r].max(s);
                }
            }
        }
        let end = self.steps.len();
        for v in self.rest.iter().flat_map(|r| &r.live_in) {
            last[self.root(*v).index()] = end;
        }
        let mut buffers = Vec::new();
        let mut values = Vec::new();
        let mut total = 0usize;
        for v in 0..n_values {
            if let Place::Arena(_) = self.places[v] {
                let size_bytes = self.size_bytes(ValueId(v as u32))?;
                total = total.saturating_add(size_bytes);
                let keep = shared.options.keep_values;
                buffers.push(Buffer {
                    size_bytes,
                    first: if keep { 0 } else { first[v].min(end) },
                    last: if keep { end } else { last[v] },
                });
                values.push(v);
            }
        }
        buffers.extend(temps.iter().map(|t| Buffer { size_bytes: t.size_bytes, first: t.first, last: t.last }));
        if buffers.iter().any(|b| b.size_bytes > shared.options.limits.value_bytes) {
            return Err(Error::limit(format!(
                "a value needs more than {} bytes (raise --max-value-mib, `value_bytes` of the limits)",
                shared.options.limits.value_bytes
            )));
        }
        let placement = shared.planner.place(&buffers);
        debug_assert!(disjoint(&buffers, &placement.offsets), "live buffers overlap");
        self.temps = placement.offsets[values.len()..].iter().zip(temps).map(|(&at, t)| (at, t.size_bytes)).collect();
        for (v, at) in values.into_iter().zip(&placement.offsets) {
            self.places[v] = Place::Arena(*at);
        }
        self.arena_bytes = placement.arena_bytes;
        self.bound_bytes = placement.bound_bytes;
        Ok(())
    }
}

/// A temporary between the kernels of one group or recurrent network: length, first and last step.
struct Temp {
    size_bytes: usize,
    first: usize,
    last: usize,
}

/// Steps in the making; kernels are filled in once they are compiled.
struct Build {
    steps: Vec<Step>,
    pending: Vec<(usize, Pending)>,
    recurrent: Vec<(usize, PendingRecurrent)>,
    temps: Vec<Temp>,
}

impl Build {
    fn item(&mut self, item: Item, graph: &Graph, places: &mut [Place], shared: &Shared) -> Result<()> {
        match item {
            Item::Moved => {}
            Item::View(n) => self.steps.push(Step::View(n)),
            Item::Host(n) if graph.nodes[n].op.bodies().is_empty() => self.steps.push(Step::Host(n)),
            Item::Host(n) => self.steps.push(Step::Control(n)),
            Item::Library(l) => self.steps.push(Step::Library(l)),
            Item::Kernel(k) => self.kernel(k),
            Item::Loops(mut calls) => {
                let inner = calls[..calls.len() - 1].iter().flat_map(|c| graph.nodes[c.node].defs());
                match groups::kernels(&calls, graph, self.temps.len(), shared) {
                    Some((kernels, temps)) => {
                        inner.for_each(|v| places[v.index()] = Place::Nowhere);
                        let (first, last) = (self.steps.len(), (self.steps.len() + kernels.len()).saturating_sub(1));
                        self.temps.extend(temps.into_iter().map(|size_bytes| Temp { size_bytes, first, last }));
                        kernels.into_iter().for_each(|k| self.kernel(k));
                    }
                    None if calls.len() > 1 => {
                        for call in calls.drain(..) {
                            self.item(Item::Loops(vec![call]), graph, places, shared)?;
                        }
                    }
                    None => {
                        let n = calls[0].node;
                        graph.nodes[n].defs().for_each(|v| places[v.index()] = Place::Host);
                        self.steps.push(Step::Host(n));
                    }
                }
            }
            Item::Recurrent(n, r) => match recurrent::pending(graph, n, &r, places, self.temps.len(), shared)? {
                None => {
                    graph.nodes[n].defs().for_each(|v| places[v.index()] = Place::Host);
                    self.steps.push(Step::Host(n));
                }
                Some((before, walk, temps)) => {
                    let (first, last) = (self.steps.len(), self.steps.len() + before.len());
                    self.temps.extend(temps.into_iter().map(|size_bytes| Temp { size_bytes, first, last }));
                    before.into_iter().for_each(|k| self.kernel(k));
                    self.recurrent.push((self.steps.len(), walk));
                    // Stands in until the code is there.
                    self.steps.push(Step::View(usize::MAX));
                }
            },
        }
        Ok(())
    }

    fn kernel(&mut self, mut k: Pending) {
        if !k.temps.is_empty() {
            let (first, last) = (self.steps.len(), self.steps.len() + k.before.len());
            k.number_temps(self.temps.len());
            self.temps.extend(k.temps.drain(..).map(|size_bytes| Temp { size_bytes, first, last }));
        }
        k.before.drain(..).for_each(|before| self.kernel(before));
        self.pending.push((self.steps.len(), k));
        // Stands in until the code is there.
        self.steps.push(Step::View(usize::MAX));
    }
}

/// Compilers leave tens of megabytes of free heap behind, which no run needs: the system gets them back before a run's
/// memory comes on top.
fn give_back_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: has no precondition; it only returns free pages of the heap.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether the results of a call are within the limit of a value, before anything is made for it.
fn check_sizes(graph: &Graph, n: usize, facts: &[Fact], limits: &Limits) -> Result<()> {
    for v in graph.nodes[n].defs() {
        let ty = &facts[v.index()].ty;
        let Some((dtype, shape)) = ty.concrete() else { continue };
        let bytes = egret_ir::tensor::len_elems(&shape)
            .map_err(|e| e.at(graph.describe_with_types(n)))?
            .saturating_mul(dtype.size_bytes().max(1));
        if bytes > limits.value_bytes {
            let text = format!(
                "a result of type {ty} takes {bytes} bytes, {} are allowed (raise --max-value-mib, `value_bytes` of the \
                 limits)",
                limits.value_bytes
            );
            return Err(Error::limit(text).at(graph.describe_with_types(n)));
        }
    }
    Ok(())
}

/// Whether the constants of these calls that are made when they are read fit into memory, before one is made: a short file
/// may ask for any number of weights.
fn check_made(graph: &Graph, nodes: &[usize], env: &Env) -> Result<()> {
    let (mut made, mut bytes) = (HashSet::new(), 0usize);
    for &n in nodes {
        let constants = graph.nodes[n].uses().filter_map(|v| graph.constant(v));
        for t in constants.filter(|t| t.is_deferred() && made.insert(t.identity())) {
            bytes = bytes.saturating_add(t.len().saturating_mul(t.dtype().size_bytes()));
        }
        env.check_memory(bytes).map_err(|e| e.at(graph.describe(n)))?;
    }
    Ok(())
}

/// Checks a placement without knowing how it was found.
fn disjoint(buffers: &[Buffer], offsets: &[usize]) -> bool {
    (0..buffers.len()).all(|i| {
        (i + 1..buffers.len()).all(|j| {
            let (a, b, x, y) = (&buffers[i], &buffers[j], offsets[i], offsets[j]);
            let together = a.first <= b.last && b.first <= a.last && a.size_bytes > 0 && b.size_bytes > 0;
            !together || x + a.size_bytes <= y || y + b.size_bytes <= x
        })
    })
}

/// The graph as kernels read it best, with the facts of its values and where it is cut.
fn in_layout(graph: Arc<Graph>, shared: &Shared) -> Result<(Arc<Graph>, Vec<Fact>, Cut)> {
    let cut = |graph: &Graph| -> Result<(Vec<Fact>, Cut)> {
        let args: Vec<Fact> = graph.inputs.iter().map(|&v| Fact::of(graph.ty(v).clone())).collect();
        let facts = egret_ir::infer::walk(graph, &args, &[], &mut 0)?.facts;
        let cut = Cut::new(graph, &facts);
        Ok((facts, cut))
    };
    let (facts, plain) = cut(&graph)?;
    let target = shared.isa.target;
    let layout = match shared.options.layout_everywhere {
        true => Layout::Everywhere,
        false if target == target.narrow() => return Ok((graph, facts, plain)),
        false => Layout::Gains { lanes: target.lanes },
    };
    let mut now = vec![false; graph.nodes.len()];
    plain.now.iter().for_each(|&n| now[n] = true);
    let graph = Arc::new(shared.planner.layout(Arc::unwrap_or_clone(graph), &now, layout)?);
    let (facts, cut) = cut(&graph)?;
    Ok((graph, facts, cut))
}

/// The graph with captures as further arguments, all of them of the given types.
fn specialised(graph: &Graph, types: &[Type]) -> Result<Graph> {
    let mut g = graph.clone();
    let captures = std::mem::take(&mut g.captures);
    g.inputs.extend(captures);
    if g.inputs.len() != types.len() {
        return Err(Error::bug(format!("{} argument types for {} arguments", types.len(), g.inputs.len())));
    }
    for (v, ty) in g.inputs.iter().zip(types) {
        let value = &mut g.values[v.index()];
        value.ty = ty.clone();
        value.constant = None;
    }
    Ok(g)
}

/// Which nodes run now, and which wait for a value whose extents depend on data.
struct Cut {
    now: Vec<usize>,
    later: Vec<usize>,
}

impl Cut {
    fn new(graph: &Graph, facts: &[Fact]) -> Cut {
        let mut waits = vec![false; graph.values.len()];
        let mut cut = Cut { now: Vec::new(), later: Vec::new() };
        // An argument whose extents are left open.
        for v in &graph.inputs {
            waits[v.index()] = matches!(graph.ty(*v), Type::Tensor(_)) && graph.ty(*v).concrete().is_none();
        }
        for (n, node) in graph.nodes.iter().enumerate() {
            if node.uses().any(|v| waits[v.index()]) {
                node.defs().for_each(|v| waits[v.index()] = true);
                cut.later.push(n);
                continue;
            }
            for v in node.defs() {
                let known = match &facts[v.index()].ty {
                    Type::Tensor(_) => facts[v.index()].ty.concrete().is_some(),
                    Type::Unknown => false,
                    _ => true,
                };
                waits[v.index()] = !known;
            }
            cut.now.push(n);
        }
        cut
    }

    /// For each value how many nodes read it, results and later segments counted as readers.
    fn readers(&self, graph: &Graph) -> Vec<usize> {
        let mut readers: Vec<usize> = graph.consumers().iter().map(Vec::len).collect();
        for v in &graph.outputs {
            readers[v.index()] += 1;
        }
        readers
    }

    fn rest(&self, graph: &Graph) -> Option<Rest> {
        if self.later.is_empty() {
            return None;
        }
        let mut made_later = vec![false; graph.values.len()];
        self.later.iter().flat_map(|&n| graph.nodes[n].defs()).for_each(|v| made_later[v.index()] = true);
        let is_input: Vec<bool> = {
            let mut v = vec![false; graph.values.len()];
            graph.inputs.iter().for_each(|i| v[i.index()] = true);
            v
        };
        let mut live_in: Vec<ValueId> = Vec::new();
        let mut seen = vec![false; graph.values.len()];
        for v in self.later.iter().flat_map(|&n| graph.nodes[n].uses()) {
            let constant = graph.values[v.index()].constant.is_some() && !is_input[v.index()];
            if !made_later[v.index()] && !constant && !std::mem::replace(&mut seen[v.index()], true) {
                live_in.push(v);
            }
        }
        let outputs = graph.outputs.iter().copied().filter(|v| made_later[v.index()]).collect();
        let rest = Graph {
            name: graph.name.clone(),
            values: graph.values.clone(),
            nodes: self.later.iter().map(|&n| graph.nodes[n].clone()).collect(),
            inputs: live_in.clone(),
            captures: Vec::new(),
            outputs,
        };
        Some(Rest { exec: GraphExec::rest(Arc::new(rest)), live_in })
    }
}

/// The call `n` with concrete types, for its `lower`; `None` where a type is not a tensor of known extents. Results only
/// where they are asked for.
pub(crate) fn lower_cx<'a>(
    graph: &'a Graph,
    n: usize,
    facts: &[Fact],
    places: &'a [Place],
    results: bool,
) -> Option<LowerCx<'a>> {
    let node = &graph.nodes[n];
    if !node.captures.is_empty() {
        return None;
    }
    let mut cx = LowerCx::default();
    // Operands left out at the end are as good as absent.
    let given = node.inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    for v in &node.inputs[..given] {
        cx.inputs.push(match v {
            None => None,
            Some(v) => Some(facts[v.index()].ty.concrete()?),
        });
        cx.constants.push(v.and_then(|v| match &places[v.index()] {
            Place::Const(t) => Some(t),
            _ => None,
        }));
    }
    if results {
        // A result that nobody named has a type all the same.
        let operands = || node.inputs.iter().map(|v| v.map(|v| facts[v.index()].clone())).collect::<Vec<_>>();
        let inferred = match node.outputs.iter().any(Option::is_none) {
            true => egret_ir::infer::infer_call(&*node.op, &operands(), &[], node.outputs.len(), &mut 0).ok()?.outputs,
            false => Vec::new(),
        };
        for (k, v) in node.outputs.iter().enumerate() {
            let fact = v.map(|v| &facts[v.index()]).or(inferred.get(k))?;
            cx.outputs.push(fact.ty.concrete()?);
        }
    }
    let numeric = |t: &(egret_ir::DType, Vec<usize>)| t.0 != egret_ir::DType::String;
    (cx.inputs.iter().flatten().all(numeric) && cx.outputs.iter().all(numeric)).then_some(cx)
}

/// What a lowering needs besides its own operands.
pub(crate) fn operand(graph: &Graph, n: usize, i: usize) -> Result<BufferRef> {
    graph.nodes[n]
        .inputs
        .get(i)
        .copied()
        .flatten()
        .map(BufferRef::Value)
        .ok_or_else(|| Error::bug(format!("operand {i} is missing")))
}

/// Asks the operator.
pub(crate) fn lowering(graph: &Graph, n: usize, cx: &LowerCx<'_>) -> Result<Lowering> {
    graph.nodes[n].op.lower(cx).map_err(|e| e.at(graph.describe_with_types(n)))
}
