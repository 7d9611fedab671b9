//! `y = arsinh x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Asinh`: opset 9, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Asinh` has no attributes.
    pub struct Asinh {}
}

impl Op for Asinh {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, crate::loops::special::asinh)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.asinh(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Asinh in "ai.onnx" since [9, 22 brings "bf16"]; "input" => "output";
    summary: "inverse hyperbolic sine";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @asinh([-2.0, -0.5, 0.0, 1.5]) ~= [-1.4436355, -0.48121184, 0.0, 1.1947632]
graph @asinh(%a: f32[4]) -> f32[4] {
  %y = asinh %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn asinh_at_known_points() {
        table("Asinh", attrs! {}, &[(0.0, 0.0), (-1.0, -0.881_373_587_019_543)]);
    }

    #[test]
    fn asinh_c1_names_the_types() {
        refuses("Asinh", &[DType::Bool]);
    }
}
