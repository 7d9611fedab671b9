//! `y = quantise(Softmax(dequantise(x)))`.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Before version 13 of `Softmax` (`opset`) all axes from `axis` on are one. Evaluated through `f32`: dequantise, compute,
//! quantise. ONNX Runtime `com.microsoft::QLinearSoftmax`, version 1.

use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearSoftmax`.
    pub struct QLinearSoftmax {
        /// The axis.
        axis: i64 = -1i64,
        /// Version of `Softmax` that is meant.
        opset: i64,
    }
}

impl Op for QLinearSoftmax {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        q_linear::require_one_type(cx, [0, 4])?;
        q_linear::require_numbers(cx, "C2", &[1, 2, 3, 4])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        q_linear::unary(b, x, |b, p| {
            if self.opset >= 13 {
                return b.op("Softmax", attrs! { axis: self.axis }, &[p]).map(Some);
            }
            let shape = b.op("Shape", attrs! {}, &[p])?;
            let rows = b.op("Flatten", attrs! { axis: self.axis }, &[p])?;
            let y = b.op("Softmax", attrs! { axis: 1i64 }, &[rows])?;
            b.op("Reshape", attrs! { allowzero: true }, &[y, shape]).map(Some)
        })
    }
}

op! {
    QLinearSoftmax in "com.microsoft" since [1]; "X, X_scale, x_zero_point?, y_scale, y_zero_point" => "Y";
    summary: "softmax of a quantised tensor, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @softmax([[10, 10]], 0.5, 0, 0.00390625, 0) == [[128, 128]]
graph @softmax(%x: u8[1, 2], %s: f32[], %z: u8[], %t: f32[], %w: u8[]) -> u8[1, 2] {
  %y = microsoft.q_linear_softmax %x, %s, %z, %t, %w {opset = 13} : u8[1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, check_numbers, label};
    use crate::{Tensor, attrs};

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[1, 2, 2], &[5u8, 5, 5, 5]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(3u8),
            Tensor::scalar(0.25f32),
            Tensor::scalar(1u8),
        ]
    }

    #[test]
    fn q_linear_softmax_along_an_axis_or_all_behind_it() {
        let operands = operands();
        check("QLinearSoftmax", attrs! { opset: 13i64 }, &operands, &[3.0; 4]);
        check("QLinearSoftmax", attrs! { opset: 12i64, axis: 1i64 }, &operands, &[2.0; 4]);
    }

    #[test]
    fn q_linear_softmax_c1_wants_bytes() {
        let s = || Some(Tensor::scalar(1.0f32));
        let bad = label("QLinearSoftmax", attrs! { opset: 13i64 }, &[s(), s(), None, s(), s()]);
        assert_eq!(bad.as_deref(), Some("QLinearSoftmax.C1"));
    }

    #[test]
    fn q_linear_softmax_c2_wants_parameters_of_one_number() {
        check_numbers("QLinearSoftmax", "C2", &attrs! { opset: 13i64 }, &operands(), &[1, 2, 3, 4]);
    }
}
