//! `y = arctan x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Atan`: opset 7, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Atan` has no attributes.
    pub struct Atan {}
}

impl Op for Atan {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::atan)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.atan(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Atan in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "arc tangent in radians";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @atan([-2.0, -0.5, 0.0, 1.5]) ~= [-1.1071489, -0.46364754, 0.0, 0.9827938]
graph @atan(%a: f32[4]) -> f32[4] {
  %y = atan %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn atan_at_known_points() {
        table("Atan", attrs! {}, &[(1.0, std::f64::consts::FRAC_PI_4), (f64::INFINITY, std::f64::consts::FRAC_PI_2)]);
    }

    #[test]
    fn atan_c1_names_the_types() {
        refuses("Atan", &[DType::Bool]);
    }
}
