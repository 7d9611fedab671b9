//! `y = |x|`, element by element.
//!
//! - **C1** `x` is a number
//!
//! The least signed integer stays itself (two's complement). ONNX `Abs`: opset 1 (`consumed_inputs`), 6, 13
//! (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Abs` has no attributes.
    pub struct Abs {}
}

impl Op for Abs {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::NUMBERS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_unary(cx, f64::abs, i128::abs)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.abs(x))
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

op! {
    Abs in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "y = |x|";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @abs([-2.0, -0.5, 0.0, 1.5]) == [2.0, 0.5, 0.0, 1.5]
graph @abs(%a: f32[4]) -> f32[4] {
  %y = abs %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn abs_drops_signs() {
        table("Abs", attrs! {}, &[(-2.5, 2.5), (-0.0, 0.0), (f64::NEG_INFINITY, f64::INFINITY), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn abs_wraps_the_least_integer() {
        let y = run1("Abs", attrs! {}, &[crate::Tensor::from_slice(&[2], &[-128i8, -5])]).unwrap();
        assert_eq!(y, crate::Tensor::from_slice(&[2], &[-128i8, 5]));
    }

    #[test]
    fn abs_c1_names_the_types() {
        refuses("Abs", &[DType::Bool]);
    }
}
