//! `y = quantise((a - a_zero_point) @ (b - b_zero_point) a_scale b_scale / y_scale)`.
//!
//! - **C1** matrices and zero points are 8-bit integers or floats, each zero point of its matrix's type; scales are
//!   floats of one type
//! - **C2** both ranks are 1 or more
//! - **C3** the summed extents agree
//! - **C4** the batch axes broadcast
//! - **C5** scale and zero point are one number, or one a row of `a` and `y`, one a column of `b`
//!
//! The sum is exact; the quotient is rounded to the nearest integer, halves to even, before the zero point is added.
//! ONNX `QLinearMatMul`: opset 10, 21 (8-bit floats, more scales).

use super::cast::floats_to;
use super::common::*;
use super::contraction::{Product, product_shape};
use super::pointwise::FLOATS8;
use super::quantized::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::num::RoundMode;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `QLinearMatMul` has no attributes.
    pub struct QLinearMatMul {}
}

impl Op for QLinearMatMul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let allowed = [BYTES, FLOATS8].concat();
        for i in [0, 3, 7] {
            cx.require_dtype("C1", i, &allowed)?;
        }
        cx.same_dtype("C1", [0, 2])?;
        cx.same_dtype("C1", [3, 5])?;
        cx.require_dtype("C1", 1, &[DType::F32, DType::F16, DType::BF16])?;
        cx.same_dtype("C1", [1, 4, 6])?;
        let (a, b) = (cx.shape(0)?, cx.shape(3)?);
        let shape = product_shape(cx, "C2", "C3", "C4", &a, &b)?;
        for (param, matrix, rows) in [(1, &a, true), (2, &a, true), (4, &b, false), (5, &b, false)] {
            matrix_parameter_rule(cx, "C5", param, matrix, rows)?;
        }
        matrix_parameter_rule(cx, "C5", 6, &shape, true)?;
        matrix_parameter_rule(cx, "C5", 7, &shape, true)?;
        cx.output(cx.dtype(7)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (a, b) = (cx.tensor(0)?, cx.tensor(3)?);
        let (dtype, shape) = cx.out(0)?;
        let minus = |t: &crate::Tensor, zero: usize, rows: bool| -> Result<Vec<f64>> {
            let zero = spread(cx.tensor(zero)?, t.shape(), rows)?;
            Ok(t.floats()?.into_iter().zip(zero).map(|(x, z)| x - z).collect())
        };
        let (av, bv) = (minus(a, 2, true)?, minus(b, 5, false)?);
        let sums = Product::of(a.shape(), b.shape(), false, false).eval(cx.env, &av, &bv)?;
        // With the axes that a product with a vector takes away: rows of `a`, columns of `b`.
        let mut matrix = shape.clone();
        if a.shape().len() == 1 {
            matrix.insert(shape.len().saturating_sub(1), 1);
        }
        if b.shape().len() == 1 {
            matrix.push(1);
        }
        let (sa, sb) = (spread(cx.tensor(1)?, &matrix, true)?, spread(cx.tensor(4)?, &matrix, false)?);
        let (sy, zy) = (spread(cx.tensor(6)?, &shape, true)?, spread(cx.tensor(7)?, &shape, true)?);
        let y: Vec<f64> = (0..sums.len())
            .map(|i| {
                let q = sums[i] * (sa[i] * sb[i] / sy[i]);
                (if dtype.is_int() { q.round_ties_even() } else { q }) + zy[i]
            })
            .collect();
        cx.push(floats_to(dtype, &shape, &y, true, RoundMode::Up)?);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let dtype = |b: &GraphBuilder, i: usize| at(i).and_then(|v| Some(b.ty(v).as_tensor()?.dtype));
        let rank = |b: &GraphBuilder, i: usize| at(i).and_then(|v| b.rank(v));
        let ints = [0, 3, 7].into_iter().all(|i| dtype(b, i).is_some_and(|d| BYTES.contains(&d)));
        let (Some(ra), Some(rb), true) = (rank(b, 0), rank(b, 3), ints) else { return Ok(None) };
        let within = |i: usize| rank(b, i).is_some_and(|r| r <= ra.max(rb));
        if ra < 2 || rb < 2 || ![1, 2, 4, 5, 6, 7].into_iter().all(within) {
            return Ok(None);
        }
        let sums = b.node("ai.onnx", "MatMulInteger", attrs! {}, &[at(0), at(3), at(2), at(5)], 1)?[0];
        let wide = |b: &mut GraphBuilder, v: ValueId| b.op("Cast", attrs! { to: DType::F64 }, &[v]);
        let parameter = |b: &mut GraphBuilder, i: usize, rows: bool| -> Result<ValueId> {
            let v = wide(b, at(i).ok_or_else(|| Error::invalid(format!("operand {i} is missing")))?)?;
            let vector = b.ty(v).as_tensor().and_then(|t| t.shape.dims()).is_some_and(|d| d.len() == 1 && d[0] != 1);
            if !(rows && vector) {
                return Ok(v);
            }
            let axes = b.ints(&[1]);
            b.op("Unsqueeze", attrs! {}, &[v, axes])
        };
        let (sa, sb) = (parameter(b, 1, true)?, parameter(b, 4, false)?);
        let (sy, zy) = (parameter(b, 6, true)?, parameter(b, 7, true)?);
        let factor = b.op("Mul", attrs! {}, &[sa, sb])?;
        let factor = b.op("Div", attrs! {}, &[factor, sy])?;
        let sums = wide(b, sums)?;
        let q = b.op("Mul", attrs! {}, &[sums, factor])?;
        let q = b.op("Round", attrs! {}, &[q])?;
        let q = b.op("Add", attrs! {}, &[q, zy])?;
        // A cast of floats to integers holds them within the type.
        Ok(dtype(b, 7).map(|to| b.op("Cast", attrs! { to: to }, &[q])).transpose()?.map(|y| vec![y]))
    }
}

