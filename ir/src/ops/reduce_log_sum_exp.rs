//! `y = ln(sum exp(x_i))` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). The greatest element is taken out first, so that nothing overflows; the result of nothing is minus infinity. Integers, which opset 28 took out, are still taken and rounded towards zero. ONNX `ReduceLogSumExp`: opset 1, 11, 13, 18, 28.

use super::common::*;
use super::reduce_common::{WIDE, eval_reduce_real, reduce_rule, upgrade_axes};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceLogSumExp`.
    pub struct ReduceLogSumExp {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceLogSumExp {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, WIDE, self.keepdims, self.noop_with_empty_axes, None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_reduce_real(cx, self.noop_with_empty_axes, log_sum_exp)
    }
}

/// `ln(sum exp(v))` without overflow; infinities pass through.
fn log_sum_exp(v: &[f64]) -> f64 {
    let max = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shift = if max.is_finite() { max } else { 0.0 };
    v.iter().map(|x| (x - shift).exp()).sum::<f64>().ln() + shift
}

op! {
    ReduceLogSumExp in "ai.onnx" since [1, 11, 13, 18 brings "axes noop_with_empty_axes", 28 brings ""];
    "data, axes?" => "reduced";
    summary: "logarithm of the sum of exponentials over axes";
    upgrade: |cx| upgrade_axes(cx, 18);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_log_sum_exp([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [3.407606, 6.407606]
graph @reduce_log_sum_exp(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_log_sum_exp %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_log_sum_exp_checks_types_and_axes() {
        check_rule("ReduceLogSumExp");
    }

    #[test]
    fn reduce_log_sum_exp_values_and_the_empty_group() {
        assert_eq!(all("ReduceLogSumExp", &[1000f32]), Tensor::scalar(1000f32));
        assert_eq!(all("ReduceLogSumExp", &[0f32; 0]), Tensor::scalar(f32::NEG_INFINITY));
    }
}
