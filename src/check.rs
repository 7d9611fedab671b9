//! Every stage of the compiler against the reference, a difference traced to its stage and node.
//!
//! | stage | what is compared with what |
//! |---|---|
//! | `after PASS` | the graph after each pass, evaluated by the reference, with the model's own values; the verifier |
//! | `specialised` | the same for the graph that is planned: extents are numbers, the passes ran again |
//! | `lowered` | each call by itself: its `lower`, interpreted, on the reference's operands with the reference's results |
//! | `unfused` | machine code, a kernel for each call, every value |
//! | `interpret`, `baseline`… | the plan as it runs, at each [`Level`]: every value that is not fused away |
//!
//! The first node whose result differs although its operands agree is to blame. Where it has bodies (If, Loop, Scan) the
//! bodies are checked on the arguments that the reference gave them. Values are matched by name: passes keep the names
//! of values that they keep, and [`check`] names those that a pass adds.
//!
//! Cost: one evaluation by the reference for each pass and two more, and the memory of all values at once.
//!
//! A value behind a jump (quantisation, comparison, arg-max) may differ by a step because an operand lies at the boundary.
//! It is then judged on what the stage itself made it from, see `local`.
//!
//! Left out on purpose: what the reference itself computes is not questioned here, see `egret conform` and
//! `egret check --ort`.

mod local;

use crate::compare::{Difference, Tolerance};
use crate::options::{Level, Options};
use egret_codegen::exec::{
    self, ExecOptions,
    plan::Plan,
    plan::Step,
    run::{Observer, Took},
};
use egret_codegen::isa::IsaLevel;
use egret_ir::eval::{BodyRunner, Env, Reference, evaluate_observed};
use egret_ir::lower::{LowerCx, Lowering};
use egret_ir::op::Accuracy;
use egret_ir::plan::{Buffer, Layout, Placement, Planner};
use egret_ir::{DType, Graph, Node, Result, Tensor, Type, Value, ValueId, verify};
use egret_passes::{DefaultPlanner, Pass};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Values by name.
pub type Values = BTreeMap<String, Value>;

/// How to check.
#[derive(Clone)]
pub struct Settings<'a> {
    /// What counts as equal where values went through several nodes. Single calls are held to their operator's own
    /// [`Accuracy`].
    pub tolerance: Tolerance,
    /// Threads and limits.
    pub options: Options,
    /// The passes, in order.
    pub passes: &'a [Pass],
    /// Largest call, in multiply-adds or element evaluations, that the stage `lowered` interprets: some ten million a
    /// second.
    pub interpreted_work: u64,
    /// Levels of execution; `reference` is what all are compared with and skipped here.
    pub levels: &'a [Level],
    /// Floating-point operations of a plan above which the level `interpret` is left out.
    pub interpreted_flops: u64,
    /// Hears which stage begins.
    pub progress: Option<&'a dyn Fn(&str)>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings {
            tolerance: Tolerance::NETWORK,
            options: Options::default(),
            passes: egret_passes::PASSES,
            interpreted_work: 1 << 20,
            levels: &[Level::Interpret, Level::BaselineWithoutFma, Level::Baseline, Level::Avx2, Level::Avx512],
            interpreted_flops: 10_000_000,
            progress: None,
        }
    }
}

/// What a stage gave.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Name, see the table of the [module](self).
    pub name: String,
    /// Values compared.
    pub compared: usize,
    /// Values that could not be: calls that have no lowering or are too large to interpret.
    pub left_out: usize,
    /// Largest error in units of the tolerance.
    pub error: f64,
    /// What is wrong.
    pub finding: Option<Finding>,
}

/// What is wrong at a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The node to blame with its operands' types; empty where no single node explains it.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// The value that differs first, and its type.
    pub value: String,
    /// How it differs, or how the stage failed.
    pub text: String,
    /// How many values of the stage differ.
    pub n_wrong: usize,
    /// Further inside: the finding in a body of the node.
    pub inside: Option<Box<Finding>>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.node.is_empty() {
            writeln!(f, "first at {}", self.node)?;
        }
        if !self.value.is_empty() {
            writeln!(f, "value {}", self.value)?;
        }
        f.write_str(&self.text)?;
        if self.n_wrong > 0 {
            write!(f, "\n{} in all {}", self.n_wrong, if self.n_wrong == 1 { "differs" } else { "differ" })?;
        }
        match &self.inside {
            Some(inner) => write!(f, "\nin its body: {inner}"),
            None => Ok(()),
        }
    }
}

