//! `y = arccos x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN outside the domain. ONNX `Acos`: opset 7, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Acos` has no attributes.
    pub struct Acos {}
}

impl Op for Acos {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::acos)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.acos(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-1.0, 1.0), ..Facts::POINTWISE }
    }
}

op! {
    Acos in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "arc cosine in radians";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @acos([-0.75, 0.0, 0.5]) ~= [2.4188585, 1.5707964, 1.0471976]
graph @acos(%a: f32[3]) -> f32[3] {
  %y = acos %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn acos_at_known_points() {
        table("Acos", attrs! {}, &[(1.0, 0.0), (-1.0, std::f64::consts::PI), (2.0, f64::NAN)]);
    }

    #[test]
    fn acos_c1_names_the_types() {
        refuses("Acos", &[DType::Bool]);
    }
}
