//! `y = 1 / (1 + e^-x)`, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Sigmoid`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sigmoid` has no attributes.
    pub struct Sigmoid {}
}

impl Op for Sigmoid {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, sigmoid)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.sigmoid(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Sigmoid in "ai.onnx" since [1, 6, 13]; "X" => "Y";
    summary: "1 / (1 + e^-x)";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sigmoid([-2.0, -0.5, 0.0, 1.5]) ~= [0.11920291, 0.3775407, 0.5, 0.81757444]
graph @sigmoid(%a: f32[4]) -> f32[4] {
  %y = sigmoid %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn sigmoid_saturates() {
        table("Sigmoid", attrs! {}, &[(0.0, 0.5), (-1000.0, 0.0), (f64::INFINITY, 1.0), (f64::NAN, f64::NAN)]);
    }

    #[test]
    fn sigmoid_c1_names_the_types() {
        refuses("Sigmoid", &[DType::Bool]);
    }
}
