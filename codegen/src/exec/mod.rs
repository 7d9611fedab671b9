//! The executor: a graph with symbolic extents becomes, for the concrete types of a call, a straight list of steps.
//!
//! - [`plan`]: specialise, classify, lower, place. A value whose extents depend on data cuts the graph: what follows is
//!   a graph of its own (`plan::Rest`), specialised when the cut values are known.
//! - `groups`: which calls share a loop nest;
//! - [`run`]: the steps on one arena; `table`: the kernels' pointers, resolved before the run.
//! - [`recurrent`]: a walk over time for recurrent networks;
//! - `interpret`: steps without machine code;
//! - [`kernels`]: lowerings to kernels, compiled once by content.
//!
//! Bodies of If, Loop and Scan are graphs with plan caches of their own; captures are arguments, never copied.

mod groups;
#[cfg(test)]
mod integer_tests;
mod interpret;
pub mod kernels;
pub mod plan;
pub mod recurrent;
#[cfg(test)]
mod recurrent_tests;
pub mod run;
mod table;
mod tails;
#[cfg(test)]
pub(crate) mod tests;

use crate::isa::{Effort, Isa, IsaLevel};
use crate::pool::ThreadPool;
use egret_ir::eval::{Env, Limits};
use egret_ir::plan::Planner;
use egret_ir::{Dim, Error, Graph, Result, Type, Value};
use plan::Plan;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Work of a kernel (about 30 microseconds) that is worth a second thread.
pub const PARALLEL_COST: f64 = 120_000.0;

/// What a caller may choose.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// Threads, the calling one included.
    pub threads: usize,
    /// Cost of a kernel (operations and half of the bytes that it moves) from which it is shared between threads: what a second
    /// one costs to wake. Default: [`PARALLEL_COST`].
    pub parallel_cost: f64,
    /// Bounds of every run.
    pub limits: Limits,
    /// Plans kept per graph, least recently used goes first.
    pub plans: usize,
    /// Whether every value is kept to the end of a run, so that [`Executable::run_observed`] can show it.
    pub keep_values: bool,
    /// Whether calls may share loop nests; without, every value of the graph exists.
    pub fuse: bool,
    /// Whether every tensor that can gets the layout that some gain by, instead of those at wide levels that do.
    pub layout_everywhere: bool,
    /// What runs kernels.
    pub level: IsaLevel,
    /// Time that the compiler spends per kernel.
    pub effort: Effort,
}

impl Default for ExecOptions {
    fn default() -> ExecOptions {
        ExecOptions {
            threads: 1,
            parallel_cost: PARALLEL_COST,
            limits: Limits::default(),
            plans: 8,
            keep_values: false,
            fuse: true,
            layout_everywhere: false,
            level: IsaLevel::default(),
            effort: Effort::default(),
        }
    }
}

/// A graph ready to run. `Send + Sync`: any number of threads may call it; weights are shared.
pub struct Executable {
    main: GraphExec,
    shared: Shared,
}

/// What becomes of the kernels of plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Machine code in this process.
    Machine,
    /// They are interpreted.
    Interpreter,
    /// They are only recorded, for an object file.
    Recorder,
}

/// What all graphs of an executable share.
pub(crate) struct Shared {
    pub(crate) planner: Arc<dyn Planner>,
    pub(crate) options: ExecOptions,
    pub(crate) pool: ThreadPool,
    pub(crate) isa: Isa,
    pub(crate) engine: Engine,
    pub(crate) kernels: kernels::KernelCache,
    bodies: Mutex<HashMap<usize, Arc<GraphExec>>>,
}

impl Shared {
    /// For plans whose kernels are recorded and not run.
    pub(crate) fn recording(planner: Arc<dyn Planner>, options: ExecOptions, isa: Isa) -> Result<Shared> {
        Shared::new(planner, ExecOptions { threads: 1, ..options }, isa, Engine::Recorder)
    }

