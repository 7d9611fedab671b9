//! `y = softmax(softcap(scale q k^T) + mask) v`, head by head.
//!
//! | value | type |
//! |---|---|
//! | `Q` | `T[n, heads, q_len, size]` or `T[n, q_len, heads * size]` |
//! | `K`, `V` | `T[n, kv_heads, kv_len, size]`, `V[n, kv_heads, kv_len, v_size]`, or of rank 3 as `Q` |
//! | `past_key`, `past_value` | of rank 4, put before `K` and `V` along the keys: `total` keys in all |
//! | `attn_mask` | broadcasts to `[n, heads, q_len, total]`; its last axis may be shorter, further keys are not seen |
//! | `nonpad_kv_seqlen` | `i64[n]`: keys of each sample that count |
//! | `Y` | `T`, of the rank of `Q`, with `v_size` for `size` |
//! | `present_key`, `present_value` | all keys and values, of rank 4 |
//! | `qk_matmul_output` | `T[n, heads, q_len, total]`, taken where `qk_matmul_output_mode` says |
//!
//! - **C1** `Q`, `K` and `past_key` have one float type, `V` and `past_value` one
//! - **C2** `Q`, `K` and `V` have rank 3 or rank 4, all the same
//! - **C3** with rank 3 the numbers of heads are given and divide the last axes; with rank 4 they agree where given
//! - **C4** batch, heads and lengths of `Q`, `K` and `V` agree; `kv_heads` divides `heads`
//! - **C5** `past_key` and `past_value` are given together and fit
//! - **C6** `nonpad_kv_seqlen` is `i64[n]` and not given together with a past
//! - **C7** `attn_mask` is `bool` (true: seen) or a number added to the scores, and broadcasts
//! - **C8** windows are -1 (none) or more, the mode is 0 to 3, `softmax_precision` is a float type
//!
//! Query head `h` meets key head `h / (heads / kv_heads)`. A query stands at position `i + offset`: `offset` is the
//! length of the past, or `nonpad_kv_seqlen - q_len` by sample, or 0. It sees key `j` where mask, `is_causal`
//! (`j <= i + offset`), windows and `nonpad_kv_seqlen` all let it; a query that sees none gives zeros. f16 and bf16 are
//! computed in `f32` and rounded once.
//!
//! ONNX `Attention`: opset 23, 24 (`nonpad_kv_seqlen`), 25 (windows).

