//! `y = quantise((Conv(x - x_zero_point, w - w_zero_point) + B) x_scale w_scale / y_scale)`.
//!
//! - **C1** `x`, `w`, `y_zero_point` are `i8` or `u8`; each zero point has the type of its tensor; scales are `f32`; `B`
//!   is `i32`
//! - **C2** parameters of `x` and `y` are one number; those of `w` one, or one an output channel
//! - **C3** `B` has one number an output channel
//! - shapes and windows as for [`conv`](super::conv)
//!
//! The sum is taken in `i32`; the quotient is rounded to the nearest integer, halves to even, before the zero point is
//! added.
//! ONNX `QLinearConv`: opset 10.

use super::common::*;
use super::conv_integer::{along_channels, parameter_rule};
use super::pointwise::rule_of_expansion;
use super::quantized::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearConv`.
    pub struct QLinearConv {
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

impl Op for QLinearConv {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        for i in [0, 3, 7] {
            cx.require_dtype("C1", i, BYTES)?;
        }
        cx.same_dtype("C1", [0, 2])?;
        cx.same_dtype("C1", [3, 5])?;
        for i in [1, 4, 6] {
            cx.require_dtype("C1", i, &[DType::F32])?;
        }
        if cx.has(8) {
            cx.require_dtype("C1", 8, &[DType::I32])?;
        }
        for (param, channels) in [(1, false), (2, false), (4, true), (5, true), (6, false), (7, false)] {
            parameter_rule(cx, "C2", param, 3, channels)?;
        }
        if cx.has(8) {
            let (bias, w) = (cx.shape(8)?, cx.shape(3)?);
            cx.require("C3", bias.len() == 1, || format!("`B` has rank {}", bias.len()))?;
            if let Some(rows) = w.first() {
                cx.require_eq("C3", &bias[0], rows)?;
            }
        }
        rule_of_expansion(self, cx)
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at =
            |i: usize| x.get(i).copied().flatten().ok_or_else(|| Error::invalid(format!("operand {i} is missing")));
        let wide = |b: &mut GraphBuilder, v: ValueId| b.op("Cast", attrs! { to: DType::F64 }, &[v]);
        let operands = [Some(at(0)?), Some(at(3)?), Some(at(2)?), Some(at(5)?)];
        let mut sums = b.node("ai.onnx", "ConvInteger", self.attrs(), &operands, 1)?[0];
        if let Ok(bias) = at(8) {
            let Some(bias) = along_channels(b, bias, sums, 1)? else { return Ok(None) };
            sums = b.op("Add", attrs! {}, &[sums, bias])?;
        }
        let (sx, sw, sy) = (wide(b, at(1)?)?, wide(b, at(4)?)?, wide(b, at(6)?)?);
        let factor = b.op("Mul", attrs! {}, &[sx, sw])?;
        let factor = b.op("Div", attrs! {}, &[factor, sy])?;
        let Some(factor) = along_channels(b, factor, sums, 1)? else { return Ok(None) };
        let sums = wide(b, sums)?;
        let scaled = b.op("Mul", attrs! {}, &[sums, factor])?;
        let rounded = b.op("Round", attrs! {}, &[scaled])?;
        let zero = wide(b, at(7)?)?;
        let shifted = b.op("Add", attrs! {}, &[rounded, zero])?;
        // A cast of floats to integers holds them within the type.
        Ok(Some(vec![b.op("CastLike", attrs! {}, &[shifted, at(7)?])?]))
    }
}

op! {
    QLinearConv in "ai.onnx" since [10];
    "x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, B?" => "y";
    summary: "convolution of quantised tensors, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @q_linear_conv([[[10, 12, 14]]], 0.5, 10, [[[1, 2]]], 1.0, 0, 1.0, 5) == [[[7, 10]]]
graph @q_linear_conv(%a: u8[1, 1, 3], %b: f32[], %c: u8[], %d: u8[1, 1, 2], %e: f32[], %f: u8[], %g: f32[], %h: u8[]) -> u8[1, 1, 2] {
  %y = q_linear_conv %a, %b, %c, %d, %e, %f, %g, %h : u8[1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn scales_of_channels_and_a_bias() {
        let s = Tensor::scalar(1.0f32);
        let y = run1(
            "QLinearConv",
            attrs! {},
            &[
                Tensor::from_slice(&[1, 1, 2], &[3u8, 7]),
                s.clone(),
                Tensor::scalar(1u8),
                Tensor::from_slice(&[2, 1, 1], &[1i8, 1]),
                Tensor::from_slice(&[2], &[0.5f32, 2.0]),
                Tensor::from_slice(&[2], &[0i8, 0]),
                s,
                Tensor::scalar(10u8),
                Tensor::from_slice(&[2], &[1i32, 100]),
            ],
        );
        // (2 + 1) / 2 and (6 + 1) / 2 go to even; 2 (2 + 100) and 2 (6 + 100).
        assert_eq!(y.unwrap(), Tensor::from_slice(&[1, 2, 2], &[12u8, 14, 214, 222]));
    }

    #[test]
    fn q_linear_conv_constraints_are_named() {
        let label = |x: DType, sx: &[usize]| {
            let t = |d, s: &[usize]| Type::tensor(d, s);
            let (u, f) = (DType::U8, DType::F32);
            let types =
                [t(x, &[1, 1, 3]), t(f, sx), t(x, &[]), t(u, &[1, 1, 2]), t(f, &[]), t(u, &[]), t(f, &[]), t(u, &[])];
            violated("QLinearConv", attrs! {}, &types)
        };
        assert_eq!(label(DType::I32, &[]).as_deref(), Some("QLinearConv.C1"));
        assert_eq!(label(DType::U8, &[2]).as_deref(), Some("QLinearConv.C2"));
        for bias in [&[][..], &[2], &[1, 1]] {
            let one = || Type::tensor(DType::F32, &[]);
            let byte = |s: &[usize]| Type::tensor(DType::U8, s);
            let types = [
                byte(&[1, 1, 3]),
                one(),
                byte(&[]),
                byte(&[1, 1, 1]),
                one(),
                byte(&[]),
                one(),
                byte(&[]),
                Type::tensor(DType::I32, bias),
            ];
            assert_eq!(violated("QLinearConv", attrs! {}, &types).as_deref(), Some("QLinearConv.C3"), "{bias:?}");
        }
    }
}
