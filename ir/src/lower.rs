//! What an operator's `lower` says: how a call with concrete types becomes machine code.

mod eval;

use crate::dtype::DType;
use crate::tensor::Tensor;

/// The call to lower: element types and extents of operands and results, contents of constants.
#[derive(Clone, Debug, Default)]
pub struct LowerCx<'a> {
    /// Operands; `None` where left out (or no tensor).
    pub inputs: Vec<Option<(DType, Vec<usize>)>>,
    /// Contents of operands that are constants.
    pub constants: Vec<Option<&'a Tensor>>,
    /// Results.
    pub outputs: Vec<(DType, Vec<usize>)>,
}

impl LowerCx<'_> {
    /// Whether an operand is given.
    pub fn has(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(Option::is_some)
    }

    /// Element type of an operand, `f32` where it is left out.
    pub fn dtype(&self, i: usize) -> DType {
        self.inputs.get(i).and_then(|t| t.as_ref()).map_or(DType::F32, |t| t.0)
    }

    /// Extents of an operand, none where it is left out.
    pub fn shape(&self, i: usize) -> &[usize] {
        self.inputs.get(i).and_then(|t| t.as_ref()).map_or(&[], |t| &t.1)
    }

    /// The constant that an operand is.
    pub fn constant(&self, i: usize) -> Option<&Tensor> {
        self.constants.get(i).copied().flatten()
    }
}

/// Tensor expressions of a call.
#[derive(Clone, Debug)]
pub struct Computation {
    /// The expressions; outputs are the call's results in order.
    pub compute: crate::loops::Compute,
    /// For each input of the computation the operand that it is.
    pub operands: Vec<usize>,
    /// Requirements on the elements of operands, checked before the kernel runs.
    pub checks: Vec<IndexCheck>,
}

/// Elements of an integer operand index an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexCheck {
    /// The operand.
    pub operand: usize,
    /// Extent of the axis; indices in `-extent..extent` are right.
    pub extent: usize,
}

/// How a call becomes machine code.
#[derive(Clone, Debug)]
pub enum Lowering {
    /// By the operator's `eval`, as a host call.
    Host,
    /// Nothing moves: the result is the first operand under another shape.
    View,
    /// Tensor expressions, fused with their neighbours into loop nests.
    Compute(Computation),
    /// A matrix product through the packed micro-kernels.
    MatMul(MatMul),
    /// A convolution through the packed micro-kernels.
    Conv(Conv),
}

/// `y[b, m, n] = alpha * sum_k a[b, m, k] * b[b, k, n] + beta * c`, all strides in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct MatMul {
    /// Extents of the batch, and the strides of `a` and `b` along each (0 where one broadcasts).
    pub batch: Vec<(usize, usize, usize)>,
    /// Rows of `a`.
    pub m: usize,
    /// Columns of `b`.
    pub n: usize,
    /// Extent that is summed over.
    pub k: usize,
    /// Strides of operand 0 along `m` and `k`.
    pub a_strides: (usize, usize),
    /// Strides of operand 1 along `k` and `n`.
    pub b_strides: (usize, usize),
    /// Operand 2 added to the product, with its strides along `m` and `n`.
    pub bias: Option<(usize, usize)>,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of operand 2.
    pub beta: f32,
}

/// A convolution of `x[n, g*c, spatial…]` (operand 0) with `w` (operand 1) and an optional bias per output channel
/// (operand 2).
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Images.
    pub n: usize,
    /// Groups.
    pub groups: usize,
    /// Input channels of one group.
    pub c: usize,
    /// Output channels of one group.
    pub m: usize,
    /// Input extents, one a spatial axis.
    pub input: Vec<usize>,
    /// Kernel extents.
    pub kernel: Vec<usize>,
    /// Output extents.
    pub output: Vec<usize>,
    /// Strides.
    pub strides: Vec<usize>,
    /// Dilations.
    pub dilations: Vec<usize>,
    /// Padding before each axis.
    pub pads: Vec<usize>,
    /// Whether it is the transposed convolution (`w[g*c, m, kernel…]`, strides spread the input).
    pub transposed: bool,
    /// Whether operand 2, a bias `[g*m]`, is given.
    pub bias: bool,
}