use super::attention_common::*;
use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Attention`.
    pub struct Attention {
        /// Whether a query sees no key behind its own position.
        is_causal: bool = false,
        /// Heads of the queries, for rank 3.
        q_num_heads: Option<Dim>,
        /// Heads of keys and values, for rank 3.
        kv_num_heads: Option<Dim>,
        /// Factor of the scores; left out `1 / sqrt(size)`.
        scale: Option<f32>,
        /// Scores become `softcap * tanh(scores / softcap)`; 0: they stay.
        softcap: f32 = 0.0f32,
        /// Element type of the softmax; left out that of the scores.
        softmax_precision: Option<DType>,
        /// What `qk_matmul_output` shows: 0 scaled scores, 1 capped, 2 masked, 3 after the softmax.
        qk_matmul_output_mode: i64 = 0i64,
        /// Keys to the left of its position that a query sees; -1: all.
        left_window_size: i64 = -1i64,
        /// Keys to the right; -1: all.
        right_window_size: i64 = -1i64,
    }
}

/// Heads and head size of operand `i`, of rank 3 (by the attribute) or 4.
fn heads_of(cx: &mut RuleCx<'_>, i: usize, shape: &[Dim], named: Option<&Dim>) -> RuleResult<[Dim; 4]> {
    if let [n, heads, len, size] = shape {
        if let Some(named) = named {
            cx.require_eq("C3", named, heads)?;
        }
        return Ok([n.clone(), heads.clone(), len.clone(), size.clone()]);
    }
    let [n, len, hidden] = shape else { return Err(Stop::Deferred("the rank of an operand")) };
    let Some(heads) = named else {
        return cx
            .require("C3", false, || format!("operand {i} has rank 3 and no number of heads is given"))
            .map(|()| Default::default());
    };
    cx.require_that("C3", Cond::le(&Dim::int(1), heads))?;
    cx.require_eq("C3", &hidden.modulo(heads), &Dim::int(0))?;
    Ok([n.clone(), heads.clone(), len.clone(), hidden.floor_div(heads)])
}

impl Op for Attention {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        cx.require_dtype("C1", 2, sets::FLOATS)?;
        let (t, u) = (cx.same_dtype("C1", [0, 1, 4])?, cx.same_dtype("C1", [2, 5])?);
        let shapes = (0..3).map(|i| cx.shape(i)).collect::<RuleResult<Vec<_>>>()?;
        let rank = shapes[0].len();
        cx.require("C2", (3..=4).contains(&rank) && shapes.iter().all(|s| s.len() == rank), || {
            format!("ranks are {}, {} and {}", shapes[0].len(), shapes[1].len(), shapes[2].len())
        })?;
        let [n, heads, q_len, size] = heads_of(cx, 0, &shapes[0], self.q_num_heads.as_ref())?;
        let [k_n, kv_heads, kv_len, k_size] = heads_of(cx, 1, &shapes[1], self.kv_num_heads.as_ref())?;
        let [v_n, v_heads, v_len, v_size] = heads_of(cx, 2, &shapes[2], self.kv_num_heads.as_ref())?;
        for (a, b) in [(&n, &k_n), (&n, &v_n), (&kv_heads, &v_heads), (&kv_len, &v_len), (&size, &k_size)] {
            cx.require_eq("C4", a, b)?;
        }
        cx.require_that("C4", Cond::le(&Dim::int(1), &kv_heads))?;
        cx.require_eq("C4", &heads.modulo(&kv_heads), &Dim::int(0))?;
        cx.require("C5", cx.has(4) == cx.has(5), || "one of past_key and past_value is missing".into())?;
        let mut total = kv_len;
        if cx.has(4) {
            let past = cx.shape(4)?.get(2).cloned().unwrap_or_default();
            require_shape(cx, "C5", 4, &[n.clone(), kv_heads.clone(), past.clone(), size.clone()])?;
            require_shape(cx, "C5", 5, &[n.clone(), kv_heads.clone(), past.clone(), v_size.clone()])?;
            total = &past + &total;
        }
        if cx.has(6) {
            cx.require_dtype("C6", 6, &[DType::I64])?;
            cx.require("C6", !cx.has(4), || "nonpad_kv_seqlen and a past are given".into())?;
            require_shape(cx, "C6", 6, std::slice::from_ref(&n))?;
        }
        let scores = vec![n.clone(), heads.clone(), q_len.clone(), total.clone()];
        if cx.has(3) {
            let d = cx.dtype(3)?;
            cx.require("C7", d == DType::Bool || d.is_number(), || format!("attn_mask has element type {d}"))?;
            let mask = cx.shape(3)?;
            cx.require("C7", (1..=4).contains(&mask.len()), || format!("attn_mask has rank {}", mask.len()))?;
            let (last, lead) = mask.split_last().expect("a rank of 1 or more");
            cx.require_that("C7", Cond::le(last, &total))?;
            let around = cx.broadcast("C7", &[scores[..3].to_vec(), lead.to_vec()])?;
            for (a, b) in around.iter().zip(&scores) {
                cx.require_eq("C7", a, b)?;
            }
        }
        let (left, right, mode) = (self.left_window_size, self.right_window_size, self.qk_matmul_output_mode);
        cx.require("C8", left >= -1 && right >= -1, || format!("windows are {left} and {right}"))?;
        cx.require("C8", (0..=3).contains(&mode), || format!("qk_matmul_output_mode is {mode}"))?;
        let precision = self.softmax_precision.unwrap_or(t);
        cx.require("C8", sets::FLOATS.contains(&precision), || format!("softmax_precision is {precision}"))?;
        let y = if rank == 4 {
            vec![n.clone(), heads.clone(), q_len.clone(), v_size.clone()]
        } else {
            vec![n.clone(), q_len, &heads * &v_size]
        };
        cx.output(t, y)?;
        cx.output(t, vec![n.clone(), kv_heads.clone(), total.clone(), size])?;
        cx.output(u, vec![n, kv_heads, total, v_size])?;
        cx.output(t, scores)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(q), Some(k), Some(v)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let Some((t, shape)) = concrete(b, q) else { return Ok(None) };
        let flat = shape.len() == 3;
        let (mut q, mut k, mut v) = (q, k, v);
        if flat {
            let count = |d: &Option<Dim>| d.as_ref().and_then(Dim::as_int).filter(|&n| n > 0).map(|n| n as usize);
            let (Some(heads), Some(kv_heads)) = (count(&self.q_num_heads), count(&self.kv_num_heads)) else {
                return Ok(None);
            };
            for (x, heads) in [(&mut q, heads), (&mut k, kv_heads), (&mut v, kv_heads)] {
                let Some(apart) = split_heads(b, *x, heads)? else { return Ok(None) };
                *x = apart;
            }
        }
        let mut past = 0;
        if let (Some(past_k), Some(past_v)) = (at(4), at(5)) {
            let Some((_, shape)) = concrete(b, past_k) else { return Ok(None) };
            past = shape[2];
            k = b.op("Concat", attrs! { axis: 2i64 }, &[past_k, k])?;
            v = b.op("Concat", attrs! { axis: 2i64 }, &[past_v, v])?;
        }
        let Some(e) = Extents::of(b, q, k, v)? else { return Ok(None) };
        let w = wide(t);
        let scale = self.scale.map_or(1.0 / (e.size as f64).sqrt(), f64::from);
        let (q, wide_k, wide_v) = (cast(b, q, w)?, cast(b, k, w)?, cast(b, v, w)?);
        let q = scaled(b, q, scale)?;
        let raw = e.scores(b, q, wide_k)?;
        let capped = if self.softcap > 0.0 {
            let cap = scalar(b, w, self.softcap.into());
            let small = b.op("Div", attrs! {}, &[raw, cap])?;
            let small = b.op("Tanh", attrs! {}, &[small])?;
            b.op("Mul", attrs! {}, &[small, cap])?
        } else {
            raw
        };
        let Some((masked, blind)) = self.masked(b, &e, capped, at(3), at(6), past)? else { return Ok(None) };
        // Nothing is gained by rounding to a type no wider than that of the operands.
        let precision = self.softmax_precision.filter(|&p| !is_narrow(t) || !is_narrow(p)).unwrap_or(w);
        let precise = cast(b, masked, precision)?;
        let mut p = b.op("Softmax", attrs! { axis: -1i64 }, &[precise])?;
        if let Some(blind) = blind {
            let zero = scalar(b, precision, 0.0);
            p = b.op("Where", attrs! {}, &[blind, zero, p])?;
        }
        let p = cast(b, p, w)?;
        let y = e.mix(b, p, wide_v)?;
        let mut y = cast(b, y, t)?;
        if flat {
            let Some(joined) = join_heads(b, y)? else { return Ok(None) };
            y = joined;
        }
        let shown = [raw, capped, masked, p][usize::try_from(self.qk_matmul_output_mode.clamp(0, 3)).unwrap_or(0)];
        Ok(Some(vec![y, k, v, cast(b, shown, t)?]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

impl Attention {
    /// The scores with everything that is not seen at -inf, and which queries (`[.., q_len, 1]`) see nothing, where
    /// there may be some.
    fn masked(
        &self,
        b: &mut GraphBuilder,
        e: &Extents,
        scores: ValueId,
        mask: Option<ValueId>,
        lengths: Option<ValueId>,
        past: usize,
    ) -> Result<Option<(ValueId, Option<ValueId>)>> {
        let t = dtype_of(b, scores)?;
        let lengths = lengths.map(|l| reshape(b, l, &[e.n, 1, 1, 1])).transpose()?;
        let offset = match lengths {
            Some(l) => {
                let q_len = b.constant(Tensor::scalar(e.q_len as i64));
                Offset::Each(b.op("Sub", attrs! {}, &[l, q_len])?)
            }
            None => Offset::Fixed(past),
        };
        let (left, mut right) = (bound(self.left_window_size), bound(self.right_window_size));
        if self.is_causal {
            right = Some(0);
        }
        let window = Window { left, right, offset };
        let mut seen = window.mask(b, e.q_len, e.kv_len)?;
        let mut may_be_blind = !window.never_blind(e.q_len, e.kv_len);
        if let Some(l) = lengths {
            let keys = positions(b, e.kv_len)?;
            let counts = b.op("Less", attrs! {}, &[keys, l])?;
            seen = both(b, seen, counts)?;
        }
        let mut added = None;
        if let Some(mask) = mask {
            let Some((d, shape)) = concrete(b, mask) else { return Ok(None) };
            let is_bool = d == DType::Bool;
            let mut mask = if is_bool { mask } else { cast(b, mask, t)? };
            let missing = e.kv_len.saturating_sub(shape.last().copied().unwrap_or(0));
            if missing > 0 {
                let mut tail = shape.clone();
                *tail.last_mut().expect("a rank of 1 or more") = missing;
                let value = if is_bool {
                    Tensor::from_bools(&[], [false])
                } else {
                    Tensor::from_floats(t, &[], [f64::NEG_INFINITY])
                };
                let tail = filled(b, value, &tail)?;
                mask = b.op("Concat", attrs! { axis: -1i64 }, &[mask, tail])?;
            }
            if is_bool {
                seen = both(b, seen, mask)?;
            } else {
                added = Some(mask);
            }
            may_be_blind = true;
        }
        let away = scalar(b, t, f64::NEG_INFINITY);
        let mut y = scores;
        if let Some(mask) = added {
            y = b.op("Add", attrs! {}, &[y, mask])?;
        }
        if let Some(seen) = seen {
            y = b.op("Where", attrs! {}, &[seen, y, away])?;
        }
        if !may_be_blind || (seen.is_none() && added.is_none()) {
            return Ok(Some((y, None)));
        }
        let bias = match (seen, added) {
            (None, Some(mask)) => mask,
            (seen, mask) => {
                let mask = mask.unwrap_or_else(|| scalar(b, t, 0.0));
                let seen = seen.expect("one of the two is there");
                b.op("Where", attrs! {}, &[seen, mask, away])?
            }
        };
        let axis = b.ints(&[-1]);
        let best = b.op("ReduceMax", attrs! { keepdims: true }, &[bias, axis])?;
        let blind = b.op("Equal", attrs! {}, &[best, away])?;
        Ok(Some((y, Some(blind))))
    }
}

/// A window's extent; -1 is none.
fn bound(size: i64) -> Option<usize> {
    usize::try_from(size).ok()
}

op! {
    Attention in "ai.onnx" since [23, 24 brings "nonpad_kv_seqlen", 25 brings "right_window_size left_window_size"];
    "Q, K, V, attn_mask?, past_key?, past_value?, nonpad_kv_seqlen?" => "Y, present_key?, present_value?, qk_matmul_output?";
    summary: "scaled dot-product attention with masks, caches and shared heads";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @causal([[[[0.0], [0.0]]]], [[[[0.0], [0.0]]]], [[[[2.0], [4.0]]]]) == [[[[2.0], [3.0]]]]
graph @causal(%q: f32[1, 1, 2, 1], %k: f32[1, 1, 2, 1], %v: f32[1, 1, 2, 1]) -> f32[1, 1, 2, 1] {
  %0 = attention %q, %k, %v {is_causal = 1} : f32[1, 1, 2, 1]
  return %0
}
// run: @blind([[[[1.0], [1.0]]]], [[[[0.0]]]], [[[[5.0]]]], [[true], [false]]) == [[[[5.0], [0.0]]]]
graph @blind(%q: f32[1, 1, 2, 1], %k: f32[1, 1, 1, 1], %v: f32[1, 1, 1, 1], %m: bool[2, 1]) -> f32[1, 1, 2, 1] {
  %0 = attention %q, %k, %v, %m : f32[1, 1, 2, 1]
  return %0
}
// infer: f32[n, s, 16]
graph @flat(%q: f32[n, s, 8], %k: f32[n, t, 4], %v: f32[n, t, 8]) -> f32[n, s, 16] {
  %0 = attention %q, %k, %v {kv_num_heads = 2, q_num_heads = 4} : f32[n, s, 16]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn f(shape: &[usize]) -> Type {
        Type::tensor(DType::F32, shape)
    }

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::zeros(DType::F32, shape).unwrap()
    }

    #[test]
    fn attention_shares_heads_and_caps_scores() {
        let q = Tensor::from_slice(&[1, 2, 1, 1], &[3.0f32, -3.0]);
        let k = Tensor::from_slice(&[1, 1, 2, 1], &[1.0f32, -1.0]);
        let v = Tensor::from_slice(&[1, 1, 2, 1], &[1.0f32, 0.0]);
        let y = run1("Attention", attrs! { scale: 1.0f32, softcap: 2.0f32 }, &[q, k, v]).unwrap();
        let cap = |x: f64| 2.0 * (x / 2.0).tanh();
        let want = [1.0 / (1.0 + (-2.0 * cap(3.0)).exp()), 1.0 / (1.0 + (2.0 * cap(3.0)).exp())];
        let have = y.floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?} {want:?}");
    }

    #[test]
    fn attention_of_an_empty_cache_is_that_without_one() {
        let (q, kv) = (Tensor::from_slice(&[1, 1, 1, 1], &[1.0f32]), Tensor::from_slice(&[1, 1, 1, 1], &[7.0f32]));
        let operands = [q, kv.clone(), kv.clone()].map(|t| Some(Value::from(t)));
        let mut with = operands.to_vec();
        with.extend([None, Some(zeros(&[1, 1, 0, 1]).into()), Some(zeros(&[1, 1, 0, 1]).into())]);
        let y = run("ai.onnx", "Attention", attrs! { is_causal: true }, &with, 3).unwrap();
        assert_eq!(y[0].tensor().unwrap(), &kv);
        assert_eq!(y[1].tensor().unwrap(), &kv);
    }

    #[test]
    fn attention_of_absurd_extents_is_an_error() {
        let call = |q: &[usize]| {
            run1("Attention", attrs! { is_causal: true }, &[zeros(q), zeros(&[1, 1, 1, 0]), zeros(&[1, 1, 1, 0])])
        };
        assert_eq!(call(&[1, 1, 1 << 40, 0]).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(call(&[1, 1, 3, 0]).unwrap().shape(), [1, 1, 3, 0]);
    }

    #[test]
    fn attention_c1_rejects_other_types() {
        let i = Type::tensor(DType::I32, &[1, 1, 1, 1]);
        assert_eq!(violated("Attention", attrs! {}, &[i.clone(), i.clone(), i]).as_deref(), Some("Attention.C1"));
        let d = Type::tensor(DType::F64, &[1, 1, 1, 1]);
        let types = [d, f(&[1, 1, 1, 1]), f(&[1, 1, 1, 1])];
        assert_eq!(violated("Attention", attrs! {}, &types).as_deref(), Some("Attention.C1"));
    }

    #[test]
    fn attention_c2_to_c4_reject_shapes() {
        let bad =
            |a: crate::Attrs, q: &[usize], k: &[usize], v: &[usize]| violated("Attention", a, &[f(q), f(k), f(v)]);
        let four = [1, 2, 3, 4];
        assert_eq!(bad(attrs! {}, &four, &[1, 2, 3], &four).as_deref(), Some("Attention.C2"));
        assert_eq!(bad(attrs! {}, &[1, 2, 4], &[1, 2, 4], &[1, 2, 4]).as_deref(), Some("Attention.C3"));
        let a = attrs! { q_num_heads: 3i64, kv_num_heads: 1i64 };
        assert_eq!(bad(a, &[1, 2, 4], &[1, 2, 4], &[1, 2, 4]).as_deref(), Some("Attention.C3"));
        let a = attrs! { q_num_heads: 0i64, kv_num_heads: 0i64 };
        assert_eq!(bad(a, &[1, 2, 4], &[1, 2, 4], &[1, 2, 4]).as_deref(), Some("Attention.C3"));
        assert_eq!(bad(attrs! {}, &four, &[1, 2, 3, 5], &four).as_deref(), Some("Attention.C4"));
        assert_eq!(bad(attrs! {}, &[1, 3, 3, 4], &four, &four).as_deref(), Some("Attention.C4"));
        assert_eq!(bad(attrs! {}, &[1, 0, 3, 4], &[1, 0, 3, 4], &[1, 0, 3, 4]).as_deref(), Some("Attention.C4"));
    }

    #[test]
    fn attention_c5_to_c8_reject_caches_masks_and_attributes() {
        let facts = |more: &[(usize, Type)]| {
            let mut all: Vec<Option<Fact>> = vec![Some(Fact::of(f(&[1, 1, 2, 4]))); 3];
            all.resize(7, None);
            more.iter().for_each(|(i, t)| all[*i] = Some(Fact::of(t.clone())));
            all
        };
        let bad = |a: crate::Attrs, more: &[(usize, Type)]| {
            let op = (DEF.parse)(&a).unwrap();
            let e = crate::infer::infer_call(&*op, &facts(more), &[], 1, &mut 0).unwrap_err();
            e.label().unwrap_or_default().to_owned()
        };
        let lengths = Type::tensor(DType::I64, &[1]);
        let past = f(&[1, 1, 3, 4]);
        assert_eq!(bad(attrs! {}, &[(4, past.clone())]), "Attention.C5");
        assert_eq!(bad(attrs! {}, &[(4, past.clone()), (5, f(&[1, 1, 2, 4]))]), "Attention.C5");
        assert_eq!(bad(attrs! {}, &[(4, past.clone()), (5, past), (6, lengths)]), "Attention.C6");
        assert_eq!(bad(attrs! {}, &[(6, Type::tensor(DType::I32, &[1]))]), "Attention.C6");
        assert_eq!(bad(attrs! {}, &[(3, f(&[3]))]), "Attention.C7");
        assert_eq!(bad(attrs! {}, &[(3, f(&[3, 2]))]), "Attention.C7");
        assert_eq!(bad(attrs! {}, &[(3, Type::tensor(DType::String, &[2]))]), "Attention.C7");
        assert_eq!(bad(attrs! { left_window_size: -2i64 }, &[]), "Attention.C8");
        assert_eq!(bad(attrs! { qk_matmul_output_mode: 4i64 }, &[]), "Attention.C8");
        assert_eq!(bad(attrs! { softmax_precision: DType::I32 }, &[]), "Attention.C8");
    }
}
