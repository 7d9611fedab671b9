//! Whether an optional holds a value, `bool` of rank 0; true for other values, false for no operand.
//!
//! ONNX `OptionalHasElement`: opset 15, 18 (other values, no operand), 28 (types).

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `OptionalHasElement` has no attributes.
    pub struct OptionalHasElement {}
}

impl Op for OptionalHasElement {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.output(DType::Bool, vec![])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let has = cx.has(0) && !matches!(cx.value(0)?, Value::Optional(_, None));
        cx.push(Tensor::from_bools(&[], [has]));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    OptionalHasElement in "ai.onnx" since [15, 18, 28 brings "bf16 f8 f4e2m1 f8e8m0 i2 i4 u2 u4"];
    "input?" => "output";
    summary: "whether an optional holds a value";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @there(some([1.0])) == true
// run: @there(none) == false
graph @there(%a: optional<f32[1]>) -> bool[] {
  %0 = optional_has_element %a
  return %0
}
"#;
