//! `y = 1 / x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! Infinite at zero. ONNX `Reciprocal`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Reciprocal` has no attributes.
    pub struct Reciprocal {}
}

impl Op for Reciprocal {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, |x| 1.0 / x)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.recip(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(1), domain: (0.0, f64::INFINITY), ..Facts::POINTWISE }
    }
}

op! {
    Reciprocal in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "1 / x";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reciprocal([0.25, 1.0, 4.0]) == [4.0, 1.0, 0.25]
graph @reciprocal(%a: f32[3]) -> f32[3] {
  %y = reciprocal %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn reciprocal_of_zero_is_infinite() {
        table("Reciprocal", attrs! {}, &[(4.0, 0.25), (0.0, f64::INFINITY), (-0.0, f64::NEG_INFINITY)]);
    }

    #[test]
    fn reciprocal_c1_names_the_types() {
        refuses("Reciprocal", &[DType::Bool]);
    }
}
