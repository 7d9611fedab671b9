//! `y = x / (1 + e^(-alpha x))`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Swish`: opset 24.

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Swish`.
    pub struct Swish {
        /// Factor within the sigmoid.
        alpha: f32 = 1.0f32,
    }
}

impl Op for Swish {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let alpha = f64::from(self.alpha);
        eval_float(cx, |x| x * sigmoid(alpha * x))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let alpha = f64::from(self.alpha);
        lowering::unary(cx, |c, x| {
            let y = c.bin_const(BinOp::Mul, x, alpha);
            let y = c.sigmoid(y);
            c.mul(x, y)
        })
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x[0] else { return Ok(None) };
        let Some(alpha) = scalar_like(b, x, self.alpha.into()) else { return Ok(None) };
        let scaled = if self.alpha == 1.0 { x } else { b.op("Mul", attrs! {}, &[x, alpha])? };
        let s = b.op("Sigmoid", attrs! {}, &[scaled])?;
        Ok(Some(vec![b.op("Mul", attrs! {}, &[x, s])?]))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Swish in "ai.onnx" since [24]; "X" => "Y";
    summary: "x sigmoid(alpha x)";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @swish([-2.0, -0.5, 0.0, 1.5]) ~= [-0.23840582, -0.18877035, 0.0, 1.2263616]
graph @swish(%a: f32[4]) -> f32[4] {
  %y = swish %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn swish_at_known_points() {
        table("Swish", attrs! { alpha: 2.0f32 }, &[(0.0, 0.0), (1000.0, 1000.0), (1.0, 1.0 / (1.0 + (-2f64).exp()))]);
    }

    #[test]
    fn swish_c1_names_the_types() {
        refuses("Swish", &[DType::Bool]);
    }
}
