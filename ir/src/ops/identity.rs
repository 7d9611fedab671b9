//! `y = x`: any value, tensors, sequences and optionals alike.
//!
//! ONNX `Identity`: opset 1, 13, 14 (sequences), 16 (optionals), 19, 21, 23, 24, 25 (types).

use super::common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Identity` has no attributes.
    pub struct Identity {}
}

impl Op for Identity {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.ty(0)?;
        let fact = cx.fact(0)?.clone();
        cx.output_fact(fact)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.value(0)?.clone();
        cx.push(x);
        Ok(())
    }

    fn lower(&self, _cx: &LowerCx<'_>) -> Result<Lowering> {
        Ok(Lowering::View)
    }

    fn facts(&self) -> Facts {
        Facts::VIEW
    }
}

op! {
    Identity in "ai.onnx" since [1, 13, 14 brings "seq", 16 brings "optional bf16", 19 brings "f8", 21 brings "i4 u4",
        23 brings "f4e2m1", 24 brings "f8e8m0", 25 brings "i2 u2"];
    "input" => "output";
    summary: "the operand itself";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @identity([-2.0, -0.5, 0.0, 1.5]) == [-2.0, -0.5, 0.0, 1.5]
graph @identity(%a: f32[4]) -> f32[4] {
  %y = identity %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn identity_keeps_strings() {
        let x = Tensor::from_strings(&[1], vec!["a".into()]);
        assert_eq!(run1("Identity", attrs! {}, std::slice::from_ref(&x)).unwrap(), x);
    }
}
