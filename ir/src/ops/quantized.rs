//! What the quantised operators share: which scale belongs to which element, rounding to a precision, centred
//! operands.
//!
//! A scale is one number, one for each index of an axis, or one for each block of an axis (blocked, the scale has the
//! rank of the tensor). Source: ONNX `QuantizeLinear`, opset 21 and later.

use super::common::*;
use super::contraction::Product;
use super::lowering::{BinOp, ComputeBuilder, ExprId, TensorId};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lower::{PairForm, PairProduct, Pairs, ZeroPoint};
use crate::num;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Types that hold quantised numbers.
pub const QUANTIZED: &[DType] = &[
    DType::I8,
    DType::U8,
    DType::I16,
    DType::U16,
    DType::I4,
    DType::U4,
    DType::I2,
    DType::U2,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F4E2M1,
];

/// 8-bit integers.
pub const BYTES: &[DType] = &[DType::I8, DType::U8];

/// Checks that operand `scale` says one number, one an axis index or one a block for operand 0, and that operand
/// `zero`, where given, has its shape. Labels: C2 the axis, C3 the scale's shape, C4 the zero point's.
pub fn scale_rule(cx: &mut RuleCx<'_>, scale: usize, zero: usize, axis: i64, block: &Dim) -> RuleResult {
    let (x, s) = (cx.shape(0)?, cx.shape(scale)?);
    if *block != 0 {
        let axis = cx.axis("C2", axis, x.len())?;
        cx.require_that("C3", Cond::le(&Dim::int(1), block))?;
        cx.require("C3", s.len() == x.len(), || format!("a blocked scale has rank {}, x {}", s.len(), x.len()))?;
        for d in 0..x.len() {
            let want = if d == axis { x[d].ceil_div(block) } else { x[d].clone() };
            cx.require_eq("C3", &s[d], &want)?;
        }
    } else {
        cx.require("C3", s.len() <= 1, || format!("a scale of rank {} without block_size", s.len()))?;
        let own = if x.len() == 1 { 0 } else { axis };
        match (
            s.first(),
            x.get(usize::try_from(if own < 0 { own + x.len() as i64 } else { own }).unwrap_or(usize::MAX)),
        ) {
            (Some(s), Some(d)) => cx.require_that("C3", Cond::eq(s, &Dim::ONE).or(&Cond::eq(s, d)))?,
            // An axis index that there is none of: the scale can be one number only.
            (Some(s), None) if s.is_int() && *s != 1 => {
                cx.axis("C2", own, x.len())?;
            }
            (Some(s), None) => cx.require_eq("C3", s, &Dim::ONE)?,
            (None, _) => {}
        }
    }
    if cx.has(zero) {
        let z = cx.shape(zero)?;
        if s.len() == z.len() {
            for (s, z) in s.iter().zip(&z) {
                cx.require_eq("C4", s, z)?;
            }
        } else {
            // One number may be a scalar here and a vector there.
            cx.require("C4", s.len().max(z.len()) <= 1, || {
                format!("a scale of rank {}, a zero point of {}", s.len(), z.len())
            })?;
            s.iter().chain(&z).try_for_each(|d| cx.require_eq("C4", d, &Dim::ONE))?;
        }
    }
    Ok(())
}

/// For each element of `x`, the linear position of its scale.
///
/// # Errors
/// When the shapes do not fit, which the rule has checked.
pub fn scale_positions(x: &[usize], scale: &[usize], axis: i64, block: &Dim) -> Result<Vec<usize>> {
    let n: usize = x.iter().product();
    if scale.iter().product::<usize>() == 1 || n == 0 {
        return Ok(vec![0; n]);
    }
    let axis = if x.len() == 1 { 0 } else { normal_axis(axis, x.len()) };
    let inner: usize = x[axis + 1..].iter().product();
    if scale.len() == 1 && *block == 0 {
        return Ok((0..n).map(|i| i / inner % x[axis]).collect());
    }
    let block = block.as_int().and_then(|b| usize::try_from(b).ok()).filter(|&b| b > 0);
    let block = block.ok_or_else(|| Error::invalid("block_size must be a positive number"))?;
    let positions = indices(x).map(|mut index| {
        index[axis] /= block;
        position(scale, &index)
    });
    Ok(positions.collect())
}

