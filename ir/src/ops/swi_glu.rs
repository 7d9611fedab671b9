//! `y = a / (1 + e^(-alpha a)) b`: a gate by the logistic function, element by element.
//!
//! - **C1** `a` and `b` are floats of one type
//! - **C2** they have one shape
//!
//! ONNX `SwiGLU`: opset 28.

use super::common::*;
use super::lowering::{self, BinOp};
use super::pointwise::sigmoid;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SwiGLU`.
    pub struct SwiGLU {
        /// Factor within the logistic function.
        alpha: f32 = 1.0f32,
    }
}

impl Op for SwiGLU {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", [0, 1])?;
        let (a, b) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", a.len() == b.len(), || format!("ranks are {} and {}", a.len(), b.len()))?;
        for (a, b) in a.iter().zip(&b) {
            cx.require_eq("C2", a, b)?;
        }
        cx.output(dtype, a)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let alpha = f64::from(self.alpha);
        eval_binary(cx, |a, b| a * sigmoid(alpha * a) * b, |a, _| Ok(a))
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let (Some(gate), Some(value)) = (x[0], x[1]) else { return Ok(None) };
        let gate = b.op("Swish", attrs! { alpha: self.alpha }, &[gate])?;
        Ok(Some(vec![b.op("Mul", attrs! {}, &[gate, value])?]))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| {
            let scaled = c.bin_const(BinOp::Mul, a, self.alpha.into());
            let s = c.sigmoid(scaled);
            let gate = c.mul(a, s);
            c.mul(gate, b)
        })
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Ulp(4), ..Facts::POINTWISE }
    }
}

op! {
    SwiGLU in "ai.onnx" since [28]; "A, B" => "Y";
    summary: "swish of a gate times a value";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @swiglu([[1.0, -2.0, 3.0, 4.0], [-1.0, 2.0, -3.0, 0.5]], [[0.5, 1.0, -1.0, 2.0], [2.0, -1.0, 0.5, 1.0]]) ~= [[0.3655293, -0.23840587, -2.8577223, 7.85611], [-0.5378828, -1.761594, -0.071138814, 0.31122968]]
graph @swiglu(%a: f32[2, 4], %b: f32[2, 4]) -> f32[2, 4] {
  %y = swi_glu %a, %b : f32[2, 4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn swi_glu_at_one() {
        let y = run1("SwiGLU", attrs! { alpha: 2.0f32 }, &[Tensor::scalar(1.0f64), Tensor::scalar(3.0f64)]).unwrap();
        assert!(close(y.floats().unwrap()[0], 3.0 / (1.0 + (-2f64).exp())));
    }

    #[test]
    fn swi_glu_c1_names_the_types_and_c2_the_shapes() {
        refuses("SwiGLU", &[DType::I32, DType::I32]);
        refuses_shapes("SwiGLU", DType::F32);
    }
}
