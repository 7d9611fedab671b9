//! `y = x` rounded to the nearest integer, halves to even, element by element.
//!
//! - **C1** `x` is a float
//!
//! Infinities and NaN stay. ONNX `Round`: opset 11, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Round` has no attributes.
    pub struct Round {}
}

impl Op for Round {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::round_ties_even)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.round(x))
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    Round in "ai.onnx" since [11, 22 brings "bf16"]; "X" => "Y";
    summary: "x rounded to the nearest integer, halves to even";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @round([-2.0, -0.5, 0.0, 1.5]) == [-2.0, -0.0, 0.0, 2.0]
graph @round(%a: f32[4]) -> f32[4] {
  %y = round %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn round_takes_halves_to_even() {
        table("Round", attrs! {}, &[(2.5, 2.0), (1.5, 2.0), (-4.5, -4.0), (0.9, 1.0), (f64::INFINITY, f64::INFINITY)]);
    }

    #[test]
    fn round_c1_names_the_types() {
        refuses("Round", &[DType::I32]);
    }
}
