//! `y = quantise(Conv(dequantise(x), dequantise(w)) + bias)`, with the channels first or last.
//!
//! With `channels_last`, `x: T[n, spatial…, c]` and `y: T[n, spatial…, m]`; `w` stays `[m, c, kernel…]`.
//! Constraints, bias and rounding as for [`q_linear_conv`](crate::ops::q_linear_conv).
//! ONNX Runtime `com.microsoft::QLinearConv`, version 1.

use super::layout::{channels_first, channels_last};
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearConv`.
    pub struct QLinearConv {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Whether the channels are the last axis.
        channels_last: bool = false,
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Groups of channels.
        group: Dim = Dim::ONE,
        /// Extents of the kernel; `w`'s.
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
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let mut attrs = self.attrs();
        attrs.remove("channels_last");
        let mut operands = x.to_vec();
        if self.channels_last {
            let Some(image) = x.first().copied().flatten() else { return Ok(None) };
            operands[0] = channels_first(b, image)?;
            if operands[0].is_none() {
                return Ok(None);
            }
        }
        let y = b.node("ai.onnx", "QLinearConv", attrs, &operands, 1)?[0];
        let y = if self.channels_last { channels_last(b, y)? } else { Some(y) };
        Ok(y.map(|y| vec![y]))
    }
}

op! {
    QLinearConv in "com.microsoft" since [1]; "x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, B?" => "y";
    summary: "convolution of quantised tensors, channels first or last, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @last([[[10], [12], [14]]], 0.5, 10, [[[1, 2]]], 1.0, 0, 1.0, 5) == [[[7], [10]]]
graph @last(%a: u8[1, 3, 1], %b: f32[], %c: u8[], %d: u8[1, 1, 2], %e: f32[], %f: u8[], %g: f32[], %h: u8[]) -> u8[1, 2, 1] {
  %y = microsoft.q_linear_conv %a, %b, %c, %d, %e, %f, %g, %h {channels_last = 1} : u8[1, 2, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::check;
    use crate::{Tensor, attrs};

    #[test]
    fn q_linear_conv_with_channels_last() {
        let one = || Tensor::scalar(1.0f32);
        let zero = || Tensor::scalar(0u8);
        let operands = [
            Tensor::from_slice(&[1, 2, 2], &[1u8, 2, 3, 4]),
            one(),
            zero(),
            Tensor::from_slice(&[1, 2, 1], &[1u8, 10]),
            one(),
            zero(),
            one(),
            zero(),
        ];
        check("QLinearConv", attrs! { channels_last: true }, &operands, &[21.0, 43.0]);
        check("QLinearConv", attrs! {}, &operands, &[31.0, 42.0]);
    }
}
