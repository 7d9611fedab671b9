//! `y = cos x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN outside the domain. ONNX `Cos`: opset 7, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Cos` has no attributes.
    pub struct Cos {}
}

impl Op for Cos {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::cos)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.cos(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Cos in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "cosine of an angle in radians";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @cos([-2.0, -0.5, 0.0, 1.5]) ~= [-0.4161468, 0.87758255, 1.0, 0.0707372]
graph @cos(%a: f32[4]) -> f32[4] {
  %y = cos %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn cos_at_known_points() {
        table("Cos", attrs! {}, &[(0.0, 1.0), (std::f64::consts::PI, -1.0), (f64::INFINITY, f64::NAN)]);
    }

    #[test]
    fn cos_c1_names_the_types() {
        refuses("Cos", &[DType::Bool]);
    }
}
