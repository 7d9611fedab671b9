//! `y = arcosh x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN outside the domain. ONNX `Acosh`: opset 9, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Acosh` has no attributes.
    pub struct Acosh {}
}

impl Op for Acosh {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, crate::loops::special::acosh)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.acosh(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (1.0, f64::INFINITY), ..Facts::POINTWISE }
    }
}

op! {
    Acosh in "ai.onnx" since [9, 22 brings "bf16"]; "input" => "output";
    summary: "inverse hyperbolic cosine";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @acosh([1.0, 1.5, 4.0]) ~= [0.0, 0.9624237, 2.063437]
graph @acosh(%a: f32[3]) -> f32[3] {
  %y = acosh %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn acosh_at_known_points() {
        table("Acosh", attrs! {}, &[(1.0, 0.0), (2.0, 1.316_957_896_924_816_6), (0.0, f64::NAN)]);
    }

    #[test]
    fn acosh_c1_names_the_types() {
        refuses("Acosh", &[DType::Bool]);
    }
}
