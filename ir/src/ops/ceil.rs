//! `y = ⌈x⌉`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Ceil`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Ceil` has no attributes.
    pub struct Ceil {}
}

impl Op for Ceil {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::ceil)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.ceil(x))
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    Ceil in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "least integer not below x";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ceil([-2.0, -0.5, 0.0, 1.5]) == [-2.0, -0.0, 0.0, 2.0]
graph @ceil(%a: f32[4]) -> f32[4] {
  %y = ceil %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn ceil_goes_up() {
        table("Ceil", attrs! {}, &[(1.2, 2.0), (-1.2, -1.0), (3.0, 3.0), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn ceil_c1_names_the_types() {
        refuses("Ceil", &[DType::I32]);
    }
}
