//! `c = a b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! Integers wrap. Enters shape arithmetic. ONNX `Mul`: opset 1 and 6 (`broadcast`, `axis`), 7 (numpy's broadcasting),
//! 13, 14 (8- and 16-bit integers).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Mul` has no attributes.
    pub struct Mul {}
}

impl Op for Mul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, None)?;
        binary_values(cx, |a, b| a * b)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |a, b| a * b, |a, b| Ok(a.wrapping_mul(b)))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.mul(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Ulp(1), ..Facts::POINTWISE }
    }
}

op! {
    Mul in "ai.onnx" since [1, 6, 7, 13, 14 brings "i8 i16 u8 u16"]; "A, B" => "C";
    summary: "c = a b, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mul([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[10.0, 40.0, -9.0], [40.0, 100.0, -18.0]]
graph @mul(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = mul %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;
    use crate::tensor::Tensor;

    #[test]
    fn mul_wraps() {
        assert_eq!(ints2("Mul", attrs! {}, &[3, i32::MIN], &[-2, 2]).unwrap(), [-6, 0]);
    }

    #[test]
    fn mul_of_the_greatest_unsigned_wraps() {
        let a = Tensor::scalar(u64::MAX);
        assert_eq!(run1("Mul", attrs! {}, &[a.clone(), a]).unwrap(), Tensor::scalar(1u64));
    }

    #[test]
    fn mul_c1_names_the_types_and_c2_the_shapes() {
        refuses("Mul", &[DType::Bool, DType::Bool]);
        refuses_shapes("Mul", DType::F32);
    }
}
