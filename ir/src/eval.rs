//! The reference: a graph evaluated node by node with each operator's own `eval`. Slow and plain; everything faster
//! is checked against it.

use crate::builder::GraphBuilder;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::infer::infer_call;
use crate::op::{Op, OpDef};
use crate::rule::Fact;
use crate::tensor::Tensor;
use crate::types::Type;
use crate::value::Value;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Bounds on what a run may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest single value, in bytes. While an operator's reference evaluation runs it may take a few times that.
    pub value_bytes: usize,
    /// All values that live at once, in bytes, with the memory that a compiled graph works in and its weights in other
    /// layouts; constants where they lie, arguments and code are not counted.
    pub memory_bytes: usize,
    /// Iterations of all loops together.
    pub loop_steps: u64,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Set by another thread to stop.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Default for Limits {
    /// 16 GiB a value, no bound on all of them, 2^32 loop steps, no deadline.
    fn default() -> Limits {
        Limits { value_bytes: 1 << 34, memory_bytes: usize::MAX, loop_steps: 1 << 32, deadline: None, cancel: None }
    }
}

impl Limits {
    /// Looks at deadline and cancellation.
    ///
    /// # Errors
    /// When the deadline passed or the run was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(|c| c.load(Ordering::Relaxed)) {
            return Err(Error::limit("the run was cancelled"));
        }
        if self.deadline.is_some_and(|d| Instant::now() > d) {
            return Err(Error::limit("the run passed its deadline (raise --time-limit, `deadline` of the limits)"));
        }
        Ok(())
    }
}

/// Runs the bodies of control-flow operators: by reference evaluation, or compiled.
pub trait BodyRunner {
    /// Runs `body` on arguments and captures.
    ///
    /// # Errors
    /// Whatever the body's nodes report.
    fn run(&self, body: &Arc<Graph>, args: Vec<Value>, captures: &[Value], env: &Env) -> Result<Vec<Value>>;
}

/// What all calls of one run share.
pub struct Env {
    /// Bounds.
    pub limits: Limits,
    steps: Cell<u64>,
    random: Cell<u64>,
}

impl Env {
    /// A run within `limits`; `seed` feeds random operators that name no seed of their own.
    pub fn new(limits: Limits, seed: u64) -> Env {
        Env { limits, steps: Cell::new(0), random: Cell::new(seed) }
    }

    /// Counts loop steps and looks at deadline and cancellation.
    ///
    /// # Errors
    /// When a limit is reached or the run was cancelled.
    pub fn step(&self) -> Result<()> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > self.limits.loop_steps {
            return Err(Error::limit(format!(
                "more than {} loop steps in one run (raise `loop_steps` of the limits)",
                self.limits.loop_steps
            )));
        }
        self.check()
    }

    /// Looks at deadline and cancellation.
    ///
    /// # Errors
    /// When the deadline passed or the run was cancelled.
    pub fn check(&self) -> Result<()> {
        self.limits.check()
    }

    /// Whether values of so many bytes may live at one time.
    ///
    /// # Errors
    /// When they are more than [`Limits::memory_bytes`].
    pub fn check_memory(&self, bytes: usize) -> Result<()> {
        if bytes > self.limits.memory_bytes {
            return Err(Error::limit(format!(
                "values of {bytes} bytes live at one time, {} are allowed (raise --max-memory-mib, `memory_bytes` of the \
                 limits)",
                self.limits.memory_bytes
            )));
        }
        Ok(())
    }

    /// A seed for a random operator without one.
    pub fn next_seed(&self) -> u64 {
        self.random.set(self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        self.random.get()
    }
}

impl Default for Env {
    fn default() -> Env {
        Env::new(Limits::default(), 0)
    }
}

/// One call under evaluation.
pub struct EvalCx<'a> {
    inputs: &'a [Option<&'a Value>],
    captures: &'a [Value],
    types: &'a [Type],
    outputs: Vec<Value>,
    /// Limits and seeds of the run.
    pub env: &'a Env,
    runner: &'a dyn BodyRunner,
}

impl<'a> EvalCx<'a> {
    /// Number of operands, left-out ones in between included.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Whether an optional operand is given.
    pub fn has(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(Option::is_some)
    }

