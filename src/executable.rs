//! A model ready to run: one signature over the levels of execution.

use crate::options::{Level, Options};
use egret_codegen::exec;
use egret_codegen::exec::plan::{Plan, Step};
pub use egret_codegen::exec::run::Took;
use egret_ir::eval::{Env, Limits, Reference, evaluate_observed};
use egret_ir::{Error, Graph, Result, Tensor, Type, Value, ValueId};
use egret_passes::DefaultPlanner;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// Declared or inferred type; extents may be symbols.
    pub ty: Type,
    /// What an input is when the caller leaves it out.
    pub default: Option<Tensor>,
}

impl Port {
    /// Whether it wants a scalar: one element in a tensor of any rank is taken for it.
    fn is_scalar(&self) -> bool {
        self.ty.as_tensor().and_then(|t| t.shape.dims()).is_some_and(<[_]>::is_empty)
    }
}

/// What [`Executable::run_observed`] shows of one step.
pub struct StepReport<'a> {
    /// `native`, `library` (a compiled kernel of the runtime), `host` (the operator's reference evaluation inside a plan),
    /// `control` (bodies, whose steps are shown before it), `view` (nothing runs) or `reference`.
    pub kind: &'static str,
    /// Operators that the step computes, one for each node, in order.
    pub ops: Vec<&'static str>,
    /// The last of its nodes in words.
    pub node: String,
    /// Wall time.
    pub took: Took,
    /// The values it made, by name, if wanted.
    pub values: &'a [(String, Value)],
}

enum Engine {
    Reference,
    Planned(Box<exec::Executable>),
}

/// A model ready to run. `Send + Sync`: any number of threads may run it at once; weights are shared, scratch memory is
/// each run's own.
pub struct Executable {
    graph: Arc<Graph>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    limits: Limits,
    level: Level,
    engine: Engine,
}

impl Executable {
    pub(crate) fn new(graph: Graph, options: &Options) -> Result<Executable> {
        let graph = Arc::new(graph);
        let engine = match options.level.isa() {
            None => Engine::Reference,
            Some(level) => {
                let exec_options = exec::ExecOptions {
                    threads: options.threads,
                    limits: options.limits.clone(),
                    keep_values: options.keep_values,
                    fuse: !options.keep_values,
                    level,
                    ..exec::ExecOptions::default()
                };
                let planner = Arc::new(DefaultPlanner);
                Engine::Planned(Box::new(exec::Executable::new(Arc::clone(&graph), planner, exec_options)?))
            }
        };
        let port = |&v: &ValueId| {
            let info = graph.value(v);
            Port { name: info.name.clone(), ty: info.ty.clone(), default: info.constant.clone() }
        };
        let (inputs, outputs) = (graph.inputs.iter().map(port).collect(), graph.outputs.iter().map(port).collect());
        Ok(Executable { graph, inputs, outputs, limits: options.limits.clone(), level: options.level, engine })
    }

    /// What it takes, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives, in order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The graph that was compiled.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The level that runs it.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Compiles for inputs of these types before the first run; the plan says what will run. `None` at the reference
    /// level, which has none.
    ///
    /// # Errors
    /// When a node violates its rule for them.
    pub fn prepare(&self, types: &[Type]) -> Result<Option<Arc<Plan>>> {
        match &self.engine {
            Engine::Reference => Ok(None),
            Engine::Planned(e) => {
                let mut types = types.to_vec();
                for (_, ty) in self.inputs.iter().zip(&mut types).filter(|(port, _)| port.is_scalar()) {
                    match ty.concrete() {
                        Some((dtype, shape)) if shape.iter().all(|&n| n == 1) => *ty = Type::tensor(dtype, &[]),
                        _ => {}
                    }
                }
                e.prepare(&types).map(Some)
            }
        }
    }

    /// Runs the model on inputs in order. Inputs are not copied; outputs are the caller's. One element in a tensor of any
    /// rank is taken where the model wants a scalar, as ONNX Runtime does.
    ///
    /// # Errors
    /// When the inputs do not fit, a node refuses its operands, or a limit is reached.
    pub fn run(&self, inputs: &[Value]) -> Result<Vec<Value>> {
        self.run_within(inputs, &self.limits)
    }

