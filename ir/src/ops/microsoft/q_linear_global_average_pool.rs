//! `y = quantise(GlobalAveragePool(dequantise(x)))`.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, compute, quantise. ONNX Runtime `com.microsoft::QLinearGlobalAveragePool`, version 1.

use super::layout::{channels_first, channels_last};
use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearGlobalAveragePool`.
    pub struct QLinearGlobalAveragePool {
        /// Whether the channels are the last axis.
        channels_last: bool = false,
    }
}

impl Op for QLinearGlobalAveragePool {
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
            let y = b.op("GlobalAveragePool", attrs! {}, &[p])?;
            if self.channels_last { channels_last(b, y) } else { Ok(Some(y)) }
        })
    }
}

op! {
    QLinearGlobalAveragePool in "com.microsoft" since [1]; "X, x_scale, x_zero_point, y_scale, y_zero_point" => "Y";
    summary: "mean over all positions of a quantised tensor, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_q_linear_global_average_pool([[[[10, 14]]]], 0.5, 10, 0.5, 10) == [[[[12]]]]
graph @microsoft_q_linear_global_average_pool(%a: u8[1, 1, 1, 2], %b: f32[], %c: u8[], %d: f32[], %e: u8[]) -> u8[1, 1, 1, 1] {
  %y = microsoft.q_linear_global_average_pool %a, %b, %c, %d, %e : u8[1, 1, 1, 1]
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
            Tensor::from_slice(&[1, 2, 1], &[3u8, 7]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(1u8),
            Tensor::scalar(2.0f32),
            Tensor::scalar(0u8),
        ]
    }

    #[test]
    fn q_linear_global_average_pool_of_both_layouts() {
        let operands: Vec<_> = operands().into_iter().map(|t| Some(Value::from(t))).collect();
        let y = run("com.microsoft", "QLinearGlobalAveragePool", attrs! { channels_last: 1i64 }, &operands, 1).unwrap();
        let want = [2.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }

    #[test]
    fn q_linear_global_average_pool_c2_wants_parameters_of_one_number() {
        check_numbers("QLinearGlobalAveragePool", "C2", &attrs! {}, &operands(), &[1, 2, 3, 4]);
    }
}
