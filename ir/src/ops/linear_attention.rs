//! Attention without a softmax, as a recurrence over a state `S[n, kv_heads, k_size, v_size]`, step by step along `len`:
//!
//! | `update_rule` | `S_t` |
//! |---|---|
//! | `linear` | `S + k v^T` |
//! | `gated` | `exp(g) S + k v^T` |
//! | `delta` | `S + beta k (v - S^T k)^T` |
//! | `gated_delta` | `exp(g) S + beta k (v - (exp(g) S)^T k)^T` |
//!
//! and `output_t = scale q^T S_t`.
//!
//! | value | type |
//! |---|---|
//! | `query` | `T[n, len, q_heads * k_size]` |
//! | `key`, `value` | `T[n, len, kv_heads * k_size]`, `T[n, len, kv_heads * v_size]` |
//! | `past_state`, `present_state` | `S[n, kv_heads, k_size, v_size]`; zeros where left out, `S` then is `T` |
//! | `decay` (`g`) | `T[n, len, kv_heads * k_size]` or `T[n, len, kv_heads]` |
//! | `beta` | `T[n, len, kv_heads]` or `T[n, len, 1]` |
//! | `output` | `T[n, len, q_heads * v_size]` |
//!
//! - **C1** `T` and `S` are `f32`, `f16` or `bf16`
//! - **C2** `query`, `key` and `value` have rank 3 and agree in batch and length
//! - **C3** `kv_num_heads` divides `q_num_heads`, and the heads divide the last axes; heads of queries and keys are of
//!   one size
//! - **C4** the rule is known; gated rules have `decay` and others do not, delta rules have `beta` and others do not
//! - **C5** `decay` and `beta` have the extents above
//! - **C6** `past_state` has the extents above
//!
//! Computed in `f32`. Query head `h` reads the state of head `h / (q_heads / kv_heads)`. `scale` 0 is
//! `1 / sqrt(k_size)`. `chunk_size` is a hint without meaning for the result; steps run one by one, a single one without
//! a loop. ONNX `LinearAttention`: opset 27.

use super::attention_common::*;
use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `LinearAttention`.
    pub struct LinearAttention {
        /// Steps that an implementation may take together.
        chunk_size: i64 = 64i64,
        /// Heads of keys and values.
        kv_num_heads: Dim,
        /// Heads of queries.
        q_num_heads: Dim,
        /// Factor of the output; 0: `1 / sqrt(k_size)`.
        scale: f32 = 0.0f32,
        /// `linear`, `gated`, `delta` or `gated_delta`.
        update_rule: String = "gated_delta",
    }
}

/// Extents as numbers.
struct Sizes {
    n: usize,
    heads: usize,
    group: usize,
    k_size: usize,
}

impl LinearAttention {
    fn gates(&self) -> bool {
        matches!(self.update_rule.as_str(), "gated" | "gated_delta")
    }

    fn corrects(&self) -> bool {
        matches!(self.update_rule.as_str(), "delta" | "gated_delta")
    }

    /// One step: `(S, q[n, heads, group, k], k[n, heads, k, 1], v[n, heads, 1, v], g?, beta?) -> (S, o[n, heads, group, v])`.
    fn step(&self, s: &Sizes, args: &[Vec<usize>]) -> Result<Graph> {
        let mut b = GraphBuilder::new("step");
        let mut x =
            args.iter().map(|shape| b.input("", Type::tensor(DType::F32, shape))).collect::<Vec<_>>().into_iter();
        let mut next = || x.next().expect("as many arguments as the rule has operands");
        let (mut state, q, k, mut v) = (next(), next(), next(), next());
        if self.gates() {
            let gate = b.op("Exp", attrs! {}, &[next()])?;
            state = b.op("Mul", attrs! {}, &[state, gate])?;
        }
        if self.corrects() {
            let row = reshape(&mut b, k, &[s.n, s.heads, 1, s.k_size])?;
            let known = b.op("MatMul", attrs! {}, &[row, state])?;
            let news = b.op("Sub", attrs! {}, &[v, known])?;
            v = b.op("Mul", attrs! {}, &[news, next()])?;
        }
        let outer = b.op("Mul", attrs! {}, &[k, v])?;
        let state = b.op("Add", attrs! {}, &[state, outer])?;
        let y = b.op("MatMul", attrs! {}, &[q, state])?;
        Ok(b.finish(&[state, y]))
    }
}

