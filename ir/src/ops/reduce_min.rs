//! `y = min x_i` over groups of elements along axes.
//!
//! Shapes and constraints C1 to C3: see [`reduce_common`](super::reduce_common). NaN wins. The least of nothing is the type's greatest value. ONNX `ReduceMin`: opset 1, 11, 12, 13, 18, 20.

use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use super::reduce_common::{ORDERED, eval_reduce, reduce_rule, upgrade_axes};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReduceMin`.
    pub struct ReduceMin {
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
        /// Whether an empty list of axes reduces nothing instead of everything.
        noop_with_empty_axes: bool = false,
    }
}

impl Op for ReduceMin {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        reduce_rule(cx, ORDERED, self.keepdims, self.noop_with_empty_axes, Some(|a, b| a.min(b)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let dtype = cx.tensor(0)?.dtype();
        let none = dtype.int_range().map_or(1, |r| r.1);
        eval_reduce(
            cx,
            self.noop_with_empty_axes,
            |v| v.iter().fold(f64::INFINITY, |a, &b| if b < a || b.is_nan() { b } else { a }),
            |v| v.iter().copied().min().unwrap_or(none),
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.dtype(0) == DType::Bool {
            return Ok(Lowering::Host);
        }
        let Some(axes) = lowering::reduce_axes(cx, self.noop_with_empty_axes)? else { return Ok(Lowering::Host) };
        lowering::reduce(cx, &axes, ReduceOp::Min, |_, x| x, |_, y| y)
    }
}

op! {
    ReduceMin in "ai.onnx" since [1, 11, 12, 13, 18 brings "axes noop_with_empty_axes", 20 brings "bool"];
    "data, axes?" => "reduced";
    summary: "least element over axes";
    upgrade: |cx| upgrade_axes(cx, 18);
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reduce_min([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1]) == f32[2] [1.0, 4.0]
graph @reduce_min(%a: f32[2, 3], %b: i64[1]) -> f32[u1] {
  %y = reduce_min %a, %b {keepdims = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::reduce_common::testing::*;
    use crate::Tensor;

    #[test]
    fn reduce_min_checks_types_and_axes() {
        check_rule("ReduceMin");
    }

    #[test]
    fn reduce_min_values_and_the_empty_group() {
        assert_eq!(all("ReduceMin", &[1u8, 7, 3]), Tensor::scalar(1u8));
        assert_eq!(all("ReduceMin", &[0f32; 0]), Tensor::scalar(f32::INFINITY));
        assert_eq!(all("ReduceMin", &[0i8; 0]), Tensor::scalar(127i8));
    }
}
