//! The kernel builder: a small typed language in which every kernel is written once, for any vector width.
//!
//! A kernel is *recorded* ([`Builder`]) into a [`KernelFn`]: structured control (loops with carried values, if/else) over
//! values in static single assignment form. Recording instead of emitting at once lets several emitters (Cranelift at 128
//! bits, wider x86 encoders), an interpreter and a deduplicating cache consume the same kernel.
//!
//! Vectors are abstract: `V(elem)` holds [`Target::lanes`] 32-bit lanes, half as many 64-bit ones, twice as many 16-bit
//! ones. The recorder knows the width, so loops step by it, but no operation names a machine register.
//!
//! Calling convention of every kernel: `extern "C" fn(bufs: *const *mut u8, begin: i64, end: i64)`. `bufs` is a table of
//! pointers (inputs, outputs, scratch, packed weights, host-function table); `begin..end` is the part of the outermost
//! parallel loop that this call does. Machine code contains no absolute address.
//!
//! Invariant: a `KernelFn` that [`Builder::finish`] returned is well typed and every value is defined before its use.

mod ir;
mod record;

pub use ir::{BinOp, CmpOp, Cvt, Elem, Inst, KernelFn, Op, Reduce, Ty, UnOp, Val};
pub use record::{BuildError, Builder, Target};
