//! `y = x` for `x > alpha`, else 0, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN becomes 0. ONNX `ThresholdedRelu`: opset 10, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ThresholdedRelu`.
    pub struct ThresholdedRelu {
        /// The threshold.
        alpha: f32 = 1.0f32,
    }
}

impl Op for ThresholdedRelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let alpha = f64::from(self.alpha);
        eval_float(cx, |x| if x > alpha { x } else { 0.0 })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let alpha = f64::from(self.alpha);
        lowering::unary(cx, |c, x| {
            let z = c.zero(c.dtype(x));
            let a = c.float(c.dtype(x), alpha);
            let above = c.gt(x, a);
            c.select(above, x, z)
        })
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    ThresholdedRelu in "ai.onnx" since [10, 22 brings "bf16"]; "X" => "Y";
    summary: "x above a threshold, else 0";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @thresholded_relu([-2.0, -0.5, 0.0, 1.5]) == [0.0, 0.0, 0.0, 1.5]
graph @thresholded_relu(%a: f32[4]) -> f32[4] {
  %y = thresholded_relu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn thresholded_relu_cuts_at_alpha() {
        table("ThresholdedRelu", attrs! {}, &[(1.0, 0.0), (1.5, 1.5), (-3.0, 0.0)]);
    }

    #[test]
    fn thresholded_relu_c1_names_the_types() {
        refuses("ThresholdedRelu", &[DType::Bool]);
    }
}
