//! `y = Conv(x - x_zero_point, w - w_zero_point)`: a convolution of 8-bit integers, summed in 32 bits.
//!
//! - **C1** `x` and `w` are `i8` or `u8`; each zero point has the type of its tensor
//! - **C2** `x_zero_point` is one number; `w_zero_point` one, or one an output channel
//! - shapes and windows as for [`conv`](super::conv)
//!
//! Padding is zero after the zero point is taken away. ONNX `ConvInteger`: opset 10.

use super::common::*;
use super::lowering::{BinOp, ComputeBuilder, ExprId, Loops, ReduceOp, TensorId};
use super::pointwise::rule_of_expansion;
use super::quantized::{BYTES, load_parameter};
use super::window::{Fixed, Window, lowered, number, window};
use crate::dtype::DType;
use crate::error::Result;
use crate::lower::{PairForm, PairProduct, Pairs, ZeroPoint};
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ConvInteger`.
    pub struct ConvInteger {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Groups of channels.
        group: Dim = Dim::int(1),
        /// Extents of the kernel; `W`'s.
        kernel_shape: Option<Vec<Dim>>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl Op for ConvInteger {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, BYTES)?;
        cx.require_dtype("C1", 1, BYTES)?;
        cx.same_dtype("C1", [0, 2])?;
        cx.same_dtype("C1", [1, 3])?;
        parameter_rule(cx, "C2", 2, 1, false)?;
        parameter_rule(cx, "C2", 3, 1, true)?;
        rule_of_expansion(self, cx)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (x, w) = (cx.shape(0), cx.shape(1));
        let axes = self.window().fixed(&x[2..], &w[2..])?;
        let groups = number(&self.group)?;
        if (1..=3).contains(&axes.len()) && groups > 0 && !x.contains(&0) && !w.contains(&0) {
            return Ok(self.pairs(cx, &axes, groups));
        }
        let mut l = Loops::new(cx);
        let (x, w) = (l.x(0), l.x(1));
        let zeros = [2, 3].map(|i| cx.has(i).then(|| l.x(i)));
        l.result(|c, i| int_conv(c, (x, zeros[0]), (w, zeros[1]), &axes, groups, i))
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(p), Some(w)) = (at(0), at(1)) else { return Ok(None) };
        let (Some(p), Some(w)) = (centred(b, p, at(2))?, centred(b, w, at(3))?) else { return Ok(None) };
        let sums = b.node("ai.onnx", "Conv", self.attrs(), &[Some(p), Some(w)], 1)?[0];
        Ok(Some(vec![b.op("Cast", attrs! { to: DType::I32 }, &[sums])?]))
    }
}

impl ConvInteger {
    fn window(&self) -> Window<'_> {
        window!(self, ceil = false)
    }

    /// The convolution over pairs of channels.
    fn pairs(&self, cx: &LowerCx<'_>, axes: &[Fixed], groups: usize) -> Lowering {
        let (x, w) = (cx.shape(0), cx.shape(1));
        let (c, m) = (w[1], w[0] / groups);
        let zero = |i: usize| match cx.shape(i).iter().product() {
            _ if !cx.has(i) => ZeroPoint::None,
            1 => ZeroPoint::One(i),
            period => ZeroPoint::Outer { operand: i, period },
        };
        let pairs = |i: usize, outer: usize, inner: &[usize]| {
            let inner = inner.iter().product();
            Pairs { operand: i, dtype: cx.dtype(i), outer, len: c, inner, zero: zero(i + 2) }
        };
        let (lhs, rhs) = (pairs(0, x[0] * groups, &x[2..]), pairs(1, w[0], &w[2..]));
        let form = PairForm::Conv(lowered(axes, x[0], groups, lhs.n_pairs(), m));
        Lowering::Pairs(Box::new(PairProduct { lhs, rhs, form }))
    }
}

/// `sum (x - x_zero) (w - w_zero)` over a window in `i32`, at index `i` of the result `[n, channel, window…]`. Padding
/// is zero after centring: the zero point is read there.
fn int_conv(
    c: &mut ComputeBuilder,
    (x, x_zero): (TensorId, Option<TensorId>),
    (w, w_zero): (TensorId, Option<TensorId>),
    axes: &[Fixed],
    groups: usize,
    i: &[ExprId],
) -> ExprId {
    let shape = c.shape(w);
    let per_group = c.idx((shape[0] / groups.max(1)).max(1) as i64);
    c.reduce(ReduceOp::Sum, &shape[1..], |c, r| {
        let group = c.bin(BinOp::FloorDiv, i[1], per_group);
        let first = c.affine(group, shape[1] as i64, 0);
        let mut index = vec![i[0], c.add(first, r[0])];
        for (a, axis) in axes.iter().enumerate() {
            let start = c.affine(i[2 + a], axis.stride as i64, -(axis.begin as i64));
            let tap = c.affine(r[1 + a], axis.dilation as i64, 0);
            index.push(c.add(start, tap));
        }
        let w_index: Vec<ExprId> = [i[1]].into_iter().chain(r.iter().copied()).collect();
        let narrow = c.desc(x).dtype;
        let zero = x_zero.and_then(|z| load_parameter(c, z, i[1])).unwrap_or_else(|| c.zero(narrow));
        let v = c.load_padded(x, &index, zero);
        let (v, zero) = (c.cast(v, DType::I32), c.cast(zero, DType::I32));
        let v = c.sub(v, zero);
        let k = c.load(w, &w_index);
        let mut k = c.cast(k, DType::I32);
        if let Some(zero) = w_zero.and_then(|z| load_parameter(c, z, i[1])) {
            let zero = c.cast(zero, DType::I32);
            k = c.sub(k, zero);
        }
        c.mul(v, k)
    })
}

/// A parameter of a convolution at operand `param`: one number, or, for weights at operand `w`, one an output channel.
pub fn parameter_rule(cx: &mut RuleCx<'_>, label: &'static str, param: usize, w: usize, channels: bool) -> RuleResult {
    if !cx.has(param) {
        return Ok(());
    }
    let shape = cx.shape(param)?;
    cx.require(label, shape.len() <= 1, || format!("operand {param} has rank {}", shape.len()))?;
    let one = Dim::int(1);
    for d in &shape {
        let ok = if channels { Cond::eq(d, &one).or(&Cond::eq(d, &cx.dim(w, 0)?)) } else { Cond::eq(d, &one) };
        cx.require_that(label, ok)?;
    }
    Ok(())
}

/// `x - zero` in `f64`, in which 8-bit products are summed exactly; none where a rank is not known.
pub fn centred(b: &mut GraphBuilder, x: ValueId, zero: Option<ValueId>) -> Result<Option<ValueId>> {
    let wide = b.op("Cast", attrs! { to: DType::F64 }, &[x])?;
    let Some(zero) = zero else { return Ok(Some(wide)) };
    let zero = b.op("Cast", attrs! { to: DType::F64 }, &[zero])?;
    let Some(zero) = along_channels(b, zero, wide, 0)? else { return Ok(None) };
    Ok(Some(b.op("Sub", attrs! {}, &[wide, zero])?))
}

/// A parameter of one number or of one a channel, with axes behind it so that it broadcasts along axis `axis` of `to`.
///
/// # Errors
/// When a rule refuses.
pub fn along_channels(b: &mut GraphBuilder, param: ValueId, to: ValueId, axis: i64) -> Result<Option<ValueId>> {
    let rank = |b: &GraphBuilder, v: ValueId| b.ty(v).as_tensor().and_then(|t| t.shape.dims().map(<[Dim]>::len));
    let (Some(have), Some(want)) = (rank(b, param), rank(b, to)) else { return Ok(None) };
    if have == 0 {
        return Ok(Some(param));
    }
    let axes: Vec<i64> = (1..want as i64 - axis).collect();
    let axes = b.ints(&axes);
    Ok(Some(b.op("Unsqueeze", attrs! {}, &[param, axes])?))
}

op! {
    ConvInteger in "ai.onnx" since [10]; "x, w, x_zero_point?, w_zero_point?" => "y";
    summary: "convolution of 8-bit integers in 32 bits";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @conv_integer([[[1, 2, 3]]], [[[1, 2]]], 1) == [[[2, 5]]]
graph @conv_integer(%a: u8[1, 1, 3], %b: u8[1, 1, 2], %c: u8[]) -> i32[1, 1, 2] {
  %y = conv_integer %a, %b, %c : i32[1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn padding_is_zero_after_centring() {
        let x = Tensor::from_slice(&[1, 1, 2], &[3u8, 5]);
        let w = Tensor::from_slice(&[2, 1, 2], &[1u8, 1, 2, 3]);
        let (zx, zw) = (Tensor::scalar(1u8), Tensor::from_slice(&[2], &[0u8, 1]));
        let y = run1("ConvInteger", attrs! { pads: vec![1i64, 0] }, &[x, w, zx, zw]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 2, 2], &[2i32, 6, 4, 10]));
    }

    #[test]
    fn conv_integer_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let u = DType::U8;
        let label = |types: &[Type]| violated("ConvInteger", attrs! {}, types);
        let (x, w) = (t(u, &[1, 1, 3]), t(u, &[1, 1, 2]));
        assert_eq!(label(&[t(DType::F32, &[1, 1, 3]), w.clone()]).as_deref(), Some("ConvInteger.C1"));
        assert_eq!(label(&[x, w, t(u, &[2])]).as_deref(), Some("ConvInteger.C2"));
    }
}
