//! `y = x Φ(x)`, `Φ` the distribution function of the normal distribution, element by element.
//!
//! With `approximate = "tanh"`: `y = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
//!
//! - **C1** `x` is a float
//! - **C2** `approximate` is `none` or `tanh`
//!
//! ONNX `Gelu`: opset 20.

use super::common::*;
use super::lowering;
use super::lowering::BinOp;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Factor of the cube in the approximation.
pub const CUBE: f64 = 0.044715;

attributes! {
    /// Attributes of `Gelu`.
    pub struct Gelu {
        /// `none` or `tanh`.
        approximate: String = "none",
    }
}

impl Op for Gelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C2", matches!(&*self.approximate, "none" | "tanh"), || {
            format!("approximate is `{}`", self.approximate)
        })?;
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        if self.approximate == "tanh" { eval_float(cx, gelu_tanh) } else { eval_float(cx, gelu) }
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let tanh = self.approximate == "tanh";
        lowering::unary(cx, |c, x| {
            let s = if tanh {
                let cube = c.mul(x, x);
                let cube = c.mul(cube, x);
                let cube = c.bin_const(BinOp::Mul, cube, 0.044715);
                let t = c.add(x, cube);
                let t = c.bin_const(BinOp::Mul, t, std::f64::consts::FRAC_2_PI.sqrt());
                c.tanh(t)
            } else {
                let t = c.bin_const(BinOp::Mul, x, std::f64::consts::FRAC_1_SQRT_2);
                c.erf(t)
            };
            let s = c.bin_const(BinOp::Add, s, 1.0);
            let h = c.bin_const(BinOp::Mul, x, 0.5);
            c.mul(h, s)
        })
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x[0] else { return Ok(None) };
        let (Some(half), Some(one)) = (scalar_like(b, x, 0.5), scalar_like(b, x, 1.0)) else { return Ok(None) };
        let bracket = if self.approximate == "tanh" {
            let (Some(factor), Some(cube)) = (scalar_like(b, x, (2.0 / PI).sqrt()), scalar_like(b, x, CUBE)) else {
                return Ok(None);
            };
            let square = b.op("Mul", attrs! {}, &[x, x])?;
            let third = b.op("Mul", attrs! {}, &[square, x])?;
            let scaled = b.op("Mul", attrs! {}, &[third, cube])?;
            let sum = b.op("Add", attrs! {}, &[x, scaled])?;
            let inner = b.op("Mul", attrs! {}, &[sum, factor])?;
            b.op("Tanh", attrs! {}, &[inner])?
        } else {
            let Some(root) = scalar_like(b, x, FRAC_1_SQRT_2) else { return Ok(None) };
            let inner = b.op("Mul", attrs! {}, &[x, root])?;
            b.op("Erf", attrs! {}, &[inner])?
        };
        let sum = b.op("Add", attrs! {}, &[bracket, one])?;
        let halved = b.op("Mul", attrs! {}, &[x, half])?;
        Ok(Some(vec![b.op("Mul", attrs! {}, &[halved, sum])?]))
    }

    fn facts(&self) -> Facts {
        // `x / 2 + x / 2 erf(…)` cancels for negative `x`: as of any sum, the error is relative to its terms.
        Facts { accuracy: Accuracy::Reduction, ..Facts::POINTWISE }
    }
}

/// `x Φ(x)`.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * erfc(-x * FRAC_1_SQRT_2)
}

/// The approximation by the hyperbolic tangent; `(1 + tanh u) / 2` is the logistic function of `2u`.
pub fn gelu_tanh(x: f64) -> f64 {
    x * sigmoid(2.0 * (2.0 / PI).sqrt() * (x + CUBE * x * x * x))
}

op! {
    Gelu in "ai.onnx" since [20]; "X" => "Y";
    summary: "Gaussian error linear unit";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gelu([-2.0, -0.5, 0.0, 1.5]) ~= [-0.04550028, -0.15426877, 0.0, 1.3997892]
graph @gelu(%a: f32[4]) -> f32[4] {
  %y = gelu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn gelu_at_known_points() {
        table("Gelu", attrs! {}, &[(0.0, 0.0), (1.0, 0.841_344_746_068_542_9), (-40.0, 0.0)]);
        table("Gelu", attrs! { approximate: "tanh" }, &[(0.0, 0.0), (1.0, 0.841_191_990_608_276_3)]);
    }

    #[test]
    fn gelu_constraints_are_named() {
        refuses("Gelu", &[DType::I32]);
        let t = [Type::tensor(DType::F32, &[1])];
        assert_eq!(violated("Gelu", attrs! { approximate: "erf" }, &t).as_deref(), Some("Gelu.C2"));
    }
}
