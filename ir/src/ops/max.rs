//! `y` = the greatest of all operands, element by element, with broadcasting.
//!
//! - **C1** all operands are numbers of one type, and there is at least one
//! - **C2** their shapes broadcast
//!
//! NaN where an operand is NaN. Enters shape arithmetic. ONNX `Max`: opset 1 and 6 (equal shapes), 8 (broadcasting), 12 (integers), 13
//! (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::ComputeBuilder;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Max` has no attributes.
    pub struct Max {}
}

impl Op for Max {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        variadic_rule(cx, sets::NUMBERS)?;
        fold_values(cx, Dim::max)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_variadic(cx, max, i128::max, |x| x)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::variadic(cx, ComputeBuilder::max, |_, y| y)
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, accuracy: Accuracy::Exact, ..Facts::POINTWISE }
    }
}

op! {
    Max in "ai.onnx" since [1, 6, 8, 12, 13]; "data_0, data_n*" => "max";
    summary: "the greatest of all operands";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @max([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[10.0, 20.0, 3.0], [10.0, 20.0, 6.0]]
graph @max(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = max %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn max_of_three_spreads_nan() {
        let t = |v: &[f32]| Tensor::from_slice(&[v.len()], v);
        let y = run1("Max", attrs! {}, &[t(&[1.0, 2.0, f32::NAN]), t(&[1.5]), t(&[0.0, 3.0, 0.0])]).unwrap();
        let y = y.floats().unwrap();
        assert!(y[..2] == [1.5, 3.0] && y[2].is_nan());
    }

    #[test]
    fn max_of_large_integers_is_exact() {
        let y = run1("Max", attrs! {}, &[Tensor::scalar(u64::MAX), Tensor::scalar(u64::MAX - 1)]).unwrap();
        assert_eq!(y, Tensor::scalar(u64::MAX));
    }

    #[test]
    fn max_c1_names_the_types_and_c2_the_shapes() {
        refuses("Max", &[DType::Bool, DType::Bool]);
        refuses("Max", &[DType::F32, DType::F64]);
        refuses_shapes("Max", DType::F32);
    }
}
