//! Calls of the runtime's compiled kernels: what is too irregular for loop nests (transforms, scans, scatters, sorts,
//! trees, regions). A description says all that a kernel needs besides the elements, with extents as numbers; the kernels
//! are `egret-codegen`'s.

use crate::dtype::DType;
use crate::ops::ml::trees::{Aggregate, Forest};
use std::sync::Arc;

/// Whether kernels of reals take elements of this type.
pub fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
}

/// Whether kernels of numbers take elements of this type: reals, integers of whole bytes, truth values.
pub fn is_number(dtype: DType) -> bool {
    use DType::*;
    is_real(dtype) || matches!(dtype, I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | Bool)
}

/// A call. Operands and results are the node's own, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Library {
    /// Discrete Fourier transforms of many lines.
    Fourier(Fourier),
    /// Running sums or products.
    Cumulate(Cumulate),
    /// Elements written where indices say.
    Scatter(Scatter),
    /// The largest or smallest along an axis.
    TopK(TopK),
    /// Scores by decision trees.
    Trees(Trees),
    /// Means or maxima over cells of regions.
    RoiAlign(RoiAlign),
    /// Boxes that do not overlap better ones.
    NonMaxSuppression {
        /// Images.
        batches: usize,
        /// Classes.
        classes: usize,
        /// Boxes of an image.
        boxes: usize,
        /// Whether a box is centre and extents, not two corners.
        centered: bool,
    },
    /// Indices of the elements that are not zero.
    NonZero {
        /// Element type.
        dtype: DType,
        /// Extents.
        shape: Vec<usize>,
    },
}

/// Strides in elements: of the outer lines, of the inner lines, and along a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// From one outer line to the next.
    pub outer: usize,
    /// From one inner line to the next.
    pub inner: usize,
    /// From one number to the next.
    pub step: usize,
}

/// `outer * inner` transforms of operand 0 (times operand 2, where `windowed`) of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Fourier {
    /// Element type.
    pub dtype: DType,
    /// Outer lines.
    pub outer: usize,
    /// So many outer lines follow each other at `from.outer`; the next ones begin `group_stride` behind the first.
    pub group: usize,
    /// Elements of operand 0 from one group to the next.
    pub group_stride: usize,
    /// Inner lines.
    pub inner: usize,
    /// Where lines begin and step in operand 0.
    pub from: Lines,
    /// Numbers of a line that are there; further ones are 0.
    pub extent: usize,
    /// Whether operand 0 holds real and imaginary parts.
    pub complex: bool,
    /// Length of the transform.
    pub len: usize,
    /// Bins of the result; the result is `[outer, bins, inner, parts]`.
    pub bins: usize,
    /// Whether the transform is the inverse, divided by its length.
    pub inverse: bool,
    /// Whether operand 0 is the lower half of a symmetric spectrum and the result is real.
    pub symmetric: bool,
    /// Whether operand 2 holds a factor for each number of a line.
    pub windowed: bool,
}

/// Running sums (or products) along the middle axis of `[outer, n, inner]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cumulate {
    /// Element type.
    pub dtype: DType,
    /// Rows before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub n: usize,
    /// Elements behind the axis.
    pub inner: usize,
    /// Whether an element's own value is left out.
    pub exclusive: bool,
    /// Whether the walk is from the end.
    pub reverse: bool,
    /// Products, not sums.
    pub product: bool,
}

/// How an update meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// It takes its place.
    Replace,
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

/// Where updates go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Each to its own index with the entry at `axis` replaced; the extents of the indices.
    Element {
        /// The axis.
        axis: usize,
        /// Extents of indices and updates.
        indices: Vec<usize>,
    },
    /// Slices behind the first `k` axes, `count` of them, each to its index tuple.
    Slice {
        /// Length of a tuple.
        k: usize,
        /// Number of tuples.
        count: usize,
    },
}

/// Operand 0 with operand 2 written where operand 1 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scatter {
    /// Element type of operands 0 and 2.
    pub dtype: DType,
    /// Element type of the indices, `i32` or `i64`.
    pub index: DType,
    /// Extents of operand 0.
    pub shape: Vec<usize>,
    /// Where updates go.
    pub target: Target,
    /// How an update meets what is there.
    pub reduction: Reduction,
}

/// The first `k` of the middle axis of `[outer, n, inner]` in order, with their indices as `i64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopK {
    /// Element type.
    pub dtype: DType,
    /// Rows before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub n: usize,
    /// Elements behind the axis.
    pub inner: usize,
    /// How many are wanted.
    pub k: usize,
    /// The largest, not the smallest.
    pub largest: bool,
}

/// `f32[rows, targets]`: scores of rows of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    /// The trees.
    pub forest: Arc<Forest>,
    /// Element type of the features.
    pub dtype: DType,
    /// Element type of the scores.
    pub result: DType,
    /// Rows.
    pub rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Scores of a row.
    pub targets: usize,
    /// How trees are put together.
    pub aggregate: Aggregate,
    /// Added after that; none or one a target.
    pub base: Vec<f64>,
    /// What is done with a row of scores, by its ONNX name.
    pub transform: String,
}

/// Regions (operand 1, with their images in operand 2) of `x[n, c, h, w]` (operand 0), sampled bilinearly.
#[derive(Clone, Debug, PartialEq)]
pub struct RoiAlign {
    /// Element type.
    pub dtype: DType,
    /// Extents of operand 0.
    pub x: [usize; 4],
    /// Regions.
    pub regions: usize,
    /// Rows and columns of a region's result.
    pub output: [usize; 2],
    /// Samples along an axis of a cell; 0 chooses.
    pub samples: usize,
    /// From coordinates of regions to cells.
    pub scale: f64,
    /// Taken from scaled coordinates.
    pub offset: f64,
    /// Whether extents of a region are at least 1.
    pub at_least_one: bool,
    /// The largest sample, not the mean.
    pub largest: bool,
}