impl Op for LinearAttention {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, UP_TO_SINGLE)?;
        let t = cx.same_dtype("C1", [0, 1, 2, 4, 5])?;
        let state_type = if cx.has(3) { cx.require_dtype("C1", 3, UP_TO_SINGLE)? } else { t };
        let shapes = (0..3).map(|i| cx.shape(i)).collect::<RuleResult<Vec<_>>>()?;
        let [[n, len, q], [k_n, k_len, k], [v_n, v_len, v]] = [&shapes[0][..], &shapes[1][..], &shapes[2][..]] else {
            return cx.require("C2", false, || "query, key and value must have rank 3".into());
        };
        for (a, b) in [(n, k_n), (n, v_n), (len, k_len), (len, v_len)] {
            cx.require_eq("C2", a, b)?;
        }
        let (heads, q_heads) = (&self.kv_num_heads, &self.q_num_heads);
        for h in [heads, q_heads] {
            cx.require_that("C3", Cond::le(&Dim::int(1), h))?;
        }
        for (whole, part) in [(q_heads, heads), (q, q_heads), (k, heads), (v, heads)] {
            cx.require_eq("C3", &whole.modulo(part), &Dim::int(0))?;
        }
        let (k_size, v_size) = (k.floor_div(heads), v.floor_div(heads));
        cx.require_eq("C3", &q.floor_div(q_heads), &k_size)?;
        let rule = self.update_rule.as_str();
        let known = ["linear", "gated", "delta", "gated_delta"].contains(&rule);
        cx.require("C4", known, || format!("update_rule is `{rule}`"))?;
        for (i, name, wanted) in [(4, "decay", self.gates()), (5, "beta", self.corrects())] {
            cx.require("C4", cx.has(i) == wanted, || {
                format!("update_rule `{rule}` {} {name}", if wanted { "needs" } else { "takes no" })
            })?;
        }
        let per_head = [(4, k.clone()), (5, Dim::int(1))];
        for (i, other) in per_head.into_iter().filter(|&(i, _)| cx.has(i)).collect::<Vec<_>>() {
            let shape = cx.shape(i)?;
            let last = shape.last().cloned().unwrap_or_default();
            require_shape(cx, "C5", i, &[n.clone(), len.clone(), last.clone()])?;
            cx.require_that("C5", Cond::eq(&last, heads).or(&Cond::eq(&last, &other)))?;
        }
        let state = vec![n.clone(), heads.clone(), k_size, v_size.clone()];
        if cx.has(3) {
            require_shape(cx, "C6", 3, &state)?;
        }
        cx.output(t, vec![n.clone(), len.clone(), q_heads * &v_size])?;
        cx.output(state_type, state)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(q), Some(k), Some(v)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let (Some((t, q_shape)), Some((_, k_shape)), Some((_, v_shape))) =
            (concrete(b, q), concrete(b, k), concrete(b, v))
        else {
            return Ok(None);
        };
        let count = |d: &Dim| d.as_int().filter(|&n| n > 0).map(|n| n as usize);
        let (Some(heads), Some(q_heads)) = (count(&self.kv_num_heads), count(&self.q_num_heads)) else {
            return Ok(None);
        };
        let (n, len) = (q_shape[0], q_shape[1]);
        let (k_size, v_size) = (k_shape[2] / heads, v_shape[2] / heads);
        let s = Sizes { n, heads, group: q_heads / heads, k_size };
        let state_type = at(3).and_then(|p| concrete(b, p)).map_or(t, |(d, _)| d);
        let state_shape = vec![n, heads, k_size, v_size];
        let past = match at(3) {
            Some(past) => cast(b, past, DType::F32)?,
            None => filled(b, Tensor::scalar(0f32), &state_shape)?,
        };
        // Each operand by step, in the shape in which the step wants it.
        let mut stepped =
            vec![(q, vec![heads, s.group, k_size]), (k, vec![heads, k_size, 1]), (v, vec![heads, 1, v_size])];
        for i in [4, 5] {
            let Some(x) = at(i) else { continue };
            let Some((_, shape)) = concrete(b, x) else { return Ok(None) };
            let per_key = i == 4 && shape[2] != heads;
            stepped.push((x, if per_key { vec![heads, k_size, 1] } else { vec![shape[2], 1, 1] }));
        }
        let mut args = vec![state_shape];
        let mut operands = vec![past];
        for (x, inner) in stepped {
            args.push([&[n][..], &inner].concat());
            let apart = reshape(b, x, &[&[n, len][..], &inner].concat())?;
            operands.push(cast(b, apart, DType::F32)?);
        }
        let body = self.step(&s, &args)?;
        let results = if len == 1 {
            for (x, shape) in operands.iter_mut().zip(&args) {
                *x = reshape(b, *x, shape)?;
            }
            b.inline(&body, &operands, &[])?
        } else {
            let m = operands.len() - 1;
            let mut a = attrs! {
                num_scan_inputs: m as i64, scan_input_axes: vec![1i64; m], scan_output_axes: vec![1i64],
            };
            a.insert("body".into(), Attr::Graph(Arc::new(body)));
            let operands: Vec<_> = operands.into_iter().map(Some).collect();
            b.node("ai.onnx", "Scan", a, &operands, 2)?
        };
        let scale = if self.scale == 0.0 { 1.0 / (k_size as f64).sqrt() } else { self.scale.into() };
        let y = scaled(b, results[1], scale)?;
        let y = reshape(b, y, &[n, len, q_heads * v_size])?;
        Ok(Some(vec![cast(b, y, t)?, cast(b, results[0], state_type)?]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    LinearAttention in "ai.onnx" since [27];
    "query, key, value, past_state?, decay?, beta?" => "output, present_state";
    summary: "attention without a softmax, as a recurrence over a state";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @sum([[[1.0], [2.0]]], [[[1.0], [1.0]]], [[[3.0], [4.0]]]) == [[[3.0], [14.0]]], [[[[7.0]]]]
graph @sum(%q: f32[1, 2, 1], %k: f32[1, 2, 1], %v: f32[1, 2, 1]) -> (f32[1, 2, 1], f32[1, 1, 1, 1]) {
  %0, %1 = linear_attention %q, %k, %v {kv_num_heads = 1, q_num_heads = 1, update_rule = "linear"} : f32[1, 2, 1], f32[1, 1, 1, 1]
  return %0, %1
}
// infer: f32[n, t, 12], f32[n, 2, 4, 3]
graph @shared(%q: f32[n, t, 16], %k: f32[n, t, 8], %v: f32[n, t, 6]) -> (f32[n, t, 12], f32[n, 2, 4, 3]) {
  %0, %1 = linear_attention %q, %k, %v {kv_num_heads = 2, q_num_heads = 4, update_rule = "linear"} : f32[n, t, 12], f32[n, 2, 4, 3]
  return %0, %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn linear_attention_corrects_what_it_knows() {
        // The state already gives 2 for the key, so beta = 1 replaces it by the value.
        let f = |s: &[usize], v: f32| Some(Value::from(Tensor::from_slice(s, &[v])));
        let x = |v| f(&[1, 1, 1], v);
        let a = attrs! { kv_num_heads: 1i64, q_num_heads: 1i64, update_rule: "gated_delta" };
        let half = (0.5f32).ln();
        let operands = [x(10.0), x(1.0), x(5.0), f(&[1, 1, 1, 1], 4.0), x(half), x(1.0)];
        let y = run("ai.onnx", "LinearAttention", a, &operands, 2).unwrap();
        assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [50.0]);
        assert_eq!(y[1].tensor().unwrap().floats().unwrap(), [5.0]);
    }

    #[test]
    fn linear_attention_c1_c2_c3_c4_c5_c6_are_named() {
        let bad = |rule: &str, heads: (i64, i64), more: &[(usize, Type)]| {
            let f = |s: &[usize]| Some(Fact::of(Type::tensor(DType::F32, s)));
            let mut x = vec![f(&[1, 2, 8]), f(&[1, 2, 4]), f(&[1, 2, 6]), None, None, None];
            more.iter().for_each(|(i, t)| x[*i] = Some(Fact::of(t.clone())));
            let a = attrs! { q_num_heads: heads.0, kv_num_heads: heads.1, update_rule: rule };
            let op = (DEF.parse)(&a).unwrap();
            crate::infer::infer_call(&*op, &x, &[], 2, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let name = |n| format!("LinearAttention.C{n}");
        assert_eq!(bad("linear", (4, 2), &[(0, Type::tensor(DType::F64, &[1, 2, 8]))]), name(1));
        assert_eq!(bad("linear", (4, 2), &[(1, f(&[1, 3, 4]))]), name(2));
        assert_eq!(bad("linear", (4, 2), &[(1, f(&[1, 4]))]), name(2));
        assert_eq!(bad("linear", (2, 4), &[]), name(3));
        assert_eq!(bad("linear", (2, 2), &[]), name(3));
        assert_eq!(bad("linear", (0, 0), &[]), name(3));
        assert_eq!(bad("other", (4, 2), &[]), name(4));
        assert_eq!(bad("gated", (4, 2), &[]), name(4));
        assert_eq!(bad("linear", (4, 2), &[(5, f(&[1, 2, 2]))]), name(4));
        assert_eq!(bad("gated", (4, 2), &[(4, f(&[1, 2, 3]))]), name(5));
        assert_eq!(bad("linear", (4, 2), &[(3, f(&[1, 2, 2, 4]))]), name(6));
    }
}
