//! How operators say what they compute.
//!
//! ```
//! use egret_ir::DType;
//! use egret_ir::loops::{ComputeBuilder, ReduceOp};
//!
//! // y = softmax(x) along the last axis: three stages, the last of which is the result.
//! let (rows, cols) = (4, 10);
//! let mut c = ComputeBuilder::new();
//! let x = c.input(DType::F32, &[rows, cols]);
//! let max = c.compute(DType::F32, &[rows], |e, i| e.reduce(ReduceOp::Max, &[cols], |e, r| e.load(x, &[i[0], r[0]])));
//! let exp = c.compute(DType::F32, &[rows, cols], |e, i| {
//!     let (v, m) = (e.load(x, i), e.load(max, &[i[0]]));
//!     let d = e.sub(v, m);
//!     e.exp(d)
//! });
//! let sum = c.compute(DType::F32, &[rows], |e, i| e.reduce(ReduceOp::Sum, &[cols], |e, r| e.load(exp, &[i[0], r[0]])));
//! let y = c.compute(DType::F32, &[rows, cols], |e, i| {
//!     let (v, s) = (e.load(exp, i), e.load(sum, &[i[0]]));
//!     e.div(v, s)
//! });
//! c.output(y);
//! let compute = c.finish().unwrap();
//! assert_eq!(compute.stages.len(), 4);
//! ```
//!
//! A wrongly typed expression does not panic: the first mistake is kept and [`ComputeBuilder::finish`] returns it.

use std::collections::HashMap;

use super::compute::{Compute, LoopError, Stage, TensorDesc, row_major_strides};
use super::expr::{BinOp, CmpOp, ExprId, ReduceOp, Source, UnOp};
use super::narrow;
use super::scalar::{Register, Scalar, cast, register, wrap};
use crate::DType;

/// A tensor of the computation being built: an input or a stage.
pub type TensorId = Source;

/// Builds a [`Compute`].
#[derive(Default)]
pub struct ComputeBuilder {
    compute: Compute,
    error: Option<LoopError>,
    /// Types of the inputs and stages, so that expressions can be made while a stage is open.
    descs: HashMap<Source, TensorDesc>,
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: ExprId) -> ExprId {
            self.un(UnOp::$op, a)
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: ExprId, b: ExprId) -> ExprId {
            self.bin(BinOp::$op, a, b)
        }
    )*};
}

macro_rules! compare {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: ExprId, b: ExprId) -> ExprId {
            self.cmp(CmpOp::$op, a, b)
        }
    )*};
}

impl ComputeBuilder {
    /// An empty computation.
    pub fn new() -> ComputeBuilder {
        ComputeBuilder::default()
    }