impl Stage {
    fn failed(name: &str, text: String) -> Stage {
        let finding = Finding { text, ..Finding::nothing() };
        Stage { name: name.into(), compared: 0, left_out: 0, error: 0.0, finding: Some(finding) }
    }

    /// Compares the values that a stage gave with the reference's by name; of those that differ, blames the first node in
    /// the order of `graph` whose operands agree. `inputs` are those of `graph`.
    pub fn compare(
        name: &str,
        graph: &Graph,
        inputs: &[Value],
        got: &Values,
        want: &Values,
        tolerance: &Tolerance,
    ) -> Stage {
        let mut stage = Stage { name: name.into(), compared: 0, left_out: 0, error: 0.0, finding: None };
        let mut wrong = BTreeMap::new();
        let units = units(graph);
        let of = |unit: f64| Tolerance { unit, ..*tolerance };
        let by_name: BTreeMap<&str, f64> =
            graph.values.iter().zip(&units).map(|(info, unit)| (info.name.as_str(), *unit)).collect();
        for (name, w) in want {
            let Some(g) = got.get(name) else { continue };
            stage.compared += 1;
            match of(by_name.get(name.as_str()).copied().unwrap_or(0.0)).compare(g, w) {
                Ok(error) => stage.error = stage.error.max(error),
                Err(d) => {
                    wrong.insert(name.as_str(), d);
                }
            }
        }
        if !wrong.is_empty() {
            let local = local::Local::new(graph, inputs, got);
            for v in graph.nodes.iter().flat_map(Node::defs) {
                let name = graph.value(v).name.as_str();
                if let Some(error) = wrong.get(name).and_then(|_| local.judge(v, &of(units[v.index()]))) {
                    stage.error = stage.error.max(error);
                    wrong.remove(name);
                }
            }
        }
        if !wrong.is_empty() {
            stage.finding = Some(Finding::first(graph, &wrong));
        }
        stage
    }
}

impl Finding {
    fn nothing() -> Finding {
        let none = String::new;
        Finding { node: none(), operator: none(), value: none(), text: none(), n_wrong: 0, inside: None }
    }

    fn at(graph: &Graph, n: usize, v: ValueId, text: String, n_wrong: usize) -> Finding {
        Finding {
            node: graph.describe_with_types(n),
            operator: graph.nodes[n].op.named().name.into(),
            value: format!("\"{}\": {}", graph.value(v).name, graph.ty(v)),
            text,
            n_wrong,
            inside: None,
        }
    }

    /// The first node in order whose result differs though no operand does.
    fn first(graph: &Graph, wrong: &BTreeMap<&str, Difference>) -> Finding {
        let name = |v| graph.value(v).name.as_str();
        for (n, node) in graph.nodes.iter().enumerate() {
            if node.uses().any(|v| wrong.contains_key(name(v))) {
                continue;
            }
            if let Some((v, d)) = node.defs().find_map(|v| Some((v, wrong.get(name(v))?))) {
                return Finding::at(graph, n, v, d.text.clone(), wrong.len());
            }
        }
        let (value, d) = wrong.iter().next().expect("something differs");
        let text = format!("{}; no single node explains it", d.text);
        Finding { value: format!("\"{value}\""), text, n_wrong: wrong.len(), ..Finding::nothing() }
    }
}

/// For each value, the unit roundoff of the narrowest float type in which it or what it is computed from was: what a network
/// gives as `f32` may come from 16-bit floats. Constants are exact in any type.
fn units(graph: &Graph) -> Vec<f64> {
    let mut units = vec![0.0f64; graph.values.len()];
    let mut fixed: Vec<bool> = graph.values.iter().map(|info| info.constant.is_some()).collect();
    for node in &graph.nodes {
        let constant = node.uses().all(|v| fixed[v.index()]);
        let before = node.uses().map(|v| units[v.index()]).fold(0.0, f64::max);
        for v in node.defs() {
            fixed[v.index()] = constant;
            let own = graph.ty(v).as_tensor().and_then(|t| t.dtype.unit_roundoff()).unwrap_or(0.0);
            units[v.index()] = if constant { 0.0 } else { before.max(own) };
        }
    }
    units
}

