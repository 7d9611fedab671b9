//! A sequence of the operands, in order.
//!
//! - **C1** there is an operand, and all have one kind and element type
//!
//! ONNX `SequenceConstruct`: opset 11.

use super::common::*;
use super::move_common::*;
use super::sequence_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `SequenceConstruct` has no attributes.
    pub struct SequenceConstruct {}
}

impl Op for SequenceConstruct {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C1", cx.n_inputs() > 0, || "no operand is given".into())?;
        let mut element = cx.ty(0)?.clone();
        for i in 1..cx.n_inputs() {
            let ty = cx.ty(i)?;
            let joined = join(&element, ty, &mut || cx.fresh());
            cx.require("C1", joined.is_some(), || format!("operand {i} is {ty}, an earlier one {element}"))?;
            element = joined.unwrap_or_default();
        }
        cx.output_type(Type::Sequence(Box::new(element)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let items = (0..cx.n_inputs()).map(|i| cx.value(i).cloned()).collect::<Result<_>>()?;
        push_sequence(cx, 0, items);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SequenceConstruct in "ai.onnx" since [11]; "inputs*" => "output_sequence";
    summary: "a sequence of the operands";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pair([1.0, 2.0], [3.0]) == seq [[1.0, 2.0], [3.0]]
graph @pair(%a: f32[2], %b: f32[1]) -> seq<f32[...]> {
  %0 = sequence_construct %a, %b
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn sequence_construct_joins_shapes() {
        let inputs = [Some(Tensor::scalar(1f32).into()), Some(Tensor::from_slice(&[1], &[2f32]).into())];
        let y = run("ai.onnx", "SequenceConstruct", attrs! {}, &inputs, 1).unwrap().remove(0);
        assert_eq!(y.ty().to_string(), "seq<f32[...]>");
    }

    #[test]
    fn sequence_construct_c1_rejects_mixed_kinds() {
        let types = [Type::tensor(DType::F32, &[]), Type::tensor(DType::I32, &[])];
        assert_eq!(violated("SequenceConstruct", attrs! {}, &types).as_deref(), Some("SequenceConstruct.C1"));
    }
}
