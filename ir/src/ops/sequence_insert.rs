//! A sequence with a tensor put in before a position (left out: at the end).
//!
//! - **C1** the first operand is a sequence
//! - **C2** the tensor has its kind and element type
//! - **C3** `position` is one `i32` or `i64`
//!
//! A position outside `-n..=n` is an error. ONNX `SequenceInsert`: opset 11.

use super::common::*;
use super::move_common::*;
use super::sequence_common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `SequenceInsert` has no attributes.
    pub struct SequenceInsert {}
}

impl Op for SequenceInsert {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let element = element_type(cx, "C1", 0)?;
        let ty = cx.ty(1)?;
        let joined = join(&element, ty, &mut || cx.fresh());
        cx.require("C2", joined.is_some(), || format!("{ty} does not fit a sequence of {element}"))?;
        if cx.has(2) {
            require_position(cx, "C3", 2)?;
        }
        cx.output_type(Type::Sequence(Box::new(joined.unwrap_or_default())))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let mut items = items(cx, 0)?.to_vec();
        let n = items.len() as i64;
        let at = cx.tensor_opt(2)?.map(one_int).transpose()?.unwrap_or(n);
        if !(-n..=n).contains(&at) {
            return Err(Error::invalid(format!("position {at} is outside -{n}..={n}")));
        }
        items.insert(if at < 0 { at + n } else { at } as usize, cx.value(1)?.clone());
        push_sequence(cx, 0, items);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SequenceInsert in "ai.onnx" since [11]; "input_sequence, tensor, position?" => "output_sequence";
    summary: "a sequence with one element more";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @first([1.0], [3.0]) == seq [[3.0], [1.0]]
graph @first(%a: f32[1], %b: f32[1]) -> seq<f32[...]> {
  %i = constant i64[] 0
  %0 = sequence_construct %a
  %1 = sequence_insert %0, %b, %i
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn sequence_insert_counts_from_the_end() {
        let t = |v: i64| Value::from(Tensor::scalar(v));
        let s = |v: Vec<Value>| Value::Sequence(Type::tensor(DType::I64, &[]), v);
        let x = s(vec![t(5), t(6)]);
        let go = |p: i64| run("ai.onnx", "SequenceInsert", attrs! {}, &[Some(x.clone()), Some(t(9)), Some(t(p))], 1);
        assert_eq!(go(-1).unwrap()[0], s(vec![t(5), t(9), t(6)]));
        assert_eq!(go(2).unwrap()[0], s(vec![t(5), t(6), t(9)]));
        assert!(go(3).is_err());
    }

    #[test]
    fn sequence_insert_constraints_are_named() {
        let t = |d| Type::tensor(d, &[]);
        let s = Type::Sequence(Box::new(t(DType::F32)));
        let label = |types: &[Type]| violated("SequenceInsert", attrs! {}, types);
        assert_eq!(label(&[t(DType::F32), t(DType::F32)]).as_deref(), Some("SequenceInsert.C1"));
        assert_eq!(label(&[s.clone(), t(DType::I32)]).as_deref(), Some("SequenceInsert.C2"));
        assert_eq!(label(&[s, t(DType::F32), t(DType::F32)]).as_deref(), Some("SequenceInsert.C3"));
    }
}
