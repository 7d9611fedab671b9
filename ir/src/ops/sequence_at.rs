//! The element of a sequence at a position, negative ones counted from the end.
//!
//! - **C1** the first operand is a sequence
//! - **C2** `position` is one `i32` or `i64`
//!
//! A position outside `-n..n` is an error. ONNX `SequenceAt`: opset 11.

use super::common::*;
use super::move_common::one_int;
use super::sequence_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `SequenceAt` has no attributes.
    pub struct SequenceAt {}
}

impl Op for SequenceAt {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let element = element_type(cx, "C1", 0)?;
        require_position(cx, "C2", 1)?;
        let ty = taken(cx, &element);
        cx.output_type(ty)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let items = items(cx, 0)?;
        let at = normal_index(one_int(cx.tensor(1)?)?, items.len())?;
        cx.push(items[at].clone());
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SequenceAt in "ai.onnx" since [11]; "input_sequence, position" => "tensor";
    summary: "the element of a sequence at a position";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @last([1.0, 2.0], [3.0, 4.0]) == f32[2] [3.0, 4.0]
graph @last(%a: f32[2], %b: f32[2]) -> f32[2] {
  %i = constant i64[] -1
  %0 = sequence_construct %a, %b
  %1 = sequence_at %0, %i
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn sequence_at_counts_from_the_end() {
        let t = |v: i64| Value::from(Tensor::scalar(v));
        let s = Value::Sequence(Type::tensor(DType::I64, &[]), vec![t(5), t(6)]);
        let go = |p: i64| run("ai.onnx", "SequenceAt", attrs! {}, &[Some(s.clone()), Some(t(p))], 1);
        assert_eq!(go(-1).unwrap()[0], t(6));
        assert!(go(2).is_err());
    }

    #[test]
    fn sequence_at_constraints_are_named() {
        let t = |d| Type::tensor(d, &[]);
        let s = Type::Sequence(Box::new(t(DType::F32)));
        let label = |a, b| violated("SequenceAt", attrs! {}, &[a, b]);
        assert_eq!(label(t(DType::F32), t(DType::I64)).as_deref(), Some("SequenceAt.C1"));
        assert_eq!(label(s, t(DType::F32)).as_deref(), Some("SequenceAt.C2"));
    }
}
