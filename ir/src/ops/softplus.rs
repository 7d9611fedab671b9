//! `y = ln(1 + e^x)`, element by element.
//!
//! - **C1** `x` is a float
//!
//! Large `x` stays itself, without overflow. ONNX `Softplus`: opset 1, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Softplus` has no attributes.
    pub struct Softplus {}
}

impl Op for Softplus {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, softplus)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| {
            // max(x, 0) + log(1 + e^-|x|) never overflows.
            let p = c.relu(x);
            let a = c.abs(x);
            let a = c.neg(a);
            let e = c.exp(a);
            let l = c.log1p(e);
            c.add(p, l)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Softplus in "ai.onnx" since [1, 22 brings "bf16"]; "X" => "Y";
    summary: "ln(1 + e^x)";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @softplus([-2.0, -0.5, 0.0, 1.5]) ~= [0.126928, 0.474077, 0.6931472, 1.7014133]
graph @softplus(%a: f32[4]) -> f32[4] {
  %y = softplus %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn softplus_does_not_overflow() {
        table("Softplus", attrs! {}, &[(0.0, std::f64::consts::LN_2), (1000.0, 1000.0), (-1000.0, 0.0)]);
    }

    #[test]
    fn softplus_c1_names_the_types() {
        refuses("Softplus", &[DType::Bool]);
    }
}
