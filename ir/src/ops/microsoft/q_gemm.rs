//! `Y = (A' @ B' + C) * (alpha * a_scale * b_scale)`, `A'` and `B'` being the operands less their zero points, transposed
//! where `transA` and `transB` say so; quantised with `y_scale` and `y_zero_point` where these are given, else `f32`.
//!
//! - **C1** `A` and `B` are `i8` or `u8`, zero points of their types; scales are `f32`, `C` is `i32`
//! - **C2** `A` and `B` have rank 2
//! - **C3** scale and zero point of `A` are one number
//! - **C4** scale and zero point of `B` are one number or one a column of `B'`
//! - **C5** `y_zero_point` comes with `y_scale`, each a scalar or a vector of one number
//! - **C6** `C` broadcasts to the product
//!
//! Sums wrap at 32 bits. ONNX Runtime `com.microsoft::QGemm`, version 1.

use super::fused_mat_mul::arranged;
use super::int_product::{require_one, single};
use super::q_linear::require_bytes;
use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::{rule_of_expansion, scalar_like};
use crate::ops::quantized::quantize;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QGemm`.
    #[expect(non_snake_case, reason = "ONNX's names")]
    pub struct QGemm {
        /// Factor of the product.
        alpha: f32 = 1.0f32,
        /// Whether `A` is transposed.
        transA: bool = false,
        /// Whether `B` is transposed.
        transB: bool = false,
    }
}

impl Op for QGemm {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        require_bytes(cx, &[0, 3])?;
        cx.same_dtype("C1", [0, 2])?;
        cx.same_dtype("C1", [3, 5])?;
        for i in [1, 4, 7].into_iter().filter(|&i| i < 7 || cx.has(i)).collect::<Vec<_>>() {
            cx.require_dtype("C1", i, &[DType::F32])?;
        }
        if cx.has(6) {
            cx.require_dtype("C1", 6, &[DType::I32])?;
        }
        let (a, b) = (cx.shape(0)?, cx.shape(3)?);
        cx.require("C2", a.len() == 2 && b.len() == 2, || format!("ranks are {} and {}", a.len(), b.len()))?;
        require_one(cx, "C3", 1)?;
        require_one(cx, "C3", 2)?;
        let n = &b[if self.transB { 0 } else { 1 }];
        for i in [4, 5] {
            let p = cx.shape(i)?;
            cx.require("C4", p.len() <= 1, || format!("operand {i} has rank {}", p.len()))?;
            for d in &p {
                cx.require_that("C4", Cond::eq(d, &Dim::ONE).or(&Cond::eq(d, n)))?;
            }
        }
        cx.require("C5", cx.has(7) || !cx.has(8), || "a zero point is given without its scale".into())?;
        for i in [7, 8].into_iter().filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            require_one(cx, "C5", i)?;
            let rank = cx.rank(i)?;
            cx.require("C5", rank <= 1, || format!("operand {i} has rank {rank}"))?;
        }
        if cx.has(6) {
            let (c, product) = (cx.shape(6)?, [a[usize::from(self.transA)].clone(), n.clone()]);
            cx.require("C6", c.len() <= 2, || format!("`C` has rank {}", c.len()))?;
            for (d, extent) in c.iter().rev().zip(product.iter().rev()) {
                cx.require_that("C6", Cond::eq(d, &Dim::ONE).or(&Cond::eq(d, extent)))?;
            }
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(p), Some(q), Some(a_scale), Some(b_scale)) = (at(0), at(3), at(1), at(4)) else { return Ok(None) };
        let Some(p) = arranged(b, p, false, self.transA)? else { return Ok(None) };
        let Some(q) = arranged(b, q, false, self.transB)? else { return Ok(None) };
        let mut y = b.node("ai.onnx", "MatMulInteger", attrs! {}, &[Some(p), Some(q), at(2), at(5)], 1)?[0];
        if let Some(c) = at(6) {
            y = b.op("Add", attrs! {}, &[y, c])?;
        }
        let y = single(b, y)?;
        let mut scale = b.op("Mul", attrs! {}, &[a_scale, b_scale])?;
        if self.alpha != 1.0 {
            let Some(alpha) = scalar_like(b, scale, self.alpha.into()) else { return Ok(None) };
            scale = b.op("Mul", attrs! {}, &[scale, alpha])?;
        }
        let mut y = b.op("Mul", attrs! {}, &[y, scale])?;
        if at(7).is_some() {
            y = quantize(b, y, at(7), at(8), at(0))?;
        }
        Ok(Some(vec![y]))
    }
}

op! {
    QGemm in "com.microsoft" since [1]; "A, a_scale, a_zero_point, B, b_scale, b_zero_point, C?, y_scale?, y_zero_point?" => "Y";
    summary: "matrix product of quantised tensors with an integer bias, quantised or not";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gemm([[3, 4]], 0.5, 1, [[1], [2]], 2.0, 0) == [[8.0]]
graph @gemm(%a: u8[1, 2], %s: f32[], %z: u8[], %b: i8[2, 1], %t: f32[], %w: i8[]) -> f32[1, 1] {
  %y = microsoft.q_gemm %a, %s, %z, %b, %t, %w : f32[1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use super::*;
    use crate::Tensor;

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&[1, 2], &[3u8, 5]),
            Tensor::scalar(0.5f32),
            Tensor::scalar(1u8),
            Tensor::from_slice(&[2, 2], &[1i8, 3, -2, 4]),
            Tensor::from_slice(&[2], &[2.0f32, 4.0]),
            Tensor::from_slice(&[2], &[0i8, 1]),
            Tensor::from_slice(&[2], &[1i32, 2]),
        ]
    }

    #[test]
    fn q_gemm_gives_floats_or_requantises() {
        // (2, 4) @ ((1, -3), (3, 3)) + (1, 2) = (15, 8)
        let a = || attrs! { transB: true, alpha: 2.0f32 };
        check("QGemm", a(), &operands(), &[30.0, 32.0]);
        let mut x = operands();
        x.extend([Tensor::scalar(2.0f32), Tensor::scalar(100u8)]);
        check("QGemm", a(), &x, &[115.0, 116.0]);
    }

    #[test]
    fn q_gemm_constraints_are_named() {
        let bad = |i: usize, t: Tensor| {
            let mut x: Vec<_> = operands().into_iter().map(Some).collect();
            x.resize(9, None);
            x[i] = Some(t);
            label("QGemm", attrs! { transB: true }, &x)
        };
        assert_eq!(bad(6, Tensor::scalar(1.0f32)).as_deref(), Some("QGemm.C1"));
        assert_eq!(bad(0, Tensor::from_slice(&[1], &[1u8])).as_deref(), Some("QGemm.C2"));
        assert_eq!(bad(1, Tensor::from_slice(&[2], &[1.0f32; 2])).as_deref(), Some("QGemm.C3"));
        assert_eq!(bad(4, Tensor::from_slice(&[3], &[1.0f32; 3])).as_deref(), Some("QGemm.C4"));
        assert_eq!(bad(8, Tensor::scalar(1u8)).as_deref(), Some("QGemm.C5"));
        assert_eq!(bad(7, Tensor::from_slice(&[1, 1], &[1.0f32])).as_deref(), Some("QGemm.C5"));
        assert_eq!(bad(6, Tensor::from_slice(&[2, 1], &[1i32, 2])).as_deref(), Some("QGemm.C6"));
    }
}