    /// As [`Executable::run`], within other limits.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_within(&self, inputs: &[Value], limits: &Limits) -> Result<Vec<Value>> {
        let env = Env::new(limits.clone(), 0);
        match &self.engine {
            Engine::Reference => egret_ir::eval::evaluate(&self.graph, self.check(self.take(inputs))?, &env),
            Engine::Planned(e) => e.run_with(self.take(inputs), &env, &mut exec::run::Silent),
        }
    }

    /// Runs the model on inputs by name, in any order; inputs with a default may be left out. Outputs with their names.
    ///
    /// # Errors
    /// As [`Executable::run`]; also when a name is unknown, given twice, or missing.
    pub fn run_named(&self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>> {
        let outputs = self.run(&self.order(inputs)?)?;
        Ok(self.outputs.iter().map(|p| p.name.clone()).zip(outputs).collect())
    }

    /// Inputs by name put into the model's order, defaults filled in.
    ///
    /// # Errors
    /// When a name is unknown, given twice, or missing.
    pub fn order(&self, inputs: &[(&str, Value)]) -> Result<Vec<Value>> {
        let mut args: Vec<Option<Value>> = vec![None; self.inputs.len()];
        for (name, value) in inputs {
            let at = self.inputs.iter().position(|p| p.name == *name).ok_or_else(|| {
                let known: Vec<&str> = self.inputs.iter().map(|p| p.name.as_str()).collect();
                Error::invalid(format!("there is no input \"{name}\"; the inputs are {}", known.join(", ")))
            })?;
            if args[at].replace(value.clone()).is_some() {
                return Err(Error::invalid(format!("input \"{name}\" is given twice")));
            }
        }
        let fill = |(given, port): (Option<Value>, &Port)| {
            given
                .or_else(|| port.default.clone().map(Value::Tensor))
                .ok_or_else(|| Error::invalid(format!("input \"{}\": {} is missing", port.name, port.ty)))
        };
        args.into_iter().zip(&self.inputs).map(fill).collect()
    }

    /// Runs the model and shows each step to `observe`, with the values it makes where `values` is set (named values
    /// only; compile with [`Options::keep_values`] to see those that fusion would leave out).
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_observed(
        &self,
        inputs: &[Value],
        values: bool,
        observe: &mut dyn FnMut(&StepReport<'_>),
    ) -> Result<Vec<Value>> {
        let env = Env::new(self.limits.clone(), 0);
        match &self.engine {
            Engine::Reference => self.reference_observed(self.check(self.take(inputs))?, &env, observe),
            Engine::Planned(e) => e.run_with(self.take(inputs), &env, &mut Watch { values, observe }),
        }
    }

    fn reference_observed(
        &self,
        inputs: Vec<Value>,
        env: &Env,
        observe: &mut dyn FnMut(&StepReport<'_>),
    ) -> Result<Vec<Value>> {
        let producers = self.graph.producers();
        let mut since = Instant::now();
        let mut see = |v: ValueId, value: &Value| {
            let took = since.elapsed();
            if let Some((n, _)) = producers[v.index()] {
                let values = [(self.graph.value(v).name.clone(), value.clone())];
                let ops = vec![self.graph.nodes[n].op.def().name];
                let took = Took { whole: took, inside: Duration::ZERO };
                observe(&StepReport { kind: "reference", ops, node: self.graph.describe(n), took, values: &values });
            }
            since = Instant::now();
        };
        evaluate_observed(&self.graph, inputs, &[], env, &Reference, &mut see)
    }

    /// The inputs as the ports take them.
    fn take(&self, inputs: &[Value]) -> Vec<Value> {
        let mut taken = inputs.to_vec();
        for (_, value) in self.inputs.iter().zip(&mut taken).filter(|(port, _)| port.is_scalar()) {
            if let Value::Tensor(t) = value
                && let Ok(scalar) = t.reshaped(&[])
            {
                *t = scalar;
            }
        }
        taken
    }

    /// Inputs against the declared types, as the native level does itself.
    fn check(&self, inputs: Vec<Value>) -> Result<Vec<Value>> {
        if inputs.len() != self.inputs.len() {
            return Err(Error::invalid(format!("{} inputs wanted, {} given", self.inputs.len(), inputs.len())));
        }
        for (port, value) in self.inputs.iter().zip(&inputs) {
            if !egret_ir::eval::agrees(&value.ty(), &port.ty) {
                let (name, have) = (&port.name, value.ty());
                return Err(Error::invalid(format!("input \"{name}\" is {have}, the model wants {}", port.ty)));
            }
        }
        Ok(inputs)
    }
}

/// Hands the executor's steps on, values by name.
struct Watch<'a> {
    values: bool,
    observe: &'a mut dyn FnMut(&StepReport<'_>),
}

