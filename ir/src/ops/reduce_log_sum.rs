//! `y = ln(sum x_i)` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). The result of nothing is minus infinity. Integers, which opset 28 took out, are still taken and rounded towards zero. ONNX `ReduceLogSum`: opset 1, 11, 13, 18, 28.

use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use super::reduce_common::{WIDE, eval_reduce_real, reduce_rule, upgrade_axes};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceLogSum`.
    pub struct ReduceLogSum {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceLogSum {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, WIDE, self.keepdims, self.noop_with_empty_axes, None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_reduce_real(cx, self.noop_with_empty_axes, |v| v.iter().sum::<f64>().ln())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if !cx.dtype(0).is_float() {
            return Ok(Lowering::Host);
        }
        let Some(axes) = lowering::reduce_axes(cx, self.noop_with_empty_axes)? else { return Ok(Lowering::Host) };
        lowering::reduce(cx, &axes, ReduceOp::Sum, |_, x| x, |c, y| c.log(y))
    }
}

op! {
    ReduceLogSum in "ai.onnx" since [1, 11, 13, 18 brings "axes noop_with_empty_axes", 28 brings ""];
    "data, axes?" => "reduced";
    summary: "logarithm of the sum over axes";
    upgrade: |cx| upgrade_axes(cx, 18);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_log_sum([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [1.7917595, 2.7080503]
graph @reduce_log_sum(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_log_sum %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_log_sum_checks_types_and_axes() {
        check_rule("ReduceLogSum");
    }

    #[test]
    fn reduce_log_sum_values_and_the_empty_group() {
        assert_eq!(all("ReduceLogSum", &[0.25f32, 0.75]), Tensor::scalar(0f32));
        assert_eq!(all("ReduceLogSum", &[0f32; 0]), Tensor::scalar(f32::NEG_INFINITY));
    }
}
