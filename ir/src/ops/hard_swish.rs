//! `y = x max(0, min(1, x/6 + 1/2))`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `HardSwish`: opset 14, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `HardSwish` has no attributes.
    pub struct HardSwish {}
}

impl Op for HardSwish {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, |x| x * max(0.0, min(1.0, x / 6.0 + 0.5)))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| {
            let y = c.bin_const(BinOp::Mul, x, 1.0 / 6.0);
            let y = c.bin_const(BinOp::Add, y, 0.5);
            let y = c.clamp(y, 0.0, 1.0);
            c.mul(x, y)
        })
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x[0] else { return Ok(None) };
        let s = b.op("HardSigmoid", attrs! { alpha: 1.0f32 / 6.0, beta: 0.5f32 }, &[x])?;
        Ok(Some(vec![b.op("Mul", attrs! {}, &[x, s])?]))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    HardSwish in "ai.onnx" since [14, 22 brings "bf16"]; "X" => "Y";
    summary: "x * HardSigmoid(x) with alpha 1/6, beta 1/2";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @hard_swish([-2.0, -0.5, 0.0, 1.5]) ~= [-0.3333333, -0.20833333, 0.0, 1.125]
graph @hard_swish(%a: f32[4]) -> f32[4] {
  %y = hard_swish %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn hard_swish_has_three_pieces() {
        table("HardSwish", attrs! {}, &[(-4.0, 0.0), (3.0, 3.0), (1.5, 1.125)]);
    }

    #[test]
    fn hard_swish_c1_names_the_types() {
        refuses("HardSwish", &[DType::Bool]);
    }
}
