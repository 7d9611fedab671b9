//! `y = max(0, x) + min(0, alpha (e^(x/alpha) - 1))`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Celu`: opset 12, 28 (all floats).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Celu`.
    pub struct Celu {
        /// Height of the negative side.
        alpha: f32 = 1.0f32,
    }
}

impl Op for Celu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let alpha = f64::from(self.alpha);
        eval_float(cx, |x| max(0.0, x) + min(0.0, alpha * (x / alpha).exp_m1()))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let alpha = f64::from(self.alpha);
        if alpha == 0.0 {
            // x / 0 is what evaluation says of it.
            return Ok(Lowering::Host);
        }
        lowering::unary(cx, |c, x| {
            let z = c.zero(c.dtype(x));
            let q = c.bin_const(BinOp::Div, x, alpha);
            let e = c.expm1(q);
            let e = c.bin_const(BinOp::Mul, e, alpha);
            let neg = c.lt(x, z);
            c.select(neg, e, x)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Celu in "ai.onnx" since [12, 28 brings "f64 f16 bf16"]; "X" => "Y";
    summary: "continuously differentiable exponential linear unit";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @celu([-2.0, -0.5, 0.0, 1.5]) == [-0.86466473, -0.39346933, 0.0, 1.5]
graph @celu(%a: f32[4]) -> f32[4] {
  %y = celu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn celu_of_both_sides() {
        table("Celu", attrs! { alpha: 2.0f32 }, &[(2.0, 2.0), (-2.0, 2.0 * (-1f64).exp_m1()), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn celu_c1_names_the_types() {
        refuses("Celu", &[DType::Bool]);
    }
}
