//! `y = x_0 + … + x_n`, element by element, with broadcasting.
//!
//! - **C1** all operands are floats of one type, and there is at least one
//! - **C2** their shapes broadcast
//!
//! The sum is rounded once. ONNX `Sum`: opset 1 and 6 (equal shapes), 8 (broadcasting), 13 (bfloat16).

use super::common::*;
use super::lowering;
use super::lowering::ComputeBuilder;
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Sum` has no attributes.
    pub struct Sum {}
}

impl Op for Sum {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        variadic_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_variadic(cx, |a, b| a + b, i128::wrapping_add, |x| x)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::variadic(cx, ComputeBuilder::add, |_, y| y)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let mut all = x.iter().copied();
        let Some(mut y) = all.next().flatten() else { return Ok(None) };
        for v in all {
            let Some(v) = v else { return Ok(None) };
            y = b.op("Add", attrs! {}, &[y, v])?;
        }
        Ok((x.len() > 1).then(|| vec![y]))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, accuracy: Accuracy::Reduction, ..Facts::POINTWISE }
    }
}

op! {
    Sum in "ai.onnx" since [1, 6, 8, 13]; "data_0, data_n*" => "sum";
    summary: "sum of all operands";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sum([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[11.0, 22.0, 0.0], [14.0, 25.0, 3.0]]
graph @sum(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = sum %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn sum_of_one_and_of_three() {
        let t = |v: &[f32]| Tensor::from_slice(&[v.len()], v);
        assert_eq!(run1("Sum", attrs! {}, &[t(&[1.0, 2.0])]).unwrap(), t(&[1.0, 2.0]));
        assert_eq!(run1("Sum", attrs! {}, &[t(&[1.0, 2.0]), t(&[10.0]), t(&[0.5, 0.25])]).unwrap(), t(&[11.5, 12.25]));
    }

    #[test]
    fn sum_c1_names_the_types_and_c2_the_shapes() {
        refuses("Sum", &[DType::Bool, DType::Bool]);
        refuses("Sum", &[DType::F32, DType::F64]);
        refuses_shapes("Sum", DType::F32);
    }
}
