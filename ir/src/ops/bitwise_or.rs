//! `c = a | b`, bit by bit, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are integers of one type
//! - **C2** their shapes broadcast
//!
//! ONNX `BitwiseOr`: opset 18.

use super::common::*;
use super::lowering;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `BitwiseOr` has no attributes.
    pub struct BitwiseOr {}
}

impl Op for BitwiseOr {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::INTS, None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |a, _| a, |a, b| Ok(a | b))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.or(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Exact, ..Facts::POINTWISE }
    }
}

op! {
    BitwiseOr in "ai.onnx" since [18]; "A, B" => "C";
    summary: "a | b bit by bit, with broadcasting";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @bitwise_or([12, 255], [10, 1]) == [14, 255]
graph @bitwise_or(%a: u8[2], %b: u8[2]) -> u8[2] {
  %y = bitwise_or %a, %b : u8[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn bitwise_or_of_both_signs() {
        assert_eq!(ints2("BitwiseOr", attrs! {}, &[6, -1], &[5, 2]).unwrap(), [7, -1]);
    }

    #[test]
    fn bitwise_or_c1_names_the_types_and_c2_the_shapes() {
        refuses("BitwiseOr", &[DType::F32, DType::F32]);
        refuses_shapes("BitwiseOr", DType::I32);
    }
}
