//! `(y1, y2) = (cos x1 - sin x2, sin x1 + cos x2)`: pairs of elements turned by an angle of the position.
//!
//! `x1, x2` are the two halves of the first `rotary_embedding_dim` elements of a head, or with `interleaved` its even and
//! odd ones; the elements behind stay.
//!
//! | value | type |
//! |---|---|
//! | `X`, `Y` | `T[n, heads, len, size]` or `T[n, len, heads * size]` |
//! | `cos_cache`, `sin_cache` | `T[positions, turned / 2]` with `position_ids`, else `T[n, len, turned / 2]` |
//! | `position_ids` | `i64[n, len]` |
//!
//! - **C1** one type, `f32`, `f16` or `bf16`
//! - **C2** `X` has rank 3 (then `num_heads` is given and divides the last axis) or 4
//! - **C3** `rotary_embedding_dim` (0: the whole head) is even and at most the head's size
//! - **C4** the caches have the extents above
//! - **C5** `position_ids` is `i64[n, len]`
//!
//! ONNX `RotaryEmbedding`: opset 23.

use super::attention_common::*;
use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `RotaryEmbedding`.
    pub struct RotaryEmbedding {
        /// Whether the pairs are neighbours instead of two halves.
        interleaved: bool = false,
        /// Number of heads, for rank 3.
        num_heads: Dim = Dim::int(0),
        /// Elements of each head that are turned; 0: all.
        rotary_embedding_dim: Dim = Dim::int(0),
    }
}

