//! `y = ` the index of the least element along one axis.
//!
//! - **C1** `data` is a tensor of numbers
//! - **C2** `-r <= axis < r`
//! - **C3** the axis is not empty
//!
//! Of equals the first counts, or with `select_last_index` the last; NaN wins. ONNX `ArgMin`: opset 1, 11 (negative
//! axis), 12 (`select_last_index`), 13.

use super::arg_common::{arg_rule, eval_arg};
use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ArgMin`.
    pub struct ArgMin {
        /// Axis, `-r..r`.
        axis: i64 = 0i64,
        /// Whether the axis stays, with extent 1.
        keepdims: bool = true,
        /// Whether of equals the last counts.
        select_last_index: bool = false,
    }
}

impl Op for ArgMin {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        arg_rule(cx, self.axis, self.keepdims)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_arg(cx, self.axis, self.select_last_index, |a, b| a < b, |a, b| a < b)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.shape(0).contains(&0) {
            return Ok(Lowering::Host);
        }
        let axis = normal_axis(self.axis, cx.shape(0).len());
        lowering::reduce(cx, &[axis], ReduceOp::ArgMin { last: self.select_last_index }, |_, x| x, |_, y| y)
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

op! {
    ArgMin in "ai.onnx" since [1, 11, 12, 13]; "data" => "reduced";
    summary: "index of the least element along an axis";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @arg_min([[2.0, 1.0], [3.0, 10.0]]) == [1, 0]
graph @arg_min(%a: f32[2, 2]) -> i64[2] {
  %y = arg_min %a {axis = 1, keepdims = 0} : i64[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn arg_min_picks_first_or_last_of_equals() {
        let x = Tensor::from_slice(&[4], &[7i32, 2, 2, 9]);
        let at = |last: bool| {
            run1("ArgMin", attrs! { select_last_index: last, keepdims: false }, std::slice::from_ref(&x)).unwrap()
        };
        assert_eq!((at(false), at(true)), (Tensor::scalar(1i64), Tensor::scalar(2i64)));
    }

    #[test]
    fn arg_min_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("ArgMin", attrs! { axis: 1i64 }, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::String, &[1, 1]).as_deref(), Some("ArgMin.C1"));
        assert_eq!(bad(DType::F32, &[1]).as_deref(), Some("ArgMin.C2"));
        assert_eq!(bad(DType::F32, &[1, 0]).as_deref(), Some("ArgMin.C3"));
    }
}
