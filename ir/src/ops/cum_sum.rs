//! `y_i = ` the sum of `x_0 … x_i` along one axis; of `x_0 … x_(i-1)` with `exclusive`; from the end with `reverse`.
//!
//! - **C1** `x` holds 32- or 64-bit integers or floats
//! - **C2** `axis` is an `i32` or `i64` scalar (or has one element)
//! - **C3** it is in `-r..r`
//!
//! Integers wrap. ONNX `CumSum`: opset 11, 14.

use super::common::*;
use super::scan_common::{cumulate, cumulate_lowering, cumulate_rule};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `CumSum`.
    pub struct CumSum {
        /// Whether an element's own value is left out.
        exclusive: bool = false,
        /// Whether the walk is from the end.
        reverse: bool = false,
    }
}

impl Op for CumSum {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cumulate_rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        cumulate(cx, self.exclusive, self.reverse, (0.0, |a, b| a + b), (0, |a, b| a.wrapping_add(b)))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        cumulate_lowering(cx, self.exclusive, self.reverse, false)
    }
}

op! {
    CumSum in "ai.onnx" since [11, 14 brings "f16 bf16"]; "x, axis" => "y";
    summary: "running sum along an axis";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @cum_sum([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], 1) == [[1.0, 3.0, 6.0], [4.0, 9.0, 15.0]]
graph @cum_sum(%a: f32[2, 3], %b: i64[]) -> f32[2, 3] {
  %y = cum_sum %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn cum_sum_runs_both_ways_with_and_without_itself() {
        let x = Tensor::from_slice(&[3], &[2i32, 3, 4]);
        let y = |exclusive: bool, reverse: bool| {
            let a = attrs! { exclusive: exclusive, reverse: reverse };
            run1("CumSum", a, &[x.clone(), Tensor::scalar(-1i64)]).unwrap().to_i64s().unwrap()
        };
        assert_eq!(y(false, false), [2, 5, 9]);
        assert_eq!(y(true, true), [7, 4, 0]);
    }

    #[test]
    fn cum_sum_constraints_are_named() {
        let axis = |d, s: &[usize]| Type::tensor(d, s);
        let bad = |d, a: Type| violated("CumSum", attrs! {}, &[Type::tensor(d, &[2]), a]);
        assert_eq!(bad(DType::I8, axis(DType::I64, &[])).as_deref(), Some("CumSum.C1"));
        assert_eq!(bad(DType::F32, axis(DType::F32, &[])).as_deref(), Some("CumSum.C2"));
        let wrong = run1("CumSum", attrs! {}, &[Tensor::scalar(1f32), Tensor::scalar(0i64)]).unwrap_err();
        assert_eq!(wrong.label(), Some("CumSum.C3"));
    }
}
