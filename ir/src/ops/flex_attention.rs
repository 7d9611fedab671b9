//! `y = prob_mod(softmax(score_mod(scale q k^T))) v`, with bodies for what is done to scores and probabilities.
//!
//! | value | type |
//! |---|---|
//! | `Q` | `T[n, heads, q_len, size]` |
//! | `K`, `V` | `T[n, kv_heads, kv_len, size]`, `T[n, kv_heads, kv_len, v_size]` |
//! | argument and result of a body | `P[n, heads, q_len, kv_len]`, `P` is `softmax_precision` |
//! | `Y` | `T[n, heads, q_len, v_size]` |
//!
//! - **C1** one float type
//! - **C2** all ranks are 4
//! - **C3** batch, heads, lengths and sizes agree; `kv_heads` divides `heads`
//! - **C4** `softmax_precision` is a float type
//! - **C5** a body takes one value and gives one of the same type
//!
//! `softmax_precision` left out is `T`, or `f32` for narrower ones. The bodies become part of the graph around them, so
//! they are compiled and fused as if written there. ONNX `ai.onnx.preview::FlexAttention`: version 1.

use super::attention_common::*;
use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `FlexAttention`.
    pub struct FlexAttention {
        /// What is done to the scores.
        score_mod: Option<Arc<Graph>>,
        /// What is done to the probabilities.
        prob_mod: Option<Arc<Graph>>,
        /// Factor of the scores; left out `1 / sqrt(size)`.
        scale: Option<f32>,
        /// Element type of scores and probabilities.
        softmax_precision: Option<DType>,
    }
}

impl FlexAttention {
    fn precision(&self, t: DType) -> DType {
        self.softmax_precision.unwrap_or(wide(t))
    }
}

