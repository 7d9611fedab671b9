//! `y = max(x, 0)`, element by element.
//!
//! - **C1** `x` is a signed number
//!
//! NaN stays NaN. ONNX `Relu`: opset 1, 6, 13 (bfloat16), 14 (integers).

use super::common::*;
use super::lowering;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Relu` has no attributes.
    pub struct Relu {}
}

impl Op for Relu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::SIGNED_NUMBERS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_unary(cx, |x| if x < 0.0 { 0.0 } else { x }, |x| x.max(0))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.relu(x))
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

/// Opset 1 had `consumed_inputs`, a hint without meaning.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    cx.take("consumed_inputs");
    Ok(())
}

op! {
    Relu in "ai.onnx" since [1, 6, 13, 14 brings "i8 i16 i32 i64"]; "X" => "Y";
    summary: "y = max(x, 0)";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @relu([-2.0, -0.5, 0.0, 1.5]) == [0.0, 0.0, 0.0, 1.5]
graph @relu(%a: f32[4]) -> f32[4] {
  %y = relu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn relu_keeps_nan_and_drops_negatives() {
        let y = run1("Relu", attrs! {}, &[Tensor::from_slice(&[3], &[-1.0f32, 2.0, f32::NAN])]).unwrap();
        let y = y.floats().unwrap();
        assert!(y[0] == 0.0 && y[1] == 2.0 && y[2].is_nan());
    }

    #[test]
    fn relu_c1_rejects_unsigned() {
        assert_eq!(violated("Relu", attrs! {}, &[Type::tensor(DType::U8, &[1])]).as_deref(), Some("Relu.C1"));
    }
}
