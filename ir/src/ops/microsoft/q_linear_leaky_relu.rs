//! `y = quantise(LeakyRelu(dequantise(x)))`.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, compute, quantise. ONNX Runtime `com.microsoft::QLinearLeakyRelu`, version 1.

use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearLeakyRelu`.
    pub struct QLinearLeakyRelu {
        /// Slope of the negative side.
        alpha: f32 = 0.01f32,
    }
}

impl Op for QLinearLeakyRelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        q_linear::require_one_type(cx, [0, 4])?;
        q_linear::require_numbers(cx, "C2", &[1, 2, 3, 4])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        q_linear::unary(b, x, |b, p| b.op("LeakyRelu", attrs! { alpha: self.alpha }, &[p]).map(Some))
    }
}

op! {
    QLinearLeakyRelu in "com.microsoft" since [1]; "X, X_scale, X_zero_point?, Y_scale, Y_zero_point?" => "Y";
    summary: "LeakyRelu of a quantised tensor, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_q_linear_leaky_relu([0, 10, 14], 0.5, 10, 0.25, 5) == [0, 5, 13]
graph @microsoft_q_linear_leaky_relu(%a: u8[3], %b: f32[], %c: u8[], %d: f32[], %e: u8[]) -> u8[3] {
  %y = microsoft.q_linear_leaky_relu %a, %b, %c, %d, %e {alpha = 0.5} : u8[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, check_numbers};
    use crate::{Tensor, attrs};

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[2], &[1u8, 9]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(5u8),
            Tensor::scalar(1.0f32),
            Tensor::scalar(10u8),
        ]
    }

    #[test]
    fn q_linear_leaky_relu_of_both_sides() {
        let operands = operands();
        check("QLinearLeakyRelu", attrs! { alpha: 0.5f32 }, &operands, &[8.0, 14.0]);
    }

    #[test]
    fn q_linear_leaky_relu_c2_wants_parameters_of_one_number() {
        check_numbers("QLinearLeakyRelu", "C2", &attrs! {}, &operands(), &[1, 2, 3, 4]);
    }
}
