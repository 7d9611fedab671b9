//! What `Attention` and `MultiHeadAttention` of ONNX Runtime share: masks given as numbers, and the products.
//!
//! A mask of integers (not 0: seen) becomes a number added to the scores, `mask_filter_value` where a key is not seen, so
//! a query that sees none still gives a mean of the values, as in ONNX Runtime. A causal bound is exact: what lies behind
//! it gets the lowest number.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::attention_common::*;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// One attention after projection and caches.
pub struct Core {
    /// `T[n, heads, q_len, size]`.
    pub q: ValueId,
    /// `T[n, heads, kv_len, size]`, past included.
    pub k: ValueId,
    /// `T[n, heads, kv_len, v_size]`, past included.
    pub v: ValueId,
    /// Keys that come from a past.
    pub past: usize,
    /// Factor of the scores; left out or 0: `1 / sqrt(size)`.
    pub scale: Option<f32>,
    /// Integers `[n]`, `[2 n]`, `[n, kv_len]` or `[n, q_len, kv_len]`.
    pub mask: Option<ValueId>,
    /// Added where a mask does not let a key be seen.
    pub filter: f32,
    /// `T`, broadcasts to the scores.
    pub bias: Option<ValueId>,
    /// Whether a query sees no key behind its own position.
    pub causal: bool,
}

impl Core {
    /// `(T[n, q_len, heads * v_size], T[n, heads, q_len, kv_len])`: results, and scores before the softmax. `None` while
    /// extents are not numbers.
    ///
    /// # Errors
    /// When a node is refused.
    pub fn expand(&self, b: &mut GraphBuilder) -> Result<Option<(ValueId, ValueId)>> {
        let Some(e) = Extents::of(b, self.q, self.k, self.v)? else { return Ok(None) };
        let t = dtype_of(b, self.q)?;
        let scale = self.scale.filter(|&s| s != 0.0).map_or(1.0 / (e.size as f64).sqrt(), f64::from);
        let q = scaled(b, self.q, scale)?;
        let mut scores = e.scores(b, q, self.k)?;
        if let Some(mask) = self.mask {
            let Some(mask) = self.added(b, &e, mask, t)? else { return Ok(None) };
            scores = b.op("Add", attrs! {}, &[scores, mask])?;
        }
        if let Some(bias) = self.bias {
            scores = b.op("Add", attrs! {}, &[scores, bias])?;
        }
        // A single query stands behind all keys.
        let right = (self.causal && e.q_len > 1).then_some(0);
        let window = Window { left: None, right, offset: Offset::Fixed(self.past) };
        if let Some(seen) = window.mask(b, e.q_len, e.kv_len)? {
            let lowest = scalar(b, t, lowest(t));
            scores = b.op("Where", attrs! {}, &[seen, scores, lowest])?;
        }
        let p = b.op("Softmax", attrs! { axis: -1i64 }, &[scores])?;
        let y = e.mix(b, p, self.v)?;
        Ok(join_heads(b, y)?.map(|y| (y, scores)))
    }

    /// The mask as a number added to the scores.
    fn added(&self, b: &mut GraphBuilder, e: &Extents, mask: ValueId, t: DType) -> Result<Option<ValueId>> {
        let Some((_, shape)) = concrete(b, mask) else { return Ok(None) };
        let zero = b.constant(Tensor::scalar(0i32));
        let seen = match shape[..] {
            [len] => {
                let keys = positions(b, e.kv_len)?;
                let keys = cast(b, keys, DType::I32)?;
                let part = |b: &mut GraphBuilder, from: usize| {
                    let part = if len == e.n { mask } else { slice(b, mask, 0, from, from + e.n)? };
                    reshape(b, part, &[e.n, 1, 1, 1])
                };
                let end = part(b, 0)?;
                let before = b.op("Less", attrs! {}, &[keys, end])?;
                if len == e.n {
                    before
                } else {
                    let start = part(b, e.n)?;
                    let behind = b.op("GreaterOrEqual", attrs! {}, &[keys, start])?;
                    b.op("And", attrs! {}, &[before, behind])?
                }
            }
            [n, keys] => {
                let mask = reshape(b, mask, &[n, 1, 1, keys])?;
                b.op("Greater", attrs! {}, &[mask, zero])?
            }
            [n, queries, keys] => {
                let mask = reshape(b, mask, &[n, 1, queries, keys])?;
                b.op("Greater", attrs! {}, &[mask, zero])?
            }
            _ => return Err(Error::unsupported(format!("a mask of rank {}", shape.len()))),
        };
        let (on, off) = (scalar(b, t, 0.0), scalar(b, t, self.filter.into()));
        b.op("Where", attrs! {}, &[seen, on, off]).map(Some)
    }
}

/// The lowest finite number.
fn lowest(t: DType) -> f64 {
    match t {
        DType::F16 => -65504.0,
        DType::BF16 => f64::from(f32::from_bits(0xFF7F_0000)),
        DType::F64 => f64::MIN,
        _ => f32::MIN.into(),
    }
}

/// The requirement on a mask of integers: `i32` of one of the shapes that [`Core::mask`] names.
pub fn require_mask(cx: &mut RuleCx<'_>, label: &'static str, i: usize, [n, q_len, kv_len]: [&Dim; 3]) -> RuleResult {
    cx.require_dtype(label, i, &[DType::I32])?;
    let shape = cx.shape(i)?;
    match &shape[..] {
        [len] => cx.require_that(label, Cond::eq(len, n).or(&Cond::eq(len, &(n * &Dim::int(2))))),
        [_, _] => require_shape(cx, label, i, &[n.clone(), kv_len.clone()]),
        [_, _, _] => require_shape(cx, label, i, &[n.clone(), q_len.clone(), kv_len.clone()]),
        _ => cx.require(label, false, || format!("a mask of rank {} is not supported", shape.len())),
    }
}

/// The requirement on an additive bias: `[n or 1, heads or 1, q_len, kv_len]`.
pub fn require_bias(cx: &mut RuleCx<'_>, label: &'static str, i: usize, scores: &[Dim]) -> RuleResult {
    let shape = cx.shape(i)?;
    cx.require(label, shape.len() == 4, || format!("the bias of the scores has rank {}", shape.len()))?;
    for (k, (a, b)) in shape.iter().zip(scores).enumerate() {
        let same = Cond::eq(a, b);
        cx.require_that(label, if k < 2 { same.or(&Cond::eq(a, &Dim::ONE)) } else { same })?;
    }
    Ok(())
}
