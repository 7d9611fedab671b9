//! `c = a - b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! Integers wrap. Enters shape arithmetic. ONNX `Sub`: opset 1 and 6 (`broadcast`, `axis`), 7 (numpy's broadcasting),
//! 13, 14 (8- and 16-bit integers).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sub` has no attributes.
    pub struct Sub {}
}

impl Op for Sub {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, None)?;
        binary_values(cx, |a, b| a - b)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |a, b| a - b, |a, b| Ok(a - b))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.sub(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Ulp(1), ..Facts::POINTWISE }
    }
}

op! {
    Sub in "ai.onnx" since [1, 6, 7, 13, 14 brings "i8 i16 u8 u16"]; "A, B" => "C";
    summary: "c = a - b, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sub([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[-9.0, -18.0, 6.0], [-6.0, -15.0, 9.0]]
graph @sub(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = sub %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn sub_wraps() {
        assert_eq!(ints2("Sub", attrs! {}, &[1, i32::MIN], &[3, 1]).unwrap(), [-2, i128::from(i32::MAX)]);
    }

    #[test]
    fn sub_c1_names_the_types_and_c2_the_shapes() {
        refuses("Sub", &[DType::Bool, DType::Bool]);
        refuses_shapes("Sub", DType::F32);
    }
}
