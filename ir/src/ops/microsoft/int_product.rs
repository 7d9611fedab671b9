//! What the matrix products of quantised operands share: an integer product, scaled.

use crate::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

/// Operands of a scaled product.
#[derive(Clone, Copy)]
pub struct Scaled {
    /// First matrix, 8-bit.
    pub a: ValueId,
    /// Its zero point.
    pub a_zero: Option<ValueId>,
    /// Second matrix, 8-bit.
    pub b: ValueId,
    /// Its zero point, one number or one a column.
    pub b_zero: Option<ValueId>,
    /// Scale of the product by the first matrix: one number.
    pub a_scale: ValueId,
    /// Scale of the product by the second matrix: one number or one a column.
    pub b_scale: ValueId,
}

impl Scaled {
    /// `(a - a_zero) @ (b - b_zero) * (a_scale * b_scale)` in `f32`.
    ///
    /// # Errors
    /// When a rule refuses.
    pub fn product(self, b: &mut GraphBuilder) -> Result<ValueId> {
        let operands = [Some(self.a), Some(self.b), self.a_zero, self.b_zero];
        let y = b.node("ai.onnx", "MatMulInteger", attrs! {}, &operands, 1)?[0];
        let y = single(b, y)?;
        let (p, q) = (one(b, self.a_scale)?, by_column(b, self.b_scale, self.b)?);
        let (p, q) = (single(b, p)?, single(b, q)?);
        let scale = b.op("Mul", attrs! {}, &[p, q])?;
        b.op("Mul", attrs! {}, &[y, scale])
    }
}

/// The one number of `x` as a scalar: the product has its own rank.
fn one(b: &mut GraphBuilder, x: ValueId) -> Result<ValueId> {
    if b.rank(x) == Some(0) {
        return Ok(x);
    }
    let scalar = b.ints(&[]);
    b.op("Reshape", attrs! {}, &[x, scalar])
}

/// Numbers for the columns of `matrix`; a vector has none, and one number for all.
///
/// # Errors
/// When a rule refuses.
pub fn by_column(b: &mut GraphBuilder, x: ValueId, matrix: ValueId) -> Result<ValueId> {
    if b.rank(matrix) == Some(1) { one(b, x) } else { Ok(x) }
}

/// `x` in `f32`.
///
/// # Errors
/// When the rule refuses.
pub fn single(b: &mut GraphBuilder, x: ValueId) -> Result<ValueId> {
    match b.ty(x).as_tensor() {
        Some(t) if t.dtype == DType::F32 => Ok(x),
        _ => b.op("Cast", attrs! { to: DType::F32 }, &[x]),
    }
}

/// Requires that operand `i`, where given, is one number, or one a column of operand `matrix`; a vector has no columns.
pub fn require_columns(cx: &mut RuleCx<'_>, label: &'static str, i: usize, matrix: usize) -> RuleResult {
    if !cx.has(i) {
        return Ok(());
    }
    let (p, m) = (cx.shape(i)?, cx.shape(matrix)?);
    match (p.as_slice(), m.as_slice()) {
        ([], _) => Ok(()),
        ([n], [_]) => cx.require_that(label, Cond::eq(n, &Dim::ONE)),
        ([n], [.., last]) => cx.require_that(label, Cond::eq(n, &Dim::ONE).or(&Cond::eq(n, last))),
        _ => cx.require(label, false, || format!("operand {i} has rank {}", p.len())),
    }
}

/// Requires that operand `i`, where given, is one number.
pub fn require_one(cx: &mut RuleCx<'_>, label: &'static str, i: usize) -> RuleResult {
    if !cx.has(i) {
        return Ok(());
    }
    let shape = cx.shape(i)?;
    let conds: Vec<Cond> = shape.iter().map(|d| Cond::eq(d, &Dim::ONE)).collect();
    cx.require(label, conds.iter().all(|c| c.as_bool() != Some(false)), || {
        format!("operand {i} must be one number, its extents are {shape:?}")
    })?;
    conds.into_iter().try_for_each(|c| cx.require_that(label, c))
}
