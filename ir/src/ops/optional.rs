//! The operand as an optional, or an optional that holds nothing.
//!
//! - **C1** an operand is given, or the attribute `type` says what would be inside
//!
//! ONNX `Optional`: opset 15, 28 (types).

use super::common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Optional`.
    pub struct Optional {
        /// Type of the value inside, where there is none.
        r#type: Option<Type>,
    }
}

impl Op for Optional {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let inside = if cx.has(0) { Some(cx.ty(0)?.clone()) } else { self.r#type.clone() };
        cx.require("C1", inside.is_some(), || "neither an operand nor `type` is given".into())?;
        cx.output_type(Type::Optional(Box::new(inside.unwrap_or_default())))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        if cx.has(0) {
            let v = cx.value(0)?.clone();
            cx.push(Value::Optional(v.ty(), Some(Box::new(v))));
        } else {
            cx.push(Value::Optional(self.r#type.clone().unwrap_or_default(), None));
        }
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Optional in "ai.onnx" since [15, 28 brings "bf16 f8 f4e2m1 f8e8m0 i2 i4 u2 u4"]; "input?" => "output";
    summary: "a value as an optional";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @filled([1.0, 2.0]) == some([1.0, 2.0])
graph @filled(%a: f32[2]) -> optional<f32[2]> {
  %0 = optional %a
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn optional_holds_or_is_empty() {
        let x = Value::from(Tensor::scalar(1f32));
        let y = run("ai.onnx", "Optional", attrs! {}, &[Some(x.clone())], 1).unwrap().remove(0);
        assert_eq!(run("ai.onnx", "OptionalGetElement", attrs! {}, &[Some(y.clone())], 1).unwrap()[0], x);
        let has = |v: Option<Value>| run("ai.onnx", "OptionalHasElement", attrs! {}, &[v], 1).unwrap().remove(0);
        assert_eq!(has(Some(y)), Tensor::from_bools(&[], [true]).into());
        assert_eq!(has(None), Tensor::from_bools(&[], [false]).into());
        let none = Value::Optional(Type::tensor(DType::F32, &[]), None);
        assert_eq!(has(Some(none.clone())), Tensor::from_bools(&[], [false]).into());
        assert!(run("ai.onnx", "OptionalGetElement", attrs! {}, &[Some(none)], 1).is_err());
    }

    #[test]
    fn optional_c1_wants_operand_or_type() {
        assert_eq!(violated("Optional", attrs! {}, &[]).as_deref(), Some("Optional.C1"));
    }
}
