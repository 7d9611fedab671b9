//! The interpreter: the meaning of computations and of nests.
//!
//! [`eval`] evaluates a [`Compute`] stage by stage, straight from its definition. [`run`] executes a [`Program`] as it was
//! scheduled. Both check every index. They are slow and serve as the yardstick, and as the execution level that needs no
//! machine code.

use super::compute::Compute;
use super::expr::{Arena, ExprId, Node, ReduceOp, Source, VarId};
use super::nest::{Kernel, Program, Role, Stmt};
use super::scalar::{self, Scalar};
use super::{narrow, row_major_strides};
use crate::DType;

/// An index outside its tensor, or memory that does not fit its description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("loop interpreter: {0}")]
pub struct InterpError(pub String);

/// What expressions read while they are evaluated.
struct Frame<'a> {
    arena: &'a Arena,
    vars: Vec<i64>,
    locals: Vec<Scalar>,
    /// Reads an element by source and index.
    read: &'a dyn Fn(Source, &[i64]) -> Result<Scalar, InterpError>,
}

impl Frame<'_> {
    fn eval(&mut self, e: ExprId) -> Result<Scalar, InterpError> {
        let arena = self.arena;
        let dtype = arena.dtype(e);
        Ok(match arena.node(e) {
            Node::Const(bits) => Scalar::from_bits(dtype, *bits),
            Node::Var(v) => Scalar::Int(self.vars[v.0 as usize]),
            Node::Local(l) => self.locals[*l as usize],
            Node::Load { src, index } => {
                let mut at = Vec::with_capacity(index.len());
                for &i in index {
                    at.push(self.eval(i)?.as_int());
                }
                (self.read)(*src, &at)?
            }
            Node::Un(op, a) => scalar::unary(*op, arena.dtype(*a), self.eval(*a)?),
            Node::Bin(op, a, b) => scalar::binary(*op, dtype, self.eval(*a)?, self.eval(*b)?),
            Node::Cmp(op, a, b) => {
                let t = arena.dtype(*a);
                Scalar::Int(i64::from(scalar::compare(*op, t, self.eval(*a)?, self.eval(*b)?)))
            }
            Node::Select(c, a, b) => {
                let chosen = if self.eval(*c)?.is_true() { *a } else { *b };
                self.eval(chosen)?
            }
            Node::Cast { saturate, value } => scalar::cast(arena.dtype(*value), dtype, *saturate, self.eval(*value)?),
            Node::Bitcast(a) => {
                let mut bytes = [0; 8];
                narrow::write(arena.dtype(*a), self.eval(*a)?, &mut bytes);
                narrow::read(dtype, &bytes)
            }
            Node::Reduce { op, vars, body } => self.reduce(*op, vars, *body)?,
        })
    }

    fn reduce(&mut self, op: ReduceOp, vars: &[VarId], body: ExprId) -> Result<Scalar, InterpError> {
        let t = self.arena.dtype(body);
        let mut acc = scalar::identity(op, t);
        let mut best: Option<(Scalar, i64)> = None;
        let ranges: Vec<_> = vars.iter().map(|&v| self.arena.var_range(v)).collect();
        let mut turn: Vec<i64> = ranges.iter().map(|r| r.start).collect();
        if ranges.iter().any(|r| r.is_empty()) {
            return Ok(if op.is_arg() { Scalar::Int(0) } else { acc });
        }
        loop {
            for (&v, &i) in vars.iter().zip(&turn) {
                self.vars[v.0 as usize] = i;
            }
            let value = self.eval(body)?;
            match op.bin() {
                Some(bin) => acc = scalar::binary(bin, t, acc, value),
                None => {
                    if best.is_none_or(|(b, _)| scalar::arg_takes(op, t, b, value)) {
                        best = Some((value, turn[0]));
                    }
                }
            }
            let Some(axis) = (0..turn.len()).rev().find(|&k| turn[k] + 1 < ranges[k].end) else { break };
            turn[axis] += 1;
            for k in axis + 1..turn.len() {
                turn[k] = ranges[k].start;
            }
        }
        Ok(match best {
            Some((_, at)) => Scalar::Int(at),
            None => acc,
        })
    }
}

