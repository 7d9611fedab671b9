//! `Y = A @ B`: numpy's matrix product.
//!
//! `A: T[batch…, m, k]`, `B: T[batch…, k, n]`, `Y: T[batch…, m, n]`; a rank-1 operand is a row (first) or a column
//! (second) whose axis of 1 is left out of `Y`.
//!
//! - **C1** one element type, 32- or 64-bit integers or floats
//! - **C2** both ranks are 1 or more
//! - **C3** the summed extents agree
//! - **C4** the batch axes broadcast
//!
//! Integers wrap; an empty sum is 0. ONNX `MatMul`: opset 1, 9 (integers), 13 (bfloat16).

use super::common::*;
use super::contraction::{NUMBERS, Product, eval_product, product_shape};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `MatMul` has no attributes.
    pub struct MatMul {}
}

impl Op for MatMul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, NUMBERS)?;
        let dtype = cx.same_dtype("C1", [0, 1])?;
        let (a, b) = (cx.shape(0)?, cx.shape(1)?);
        let shape = product_shape(cx, "C2", "C3", "C4", &a, &b)?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (a, b) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let p = Product::of(a.shape(), b.shape(), false, false);
        let y = eval_product(&p, cx.env, a, b, dtype, &shape, 1.0)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.dtype(0) != DType::F32 {
            return Ok(Lowering::Host);
        }
        Ok(Lowering::MatMul(Product::of(cx.shape(0), cx.shape(1), false, false).lowering()))
    }
}

op! {
    MatMul in "ai.onnx" since [1, 9, 13]; "A, B" => "Y";
    summary: "matrix product of the last two axes, batches broadcast";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mat_mul([[1.0, 2.0], [3.0, 4.0]], [[5.0], [6.0]]) == [[17.0], [39.0]]
graph @mat_mul(%a: f32[2, 2], %b: f32[2, 1]) -> f32[2, 1] {
  %y = mat_mul %a, %b : f32[2, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn matmul_of_vectors_is_their_dot_product() {
        let v = Tensor::from_slice(&[3], &[1i32, 2, 3]);
        assert_eq!(run1("MatMul", attrs! {}, &[v.clone(), v]).unwrap(), Tensor::scalar(14i32));
    }

    #[test]
    fn matmul_with_an_empty_sum_is_zero() {
        let a = Tensor::from_slice::<f32>(&[2, 0], &[]);
        let b = Tensor::from_slice::<f32>(&[0, 1], &[]);
        assert_eq!(run1("MatMul", attrs! {}, &[a, b]).unwrap(), Tensor::from_slice(&[2, 1], &[0.0f32, 0.0]));
    }

    #[test]
    fn matmul_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a: Type, b: Type| violated("MatMul", attrs! {}, &[a, b]);
        assert_eq!(bad(f(&[1]), Type::tensor(DType::F64, &[1])).as_deref(), Some("MatMul.C1"));
        assert_eq!(bad(f(&[]), f(&[1])).as_deref(), Some("MatMul.C2"));
        assert_eq!(bad(f(&[2, 3]), f(&[2, 3])).as_deref(), Some("MatMul.C3"));
        assert_eq!(bad(f(&[2, 1, 3]), f(&[3, 3, 1])).as_deref(), Some("MatMul.C4"));
    }
}
