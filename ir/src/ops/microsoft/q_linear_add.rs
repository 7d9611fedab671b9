//! `c = quantise(dequantise(a) + dequantise(b))`, with broadcasting.
//!
//! - **C1** quantised operands are `i8` or `u8`
//! - parameters as for [`dequantize_linear`](crate::ops::dequantize_linear)
//!
//! Evaluated through `f32`: dequantise, compute, quantise. ONNX Runtime `com.microsoft::QLinearAdd`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::ops::quantized::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `QLinearAdd` has no attributes.
    pub struct QLinearAdd {}
}

impl Op for QLinearAdd {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, BYTES)?;
        cx.require_dtype("C1", 3, BYTES)?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let p = dequantize(b, at(0), at(1), at(2), 1)?;
        let q = dequantize(b, at(3), at(4), at(5), 1)?;
        let y = b.op("Add", attrs! {}, &[p, q])?;
        Ok(Some(vec![quantize(b, y, at(6), at(7), at(0))?]))
    }
}

op! {
    QLinearAdd in "com.microsoft" since [1]; "A, A_scale, A_zero_point?, B, B_scale, B_zero_point?, C_scale, C_zero_point?" => "C";
    summary: "sum of quantised tensors, quantised";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn q_linear_add_of_two() {
        let operands = [
            Tensor::from_slice(&[2], &[4u8, 6]),
            Tensor::scalar(0.5f32),
            Tensor::scalar(0u8),
            Tensor::from_slice(&[1], &[5u8]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(1u8),
            Tensor::scalar(2.0f32),
            Tensor::scalar(10u8),
        ]
        .map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "QLinearAdd", attrs! {}, &operands, 1).unwrap();
        let want = [13.0, 14.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
