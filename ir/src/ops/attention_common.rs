//! What the attention operators' expansions share: small graph pieces, and the two products of attention with keys and
//! values shared by groups of query heads.
//!
//! Narrow floats (f16, bf16) are multiplied in `f32` and rounded once, as the reference does it; so the products are the
//! packed kernels whatever the element type.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Element type and extents of a value, where all are numbers.
pub fn concrete(b: &GraphBuilder, v: ValueId) -> Option<(DType, Vec<usize>)> {
    b.ty(v).concrete()
}

/// The element types of attention operators that leave `f64` out.
pub const UP_TO_SINGLE: &[DType] = &[DType::F32, DType::F16, DType::BF16];

/// Whether sums and products of this type are better taken in `f32`.
pub fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// The element type in which sums of a float type are taken: `f64` in itself, others in `f32`.
pub fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Under another shape.
pub fn reshape(b: &mut GraphBuilder, x: ValueId, shape: &[usize]) -> Result<ValueId> {
    if concrete(b, x).is_some_and(|(_, have)| have == shape) {
        return Ok(x);
    }
    let shape = b.ints(&shape.iter().map(|&d| d as i64).collect::<Vec<_>>());
    b.op("Reshape", attrs! { allowzero: true }, &[x, shape])
}

/// With axes exchanged.
pub fn transpose(b: &mut GraphBuilder, x: ValueId, perm: &[i64]) -> Result<ValueId> {
    b.op("Transpose", attrs! { perm: perm.to_vec() }, &[x])
}

/// Entries `from..to` of an axis.
pub fn slice(b: &mut GraphBuilder, x: ValueId, axis: i64, from: usize, to: usize) -> Result<ValueId> {
    let (from, to, axis) = (b.ints(&[from as i64]), b.ints(&[to as i64]), b.ints(&[axis]));
    b.op("Slice", attrs! {}, &[x, from, to, axis])
}

/// In another element type.
pub fn cast(b: &mut GraphBuilder, x: ValueId, dtype: DType) -> Result<ValueId> {
    if b.ty(x).as_tensor().is_some_and(|t| t.dtype == dtype) {
        return Ok(x);
    }
    b.op("Cast", attrs! { to: dtype }, &[x])
}

/// A rank-0 float constant.
pub fn scalar(b: &mut GraphBuilder, dtype: DType, value: f64) -> ValueId {
    b.constant(Tensor::from_floats(dtype, &[], [value]))
}

/// More queries or keys than this are refused: their positions are written out, as 512 MiB at this number.
const MAX_POSITIONS: usize = 1 << 26;

/// `i64[len]`: `0, 1, …`.
///
/// # Errors
/// When there are too many.
pub fn positions(b: &mut GraphBuilder, len: usize) -> Result<ValueId> {
    within_limit(len)?;
    Ok(b.ints(&(0..len as i64).collect::<Vec<_>>()))
}

fn within_limit(len: usize) -> Result<()> {
    if len > MAX_POSITIONS {
        return Err(Error::limit(format!("{len} positions (at most {MAX_POSITIONS})")));
    }
    Ok(())
}

/// A scalar in every place; made when the graph runs, under its limits.
pub fn filled(b: &mut GraphBuilder, value: Tensor, shape: &[usize]) -> Result<ValueId> {
    let value = b.constant(value);
    let shape = b.ints(&shape.iter().map(|&d| d as i64).collect::<Vec<_>>());
    b.op("Expand", attrs! {}, &[value, shape])
}

/// `x * factor`, rounded to the type of `x`, as is the factor.
pub fn scaled(b: &mut GraphBuilder, x: ValueId, factor: f64) -> Result<ValueId> {
    let dtype = dtype_of(b, x)?;
    let factor = scalar(b, dtype, factor);
    b.op("Mul", attrs! {}, &[x, factor])
}

/// Element type of a tensor.
///
/// # Errors
/// When it is no tensor.
pub fn dtype_of(b: &GraphBuilder, x: ValueId) -> Result<DType> {
    b.ty(x).as_tensor().map(|t| t.dtype).ok_or_else(|| Error::bug("a tensor is wanted"))
}

