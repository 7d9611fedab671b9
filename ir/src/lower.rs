//! What an operator's `lower` says: how a call with concrete types becomes machine code.

mod eval;
mod pairs;

use crate::dtype::DType;
use crate::library::Library;
use crate::tensor::Tensor;

pub use pairs::{PairForm, PairProduct, Pairs, ZeroPoint};

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
    /// For each input of the computation what it is.
    pub operands: Vec<Operand>,
    /// Requirements on the elements of operands, checked before the kernel runs.
    pub checks: Vec<IndexCheck>,
}

/// What an input of a computation is.
#[derive(Clone, Debug)]
pub enum Operand {
    /// An operand of the call, by number.
    Input(usize),
    /// Numbers that follow from attributes and extents.
    Table(Tensor),
}

/// Elements of an integer operand must lie in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexCheck {
    /// The operand.
    pub operand: usize,
    /// Which elements are right.
    pub range: IndexRange,
}

/// Which integers are right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IndexRange {
    /// Extents of the axes that are indexed; element `k` indexes axis `k mod n`.
    pub extents: Vec<usize>,
    /// Whether `-extent..0` counts from the end of an axis.
    pub from_end: bool,
    /// A number outside that is right too.
    pub except: Option<i64>,
}

impl IndexRange {
    /// Indices of axes as ONNX's gathering operators take them: `-extent..extent`.
    pub fn axes(extents: &[usize]) -> IndexRange {
        IndexRange { extents: extents.to_vec(), from_end: true, except: None }
    }

    /// `0..extent`.
    pub fn from_zero(extent: usize) -> IndexRange {
        IndexRange { extents: vec![extent], from_end: false, except: None }
    }

    /// The integers that are right for each axis, in turn.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<i64>> + Clone + '_ {
        self.extents.iter().map(|&n| if self.from_end { -(n as i64)..n as i64 } else { 0..n as i64 })
    }

    /// The first wrong one of `elements` with the range that it should be in.
    pub fn wrong(&self, elements: impl Iterator<Item = i64>) -> Option<(i64, std::ops::Range<i64>)> {
        elements.zip(self.ranges().cycle()).find(|(i, r)| !r.contains(i) && Some(*i) != self.except)
    }
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
    /// A compiled kernel of the runtime.
    Library(Library),
    /// A matrix product through the packed micro-kernels.
    MatMul(MatMul),
    /// A convolution through the packed micro-kernels.
    Conv(Conv),
    /// A convolution whose result has its channels innermost, `[n, spatial…, g*m]`, through the packed micro-kernels.
    ConvLast {
        /// The convolution, not transposed.
        conv: Conv,
        /// Whether the image is `[n, spatial…, g*c]` too, instead of `[n, g*c, spatial…]`.
        image_last: bool,
    },
    /// A product or convolution of 8-bit integers through the packed micro-kernels.
    Pairs(Box<PairProduct>),
    /// A recurrent network: micro-kernels and loop nests, step by step.
    Recurrent(Recurrent),
}

/// A recurrent network over a sequence, with the operands and results of `RNN`, `GRU` and `LSTM`: `x` (0), `w` (1), `r`
/// (2), and where given biases (3), lengths (4), first states (5, 6) and peepholes (7); see
/// [`crate::ops::recurrent`] for their shapes.
///
/// The products `x w^T` of all steps are one matrix product, to which `bias` is added: the *projection*. Each step then
/// runs the parts of the cell in order. All extents are at least 1; elements are `f32`.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// Steps.
    pub seq: usize,
    /// Sequences.
    pub batch: usize,
    /// Extent of one step's input.
    pub input: usize,
    /// Extent of the state.
    pub hidden: usize,
    /// Gates: `w` and `r` have `gates * hidden` rows for each direction.
    pub gates: usize,
    /// Whether `x`, states and results have the batch in front.
    pub batch_first: bool,
    /// What is added to the projection, `[directions * gates * hidden]`, computed once.
    pub bias: Option<Computation>,
    /// One or two.
    pub directions: Vec<Direction>,
    /// Whether there is a cell state beside the state (operand 6, result 2).
    pub cell_state: bool,
}

/// One direction of a recurrent network.
#[derive(Clone, Debug)]
pub struct Direction {
    /// Whether it begins at the end of the sequence.
    pub backward: bool,
    /// What a step does.
    pub parts: Vec<CellPart>,
}

/// A product of a state with rows of `r`, and the expressions behind it.
#[derive(Clone, Debug)]
pub struct CellPart {
    /// What is multiplied: [`CellTensor::State`] or a carried tensor.
    pub of: CellTensor,
    /// The gates whose rows of `r` it is multiplied by.
    pub gates: std::ops::Range<usize>,
    /// The expressions.
    pub compute: crate::loops::Compute,
    /// What the expressions read, in order.
    pub inputs: Vec<CellTensor>,
    /// What they make, in order.
    pub outputs: Vec<CellTensor>,
}

/// A tensor of one step of one direction; `[batch, hidden]` where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellTensor {
    /// The part's product, `[batch, gates of the part * hidden]`.
    Sums,
    /// The step's projection: rows of `gates * hidden` elements, [`Recurrent::projection_stride`] apart.
    Projection,
    /// State before the step.
    State,
    /// State after it.
    NextState,
    /// Cell state before the step.
    Cell,
    /// Cell state after it.
    NextCell,
    /// Made by an earlier part of the same step, by number.
    Carried(usize),
    /// The direction's biases, `[2 * gates * hidden]`.
    Bias,
    /// The direction's peepholes, `[3 * hidden]`.
    Peepholes,
}

impl Recurrent {
    /// Elements between the projections of one step for neighbouring sequences.
    pub fn projection_stride(&self) -> usize {
        let row = self.directions.len() * self.gates * self.hidden;
        if self.batch_first { self.seq * row } else { row }
    }

    /// Tensors that parts hand on within a step.
    pub fn n_carried(&self) -> usize {
        let made = self.directions.iter().flat_map(|d| &d.parts).flat_map(|p| &p.outputs);
        made.filter_map(|t| if let CellTensor::Carried(k) = t { Some(k + 1) } else { None }).max().unwrap_or(0)
    }
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
