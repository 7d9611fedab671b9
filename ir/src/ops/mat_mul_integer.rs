//! `y = (a - a_zero_point) @ (b - b_zero_point)`: a matrix product of 8-bit integers, summed in 32 bits.
//!
//! - **C1** `a` and `b` are `i8` or `u8`; each zero point has the type of its matrix
//! - **C2** both ranks are 1 or more
//! - **C3** the summed extents agree
//! - **C4** the batch axes broadcast
//! - **C5** a zero point is one number, or one a row of `a`, one a column of `b`
//!
//! Sums wrap. ONNX `MatMulInteger`: opset 10.

use super::common::*;
use super::contraction::product_shape;
use super::quantized::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `MatMulInteger` has no attributes.
    pub struct MatMulInteger {}
}

impl Op for MatMulInteger {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, BYTES)?;
        cx.require_dtype("C1", 1, BYTES)?;
        cx.same_dtype("C1", [0, 2])?;
        cx.same_dtype("C1", [1, 3])?;
        let (a, b) = (cx.shape(0)?, cx.shape(1)?);
        matrix_parameter_rule(cx, "C5", 2, &a, true)?;
        matrix_parameter_rule(cx, "C5", 3, &b, false)?;
        let shape = product_shape(cx, "C2", "C3", "C4", &a, &b)?;
        cx.output(DType::I32, shape)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        Ok(IntProduct { a: 0, a_zero: 2, b: 1, b_zero: 3 }.lower(cx))
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(p), Some(q)) = (at(0), at(1)) else { return Ok(None) };
        let Some(p) = centred(b, p, at(2), true)? else { return Ok(None) };
        let Some(q) = centred(b, q, at(3), false)? else { return Ok(None) };
        Ok(Some(vec![b.op("MatMul", attrs! {}, &[p, q])?]))
    }
}

/// `x - zero` in `i32`; none where the zero point's rank is not known.
fn centred(b: &mut GraphBuilder, x: ValueId, zero: Option<ValueId>, rows: bool) -> Result<Option<ValueId>> {
    let wide = b.op("Cast", attrs! { to: DType::I32 }, &[x])?;
    let Some(zero) = zero else { return Ok(Some(wide)) };
    let mut zero = b.op("Cast", attrs! { to: DType::I32 }, &[zero])?;
    let Some(shape) = b.ty(zero).as_tensor().and_then(|t| t.shape.dims()).map(<[Dim]>::to_vec) else {
        return Ok(None);
    };
    // One a row: a column. One number stays as it is, so that it fits a vector too.
    if rows && shape.len() == 1 && shape[0] != 1 {
        let axes = b.ints(&[1]);
        zero = b.op("Unsqueeze", attrs! {}, &[zero, axes])?;
    }
    Ok(Some(b.op("Sub", attrs! {}, &[wide, zero])?))
}

op! {
    MatMulInteger in "ai.onnx" since [10]; "A, B, a_zero_point?, b_zero_point?" => "Y";
    summary: "matrix product of 8-bit integers in 32 bits";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mat_mul_integer([[11, 7], [10, 6]], [[1, 4], [2, 5]], 10) == [[-5, -11], [-8, -20]]
graph @mat_mul_integer(%a: u8[2, 2], %b: u8[2, 2], %c: u8[]) -> i32[2, 2] {
  %y = mat_mul_integer %a, %b, %c : i32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn zero_points_of_rows_and_columns() {
        let a = Tensor::from_slice(&[2, 2], &[1u8, 2, 3, 4]);
        let b = Tensor::from_slice(&[2, 2], &[1i8, -1, 0, 2]);
        let (za, zb) = (Tensor::from_slice(&[2], &[1u8, 3]), Tensor::from_slice(&[2], &[0i8, 1]));
        let y = run1("MatMulInteger", attrs! {}, &[a, b, za, zb]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[0i32, 1, 0, 1]));
    }

    #[test]
    fn mat_mul_integer_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let u = DType::U8;
        let label = |types: &[Type]| violated("MatMulInteger", attrs! {}, types);
        assert_eq!(label(&[t(DType::I32, &[1, 1]), t(u, &[1, 1])]).as_deref(), Some("MatMulInteger.C1"));
        assert_eq!(label(&[t(u, &[]), t(u, &[1, 1])]).as_deref(), Some("MatMulInteger.C2"));
        assert_eq!(label(&[t(u, &[1, 2]), t(u, &[1, 1])]).as_deref(), Some("MatMulInteger.C3"));
        assert_eq!(label(&[t(u, &[2, 1, 1]), t(u, &[3, 1, 1])]).as_deref(), Some("MatMulInteger.C4"));
        assert_eq!(label(&[t(u, &[2, 2]), t(u, &[2, 2]), t(u, &[3])]).as_deref(), Some("MatMulInteger.C5"));
    }
}
