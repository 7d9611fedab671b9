//! `z = x << y` or `x >> y`, element by element, with broadcasting.
//!
//! - **C1** `x` and `y` are integers of one type
//! - **C2** their shapes broadcast
//! - **C3** `direction` is `LEFT` or `RIGHT`
//!
//! Right shifts of signed integers copy the sign. A shift by a negative amount or by the width or more leaves only
//! copies of the sign (right, negative `x`: -1) or 0. ONNX `BitShift`: opset 11 (unsigned), 28 (signed).

use super::common::*;
use super::lowering::{self, BinOp};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `BitShift`.
    pub struct BitShift {
        /// `LEFT` or `RIGHT`.
        direction: String,
    }
}

impl Op for BitShift {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C3", matches!(&*self.direction, "LEFT" | "RIGHT"), || {
            format!("direction is `{}`", self.direction)
        })?;
        binary_rule(cx, sets::INTS, None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let bits = cx.tensor(0)?.dtype().bits() as i128;
        let right = self.direction == "RIGHT";
        eval_binary(
            cx,
            |x, _| x,
            |x, y| {
                Ok(match (right, (0..bits).contains(&y)) {
                    (true, true) => x >> y,
                    (true, false) => x >> 127,
                    (false, true) => x << y,
                    (false, false) => 0,
                })
            },
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let op = if self.direction == "RIGHT" { BinOp::Shr } else { BinOp::Shl };
        lowering::binary(cx, |c, x, y| c.bin(op, x, y))
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

op! {
    BitShift in "ai.onnx" since [11, 28 brings "i8 i16 i32 i64"]; "X, Y" => "Z";
    summary: "bits moved left or right, with broadcasting";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @bit_shift([16, 4, 1], [1, 2, 3]) == [8, 1, 0]
graph @bit_shift(%a: u8[3], %b: u8[3]) -> u8[3] {
  %y = bit_shift %a, %b {direction = "RIGHT"} : u8[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn right_shift_copies_the_sign() {
        assert_eq!(
            ints2("BitShift", attrs! { direction: "RIGHT" }, &[-8, -8, 8, 8], &[1, 40, 40, -1]).unwrap(),
            [-4, -1, 0, 0]
        );
    }
    #[test]
    fn left_shift_discards() {
        assert_eq!(
            ints2("BitShift", attrs! { direction: "LEFT" }, &[1, 3, 3], &[31, 31, 32]).unwrap(),
            [i128::from(i32::MIN), i128::from(i32::MIN), 0]
        );
    }

    #[test]
    fn bit_shift_constraints_are_named() {
        let label = |d: &str, t: DType, n: usize| {
            violated("BitShift", attrs! { direction: d }, &[Type::tensor(t, &[2]), Type::tensor(t, &[n])])
        };
        assert_eq!(label("LEFT", DType::F32, 2).as_deref(), Some("BitShift.C1"));
        assert_eq!(label("LEFT", DType::I32, 3).as_deref(), Some("BitShift.C2"));
        assert_eq!(label("UP", DType::I32, 2).as_deref(), Some("BitShift.C3"));
    }
}
