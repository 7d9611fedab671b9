//! The number of elements of a sequence, `i64` of rank 0.
//!
//! - **C1** the operand is a sequence
//!
//! ONNX `SequenceLength`: opset 11.

use super::common::*;
use super::sequence_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `SequenceLength` has no attributes.
    pub struct SequenceLength {}
}

impl Op for SequenceLength {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        element_type(cx, "C1", 0)?;
        cx.output(DType::I64, vec![])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let n = items(cx, 0)?.len() as i64;
        cx.push(Tensor::scalar(n));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SequenceLength in "ai.onnx" since [11]; "input_sequence" => "length";
    summary: "the number of elements of a sequence";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @length([1.0, 2.0], [3.0]) == 2
graph @length(%a: f32[2], %b: f32[1]) -> i64[] {
  %0 = sequence_construct %a, %b
  %1 = sequence_length %0
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn sequence_length_counts() {
        let s = Value::Sequence(Type::tensor(DType::I64, &[]), vec![Tensor::scalar(1i64).into()]);
        let y = run("ai.onnx", "SequenceLength", attrs! {}, &[Some(s)], 1).unwrap();
        assert_eq!(y[0], Tensor::scalar(1i64).into());
    }

    #[test]
    fn sequence_length_c1_rejects_a_tensor() {
        let t = Type::tensor(DType::F32, &[]);
        assert_eq!(violated("SequenceLength", attrs! {}, &[t]).as_deref(), Some("SequenceLength.C1"));
    }
}