    /// An operand.
    ///
    /// # Errors
    /// When it is left out.
    pub fn value(&self, i: usize) -> Result<&'a Value> {
        self.inputs.get(i).copied().flatten().ok_or_else(|| Error::invalid(format!("operand {i} is missing")))
    }

    /// A tensor operand.
    ///
    /// # Errors
    /// When it is left out or no tensor.
    pub fn tensor(&self, i: usize) -> Result<&'a Tensor> {
        self.value(i)?.tensor()
    }

    /// An optional tensor operand.
    ///
    /// # Errors
    /// When it is no tensor.
    pub fn tensor_opt(&self, i: usize) -> Result<Option<&'a Tensor>> {
        self.inputs.get(i).copied().flatten().map(Value::tensor).transpose()
    }

    /// Number of results that the call names.
    pub fn n_outputs(&self) -> usize {
        self.types.len()
    }

    /// Type that the rule says of result `k`; extents that depend on data are symbols.
    pub fn out_type(&self, k: usize) -> &'a Type {
        self.types.get(k).unwrap_or(&Type::Unknown)
    }

    /// Element type and extents of result `k`.
    ///
    /// # Errors
    /// When the extents depend on data (the operator then finds them itself).
    pub fn out(&self, k: usize) -> Result<(DType, Vec<usize>)> {
        let (dtype, shape) =
            self.out_type(k).concrete().ok_or_else(|| Error::bug(format!("extents of result {k} are not known")))?;
        check_bytes(k, self.out_type(k), &self.env.limits)?;
        Ok((dtype, shape))
    }

    /// Gives the next result.
    pub fn push(&mut self, value: impl Into<Value>) {
        self.outputs.push(value.into());
    }

    /// Outer values that the node's bodies use.
    pub fn captures(&self) -> &'a [Value] {
        self.captures
    }

    /// Runs one of the node's bodies.
    ///
    /// # Errors
    /// Whatever its nodes report.
    pub fn run(&self, body: &Arc<Graph>, args: Vec<Value>) -> Result<Vec<Value>> {
        self.runner.run(body, args, self.captures, self.env)
    }
}

/// Facts of run-time values: contents are known.
pub fn fact_of(value: &Value) -> Fact {
    match value {
        Value::Tensor(t) => Fact::constant(t.clone()),
        other => Fact::of(other.ty()),
    }
}

/// Whether result `k` may be as large as its type says; a type of open extents may.
fn check_bytes(k: usize, ty: &Type, limits: &Limits) -> Result<()> {
    // Operands are concrete here, so an extent without a value is one that overflowed.
    if let Some(dims) = ty.as_tensor().and_then(|t| t.shape.dims())
        && dims.iter().any(crate::Dim::is_undefined)
    {
        return Err(Error::invalid(format!("result {k} has an extent beyond 64 bits")));
    }
    let Some((dtype, shape)) = ty.concrete() else { return Ok(()) };
    let bytes = crate::tensor::len_elems(&shape)?.saturating_mul(dtype.size_bytes().max(1));
    if bytes > limits.value_bytes { Err(too_large(k, ty, bytes, limits)) } else { Ok(()) }
}

fn too_large(k: usize, ty: &Type, bytes: usize, limits: &Limits) -> Error {
    Error::limit(format!(
        "result {k} of type {ty} takes {bytes} bytes, {} are allowed (raise --max-value-mib, `value_bytes` of the limits)",
        limits.value_bytes
    ))
}

/// Checks one call by its rule and evaluates it; results in order, as many as `n_outputs`.
///
/// # Errors
/// When the rule or the evaluation refuses.
pub fn eval_call(
    op: &dyn Op,
    inputs: &[Option<&Value>],
    captures: &[Value],
    n_outputs: usize,
    env: &Env,
    runner: &dyn BodyRunner,
) -> Result<Vec<Value>> {
    // Operands left out at the end are as good as absent.
    let inputs = &inputs[..inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1)];
    let facts: Vec<Option<Fact>> = inputs.iter().map(|v| v.map(fact_of)).collect();
    let captured: Vec<Fact> = captures.iter().map(fact_of).collect();
    let inferred = infer_call(op, &facts, &captured, n_outputs, &mut 0)?;
    let types: Vec<Type> = inferred.outputs.into_iter().map(|f| f.ty).collect();
    eval_checked(op, inputs, captures, &types, env, runner)
}

/// Evaluates a call within the evaluation of another, whose captures, results and limits it has.
///
/// # Errors
/// When the rule or the evaluation refuses.
pub(crate) fn eval_nested(cx: &EvalCx<'_>, op: &dyn Op, inputs: &[Option<&Value>]) -> Result<Vec<Value>> {
    eval_call(op, inputs, cx.captures, cx.n_outputs(), cx.env, cx.runner)
}

