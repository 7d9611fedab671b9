//! `y = max(0, min(1, alpha x + beta))`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN stays. ONNX `HardSigmoid`: opset 1 (`consumed_inputs`), 6, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `HardSigmoid`.
    pub struct HardSigmoid {
        /// Slope.
        alpha: f32 = 0.2f32,
        /// Value at zero.
        beta: f32 = 0.5f32,
    }
}

impl Op for HardSigmoid {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        eval_float(cx, |x| max(0.0, min(1.0, alpha * x + beta)))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        lowering::unary(cx, |c, x| {
            let y = c.bin_const(BinOp::Mul, x, alpha);
            let y = c.bin_const(BinOp::Add, y, beta);
            c.clamp(y, 0.0, 1.0)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    HardSigmoid in "ai.onnx" since [1, 6, 22 brings "bf16"]; "X" => "Y";
    summary: "alpha x + beta, held between 0 and 1";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @hard_sigmoid([-2.0, -0.5, 0.0, 1.5]) == [0.099999994, 0.4, 0.5, 0.8]
graph @hard_sigmoid(%a: f32[4]) -> f32[4] {
  %y = hard_sigmoid %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn hard_sigmoid_is_held() {
        table(
            "HardSigmoid",
            attrs! { alpha: 0.5f32 },
            &[(0.0, 0.5), (10.0, 1.0), (-10.0, 0.0), (0.5, 0.75), (f64::NAN, f64::NAN)],
        );
    }

    #[test]
    fn hard_sigmoid_c1_names_the_types() {
        refuses("HardSigmoid", &[DType::Bool]);
    }
}
