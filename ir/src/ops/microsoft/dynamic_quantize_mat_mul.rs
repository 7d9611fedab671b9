//! `Y = A' @ (B - b_zero_point) * b_scale + bias`, `A'` being `A` quantised by its range and back.
//!
//! - **C1** `A`, scale and bias are `f32`, `B` is `i8` or `u8`, its zero point of its type
//! - **C2** scale, zero point and bias are one number or one a column of `B`
//! - shapes as for [`mat_mul_integer`](crate::ops::mat_mul_integer), quantisation as
//!   [`dynamic_quantize_linear`](crate::ops::dynamic_quantize_linear)
//!
//! ONNX Runtime `com.microsoft::DynamicQuantizeMatMul`, version 1.

use super::int_product::{Scaled, by_column, require_columns};
use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::ops::quantized::BYTES;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `DynamicQuantizeMatMul` has no attributes.
    pub struct DynamicQuantizeMatMul {}
}

impl Op for DynamicQuantizeMatMul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::F32])?;
        cx.same_dtype("C1", [0, 2, 4])?;
        cx.require_dtype("C1", 1, BYTES)?;
        cx.same_dtype("C1", [1, 3])?;
        for i in 2..5 {
            require_columns(cx, "C2", i, 1)?;
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(p), Some(q), Some(b_scale)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let parts = b.node("ai.onnx", "DynamicQuantizeLinear", attrs! {}, &[Some(p)], 3)?;
        let [a, a_scale, a_zero] = *parts else { return Ok(None) };
        let mut y = Scaled { a, a_zero: Some(a_zero), b: q, b_zero: at(3), a_scale, b_scale }.product(b)?;
        if let Some(bias) = at(4) {
            let bias = by_column(b, bias, q)?;
            y = b.op("Add", attrs! {}, &[y, bias])?;
        }
        Ok(Some(vec![y]))
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::default() }
    }
}

op! {
    DynamicQuantizeMatMul in "com.microsoft" since [1]; "A, B, b_scale, b_zero_point?, bias?" => "Y";
    summary: "matrix product with quantised weights, the other operand quantised by its range";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use super::*;
    use crate::Tensor;

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[1, 2], &[0.0f32, 255.0]),
            Tensor::from_slice(&[2, 1], &[7i8, 3]),
            Tensor::scalar(0.5f32),
            Tensor::scalar(1i8),
            Tensor::from_slice(&[1], &[1.0f32]),
        ]
    }

    #[test]
    fn dynamic_quantize_mat_mul_quantises_by_the_range() {
        check("DynamicQuantizeMatMul", attrs! {}, &operands(), &[256.0]);
    }

    #[test]
    fn dynamic_quantize_mat_mul_constraints_are_named() {
        let bad = |i: usize, t: Tensor| {
            let mut x: Vec<_> = operands().into_iter().map(Some).collect();
            x[i] = Some(t);
            label("DynamicQuantizeMatMul", attrs! {}, &x)
        };
        assert_eq!(bad(0, Tensor::scalar(1u8)).as_deref(), Some("DynamicQuantizeMatMul.C1"));
        let two = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        assert_eq!(bad(2, two).as_deref(), Some("DynamicQuantizeMatMul.C2"));
    }
}
