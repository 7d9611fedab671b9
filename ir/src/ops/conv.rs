//! `Y = Conv(X, W, B)`: cross-correlation over any number of spatial axes, in groups.
//!
//! `X: T[n, g c, spatial…]`, `W: T[g m, c, kernel…]`, `B: T[g m]`, `Y: T[n, g m, windows…]`.
//!
//! - **C1** one element type, a float
//! - **C2** `X` and `W` have one rank of 3 or more, `B` rank 1
//! - **C3** `group` is positive and divides the channels of `X` into as many as `W` has, and the rows of `W`
//! - **C4** `kernel_shape`, where given, is `W`'s
//! - **C5** the windows: lists as long as the spatial rank, sizes positive, padding not negative, no window larger than
//!   the padded input
//! - **C6** `B` has one element an output channel
//!
//! ONNX `Conv`: opset 1, 11 (defaults of strides and dilations), 22 (bfloat16).

use super::common::*;
use super::window::{Axis, Window, for_each_window, lowered, window};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Conv`.
    pub struct Conv {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Groups of channels.
        group: Dim = Dim::ONE,
        /// Extents of the kernel; `W`'s.
        kernel_shape: Option<Vec<Dim>>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl Conv {
    fn window(&self) -> Window<'_> {
        window!(self, ceil = false)
    }
}

/// Checks C1 to C6 (without the channels of the transposed form) and gives shapes of `x`, `w` and the axes.
fn check(op: &Conv, cx: &mut RuleCx<'_>) -> RuleResult<(Vec<Dim>, Vec<Dim>, Vec<Axis>)> {
    let (x, w) = (cx.shape(0)?, cx.shape(1)?);
    cx.require("C2", x.len() >= 3 && x.len() == w.len(), || format!("ranks are {} and {}", x.len(), w.len()))?;
    cx.require_that("C3", Cond::le(&Dim::ONE, &op.group))?;
    cx.require_eq("C3", &x[1], &(&w[1] * &op.group))?;
    cx.require_eq("C3", &w[0].modulo(&op.group), &Dim::ZERO)?;
    if let Some(k) = &op.kernel_shape {
        cx.require("C4", k.len() + 2 == w.len(), || format!("`kernel_shape` has {} elements", k.len()))?;
        for (k, w) in k.iter().zip(&w[2..]) {
            cx.require_eq("C4", k, w)?;
        }
    }
    let axes = op.window().rule(cx, "C5", &x[2..], &w[2..])?;
    if cx.has(2) {
        let b = cx.shape(2)?;
        cx.require("C2", b.len() == 1, || format!("B has rank {}", b.len()))?;
        cx.require_eq("C6", &b[0], &w[0])?;
    }
    Ok((x, w, axes))
}

impl Op for Conv {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", 0..3)?;
        let (x, w, axes) = check(self, cx)?;
        let mut shape = vec![x[0].clone(), w[0].clone()];
        shape.extend(axes.into_iter().map(|a| a.out));
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, w) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let axes = self.window().fixed(&x.shape()[2..], &w.shape()[2..])?;
        let (c, rows) = (w.shape()[1], w.shape()[0]);
        let groups = super::window::number(&self.group)?;
        let m = rows / groups;
        let (xv, wv) = (x.floats()?, w.floats()?);
        let bias = cx.tensor_opt(2)?.map(Tensor::floats).transpose()?;
        let plane: usize = x.shape()[2..].iter().product();
        let taps_n: usize = w.shape()[2..].iter().product();
        let windows: usize = shape[2..].iter().product();
        let mut y = vec![0.0; shape.iter().product()];
        let mut at = 0;
        for_each_window(&axes, |_, taps| {
            for n in 0..shape[0] {
                for row in 0..rows {
                    let mut sum = bias.as_ref().map_or(0.0, |b| b[row]);
                    for ch in 0..c {
                        let (x0, w0) = ((n * groups * c + row / m * c + ch) * plane, (row * c + ch) * taps_n);
                        for &(k, i) in taps {
                            sum += xv[x0 + i] * wv[w0 + k];
                        }
                    }
                    y[(n * rows + row) * windows + at] = sum;
                }
            }
            at += 1;
            cx.env.check()
        })?;
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.dtype(0) != DType::F32 {
            return Ok(Lowering::Host);
        }
        let (x, w) = (cx.shape(0), cx.shape(1));
        let axes = self.window().fixed(&x[2..], &w[2..])?;
        let groups = super::window::number(&self.group)?;
        let conv = lowered(&axes, x[0], groups, w[1], w[0] / groups);
        Ok(Lowering::Conv(crate::lower::Conv { bias: cx.has(2), ..conv }))
    }
}

op! {
    Conv in "ai.onnx" since [1, 11, 22 brings "bf16"]; "X, W, B?" => "Y";
    summary: "convolution (cross-correlation) with padding, strides, dilations and groups";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @conv([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]], [[[[1.0, 0.0], [0.0, -1.0]]]], [100.0]) == [[[[96.0, 96.0], [96.0, 96.0]]]]
graph @conv(%a: f32[1, 1, 3, 3], %b: f32[1, 1, 2, 2], %c: f32[1]) -> f32[1, 1, 2, 2] {
  %y = conv %a, %b, %c : f32[1, 1, 2, 2]
  return %y
}
// run: @conv_grouped([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], [[[1.0, 2.0]], [[3.0, 4.0]]]) == [[[2.0, 5.0, 8.0], [16.0, 32.0, 39.0]]]
graph @conv_grouped(%a: f32[1, 2, 3], %b: f32[2, 1, 2]) -> f32[1, 2, 3] {
  %y = conv %a, %b {group = 2, pads = [1, 0]} : f32[1, 2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn conv_pads_strides_and_adds_bias() {
        let x = Tensor::from_slice(&[1, 1, 3], &[1.0f32, 2.0, 3.0]);
        let w = Tensor::from_slice(&[1, 1, 2], &[1.0f32, 10.0]);
        let b = Tensor::from_slice(&[1], &[0.5f32]);
        let y = run1("Conv", attrs! { pads: vec![1, 0], strides: vec![2] }, &[x, w, b]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 2], &[10.5f32, 32.5]));
    }

    #[test]
    fn conv_keeps_symbols() {
        let x = Fact::of(Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(3), Dim::sym("h"), Dim::sym("h")]));
        let w = Fact::of(Type::tensor(DType::F32, &[8, 3, 3, 3]));
        let y = infer1("Conv", attrs! { pads: vec![1, 1, 1, 1] }, &[x, w]).unwrap();
        let want = vec![Dim::sym("n"), Dim::int(8), Dim::sym("h"), Dim::sym("h")];
        assert_eq!(y.ty, Type::ranked(DType::F32, want));
    }

    #[test]
    fn conv_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let (x, w) = (f(&[1, 4, 5]), f(&[2, 4, 3]));
        let bad = |a: crate::Attrs, t: &[Type]| violated("Conv", a, t);
        let half = Type::tensor(DType::F16, &[2, 4, 3]);
        assert_eq!(bad(attrs! {}, &[x.clone(), half]).as_deref(), Some("Conv.C1"));
        assert_eq!(bad(attrs! {}, &[x.clone(), f(&[2, 4])]).as_deref(), Some("Conv.C2"));
        assert_eq!(bad(attrs! { group: 3i64 }, &[x.clone(), w.clone()]).as_deref(), Some("Conv.C3"));
        assert_eq!(bad(attrs! { kernel_shape: vec![2] }, &[x.clone(), w.clone()]).as_deref(), Some("Conv.C4"));
        assert_eq!(bad(attrs! { strides: vec![0] }, &[x.clone(), w.clone()]).as_deref(), Some("Conv.C5"));
        assert_eq!(bad(attrs! { dilations: vec![3] }, &[x.clone(), w.clone()]).as_deref(), Some("Conv.C5"));
        assert_eq!(bad(attrs! {}, &[x, w, f(&[3])]).as_deref(), Some("Conv.C6"));
    }
}