    fn new(planner: Arc<dyn Planner>, options: ExecOptions, isa: Isa, engine: Engine) -> Result<Shared> {
        let pool = ThreadPool::new(options.threads)
            .map_err(|e| Error::limit(format!("{} threads cannot be started: {e}", options.threads)))?;
        let kernels = kernels::KernelCache::default();
        Ok(Shared { planner, options, pool, isa, engine, kernels, bodies: Mutex::new(HashMap::new()) })
    }

    /// The plans of a body.
    fn body(&self, body: &Arc<Graph>) -> Arc<GraphExec> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        // The entry holds the body, so its address stays its own.
        let made = || Arc::new(GraphExec::body(Arc::clone(body)));
        Arc::clone(bodies.entry(Arc::as_ptr(body) as usize).or_insert_with(made))
    }
}

/// A graph and its plans.
pub(crate) struct GraphExec {
    pub(crate) graph: Arc<Graph>,
    role: Role,
    plans: Mutex<Plans>,
}

/// What a graph is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A model on which the passes ran.
    Optimised,
    /// A body of a control-flow operator, which may be run with arguments of other extents each time.
    Body,
    /// What follows a value whose extents the plan before it does not know.
    Rest,
}

/// Plans by the types of the arguments, least recently used first.
#[derive(Default)]
struct Plans {
    made: Vec<(Vec<Type>, Arc<Plan>)>,
    /// Arguments whose extents changed from call to call: they stay open in new plans, so that only what reads them is
    /// planned again.
    varying: Vec<bool>,
}

impl GraphExec {
    fn new(graph: Arc<Graph>, role: Role) -> GraphExec {
        GraphExec { graph, role, plans: Mutex::new(Plans::default()) }
    }

    /// A graph on which the passes ran.
    pub(crate) fn optimised(graph: Arc<Graph>) -> GraphExec {
        GraphExec::new(graph, Role::Optimised)
    }

    /// A body.
    fn body(graph: Arc<Graph>) -> GraphExec {
        GraphExec::new(graph, Role::Body)
    }

    /// The part of a graph that is planned later.
    pub(crate) fn rest(graph: Arc<Graph>) -> GraphExec {
        GraphExec::new(graph, Role::Rest)
    }

    /// Whether the graph is as the passes would leave it for arguments of these types.
    pub(crate) fn is_plan_for(&self, types: &[Type]) -> bool {
        self.role == Role::Optimised
            && self.graph.captures.is_empty()
            && self.graph.inputs.len() == types.len()
            && self.graph.inputs.iter().zip(types).all(|(v, ty)| {
                let info = self.graph.value(*v);
                info.constant.is_none() && info.ty == *ty && ty.concrete().is_some()
            })
    }

    /// The plan for arguments (then captures) of these types.
    pub(crate) fn plan_for(&self, shared: &Shared, types: &[Type], env: &Env) -> Result<Arc<Plan>> {
        let types = {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            let open = plans.varying.contains(&true).then(|| plans.opened(types));
            if let Some(plan) = plans.find(open.as_deref().unwrap_or(types)) {
                return Ok(plan);
            }
            if self.role == Role::Body {
                plans.watch(types, self.graph.inputs.len());
            }
            plans.opened(types)
        };
        let plan = Arc::new(Plan::new(self, &types, shared, env)?);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        // A loop comes back to each of its iterations, so more plans of small parts are kept.
        let most = shared.options.plans.max(1);
        let small = |made: &[(Vec<Type>, Arc<Plan>)]| {
            let bytes = made.iter().map(|(_, p)| p.memory_bytes(shared)).fold(0, usize::saturating_add);
            made.len() < Plans::MOST_SMALL * most && bytes <= Plans::SMALL_BYTES
        };
        while plans.made.len() >= most && !(self.role == Role::Rest && small(&plans.made)) {
            plans.made.remove(0);
        }
        plans.made.push((types, Arc::clone(&plan)));
        Ok(plan)
    }
}

impl Plans {
    /// How many times more plans of a part of a graph are kept while they are small.
    const MOST_SMALL: usize = 16;
    /// Memory that small plans may take together.
    const SMALL_BYTES: usize = 16 << 20;

    fn find(&mut self, types: &[Type]) -> Option<Arc<Plan>> {
        let at = self.made.iter().rposition(|(t, _)| t == types)?;
        self.made[at..].rotate_left(1);
        self.made.last().map(|hit| Arc::clone(&hit.1))
    }