/// `x @ y` in the type of `x`.
pub fn product(b: &mut GraphBuilder, x: ValueId, y: ValueId) -> Result<ValueId> {
    let dtype = dtype_of(b, x)?;
    let (p, q) = (cast(b, x, wide(dtype))?, cast(b, y, wide(dtype))?);
    let z = b.op("MatMul", attrs! {}, &[p, q])?;
    cast(b, z, dtype)
}

/// `[batch, len, heads * size]` as `[batch, heads, len, size]`.
pub fn split_heads(b: &mut GraphBuilder, x: ValueId, heads: usize) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, x) else { return Ok(None) };
    let [n, len, hidden] = shape[..] else { return Err(Error::invalid("heads are split of a tensor of rank 3")) };
    let apart = reshape(b, x, &[n, len, heads, hidden / heads])?;
    transpose(b, apart, &[0, 2, 1, 3]).map(Some)
}

/// `[batch, heads, len, size]` as `[batch, len, heads * size]`.
pub fn join_heads(b: &mut GraphBuilder, x: ValueId) -> Result<Option<ValueId>> {
    let Some((_, shape)) = concrete(b, x) else { return Ok(None) };
    let [n, heads, len, size] = shape[..] else { return Err(Error::invalid("heads are joined of a tensor of rank 4")) };
    let rows = transpose(b, x, &[0, 2, 1, 3])?;
    reshape(b, rows, &[n, len, heads * size]).map(Some)
}

/// Extents of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    /// Batch.
    pub n: usize,
    /// Heads of the queries, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Queries.
    pub q_len: usize,
    /// Keys.
    pub kv_len: usize,
    /// Length of a query and of a key.
    pub size: usize,
    /// Length of a value.
    pub v_size: usize,
}

impl Extents {
    /// Of `q: [n, heads, q_len, size]`, `k: [n, kv_heads, kv_len, size]`, `v: [n, kv_heads, kv_len, v_size]`; `None`
    /// while some are not numbers.
    ///
    /// # Errors
    /// When a rank is not 4, the heads do not divide, or there are too many queries or keys.
    pub fn of(b: &GraphBuilder, q: ValueId, k: ValueId, v: ValueId) -> Result<Option<Extents>> {
        let shapes = (concrete(b, q), concrete(b, k), concrete(b, v));
        let (Some((_, q)), Some((_, k)), Some((_, v))) = shapes else { return Ok(None) };
        let ([n, heads, q_len, size], [_, kv_heads, kv_len, _], [_, _, _, v_size]) = (&q[..], &k[..], &v[..]) else {
            return Err(Error::invalid("queries, keys and values must have rank 4"));
        };
        if *kv_heads == 0 || heads % kv_heads != 0 {
            return Err(Error::invalid(format!("{heads} query heads do not share {kv_heads} heads of keys")));
        }
        within_limit(*q_len)?;
        within_limit(*kv_len)?;
        let (n, heads, kv_heads, q_len, kv_len) = (*n, *heads, *kv_heads, *q_len, *kv_len);
        Ok(Some(Extents { n, heads, kv_heads, q_len, kv_len, size: *size, v_size: *v_size }))
    }

    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// `q k^T`: `[n, heads, q_len, kv_len]` in the type of `q`. Query head `h` meets key head `h / group`; keys are not
    /// repeated, the product broadcasts.
    ///
    /// # Errors
    /// When a node is refused.
    pub fn scores(&self, b: &mut GraphBuilder, q: ValueId, k: ValueId) -> Result<ValueId> {
        let k = transpose(b, k, &[0, 1, 3, 2])?;
        if self.group() == 1 {
            return product(b, q, k);
        }
        let q = reshape(b, q, &[self.n, self.kv_heads, self.group(), self.q_len, self.size])?;
        let k = reshape(b, k, &[self.n, self.kv_heads, 1, self.size, self.kv_len])?;
        let s = product(b, q, k)?;
        reshape(b, s, &[self.n, self.heads, self.q_len, self.kv_len])
    }

