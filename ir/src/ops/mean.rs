//! `y = (x_0 + … + x_n) / (n + 1)`, element by element, with broadcasting.
//!
//! - **C1** all operands are floats of one type, and there is at least one
//! - **C2** their shapes broadcast
//!
//! The quotient is rounded once. ONNX `Mean`: opset 1 and 6 (equal shapes), 8 (broadcasting), 13 (bfloat16).

use super::common::*;
use super::lowering::{self, BinOp, ComputeBuilder};
use super::pointwise::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Mean` has no attributes.
    pub struct Mean {}
}

impl Op for Mean {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        variadic_rule(cx, sets::FLOATS)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let n = cx.n_inputs() as f64;
        eval_variadic(cx, |a, b| a + b, i128::wrapping_add, |x| x / n)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(n) = x[0].and_then(|v| scalar_like(b, v, x.len() as f64)) else { return Ok(None) };
        let sum = b.node("ai.onnx", "Sum", attrs! {}, x, 1)?[0];
        Ok(Some(vec![b.op("Div", attrs! {}, &[sum, n])?]))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let n = cx.inputs.len() as f64;
        lowering::variadic(cx, ComputeBuilder::add, |c, sum| c.bin_const(BinOp::Div, sum, n))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, accuracy: Accuracy::Reduction, ..Facts::POINTWISE }
    }
}

op! {
    Mean in "ai.onnx" since [1, 6, 8, 13]; "data_0, data_n*" => "mean";
    summary: "mean of all operands";
    upgrade: drop_hints;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mean([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[5.5, 11.0, 0.0], [7.0, 12.5, 1.5]]
graph @mean(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = mean %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn mean_of_three() {
        let t = |v: &[f32]| Tensor::from_slice(&[v.len()], v);
        assert_eq!(run1("Mean", attrs! {}, &[t(&[1.0, 2.0]), t(&[4.0]), t(&[1.0, 0.0])]).unwrap(), t(&[2.0, 2.0]));
    }

    #[test]
    fn mean_c1_names_the_types_and_c2_the_shapes() {
        refuses("Mean", &[DType::Bool, DType::Bool]);
        refuses("Mean", &[DType::F32, DType::F64]);
        refuses_shapes("Mean", DType::F32);
    }
}
