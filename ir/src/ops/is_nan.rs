//! `y = (x is NaN)`, element by element.
//!
//! - **C1** `x` is a float, 8-bit ones included
//!
//! ONNX `IsNaN`: opset 9, 13 (bfloat16), 20 (8-bit floats).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `IsNaN` has no attributes.
    pub struct IsNaN {}
}

impl Op for IsNaN {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, FLOATS_AND_8)?;
        cx.output(DType::Bool, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        cx.push(Tensor::from_bools(x.shape(), x.floats()?.into_iter().map(f64::is_nan)));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::unary(cx, |c, x| c.is_nan(x))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

op! {
    IsNaN in "ai.onnx" since [9, 13, 20 brings "f8"]; "X" => "Y";
    summary: "whether elements are NaN";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @is_na_n([1.0, nan, inf]) == [false, true, false]
graph @is_na_n(%a: f32[3]) -> bool[3] {
  %y = is_nan %a : bool[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;

    #[test]
    fn is_nan_finds_only_nan() {
        let y = run1("IsNaN", attrs! {}, &[Tensor::from_slice(&[3], &[1.0f32, f32::NAN, f32::INFINITY])]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[3], [false, true, false]));
    }

    #[test]
    fn is_nan_c1_names_the_types() {
        refuses("IsNaN", &[DType::I32]);
    }
}
