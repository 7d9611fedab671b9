//! `c = a > b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! False where an operand is NaN. ONNX `Greater`: opset 1 (`broadcast`, `axis`), 7 (broadcasting), 9 (integers), 13
//! (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Greater` has no attributes.
    pub struct Greater {}
}

impl Op for Greater {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, Some(DType::Bool))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_compare(cx, |a, b| a > b, |a, b| a > b, |a, b| a > b)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.gt(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

op! {
    Greater in "ai.onnx" since [1, 7, 9, 13]; "A, B" => "C";
    summary: "a > b, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @greater([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [false, false, true]
graph @greater(%a: f32[3], %b: f32[3]) -> bool[3] {
  %y = greater %a, %b : bool[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn greater_orders_integers() {
        assert_eq!(ints2("Greater", attrs! {}, &[-1, 0, 1], &[0]).unwrap(), [0, 0, 1]);
    }

    #[test]
    fn greater_is_false_for_nan() {
        let y = run1("Greater", attrs! {}, &[Tensor::scalar(f32::NAN), Tensor::scalar(f32::NAN)]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[], [false]));
    }

    #[test]
    fn greater_c1_names_the_types_and_c2_the_shapes() {
        refuses("Greater", &[DType::Bool, DType::Bool]);
        refuses_shapes("Greater", DType::F32);
    }
}
