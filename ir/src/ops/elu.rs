//! `y = x` for `x >= 0`, else `alpha (e^x - 1)`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Elu`: opset 1 (`consumed_inputs`), 6, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Elu`.
    pub struct Elu {
        /// Height of the negative side.
        alpha: f32 = 1.0f32,
    }
}

impl Op for Elu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let alpha = f64::from(self.alpha);
        eval_float(cx, |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let alpha = f64::from(self.alpha);
        lowering::unary(cx, |c, x| {
            let z = c.zero(c.dtype(x));
            let e = c.expm1(x);
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
    Elu in "ai.onnx" since [1, 6, 22 brings "bf16"]; "X" => "Y";
    summary: "exponential linear unit";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @elu([-2.0, -0.5, 0.0, 1.5]) == [-0.86466473, -0.39346933, 0.0, 1.5]
graph @elu(%a: f32[4]) -> f32[4] {
  %y = elu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn elu_of_both_sides() {
        table(
            "Elu",
            attrs! { alpha: 2.0f32 },
            &[(2.0, 2.0), (f64::NEG_INFINITY, -2.0), (-1.0, 2.0 * (-1f64).exp_m1())],
        );
    }

    #[test]
    fn elu_c1_names_the_types() {
        refuses("Elu", &[DType::Bool]);
    }
}
