//! `y = 2/√π ∫_0^x e^(-t²) dt`, the error function, element by element.
//!
//! - **C1** `x` is a float
//!
//! ONNX `Erf`: opset 9, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Erf` has no attributes.
    pub struct Erf {}
}

impl Op for Erf {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, erf)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.erf(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    Erf in "ai.onnx" since [9, 13]; "input" => "output";
    summary: "the error function";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @erf([-2.0, -0.5, 0.0, 1.5]) == [-0.9953223, -0.5204999, 0.0, 0.96610516]
graph @erf(%a: f32[4]) -> f32[4] {
  %y = erf %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn erf_is_odd() {
        table(
            "Erf",
            attrs! {},
            &[(0.5, 0.520_499_877_813_046_5), (-0.5, -0.520_499_877_813_046_5), (f64::INFINITY, 1.0)],
        );
    }

    #[test]
    fn erf_c1_names_the_types() {
        refuses("Erf", &[DType::Bool]);
    }
}
