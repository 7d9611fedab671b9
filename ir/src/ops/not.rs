//! `y = ¬x`, element by element.
//!
//! - **C1** `x` is bool
//!
//! ONNX `Not`: opset 1.

use super::common::*;
use super::lowering;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Not` has no attributes.
    pub struct Not {}
}

impl Op for Not {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, &[DType::Bool])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_unary(cx, |x| x, |x| i128::from(x == 0))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.not(x))
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

op! {
    Not in "ai.onnx" since [1]; "X" => "Y";
    summary: "logical negation";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @not([true, false]) == [false, true]
graph @not(%a: bool[2]) -> bool[2] {
  %y = not %a : bool[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn not_turns_truth_values() {
        let y = run1("Not", attrs! {}, &[Tensor::from_bools(&[2], [true, false])]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[2], [false, true]));
    }

    #[test]
    fn not_c1_names_the_types() {
        refuses("Not", &[DType::U8]);
    }
}
