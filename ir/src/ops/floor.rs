//! `y = ⌊x⌋`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Floor`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Floor` has no attributes.
    pub struct Floor {}
}

impl Op for Floor {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::floor)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.floor(x))
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    Floor in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "greatest integer not above x";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @floor([-2.0, -0.5, 0.0, 1.5]) == [-2.0, -1.0, 0.0, 1.0]
graph @floor(%a: f32[4]) -> f32[4] {
  %y = floor %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn floor_goes_down() {
        table("Floor", attrs! {}, &[(1.8, 1.0), (-1.2, -2.0), (f64::NEG_INFINITY, f64::NEG_INFINITY)]);
    }

    #[test]
    fn floor_c1_names_the_types() {
        refuses("Floor", &[DType::I32]);
    }
}