/// Where an element's scale stands, as index expressions.
pub struct ScaleIndex {
    axis: usize,
    block: Option<usize>,
}

impl ScaleIndex {
    /// For a call with scale operand 1.
    ///
    /// # Errors
    /// When the block size is no number.
    pub fn new(cx: &LowerCx<'_>, axis: i64, block: &Dim) -> Result<ScaleIndex> {
        let rank = cx.shape(0).len();
        let axis = if rank <= 1 { 0 } else { normal_axis(axis, rank) };
        let block = super::window::number(block)?;
        Ok(ScaleIndex { axis, block: (block > 0).then_some(block) })
    }

    /// The parameter (scale or zero point) of the element at index `i`.
    pub fn load(&self, c: &mut ComputeBuilder, param: TensorId, i: &[ExprId]) -> ExprId {
        let shape = c.shape(param);
        let index: Vec<ExprId> = match (self.block, shape.iter().all(|&n| n == 1)) {
            (_, true) => shape.iter().map(|_| c.idx(0)).collect(),
            (None, false) => vec![i[self.axis]],
            (Some(block), false) => {
                let block = c.idx(block as i64);
                let mut index = i.to_vec();
                index[self.axis] = c.bin(BinOp::FloorDiv, i[self.axis], block);
                index
            }
        };
        c.load(param, &index)
    }
}

/// Rounds once to a float type; other types leave the number as it is.
pub fn round_to(dtype: DType, v: f64) -> f64 {
    match dtype {
        DType::F32 => f64::from(v as f32),
        DType::F16 => num::f16_from_f64(v).to_f64(),
        DType::BF16 => num::bf16_from_f64(v).to_f64(),
        _ => v,
    }
}

/// Removes an element type of 0 ("undefined"), which is the same as an absent attribute.
pub fn drop_undefined(cx: &mut Upgrade<'_>, names: &[&str]) {
    for name in names {
        if matches!(cx.attrs.get(*name), Some(Attr::Int(d)) if *d == 0) {
            cx.take(name);
        }
    }
}

/// A parameter of a matrix product's operand (a scale, a zero point) seen with the axes of its matrix: one an entry of
/// the row axis (`rows`), or of the column axis.
pub fn matrix_parameter(shape: &[usize], rows: bool) -> Vec<usize> {
    match shape {
        [n] if rows && *n != 1 => vec![*n, 1],
        other => other.to_vec(),
    }
}

/// Checks that the parameter at operand `param` broadcasts to `matrix`, as [`matrix_parameter`] sees it, and is one for each
/// row or column: `[…, m, 1]` or `[…, 1, n]`.
pub fn matrix_parameter_rule(
    cx: &mut RuleCx<'_>,
    label: &'static str,
    param: usize,
    matrix: &[Dim],
    rows: bool,
) -> RuleResult {
    if !cx.has(param) {
        return Ok(());
    }
    let p = cx.shape(param)?;
    let one = |d: &Dim| Cond::eq(d, &Dim::ONE);
    cx.require(label, p.len() <= matrix.len(), || {
        format!("operand {param} has rank {}, its matrix {}", p.len(), matrix.len())
    })?;
    // One entry a row is a column; without rows there is one entry.
    if rows && p.len() == 1 {
        let row = matrix.len().checked_sub(2).map(|i| Cond::eq(&p[0], &matrix[i]));
        return cx.require_that(label, row.map_or_else(|| one(&p[0]), |c| one(&p[0]).or(&c)));
    }
    // Nor has a vector columns: its axis is summed up.
    if let ([n], false, 1) = (p.as_slice(), rows, matrix.len()) {
        return cx.require_eq(label, n, &Dim::ONE);
    }
    for (d, extent) in p.iter().rev().zip(matrix.iter().rev()) {
        cx.require_that(label, one(d).or(&Cond::eq(d, extent)))?;
    }
    // It does not change along the axis that is summed up.
    match p.as_slice() {
        [.., _, last] if rows => cx.require_eq(label, last, &Dim::ONE),
        [.., row, _] if !rows => cx.require_eq(label, row, &Dim::ONE),
        _ => Ok(()),
    }
}

