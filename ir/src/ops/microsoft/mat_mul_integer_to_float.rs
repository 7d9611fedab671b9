//! `Y = (A - a_zero_point) @ (B - b_zero_point) * (a_scale * b_scale) + bias`.
//!
//! - **C1** `A` and `B` are `i8` or `u8`, zero points of their types; scales and bias `f32` or `f16`, one type
//! - **C2** scale and zero point of `A` are one number
//! - **C3** scale, zero point and bias of `B` are one number or one a column
//! - shapes as for [`mat_mul_integer`](crate::ops::mat_mul_integer)
//!
//! The product is summed in 32 bits and scaled in `f32`. ONNX Runtime `com.microsoft::MatMulIntegerToFloat`, version 1.

use super::int_product::{Scaled, by_column, require_columns, require_one, single};
use super::q_linear::require_bytes;
use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `MatMulIntegerToFloat` has no attributes.
    pub struct MatMulIntegerToFloat {}
}

impl Op for MatMulIntegerToFloat {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        require_bytes(cx, &[0, 1])?;
        cx.require_dtype("C1", 2, &[DType::F32, DType::F16])?;
        cx.same_dtype("C1", [2, 3, 6])?;
        require_one(cx, "C2", 2)?;
        require_one(cx, "C2", 4)?;
        for i in [3, 5, 6] {
            require_columns(cx, "C3", i, 1)?;
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(p), Some(q), Some(a_scale), Some(b_scale)) = (at(0), at(1), at(2), at(3)) else { return Ok(None) };
        let mut y = Scaled { a: p, a_zero: at(4), b: q, b_zero: at(5), a_scale, b_scale }.product(b)?;
        if let Some(bias) = at(6) {
            let bias = by_column(b, bias, q)?;
            let bias = single(b, bias)?;
            y = b.op("Add", attrs! {}, &[y, bias])?;
        }
        match b.ty(a_scale).as_tensor().map(|t| t.dtype) {
            Some(DType::F32) => {}
            Some(dtype) => y = b.op("Cast", attrs! { to: dtype }, &[y])?,
            None => return Ok(None),
        }
        Ok(Some(vec![y]))
    }
}

op! {
    MatMulIntegerToFloat in "com.microsoft" since [1]; "A, B, a_scale, b_scale, a_zero_point?, b_zero_point?, bias?" => "Y";
    summary: "matrix product of quantised tensors, scaled to floats";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @product([[3, 4]], [[1], [-1]], 0.5, 2.0) == [[-1.0]]
graph @product(%a: u8[1, 2], %b: i8[2, 1], %s: f32[], %t: f32[]) -> f32[1, 1] {
  %y = microsoft.mat_mul_integer_to_float %a, %b, %s, %t : f32[1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::run;

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[1, 2], &[3u8, 5]),
            Tensor::from_slice(&[2, 2], &[1i8, -2, 3, 4]),
            Tensor::scalar(0.5f32),
            Tensor::from_slice(&[2], &[2.0f32, 4.0]),
            Tensor::scalar(1u8),
            Tensor::from_slice(&[2], &[0i8, 1]),
            Tensor::from_slice(&[2], &[10.0f32, 20.0]),
        ]
    }

    #[test]
    fn mat_mul_integer_to_float_scales_columns() {
        // (2, 4) @ ((1, -3), (3, 3)) = (14, 6)
        check("MatMulIntegerToFloat", attrs! {}, &operands(), &[24.0, 32.0]);
    }

    #[test]
    fn scales_do_not_change_the_rank_of_a_product_with_a_vector() {
        let number = |shape: &[usize], v: f32| Some(Value::from(Tensor::from_slice(shape, &[v])));
        let b = Tensor::from_slice(&[2], &[1i8, -2]);
        let operands = [Some(operands()[0].clone().into()), Some(b.into()), number(&[1, 1, 1], 0.5), number(&[1], 2.0)];
        let operands = [&operands[..], &[None, None, number(&[1], 10.0)]].concat();
        let y = run("com.microsoft", "MatMulIntegerToFloat", attrs! {}, &operands, 1).unwrap();
        assert_eq!(y[0].tensor().unwrap(), &Tensor::from_slice(&[1], &[3.0f32]));
    }

    #[test]
    fn mat_mul_integer_to_float_constraints_are_named() {
        let bad = |i: usize, t: Tensor| {
            let mut x: Vec<_> = operands().into_iter().map(Some).collect();
            x[i] = Some(t);
            label("MatMulIntegerToFloat", attrs! {}, &x)
        };
        let two = || Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        assert_eq!(bad(0, two()).as_deref(), Some("MatMulIntegerToFloat.C1"));
        assert_eq!(bad(2, two()).as_deref(), Some("MatMulIntegerToFloat.C2"));
        assert_eq!(bad(3, Tensor::from_slice(&[3], &[1.0f32; 3])).as_deref(), Some("MatMulIntegerToFloat.C3"));
        // The scales are those of the two columns that a vector does not have.
        assert_eq!(bad(1, Tensor::from_slice(&[2], &[1i8, 2])).as_deref(), Some("MatMulIntegerToFloat.C3"));
    }
}
