//! `y = softmax(scale q k^T + bias) v`: causal, over a cache, several query heads to one head of keys.
//!
//! Queries and keys may be turned by rotary positions.
//!
//! | value | type |
//! |---|---|
//! | `query` | `T[n, len, heads * size]`, or with keys and values behind it `T[n, len, (heads + 2 kv_heads) * size]` |
//! | `key`, `value` | `T[n, len, kv_heads * size]` |
//! | `past_key`, `past_value` | `T[n, kv_heads, cache, size]` |
//! | `seqlens_k` | `i32[n]`: keys of each sample after this call, less one |
//! | `total_sequence_length` | one `i32`: the most of them (`total`) |
//! | `cos_cache`, `sin_cache` | `T[positions, turned / 2]`, with `do_rotary` |
//! | `position_ids` | `i64[n, len]`; left out, positions go on from the past |
//! | `attention_bias` | `T[n or 1, heads or 1, len, total]` |
//! | `head_sink` | `T[heads]`: one more score a head, that takes its share and gives nothing |
//! | `output` | `T[n, len, heads * size]` |
//! | `present_key`, `present_value` | `T[n, kv_heads, max(cache, total), size]` |
//! | `output_qk` | `T[n, heads, len, total]`: scores before (`qk_output` 1) or after (2) the softmax |
//!
//! - **C1** one type, `f32`, `f16` or `bf16`; lengths are `i32`, positions `i64`
//! - **C2** `query` has rank 3, `key` and `value` are given together and fit
//! - **C3** `kv_num_heads` divides `num_heads`, which divide the last axes
//! - **C4** `past_key` and `past_value` are given together and fit
//! - **C5** `seqlens_k` is `[n]` (or `[n, 1]`), `total_sequence_length` one number
//! - **C6** `attention_bias` and `head_sink` have the extents above
//! - **C7** with `do_rotary` the caches are given
//! - **C8** no quantised cache, no windowed cache, no norms of queries and keys, no `query_seqlens`
//!
//! Where `total` is `len` the call starts a prompt and the past has no keys; else sample `b` has
//! `seqlens_k[b] + 1 - len` of them, and the new ones are written behind. `smooth_softmax` is a sink of 0.
//! ONNX Runtime `com.microsoft::GroupQueryAttention`, version 1.

use super::attention_core::require_bias;
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::attention_common::*;
use crate::ops::common::*;
use crate::rule::{Content, RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `GroupQueryAttention`.
    pub struct GroupQueryAttention {
        /// Whether a query sees no key behind its own position.
        causal: bool = true,
        /// Whether queries and keys are turned by their positions.
        do_rotary: bool = false,
        /// Epsilon of the norm of keys.
        k_norm_epsilon: Option<f32>,
        /// How the keys of the cache are quantised: `NONE`, `PER_TENSOR` or `PER_CHANNEL`; only the first is taken.
        k_quant_type: String = "NONE",
        /// Bits of a quantised cache.
        kv_cache_bit_width: i64 = 0i64,
        /// Heads of keys and values.
        kv_num_heads: i64,
        /// Keys that a query sees, itself included; -1: all.
        local_window_size: i64 = -1i64,
        /// Heads of queries.
        num_heads: i64,
        /// Epsilon of the norm of queries.
        q_norm_epsilon: Option<f32>,
        /// Epsilon of both norms.
        qk_norm_epsilon: f32 = 1e-6f32,
        /// What `output_qk` shows: 0 nothing, 1 scores, 2 after the softmax.
        qk_output: i64 = 0i64,
        /// Whether rotary pairs are neighbours.
        rotary_interleaved: bool = false,
        /// Factor of the scores; 0: `1 / sqrt(size)`.
        scale: f32 = 0.0f32,
        /// Whether the cache holds only a window.
        sliding_window_cache: bool = false,
        /// Whether the softmax has one more score of 0.
        smooth_softmax: i64 = -1i64,
        /// Scores become `softcap * tanh(scores / softcap)`; 0: they stay.
        softcap: f32 = 0.0f32,
        /// How the values of the cache are quantised: `NONE`, `PER_TENSOR` or `PER_CHANNEL`; only the first is taken.
        v_quant_type: String = "NONE",
    }
}

/// One number that is known while building.
fn number(content: Option<&Content>) -> Option<Dim> {
    match content? {
        Content::Dims(d) => d.first().cloned(),
        Content::Tensor(t) => t.to_i64s().ok()?.first().map(|&v| Dim::int(v)),
    }
}

