//! ONNX Runtime's `RotaryEmbedding`: as ONNX's own [`rotary_embedding`](crate::ops::rotary_embedding), with the positions
//! in front of the caches.
//!
//! | value | type |
//! |---|---|
//! | `input`, `output` | `T[n, heads, len, size]` or `T[n, len, heads * size]` |
//! | `position_ids` | `i64[n, len]`, or `i64[1]`: the position of the first, others follow it |
//! | `cos_cache`, `sin_cache` | `T[positions, turned / 2]` |
//!
//! - **C1** one type, `f32`, `f16` or `bf16`; `position_ids` is `i64`
//! - **C2** `input` has rank 3 or 4
//! - **C3** `position_ids` has the extents above
//! - **C4** `scale` is 1
//!
//! `num_heads` 0 means heads of twice the caches' extent. Further constraints are those of ONNX's own.
//! ONNX Runtime `com.microsoft::RotaryEmbedding`, version 1.

use crate::dtype::DType;
use crate::error::Result;
use crate::ops::attention_common::{UP_TO_SINGLE, concrete, positions, require_shape};
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `RotaryEmbedding`.
    pub struct RotaryEmbedding {
        /// Whether the pairs are neighbours instead of two halves.
        interleaved: bool = false,
        /// Whether samples are packed without padding; without meaning for the result.
        is_packed_batching: bool = false,
        /// Number of heads; 0: found from the caches.
        num_heads: i64 = 0i64,
        /// Elements of each head that are turned; 0: all.
        rotary_embedding_dim: i64 = 0i64,
        /// Factor of the positions.
        scale: f32 = 1.0f32,
    }
}

impl Op for RotaryEmbedding {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, UP_TO_SINGLE)?;
        let t = cx.same_dtype("C1", [0, 2, 3])?;
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let x = cx.shape(0)?;
        cx.require("C2", (3..=4).contains(&x.len()), || format!("the rank is {}", x.len()))?;
        let len = &x[x.len() - 2];
        match cx.rank(1)? {
            1 => require_shape(cx, "C3", 1, &[Dim::ONE])?,
            _ => require_shape(cx, "C3", 1, &[x[0].clone(), len.clone()])?,
        }
        cx.require("C4", self.scale == 1.0, || format!("`scale` is {}", self.scale))?;
        cx.output(t, x)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let [Some(x), Some(ids), Some(cos), Some(sin)] = x else { return Ok(None) };
        let (Some((_, shape)), Some((_, ids_shape)), Some((_, cache))) =
            (concrete(b, *x), concrete(b, *ids), concrete(b, *cos))
        else {
            return Ok(None);
        };
        let (n, len) = (shape[0], shape[shape.len() - 2]);
        let ids = if ids_shape.len() == 1 {
            let steps = positions(b, len)?;
            let shape = b.ints(&[n as i64, len as i64]);
            let steps = b.op("Expand", attrs! {}, &[steps, shape])?;
            b.op("Add", attrs! {}, &[steps, *ids])?
        } else {
            *ids
        };
        let mut a = attrs! { interleaved: self.interleaved, rotary_embedding_dim: self.rotary_embedding_dim };
        if shape.len() == 3 {
            let twice = 2 * cache.get(1).copied().unwrap_or(0);
            let heads = if self.num_heads > 0 { self.num_heads } else { (shape[2] / twice.max(1)) as i64 };
            a.insert("num_heads".into(), Attr::from(heads));
        }
        Ok(Some(vec![b.op("RotaryEmbedding", a, &[*x, *cos, *sin, ids])?]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    RotaryEmbedding in "com.microsoft" since [1]; "input, position_ids, cos_cache, sin_cache" => "output";
    summary: "pairs of elements turned by an angle of the position, ONNX Runtime's order of operands";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @steps([[[1.0, 2.0], [1.0, 2.0]]], [0], [[1.0], [0.0]], [[0.0], [1.0]]) == [[[1.0, 2.0], [-2.0, 1.0]]]
graph @steps(%x: f32[1, 2, 2], %p: i64[1], %c: f32[2, 1], %s: f32[2, 1]) -> f32[1, 2, 2] {
  %0 = microsoft.rotary_embedding %x, %p, %c, %s : f32[1, 2, 2]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsoft_rotary_embedding_c1_c2_c3_c4_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a: crate::Attrs, x: Type, ids: Type| {
            let op = (DEF.parse)(&a).unwrap();
            let x = [x, ids, f(&[9, 2]), f(&[9, 2])].map(|t| Some(Fact::of(t)));
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let ids = |s: &[usize]| Type::tensor(DType::I64, s);
        let name = |n| format!("RotaryEmbedding.C{n}");
        assert_eq!(bad(attrs! {}, f(&[1, 2, 4]), f(&[1])), name(1));
        assert_eq!(bad(attrs! {}, f(&[2, 4]), ids(&[1])), name(2));
        assert_eq!(bad(attrs! {}, f(&[1, 2, 4]), ids(&[1, 3])), name(3));
        assert_eq!(bad(attrs! { scale: 2.0f32 }, f(&[1, 2, 4]), ids(&[1])), name(4));
    }
}
