//! `c = quantise(dequantise(a) · dequantise(b))`, with broadcasting.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, compute, quantise. ONNX Runtime `com.microsoft::QLinearMul`, version 1.

use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `QLinearMul` has no attributes.
    pub struct QLinearMul {}
}

impl Op for QLinearMul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        q_linear::require_one_type(cx, [0, 3, 7])?;
        q_linear::require_numbers(cx, "C2", &[1, 2, 4, 5, 6, 7])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        q_linear::binary(b, x, "Mul")
    }
}

op! {
    QLinearMul in "com.microsoft" since [1]; "A, A_scale, A_zero_point?, B, B_scale, B_zero_point?, C_scale, C_zero_point?" => "C";
    summary: "product of quantised tensors, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_q_linear_mul([10, 14], 0.5, 10, [12, 20], 0.5, 10, 0.25, 5) == [5, 45]
graph @microsoft_q_linear_mul(%a: u8[2], %b: f32[], %c: u8[], %d: u8[2], %e: f32[], %f: u8[], %g: f32[], %h: u8[]) -> u8[2] {
  %y = microsoft.q_linear_mul %a, %b, %c, %d, %e, %f, %g, %h : u8[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, check_numbers};
    use crate::{Tensor, attrs};

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[2], &[4u8, 6]),
            Tensor::scalar(0.5f32),
            Tensor::scalar(0u8),
            Tensor::from_slice(&[1], &[5u8]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(1u8),
            Tensor::scalar(2.0f32),
            Tensor::scalar(10u8),
        ]
    }

    #[test]
    fn q_linear_mul_of_two() {
        let operands = operands();
        check("QLinearMul", attrs! {}, &operands, &[14.0, 16.0]);
    }

    #[test]
    fn q_linear_mul_c2_wants_parameters_of_one_number() {
        check_numbers("QLinearMul", "C2", &attrs! {}, &operands(), &[1, 2, 4, 5, 6, 7]);
    }
}
