//! The value inside an optional; any other value itself.
//!
//! An optional that holds nothing is an error at run time. ONNX `OptionalGetElement`: opset 15, 18 (other values), 28
//! (types).

use super::common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `OptionalGetElement` has no attributes.
    pub struct OptionalGetElement {}
}

impl Op for OptionalGetElement {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let ty = match cx.ty(0)? {
            Type::Optional(t) => (**t).clone(),
            other => other.clone(),
        };
        cx.output_type(ty)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let v = match cx.value(0)? {
            Value::Optional(_, Some(v)) => (**v).clone(),
            Value::Optional(_, None) => return Err(Error::invalid("the optional holds nothing")),
            other => other.clone(),
        };
        cx.push(v);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    OptionalGetElement in "ai.onnx" since [15, 18, 28 brings "bf16 f8 f4e2m1 f8e8m0 i2 i4 u2 u4"];
    "input" => "output";
    summary: "the value inside an optional";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @inside(some([1.0, 2.0])) == [1.0, 2.0]
graph @inside(%a: optional<f32[2]>) -> f32[2] {
  %0 = optional_get_element %a
  return %0
}
"#;