op! {
    QLinearMatMul in "ai.onnx" since [10, 21 brings "f16 bf16 f8"];
    "a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point" => "y";
    summary: "matrix product of quantised matrices, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @q_linear_mat_mul([[12, 14]], 0.5, 10, [[10], [20]], 0.5, 10, 1.0, 0) == [[10]]
graph @q_linear_mat_mul(%a: u8[1, 2], %b: f32[], %c: u8[], %d: u8[2, 1], %e: f32[], %f: u8[], %g: f32[], %h: u8[]) -> u8[1, 1] {
  %y = q_linear_mat_mul %a, %b, %c, %d, %e, %f, %g, %h : u8[1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn call(a: Tensor, za: u8, b: Tensor, zb: i8, scale: f32, zy: u8) -> Result<Tensor> {
        let s = Tensor::scalar(1.0f32);
        let (za, zb, zy) = (Tensor::scalar(za), Tensor::scalar(zb), Tensor::scalar(zy));
        run1("QLinearMatMul", attrs! {}, &[a, s.clone(), za, b, s, zb, Tensor::scalar(scale), zy])
    }

    #[test]
    fn q_linear_mat_mul_rounds_and_holds() {
        let a = Tensor::from_slice(&[1, 2], &[3u8, 5]);
        let b = Tensor::from_slice(&[2, 2], &[1i8, 100, 1, 100]);
        let y = call(a, 1, b, 0, 4.0, 1).unwrap();
        // (2 + 4) / 4 = 1.5, rounded to 2; 600 / 4 = 150.
        assert_eq!(y, Tensor::from_slice(&[1, 2], &[3u8, 151]));
    }

    #[test]
    fn scales_of_rows_and_columns_count_in_products_with_vectors() {
        let ones = |shape: &[usize]| Tensor::from_ints(DType::U8, shape, vec![1; shape.iter().product()]);
        let (zero, one) = (Tensor::scalar(0u8), Tensor::scalar(1.0f32));
        let scales = |shape: &[usize]| Tensor::from_slice(shape, &[1.0f32, 2.0]);
        let run = |a: &[usize], sa: &Tensor, b: &[usize], sb: &Tensor| {
            let operands =
                [ones(a), sa.clone(), zero.clone(), ones(b), sb.clone(), zero.clone(), one.clone(), zero.clone()];
            run1("QLinearMatMul", attrs! {}, &operands).unwrap()
        };
        let y = |shape: &[usize], v: &[u8]| Tensor::from_slice(shape, v);
        assert_eq!(run(&[2, 3], &scales(&[2]), &[3], &one), y(&[2], &[3, 6]));
        assert_eq!(run(&[2, 2, 3], &scales(&[2]), &[3], &one), y(&[2, 2], &[3, 6, 3, 6]));
        assert_eq!(run(&[2, 1, 3], &scales(&[2, 1, 1]), &[3], &one), y(&[2, 1], &[3, 6]));
        assert_eq!(run(&[3], &one, &[3, 2], &scales(&[2])), y(&[2], &[3, 6]));
        assert_eq!(run(&[3], &one, &[2, 3, 2], &scales(&[1, 1, 2])), y(&[2, 2], &[3, 6, 3, 6]));
        assert_eq!(run(&[3], &one, &[3], &one), y(&[], &[3]));
    }

    #[test]
    fn q_linear_mat_mul_constraints_are_named() {
        let label_of = |a: (DType, &[usize]), b: &[usize], sa: &[usize], sb: &[usize]| {
            let t = |d, s: &[usize]| Type::tensor(d, s);
            let (u, f) = (DType::U8, DType::F32);
            let one = t(f, &[]);
            let types = [t(a.0, a.1), t(f, sa), t(a.0, &[]), t(u, b), t(f, sb), t(u, &[]), one, t(u, &[])];
            violated("QLinearMatMul", attrs! {}, &types)
        };
        let label = |a: (DType, &[usize]), b: &[usize], sa: &[usize]| label_of(a, b, sa, &[]);
        let u = DType::U8;
        assert_eq!(label((DType::I32, &[1, 1]), &[1, 1], &[]).as_deref(), Some("QLinearMatMul.C1"));
        assert_eq!(label((u, &[]), &[1, 1], &[]).as_deref(), Some("QLinearMatMul.C2"));
        assert_eq!(label((u, &[1, 2]), &[1, 1], &[]).as_deref(), Some("QLinearMatMul.C3"));
        assert_eq!(label((u, &[2, 1, 1]), &[3, 1, 1], &[]).as_deref(), Some("QLinearMatMul.C4"));
        assert_eq!(label((u, &[2, 2]), &[2, 2], &[3]).as_deref(), Some("QLinearMatMul.C5"));
        assert_eq!(label((u, &[2, 2]), &[2, 2], &[1, 2]).as_deref(), Some("QLinearMatMul.C5"));
        assert_eq!(label_of((u, &[2, 2]), &[2], &[], &[2]).as_deref(), Some("QLinearMatMul.C5"));
    }
}
