//! `y = tanh x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Tanh`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Tanh` has no attributes.
    pub struct Tanh {}
}

impl Op for Tanh {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::tanh)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.tanh(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Tanh in "ai.onnx" since [1, 6, 13]; "input" => "output";
    summary: "hyperbolic tangent";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @tanh([-2.0, -0.5, 0.0, 1.5]) ~= [-0.9640276, -0.46211717, 0.0, 0.9051482]
graph @tanh(%a: f32[4]) -> f32[4] {
  %y = tanh %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn tanh_saturates() {
        table(
            "Tanh",
            attrs! {},
            &[(0.0, 0.0), (100.0, 1.0), (f64::NEG_INFINITY, -1.0), (0.5, 0.462_117_157_260_009_8)],
        );
    }

    #[test]
    fn tanh_c1_names_the_types() {
        refuses("Tanh", &[DType::Bool]);
    }
}
