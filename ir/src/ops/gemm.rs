//! `Y = alpha * A' @ B' + beta * C`, `A'` and `B'` transposed on request.
//!
//! `A': T[m, k]`, `B': T[k, n]`, `C` broadcasts to `T[m, n]`.
//!
//! - **C1** one element type, 32- or 64-bit integers or floats
//! - **C2** `A` and `B` have rank 2
//! - **C3** the summed extents agree
//! - **C4** `C` broadcasts to `[m, n]`
//!
//! Integer results are rounded towards zero after scaling. ONNX `Gemm`: opset 1, 6 (`broadcast`), 7, 9 (integers), 11
//! (`C` optional), 13 (bfloat16).

use super::common::*;
use super::contraction::{NUMBERS, Product};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Gemm`.
    #[expect(non_snake_case, reason = "ONNX's names")]
    pub struct Gemm {
        /// Factor of the product.
        alpha: f32 = 1.0f32,
        /// Factor of `C`.
        beta: f32 = 1.0f32,
        /// Whether `A` is stored transposed.
        transA: bool = false,
        /// Whether `B` is stored transposed.
        transB: bool = false,
    }
}

impl Op for Gemm {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, NUMBERS)?;
        let dtype = cx.same_dtype("C1", [0, 1, 2])?;
        let (a, b) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", a.len() == 2 && b.len() == 2, || format!("ranks are {} and {}", a.len(), b.len()))?;
        let (ia, ib) = (usize::from(self.transA), usize::from(self.transB));
        cx.require_eq("C3", &a[1 - ia], &b[ib])?;
        let shape = vec![a[ia].clone(), b[1 - ib].clone()];
        if cx.has(2) {
            let c = cx.shape(2)?;
            let both = cx.broadcast("C4", &[shape.clone(), c])?;
            cx.require("C4", both.len() == 2, || "C has a rank above 2".into())?;
            cx.require_eq("C4", &both[0], &shape[0])?;
            cx.require_eq("C4", &both[1], &shape[1])?;
        }
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (a, b, c) = (cx.tensor(0)?, cx.tensor(1)?, cx.tensor_opt(2)?);
        let (dtype, shape) = cx.out(0)?;
        let p = Product::of(a.shape(), b.shape(), self.transA, self.transB);
        let at = c.map(|c| broadcast_positions(c.shape(), &shape));
        if !dtype.is_float() && self.alpha == 1.0 && self.beta == 1.0 {
            let mut y = p.eval(cx.env, &a.ints()?, &b.ints()?)?;
            if let (Some(c), Some(at)) = (c, &at) {
                let c = c.ints()?;
                y.iter_mut().zip(at).for_each(|(y, &i)| *y = y.wrapping_add(c[i]));
            }
            cx.push(Tensor::from_ints(dtype, &shape, y));
            return Ok(());
        }
        let mut y = p.eval(cx.env, &a.floats()?, &b.floats()?)?;
        y.iter_mut().for_each(|y| *y *= f64::from(self.alpha));
        if let (Some(c), Some(at)) = (c, &at) {
            let c = c.floats()?;
            y.iter_mut().zip(at).for_each(|(y, &i)| *y += f64::from(self.beta) * c[i]);
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.dtype(0) != DType::F32 {
            return Ok(Lowering::Host);
        }
        let mut m = Product::of(cx.shape(0), cx.shape(1), self.transA, self.transB).lowering();
        (m.alpha, m.beta) = (self.alpha, self.beta);
        if cx.has(2) {
            m.bias = Some(match *cx.shape(2) {
                [] => (0, 0),
                [n] => (0, usize::from(n != 1)),
                [r, n] => (if r == 1 { 0 } else { n }, usize::from(n != 1)),
                _ => return Ok(Lowering::Host),
            });
        }
        Ok(Lowering::MatMul(m))
    }
}

op! {
    Gemm in "ai.onnx" since [1, 6, 7, 9, 11, 13]; "A, B, C?" => "Y";
    summary: "alpha * A @ B + beta * C, operands transposed on request";
    upgrade: |cx| { cx.take("broadcast"); Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gemm([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [1.0, 1.0]], [0.5, -0.5]) == [[2.5, 5.5], [6.5, 13.5]]
graph @gemm(%a: f32[2, 2], %b: f32[2, 2], %c: f32[2]) -> f32[2, 2] {
  %y = gemm %a, %b, %c {alpha = 2.0, transB = 1} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn gemm_transposes_scales_and_adds_a_row() {
        let a = Tensor::from_slice(&[2, 1], &[1.0f32, 2.0]);
        let b = Tensor::from_slice(&[2, 2], &[1.0f32, 0.0, 0.0, 1.0]);
        let c = Tensor::from_slice(&[2], &[10.0f32, 20.0]);
        let y = run1("Gemm", attrs! { transA: true, alpha: 2.0f32, beta: 0.5f32 }, &[a, b, c]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 2], &[7.0f32, 14.0]));
    }

    #[test]
    fn gemm_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |t: &[Type]| violated("Gemm", attrs! {}, t);
        assert_eq!(bad(&[f(&[2, 3]), Type::tensor(DType::F64, &[3, 1])]).as_deref(), Some("Gemm.C1"));
        assert_eq!(bad(&[f(&[2, 3, 1]), f(&[3, 1])]).as_deref(), Some("Gemm.C2"));
        assert_eq!(bad(&[f(&[2, 3]), f(&[2, 1])]).as_deref(), Some("Gemm.C3"));
        assert_eq!(bad(&[f(&[1, 3]), f(&[3, 1]), f(&[2, 1])]).as_deref(), Some("Gemm.C4"));
    }
}
