//! Kernels for the operators that loop nests alone do not bring near the machine's peak.
//!
//! Each family turns a description with concrete sizes into a [`KernelPlan`]: a recorded kernel and what a planner must
//! provide to run it. The recording is for a [`Target`](crate::builder::Target), so wider emitters get wider tiles.

pub mod conv;
mod conv_depthwise;
mod conv_last;
mod conv_last_depthwise;
mod conv_last_winograd;
pub mod conv_transpose;
mod conv_winograd;
pub mod epilogue;
pub mod gemm;
mod gemm_block;
mod gemm_tile;
mod packed_lhs;

pub use epilogue::{Epilogue, EpilogueOperand};
pub use packed_lhs::PackedLhs;

use crate::builder::{Builder, Elem, KernelFn, Ty, Val};

/// Entry of the pointer table that holds the first operand (GEMM: A; convolution: the image).
pub const BUF_LHS: usize = 0;
/// Second operand (GEMM: B, packed if the plan says so; convolution: weights).
pub const BUF_RHS: usize = 1;
/// The output.
pub const BUF_OUT: usize = 2;
/// Scratch of [`KernelPlan::scratch_len_bytes`], **private to the calling thread**: pass each thread a table of its own.
pub const BUF_SCRATCH: usize = 3;
/// First of the epilogue's operands, in order.
pub const BUF_EPILOGUE: usize = 4;

/// A kernel and what it takes to run it.
#[derive(Clone, Debug)]
pub struct KernelPlan {
    /// The code; its buffer table is `BUF_LHS, BUF_RHS, BUF_OUT, BUF_SCRATCH`, then the epilogue's operands.
    pub kernel: KernelFn,
    /// Scratch per thread, 0 if the entry is not used (then any pointer will do).
    pub scratch_len_bytes: usize,
    /// The parallel range is `0..parallel_extent`; any partition of it gives the same bits.
    pub parallel_extent: usize,
    /// Floating-point (or integer) operations of one run, a multiply-add counting two.
    pub flops: u64,
    /// Whether partial sums pass through the output, so that no epilogue operand may alias it.
    pub partial_sums_in_output: bool,
}

/// Whether products of `elem` are summed by [`multiply_add`].
pub(crate) fn has_products(elem: Elem) -> bool {
    elem.is_float() || elem == Elem::I32
}

/// `acc + x * y`: fused for floats; elements of `I32` are pairs of 16-bit numbers, whose two products are added, wrapping.
pub(crate) fn multiply_add(b: &mut Builder, x: Val, y: Val, acc: Val) -> Val {
    if b.ty(acc) != Ty::V(Elem::I32) {
        return b.fma(x, y, acc);
    }
    let halves = Ty::V(Elem::I16);
    let (x, y) = (b.bits(x, halves), b.bits(y, halves));
    b.dot_i16(acc, x, y)
}