impl Op for FlexAttention {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let t = cx.same_dtype("C1", 0..3)?;
        let s = (0..3).map(|i| cx.shape(i)).collect::<RuleResult<Vec<_>>>()?;
        let ([n, heads, q_len, size], [k_n, kv_heads, kv_len, k_size], [v_n, v_heads, v_len, v_size]) =
            (&s[0][..], &s[1][..], &s[2][..])
        else {
            return cx.require("C2", false, || "queries, keys and values must have rank 4".into());
        };
        for (a, b) in [(n, k_n), (n, v_n), (kv_heads, v_heads), (kv_len, v_len), (size, k_size)] {
            cx.require_eq("C3", a, b)?;
        }
        cx.require_that("C3", Cond::le(&Dim::int(1), kv_heads))?;
        cx.require_eq("C3", &heads.modulo(kv_heads), &Dim::int(0))?;
        let p = self.precision(t);
        cx.require("C4", sets::FLOATS.contains(&p), || format!("softmax_precision is {p}"))?;
        let scores = vec![n.clone(), heads.clone(), q_len.clone(), kv_len.clone()];
        for body in self.bodies() {
            cx.require("C5", body.inputs.len() == 1 && body.outputs.len() == 1, || {
                format!("\"{}\" takes {} values and gives {}", body.name, body.inputs.len(), body.outputs.len())
            })?;
            let made = cx.infer_body(body, &[Fact::of(Type::ranked(p, scores.clone()))])?.remove(0).ty;
            let Type::Tensor(made) = made else {
                return cx.require("C5", made == Type::Unknown, || format!("\"{}\" gives {made}", body.name));
            };
            cx.require("C5", made.dtype == p, || format!("\"{}\" gives {}, not {p}", body.name, made.dtype))?;
            let Some(dims) = made.shape.dims() else { continue };
            cx.require("C5", dims.len() == 4, || format!("\"{}\" gives rank {}", body.name, dims.len()))?;
            for (a, b) in dims.iter().zip(&scores) {
                cx.require_eq("C5", a, b)?;
            }
        }
        cx.output(t, vec![n.clone(), heads.clone(), q_len.clone(), v_size.clone()])
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let [Some(q), Some(k), Some(v), captures @ ..] = x else { return Ok(None) };
        let captures: Vec<ValueId> = captures.iter().copied().flatten().collect();
        let Some(e) = Extents::of(b, *q, *k, *v)? else { return Ok(None) };
        let t = dtype_of(b, *q)?;
        let p = self.precision(t);
        let scale = self.scale.map_or(1.0 / (e.size as f64).sqrt(), f64::from);
        let scores = if is_narrow(t) {
            let (q, k) = (scaled(b, *q, scale.sqrt())?, scaled(b, *k, scale.sqrt())?);
            e.scores(b, q, k)?
        } else {
            let q = scaled(b, *q, scale)?;
            e.scores(b, q, *k)?
        };
        let modified = |b: &mut GraphBuilder, body: &Option<Arc<Graph>>, x: ValueId| match body {
            Some(body) => Ok(b.inline(body, &[x], &captures)?.remove(0)),
            None => Ok(x),
        };
        let scores = cast(b, scores, p)?;
        let scores = modified(b, &self.score_mod, scores)?;
        let probs = b.op("Softmax", attrs! { axis: -1i64 }, &[scores])?;
        let probs = modified(b, &self.prob_mod, probs)?;
        let v = cast(b, *v, p)?;
        let y = e.mix(b, probs, v)?;
        Ok(Some(vec![cast(b, y, t)?]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }

    fn bodies(&self) -> Vec<&Arc<Graph>> {
        self.score_mod.iter().chain(&self.prob_mod).collect()
    }
}

op! {
    FlexAttention in "ai.onnx.preview" since [1]; "Q, K, V" => "Y";
    summary: "attention with bodies that modify scores and probabilities";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @twice([[[[1.0]]]], [[[[1.0]]]], [[[[3.0]]]]) == [[[[6.0]]]]
graph @twice(%q: f32[1, 1, 1, 1], %k: f32[1, 1, 1, 1], %v: f32[1, 1, 1, 1]) -> f32[1, 1, 1, 1] {
  %0 = flex_attention %q, %k, %v {
    prob_mod = graph @body(%p: f32[1, 1, 1, 1]) -> f32[1, 1, 1, 1] {
      %0 = add %p, %p : f32[1, 1, 1, 1]
      return %0
    }
  } : f32[1, 1, 1, 1]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    /// `x -> op(x, c)` with a constant, or with a captured value.
    fn body(op: &str, c: Option<f32>) -> Attr {
        let mut b = GraphBuilder::new("body");
        let x = b.input("x", Type::Unknown);
        let mut g = match c {
            Some(c) => {
                let c = b.constant(Tensor::scalar(c));
                let y = b.op(op, attrs! {}, &[x, c]).unwrap();
                b.finish(&[y])
            }
            None => b.finish(&[x]),
        };
        if c.is_none() {
            let outer = g.add_capture("outer", Type::Unknown);
            let y = crate::builder::add_node(&mut g, "ai.onnx", op, attrs! {}, &[Some(x), Some(outer)], 1).unwrap();
            g.outputs = y;
        }
        Attr::Graph(Arc::new(g))
    }

    fn node(score: Option<Attr>, prob: Option<Attr>) -> Arc<dyn Op> {
        let mut a = attrs! { scale: 1.0f32 };
        score.into_iter().for_each(|g| drop(a.insert("score_mod".into(), g)));
        prob.into_iter().for_each(|g| drop(a.insert("prob_mod".into(), g)));
        (DEF.parse)(&a).unwrap()
    }

    #[test]
    fn flex_attention_runs_its_bodies_with_captures() {
        let one = |v: f32| Value::from(Tensor::from_slice(&[1, 1, 1, 1], &[v]));
        let op = node(Some(body("Add", None)), Some(body("Mul", None)));
        let (q, k, v) = (one(1.0), one(1.0), one(5.0));
        let outer = [Value::from(Tensor::scalar(3.0f32))];
        let env = crate::eval::Env::default();
        let y = crate::eval::eval_call(&*op, &[Some(&q), Some(&k), Some(&v)], &outer, 1, &env, &crate::eval::Reference);
        assert_eq!(y.unwrap(), [one(15.0)]);
    }

    #[test]
    fn flex_attention_c1_c2_c3_c4_c5_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a: crate::Attrs, t: [Type; 3]| {
            let op = (DEF.parse)(&a).unwrap();
            let x = t.map(|t| Some(Fact::of(t)));
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let x = || f(&[1, 2, 3, 4]);
        let name = |n| format!("FlexAttention.C{n}");
        assert_eq!(bad(attrs! {}, [x(), x(), Type::tensor(DType::F64, &[1, 2, 3, 4])]), name(1));
        assert_eq!(bad(attrs! {}, [x(), f(&[2, 3, 4]), x()]), name(2));
        assert_eq!(bad(attrs! {}, [x(), f(&[1, 2, 3, 5]), x()]), name(3));
        assert_eq!(bad(attrs! {}, [f(&[1, 3, 3, 4]), x(), x()]), name(3));
        assert_eq!(bad(attrs! { softmax_precision: DType::I32 }, [x(), x(), x()]), name(4));
        let a = |op| [("score_mod".to_owned(), body(op, Some(1.0)))].into();
        assert_eq!(bad(a("Less"), [x(), x(), x()]), name(5));
    }
}
