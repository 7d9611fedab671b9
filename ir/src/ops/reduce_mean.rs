//! `y = (sum x_i) / n` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). The mean of nothing is NaN (0 for integers, whose means are rounded towards zero). ONNX `ReduceMean`: opset 1, 11, 13, 18.

use super::common::*;
use super::lowering;
use super::lowering::{BinOp, ReduceOp};
use super::reduce_common::{WIDE, eval_reduce, reduce_rule, upgrade_axes};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceMean`.
    pub struct ReduceMean {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceMean {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, WIDE, self.keepdims, self.noop_with_empty_axes, None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_reduce(
            cx,
            self.noop_with_empty_axes,
            |v| v.iter().sum::<f64>() / v.len() as f64,
            |v| v.iter().sum::<i128>() / (v.len() as i128).max(1),
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if !cx.dtype(0).is_float() {
            return Ok(Lowering::Host);
        }
        let Some(axes) = lowering::reduce_axes(cx, self.noop_with_empty_axes)? else { return Ok(Lowering::Host) };
        let n: usize = axes.iter().map(|&a| cx.shape(0)[a]).product();
        let scale = 1.0 / n as f64;
        lowering::reduce(cx, &axes, ReduceOp::Sum, |_, x| x, |c, y| c.bin_const(BinOp::Mul, y, scale))
    }
}

op! {
    ReduceMean in "ai.onnx" since [1, 11, 13, 18 brings "axes noop_with_empty_axes"]; "data, axes?" => "reduced";
    summary: "mean over axes";
    upgrade: |cx| upgrade_axes(cx, 18);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_mean([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [2.0, 5.0]
graph @reduce_mean(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_mean %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_mean_checks_types_and_axes() {
        check_rule("ReduceMean");
    }

    #[test]
    fn reduce_mean_values_and_the_empty_group() {
        assert_eq!(all("ReduceMean", &[1f32, 2.0, 6.0]), Tensor::scalar(3f32));
        assert_eq!(all("ReduceMean", &[-3i32, 0]), Tensor::scalar(-1i32));
    }
}