impl Op for GroupQueryAttention {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, UP_TO_SINGLE)?;
        let t = cx.same_dtype("C1", [0, 1, 2, 3, 4, 7, 8, 10, 11])?;
        for (i, d) in [(5, DType::I32), (6, DType::I32), (9, DType::I64)] {
            if cx.has(i) {
                cx.require_dtype("C1", i, &[d])?;
            }
        }
        let q = cx.shape(0)?;
        let [n, len, hidden] = &q[..] else {
            return cx.require("C2", false, || format!("query has rank {}", q.len()));
        };
        let (heads, kv_heads) = (self.num_heads, self.kv_num_heads);
        let fits = heads >= 1 && kv_heads >= 1 && heads % kv_heads == 0;
        cx.require("C3", fits, || format!("{heads} query heads share {kv_heads} heads of keys"))?;
        cx.require("C2", cx.has(1) == cx.has(2), || "one of key and value is missing".into())?;
        let packed = !cx.has(1);
        let all = Dim::int(if packed { heads + 2 * kv_heads } else { heads });
        cx.require_eq("C3", &hidden.modulo(&all), &Dim::int(0))?;
        let size = hidden.floor_div(&all);
        let (heads, kv_heads) = (Dim::int(heads), Dim::int(kv_heads));
        if !packed {
            for i in 1..3 {
                require_shape(cx, "C2", i, &[n.clone(), len.clone(), &kv_heads * &size])?;
            }
        }
        let total = number(cx.fact(6)?.content.as_ref());
        let total = match total {
            Some(total) => total,
            None => cx.fresh(),
        };
        let mut cache = total.clone();
        cx.require("C4", cx.has(3) == cx.has(4), || "one of past_key and past_value is missing".into())?;
        if cx.has(3) {
            let past = cx.shape(3)?.get(2).cloned().unwrap_or_default();
            for i in 3..5 {
                require_shape(cx, "C4", i, &[n.clone(), kv_heads.clone(), past.clone(), size.clone()])?;
            }
            cache = Dim::max(&cache, &past);
        }
        let lengths = if cx.rank(5)? == 2 { vec![n.clone(), Dim::ONE] } else { vec![n.clone()] };
        require_shape(cx, "C5", 5, &lengths)?;
        let one: Dim = cx.shape(6)?.iter().product();
        cx.require_eq("C5", &one, &Dim::ONE)?;
        let scores = vec![n.clone(), heads.clone(), len.clone(), total];
        if cx.has(10) {
            require_bias(cx, "C6", 10, &scores)?;
        }
        if cx.has(11) {
            require_shape(cx, "C6", 11, std::slice::from_ref(&heads))?;
        }
        if cx.has(9) {
            require_shape(cx, "C7", 9, &[n.clone(), len.clone()])?;
        }
        cx.require("C7", !self.do_rotary || (cx.has(7) && cx.has(8)), || "the caches are missing".into())?;
        let plain = (12..17).all(|i| !cx.has(i))
            && !self.sliding_window_cache
            && self.k_quant_type == "NONE"
            && self.v_quant_type == "NONE";
        cx.require("C8", plain, || "this kind of cache is not supported".into())?;
        let present = vec![n.clone(), kv_heads, cache, size.clone()];
        cx.output(t, vec![n.clone(), len.clone(), &heads * &size])?;
        cx.output(t, present.clone())?;
        cx.output(t, present)?;
        cx.output(t, scores)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(q), Some(seqlens), Some(total)) = (at(0), at(5), at(6)) else { return Ok(None) };
        let total = number(b.fact(total).content.as_ref()).and_then(|d| d.as_int());
        let Some(total) = total.and_then(|t| usize::try_from(t).ok()) else { return Ok(None) };
        let Some((t, shape)) = concrete(b, q) else { return Ok(None) };
        let (n, len) = (shape[0], shape[1]);
        let heads = [self.num_heads, self.kv_num_heads].map(|h| usize::try_from(h).unwrap_or(1).max(1));
        let [heads, kv_heads] = heads;
        let mut split = Vec::new();
        let parts = match (at(1), at(2)) {
            (Some(k), Some(v)) => [q, k, v],
            _ => {
                let size = shape[2] / (heads + 2 * kv_heads);
                let ends = [0, heads * size, (heads + kv_heads) * size, shape[2]];
                let mut part = |i: usize| slice(b, q, 2, ends[i], ends[i + 1]);
                [part(0)?, part(1)?, part(2)?]
            }
        };
        for (part, heads) in parts.into_iter().zip([heads, kv_heads, kv_heads]) {
            let Some(part) = split_heads(b, part, heads)? else { return Ok(None) };
            split.push(part);
        }
        let [mut q, mut k, v] = split[..] else { return Ok(None) };
        // Where each sample's new rows go: behind its past.
        let start = if total == len {
            b.ints(&vec![0; n])
        } else {
            let flat = reshape(b, seqlens, &[n])?;
            let last = cast(b, flat, DType::I64)?;
            let back = b.constant(Tensor::scalar(1 - len as i64));
            b.op("Add", attrs! {}, &[last, back])?
        };
        if let (true, Some(cos), Some(sin)) = (self.do_rotary, at(7), at(8)) {
            let steps = positions(b, len)?;
            let first = match at(9) {
                Some(ids) if total == len => {
                    let one = slice(b, ids, 0, 0, 1)?;
                    let one = slice(b, one, 1, 0, 1)?;
                    let whole = b.ints(&[n as i64, 1]);
                    Some(b.op("Expand", attrs! {}, &[one, whole])?)
                }
                Some(_) => None,
                None => Some(reshape(b, start, &[n, 1])?),
            };
            let ids = match (first, at(9)) {
                (Some(first), _) => b.op("Add", attrs! {}, &[first, steps])?,
                (None, Some(ids)) => ids,
                (None, None) => return Ok(None),
            };
            let Some((_, cache)) = concrete(b, cos) else { return Ok(None) };
            let turned = 2 * cache.get(1).copied().unwrap_or(0) as i64;
            for x in [&mut q, &mut k] {
                let a = attrs! { interleaved: self.rotary_interleaved, rotary_embedding_dim: turned };
                *x = b.op("RotaryEmbedding", a, &[*x, cos, sin, ids])?;
            }
        }
        let mut present = [k, v];
        for (new, past) in present.iter_mut().zip([at(3), at(4)]) {
            let Some((_, mut shape)) = concrete(b, *new) else { return Ok(None) };
            let cache = match past {
                // A prompt is the front of the cache.
                Some(past) if total == len => {
                    let Some((_, have)) = concrete(b, past) else { return Ok(None) };
                    if have[2] > len {
                        let rest = slice(b, past, 2, len, have[2])?;
                        *new = b.op("Concat", attrs! { axis: 2i64 }, &[*new, rest])?;
                    }
                    continue;
                }
                None if total == len => continue,
                Some(past) => {
                    let Some((_, have)) = concrete(b, past) else { return Ok(None) };
                    shape[2] = total.saturating_sub(have[2]);
                    let rest = filled(b, Tensor::zeros(t, &[])?, &shape)?;
                    if shape[2] > 0 { b.op("Concat", attrs! { axis: 2i64 }, &[past, rest])? } else { past }
                }
                None => {
                    shape[2] = total;
                    filled(b, Tensor::zeros(t, &[])?, &shape)?
                }
            };
            *new = b.op("TensorScatter", attrs! { axis: 2i64 }, &[cache, *new, start])?;
        }
        let [present_k, present_v] = present;
        let (k, v) = (slice(b, present_k, 2, 0, total)?, slice(b, present_v, 2, 0, total)?);
        let Some(e) = Extents::of(b, q, k, v)? else { return Ok(None) };
        let start = reshape(b, start, &[n, 1, 1, 1])?;
        let Some((y, shown)) = self.attend(b, &e, [q, k, v], start, at(10), at(11))? else { return Ok(None) };
        Ok(Some(vec![y, present_k, present_v, shown]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

impl GroupQueryAttention {
    /// The products, with queries at `start[n, 1, 1, 1]` and further.
    fn attend(
        &self,
        b: &mut GraphBuilder,
        e: &Extents,
        [q, k, v]: [ValueId; 3],
        start: ValueId,
        bias: Option<ValueId>,
        sink: Option<ValueId>,
    ) -> Result<Option<(ValueId, ValueId)>> {
        let t = dtype_of(b, q)?;
        let scale = if self.scale == 0.0 { 1.0 / (e.size as f64).sqrt() } else { self.scale.into() };
        let q = scaled(b, q, scale)?;
        let mut scores = e.scores(b, q, k)?;
        if self.softcap > 0.0 {
            let cap = scalar(b, t, self.softcap.into());
            let small = b.op("Div", attrs! {}, &[scores, cap])?;
            let small = b.op("Tanh", attrs! {}, &[small])?;
            scores = b.op("Mul", attrs! {}, &[small, cap])?;
        }
        if let Some(bias) = bias {
            scores = b.op("Add", attrs! {}, &[scores, bias])?;
        }
        let left = usize::try_from(self.local_window_size).ok().and_then(|w| w.checked_sub(1));
        let window = Window { left, right: self.causal.then_some(0), offset: Offset::Each(start) };
        let mut seen = window.mask(b, e.q_len, e.kv_len)?;
        if !self.causal {
            let keys = positions(b, e.kv_len)?;
            let len = b.constant(Tensor::scalar(e.q_len as i64));
            let end = b.op("Add", attrs! {}, &[start, len])?;
            let there = b.op("Less", attrs! {}, &[keys, end])?;
            seen = both(b, seen, there)?;
        }
        if let Some(seen) = seen {
            let away = scalar(b, t, f64::NEG_INFINITY);
            scores = b.op("Where", attrs! {}, &[seen, scores, away])?;
        }
        let sink = match sink {
            Some(sink) => Some(reshape(b, sink, &[1, e.heads, 1, 1])?),
            None if self.smooth_softmax > 0 => Some(b.constant(Tensor::zeros(t, &[1, 1, 1, 1])?)),
            None => None,
        };
        let p = match sink {
            Some(sink) => {
                let shape = b.ints(&[e.n, e.heads, e.q_len, 1].map(|d| d as i64));
                let column = b.op("Expand", attrs! {}, &[sink, shape])?;
                let wide = b.op("Concat", attrs! { axis: 3i64 }, &[scores, column])?;
                let wide = b.op("Softmax", attrs! { axis: -1i64 }, &[wide])?;
                slice(b, wide, 3, 0, e.kv_len)?
            }
            None => b.op("Softmax", attrs! { axis: -1i64 }, &[scores])?,
        };
        let y = e.mix(b, p, v)?;
        let shown = if self.qk_output == 2 { p } else { scores };
        Ok(join_heads(b, y)?.map(|y| (y, shown)))
    }
}

op! {
    GroupQueryAttention in "com.microsoft" since [1];
    "query, key?, value?, past_key?, past_value?, seqlens_k, total_sequence_length, cos_cache?, sin_cache?, position_ids?, attention_bias?, head_sink?, k_scale?, v_scale?, q_norm_weight?, k_norm_weight?, query_seqlens?" => "output, present_key?, present_value?, output_qk?";
    summary: "causal attention over a cache, with shared heads and rotary positions";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @step([[[0.0]]], [[[0.0]]], [[[6.0]]], [[[[0.0], [0.0]]]], [[[[2.0], [9.0]]]], [1]) == [[[4.0]]], [[[[2.0], [6.0]]]]
graph @step(%q: f32[1, 1, 1], %k: f32[1, 1, 1], %v: f32[1, 1, 1], %pk: f32[1, 1, 2, 1], %pv: f32[1, 1, 2, 1], %s: i32[1]) -> (f32[1, 1, 1], f32[1, 1, 2, 1]) {
  %0 = constant i32[] 2
  %1, %2, %3 = microsoft.group_query_attention %q, %k, %v, %pk, %pv, %s, %0 {kv_num_heads = 1, num_heads = 1} : f32[1, 1, 1], f32[1, 1, 2, 1], f32[1, 1, 2, 1]
  return %1, %3
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_query_attention_c1_c2_c3_c4_c5_c6_c7_c8_are_named() {
        let f = |s: &[usize]| Some(Fact::of(Type::tensor(DType::F32, s)));
        let i = |s: &[usize]| Some(Fact::of(Type::tensor(DType::I32, s)));
        let bad = |a: crate::Attrs, changes: &[(usize, Option<Fact>)]| {
            let mut x = vec![f(&[2, 3, 8]), f(&[2, 3, 4]), f(&[2, 3, 4]), None, None, i(&[2]), i(&[])];
            x.resize(17, None);
            changes.iter().for_each(|(i, t)| x[*i] = t.clone());
            let op = (DEF.parse)(&a).unwrap();
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let a = || attrs! { num_heads: 4i64, kv_num_heads: 2i64 };
        let name = |n| format!("GroupQueryAttention.C{n}");
        assert_eq!(bad(a(), &[(5, f(&[2]))]), name(1));
        assert_eq!(bad(a(), &[(1, f(&[2, 3, 8]))]), name(2));
        assert_eq!(bad(attrs! { num_heads: 4i64, kv_num_heads: 3i64 }, &[]), name(3));
        assert_eq!(bad(a(), &[(3, f(&[2, 2, 5, 2]))]), name(4));
        for lengths in [&[3][..], &[1, 2], &[2, 1, 1]] {
            assert_eq!(bad(a(), &[(5, i(lengths))]), name(5), "{lengths:?}");
        }
        assert_eq!(bad(a(), &[(11, f(&[3]))]), name(6));
        assert_eq!(bad(attrs! { num_heads: 4i64, kv_num_heads: 2i64, do_rotary: true }, &[]), name(7));
        assert_eq!(bad(a(), &[(16, i(&[2]))]), name(8));
    }
}