/// Checks every stage of compiling `graph` for these inputs.
///
/// # Errors
/// When the reference itself refuses the graph or the inputs: then there is nothing to compare with.
pub fn check(graph: &Graph, inputs: &[Value], settings: &Settings<'_>) -> Result<Vec<Stage>> {
    let mut checker = Checker { settings, stages: Vec::new(), depth: 0 };
    checker.run(graph, inputs)?;
    Ok(checker.stages)
}

/// Every value that the reference makes of a graph, by name.
///
/// # Errors
/// When it refuses the graph or the inputs.
pub fn reference_values(graph: &Graph, inputs: &[Value], options: &Options) -> Result<Values> {
    reference(graph, inputs, options, &Reference)
}

fn reference(graph: &Graph, inputs: &[Value], options: &Options, runner: &dyn BodyRunner) -> Result<Values> {
    let mut out = Values::new();
    let env = Env::new(options.limits.clone(), 0);
    let outputs = evaluate_observed(graph, inputs.to_vec(), &[], &env, runner, &mut |v, value| {
        out.insert(graph.value(v).name.clone(), value.clone());
    })?;
    let names = graph.outputs.iter().map(|&v| graph.value(v).name.clone());
    out.extend(names.zip(outputs));
    out.remove("");
    Ok(out)
}

/// A panic of a stage is a finding about it.
fn guarded<T>(f: impl FnOnce() -> Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("(no message)")))
        }
    }
}

/// Gives every value that a node makes a name, so that stages can be matched.
fn name_values(graph: &mut Graph, pass: &str) {
    for (n, node) in graph.nodes.iter().enumerate() {
        for (k, v) in node.defs().enumerate() {
            let info = &mut graph.values[v.index()];
            if info.name.is_empty() {
                info.name = format!("{pass}#{n}.{k}");
            }
        }
    }
}

/// A list of passes as a planner; what they add is named.
struct Listed(Vec<Pass>);

impl Planner for Listed {
    fn optimise(&self, graph: Graph) -> Result<Graph> {
        self.0.iter().try_fold(graph, |g, (name, pass)| {
            let mut g = pass(g)?;
            name_values(&mut g, name);
            Ok(g)
        })
    }

    fn layout(&self, graph: Graph, nodes: &[bool], layout: Layout) -> Result<Graph> {
        let mut graph = DefaultPlanner.layout(graph, nodes, layout)?;
        name_values(&mut graph, "layout");
        Ok(graph)
    }

    fn place(&self, buffers: &[Buffer]) -> Placement {
        DefaultPlanner.place(buffers)
    }
}

/// Runs bodies by the reference and keeps what they were run on.
#[derive(Default)]
struct Recorder {
    calls: RefCell<Vec<BodyCall>>,
}

struct BodyCall {
    body: Arc<Graph>,
    args: Vec<Value>,
    captures: Vec<Value>,
}

impl Recorder {
    /// Iterations of a body that are kept: the first ones.
    const CALLS: usize = 2;
}

impl BodyRunner for Recorder {
    fn run(&self, body: &Arc<Graph>, args: Vec<Value>, captures: &[Value], env: &Env) -> Result<Vec<Value>> {
        let seen = self.calls.borrow().iter().filter(|c| Arc::ptr_eq(&c.body, body)).count();
        if seen < Recorder::CALLS {
            let call = BodyCall { body: Arc::clone(body), args: args.clone(), captures: captures.to_vec() };
            self.calls.borrow_mut().push(call);
        }
        egret_ir::eval::evaluate_with(body, args, captures, env, self)
    }
}

/// Collects the values of a native run by name.
struct Collect(Values);

impl Observer for Collect {
    fn wants_values(&self) -> bool {
        true
    }

