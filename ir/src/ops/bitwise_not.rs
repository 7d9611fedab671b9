//! `y = ¬x`, bit by bit.
//!
//! - **C1** `x` is an integer
//!
//! ONNX `BitwiseNot`: opset 18.

use super::common::*;
use super::lowering;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `BitwiseNot` has no attributes.
    pub struct BitwiseNot {}
}

impl Op for BitwiseNot {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, sets::INTS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_unary(cx, |x| x, |x| !x)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.not(x))
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

op! {
    BitwiseNot in "ai.onnx" since [18]; "X" => "Y";
    summary: "every bit turned";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @bitwise_not([0, 5, -1]) == [-1, -6, 0]
graph @bitwise_not(%a: i8[3]) -> i8[3] {
  %y = bitwise_not %a : i8[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn bitwise_not_keeps_the_width() {
        let y = run1("BitwiseNot", attrs! {}, &[Tensor::from_slice(&[2], &[0u8, 0x0f])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2], &[0xffu8, 0xf0]));
    }

    #[test]
    fn bitwise_not_c1_names_the_types() {
        refuses("BitwiseNot", &[DType::Bool]);
    }
}
