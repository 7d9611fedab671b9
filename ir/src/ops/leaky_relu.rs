//! `y = x` for `x >= 0`, else `alpha x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `LeakyRelu`: opset 1 (`consumed_inputs`), 6, 16 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `LeakyRelu`.
    pub struct LeakyRelu {
        /// Slope of the negative side.
        alpha: f32 = 0.01f32,
    }
}

impl Op for LeakyRelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let alpha = f64::from(self.alpha);
        eval_float(cx, |x| if x < 0.0 { alpha * x } else { x })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let alpha = f64::from(self.alpha);
        lowering::unary(cx, |c, x| {
            let z = c.zero(c.dtype(x));
            let a = c.bin_const(BinOp::Mul, x, alpha);
            let neg = c.lt(x, z);
            c.select(neg, a, x)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(1), ..Facts::POINTWISE }
    }
}

op! {
    LeakyRelu in "ai.onnx" since [1, 6, 16 brings "bf16"]; "X" => "Y";
    summary: "x, or alpha x where negative";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @leaky_relu([-2.0, -0.5, 0.0, 1.5]) == [-0.02, -0.005, 0.0, 1.5]
graph @leaky_relu(%a: f32[4]) -> f32[4] {
  %y = leaky_relu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn leaky_relu_of_both_sides() {
        table("LeakyRelu", attrs! { alpha: 0.25f32 }, &[(2.0, 2.0), (-2.0, -0.5), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn leaky_relu_c1_names_the_types() {
        refuses("LeakyRelu", &[DType::Bool]);
    }
}