/// Evaluates a call whose rule was asked before, for operands of the same types: `types` are those that it gives the
/// results.
///
/// # Errors
/// When the evaluation refuses.
pub fn eval_checked(
    op: &dyn Op,
    inputs: &[Option<&Value>],
    captures: &[Value],
    types: &[Type],
    env: &Env,
    runner: &dyn BodyRunner,
) -> Result<Vec<Value>> {
    // What the rule knows is checked before memory is taken, the rest after it: no operator's result is larger than a few
    // times its operands unless the rule knows it.
    for (k, ty) in types.iter().enumerate() {
        check_bytes(k, ty, &env.limits)?;
    }
    if types.is_empty() {
        return Ok(Vec::new());
    }
    let mut cx = EvalCx { inputs, captures, types, outputs: Vec::new(), env, runner };
    op.eval(&mut cx).map_err(|e| e.of_op(op.def().name))?;
    let (mut outputs, n_outputs) = (cx.outputs, types.len());
    if outputs.len() < n_outputs {
        return Err(Error::bug(format!("{} gave {} of {n_outputs} results", op.def().name, outputs.len())));
    }
    outputs.truncate(n_outputs);
    for (k, (value, ty)) in outputs.iter().zip(types).enumerate() {
        if !agrees(&value.ty(), ty) {
            return Err(Error::bug(format!("result {k} of {} is {}, its rule says {ty}", op.def().name, value.ty())));
        }
        let bytes = value.size_bytes();
        if bytes > env.limits.value_bytes {
            return Err(too_large(k, &value.ty(), bytes, &env.limits));
        }
    }
    Ok(outputs)
}

