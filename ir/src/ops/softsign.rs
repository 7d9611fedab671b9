//! `y = x / (1 + |x|)`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN at infinities, as the formula says. ONNX `Softsign`: opset 1, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Softsign` has no attributes.
    pub struct Softsign {}
}

impl Op for Softsign {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, |x| x / (1.0 + x.abs()))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| {
            let a = c.abs(x);
            let a = c.bin_const(BinOp::Add, a, 1.0);
            c.div(x, a)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Softsign in "ai.onnx" since [1, 22 brings "bf16"]; "X" => "Y";
    summary: "x / (1 + |x|)";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @softsign([-2.0, -0.5, 0.0, 1.5]) == [-0.6666667, -0.33333334, 0.0, 0.6]
graph @softsign(%a: f32[4]) -> f32[4] {
  %y = softsign %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn softsign_of_both_sides() {
        table("Softsign", attrs! {}, &[(1.0, 0.5), (-3.0, -0.75), (0.0, 0.0)]);
    }

    #[test]
    fn softsign_c1_names_the_types() {
        refuses("Softsign", &[DType::Bool]);
    }
}
