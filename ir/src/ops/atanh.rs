//! `y = artanh x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Atanh`: opset 9, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Atanh` has no attributes.
    pub struct Atanh {}
}

impl Op for Atanh {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, crate::loops::special::atanh)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.atanh(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-1.0, 1.0), ..Facts::POINTWISE }
    }
}

op! {
    Atanh in "ai.onnx" since [9, 22 brings "bf16"]; "input" => "output";
    summary: "inverse hyperbolic tangent";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @atanh([-0.75, 0.0, 0.5]) ~= [-0.9729551, 0.0, 0.54930615]
graph @atanh(%a: f32[3]) -> f32[3] {
  %y = atanh %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn atanh_at_known_points() {
        table("Atanh", attrs! {}, &[(0.0, 0.0), (0.5, 0.549_306_144_334_054_8), (1.0, f64::INFINITY)]);
    }

    #[test]
    fn atanh_c1_names_the_types() {
        refuses("Atanh", &[DType::Bool]);
    }
}
