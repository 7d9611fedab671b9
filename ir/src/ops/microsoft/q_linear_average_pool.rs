//! `y = quantise(AveragePool(dequantise(x)))`.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, compute, quantise. ONNX Runtime `com.microsoft::QLinearAveragePool`, version 1.

use super::layout::{channels_first, channels_last};
use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearAveragePool`.
    pub struct QLinearAveragePool {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Whether the number of windows is rounded up.
        ceil_mode: bool = false,
        /// Whether the channels are the last axis.
        channels_last: bool = false,
        /// Whether padding counts as zeros.
        count_include_pad: bool = false,
        /// Extents of the window.
        kernel_shape: Vec<Dim>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl Op for QLinearAveragePool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        q_linear::require_one_type(cx, [0, 4])?;
        q_linear::require_numbers(cx, "C2", &[1, 2, 3, 4])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        q_linear::unary(b, x, |b, p| {
            let p = if self.channels_last { channels_first(b, p)? } else { Some(p) };
            let Some(p) = p else { return Ok(None) };
            let mut attrs = self.attrs();
            attrs.remove("channels_last");
            let y = b.op("AveragePool", attrs, &[p])?;
            if self.channels_last { channels_last(b, y) } else { Ok(Some(y)) }
        })
    }
}

op! {
    QLinearAveragePool in "com.microsoft" since [1]; "X, x_scale, x_zero_point?, y_scale, y_zero_point?" => "Y";
    summary: "means over windows of a quantised tensor, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_q_linear_average_pool([[[[10, 14, 18]]]], 0.5, 10, 0.5, 10) == [[[[12, 16]]]]
graph @microsoft_q_linear_average_pool(%a: u8[1, 1, 1, 3], %b: f32[], %c: u8[], %d: f32[], %e: u8[]) -> u8[1, 1, 1, 2] {
  %y = microsoft.q_linear_average_pool %a, %b, %c, %d, %e {kernel_shape = [1, 2]} : u8[1, 1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::check_numbers;
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[1, 1, 2], &[3u8, 7]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(1u8),
            Tensor::scalar(2.0f32),
            Tensor::scalar(0u8),
        ]
    }

    #[test]
    fn q_linear_average_pool_of_one_window() {
        let operands: Vec<_> = operands().into_iter().map(|t| Some(Value::from(t))).collect();
        let y = run("com.microsoft", "QLinearAveragePool", attrs! { kernel_shape: vec![2i64] }, &operands, 1).unwrap();
        let want = [2.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }

    #[test]
    fn q_linear_average_pool_c2_wants_parameters_of_one_number() {
        check_numbers("QLinearAveragePool", "C2", &attrs! { kernel_shape: vec![2i64] }, &operands(), &[1, 2, 3, 4]);
    }
}
