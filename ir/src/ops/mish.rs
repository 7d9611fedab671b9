//! `y = x tanh(ln(1 + e^x))`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Mish`: opset 18, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Mish` has no attributes.
    pub struct Mish {}
}

impl Op for Mish {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, |x| x * softplus(x).tanh())
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x[0] else { return Ok(None) };
        let s = b.op("Softplus", attrs! {}, &[x])?;
        let t = b.op("Tanh", attrs! {}, &[s])?;
        Ok(Some(vec![b.op("Mul", attrs! {}, &[x, t])?]))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| {
            // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), which does not overflow.
            let (size, positive) = (c.abs(x), c.relu(x));
            let size = c.neg(size);
            let e = c.exp(size);
            let small = c.log1p(e);
            let s = c.add(positive, small);
            let t = c.tanh(s);
            c.mul(x, t)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Mish in "ai.onnx" since [18, 22 brings "bf16"]; "X" => "Y";
    summary: "x tanh(softplus(x))";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mish([-2.0, -0.5, 0.0, 1.5]) ~= [-0.25250146, -0.22074378, 0.0, 1.4033782]
graph @mish(%a: f32[4]) -> f32[4] {
  %y = mish %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn mish_at_known_points() {
        table("Mish", attrs! {}, &[(0.0, 0.0), (1.0, 0.865_098_388_267_310_4), (1000.0, 1000.0)]);
    }

    #[test]
    fn mish_c1_names_the_types() {
        refuses("Mish", &[DType::Bool]);
    }
}