/// Whether a run-time type fits what a rule says (symbols fit any extent).
pub fn agrees(have: &Type, rule: &Type) -> bool {
    match (have, rule) {
        (_, Type::Unknown) => true,
        (Type::Tensor(a), Type::Tensor(b)) => {
            a.dtype == b.dtype
                && match (a.shape.dims(), b.shape.dims()) {
                    (Some(x), Some(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| !y.is_int() || x == y),
                    _ => true,
                }
        }
        (Type::Sequence(a), Type::Sequence(b)) | (Type::Optional(a), Type::Optional(b)) => {
            **a == Type::Unknown || agrees(a, b)
        }
        (Type::Map(k, _), Type::Map(l, _)) => k == l,
        _ => false,
    }
}

/// Evaluates an operator through its expansion.
pub(crate) fn eval_expansion(
    def: &'static OpDef,
    expand: impl FnOnce(&mut GraphBuilder, &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>>,
    cx: &mut EvalCx<'_>,
) -> Result<()> {
    let mut b = GraphBuilder::new(def.name);
    let mut args = Vec::new();
    let ids: Vec<Option<ValueId>> = (cx.inputs.iter().copied().chain(cx.captures.iter().map(Some)))
        .map(|v| {
            v.map(|v| {
                args.push(v.clone());
                b.input_with_content("", fact_of(v))
            })
        })
        .collect();
    let Some(outputs) = expand(&mut b, &ids)? else {
        return Err(Error::unsupported(format!("{} has no reference evaluation for these operands", def.name)));
    };
    let graph = b.finish(&outputs);
    for v in evaluate_with(&graph, args, &[], cx.env, cx.runner)? {
        cx.push(v);
    }
    Ok(())
}

/// Reference evaluation as a runner of bodies.
pub struct Reference;

impl BodyRunner for Reference {
    fn run(&self, body: &Arc<Graph>, args: Vec<Value>, captures: &[Value], env: &Env) -> Result<Vec<Value>> {
        evaluate_with(body, args, captures, env, self)
    }
}

/// Evaluates a graph on its arguments.
///
/// # Errors
/// At the first node that refuses, with the node and its operand types.
pub fn evaluate(graph: &Graph, args: Vec<Value>, env: &Env) -> Result<Vec<Value>> {
    evaluate_with(graph, args, &[], env, &Reference)
}

/// As [`evaluate`], with captures and a runner for bodies.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with(
    graph: &Graph,
    args: Vec<Value>,
    captures: &[Value],
    env: &Env,
    runner: &dyn BodyRunner,
) -> Result<Vec<Value>> {
    evaluate_observed(graph, args, captures, env, runner, &mut |_, _| {})
}

/// As [`evaluate_with`], showing each value that a node makes to `observe` before it may be freed.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_observed(
    graph: &Graph,
    args: Vec<Value>,
    captures: &[Value],
    env: &Env,
    runner: &dyn BodyRunner,
    observe: &mut dyn FnMut(ValueId, &Value),
) -> Result<Vec<Value>> {
    graph.check_args(args.len())?;
    let mut values: Vec<Option<Value>> = graph.values.iter().map(|v| v.constant.clone().map(Value::Tensor)).collect();
    for (v, value) in graph.inputs.iter().zip(args).chain(graph.captures.iter().zip(captures.iter().cloned())) {
        values[v.index()] = Some(value);
    }
    let mut last_use = vec![usize::MAX; graph.values.len()];
    for (n, node) in graph.nodes.iter().enumerate() {
        node.uses().for_each(|v| last_use[v.index()] = n);
    }
    graph.outputs.iter().for_each(|v| last_use[v.index()] = usize::MAX);
    // Bytes of the values that nodes made and that still live.
    let (mut made, mut live) = (vec![0usize; graph.values.len()], 0usize);
    for (n, node) in graph.nodes.iter().enumerate() {
        env.check().map_err(|e| e.at(graph.describe(n)))?;
        let missing =
            |v: ValueId| Error::invalid(format!("value \"{}\" is used before it is made", graph.value(v).name));
        let outputs = {
            let inputs = node
                .inputs
                .iter()
                .map(|v| v.map(|v| values[v.index()].as_ref().ok_or_else(|| missing(v))).transpose())
                .collect::<Result<Vec<_>>>()?;
            let captured = node
                .captures
                .iter()
                .map(|v| values[v.index()].clone().ok_or_else(|| missing(*v)))
                .collect::<Result<Vec<_>>>()?;
            eval_call(&*node.op, &inputs, &captured, node.outputs.len(), env, runner).map_err(|e| {
                let types: Vec<String> =
                    inputs.iter().map(|v| v.map_or("none".into(), |v| v.ty().to_string())).collect();
                e.at(format!("{}, operands ({})", graph.describe(n), types.join(", ")))
            })?
        };
        for (v, value) in node.outputs.iter().zip(outputs) {
            if let Some(v) = v {
                observe(*v, &value);
                made[v.index()] = value.size_bytes();
                live = live.saturating_add(made[v.index()]);
                values[v.index()] = Some(value);
            }
        }
        env.check_memory(live).map_err(|e| e.at(graph.describe(n)))?;
        for v in node.uses() {
            if last_use[v.index()] == n {
                live -= std::mem::take(&mut made[v.index()]);
                values[v.index()] = None;
            }
        }
    }
    graph
        .outputs
        .iter()
        .map(|v| {
            values[v.index()]
                .clone()
                .ok_or_else(|| Error::invalid(format!("result \"{}\" is never made", graph.value(*v).name)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attrs, GraphBuilder, ops};

    fn expanded(n: i64, limits: Limits) -> Result<Vec<Value>> {
        let mut b = GraphBuilder::new("g");
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let shape = b.input("shape", Type::tensor(DType::I64, &[1]));
        let y = b.op("Expand", Attrs::new(), &[x, shape])?;
        let z = b.op("Neg", Attrs::new(), &[y])?;
        let graph = b.finish(&[y, z]);
        let args = vec![Tensor::from_slice(&[1], &[1f32]).into(), Tensor::from_slice(&[1], &[n]).into()];
        evaluate(&graph, args, &Env::new(limits, 0))
    }

    #[test]
    fn a_value_over_the_limit_is_refused_with_node_and_option() {
        let limits = || Limits { value_bytes: 1 << 20, ..Limits::default() };
        assert!(expanded(1 << 18, limits()).is_ok());
        for n in [(1 << 18) + 1, 1 << 40, 1 << 50, i64::MAX] {
            let error = expanded(n, limits()).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Limit);
            assert!(error.to_string().contains("(Expand)"), "{error}");
        }
        assert!(expanded((1 << 18) + 1, limits()).unwrap_err().message().contains("--max-value-mib"));
    }

    #[test]
    fn values_together_are_limited() {
        let limits = |memory_bytes| Limits { memory_bytes, ..Limits::default() };
        assert!(expanded(1000, limits(8000)).is_ok());
        let error = expanded(1000, limits(7999)).unwrap_err().to_string();
        assert!(error.contains("8000 bytes live at one time") && error.contains("(Neg)"), "{error}");
    }

    #[test]
    fn a_call_whose_results_nobody_names_is_checked_and_not_run() {
        let def = ops::find("ai.onnx", "Mul").unwrap();
        let op = (def.parse)(&Attrs::new()).unwrap();
        let x = Value::from(Tensor::from_slice(&[1], &[1f32]));
        let call = |y| eval_call(&*op, &[Some(&x), Some(y)], &[], 0, &Env::default(), &Reference);
        assert_eq!(call(&x).unwrap(), []);
        assert!(call(&Tensor::from_slice(&[1], &[1i64]).into()).is_err());
    }
}
