//! Attention with its projections: `[q k v] = input weights + bias`, then heads, masks and products.
//!
//! | value | type |
//! |---|---|
//! | `input` | `T[n, len, inner]` |
//! | `weights`, `bias` | `T[inner, q + k + v]`, `T[q + k + v]`: the widths `qkv_hidden_sizes`, or thirds; `q = k` |
//! | `mask_index` | `i32[n]` (ends), `i32[2 n]` (ends, then starts), `i32[n, total]`, `i32[n, len, total]` (not 0: seen) |
//! | `past`, `present` | `T[2, n, heads, past, size]`, `T[2, n, heads, total, size]`: keys, then values |
//! | `attention_bias` | `T[n or 1, heads or 1, len, total]` |
//! | `output` | `T[n, len, v]` |
//!
//! - **C1** one float type
//! - **C2** `input` has rank 3, `weights` and `bias` have the extents above
//! - **C3** `num_heads` divides the widths; those of queries and keys agree, and with a past that of values
//! - **C4** `mask_index` and `attention_bias` have the extents above
//! - **C5** `past` has the extents above
//! - **C6** no rotary embedding within, no shared buffers
//!
//! ONNX Runtime `com.microsoft::Attention`, version 1.

use super::attention_core::*;
use crate::error::Result;
use crate::ops::attention_common::*;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Attention`.
    pub struct Attention {
        /// Whether queries and keys are turned by their positions.
        do_rotary: bool = false,
        /// Added where a mask does not let a key be seen.
        mask_filter_value: f32 = -10000.0f32,
        /// Heads.
        num_heads: i64,
        /// Whether `past` and `present` share memory.
        past_present_share_buffer: bool = false,
        /// Widths of queries, keys and values.
        qkv_hidden_sizes: Option<Vec<i64>>,
        /// Elements turned by `do_rotary`.
        rotary_embedding_dim: i64 = 0i64,
        /// Factor of the scores; 0: `1 / sqrt(size)`.
        scale: f32 = 0.0f32,
        /// Whether a query sees no key behind its own position.
        unidirectional: bool = false,
    }
}

impl Attention {
    /// Widths of queries, keys and values.
    fn widths(&self, all: &Dim) -> [Dim; 3] {
        match self.qkv_hidden_sizes.as_deref() {
            Some([q, k, v]) => [Dim::int(*q), Dim::int(*k), Dim::int(*v)],
            _ => std::array::from_fn(|_| all.floor_div(&Dim::int(3))),
        }
    }
}

impl Op for Attention {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let t = cx.same_dtype("C1", [0, 1, 2, 4, 5])?;
        let (x, w) = (cx.shape(0)?, cx.shape(1)?);
        let ([n, len, inner], [_, all]) = (&x[..], &w[..]) else {
            return cx.require("C2", false, || format!("ranks are {} and {}", x.len(), w.len()));
        };
        require_shape(cx, "C2", 1, &[inner.clone(), all.clone()])?;
        if cx.has(2) {
            require_shape(cx, "C2", 2, std::slice::from_ref(all))?;
        }
        let listed = self.qkv_hidden_sizes.as_ref().is_none_or(|s| s.len() == 3 && s.iter().all(|&w| w > 0));
        cx.require("C3", listed, || "`qkv_hidden_sizes` must be three widths".into())?;
        cx.require("C3", self.num_heads >= 1, || format!("`num_heads` is {}", self.num_heads))?;
        let heads = Dim::int(self.num_heads);
        let [q, k, v] = self.widths(all);
        cx.require_eq("C3", &(&q + &k + &v), all)?;
        cx.require_eq("C3", &q, &k)?;
        for width in [&q, &v] {
            cx.require_eq("C3", &width.modulo(&heads), &Dim::int(0))?;
        }
        let (size, v_size) = (q.floor_div(&heads), v.floor_div(&heads));
        let mut total = len.clone();
        if cx.has(4) {
            cx.require_eq("C3", &size, &v_size)?;
            let past = cx.shape(4)?.get(3).cloned().unwrap_or_default();
            require_shape(cx, "C5", 4, &[Dim::int(2), n.clone(), heads.clone(), past.clone(), size])?;
            total = &past + &total;
        }
        if cx.has(3) {
            require_mask(cx, "C4", 3, [n, len, &total])?;
        }
        if cx.has(5) {
            require_bias(cx, "C4", 5, &[n.clone(), heads.clone(), len.clone(), total.clone()])?;
        }
        let plain = !self.do_rotary && !self.past_present_share_buffer && !cx.has(6);
        cx.require("C6", plain, || "rotary embedding and shared buffers are not supported here".into())?;
        // Without a past keys and values may differ in size, and then `present` has no shape.
        let same = Cond::eq(&q, &v).as_bool() != Some(false);
        cx.require("C3", same || cx.n_outputs() < 2, || "`present` of keys and values of unlike size".into())?;
        cx.output(t, vec![n.clone(), len.clone(), v])?;
        cx.output(t, vec![Dim::int(2), n.clone(), heads, total, v_size])
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(x), Some(w)) = (at(0), at(1)) else { return Ok(None) };
        let Some((_, w_shape)) = concrete(b, w) else { return Ok(None) };
        let heads = usize::try_from(self.num_heads).unwrap_or(1).max(1);
        let mut all = product(b, x, w)?;
        if let Some(bias) = at(2) {
            all = b.op("Add", attrs! {}, &[all, bias])?;
        }
        let mut split = Vec::new();
        let mut from = 0;
        for width in self.widths(&Dim::int(w_shape[1] as i64)) {
            let Some(width) = width.as_int().and_then(|w| usize::try_from(w).ok()) else { return Ok(None) };
            let part = slice(b, all, 2, from, from + width)?;
            from += width;
            let Some(part) = split_heads(b, part, heads)? else { return Ok(None) };
            split.push(part);
        }
        let [q, mut k, mut v] = split[..] else { return Ok(None) };
        let mut past = 0;
        if let Some(kept) = at(4) {
            let Some((_, shape)) = concrete(b, kept) else { return Ok(None) };
            past = shape[3];
            for (i, x) in [&mut k, &mut v].into_iter().enumerate() {
                let part = slice(b, kept, 0, i, i + 1)?;
                let part = reshape(b, part, &shape[1..])?;
                *x = b.op("Concat", attrs! { axis: 2i64 }, &[part, *x])?;
            }
        }
        let core = Core {
            q,
            k,
            v,
            past,
            scale: Some(self.scale),
            mask: at(3),
            filter: self.mask_filter_value,
            bias: at(5),
            causal: self.unidirectional,
        };
        let Some((y, _)) = core.expand(b)? else { return Ok(None) };
        let mut results = vec![y];
        let (Some((_, k_shape)), Some((_, v_shape))) = (concrete(b, k), concrete(b, v)) else { return Ok(None) };
        if k_shape == v_shape {
            let front = [&[1], &k_shape[..]].concat();
            let (k, v) = (reshape(b, k, &front)?, reshape(b, v, &front)?);
            results.push(b.op("Concat", attrs! { axis: 0i64 }, &[k, v])?);
        }
        Ok(Some(results))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    Attention in "com.microsoft" since [1];
    "input, weights, bias?, mask_index?, past?, attention_bias?, past_sequence_length?" => "output, present?";
    summary: "attention of several heads with its projections";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mean([[[1.0], [3.0]]], [[0.0, 1.0, 2.0]], [0.0, 0.0, 1.0]) == [[[5.0], [5.0]]]
graph @mean(%x: f32[1, 2, 1], %w: f32[1, 3], %b: f32[3]) -> f32[1, 2, 1] {
  %0 = microsoft.attention %x, %w, %b {num_heads = 1} : f32[1, 2, 1]
  return %0
}
// infer: f32[n, s, 8]
graph @symbolic(%x: f32[n, s, 8], %w: f32[8, 24]) -> f32[n, s, 8] {
  %0 = microsoft.attention %x, %w {num_heads = 2} : f32[n, s, 8]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn microsoft_attention_c1_c2_c3_c4_c5_c6_are_named() {
        let f = |s: &[usize]| Some(Fact::of(Type::tensor(DType::F32, s)));
        let bad = |a: crate::Attrs, changes: &[(usize, Option<Fact>)]| {
            let mut x = vec![f(&[2, 3, 4]), f(&[4, 12]), f(&[12])];
            x.resize(7, None);
            changes.iter().for_each(|(i, t)| x[*i] = t.clone());
            let op = (DEF.parse)(&a).unwrap();
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let i = |s: &[usize]| Some(Fact::of(Type::tensor(DType::I32, s)));
        let heads = |n: i64| attrs! { num_heads: n };
        let name = |n| format!("Attention.C{n}");
        assert_eq!(bad(heads(2), &[(2, Some(Fact::of(Type::tensor(DType::F64, &[12]))))]), name(1));
        assert_eq!(bad(heads(2), &[(1, f(&[5, 12]))]), name(2));
        assert_eq!(bad(heads(2), &[(0, f(&[3, 4]))]), name(2));
        assert_eq!(bad(heads(3), &[]), name(3));
        assert_eq!(bad(attrs! { num_heads: 2i64, qkv_hidden_sizes: vec![4i64, 4, 2] }, &[]), name(3));
        assert_eq!(bad(heads(2), &[(3, i(&[2, 4]))]), name(4));
        assert_eq!(bad(heads(2), &[(5, f(&[2, 2, 3, 4]))]), name(4));
        assert_eq!(bad(heads(2), &[(4, f(&[2, 2, 2, 1, 3]))]), name(5));
        assert_eq!(bad(attrs! { num_heads: 2i64, do_rotary: true }, &[]), name(6));
    }
}
