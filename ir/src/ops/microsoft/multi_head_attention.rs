//! Attention of several heads, after the projections: `softmax(scale q k^T + mask + bias) v`.
//!
//! | value | type |
//! |---|---|
//! | `query` | `T[n, q_len, heads * size]`, or queries, keys and values together `T[n, len, heads, 3, size]` |
//! | `key` | `T[n, kv_len, heads * size]`, with the values `T[n, kv_len, heads, 2, size]`, or `T[n, heads, kv_len, size]` |
//! | `value` | `T[n, kv_len, heads * v_size]`, or `T[n, heads, kv_len, v_size]` |
//! | `bias` | `T[2 * heads * size + heads * v_size]`, added to queries, keys and values |
//! | `key_padding_mask` | `i32[n]` (keys seen), `i32[n, total]` or `i32[n, q_len, total]` (not 0: seen) |
//! | `attention_bias` | `T[n or 1, heads or 1, q_len, total]` |
//! | `past_key`, `past_value` | `T[n, heads, past, size]`, `T[n, heads, past, v_size]` |
//! | `output` | `T[n, q_len, heads * v_size]` |
//! | `present_key`, `present_value` | with the past in front, `total` keys |
//! | `qk` | `T[n, heads, q_len, total]`: scores before the softmax |
//!
//! - **C1** one float type
//! - **C2** query, key and value are one of the forms above
//! - **C3** `num_heads` divides the last axes
//! - **C4** batch, lengths and head sizes agree
//! - **C5** `bias` has the extent above
//! - **C6** `key_padding_mask` and `attention_bias` have the extents above
//! - **C7** `past_key` and `past_value` are given together and fit
//! - **C8** no buffers are shared: `past_sequence_length` and `cache_indirection` are left out
//!
//! Keys of rank 4 take no part of `bias`. ONNX Runtime `com.microsoft::MultiHeadAttention`, version 1.

use super::attention_core::*;
use crate::error::Result;
use crate::ops::attention_common::*;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `MultiHeadAttention`.
    pub struct MultiHeadAttention {
        /// Added where a mask does not let a key be seen.
        mask_filter_value: f32 = -10000.0f32,
        /// Heads.
        num_heads: i64,
        /// Factor of the scores; 0: `1 / sqrt(size)`.
        scale: f32 = 0.0f32,
        /// Whether a query sees no key behind its own position.
        unidirectional: bool = false,
    }
}

/// Extents as terms.
struct Terms {
    q_len: Dim,
    kv_len: Dim,
    size: Dim,
    v_size: Dim,
}

impl MultiHeadAttention {
    /// Which form the operands have, and their extents.
    fn terms(&self, cx: &mut RuleCx<'_>) -> RuleResult<Terms> {
        let heads = Dim::int(self.num_heads);
        let q = cx.shape(0)?;
        let two = |cx: &RuleCx<'_>, i: usize| cx.require("C2", !cx.has(i), || format!("operand {i} has no place"));
        if let [n, len, ..] = &q[..]
            && q.len() == 5
        {
            two(cx, 1)?;
            two(cx, 2)?;
            let size = q[4].clone();
            require_shape(cx, "C2", 0, &[n.clone(), len.clone(), heads, Dim::int(3), size.clone()])?;
            return Ok(Terms { q_len: len.clone(), kv_len: len.clone(), v_size: size.clone(), size });
        }
        let [n, q_len, hidden] = &q[..] else {
            return cx.require("C2", false, || format!("query has rank {}", q.len())).map(|()| unreachable_terms());
        };
        cx.require_eq("C3", &hidden.modulo(&heads), &Dim::int(0))?;
        let size = hidden.floor_div(&heads);
        cx.require("C2", cx.has(1), || "key is missing".into())?;
        let k = cx.shape(1)?;
        let (kv_len, v_size) = match &k[..] {
            [_, kv_len, hidden] => {
                cx.require("C2", cx.has(2), || "value is missing".into())?;
                let v = cx.shape(2)?;
                cx.require("C2", v.len() == 3, || format!("value has rank {}", v.len()))?;
                cx.require_eq("C4", &k[0], n)?;
                cx.require_eq("C4", hidden, &q[2])?;
                cx.require_eq("C4", &v[0], n)?;
                cx.require_eq("C4", &v[1], kv_len)?;
                cx.require_eq("C3", &v[2].modulo(&heads), &Dim::int(0))?;
                (kv_len.clone(), v[2].floor_div(&heads))
            }
            [_, _, kv_len, _] => {
                cx.require("C2", cx.has(2), || "value is missing".into())?;
                let v_size = cx.shape(2)?.last().cloned().unwrap_or_default();
                require_shape(cx, "C4", 1, &[n.clone(), heads.clone(), kv_len.clone(), size.clone()])?;
                require_shape(cx, "C4", 2, &[n.clone(), heads, kv_len.clone(), v_size.clone()])?;
                (kv_len.clone(), v_size)
            }
            [_, kv_len, ..] if k.len() == 5 => {
                two(cx, 2)?;
                require_shape(cx, "C4", 1, &[n.clone(), kv_len.clone(), heads, Dim::int(2), size.clone()])?;
                (kv_len.clone(), size.clone())
            }
            _ => return cx.require("C2", false, || format!("key has rank {}", k.len())).map(|()| unreachable_terms()),
        };
        Ok(Terms { q_len: q_len.clone(), kv_len, size, v_size })
    }
}

