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
use super::lowering::{ComputeBuilder, ExprId, Loops, ReduceOp, TensorId};
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
            return looped(cx);
        }
        Ok(Lowering::MatMul(Product::of(cx.shape(0), cx.shape(1), false, false).lowering()))
    }
}

/// The product as a plain loop nest, for element types that the packed kernels do not take; narrow floats are summed in
/// `f32` and rounded once.
fn looped(cx: &LowerCx<'_>) -> Result<Lowering> {
    let t = cx.dtype(0);
    let wide = if matches!(t, DType::F16 | DType::BF16) { DType::F32 } else { t };
    let (a_shape, b_shape) = (cx.shape(0).to_vec(), cx.shape(1).to_vec());
    let k = a_shape.last().copied().unwrap_or(0);
    let mut l = Loops::new(cx);
    let (a, b) = (l.x(0), l.x(1));
    l.result(|c, i| {
        let (rows, columns) = (usize::from(a_shape.len() > 1), usize::from(b_shape.len() > 1));
        let (batch, ends) = i.split_at(i.len() - rows - columns);
        let (m, n) = (&ends[..rows], &ends[rows..]);
        let sum = c.reduce(ReduceOp::Sum, &[k], |c, r| {
            let x = load(c, a, batch, &[m, r].concat());
            let y = load(c, b, batch, &[r, n].concat());
            let (x, y) = (c.cast(x, wide), c.cast(y, wide));
            c.mul(x, y)
        });
        c.cast(sum, t)
    })
}

/// An element at `batch`, where extents of 1 broadcast, and `ends`, the last axes.
fn load(c: &mut ComputeBuilder, x: TensorId, batch: &[ExprId], ends: &[ExprId]) -> ExprId {
    let shape = c.shape(x);
    let lead = shape.len() - ends.len();
    let mut index = batch[batch.len() - lead..].to_vec();
    for (e, _) in index.iter_mut().zip(&shape).filter(|(_, extent)| **extent == 1) {
        *e = c.idx(0);
    }
    index.extend_from_slice(ends);
    c.load(x, &index)
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
