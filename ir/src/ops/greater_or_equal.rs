//! `c = a >= b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! False where an operand is NaN. ONNX `GreaterOrEqual`: opset 12, 16 (bfloat16).

use super::common::*;
use super::lowering;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `GreaterOrEqual` has no attributes.
    pub struct GreaterOrEqual {}
}

impl Op for GreaterOrEqual {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, Some(DType::Bool))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_compare(cx, |a, b| a >= b, |a, b| a >= b, |a, b| a >= b)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.ge(a, b))
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let (Some(p), Some(q)) = (x[0], x[1]) else { return Ok(None) };
        let (strict, equal) = (b.op("Greater", attrs! {}, &[p, q])?, b.op("Equal", attrs! {}, &[p, q])?);
        Ok(Some(vec![b.op("Or", attrs! {}, &[strict, equal])?]))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

op! {
    GreaterOrEqual in "ai.onnx" since [12, 16 brings "bf16"]; "A, B" => "C";
    summary: "a >= b, with broadcasting";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @greater_or_equal([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [false, true, true]
graph @greater_or_equal(%a: f32[3], %b: f32[3]) -> bool[3] {
  %y = greater_or_equal %a, %b : bool[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn greater_or_equal_orders_integers() {
        assert_eq!(ints2("GreaterOrEqual", attrs! {}, &[-1, 0, 1], &[0]).unwrap(), [0, 1, 1]);
    }

    #[test]
    fn greater_or_equal_is_false_for_nan() {
        let y = run1("GreaterOrEqual", attrs! {}, &[Tensor::scalar(f32::NAN), Tensor::scalar(f32::NAN)]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[], [false]));
    }

    #[test]
    fn greater_or_equal_c1_names_the_types_and_c2_the_shapes() {
        refuses("GreaterOrEqual", &[DType::Bool, DType::Bool]);
        refuses_shapes("GreaterOrEqual", DType::F32);
    }
}