impl exec::run::Observer for Watch<'_> {
    fn wants_values(&self) -> bool {
        self.values
    }

    fn wants_bodies(&self) -> bool {
        !self.values
    }

    fn step(&mut self, plan: &Plan, step: &Step, took: Took, values: &[(ValueId, Value)]) {
        let named: Vec<(String, Value)> =
            values.iter().map(|(v, value)| (plan.graph.value(*v).name.clone(), value.clone())).collect();
        let ops = step.nodes().iter().map(|&n| plan.graph.nodes[n].op.named().name).collect();
        let node = step.nodes().last().map_or_else(String::new, |&n| plan.graph.describe(n));
        (self.observe)(&StepReport { kind: step.kind(), ops, node, took, values: &named });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;

    fn digits(options: &Options) -> Executable {
        Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.onnx")).unwrap().compile(options).unwrap()
    }

    #[test]
    fn an_executable_may_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Executable>();
    }

    #[test]
    fn levels_agree_and_threads_change_no_bit() {
        let image = Tensor::from_floats(crate::DType::F32, &[2, 1, 8, 8], (0..128).map(|i| f64::from(i % 17) / 17.0));
        let want =
            digits(&Options { level: Level::Reference, ..Options::default() }).run(&[image.clone().into()]).unwrap();
        let runs = [1, 2]
            .map(|threads| digits(&Options { threads, ..Options::default() }).run(&[image.clone().into()]).unwrap());
        assert_eq!(runs[0], runs[1]);
        let tolerance = crate::compare::Tolerance::default();
        assert!(tolerance.compare(&runs[0][0], &want[0]).is_ok());
    }

    #[test]
    fn limits_end_a_run_and_leave_the_executable_usable() {
        let image = || Value::from(Tensor::zeros(crate::DType::F32, &[64, 1, 8, 8]).unwrap());
        for level in Level::ALL {
            let exe = digits(&Options { level, threads: 1, ..Options::default() });
            let cancel = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let limits = Limits { cancel: Some(Arc::clone(&cancel)), ..Limits::default() };
            exe.run_within(&[image()], &limits).unwrap();
            cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            let error = exe.run_within(&[image()], &limits).unwrap_err().to_string();
            assert!(error.contains("cancelled"), "{error}");
            let limits = Limits { memory_bytes: 20_000, ..Limits::default() };
            let error = exe.run_within(&[image()], &limits).unwrap_err().to_string();
            assert!(error.contains("20000 are allowed"), "{error}");
            let limits = Limits { deadline: Some(Instant::now()), ..Limits::default() };
            assert!(exe.run_within(&[image()], &limits).unwrap_err().to_string().contains("deadline"));
            exe.run(&[image()]).unwrap();
        }
    }

    #[test]
    fn one_element_is_taken_for_a_scalar() {
        let mut b = crate::GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(crate::DType::F32, &[]));
        let y = b.op("Neg", egret_ir::attrs! {}, &[x]).unwrap();
        let graph = b.finish(&[y]);
        for level in Level::ALL {
            let exe = Executable::new(graph.clone(), &Options { level, ..Options::default() }).unwrap();
            let one = Value::from(Tensor::from_slice(&[1, 1], &[2.0f32]));
            exe.prepare(&[one.ty()]).unwrap();
            assert_eq!(exe.run(&[one]).unwrap(), [Tensor::scalar(-2.0f32).into()]);
            let two = Value::from(Tensor::from_slice(&[2], &[2.0f32, 1.0]));
            assert!(exe.run(&[two]).unwrap_err().to_string().contains("the model wants f32[]"));
        }
    }

    #[test]
    fn inputs_by_name_are_checked() {
        let exe = digits(&Options { level: Level::Reference, ..Options::default() });
        let image = || Value::from(Tensor::zeros(crate::DType::F32, &[1, 1, 8, 8]).unwrap());
        assert_eq!(exe.run_named(&[("image", image())]).unwrap()[0].0, "probabilities");
        for (inputs, why) in [
            (vec![], "is missing"),
            (vec![("image", image()), ("image", image())], "given twice"),
            (vec![("picture", image())], "no input \"picture\"; the inputs are image"),
        ] {
            let error = exe.run_named(&inputs).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let wrong = Value::from(Tensor::zeros(crate::DType::F64, &[1, 1, 8, 8]).unwrap());
        assert!(exe.run(&[wrong]).unwrap_err().to_string().contains("the model wants f32"));
    }
}
