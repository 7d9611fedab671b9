//! `c = a < b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! False where an operand is NaN. ONNX `Less`: opset 1 (`broadcast`, `axis`), 7 (broadcasting), 9 (integers), 13
//! (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Less` has no attributes.
    pub struct Less {}
}

impl Op for Less {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, Some(DType::Bool))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_compare(cx, |a, b| a < b, |a, b| a < b, |a, b| a < b)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.lt(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

op! {
    Less in "ai.onnx" since [1, 7, 9, 13]; "A, B" => "C";
    summary: "a < b, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @less([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [true, false, false]
graph @less(%a: f32[3], %b: f32[3]) -> bool[3] {
  %y = less %a, %b : bool[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn less_orders_integers() {
        assert_eq!(ints2("Less", attrs! {}, &[-1, 0, 1], &[0]).unwrap(), [1, 0, 0]);
    }

    #[test]
    fn less_is_false_for_nan() {
        let y = run1("Less", attrs! {}, &[Tensor::scalar(f32::NAN), Tensor::scalar(f32::NAN)]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[], [false]));
    }

    #[test]
    fn less_c1_names_the_types_and_c2_the_shapes() {
        refuses("Less", &[DType::Bool, DType::Bool]);
        refuses_shapes("Less", DType::F32);
    }
}
