//! `c = a ∧ b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are bool
//! - **C2** their shapes broadcast
//!
//! ONNX `And`: opset 1 (`broadcast`, `axis`), 7.

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `And` has no attributes.
    pub struct And {}
}

impl Op for And {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, &[DType::Bool], None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |a, _| a, |a, b| Ok(a & b))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.and(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Exact, ..Facts::POINTWISE }
    }
}

op! {
    And in "ai.onnx" since [1, 7]; "A, B" => "C";
    summary: "both, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @and([false, false, true, true], [false, true, false, true]) == [false, false, false, true]
graph @and(%a: bool[4], %b: bool[4]) -> bool[4] {
  %y = and %a, %b : bool[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn and_has_its_truth_table() {
        let a = Tensor::from_bools(&[2, 1], [true, false]);
        let b = Tensor::from_bools(&[2], [true, false]);
        assert_eq!(run1("And", attrs! {}, &[a, b]).unwrap().ints().unwrap(), [1, 0, 0, 0]);
    }

    #[test]
    fn and_c1_names_the_types_and_c2_the_shapes() {
        refuses("And", &[DType::I32, DType::I32]);
        refuses_shapes("And", DType::Bool);
    }
}
