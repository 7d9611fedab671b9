//! Running a plan: pointers resolved, steps in order, results handed over.

use super::kernels::{BufferRef, Code, KernelStep};
use super::plan::{LibraryStep, Place, Plan, Step};
use super::table::State;
use super::{GraphExec, Shared};
use crate::interp::Region;
use egret_ir::eval::{BodyRunner, Env, eval_call, eval_checked};
use egret_ir::lower::IndexRange;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Graph, Result, Tensor, Type, Value, ValueId};
use std::cell::RefCell;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Sees a run while it happens.
pub trait Observer {
    /// Whether [`Observer::step`] wants the values that a step made (they are copied for it).
    fn wants_values(&self) -> bool {
        false
    }
    /// Whether steps of bodies are shown as well (before the step that runs the body).
    fn wants_bodies(&self) -> bool {
        false
    }
    /// After a step: how long it took and, if wanted, what it made.
    fn step(&mut self, plan: &Plan, step: &Step, took: Took, values: &[(ValueId, Value)]);
    /// Whether times are wanted at all.
    fn active(&self) -> bool {
        true
    }
}

/// Time of a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// From its begin to its end.
    pub whole: Duration,
    /// Of that, in steps of bodies that were shown.
    pub inside: Duration,
}

impl Took {
    /// What the step itself took.
    pub fn own(&self) -> Duration {
        self.whole.saturating_sub(self.inside)
    }
}

/// Sees nothing.
pub struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: &Plan, _: &Step, _: Took, _: &[(ValueId, Value)]) {}
    fn active(&self) -> bool {
        false
    }
}

/// Hands the steps of bodies on and adds up their time.
struct Inside<'a> {
    observer: &'a mut dyn Observer,
    took: Duration,
}

impl Observer for Inside<'_> {
    fn wants_values(&self) -> bool {
        self.observer.wants_values()
    }
    fn wants_bodies(&self) -> bool {
        true
    }
    fn step(&mut self, plan: &Plan, step: &Step, took: Took, values: &[(ValueId, Value)]) {
        self.took += took.own();
        self.observer.step(plan, step, took, values);
    }
}

/// Runs bodies through their own plans.
struct Bodies<'a> {
    shared: &'a Shared,
    observer: RefCell<&'a mut dyn Observer>,
}

impl BodyRunner for Bodies<'_> {
    fn run(&self, body: &Arc<Graph>, args: Vec<Value>, captures: &[Value], env: &Env) -> Result<Vec<Value>> {
        body.check_args(args.len())?;
        let exec = self.shared.body(body);
        run_graph(&exec, args, captures, env, self.shared, &mut **self.observer.borrow_mut())
    }
}

/// Runs a graph through the plan for its arguments' types.
pub(crate) fn run_graph(
    exec: &GraphExec,
    args: Vec<Value>,
    captures: &[Value],
    env: &Env,
    shared: &Shared,
    observer: &mut dyn Observer,
) -> Result<Vec<Value>> {
    let mut args = args;
    args.extend_from_slice(captures);
    let types: Vec<Type> = args.iter().map(Value::ty).collect();
    let plan = exec.plan_for(shared, &types, env)?;
    env.check_memory(plan.memory_bytes(shared))?;
    let mut run = Run::new(&plan, args, shared);
    let done = run.bind().and_then(|()| run.steps(env, observer)).and_then(|()| run.finish(env, observer));
    run.give_back();
    done
}

pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) shared: &'a Shared,
    args: Vec<Value>,
    /// Results of host calls, by the number that the plan's tables give them.
    host: Vec<Option<Value>>,
    results: Vec<Option<AlignedBytes>>,
    /// Bytes of the values of host calls.
    host_bytes: usize,
    pub(super) state: State,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, args: Vec<Value>, shared: &'a Shared) -> Run<'a> {
        let state = plan.states.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Run {
            plan,
            shared,
            args,
            host: vec![None; plan.tables.n_hosts()],
            host_bytes: 0,
            results: plan.result_buffers.iter().map(|&(_, n)| Some(AlignedBytes::zeroed(n))).collect(),
            state: state.unwrap_or_else(|| State::new(plan, shared.pool.n_threads())),
        }
    }

    /// The entries of the kernels' tables that this call brings.
    fn bind(&mut self) -> Result<()> {
        let (args, results) = (&self.args, &mut self.results);
        self.state.bind(
            &self.plan.tables,
            |i| Ok(args[i].tensor()?.bytes().as_ptr().cast_mut()),
            |r| match &mut results[r] {
                Some(b) => Ok(b.as_mut_slice().as_mut_ptr()),
                None => Err(Error::bug("a result was handed over too early")),
            },
        )
    }

    fn give_back(self) {
        self.plan.states.lock().unwrap_or_else(PoisonError::into_inner).push(self.state);
    }

    fn steps(&mut self, env: &Env, observer: &mut dyn Observer) -> Result<()> {
        let plan = self.plan;
        let active = observer.active();
        for (at, step) in plan.steps.iter().enumerate() {
            let start = active.then(Instant::now);
            let mut inside = Duration::ZERO;
            match step {
                Step::Kernel(k) => self.kernel(at, k)?,
                Step::Recurrent(r) => {
                    self.recurrent(at, r, &env.limits).map_err(|e| e.at(plan.graph.describe_with_types(r.node)))?
                }
                Step::Library(l) => self.library(l, env)?,
                Step::Host(n) => self.host_call(*n, env, &mut Silent)?,
                Step::Control(n) if active && observer.wants_bodies() => {
                    let mut bodies = Inside { observer, took: Duration::ZERO };
                    self.host_call(*n, env, &mut bodies)?;
                    inside = bodies.took;
                }
                Step::Control(n) => self.host_call(*n, env, &mut Silent)?,
                Step::View(_) => {}
            }
            if let Some(start) = start {
                let took = Took { whole: start.elapsed(), inside };
                let mut values = Vec::new();
                let complete = !matches!(step, Step::Kernel(k) if !k.last);
                if observer.wants_values() && complete {
                    for v in step.nodes().iter().flat_map(|&n| plan.graph.nodes[n].defs()) {
                        if !matches!(plan.places[v.index()], Place::Nowhere) {
                            values.push((v, self.value(v)?));
                        }
                    }
                }
                observer.step(plan, step, took, &values);
            }
            env.check()?;
        }
        Ok(())
    }

    fn finish(&mut self, env: &Env, observer: &mut dyn Observer) -> Result<Vec<Value>> {
        let plan = self.plan;
        let mut later = match &plan.rest {
            None => Vec::new(),
            Some(rest) => {
                let args = rest.live_in.iter().map(|&v| self.value(v)).collect::<Result<Vec<_>>>()?;
                run_graph(&rest.exec, args, &[], env, self.shared, observer)?
            }
        }
        .into_iter();
        let made_later: Vec<ValueId> = plan.rest.as_ref().map(|r| r.exec.graph.outputs.clone()).unwrap_or_default();
        let outputs = &plan.graph.outputs;
        let mut out = Vec::with_capacity(outputs.len());
        let mut from_rest = made_later.iter().copied().peekable();
        for (k, &v) in outputs.iter().enumerate() {
            if from_rest.peek() == Some(&v) {
                from_rest.next();
                out.push(later.next().ok_or_else(|| Error::bug("a segment gave too few results"))?);
                continue;
            }
            // Memory of its own goes to the caller without a copy, unless another result still needs it.
            let root = plan.root(v);
            let again = outputs[k + 1..].iter().any(|&w| plan.root(w) == root);
            if let (Place::Result(r), false) = (&plan.places[root.index()], again)
                && let Some(bytes) = self.results[*r].take()
                && let Some((dtype, shape)) = plan.graph.ty(v).concrete()
            {
                out.push(Tensor::from_aligned(dtype, &shape, bytes)?.into());
                continue;
            }
            out.push(self.value(v)?);
        }
        Ok(out)
    }

    /// A value as a tensor of its own.
    pub(super) fn value(&self, v: ValueId) -> Result<Value> {
        let root = self.plan.root(v);
        let reshape = |value: &Value| -> Result<Value> {
            if root == v {
                return Ok(value.clone());
            }
            let (_, shape) = self.concrete(v)?;
            Ok(value.tensor()?.reshaped(&shape)?.into())
        };
        match &self.plan.places[root.index()] {
            Place::Const(t) => reshape(&Value::Tensor(t.clone())),
            Place::Arg(i) => reshape(&self.args[*i]),
            Place::Host => reshape(self.host_value(root).ok_or_else(|| Error::bug("a host value is not there yet"))?),
            Place::Arena(_) | Place::Result(_) => {
                let (dtype, shape) = self.concrete(v)?;
                let len = egret_ir::tensor::len_elems(&shape)? * dtype.size_bytes();
                let bytes = match &self.plan.places[root.index()] {
                    Place::Arena(at) => self.state.bytes(*at, len),
                    Place::Result(r) => match &self.results[*r] {
                        Some(b) => b.as_slice(),
                        None => return Err(Error::bug("a result was handed over too early")),
                    },
                    _ => unreachable!("matched above"),
                };
                Ok(Tensor::from_aligned(dtype, &shape, AlignedBytes::copy_of(bytes))?.into())
            }
            Place::Nowhere | Place::Alias(_) => {
                Err(Error::bug(format!("value \"{}\" is read and never made", self.plan.graph.value(v).name)))
            }
        }
    }

    fn concrete(&self, v: ValueId) -> Result<(DType, Vec<usize>)> {
        self.plan.graph.ty(v).concrete().ok_or_else(|| Error::bug("extents of a planned value are not known"))
    }

    /// A call by its operator's `eval`; `observer` sees the steps of its bodies.
    fn host_call(&mut self, n: usize, env: &Env, observer: &mut dyn Observer) -> Result<()> {
        let plan = self.plan;
        let node = &plan.graph.nodes[n];
        let inputs = node.inputs.iter().map(|v| v.map(|v| self.value(v)).transpose()).collect::<Result<Vec<_>>>()?;
        let captures = node.captures.iter().map(|&v| self.value(v)).collect::<Result<Vec<_>>>()?;
        let refs: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
        let runner = Bodies { shared: self.shared, observer: RefCell::new(observer) };
        // Rules of operators with bodies speak of types alone, which the plan checked; they are asked again where it left
        // extents open, which contents may tell (those of a loop without iterations, for one).
        let known = |v: &Option<ValueId>| Some(plan.graph.ty((*v)?)).filter(|t| t.concrete().is_some()).cloned();
        let types: Option<Vec<Type>> = match node.op.bodies().is_empty() {
            true => None,
            false => node.outputs.iter().map(known).collect(),
        };
        let results = match types {
            Some(types) => eval_checked(&*node.op, &refs, &captures, &types, env, &runner),
            None => eval_call(&*node.op, &refs, &captures, node.outputs.len(), env, &runner),
        }
        .map_err(|e| e.at(plan.graph.describe_with_types(n)))?;
        for (v, value) in node.outputs.iter().zip(results) {
            if let Some(v) = v {
                self.made(*v, value)?;
            }
        }
        let bytes = plan.memory_bytes(self.shared).saturating_add(self.host_bytes);
        env.check_memory(bytes).map_err(|e| e.at(plan.graph.describe(n)))
    }

    /// Takes over a value that is not in the plan's memory.
    fn made(&mut self, v: ValueId, value: Value) -> Result<()> {
        let tables = &self.plan.tables;
        if let Some(at) = tables.host(v) {
            if State::wants_host(tables, at) {
                self.state.bind_host(tables, at, value.tensor()?.bytes().as_ptr().cast_mut());
            }
            self.host_bytes = self.host_bytes.saturating_add(value.size_bytes());
            self.host[at] = Some(value);
        }
        Ok(())
    }

    fn host_value(&self, v: ValueId) -> Option<&Value> {
        self.host[self.plan.tables.host(v)?].as_ref()
    }

    /// A compiled kernel on the bytes of the call's values.
    fn library(&mut self, l: &LibraryStep, env: &Env) -> Result<()> {
        let plan = self.plan;
        let node = &plan.graph.nodes[l.node];
        let mut operands = Vec::with_capacity(node.inputs.len());
        for v in &node.inputs {
            operands.push(v.map(|v| Ok::<_, Error>((self.pointer(v)?, self.len_bytes(v)?))).transpose()?);
        }
        // SAFETY: each value has memory of its length (Plan::place, or the tensor that it is), which nothing writes while
        // the kernel runs: results lie apart from operands that live with them (checked in Plan::place).
        let slice = |(at, len): (*mut u8, usize)| unsafe { std::slice::from_raw_parts(at.cast_const(), len) };
        let x: Vec<Option<&[u8]>> = operands.into_iter().map(|o| o.map(slice)).collect();
        // Tensors of a file may lie at any address; kernels read aligned elements.
        let mut copies = Vec::with_capacity(x.len());
        for (v, bytes) in node.inputs.iter().zip(&x) {
            let size = v.map_or(Ok(1), |v| Ok::<_, Error>(self.concrete(v)?.0.size_bytes()))?;
            let moved = bytes.filter(|b| b.as_ptr().align_offset(size.max(1)) != 0);
            copies.push(moved.map(AlignedBytes::copy_of));
        }
        let x: Vec<Option<&[u8]>> =
            x.iter().zip(&copies).map(|(x, copy)| copy.as_ref().map(AlignedBytes::as_slice).or(*x)).collect();
        let at = |e: Error| e.of_op(node.op.named().name).at(plan.graph.describe_with_types(l.node));
        if l.found {
            let found = l.kernel.find(&x, env.limits.value_bytes).map_err(at)?;
            for (v, f) in node.outputs.iter().zip(found) {
                if let Some(v) = v {
                    self.made(*v, Tensor::from_aligned(f.dtype, &f.shape, f.bytes)?.into())?;
                }
            }
            let bytes = plan.memory_bytes(self.shared).saturating_add(self.host_bytes);
            return env.check_memory(bytes).map_err(|e| e.at(plan.graph.describe(l.node)));
        }
        let mut y = Vec::with_capacity(node.outputs.len());
        for v in node.defs() {
            let (at, len) = (self.pointer(v)?, self.len_bytes(v)?);
            // SAFETY: as above; each result has memory of its own.
            y.push(unsafe { std::slice::from_raw_parts_mut(at, len) });
        }
        l.kernel.run(&x, &mut y, &self.shared.pool).map_err(at)
    }

    fn len_bytes(&self, v: ValueId) -> Result<usize> {
        let (dtype, shape) = self.concrete(v)?;
        Ok(egret_ir::tensor::len_elems(&shape)? * dtype.size_bytes())
    }

    /// First byte of a value.
    fn pointer(&mut self, v: ValueId) -> Result<*mut u8> {
        let root = self.plan.root(v);
        Ok(match &self.plan.places[root.index()] {
            Place::Const(t) => t.bytes().as_ptr().cast_mut(),
            Place::Arg(i) => self.args[*i].tensor()?.bytes().as_ptr().cast_mut(),
            Place::Arena(at) => self.state.first(*at),
            Place::Result(r) => match &mut self.results[*r] {
                Some(b) => b.as_mut_slice().as_mut_ptr(),
                None => return Err(Error::bug("a result was handed over too early")),
            },
            Place::Host => match self.host_value(root) {
                Some(value) => value.tensor()?.bytes().as_ptr().cast_mut(),
                None => return Err(Error::bug("a host value is not there yet")),
            },
            Place::Nowhere | Place::Alias(_) => {
                return Err(Error::bug(format!("value \"{}\" is read and never made", self.plan.graph.value(v).name)));
            }
        })
    }

    fn kernel(&mut self, step: usize, k: &KernelStep) -> Result<()> {
        for (v, range, n) in &k.checks {
            self.check_indices(*v, range).map_err(|e| e.at(self.plan.graph.describe_with_types(*n)))?;
        }
        let call = self.plan.tables.call(step).ok_or_else(|| Error::bug("a kernel without a table"))?;
        if let Code::Recorded(kernel) = &k.code {
            let mut regions = Vec::with_capacity(k.buffers.len());
            for (b, &start) in k.buffers.iter().zip(self.state.table(call)) {
                regions.push(Region { start, len_bytes: self.buffer_bytes(b)? });
            }
            let (nest, fused) = (k.nest.as_ref(), self.shared.isa.target.fused);
            // SAFETY: the regions are the kernel's buffers, each of its own length, bound as below.
            return unsafe { super::interpret::step(kernel, nest, k.extent, &regions, fused) };
        }
        // SAFETY: the table holds a pointer for each buffer of the kernel's description, made from the types for which the
        // kernel was recorded (Plan::new), each buffer as long as its type says (Plan::place, pack, run_graph's look-up by
        // type); arguments and results are bound before the first step and host values when they are made, before any
        // step that reads them; buffers that live together do not overlap (checked in Plan::place).
        unsafe { self.state.call(&self.plan.tables, call, self.shared) };
        Ok(())
    }

    /// Length of a buffer.
    pub(super) fn buffer_bytes(&self, b: &BufferRef) -> Result<usize> {
        Ok(match b {
            BufferRef::Packed(bytes) => bytes.len(),
            BufferRef::Value(v) => self.plan.size_bytes(*v)?,
            BufferRef::Temp(t) => self.plan.temps[*t].1,
            BufferRef::HostTable => size_of_val(crate::lower::host_table()),
            BufferRef::Scratch => self.state.scratch_bytes(),
        })
    }

    /// Elements of `v` lie in `range`.
    fn check_indices(&self, v: ValueId, range: &IndexRange) -> Result<()> {
        let root = self.plan.root(v);
        let (dtype, shape) = self.concrete(v)?;
        let len = egret_ir::tensor::len_elems(&shape)? * dtype.size_bytes();
        let bytes = match &self.plan.places[root.index()] {
            Place::Const(t) => t.bytes(),
            Place::Arg(i) => self.args[*i].tensor()?.bytes(),
            Place::Arena(at) => self.state.bytes(*at, len),
            Place::Result(r) => self.results[*r].as_ref().map_or(&[][..], AlignedBytes::as_slice),
            Place::Host => match self.host_value(root) {
                Some(value) => value.tensor()?.bytes(),
                None => &[],
            },
            Place::Nowhere | Place::Alias(_) => &[],
        };
        let wrong = match dtype {
            DType::I64 => range.wrong(bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b))),
            DType::I32 => range.wrong(bytes.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b).into())),
            _ => return Err(Error::bug(format!("indices of type {dtype}"))),
        };
        match wrong {
            Some((i, range)) => Err(Error::invalid(format!("index {i} is outside {}..{}", range.start, range.end))),
            None => Ok(()),
        }
    }
}
