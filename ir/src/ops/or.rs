//! `c = a ∨ b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are bool
//! - **C2** their shapes broadcast
//!
//! ONNX `Or`: opset 1 (`broadcast`, `axis`), 7.

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Or` has no attributes.
    pub struct Or {}
}

impl Op for Or {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, &[DType::Bool], None)
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
    Or in "ai.onnx" since [1, 7]; "A, B" => "C";
    summary: "either or both, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @or([false, false, true, true], [false, true, false, true]) == [false, true, true, true]
graph @or(%a: bool[4], %b: bool[4]) -> bool[4] {
  %y = or %a, %b : bool[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn or_has_its_truth_table() {
        let a = Tensor::from_bools(&[2, 1], [true, false]);
        let b = Tensor::from_bools(&[2], [true, false]);
        assert_eq!(run1("Or", attrs! {}, &[a, b]).unwrap().ints().unwrap(), [1, 1, 1, 0]);
    }

    #[test]
    fn or_c1_names_the_types_and_c2_the_shapes() {
        refuses("Or", &[DType::I32, DType::I32]);
        refuses_shapes("Or", DType::Bool);
    }
}
