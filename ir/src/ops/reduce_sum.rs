//! `y = sum x_i` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). An empty sum is 0; integers wrap. ONNX `ReduceSum`: opset 1, 11, 13.

use super::common::*;
use super::lanes::sum;
use super::lowering;
use super::lowering::ReduceOp;
use super::reduce_common::{WIDE, eval_reduce, reduce_rule, upgrade_axes};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceSum`.
    pub struct ReduceSum {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceSum {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, WIDE, self.keepdims, self.noop_with_empty_axes, Some(|a, b| a + b))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_reduce(
            cx,
            self.noop_with_empty_axes,
            |v| sum(v.iter().copied()),
            |v| v.iter().fold(0, |a, &b| a.wrapping_add(b)),
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let Some(axes) = lowering::reduce_axes(cx, self.noop_with_empty_axes)? else { return Ok(Lowering::Host) };
        lowering::reduce(cx, &axes, ReduceOp::Sum, |_, x| x, |_, y| y)
    }
}

op! {
    ReduceSum in "ai.onnx" since [1, 11, 13]; "data, axes?" => "reduced";
    summary: "sum over axes";
    upgrade: |cx| upgrade_axes(cx, 13);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_sum([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [6.0, 15.0]
graph @reduce_sum(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_sum %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_sum_checks_types_and_axes() {
        check_rule("ReduceSum");
    }

    #[test]
    fn reduce_sum_values_and_the_empty_group() {
        assert_eq!(all("ReduceSum", &[1i32, 2, -4]), Tensor::scalar(-1i32));
        assert_eq!(all("ReduceSum", &[0f32; 0]), Tensor::scalar(0f32));
    }
}
