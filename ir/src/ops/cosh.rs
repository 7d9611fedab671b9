//! `y = cosh x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Cosh`: opset 9, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Cosh` has no attributes.
    pub struct Cosh {}
}

impl Op for Cosh {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::cosh)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.cosh(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-80.0, 80.0), ..Facts::POINTWISE }
    }
}

op! {
    Cosh in "ai.onnx" since [9, 22 brings "bf16"]; "input" => "output";
    summary: "hyperbolic cosine";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @cosh([-2.0, -0.5, 0.0, 1.5]) ~= [3.7621958, 1.127626, 1.0, 2.3524096]
graph @cosh(%a: f32[4]) -> f32[4] {
  %y = cosh %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn cosh_at_known_points() {
        table("Cosh", attrs! {}, &[(0.0, 1.0), (-1.0, 1.543_080_634_815_243_7)]);
    }

    #[test]
    fn cosh_c1_names_the_types() {
        refuses("Cosh", &[DType::Bool]);
    }
}
