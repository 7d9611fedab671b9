//! `y = 1 if x > threshold else 0`, of the operand's type.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`
//!
//! NaN gives 0. ONNX `Binarizer` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::super::lowering;
use super::scores::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Binarizer`.
    pub struct Binarizer {
        /// What an element must exceed.
        threshold: f32 = 0.0,
    }
}

impl Op for Binarizer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        unary_rule(cx, FEATURES)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let on = x.floats()?.into_iter().map(|v| f64::from(u8::from(v > f64::from(self.threshold))));
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), on));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let dtype = cx.dtype(0);
        lowering::unary(cx, |c, v| {
            let wide = c.cast(v, DType::F64);
            let least = c.float(DType::F64, self.threshold.into());
            let above = c.gt(wide, least);
            let (on, off) = (c.one(dtype), c.zero(dtype));
            c.select(above, on, off)
        })
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::POINTWISE }
    }
}

op! {
    Binarizer in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "1 above a threshold, else 0";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_binarizer([[-1.0, 0.5, 2.0]]) == [[0.0, 0.0, 1.0]]
graph @ml_binarizer(%a: f32[1, 3]) -> f32[1, 3] {
  %y = ml.binarizer %a {threshold = 0.5} : f32[1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn binarizer_is_strict() {
        let x = Tensor::from_slice(&[3], &[1f32, 0.0, f32::NAN]);
        let y = run("ai.onnx.ml", "Binarizer", attrs! {}, &[Some(x.into())], 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[3], &[1f32, 0.0, 0.0]).into());
    }
}