    /// Ends the building; the first mistake, if there was one.
    pub fn finish(mut self) -> Result<Compute, LoopError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.compute.check()?;
        self.compute.remove_unused();
        Ok(self.compute)
    }

    /// Records that this computation cannot be expressed; [`ComputeBuilder::finish`] will say so.
    pub fn unsupported(&mut self, what: impl Into<String>) {
        self.error.get_or_insert(LoopError::Unsupported(what.into()));
    }

    fn invalid(&mut self, text: String) {
        self.error.get_or_insert(LoopError::Invalid(text));
    }

    fn require(&mut self, ok: bool, text: impl FnOnce() -> String) {
        if !ok {
            self.invalid(text());
        }
    }

    /// The next input.
    pub fn input(&mut self, dtype: DType, shape: &[usize]) -> TensorId {
        if !narrow::is_supported(dtype) {
            self.unsupported(format!("elements of type {dtype}"));
        }
        let id = Source::Input(self.compute.inputs.len());
        let desc = TensorDesc { dtype, shape: shape.to_vec() };
        self.compute.inputs.push(desc.clone());
        self.descs.insert(id, desc);
        id
    }

    /// A new tensor; `element(builder, index)` gives the element at `index` (one `i64` per axis), of type `dtype`.
    /// Stages cannot be defined inside `element`.
    pub fn compute(
        &mut self,
        dtype: DType,
        shape: &[usize],
        element: impl FnOnce(&mut ComputeBuilder, &[ExprId]) -> ExprId,
    ) -> TensorId {
        let axes: Vec<_> = shape.iter().map(|&n| self.compute.arena.new_var(0..n as i64)).collect();
        let index: Vec<ExprId> = axes.iter().map(|&v| self.compute.arena.var(v)).collect();
        let n_stages = self.compute.stages.len();
        let mut value = element(self, &index);
        self.require_same_stage_count(n_stages);
        let got = self.dtype(value);
        if got != dtype {
            self.invalid(format!("the element of a tensor of {dtype} is of type {got}"));
            value = self.zero(dtype);
        }
        let id = Source::Stage(self.compute.stages.len());
        let desc = TensorDesc { dtype, shape: shape.to_vec() };
        self.compute.stages.push(Stage { desc: desc.clone(), axes, value });
        self.descs.insert(id, desc);
        id
    }

    fn require_same_stage_count(&mut self, n_stages: usize) {
        let now = self.compute.stages.len();
        self.require(now == n_stages, || "a stage was defined inside another one".into());
    }

    /// Makes a stage a result; outputs are numbered in the order of these calls. An input is copied.
    pub fn output(&mut self, tensor: TensorId) {
        match tensor {
            Source::Stage(s) => self.compute.outputs.push(s),
            other => {
                let desc = self.desc(other);
                let copy = self.compute(desc.dtype, &desc.shape, |e, i| e.load(other, i));
                self.output(copy);
            }
        }
    }

    /// Type of a tensor.
    pub fn desc(&self, tensor: TensorId) -> TensorDesc {
        self.descs.get(&tensor).cloned().unwrap_or(TensorDesc { dtype: DType::F32, shape: Vec::new() })
    }

    /// Shape of a tensor.
    pub fn shape(&self, tensor: TensorId) -> Vec<usize> {
        self.desc(tensor).shape
    }

    /// Type of an expression.
    pub fn dtype(&self, e: ExprId) -> DType {
        self.compute.arena.dtype(e)
    }

    // ---- constants ----

    /// A constant of any type from a float: rounded, or truncated and saturated to an integer type.
    pub fn float(&mut self, dtype: DType, value: f64) -> ExprId {
        let value = cast(DType::F64, dtype, false, Scalar::F64(value));
        self.compute.arena.constant(dtype, value)
    }

    /// A constant of any type from an integer (wrapped to integer types; `u64` by its bits).
    pub fn int(&mut self, dtype: DType, value: i64) -> ExprId {
        let value = match register(dtype) {
            Some(Register::Int) | None => Scalar::Int(wrap(dtype, value)),
            _ => cast(DType::I64, dtype, false, Scalar::Int(value)),
        };
        self.compute.arena.constant(dtype, value)
    }

    /// An `i64` constant, for indices.
    pub fn idx(&mut self, value: i64) -> ExprId {
        self.compute.arena.int(value)
    }

    /// A constant from a value of `dtype`'s register.
    pub fn scalar(&mut self, dtype: DType, value: Scalar) -> ExprId {
        self.compute.arena.constant(dtype, value)
    }

    /// 0, or false; of `f8e8m0`, which has no zero, the least number: what a tensor of zeros holds.
    pub fn zero(&mut self, dtype: DType) -> ExprId {
        if dtype == DType::F8E8M0 {
            let least = cast(DType::I64, dtype, true, Scalar::Int(0));
            return self.compute.arena.constant(dtype, least);
        }
        self.int(dtype, 0)
    }

    /// 1, or true.
    pub fn one(&mut self, dtype: DType) -> ExprId {
        self.int(dtype, 1)
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> ExprId {
        self.compute.arena.bool(value)
    }

    // ---- loads ----

    /// The element at `index`, which must lie inside the tensor wherever this expression is evaluated (an operand of a
    /// `select` is evaluated only if it is chosen).
    pub fn load(&mut self, tensor: TensorId, index: &[ExprId]) -> ExprId {
        let desc = self.desc(tensor);
        let known = self.descs.contains_key(&tensor);
        self.require(known && desc.shape.len() == index.len(), || {
            format!("{tensor:?} of shape {:?} read with {} indices", desc.shape, index.len())
        });
        let ints = index.iter().all(|&i| self.dtype(i) == DType::I64);
        self.require(ints, || "an index is not an i64".into());
        self.compute.arena.load(desc.dtype, tensor, index.to_vec())
    }

    /// The element for output index `index` by ONNX's (NumPy's) broadcasting: missing leading axes and axes of size 1
    /// repeat.
    pub fn load_broadcast(&mut self, tensor: TensorId, index: &[ExprId]) -> ExprId {
        let shape = self.shape(tensor);
        self.require(shape.len() <= index.len(), || format!("{shape:?} broadcast to rank {}", index.len()));
        let skip = index.len().saturating_sub(shape.len());
        let own: Vec<ExprId> =
            index[skip..].iter().zip(&shape).map(|(&i, &n)| if n == 1 { self.idx(0) } else { i }).collect();
        self.load(tensor, &own)
    }

    /// `tensor[index]` where `cond` holds, `otherwise` elsewhere; nothing is read where it does not hold.
    pub fn load_or(&mut self, cond: ExprId, tensor: TensorId, index: &[ExprId], otherwise: ExprId) -> ExprId {
        let value = self.load(tensor, index);
        self.select(cond, value, otherwise)
    }

    /// `tensor[index]` inside the tensor, `otherwise` outside: zero padding and the like. Only axes whose index can leave
    /// the tensor cost a comparison.
    pub fn load_padded(&mut self, tensor: TensorId, index: &[ExprId], otherwise: ExprId) -> ExprId {
        let shape = self.shape(tensor);
        let mut inside = self.bool(true);
        for (&i, &n) in index.iter().zip(&shape) {
            let ok = self.in_range(i, 0, n as i64);
            inside = self.and(inside, ok);
        }
        self.load_or(inside, tensor, index, otherwise)
    }

    /// `lo <= i < hi`.
    pub fn in_range(&mut self, i: ExprId, lo: i64, hi: i64) -> ExprId {
        let (lo, hi) = (self.idx(lo), self.idx(hi));
        let (above, below) = (self.ge(i, lo), self.lt(i, hi));
        self.and(above, below)
    }

    /// An index from data, as ONNX's Gather reads it: of any integer type, negative ones count from the end of an axis of
    /// `size`; what is still outside is clamped into the axis.
    pub fn index_from_data(&mut self, value: ExprId, size: usize) -> ExprId {
        let i = self.cast(value, DType::I64);
        let (zero, n, last) = (self.idx(0), self.idx(size as i64), self.idx((size as i64 - 1).max(0)));
        let negative = self.lt(i, zero);
        let from_end = self.add(i, n);
        let i = self.select(negative, from_end, i);
        let i = self.max(i, zero);
        self.min(i, last)
    }

    // ---- index arithmetic ----

    /// The row-major position of `index` in `shape`.
    pub fn linearize(&mut self, index: &[ExprId], shape: &[usize]) -> ExprId {
        let mut sum = self.idx(0);
        for (&i, &stride) in index.iter().zip(&row_major_strides(shape)) {
            let stride = self.idx(stride);
            let part = self.mul(i, stride);
            sum = self.add(sum, part);
        }
        sum
    }

    /// The index in `shape` at row-major position `position`.
    pub fn delinearize(&mut self, position: ExprId, shape: &[usize]) -> Vec<ExprId> {
        let strides = row_major_strides(shape);
        let mut index = Vec::with_capacity(shape.len());
        for (axis, (&n, &stride)) in shape.iter().zip(&strides).enumerate() {
            let stride = self.idx(stride);
            let i = self.floor_div(position, stride);
            index.push(if axis == 0 {
                i
            } else {
                let n = self.idx(n.max(1) as i64);
                self.floor_mod(i, n)
            });
        }
        index
    }

    /// `index` times constants plus constants: `index[k] * scale + offset`.
    pub fn affine(&mut self, index: ExprId, scale: i64, offset: i64) -> ExprId {
        let (scale, offset) = (self.idx(scale), self.idx(offset));
        let scaled = self.mul(index, scale);
        self.add(scaled, offset)
    }

    // ---- views: tensors that cost nothing where their reader can read through them ----

    /// The same elements, in row-major order, under another shape of as many elements.
    pub fn reshape(&mut self, tensor: TensorId, shape: &[usize]) -> TensorId {
        let desc = self.desc(tensor);
        let same = desc.len_elems() == shape.iter().product::<usize>();
        self.require(same, || format!("reshape of {:?} to {shape:?}", desc.shape));
        self.compute(desc.dtype, shape, |e, i| {
            let position = e.linearize(i, shape);
            let from = e.delinearize(position, &desc.shape);
            e.load(tensor, &from)
        })
    }

    /// Axis `k` of the result is axis `perm[k]` of `tensor`.
    pub fn transpose(&mut self, tensor: TensorId, perm: &[usize]) -> TensorId {
        let desc = self.desc(tensor);
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..desc.shape.len()) {
            self.invalid(format!("transpose of {:?} by {perm:?}", desc.shape));
            return tensor;
        }
        let shape: Vec<usize> = perm.iter().map(|&p| desc.shape[p]).collect();
        self.compute(desc.dtype, &shape, |e, i| {
            let mut from = i.to_vec();
            for (k, &p) in perm.iter().enumerate() {
                from[p] = i[k];
            }
            e.load(tensor, &from)
        })
    }

    /// Element `i` of the result is element `start[k] + i[k] * step[k]` of `tensor`; steps may be negative.
    pub fn slice(&mut self, tensor: TensorId, start: &[i64], step: &[i64], shape: &[usize]) -> TensorId {
        let desc = self.desc(tensor);
        self.compute(desc.dtype, shape, |e, i| {
            let from: Vec<ExprId> =
                i.iter().zip(start.iter().zip(step)).map(|(&i, (&lo, &by))| e.affine(i, by, lo)).collect();
            e.load(tensor, &from)
        })
    }

    /// `before[k]` and `after[k]` elements of `value` around each axis; negative amounts cut.
    pub fn pad(&mut self, tensor: TensorId, before: &[i64], after: &[i64], value: Scalar) -> TensorId {
        let desc = self.desc(tensor);
        let sizes: Vec<i64> =
            desc.shape.iter().zip(before.iter().zip(after)).map(|(&n, (&b, &a))| n as i64 + b + a).collect();
        let ok = sizes.len() == desc.shape.len() && sizes.iter().all(|&n| n >= 0);
        self.require(ok, || format!("padding of {:?} by {before:?} and {after:?}", desc.shape));
        let shape: Vec<usize> = sizes.iter().map(|&n| n.max(0) as usize).collect();
        self.compute(desc.dtype, &shape, |e, i| {
            let from: Vec<ExprId> = i.iter().zip(before).map(|(&i, &b)| e.affine(i, 1, -b)).collect();
            let value = e.scalar(desc.dtype, value);
            e.load_padded(tensor, &from, value)
        })
    }

    /// `tensors` joined along `axis`; they agree in everything else.
    pub fn concat(&mut self, tensors: &[TensorId], axis: usize) -> TensorId {
        let descs: Vec<TensorDesc> = tensors.iter().map(|&t| self.desc(t)).collect();
        let Some(first) = descs.first().filter(|d| axis < d.shape.len()) else {
            self.invalid("concat of nothing, or along an axis that does not exist".into());
            return Source::Stage(0);
        };
        let mut shape = first.shape.clone();
        shape[axis] = descs.iter().filter_map(|d| d.shape.get(axis)).sum();
        let dtype = first.dtype;
        self.compute(dtype, &shape, |e, i| {
            // From the last piece to the first, so that the innermost choice is the last piece.
            let mut end: i64 = shape[axis] as i64;
            let mut value: Option<ExprId> = None;
            for (&tensor, desc) in tensors.iter().zip(&descs).rev() {
                let n = desc.shape.get(axis).map_or(0, |&n| n as i64);
                if n == 0 {
                    continue;
                }
                let start = end - n;
                let mut from = i.to_vec();
                from[axis] = e.affine(i[axis], 1, -start);
                let piece = e.load(tensor, &from);
                value = Some(match value {
                    None => piece,
                    Some(rest) => {
                        let bound = e.idx(end);
                        let here = e.lt(i[axis], bound);
                        e.select(here, piece, rest)
                    }
                });
                end = start;
            }
            value.unwrap_or_else(|| e.zero(dtype))
        })
    }

    // ---- operations ----

    /// `op(a)`.
    pub fn un(&mut self, op: UnOp, a: ExprId) -> ExprId {
        use UnOp::*;
        let t = self.dtype(a);
        let ok = match op {
            Not => !t.is_float(),
            Neg | Abs | Sign | Floor | Ceil | Round | Trunc => t.is_number(),
            IsNan | IsInf => true,
            _ => t.is_float(),
        };
        if !ok {
            self.invalid(format!("{op:?} of {t}"));
            return a;
        }
        // Integers are whole already.
        if matches!(op, Floor | Ceil | Round | Trunc) && t.is_int() { a } else { self.compute.arena.un(op, a) }
    }

    /// `a op b`; both of one type.
    pub fn bin(&mut self, op: BinOp, a: ExprId, b: ExprId) -> ExprId {
        use BinOp::*;
        let (t, u) = (self.dtype(a), self.dtype(b));
        let ok = match op {
            And | Or | Xor => !t.is_float(),
            Shl | Shr => t.is_int(),
            Min | Max => true,
            _ => t.is_number(),
        };
        if !ok || t != u {
            self.invalid(format!("{op:?} of {t} and {u}"));
            return a;
        }
        self.compute.arena.bin(op, a, b)
    }

    /// `a op b` as a `bool`; both of one type.
    pub fn cmp(&mut self, op: CmpOp, a: ExprId, b: ExprId) -> ExprId {
        let (t, u) = (self.dtype(a), self.dtype(b));
        if t != u {
            self.invalid(format!("{op:?} of {t} and {u}"));
            return self.bool(false);
        }
        self.compute.arena.cmp(op, a, b)
    }

    /// `cond ? a : b`; only the chosen operand is evaluated.
    pub fn select(&mut self, cond: ExprId, a: ExprId, b: ExprId) -> ExprId {
        let (c, t, u) = (self.dtype(cond), self.dtype(a), self.dtype(b));
        if c != DType::Bool || t != u {
            self.invalid(format!("select by {c} of {t} and {u}"));
            return a;
        }
        self.compute.arena.select(cond, a, b)
    }

    /// `a` as another type: see [`super::scalar::cast`].
    pub fn cast(&mut self, a: ExprId, to: DType) -> ExprId {
        self.cast_with(a, to, false)
    }

    /// As [`ComputeBuilder::cast`]; with `saturate`, float8 overflow gives the largest finite value.
    pub fn cast_with(&mut self, a: ExprId, to: DType, saturate: bool) -> ExprId {
        if !narrow::is_supported(to) {
            self.unsupported(format!("elements of type {to}"));
            return a;
        }
        self.compute.arena.cast(to, saturate, a)
    }

    /// The bits of `a` as another type of the same size.
    pub fn bitcast(&mut self, a: ExprId, to: DType) -> ExprId {
        let from = self.dtype(a);
        if !narrow::is_supported(to) || from.bits() != to.bits() {
            self.unsupported(format!("the bits of {from} as {to}"));
            return a;
        }
        self.compute.arena.bitcast(to, a)
    }

    /// `body(builder, index)` joined over all indices below `sizes`.
    pub fn reduce(
        &mut self,
        op: ReduceOp,
        sizes: &[usize],
        body: impl FnOnce(&mut ComputeBuilder, &[ExprId]) -> ExprId,
    ) -> ExprId {
        let vars: Vec<_> = sizes.iter().map(|&n| self.compute.arena.new_var(0..n as i64)).collect();
        let index: Vec<ExprId> = vars.iter().map(|&v| self.compute.arena.var(v)).collect();
        let body = body(self, &index);
        let t = self.dtype(body);
        let ok = match op {
            ReduceOp::Any | ReduceOp::All => t == DType::Bool,
            ReduceOp::ArgMax { .. } | ReduceOp::ArgMin { .. } => vars.len() == 1,
            ReduceOp::Sum | ReduceOp::Prod => t.is_number(),
            ReduceOp::Max | ReduceOp::Min => true,
        };
        self.require(ok, || format!("{op:?} of {t} over {} variables", sizes.len()));
        if sizes.contains(&0) && !op.is_arg() {
            let identity = super::scalar::identity(op, t);
            return self.compute.arena.constant(t, identity);
        }
        self.compute.arena.reduce(op, vars, body)
    }

    unary! {
        /// `-a`
        neg = Neg;
        /// `|a|`
        abs = Abs;
        /// -1, 0 or 1; zeros and NaN are kept.
        sign = Sign;
        /// Logical or bitwise complement.
        not = Not;
        /// Square root.
        sqrt = Sqrt;
        /// `1 / sqrt(a)`
        rsqrt = Rsqrt;
        /// Exponential.
        exp = Exp;
        /// `exp(a) - 1`
        expm1 = Expm1;
        /// Natural logarithm.
        log = Log;
        /// `log(1 + a)`
        log1p = Log1p;
        /// Sine.
        sin = Sin;
        /// Cosine.
        cos = Cos;
        /// Tangent.
        tan = Tan;
        /// Arc sine.
        asin = Asin;
        /// Arc cosine.
        acos = Acos;
        /// Arc tangent.
        atan = Atan;
        /// Hyperbolic sine.
        sinh = Sinh;
        /// Hyperbolic cosine.
        cosh = Cosh;
        /// Hyperbolic tangent.
        tanh = Tanh;
        /// Inverse hyperbolic sine.
        asinh = Asinh;
        /// Inverse hyperbolic cosine.
        acosh = Acosh;
        /// Inverse hyperbolic tangent.
        atanh = Atanh;
        /// Error function.
        erf = Erf;
        /// `1 / (1 + exp(-a))`
        sigmoid = Sigmoid;
        /// Rounds down.
        floor = Floor;
        /// Rounds up.
        ceil = Ceil;
        /// Rounds to nearest, ties to even.
        round = Round;
        /// Rounds towards zero.
        trunc = Trunc;
        /// Whether `a` is NaN.
        is_nan = IsNan;
        /// Whether `a` is an infinity of either sign.
        is_inf = IsInf;
    }

    binary! {
        /// `a + b`
        add = Add;
        /// `a - b`
        sub = Sub;
        /// `a * b`
        mul = Mul;
        /// `a / b`; integers truncate.
        div = Div;
        /// Remainder with the dividend's sign.
        rem = Rem;
        /// Quotient rounded down.
        floor_div = FloorDiv;
        /// Remainder with the divisor's sign.
        floor_mod = FloorMod;
        /// `a` to the power of `b`.
        pow = Pow;
        /// Minimum; NaN if either is.
        min = Min;
        /// Maximum; NaN if either is.
        max = Max;
        /// Logical or bitwise and.
        and = And;
        /// Logical or bitwise or.
        or = Or;
        /// Logical or bitwise exclusive or.
        xor = Xor;
        /// Shift left.
        shl = Shl;
        /// Shift right.
        shr = Shr;
    }

    compare! {
        /// `a == b`
        eq = Eq;
        /// `a != b`
        ne = Ne;
        /// `a < b`
        lt = Lt;
        /// `a <= b`
        le = Le;
        /// `a > b`
        gt = Gt;
        /// `a >= b`
        ge = Ge;
    }

    /// `max(a, 0)`; NaN stays.
    pub fn relu(&mut self, a: ExprId) -> ExprId {
        let zero = self.zero(self.dtype(a));
        self.max(a, zero)
    }

    /// `1 / a`
    pub fn recip(&mut self, a: ExprId) -> ExprId {
        let one = self.one(self.dtype(a));
        self.div(one, a)
    }

    /// `min(max(a, lo), hi)` by constants; NaN stays.
    pub fn clamp(&mut self, a: ExprId, lo: f64, hi: f64) -> ExprId {
        let t = self.dtype(a);
        let (lo, hi) = (self.float(t, lo), self.float(t, hi));
        let a = self.max(a, lo);
        self.min(a, hi)
    }

    /// `a op c` with a constant of `a`'s type.
    pub fn bin_const(&mut self, op: BinOp, a: ExprId, c: f64) -> ExprId {
        let c = self.float(self.dtype(a), c);
        self.bin(op, a, c)
    }
}
