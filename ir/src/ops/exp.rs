//! `y = e^x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Exp`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Exp` has no attributes.
    pub struct Exp {}
}

impl Op for Exp {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::exp)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.exp(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (-80.0, 80.0), ..Facts::POINTWISE }
    }
}

op! {
    Exp in "ai.onnx" since [1, 6, 13]; "input" => "output";
    summary: "e to the power x";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @exp([-2.0, -0.5, 0.0, 1.5]) == [0.13533528, 0.60653067, 1.0, 4.481689]
graph @exp(%a: f32[4]) -> f32[4] {
  %y = exp %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn exp_at_its_ends() {
        table(
            "Exp",
            attrs! {},
            &[(0.0, 1.0), (1.0, std::f64::consts::E), (f64::NEG_INFINITY, 0.0), (800.0, f64::INFINITY)],
        );
    }

    #[test]
    fn exp_c1_names_the_types() {
        refuses("Exp", &[DType::Bool]);
    }
}
