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
use egret_ir::eval::{BodyRunner, Env, Limits};
use egret_ir::plan::Planner;
use egret_ir::{Error, Graph, Result, Type, Value};
use plan::Plan;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a caller may choose.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// Threads, the calling one included.
    pub threads: usize,
    /// Bounds of every run.
    pub limits: Limits,
    /// Plans kept per graph, least recently used goes first.
    pub plans: usize,
    /// Whether every value is kept to the end of a run, so that [`Executable::run_observed`] can show it.
    pub keep_values: bool,
    /// Whether calls may share loop nests; without, every value of the graph exists.
    pub fuse: bool,
    /// What runs kernels.
    pub level: IsaLevel,
}

impl Default for ExecOptions {
    fn default() -> ExecOptions {
        ExecOptions {
            threads: 1,
            limits: Limits::default(),
            plans: 8,
            keep_values: false,
            fuse: true,
            level: IsaLevel::default(),
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
}

/// A graph and its plans.
pub(crate) struct GraphExec {
    pub(crate) graph: Arc<Graph>,
    /// Whether the passes ran on it.
    optimised: bool,
    plans: Mutex<Vec<(Vec<Type>, Arc<Plan>)>>,
}

impl GraphExec {
    pub(crate) fn new(graph: Arc<Graph>) -> GraphExec {
        GraphExec { graph, optimised: false, plans: Mutex::new(Vec::new()) }
    }

    /// A graph on which the passes ran.
    pub(crate) fn optimised(graph: Arc<Graph>) -> GraphExec {
        GraphExec { optimised: true, ..GraphExec::new(graph) }
    }

    /// Whether the graph is as the passes would leave it for arguments of these types.
    pub(crate) fn is_plan_for(&self, types: &[Type]) -> bool {
        self.optimised
            && self.graph.captures.is_empty()
            && self.graph.inputs.len() == types.len()
            && self.graph.inputs.iter().zip(types).all(|(v, ty)| {
                let info = self.graph.value(*v);
                info.constant.is_none() && info.ty == *ty && ty.concrete().is_some()
            })
    }

    /// The plan for arguments (then captures) of these types.
    pub(crate) fn plan_for(&self, shared: &Shared, types: &[Type], env: &Env) -> Result<Arc<Plan>> {
        {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = plans.iter().position(|(t, _)| t == types) {
                let hit = plans.remove(at);
                let plan = Arc::clone(&hit.1);
                plans.push(hit);
                return Ok(plan);
            }
        }
        let plan = Arc::new(Plan::new(self, types, shared, env)?);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= shared.options.plans.max(1) {
            plans.remove(0);
        }
        plans.push((types.to_vec(), Arc::clone(&plan)));
        Ok(plan)
    }
}

impl Executable {
    /// Optimises a graph once with its symbolic extents; plans are made when calls come.
    ///
    /// # Errors
    /// When a node violates its rule, or the machine offers no code generation.
    pub fn new(graph: Arc<Graph>, planner: Arc<dyn Planner>, options: ExecOptions) -> Result<Executable> {
        let graph = Arc::new(planner.optimise((*graph).clone())?);
        let isa = Isa::native(Effort::Speed).map_err(|e| Error::unsupported(e.to_string()))?;
        let (isa, engine) = match options.level {
            IsaLevel::Interpret => (isa, Engine::Interpreter),
            IsaLevel::BaselineWithoutFma => (isa.without_fma(), Engine::Machine),
            IsaLevel::Baseline => (isa, Engine::Machine),
        };
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

/// Runs bodies through their own plans.
pub(crate) struct Compiled<'a>(pub(crate) &'a Shared);

impl BodyRunner for Compiled<'_> {
    fn run(&self, body: &Arc<Graph>, args: Vec<Value>, captures: &[Value], env: &Env) -> Result<Vec<Value>> {
        let exec = {
            let mut bodies = self.0.bodies.lock().unwrap_or_else(PoisonError::into_inner);
            // The entry holds the body, so its address stays its own.
            Arc::clone(
                bodies.entry(Arc::as_ptr(body) as usize).or_insert_with(|| Arc::new(GraphExec::new(Arc::clone(body)))),
            )
        };
        if args.len() != body.inputs.len() {
            return Err(Error::invalid(format!(
                "the body \"{}\" takes {} arguments, {} are given",
                body.name,
                body.inputs.len(),
                args.len()
            )));
        }
        run::run_graph(&exec, args, captures, env, self.0, &mut run::Silent)
    }
}