    fn step(&mut self, plan: &Plan, _: &Step, _: Took, values: &[(ValueId, Value)]) {
        self.0.extend(values.iter().map(|(v, value)| (plan.graph.value(*v).name.clone(), value.clone())));
    }
}

struct Checker<'a> {
    settings: &'a Settings<'a>,
    stages: Vec<Stage>,
    /// Bodies around the graph.
    depth: usize,
}

/// Bodies in bodies that are looked into.
const MAX_DEPTH: usize = 4;

impl Checker<'_> {
    fn begin(&self, stage: &str) {
        if let Some(progress) = self.settings.progress {
            progress(stage);
        }
    }

    fn run(&mut self, graph: &Graph, inputs: &[Value]) -> Result<()> {
        let mut graph = graph.clone();
        name_values(&mut graph, "");
        self.begin("reference");
        let recorder = Recorder::default();
        let mut want = reference(&graph, inputs, &self.settings.options, &recorder)?;
        self.passes(&graph, inputs, &want);
        let Some(plan) = self.specialised(&graph, inputs, &want) else { return Ok(()) };
        // What the specialised graph adds is wanted of native code as well.
        let recorder = Recorder::default();
        if let Ok(values) = guarded(|| reference(&plan.graph, inputs, &self.settings.options, &recorder)) {
            // Operands and results of one evaluation: the model's own values may be rounded elsewhere.
            self.lowered(&plan.graph, inputs, &values);
            for (name, value) in values {
                want.entry(name).or_insert(value);
            }
        }
        self.native("unfused", &graph, &plan.graph, inputs, &want, IsaLevel::Baseline, false, &recorder);
        for level in self.settings.levels {
            let Some(isa) = level.isa() else { continue };
            if !level.is_here() {
                continue;
            }
            if *level == Level::Interpret && plan.flops() > self.settings.interpreted_flops {
                continue;
            }
            self.native(level.name(), &graph, &plan.graph, inputs, &want, isa, true, &recorder);
        }
        Ok(())
    }

    fn passes(&mut self, graph: &Graph, inputs: &[Value], want: &Values) {
        let mut graph = graph.clone();
        for &(name, pass) in self.settings.passes {
            let stage = format!("after {name}");
            self.begin(&stage);
            match guarded(|| pass(graph.clone())) {
                Ok(mut after) => {
                    name_values(&mut after, name);
                    graph = after;
                    self.evaluated(&stage, &graph, inputs, want);
                }
                Err(e) => self.stages.push(Stage::failed(&stage, format!("the pass failed: {e}"))),
            }
        }
    }

    /// The graph of a stage: is it valid, and does it compute the same?
    fn evaluated(&mut self, name: &str, graph: &Graph, inputs: &[Value], want: &Values) {
        let problems = verify::verify(graph);
        if let Some(first) = problems.first() {
            let finding = match first.place {
                verify::Place::Node(n) if first.path.is_empty() => {
                    let v = graph.nodes[n].defs().next();
                    let text = format!("the verifier refuses it: {}", first.error);
                    v.map(|v| Finding::at(graph, n, v, text, 0))
                }
                _ => None,
            };
            let text = || format!("the verifier refuses the graph: {}", first.error);
            let stage = Stage::failed(name, text());
            self.stages.push(Stage { finding: finding.or(stage.finding.clone()), ..stage });
            return;
        }
        let stage = match guarded(|| reference(graph, inputs, &self.settings.options, &Reference)) {
            Ok(got) => Stage::compare(name, graph, inputs, &got, want, &self.settings.tolerance),
            Err(e) => Stage::failed(name, format!("its evaluation failed: {e}")),
        };
        self.stages.push(stage);
    }

    fn executable(&self, graph: &Graph, level: IsaLevel, fuse: bool) -> Result<exec::Executable> {
        let options = ExecOptions {
            threads: self.settings.options.threads,
            limits: self.settings.options.limits.clone(),
            keep_values: true,
            fuse,
            level,
            ..ExecOptions::default()
        };
        let planner = Arc::new(Listed(self.settings.passes.to_vec()));
        exec::Executable::new(Arc::new(graph.clone()), planner, options)
    }

    fn specialised(&mut self, graph: &Graph, inputs: &[Value], want: &Values) -> Option<Arc<Plan>> {
        const NAME: &str = "specialised";
        self.begin(NAME);
        let types: Vec<Type> = inputs.iter().map(Value::ty).collect();
        match guarded(|| self.executable(graph, IsaLevel::Baseline, false)?.prepare(&types)) {
            Ok(plan) => {
                self.evaluated(NAME, &plan.graph, inputs, want);
                Some(plan)
            }
            Err(e) => {
                self.stages.push(Stage::failed(NAME, format!("planning failed: {e}")));
                None
            }
        }
    }

    /// Each call by itself.
    fn lowered(&mut self, graph: &Graph, inputs: &[Value], want: &Values) {
        const NAME: &str = "lowered";
        self.begin(NAME);
        let mut stage = Stage { name: NAME.into(), compared: 0, left_out: 0, error: 0.0, finding: None };
        let mut values: Vec<Option<&Value>> = graph.values.iter().map(|v| want.get(&v.name)).collect();
        let constants: Vec<Option<Value>> =
            graph.constants().into_iter().map(|t| t.cloned().map(Value::Tensor)).collect();
        for (value, constant) in values.iter_mut().zip(&constants) {
            *value = constant.as_ref().or(*value);
        }
        for (v, value) in graph.inputs.iter().zip(inputs) {
            values[v.index()] = Some(value);
        }
        let mut n_wrong = 0;
        for n in 0..graph.nodes.len() {
            let known = |v: ValueId| values[v.index()];
            let judged = guarded(|| judge_lowering(graph, n, &known, &constants, self.settings));
            match judged {
                Ok(Some(Ok(error))) => {
                    stage.compared += 1;
                    stage.error = stage.error.max(error);
                }
                Ok(None) => stage.left_out += 1,
                Ok(Some(Err(d))) => {
                    n_wrong += 1;
                    let v = graph.nodes[n].defs().next().expect("a call that was lowered has a result");
                    stage.finding.get_or_insert_with(|| Finding::at(graph, n, v, d.text, 0));
                }
                Err(e) => {
                    n_wrong += 1;
                    let text = format!("its lowering failed: {e}");
                    let finding = match graph.nodes[n].defs().next() {
                        Some(v) => Finding::at(graph, n, v, text, 0),
                        None => Finding { node: graph.describe_with_types(n), text, ..Finding::nothing() },
                    };
                    stage.finding.get_or_insert(finding);
                }
            }
        }
        if let Some(finding) = &mut stage.finding {
            finding.n_wrong = n_wrong;
        }
        self.stages.push(stage);
    }

    fn native(
        &mut self,
        name: &str,
        graph: &Graph,
        planned: &Graph,
        inputs: &[Value],
        want: &Values,
        level: IsaLevel,
        fuse: bool,
        recorder: &Recorder,
    ) {
        self.begin(name);
        let got = guarded(|| {
            let executable = self.executable(graph, level, fuse)?;
            let mut collect = Collect(Values::new());
            let env = Env::new(self.settings.options.limits.clone(), 0);
            let outputs = executable.run_with(inputs.to_vec(), &env, &mut collect)?;
            let mut values = collect.0;
            values.extend(graph.outputs.iter().map(|&v| graph.value(v).name.clone()).zip(outputs));
            Ok(values)
        });
        let mut stage = match got {
            Ok(got) => Stage::compare(name, planned, inputs, &got, want, &self.settings.tolerance),
            Err(e) => Stage::failed(name, format!("it failed: {e}")),
        };
        if let Some(finding) = &mut stage.finding {
            finding.inside = self.inside(planned, &finding.node, recorder);
        }
        self.stages.push(stage);
    }

    /// The finding in a body of the node that is to blame.
    fn inside(&self, graph: &Graph, node: &str, recorder: &Recorder) -> Option<Box<Finding>> {
        if self.depth >= MAX_DEPTH || node.is_empty() {
            return None;
        }
        let n = (0..graph.nodes.len()).find(|&n| graph.describe_with_types(n) == node)?;
        let bodies = graph.nodes[n].op.bodies();
        let calls = recorder.calls.borrow();
        calls.iter().filter(|c| bodies.iter().any(|b| Arc::ptr_eq(b, &c.body))).find_map(|call| {
            let mut body = (*call.body).clone();
            let captures = std::mem::take(&mut body.captures);
            body.inputs.extend(captures);
            let args: Vec<Value> = call.args.iter().chain(&call.captures).cloned().collect();
            for (v, value) in body.inputs.iter().zip(&args) {
                body.values[v.index()].ty = value.ty();
            }
            let mut inner = Checker { settings: self.settings, stages: Vec::new(), depth: self.depth + 1 };
            inner.run(&body, &args).ok()?;
            let stage = inner.stages.into_iter().find(|s| s.finding.is_some())?;
            let finding = stage.finding?;
            Some(Box::new(Finding { text: format!("{} (stage {})", finding.text, stage.name), ..finding }))
        })
    }
}

