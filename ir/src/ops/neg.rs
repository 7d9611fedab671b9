//! `y = -x`, element by element.
//!
//! - **C1** `x` is a signed number
//!
//! Integers wrap. Enters shape arithmetic. ONNX `Neg`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Neg` has no attributes.
    pub struct Neg {}
}

impl Op for Neg {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::SIGNED_NUMBERS)?;
        unary_values(cx, |d| Dim::int(0) - d)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_unary(cx, |x| -x, |x| -x)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.neg(x))
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

op! {
    Neg in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "y = -x";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @neg([-2.0, -0.5, 0.0, 1.5]) == [2.0, 0.5, -0.0, -1.5]
graph @neg(%a: f32[4]) -> f32[4] {
  %y = neg %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn neg_turns_the_sign() {
        table("Neg", attrs! {}, &[(1.5, -1.5), (f64::INFINITY, f64::NEG_INFINITY), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn neg_c1_names_the_types() {
        refuses("Neg", &[DType::U8]);
    }
}