    /// The types, those of varying arguments open.
    fn opened(&self, types: &[Type]) -> Vec<Type> {
        let open = |i: usize, ty: &Type| match ty {
            Type::Tensor(t) if self.varying.get(i).copied().unwrap_or_default() => {
                let axes = 0..t.shape.dims().map_or(0, <[Dim]>::len);
                Type::ranked(t.dtype, axes.map(|axis| Dim::sym(&format!("varies{i}_{axis}"))).collect())
            }
            ty => ty.clone(),
        };
        types.iter().enumerate().map(|(i, ty)| open(i, ty)).collect()
    }

    /// Compares types that found no plan with those of the call before: which of the first `n_inputs` arguments vary while
    /// the others, captures above all, stay.
    fn watch(&mut self, types: &[Type], n_inputs: usize) {
        let Some((last, _)) = self.made.last().filter(|(last, _)| last[n_inputs..] == types[n_inputs..]) else {
            return;
        };
        self.varying.resize(types.len(), false);
        for (i, (a, b)) in last.iter().zip(types).enumerate().take(n_inputs) {
            self.varying[i] |= a != b && matches!(b, Type::Tensor(_));
        }
    }
}

impl Executable {
    /// Optimises a graph once with its symbolic extents; plans are made when calls come.
    ///
    /// # Errors
    /// When a node violates its rule, or the machine offers no code generation.
    pub fn new(graph: Arc<Graph>, planner: Arc<dyn Planner>, options: ExecOptions) -> Result<Executable> {
        let graph = Arc::new(planner.optimise((*graph).clone())?);
        let isa = Isa::native(options.effort).map_err(|e| Error::unsupported(e.to_string()))?;
        let isa = isa.at(options.level).map_err(|e| Error::unsupported(e.to_string()))?;
        let engine = if options.level == IsaLevel::Interpret { Engine::Interpreter } else { Engine::Machine };
        let shared = Shared::new(planner, options, isa, engine)?;
        Ok(Executable { main: GraphExec::optimised(graph), shared })
    }

    /// The optimised graph.
    pub fn graph(&self) -> &Graph {
        &self.main.graph
    }

    /// Makes the plan for arguments of these types before the first call.
    ///
    /// # Errors
    /// When a node violates its rule for them.
    pub fn prepare(&self, types: &[Type]) -> Result<Arc<Plan>> {
        let env = Env::new(self.shared.options.limits.clone(), 0);
        self.main.plan_for(&self.shared, types, &env)
    }

    /// Runs the graph.
    ///
    /// # Errors
    /// When the arguments do not fit, a node refuses its operands, or a limit is reached.
    pub fn run(&self, args: Vec<Value>) -> Result<Vec<Value>> {
        self.run_with(args, &Env::new(self.shared.options.limits.clone(), 0), &mut run::Silent)
    }

    /// Runs the graph and shows each value that a step makes (with `keep_values`: every value of the specialised
    /// graph), and the time of each step.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_observed(&self, args: Vec<Value>, observer: &mut dyn run::Observer) -> Result<Vec<Value>> {
        self.run_with(args, &Env::new(self.shared.options.limits.clone(), 0), observer)
    }

    /// As [`Executable::run_observed`] within given limits.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_with(&self, args: Vec<Value>, env: &Env, observer: &mut dyn run::Observer) -> Result<Vec<Value>> {
        let graph = &self.main.graph;
        if args.len() != graph.inputs.len() {
            return Err(Error::invalid(format!(
                "{} arguments are wanted, {} are given",
                graph.inputs.len(),
                args.len()
            )));
        }
        for (v, a) in graph.inputs.iter().zip(&args) {
            if !egret_ir::eval::agrees(&a.ty(), graph.ty(*v)) {
                let name = &graph.value(*v).name;
                return Err(Error::invalid(format!(
                    "argument \"{name}\" is {}, the model wants {}",
                    a.ty(),
                    graph.ty(*v)
                )));
            }
        }
        run::run_graph(&self.main, args, &[], env, &self.shared, observer)
    }
}