fn read_at(dtype: DType, memory: &[u8], shape: &[usize], index: &[i64]) -> Result<Scalar, InterpError> {
    let inside = index.len() == shape.len() && index.iter().zip(shape).all(|(&i, &n)| 0 <= i && i < n as i64);
    if !inside {
        return Err(InterpError(format!("index {index:?} of a tensor of shape {shape:?}")));
    }
    let flat: i64 = index.iter().zip(row_major_strides(shape)).map(|(&i, s)| i * s).sum();
    let start = flat as usize * dtype.size_bytes();
    match memory.get(start..) {
        Some(bytes) if bytes.len() >= dtype.size_bytes() => Ok(narrow::read(dtype, bytes)),
        _ => Err(InterpError(format!("element {flat} lies outside {} bytes", memory.len()))),
    }
}

/// Evaluates a computation on inputs given as bytes (row-major, little endian); the outputs, likewise.
pub fn eval(compute: &Compute, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, InterpError> {
    if inputs.len() != compute.inputs.len() {
        return Err(InterpError(format!("{} inputs given, {} wanted", inputs.len(), compute.inputs.len())));
    }
    let mut done: Vec<Vec<u8>> = Vec::new();
    for stage in &compute.stages {
        let size = stage.desc.dtype.size_bytes();
        let n = stage.desc.len_elems();
        let mut memory = vec![0; n * size];
        let read = |src: Source, index: &[i64]| {
            let desc = compute.desc(src).ok_or_else(|| InterpError(format!("{src:?} does not exist")))?;
            let bytes: &[u8] = match src {
                Source::Input(i) => inputs[i],
                Source::Stage(s) => &done[s],
                Source::Buffer(_) => return Err(InterpError("a kernel's buffer in a computation".into())),
            };
            read_at(desc.dtype, bytes, &desc.shape, index)
        };
        let n_vars = compute.arena.n_vars();
        let mut frame = Frame { arena: &compute.arena, vars: vec![0; n_vars], locals: Vec::new(), read: &read };
        for flat in 0..n {
            let mut rest = flat;
            for (k, &v) in stage.axes.iter().enumerate().rev() {
                frame.vars[v.0 as usize] = (rest % stage.desc.shape[k]) as i64;
                rest /= stage.desc.shape[k];
            }
            let value = frame.eval(stage.value)?;
            narrow::write(stage.desc.dtype, value, &mut memory[flat * size..]);
        }
        done.push(memory);
    }
    Ok(compute.outputs.iter().map(|&s| done[s].clone()).collect())
}

/// Runs all kernels on inputs given as bytes; the outputs.
pub fn run(program: &Program, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, InterpError> {
    let mut memory: Vec<Vec<u8>> = program
        .buffers
        .iter()
        .map(|b| match b.role {
            Role::Input(i) => inputs.get(i).map_or(Vec::new(), |bytes| bytes.to_vec()),
            _ => vec![0; b.len_elems * b.dtype.size_bytes()],
        })
        .collect();
    for (memory, buffer) in memory.iter().zip(&program.buffers) {
        if memory.len() < buffer.len_elems * buffer.dtype.size_bytes() {
            return Err(InterpError(format!("{:?} has {} bytes", buffer.role, memory.len())));
        }
    }
    for kernel in &program.kernels {
        run_kernel(program, kernel, &mut memory, 0, kernel.extent)?;
    }
    Ok(memory[program.n_inputs..program.n_inputs + program.n_outputs].to_vec())
}

/// Runs turns `begin..end` of one kernel; `memory` holds one block of bytes per buffer of the program.
pub fn run_kernel(
    program: &Program,
    kernel: &Kernel,
    memory: &mut [Vec<u8>],
    begin: i64,
    end: i64,
) -> Result<(), InterpError> {
    let mut state = Run { program, vars: vec![0; program.arena.n_vars()], locals: Vec::new(), best: Vec::new() };
    for turn in begin..end {
        state.vars[kernel.parallel.0 as usize] = turn;
        state.body(&kernel.body, memory)?;
    }
    Ok(())
}

struct Run<'a> {
    program: &'a Program,
    vars: Vec<i64>,
    locals: Vec<Scalar>,
    /// The value that each index reduction has chosen.
    best: Vec<Option<Scalar>>,
}

impl Run<'_> {
    fn eval(&mut self, e: ExprId, memory: &[Vec<u8>]) -> Result<Scalar, InterpError> {
        let program = self.program;
        let read = |src: Source, index: &[i64]| match src {
            Source::Buffer(b) => {
                let buffer = &program.buffers[b];
                read_at(buffer.dtype, &memory[b], &[buffer.len_elems], index)
            }
            other => Err(InterpError(format!("{other:?} in a kernel"))),
        };
        let mut frame = Frame {
            arena: &program.arena,
            vars: std::mem::take(&mut self.vars),
            locals: std::mem::take(&mut self.locals),
            read: &read,
        };
        let value = frame.eval(e);
        (self.vars, self.locals) = (frame.vars, frame.locals);
        value
    }

    fn set(&mut self, local: u32, value: Scalar, best: Option<Scalar>) {
        let at = local as usize;
        if self.locals.len() <= at {
            self.locals.resize(at + 1, Scalar::Int(0));
            self.best.resize(at + 1, None);
        }
        (self.locals[at], self.best[at]) = (value, best);
    }

    fn body(&mut self, body: &[Stmt], memory: &mut [Vec<u8>]) -> Result<(), InterpError> {
        for stmt in body {
            match stmt {
                Stmt::For { var, lo, hi, body, .. } => {
                    let (lo, hi) = (self.eval(*lo, memory)?.as_int(), self.eval(*hi, memory)?.as_int());
                    for i in lo..hi {
                        self.vars[var.0 as usize] = i;
                        self.body(body, memory)?;
                    }
                }
                Stmt::Let { local, value } => {
                    let value = self.eval(*value, memory)?;
                    self.set(*local, value, None);
                }
                Stmt::Init { local, op, dtype } => {
                    let neutral = if op.is_arg() { Scalar::Int(0) } else { scalar::identity(*op, *dtype) };
                    self.set(*local, neutral, None);
                }
                Stmt::Accumulate { local, op, value, arg } => {
                    let t = self.program.arena.dtype(*value);
                    let value = self.eval(*value, memory)?;
                    match (op.bin(), arg) {
                        (Some(bin), _) => {
                            let joined = scalar::binary(bin, t, self.locals[*local as usize], value);
                            self.set(*local, joined, None);
                        }
                        (None, Some(arg)) => {
                            if self.best[*local as usize].is_none_or(|b| scalar::arg_takes(*op, t, b, value)) {
                                let at = self.eval(*arg, memory)?;
                                self.set(*local, at, Some(value));
                            }
                        }
                        (None, None) => return Err(InterpError("an index reduction without an index".into())),
                    }
                }
                Stmt::Store { buffer, index, value } => {
                    let at = self.eval(*index, memory)?.as_int();
                    let value = self.eval(*value, memory)?;
                    let b = &self.program.buffers[*buffer];
                    if at < 0 || at >= b.len_elems as i64 {
                        return Err(InterpError(format!("write to element {at} of {}", b.len_elems)));
                    }
                    narrow::write(b.dtype, value, &mut memory[*buffer][at as usize * b.dtype.size_bytes()..]);
                }
            }
        }
        Ok(())
    }
}
