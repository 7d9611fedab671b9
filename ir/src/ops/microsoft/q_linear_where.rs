//! `Z = quantise(condition ? dequantise(X) : dequantise(Y))`, with broadcasting.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, choose, quantise. ONNX Runtime `com.microsoft::QLinearWhere`, version 1.

use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::ops::quantized::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `QLinearWhere` has no attributes.
    pub struct QLinearWhere {}
}

impl Op for QLinearWhere {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        q_linear::require_one_type(cx, [1, 4, 8])?;
        q_linear::require_numbers(cx, "C2", &[2, 3, 5, 6, 7, 8])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let Some(condition) = at(0) else { return Ok(None) };
        let p = dequantize(b, at(1), at(2), at(3), 1)?;
        let q = dequantize(b, at(4), at(5), at(6), 1)?;
        let z = b.op("Where", attrs! {}, &[condition, p, q])?;
        Ok(Some(vec![quantize(b, z, at(7), at(8), at(1))?]))
    }
}

op! {
    QLinearWhere in "com.microsoft" since [1]; "condition, X, x_scale, x_zero_point, Y, y_scale, y_zero_point, z_scale, z_zero_point" => "Z";
    summary: "choice between quantised tensors, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @choose([true, false], [1, 2], 1.0, 0, [3, 4], 1.0, 0, 0.5, 0) == [2, 8]
graph @choose(%c: bool[2], %x: u8[2], %a: f32[], %b: u8[], %y: u8[2], %d: f32[], %e: u8[], %f: f32[], %g: u8[]) -> u8[2] {
  %0 = microsoft.q_linear_where %c, %x, %a, %b, %y, %d, %e, %f, %g : u8[2]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, check_numbers, label};
    use crate::{Tensor, attrs};

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_bools(&[2], [true, false]),
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
    fn q_linear_where_requantises_both() {
        let operands = operands();
        check("QLinearWhere", attrs! {}, &operands, &[11.0, 12.0]);
        let floats: Vec<_> =
            operands.iter().map(|t| Some(if t.rank() == 0 { t.clone() } else { operands[0].clone() })).collect();
        assert_eq!(label("QLinearWhere", attrs! {}, &floats).as_deref(), Some("QLinearWhere.C1"));
    }

    #[test]
    fn q_linear_where_c2_wants_parameters_of_one_number() {
        check_numbers("QLinearWhere", "C2", &attrs! {}, &operands(), &[2, 3, 5, 6, 7, 8]);
    }
}
