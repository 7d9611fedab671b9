//! A sequence without the element at a position (left out: the last).
//!
//! - **C1** the first operand is a sequence
//! - **C2** `position` is one `i32` or `i64`
//!
//! A position outside `-n..n` is an error. ONNX `SequenceErase`: opset 11.

use super::common::*;
use super::move_common::one_int;
use super::sequence_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `SequenceErase` has no attributes.
    pub struct SequenceErase {}
}

impl Op for SequenceErase {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let element = element_type(cx, "C1", 0)?;
        if cx.has(1) {
            require_position(cx, "C2", 1)?;
        }
        cx.output_type(Type::Sequence(Box::new(element)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let mut items = items(cx, 0)?.to_vec();
        let at = cx.tensor_opt(1)?.map(one_int).transpose()?.unwrap_or(-1);
        items.remove(normal_index(at, items.len())?);
        push_sequence(cx, 0, items);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SequenceErase in "ai.onnx" since [11]; "input_sequence, position?" => "output_sequence";
    summary: "a sequence without one element";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @without_first([1.0, 2.0], [3.0]) == seq [[3.0]]
graph @without_first(%a: f32[2], %b: f32[1]) -> seq<f32[...]> {
  %i = constant i64[] 0
  %0 = sequence_construct %a, %b
  %1 = sequence_erase %0, %i
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn sequence_erase_takes_the_last_by_default() {
        let t = |v: i64| Value::from(Tensor::scalar(v));
        let s = |v: Vec<Value>| Value::Sequence(Type::tensor(DType::I64, &[]), v);
        let go = |x: Value| run("ai.onnx", "SequenceErase", attrs! {}, &[Some(x)], 1);
        assert_eq!(go(s(vec![t(5), t(6)])).unwrap()[0], s(vec![t(5)]));
        assert!(go(s(vec![])).is_err());
    }

    #[test]
    fn sequence_erase_constraints_are_named() {
        let t = |d| Type::tensor(d, &[]);
        let s = Type::Sequence(Box::new(t(DType::F32)));
        assert_eq!(violated("SequenceErase", attrs! {}, &[t(DType::F32)]).as_deref(), Some("SequenceErase.C1"));
        assert_eq!(violated("SequenceErase", attrs! {}, &[s, t(DType::F32)]).as_deref(), Some("SequenceErase.C2"));
    }
}
