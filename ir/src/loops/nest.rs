//! Loop nests: what a computation becomes before it is compiled or interpreted.
//!
//! A [`Program`] is a list of kernels run one after the other; between two of them all threads wait. A kernel's outermost
//! loop is its parallel one: any cut of `0..extent` into ranges may run on different threads, and gives the same bits,
//! because each turn writes elements of its own. Loads are flat and proven inside their buffers (or clamped into them)
//! when the nest is made, so that whoever executes it needs no checks.

use std::fmt;

use super::compute::{ShowExpr, TensorDesc};
use super::expr::{Arena, ExprId, ReduceOp, VarId};
use crate::DType;

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Input of the computation.
    Input(usize),
    /// Output of the computation.
    Output(usize),
    /// Carries a tensor from one kernel to a later one.
    Temp(usize),
    /// Private to a thread within one turn of the parallel loop, at an offset of the thread's scratch block.
    Scratch { offset_bytes: usize },
}

/// A buffer that kernels address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub len_elems: usize,
    /// What it is for.
    pub role: Role,
}

/// How a loop is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// One turn after the other.
    Serial,
    /// Turns are independent but for accumulators, whose order is free: several may run at once in the lanes of vectors.
    Vector,
}

/// A statement.
#[derive(Clone, Debug)]
pub enum Stmt {
    /// `body` for `lo <= var < hi`.
    For { var: VarId, lo: ExprId, hi: ExprId, kind: LoopKind, body: Vec<Stmt> },
    /// Defines a scalar.
    Let { local: u32, value: ExprId },
    /// Defines an accumulator with its neutral value; `dtype` is the type of what is accumulated.
    Init { local: u32, op: ReduceOp, dtype: DType },
    /// Adds `value` to an accumulator; `arg` is the index that an index reduction remembers.
    Accumulate { local: u32, op: ReduceOp, value: ExprId, arg: Option<ExprId> },
    /// Writes one element.
    Store { buffer: usize, index: ExprId, value: ExprId },
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Variable of the parallel loop; its range starts at 0.
    pub parallel: VarId,
    /// Turns of the parallel loop.
    pub extent: i64,
    /// Body of the parallel loop.
    pub body: Vec<Stmt>,
    /// Bytes of scratch that each thread needs.
    pub scratch_bytes: usize,
    /// Estimated scalar operations of all turns together.
    pub flops: f64,
    /// Estimated bytes moved to and from buffers by all turns together.
    pub bytes: f64,
}

/// Kernels over common buffers.
///
/// Buffers are in this order: inputs, outputs, temporaries, scratch.
#[derive(Clone, Debug)]
pub struct Program {
    /// The expressions and variables of all kernels.
    pub arena: Arena,
    /// What the kernels address.
    pub buffers: Vec<Buffer>,
    /// In the order of execution.
    pub kernels: Vec<Kernel>,
    /// Number of inputs.
    pub n_inputs: usize,
    /// Number of outputs.
    pub n_outputs: usize,
    /// Types of the temporaries.
    pub temps: Vec<TensorDesc>,
}

impl Program {
    /// Buffers that are memory of the caller: all but scratch.
    pub fn n_outer_buffers(&self) -> usize {
        self.n_inputs + self.n_outputs + self.temps.len()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.buffers.iter().enumerate() {
            writeln!(f, "b{i}: {}[{}] {:?}", b.dtype, b.len_elems, b.role)?;
        }
        for kernel in &self.kernels {
            writeln!(f, "parallel i{} in 0..{}", kernel.parallel.0, kernel.extent)?;
            show(f, &self.arena, &kernel.body, 1)?;
        }
        Ok(())
    }
}

fn show(f: &mut fmt::Formatter<'_>, arena: &Arena, body: &[Stmt], depth: usize) -> fmt::Result {
    let e = |id| ShowExpr(arena, id);
    for stmt in body {
        write!(f, "{:1$}", "", 2 * depth)?;
        match stmt {
            Stmt::For { var, lo, hi, kind, body } => {
                let kind = if *kind == LoopKind::Vector { " vector" } else { "" };
                writeln!(f, "for{kind} i{} in {}..{}", var.0, e(*lo), e(*hi))?;
                show(f, arena, body, depth + 1)?;
            }
            Stmt::Let { local, value } => writeln!(f, "s{local} = {}", e(*value))?,
            Stmt::Init { local, op, dtype } => writeln!(f, "s{local} = neutral {op:?} of {dtype}")?,
            Stmt::Accumulate { local, op, value, .. } => writeln!(f, "s{local} {op:?}= {}", e(*value))?,
            Stmt::Store { buffer, index, value } => writeln!(f, "b{buffer}[{}] = {}", e(*index), e(*value))?,
        }
    }
    Ok(())
}
