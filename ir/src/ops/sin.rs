//! `y = sin x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN outside the domain. ONNX `Sin`: opset 7, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sin` has no attributes.
    pub struct Sin {}
}

impl Op for Sin {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::sin)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.sin(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Sin in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "sine of an angle in radians";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sin([-2.0, -0.5, 0.0, 1.5]) == [-0.9092974, -0.47942555, 0.0, 0.997495]
graph @sin(%a: f32[4]) -> f32[4] {
  %y = sin %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn sin_at_known_points() {
        table("Sin", attrs! {}, &[(0.0, 0.0), (std::f64::consts::FRAC_PI_2, 1.0), (f64::INFINITY, f64::NAN)]);
    }

    #[test]
    fn sin_c1_names_the_types() {
        refuses("Sin", &[DType::Bool]);
    }
}
