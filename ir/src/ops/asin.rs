//! `y = arcsin x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN outside the domain. ONNX `Asin`: opset 7, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Asin` has no attributes.
    pub struct Asin {}
}

impl Op for Asin {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::asin)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.asin(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-1.0, 1.0), ..Facts::POINTWISE }
    }
}

op! {
    Asin in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "arc sine in radians";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @asin([-0.75, 0.0, 0.5]) == [-0.8480621, 0.0, 0.5235988]
graph @asin(%a: f32[3]) -> f32[3] {
  %y = asin %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn asin_at_known_points() {
        table("Asin", attrs! {}, &[(1.0, std::f64::consts::FRAC_PI_2), (2.0, f64::NAN)]);
    }

    #[test]
    fn asin_c1_names_the_types() {
        refuses("Asin", &[DType::Bool]);
    }
}
