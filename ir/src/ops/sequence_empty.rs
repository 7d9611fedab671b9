//! An empty sequence of tensors of one element type.
//!
//! ONNX `SequenceEmpty`: opset 11.

use super::common::*;
use super::sequence_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SequenceEmpty`.
    pub struct SequenceEmpty {
        /// Element type of the tensors.
        dtype: DType = DType::F32,
    }
}

impl Op for SequenceEmpty {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let element = Type::Tensor(TensorType { dtype: self.dtype, shape: Shape::Unranked });
        cx.output_type(Type::Sequence(Box::new(element)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        push_sequence(cx, 0, Vec::new());
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SequenceEmpty in "ai.onnx" since [11]; "" => "output";
    summary: "an empty sequence";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @length() == 0
graph @length() -> i64[] {
  %0 = sequence_empty {dtype = f32}
  %1 = sequence_length %0
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn sequence_empty_keeps_its_type() {
        let y = run("ai.onnx", "SequenceEmpty", attrs! { dtype: DType::I64 }, &[], 1).unwrap().remove(0);
        assert_eq!(y.ty().to_string(), "seq<i64[...]>");
    }
}
