//! `y = sinh x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Sinh`: opset 9, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sinh` has no attributes.
    pub struct Sinh {}
}

impl Op for Sinh {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::sinh)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.sinh(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-80.0, 80.0), ..Facts::POINTWISE }
    }
}

op! {
    Sinh in "ai.onnx" since [9, 22 brings "bf16"]; "input" => "output";
    summary: "hyperbolic sine";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sinh([-2.0, -0.5, 0.0, 1.5]) == [-3.6268604, -0.5210953, 0.0, 2.1292794]
graph @sinh(%a: f32[4]) -> f32[4] {
  %y = sinh %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn sinh_at_known_points() {
        table("Sinh", attrs! {}, &[(0.0, 0.0), (1.0, 1.175_201_193_643_801_4), (1000.0, f64::INFINITY)]);
    }

    #[test]
    fn sinh_c1_names_the_types() {
        refuses("Sinh", &[DType::Bool]);
    }
}
