//! `c = (a == b)`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers, bool or strings of one type
//! - **C2** their shapes broadcast
//!
//! NaN equals nothing, and 0 equals -0. ONNX `Equal`: opset 1 (`broadcast`, `axis`), 7 (broadcasting), 11 (floats),
//! 13 (bfloat16), 19 (strings).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Equal` has no attributes.
    pub struct Equal {}
}

impl Op for Equal {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, &[sets::NUMBERS, &[DType::Bool, DType::String]].concat(), Some(DType::Bool))?;
        values(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_compare(cx, |a, b| a == b, |a, b| a == b, |a, b| a == b)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.eq(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, in_place: &[], ..Facts::POINTWISE }
    }
}

/// Equality of known integers, as 0 and 1, for conditions on shapes.
fn values(cx: &mut RuleCx<'_>) -> RuleResult {
    partial_values(cx, |a, b| Cond::eq(a, b).as_bool().map(|same| Dim::int(same.into())))
}

op! {
    Equal in "ai.onnx" since [1, 7, 11, 13, 19 brings "string"]; "A, B" => "C";
    summary: "whether elements are equal, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @equal([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [false, true, false]
graph @equal(%a: f32[3], %b: f32[3]) -> bool[3] {
  %y = equal %a, %b : bool[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn equal_compares_strings_and_not_nan() {
        let s = |t: &[&str]| Tensor::from_strings(&[t.len()], t.iter().map(|&s| Arc::from(s)).collect());
        let y = run1("Equal", attrs! {}, &[s(&["a", "b"]), s(&["a"])]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[2], [true, false]));
        let x = Tensor::from_slice(&[2], &[f32::NAN, -0.0]);
        let y = run1("Equal", attrs! {}, &[x.clone(), x]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[2], [false, true]));
    }

    #[test]
    fn equal_c1_names_the_types_and_c2_the_shapes() {
        refuses("Equal", &[DType::C64, DType::C64]);
        refuses_shapes("Equal", DType::F32);
    }
}