/// For each element of a matrix, the parameter that belongs to it.
///
/// # Errors
/// When the parameter holds no numbers.
pub fn spread(param: &Tensor, matrix: &[usize], rows: bool) -> Result<Vec<f64>> {
    let v = param.floats()?;
    if v.len() == 1 {
        return Ok(vec![v[0]; matrix.iter().product()]);
    }
    let shape = matrix_parameter(param.shape(), rows);
    if shape.len() > matrix.len() {
        return Err(Error::invalid(format!("a parameter of shape {shape:?} for a matrix {matrix:?}")));
    }
    Ok(broadcast_positions(&shape, matrix).into_iter().map(|i| v[i]).collect())
}

/// The element of a matrix' parameter (a scale, a zero point: one number, or one a row or column) for row or column
/// `at`; none where it is of another form.
pub fn load_parameter(c: &mut ComputeBuilder, param: TensorId, at: ExprId) -> Option<ExprId> {
    let shape = c.shape(param);
    match shape.as_slice() {
        [n] if *n != 1 => Some(c.load(param, &[at])),
        _ if shape.iter().all(|&n| n == 1) => {
            let zeros = vec![c.idx(0); shape.len()];
            Some(c.load(param, &zeros))
        }
        _ => None,
    }
}

/// Operands of an integer matrix product: the two matrices and their zero points, by number.
pub struct IntProduct {
    /// First matrix.
    pub a: usize,
    /// Its zero point.
    pub a_zero: usize,
    /// Second matrix.
    pub b: usize,
    /// Its zero point.
    pub b_zero: usize,
}

impl IntProduct {
    /// `sum_k (a - a_zero) (b - b_zero)` in `i32`, over pairs; on the host where a zero point differs along the summed
    /// axis, or along some axes of the batch.
    pub fn lower(&self, cx: &LowerCx<'_>) -> Lowering {
        let (a, b) = (cx.shape(self.a), cx.shape(self.b));
        let (Some((&k, rows)), Some(b_axis)) = (a.split_last(), b.len().checked_sub(2).or(Some(0))) else {
            return Lowering::Host;
        };
        if b.is_empty() {
            return Lowering::Host;
        }
        let (a_zero, b_zero) = (self.row_zero(cx, rows), self.column_zero(cx, &b[b_axis + 1..]));
        let (Some(a_zero), Some(b_zero)) = (a_zero, b_zero) else { return Lowering::Host };
        let outer = rows.iter().product();
        let lhs = Pairs { operand: self.a, dtype: cx.dtype(self.a), outer, len: k, inner: 1, zero: a_zero };
        let (outer, inner) = (b[..b_axis].iter().product(), b[b_axis + 1..].iter().product());
        let rhs = Pairs { operand: self.b, dtype: cx.dtype(self.b), outer, len: k, inner, zero: b_zero };
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        a[rows.len()] = lhs.n_pairs();
        b[b_axis] = rhs.n_pairs();
        let form = PairForm::MatMul(Product::of(&a, &b, false, false).lowering());
        Lowering::Pairs(Box::new(PairProduct { lhs, rhs, form }))
    }

