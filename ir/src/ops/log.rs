//! `y = ln x`, element by element.
//!
//! - **C1** `x` is a float
//!
//! NaN below zero, negative infinity at zero. ONNX `Log`: opset 1 (`consumed_inputs`), 6, 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Log` has no attributes.
    pub struct Log {}
}

impl Op for Log {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_float(cx, f64::ln)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.log(x))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (0.0, f64::INFINITY), ..Facts::POINTWISE }
    }
}

op! {
    Log in "ai.onnx" since [1, 6, 13]; "input" => "output";
    summary: "natural logarithm";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @log([0.25, 1.0, 4.0]) == [-1.3862944, 0.0, 1.3862944]
graph @log(%a: f32[3]) -> f32[3] {
  %y = log %a : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn log_at_its_ends() {
        table("Log", attrs! {}, &[(1.0, 0.0), (0.0, f64::NEG_INFINITY), (-1.0, f64::NAN), (std::f64::consts::E, 1.0)]);
    }

    #[test]
    fn log_c1_names_the_types() {
        refuses("Log", &[DType::Bool]);
    }
}