/// A call's lowering, interpreted on the reference's operands, against the reference's results. `None` where there is
/// nothing to interpret.
fn judge_lowering<'v>(
    graph: &Graph,
    n: usize,
    known: &dyn Fn(ValueId) -> Option<&'v Value>,
    constants: &[Option<Value>],
    settings: &Settings<'_>,
) -> Result<Option<Result<f64, Difference>>> {
    let node = &graph.nodes[n];
    let tensor = |v: ValueId| known(v).and_then(|v| v.tensor().ok());
    let described = |t: &Tensor| (t.dtype(), t.shape().to_vec());
    let mut operands = Vec::new();
    for v in &node.inputs {
        operands.push(match v {
            None => None,
            Some(v) => match tensor(*v) {
                Some(t) => Some(t),
                None => return Ok(None),
            },
        });
    }
    let results: Option<Vec<&Tensor>> = node.outputs.iter().map(|v| tensor((*v)?)).collect();
    let Some(results) = results.filter(|r| !r.is_empty() && node.captures.is_empty()) else { return Ok(None) };
    if operands.iter().flatten().chain(&results).any(|t| t.dtype() == DType::String) {
        return Ok(None);
    }
    let constant = |v: ValueId| constants[v.index()].as_ref().and_then(|v| v.tensor().ok());
    let cx = LowerCx {
        inputs: operands.iter().map(|t| t.map(described)).collect(),
        constants: node.inputs.iter().map(|v| v.and_then(constant)).collect(),
        outputs: results.iter().map(|t| described(t)).collect(),
    };
    let lowering = node.op.lower(&cx)?;
    if matches!(lowering, Lowering::Host) || lowering.work() > settings.interpreted_work {
        return Ok(None);
    }
    let Some(got) = lowering.evaluate(&cx, &operands)? else { return Ok(None) };
    let accuracy = node.op.facts().accuracy;
    let each = got.into_iter().zip(results).map(|(got, want)| {
        let tolerance = of_accuracy(accuracy, want.dtype(), &settings.tolerance);
        tolerance.compare(&got.into(), &want.clone().into())
    });
    Ok(Some(each.collect::<Result<Vec<_>, _>>().map(|errors| errors.into_iter().fold(0.0, f64::max))))
}

/// What one call may be off by.
fn of_accuracy(accuracy: Accuracy, dtype: DType, of_many: &Tolerance) -> Tolerance {
    let ulps = match accuracy {
        Accuracy::Exact => 0.0,
        // The reference rounds as well.
        Accuracy::Ulp(n) => f64::from(n) + 1.0,
        Accuracy::Reduction => return *of_many,
    };
    let unit = match dtype {
        DType::F64 | DType::C128 => f64::EPSILON,
        DType::F32 | DType::C64 => f64::from(f32::EPSILON),
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => 0.0,
    };
    // Below the normal numbers a unit is no longer relative.
    let least = if dtype == DType::F16 { 2f64.powi(-24) } else { f64::from(f32::MIN_POSITIVE) };
    Tolerance { rtol: ulps * unit, atol: ulps * least, atol_scaled_by_max: false, differing_integers: None, unit: 0.0 }
}
