//! `y = quantise(Sigmoid(dequantise(x)))`.
//!
//! - **C1** quantised operands are `i8` or `u8`
//! - parameters as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, compute, quantise. ONNX Runtime `com.microsoft::QLinearSigmoid`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::ops::quantized::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `QLinearSigmoid` has no attributes.
    pub struct QLinearSigmoid {}
}

impl Op for QLinearSigmoid {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, BYTES)?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let p = dequantize(b, at(0), at(1), at(2), 1)?;
        let y = b.op("Sigmoid", attrs! {}, &[p])?;
        Ok(Some(vec![quantize(b, y, at(3), at(4), at(0))?]))
    }
}

op! {
    QLinearSigmoid in "com.microsoft" since [1]; "X, X_scale, X_zero_point?, Y_scale, Y_zero_point?" => "Y";
    summary: "logistic function of a quantised tensor, quantised";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn q_linear_sigmoid_at_zero() {
        let operands = [
            Tensor::from_slice(&[2], &[3u8, 255]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(3u8),
            Tensor::scalar(0.25f32),
            Tensor::scalar(1u8),
        ]
        .map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "QLinearSigmoid", attrs! {}, &operands, 1).unwrap();
        let want = [3.0, 5.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