impl Op for RotaryEmbedding {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, UP_TO_SINGLE)?;
        let t = cx.same_dtype("C1", 0..3)?;
        let x = cx.shape(0)?;
        cx.require("C2", (3..=4).contains(&x.len()), || format!("the rank is {}", x.len()))?;
        let (n, len, size) = match &x[..] {
            [n, _, len, size] => (n, len, size.clone()),
            _ => {
                cx.require_that("C2", Cond::le(&Dim::int(1), &self.num_heads))?;
                cx.require_eq("C2", &x[2].modulo(&self.num_heads), &Dim::int(0))?;
                (&x[0], &x[1], x[2].floor_div(&self.num_heads))
            }
        };
        let turned =
            Dim::select(&Cond::eq(&self.rotary_embedding_dim, &Dim::int(0)), &size, &self.rotary_embedding_dim);
        cx.require_that("C3", Cond::le(&Dim::int(0), &turned))?;
        cx.require_that("C3", Cond::le(&turned, &size))?;
        cx.require_eq("C3", &turned.modulo(&Dim::int(2)), &Dim::int(0))?;
        let half = turned.floor_div(&Dim::int(2));
        let cache = if cx.has(3) {
            cx.require_dtype("C5", 3, &[DType::I64])?;
            require_shape(cx, "C5", 3, &[n.clone(), len.clone()])?;
            vec![cx.shape(1)?.first().cloned().unwrap_or_default(), half]
        } else {
            vec![n.clone(), len.clone(), half]
        };
        require_shape(cx, "C4", 1, &cache)?;
        require_shape(cx, "C4", 2, &cache)?;
        cx.output(t, x)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(x), Some(cos), Some(sin)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let Some((_, shape)) = concrete(b, x) else { return Ok(None) };
        let (Some(heads), Some(turned)) = (self.num_heads.as_int(), self.rotary_embedding_dim.as_int()) else {
            return Ok(None);
        };
        // [n, heads, len, size], or [n, len, heads, size]: the caches get an axis of 1 for the heads.
        let (apart, head_axis) = match shape[..] {
            [n, len, hidden] => (vec![n, len, heads.max(1) as usize, hidden / heads.max(1) as usize], 2),
            _ => (shape.clone(), 1),
        };
        let size = apart[3];
        let turned = if turned == 0 { size } else { turned as usize };
        let x = reshape(b, x, &apart)?;
        let cache = |b: &mut GraphBuilder, c: ValueId| {
            let rows = match at(3) {
                Some(ids) => b.op("Gather", attrs! { axis: 0i64 }, &[c, ids])?,
                None => c,
            };
            let axis = b.ints(&[head_axis]);
            b.op("Unsqueeze", attrs! {}, &[rows, axis])
        };
        let (cos, sin) = (cache(b, cos)?, cache(b, sin)?);
        let front = if turned < size { slice(b, x, 3, 0, turned)? } else { x };
        let mut pairs = apart.clone();
        pairs.pop();
        let (x1, x2, joined) = if self.interleaved {
            pairs.extend([turned / 2, 2]);
            let p = reshape(b, front, &pairs)?;
            let mut column = |k: usize| {
                let c = slice(b, p, 4, k, k + 1)?;
                reshape(b, c, &pairs[..4])
            };
            (column(0)?, column(1)?, 4)
        } else {
            (slice(b, front, 3, 0, turned / 2)?, slice(b, front, 3, turned / 2, turned)?, 3)
        };
        let mut turn = |p: ValueId, q: ValueId, op: &str| {
            let (p, q) = (b.op("Mul", attrs! {}, &[p, cos])?, b.op("Mul", attrs! {}, &[q, sin])?);
            b.op(op, attrs! {}, &[p, q])
        };
        let (mut y1, mut y2) = (turn(x1, x2, "Sub")?, turn(x2, x1, "Add")?);
        if joined == 4 {
            pairs[4] = 1;
            (y1, y2) = (reshape(b, y1, &pairs)?, reshape(b, y2, &pairs)?);
        }
        let mut y = b.op("Concat", attrs! { axis: joined }, &[y1, y2])?;
        pairs.truncate(3);
        pairs.push(turned);
        y = reshape(b, y, &pairs)?;
        if turned < size {
            let rest = slice(b, x, 3, turned, size)?;
            y = b.op("Concat", attrs! { axis: 3i64 }, &[y, rest])?;
        }
        Ok(Some(vec![reshape(b, y, &shape)?]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    RotaryEmbedding in "ai.onnx" since [23]; "X, cos_cache, sin_cache, position_ids?" => "Y";
    summary: "pairs of elements turned by an angle of the position";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @quarter([[[[1.0, 2.0]]]], [[1.0], [0.0]], [[0.0], [1.0]], [[1]]) == [[[[-2.0, 1.0]]]]
graph @quarter(%x: f32[1, 1, 1, 2], %c: f32[2, 1], %s: f32[2, 1], %p: i64[1, 1]) -> f32[1, 1, 1, 2] {
  %0 = rotary_embedding %x, %c, %s, %p : f32[1, 1, 1, 2]
  return %0
}
// infer: f32[n, s, 64]
graph @flat(%x: f32[n, s, 64], %c: f32[n, s, 4], %s: f32[n, s, 4]) -> f32[n, s, 64] {
  %0 = rotary_embedding %x, %c, %s {num_heads = 4, rotary_embedding_dim = 8} : f32[n, s, 64]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn f(shape: &[usize]) -> Type {
        Type::tensor(DType::F32, shape)
    }

    #[test]
    fn rotary_embedding_turns_neighbours_and_leaves_the_rest() {
        let x = Tensor::from_slice(&[1, 1, 6], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let c = Tensor::from_slice(&[1, 1, 2], &[0.0f32, 1.0]);
        let s = Tensor::from_slice(&[1, 1, 2], &[1.0f32, 0.0]);
        let a = attrs! { num_heads: 1i64, interleaved: true, rotary_embedding_dim: 4i64 };
        let y = run1("RotaryEmbedding", a, &[x, c, s]).unwrap();
        assert_eq!(y.floats().unwrap(), [-2.0, 1.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn rotary_embedding_rejects_a_position_past_the_cache() {
        let x = Tensor::from_slice(&[1, 1, 1, 2], &[1.0f32, 2.0]);
        let c = Tensor::from_slice(&[1, 1], &[1.0f32]);
        let ids = Tensor::from_slice(&[1, 1], &[1i64]);
        assert!(run1("RotaryEmbedding", attrs! {}, &[x, c.clone(), c, ids]).is_err());
    }

    #[test]
    fn rotary_embedding_c1_c2_c3_c4_c5_are_named() {
        let bad = |a: crate::Attrs, t: &[Type]| violated("RotaryEmbedding", a, t);
        let (x, c) = (f(&[1, 1, 1, 4]), f(&[1, 1, 2]));
        let name = |n| Some(format!("RotaryEmbedding.C{n}"));
        assert_eq!(bad(attrs! {}, &[x.clone(), Type::tensor(DType::F64, &[1, 1, 2]), c.clone()]), name(1));
        assert_eq!(bad(attrs! {}, &[f(&[1, 4]), c.clone(), c.clone()]), name(2));
        assert_eq!(bad(attrs! {}, &[f(&[1, 1, 4]), c.clone(), c.clone()]), name(2));
        assert_eq!(bad(attrs! { num_heads: 3i64 }, &[f(&[1, 1, 4]), c.clone(), c.clone()]), name(2));
        assert_eq!(bad(attrs! { rotary_embedding_dim: 3i64 }, &[x.clone(), c.clone(), c.clone()]), name(3));
        assert_eq!(bad(attrs! { rotary_embedding_dim: 6i64 }, &[x.clone(), c.clone(), c.clone()]), name(3));
        assert_eq!(bad(attrs! {}, &[x.clone(), f(&[1, 1, 3]), c.clone()]), name(4));
        let c2 = f(&[9, 2]);
        let ids = Type::tensor(DType::I64, &[1, 2]);
        assert_eq!(bad(attrs! {}, &[x, c2.clone(), c2, ids]), name(5));
    }
}