    /// The zero point of the rows of `a`, whose extents in front of the last are `rows`.
    fn row_zero(&self, cx: &LowerCx<'_>, rows: &[usize]) -> Option<ZeroPoint> {
        if !cx.has(self.a_zero) {
            return Some(ZeroPoint::None);
        }
        let shape = matrix_parameter(cx.shape(self.a_zero), true);
        let period: usize = shape.iter().product();
        if period == 1 {
            return Some(ZeroPoint::One(self.a_zero));
        }
        // All rows of the innermost axes, in order: extents of 1 in front repeat them.
        let (&last, own) = shape.split_last()?;
        let first = own.iter().position(|&n| n != 1)?;
        let own = &own[first..];
        (last == 1 && rows.ends_with(own)).then_some(ZeroPoint::Outer { operand: self.a_zero, period })
    }

    /// The zero point of the columns of `b`, none where it is a vector.
    fn column_zero(&self, cx: &LowerCx<'_>, columns: &[usize]) -> Option<ZeroPoint> {
        if !cx.has(self.b_zero) {
            return Some(ZeroPoint::None);
        }
        let shape = cx.shape(self.b_zero);
        let n: usize = shape.iter().product();
        match (n, columns) {
            (1, _) => Some(ZeroPoint::One(self.b_zero)),
            (n, &[columns]) if n == columns && shape.last() == Some(&n) => Some(ZeroPoint::Inner(self.b_zero)),
            _ => None,
        }
    }
}

/// Quantises back: `DequantizeLinear` of the triple `(x, scale, zero point)` in the domain of ONNX.
///
/// # Errors
/// When the rule refuses the operands.
pub fn dequantize(
    b: &mut GraphBuilder,
    x: Option<ValueId>,
    scale: Option<ValueId>,
    zero: Option<ValueId>,
    axis: i64,
) -> Result<ValueId> {
    let (scale, zero) = (parameter(b, scale)?, parameter(b, zero)?);
    Ok(b.node("ai.onnx", "DequantizeLinear", attrs! { axis: axis }, &[x, scale, zero], 1)?[0])
}

/// One number that ONNX Runtime's operators may have with more axes, as the scalar that ONNX wants.
fn parameter(b: &mut GraphBuilder, v: Option<ValueId>) -> Result<Option<ValueId>> {
    let Some(v) = v else { return Ok(None) };
    let rank = b.ty(v).as_tensor().and_then(|t| t.shape.dims()).map_or(0, <[Dim]>::len);
    if rank < 2 {
        return Ok(Some(v));
    }
    let scalar = b.ints(&[]);
    b.op("Reshape", attrs! {}, &[v, scalar]).map(Some)
}

/// `QuantizeLinear` of `y` to the type of the zero point, or `like` where that is left out.
///
/// # Errors
/// When the rule refuses the operands.
pub fn quantize(
    b: &mut GraphBuilder,
    y: ValueId,
    scale: Option<ValueId>,
    zero: Option<ValueId>,
    like: Option<ValueId>,
) -> Result<ValueId> {
    let (scale, zero) = (parameter(b, scale)?, parameter(b, zero)?);
    let mut attrs = attrs! {};
    if zero.is_none()
        && let Some(t) = like.and_then(|v| b.ty(v).as_tensor())
    {
        attrs = attrs! { output_dtype: t.dtype };
    }
    Ok(b.node("ai.onnx", "QuantizeLinear", attrs, &[Some(y), scale, zero], 1)?[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_of_an_axis_and_of_blocks() {
        let zero = Dim::int(0);
        assert_eq!(scale_positions(&[2, 3], &[3], 1, &zero).unwrap(), [0, 1, 2, 0, 1, 2]);
        assert_eq!(scale_positions(&[2, 2], &[2], 0, &zero).unwrap(), [0, 0, 1, 1]);
        assert_eq!(scale_positions(&[1, 5], &[1, 3], -1, &Dim::int(2)).unwrap(), [0, 0, 1, 1, 2]);
        assert_eq!(scale_positions(&[3], &[1], 1, &zero).unwrap(), [0, 0, 0]);
    }
}