    /// `p v`: `[n, heads, q_len, v_size]` in the type of `p`.
    ///
    /// # Errors
    /// When a node is refused.
    pub fn mix(&self, b: &mut GraphBuilder, p: ValueId, v: ValueId) -> Result<ValueId> {
        if self.group() == 1 {
            return product(b, p, v);
        }
        let p = reshape(b, p, &[self.n, self.kv_heads, self.group(), self.q_len, self.kv_len])?;
        let v = reshape(b, v, &[self.n, self.kv_heads, 1, self.kv_len, self.v_size])?;
        let y = product(b, p, v)?;
        reshape(b, y, &[self.n, self.heads, self.q_len, self.v_size])
    }
}

/// Where the queries stand among the keys: query `i` at position `i + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// One for all.
    Fixed(usize),
    /// One a sample: an `i64` value `[n, 1, 1, 1]`.
    Each(ValueId),
}

/// Keys that a query sees by position: none further left, none further right than these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Positions to the left.
    pub left: Option<usize>,
    /// Positions to the right; 0 is causal.
    pub right: Option<usize>,
    /// Where queries stand.
    pub offset: Offset,
}

impl Window {
    /// `bool`, broadcasting to `[n, heads, q_len, kv_len]`: which keys each query sees. `None` where it sees all.
    ///
    /// # Errors
    /// When a node is refused.
    pub fn mask(&self, b: &mut GraphBuilder, q_len: usize, kv_len: usize) -> Result<Option<ValueId>> {
        if self.left.is_none() && self.right.is_none() {
            return Ok(None);
        }
        let start = if let Offset::Fixed(n) = self.offset { n } else { 0 };
        let rows = positions(b, q_len)?;
        let column = reshape(b, rows, &[q_len, 1])?;
        let start = b.constant(Tensor::scalar(start as i64));
        let mut at = b.op("Add", attrs! {}, &[column, start])?;
        if let Offset::Each(offset) = self.offset {
            at = b.op("Add", attrs! {}, &[at, offset])?;
        }
        let keys = positions(b, kv_len)?;
        let mut seen = None;
        if let Some(right) = self.right {
            let right = b.constant(Tensor::scalar(right as i64));
            let last = b.op("Add", attrs! {}, &[at, right])?;
            let m = b.op("LessOrEqual", attrs! {}, &[keys, last])?;
            seen = both(b, seen, m)?;
        }
        if let Some(left) = self.left {
            let left = b.constant(Tensor::scalar(left as i64));
            let first = b.op("Sub", attrs! {}, &[at, left])?;
            let m = b.op("GreaterOrEqual", attrs! {}, &[keys, first])?;
            seen = both(b, seen, m)?;
        }
        Ok(seen)
    }

    /// Whether every query sees some key, known without data.
    pub fn never_blind(&self, q_len: usize, kv_len: usize) -> bool {
        let Offset::Fixed(start) = self.offset else { return false };
        (start..start + q_len).all(|p| {
            let first = self.left.map_or(0, |l| p.saturating_sub(l));
            let end = self.right.map_or(kv_len, |r| kv_len.min(p.saturating_add(r).saturating_add(1)));
            first < end
        })
    }
}

/// `a && m`, where `a` is left out `m`.
///
/// # Errors
/// When the node is refused.
pub fn both(b: &mut GraphBuilder, a: Option<ValueId>, m: ValueId) -> Result<Option<ValueId>> {
    Ok(Some(match a {
        Some(a) => b.op("And", attrs! {}, &[a, m])?,
        None => m,
    }))
}

/// Operand `i` must have exactly these extents.
pub fn require_shape(cx: &mut RuleCx<'_>, label: &'static str, i: usize, want: &[Dim]) -> RuleResult {
    let have = cx.shape(i)?;
    cx.require(label, have.len() == want.len(), || format!("operand {i} has rank {}, not {}", have.len(), want.len()))?;
    for (a, b) in have.iter().zip(want) {
        cx.require_eq(label, a, b)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_knows_whether_a_query_sees_nothing() {
        let w = |left, right, start| Window { left, right, offset: Offset::Fixed(start) };
        assert!(w(None, Some(0), 0).never_blind(4, 2));
        assert!(w(Some(1), Some(0), 0).never_blind(3, 2));
        assert!(!w(Some(1), Some(0), 0).never_blind(4, 2));
        assert!(!w(None, None, 0).never_blind(1, 0));
    }
}
