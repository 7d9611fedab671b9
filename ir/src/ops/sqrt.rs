//! `y = √x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN for negative `x`. ONNX `Sqrt`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sqrt` has no attributes.
    pub struct Sqrt {}
}

impl Op for Sqrt {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::sqrt)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.sqrt(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(1), domain: (0.0, f64::INFINITY), ..Facts::POINTWISE }
    }
}

op! {
    Sqrt in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "square root";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sqrt([0.25, 1.0, 4.0]) == [0.5, 1.0, 2.0]
graph @sqrt(%a: f32[3]) -> f32[3] {
  %y = sqrt %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn sqrt_of_negative_is_nan() {
        table("Sqrt", attrs! {}, &[(4.0, 2.0), (-1.0, f64::NAN), (0.0, 0.0)]);
    }

    #[test]
    fn sqrt_c1_names_the_types() {
        refuses("Sqrt", &[DType::Bool]);
    }
}
