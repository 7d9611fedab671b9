//! Loops: how operators describe what they compute, and what kernels are made of.
//!
//! An operator's `lower` gives a [`Compute`]: tensors defined element by element by expressions ([`ComputeBuilder`]).
//! The computations of a group of nodes are joined and inlined into each other, scheduled into loop nests, and executed:
//! by the interpreter here, which defines the meaning, or by codegen's compiled kernels.
//! Nothing here knows the graph: shapes are numbers, types are [`crate::DType`].
//!
//! Code map: [`expr`] nodes and their arena; [`index`] arithmetic of indices; [`compute`] stages; [`build`] the builder;
//! [`mod@fuse`] joining and inlining; [`reorder`] axes in another order; [`mod@schedule`] and [`stage`] computations to [`nest`]s; [`interp`] the interpreter;
//! [`scalar`] the meaning of each operation, with [`narrow`] (elements in memory) and [`special`] (functions).
//!
//! Absent on purpose: scatters, scans and sorts, whose writes or carried state no element-wise definition gives.

pub mod build;
pub mod compute;
pub mod expr;
pub mod fuse;
pub mod index;
pub mod interp;
pub mod narrow;
pub mod nest;
pub mod reorder;
pub mod scalar;
pub mod schedule;
pub mod special;
pub mod stage;
pub mod testing;
#[cfg(test)]
mod tests;

pub use build::{ComputeBuilder, TensorId};
pub use compute::{Compute, LoopError, ShowExpr, Stage, TensorDesc, row_major_strides};
pub use expr::{Arena, BinOp, CmpOp, ExprId, Node, ReduceOp, Source, UnOp, VarId};
pub use fuse::{Binding, Part, compose, fuse, inline};
pub use nest::{Buffer, Kernel, LoopKind, Program, Role, Stmt};
pub use scalar::Scalar;
pub use schedule::schedule;
