//! `y = x + bias` for `x < -lambd`, `x - bias` for `x > lambd`, else 0, element by element.
//!
//! - **C1** `x` is a number
//!
//! Integers: the sum in real numbers, truncated and held within the type. ONNX `Shrink`: opset 9.

use super::common::*;
use super::lowering::{self, BinOp};
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Shrink`.
    pub struct Shrink {
        /// Half the width of the gap.
        lambd: f32 = 0.5f32,
        /// How far the sides are moved.
        bias: f32 = 0.0f32,
    }
}

impl Op for Shrink {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::NUMBERS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (lambd, bias) = (f64::from(self.lambd), f64::from(self.bias));
        eval_float(cx, |x| {
            if x < -lambd {
                x + bias
            } else if x > lambd {
                x - bias
            } else {
                0.0
            }
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if !cx.dtype(0).is_float() {
            return Ok(Lowering::Host);
        }
        lowering::unary(cx, |c, x| {
            let t = c.dtype(x);
            let (lambd, bias) = (f64::from(self.lambd), f64::from(self.bias));
            let (lo, hi, zero) = (c.float(t, -lambd), c.float(t, lambd), c.zero(t));
            let (below, above) = (c.lt(x, lo), c.gt(x, hi));
            let (up, down) = (c.bin_const(BinOp::Add, x, bias), c.bin_const(BinOp::Sub, x, bias));
            let y = c.select(above, down, zero);
            c.select(below, up, y)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(1), jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    Shrink in "ai.onnx" since [9]; "X" => "Y";
    summary: "x moved towards 0 by bias outside [-lambd, lambd], 0 inside";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @shrink([-2.0, -0.5, 0.0, 1.5]) == [-2.0, 0.0, 0.0, 1.5]
graph @shrink(%a: f32[4]) -> f32[4] {
  %y = shrink %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn shrink_has_a_gap() {
        table("Shrink", attrs! { lambd: 1.0f32, bias: 1.5f32 }, &[(-2.0, -0.5), (1.0, 0.0), (2.0, 0.5), (-1.0, 0.0)]);
    }

    #[test]
    fn shrink_c1_names_the_types() {
        refuses("Shrink", &[DType::Bool]);
    }
}
