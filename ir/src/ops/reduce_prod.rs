//! `y = prod x_i` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). An empty product is 1; integers wrap. ONNX `ReduceProd`: opset 1, 11, 13, 18.

use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use super::reduce_common::{WIDE, eval_reduce, reduce_rule, upgrade_axes};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceProd`.
    pub struct ReduceProd {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceProd {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, WIDE, self.keepdims, self.noop_with_empty_axes, Some(|a, b| a * b))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_reduce(
            cx,
            self.noop_with_empty_axes,
            |v| v.iter().product(),
            |v| v.iter().fold(1, |a, &b| a.wrapping_mul(b)),
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let Some(axes) = lowering::reduce_axes(cx, self.noop_with_empty_axes)? else { return Ok(Lowering::Host) };
        lowering::reduce(cx, &axes, ReduceOp::Prod, |_, x| x, |_, y| y)
    }
}

op! {
    ReduceProd in "ai.onnx" since [1, 11, 13, 18 brings "axes noop_with_empty_axes"]; "data, axes?" => "reduced";
    summary: "product over axes";
    upgrade: |cx| upgrade_axes(cx, 18);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_prod([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [6.0, 120.0]
graph @reduce_prod(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_prod %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_prod_checks_types_and_axes() {
        check_rule("ReduceProd");
    }

    #[test]
    fn reduce_prod_values_and_the_empty_group() {
        assert_eq!(all("ReduceProd", &[2i64, 3, -4]), Tensor::scalar(-24i64));
        assert_eq!(all("ReduceProd", &[0f32; 0]), Tensor::scalar(1f32));
    }
}
