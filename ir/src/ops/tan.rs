//! `y = tan x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Tan`: opset 7, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Tan` has no attributes.
    pub struct Tan {}
}

impl Op for Tan {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::tan)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.tan(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-1.5, 1.5), ..Facts::POINTWISE }
    }
}

op! {
    Tan in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "tangent of an angle in radians";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @tan([-2.0, -0.5, 0.0, 1.5]) == [2.1850398, -0.5463025, 0.0, 14.10142]
graph @tan(%a: f32[4]) -> f32[4] {
  %y = tan %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn tan_at_known_points() {
        table("Tan", attrs! {}, &[(0.0, 0.0), (std::f64::consts::FRAC_PI_4, 1.0)]);
    }

    #[test]
    fn tan_c1_names_the_types() {
        refuses("Tan", &[DType::Bool]);
    }
}
