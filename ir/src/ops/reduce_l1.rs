//! `y = sum |x_i|` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). An empty sum is 0; integers wrap. ONNX `ReduceL1`: opset 1, 11, 13, 18.

use super::common::*;
use super::lanes::sum;
use super::lowering;
use super::lowering::ReduceOp;
use super::reduce_common::{WIDE, eval_reduce, reduce_rule, upgrade_axes};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceL1`.
    pub struct ReduceL1 {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceL1 {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, WIDE, self.keepdims, self.noop_with_empty_axes, None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_reduce(
            cx,
            self.noop_with_empty_axes,
            |v| sum(v.iter().map(|x| x.abs())),
            |v| v.iter().map(|x| x.abs()).sum(),
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let Some(axes) = lowering::reduce_axes(cx, self.noop_with_empty_axes)? else { return Ok(Lowering::Host) };
        lowering::reduce(cx, &axes, ReduceOp::Sum, |c, x| c.abs(x), |_, y| y)
    }
}

op! {
    ReduceL1 in "ai.onnx" since [1, 11, 13, 18 brings "axes noop_with_empty_axes"]; "data, axes?" => "reduced";
    summary: "sum of absolute values over axes";
    upgrade: |cx| upgrade_axes(cx, 18);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_l1([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [6.0, 15.0]
graph @reduce_l1(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_l1 %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_l1_checks_types_and_axes() {
        check_rule("ReduceL1");
    }

    #[test]
    fn reduce_l1_values_and_the_empty_group() {
        assert_eq!(all("ReduceL1", &[1i32, -2]), Tensor::scalar(3i32));
        assert_eq!(all("ReduceL1", &[0f32; 0]), Tensor::scalar(0f32));
    }
}