/// What a requirement that fails leaves behind; never seen.
fn unreachable_terms() -> Terms {
    Terms { q_len: Dim::ONE, kv_len: Dim::ONE, size: Dim::ONE, v_size: Dim::ONE }
}

impl Op for MultiHeadAttention {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let t = cx.same_dtype("C1", [0, 1, 2, 3, 5, 6, 7])?;
        cx.require("C3", self.num_heads >= 1, || format!("`num_heads` is {}", self.num_heads))?;
        let Terms { q_len, kv_len, size, v_size } = self.terms(cx)?;
        let (n, heads) = (cx.dim(0, 0)?, Dim::int(self.num_heads));
        if cx.has(3) {
            require_shape(cx, "C5", 3, &[&(&size * &Dim::int(2) + &v_size) * &heads])?;
        }
        cx.require("C7", cx.has(6) == cx.has(7), || "one of past_key and past_value is missing".into())?;
        let mut total = kv_len;
        if cx.has(6) {
            let past = cx.shape(6)?.get(2).cloned().unwrap_or_default();
            require_shape(cx, "C7", 6, &[n.clone(), heads.clone(), past.clone(), size.clone()])?;
            require_shape(cx, "C7", 7, &[n.clone(), heads.clone(), past.clone(), v_size.clone()])?;
            total = &past + &total;
        }
        if cx.has(4) {
            require_mask(cx, "C6", 4, [&n, &q_len, &total])?;
            if cx.rank(4)? == 1 {
                // A mask of two bounds a sample is not known here.
                let of = cx.dim(4, 0)?;
                cx.require_eq("C6", &of, &n)?;
            }
        }
        let scores = vec![n.clone(), heads.clone(), q_len.clone(), total.clone()];
        if cx.has(5) {
            require_bias(cx, "C6", 5, &scores)?;
        }
        cx.require("C8", !cx.has(8) && !cx.has(9), || "shared buffers are not supported".into())?;
        cx.output(t, vec![n.clone(), q_len, &heads * &v_size])?;
        cx.output(t, vec![n.clone(), heads.clone(), total.clone(), size])?;
        cx.output(t, vec![n, heads, total, v_size])?;
        cx.output(t, scores)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let Some(q) = at(0) else { return Ok(None) };
        let Some((_, shape)) = concrete(b, q) else { return Ok(None) };
        let heads = usize::try_from(self.num_heads).unwrap_or(1).max(1);
        // Flat operands [n, len, hidden], one after the other; `None` for keys and values that are split already.
        let apart = |b: &mut GraphBuilder, x: ValueId, shape: &[usize], k: usize| {
            let part = slice(b, x, 3, k, k + 1)?;
            reshape(b, part, &[shape[0], shape[1], shape[2] * shape[4]])
        };
        let mut parts = Vec::new();
        if shape.len() == 5 {
            for k in 0..3 {
                parts.push(apart(b, q, &shape, k)?);
            }
        } else {
            parts.push(q);
            let Some(k) = at(1) else { return Ok(None) };
            let Some((_, shape)) = concrete(b, k) else { return Ok(None) };
            match (shape.len(), at(2)) {
                (5, _) => parts.extend([apart(b, k, &shape, 0)?, apart(b, k, &shape, 1)?]),
                (3, Some(v)) => parts.extend([k, v]),
                (4, Some(_)) => {}
                _ => return Ok(None),
            }
        }
        if let Some(bias) = at(3) {
            let mut from = 0;
            for part in &mut parts {
                let Some((_, shape)) = concrete(b, *part) else { return Ok(None) };
                let piece = slice(b, bias, 0, from, from + shape[2])?;
                from += shape[2];
                *part = b.op("Add", attrs! {}, &[*part, piece])?;
            }
        }
        let mut split = Vec::new();
        for part in parts {
            let Some(part) = split_heads(b, part, heads)? else { return Ok(None) };
            split.push(part);
        }
        if let ([_], Some(k), Some(v)) = (&split[..], at(1), at(2)) {
            split.extend([k, v]);
        }
        let [q, mut k, mut v] = split[..] else { return Ok(None) };
        let mut past = 0;
        if let (Some(past_k), Some(past_v)) = (at(6), at(7)) {
            let Some((_, shape)) = concrete(b, past_k) else { return Ok(None) };
            past = shape[2];
            k = b.op("Concat", attrs! { axis: 2i64 }, &[past_k, k])?;
            v = b.op("Concat", attrs! { axis: 2i64 }, &[past_v, v])?;
        }
        let core = Core {
            q,
            k,
            v,
            past,
            scale: Some(self.scale),
            mask: at(4),
            filter: self.mask_filter_value,
            bias: at(5),
            causal: self.unidirectional,
        };
        Ok(core.expand(b)?.map(|(y, scores)| vec![y, k, v, scores]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    MultiHeadAttention in "com.microsoft" since [1];
    "query, key?, value?, bias?, key_padding_mask?, attention_bias?, past_key?, past_value?, past_sequence_length?, cache_indirection?" => "output, present_key?, present_value?, qk?";
    summary: "attention of several heads, after the projections";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @padded([[[1.0]]], [[[0.0], [9.0]]], [[[5.0], [7.0]]], [1]) == [[[5.0]]]
graph @padded(%q: f32[1, 1, 1], %k: f32[1, 2, 1], %v: f32[1, 2, 1], %m: i32[1]) -> f32[1, 1, 1] {
  %0 = microsoft.multi_head_attention %q, %k, %v, _, %m {num_heads = 1} : f32[1, 1, 1]
  return %0
}
// infer: f32[n, s, 6]
graph @symbolic(%q: f32[n, s, 8], %k: f32[n, t, 8], %v: f32[n, t, 6]) -> f32[n, s, 6] {
  %0 = microsoft.multi_head_attention %q, %k, %v {num_heads = 2} : f32[n, s, 6]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;
    use crate::{DType, Tensor};

    #[test]
    fn packed_operands_mean_the_same_as_separate_ones() {
        let packed: Vec<f32> = (0..12).map(|i| i as f32 / 7.0).collect();
        let at = |k: usize| {
            let v: Vec<f32> =
                (0..2).flat_map(|l| (0..2).map(move |s| (l, s))).map(|(l, s)| packed[l * 6 + k * 2 + s]).collect();
            Some(Value::from(Tensor::from_slice(&[1, 2, 2], &v)))
        };
        let a = attrs! { num_heads: 1i64, unidirectional: true };
        let apart = run("com.microsoft", "MultiHeadAttention", a.clone(), &[at(0), at(1), at(2)], 1).unwrap();
        let whole = Some(Value::from(Tensor::from_slice(&[1, 2, 1, 3, 2], &packed)));
        assert_eq!(run("com.microsoft", "MultiHeadAttention", a, &[whole], 1).unwrap(), apart);
    }

    #[test]
    fn multi_head_attention_c1_c2_c3_c4_c5_c6_c7_c8_are_named() {
        let f = |s: &[usize]| Some(Fact::of(Type::tensor(DType::F32, s)));
        let bad = |heads: i64, changes: &[(usize, Option<Fact>)]| {
            let mut x = vec![f(&[2, 3, 4]), f(&[2, 5, 4]), f(&[2, 5, 6])];
            x.resize(10, None);
            changes.iter().for_each(|(i, t)| x[*i] = t.clone());
            let op = (DEF.parse)(&attrs! { num_heads: heads }).unwrap();
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let i = |s: &[usize]| Some(Fact::of(Type::tensor(DType::I32, s)));
        let name = |n| format!("MultiHeadAttention.C{n}");
        assert_eq!(bad(2, &[(1, Some(Fact::of(Type::tensor(DType::F64, &[2, 5, 4]))))]), name(1));
        assert_eq!(bad(2, &[(0, f(&[3, 4]))]), name(2));
        assert_eq!(bad(2, &[(2, None)]), name(2));
        assert_eq!(bad(3, &[]), name(3));
        assert_eq!(bad(0, &[]), name(3));
        assert_eq!(bad(2, &[(2, f(&[2, 4, 6]))]), name(4));
        assert_eq!(bad(2, &[(3, f(&[13]))]), name(5));
        assert_eq!(bad(2, &[(4, i(&[2, 4]))]), name(6));
        assert_eq!(bad(2, &[(5, f(&[2, 2, 3, 4]))]), name(6));
        assert_eq!(bad(2, &[(6, f(&[2, 2, 1, 2]))]), name(7));
        assert_eq!(bad(2, &[(8, i(&[1]))]), name(8));
    }
}
