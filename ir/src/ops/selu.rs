//! `y = gamma x` for `x > 0`, else `gamma alpha (e^x - 1)`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Selu`: opset 1 (other defaults), 6, 22 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Selu`.
    pub struct Selu {
        /// Height of the negative side.
        alpha: f32 = 1.673_263_2f32,
        /// Factor of both sides.
        gamma: f32 = 1.050_701f32,
    }
}

impl Op for Selu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (alpha, gamma) = (f64::from(self.alpha), f64::from(self.gamma));
        eval_float(cx, |x| if x > 0.0 { gamma * x } else { gamma * alpha * x.exp_m1() })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (alpha, gamma) = (f64::from(self.alpha), f64::from(self.gamma));
        lowering::unary(cx, |c, x| {
            let z = c.zero(c.dtype(x));
            let e = c.expm1(x);
            let e = c.bin_const(BinOp::Mul, e, alpha);
            let neg = c.le(x, z);
            let y = c.select(neg, e, x);
            c.bin_const(BinOp::Mul, y, gamma)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

/// Opset 1 had hints, and rounder defaults.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    drop_hints(cx)?;
    if cx.version < 6 {
        cx.attrs.entry("alpha".into()).or_insert(Attr::from(1.6732f32));
        cx.attrs.entry("gamma".into()).or_insert(Attr::from(1.0507f32));
    }
    Ok(())
}

op! {
    Selu in "ai.onnx" since [1, 6, 22 brings "bf16"]; "X" => "Y";
    summary: "scaled exponential linear unit";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @selu([-2.0, -0.5, 0.0, 1.5]) ~= [-1.5201665, -0.69175816, 0.0, 1.5760515]
graph @selu(%a: f32[4]) -> f32[4] {
  %y = selu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn selu_of_both_sides() {
        table("Selu", attrs! { alpha: 2.0f32, gamma: 3.0f32 }, &[(2.0, 6.0), (f64::NEG_INFINITY, -6.0), (0.0, 0.0)]);
    }

    #[test]
    fn selu_c1_names_the_types() {
        refuses("Selu", &[DType::Bool]);
    }
}
