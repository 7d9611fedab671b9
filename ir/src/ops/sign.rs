//! `y = 1` for `x > 0`, `-1` for `x < 0`, else `x`, element by element.
//!
//! - **C1** `x` is a number
//!
//! Zero and NaN stay. ONNX `Sign`: opset 9, 13 (bfloat16).

use super::common::*;
use super::lowering;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sign` has no attributes.
    pub struct Sign {}
}

impl Op for Sign {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::NUMBERS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_unary(
            cx,
            |x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            },
            i128::signum,
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.sign(x))
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    Sign in "ai.onnx" since [9, 13]; "X" => "Y";
    summary: "the sign of x as -1, 0 or 1";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sign([-2.0, -0.5, 0.0, 1.5]) == [-1.0, -1.0, 0.0, 1.0]
graph @sign(%a: f32[4]) -> f32[4] {
  %y = sign %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn sign_of_each_side() {
        table("Sign", attrs! {}, &[(-7.0, -1.0), (0.0, 0.0), (1e-300, 1.0), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn sign_c1_names_the_types() {
        refuses("Sign", &[DType::Bool]);
    }
}
