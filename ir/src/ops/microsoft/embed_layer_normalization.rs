//! The embedding of BERT: `output = LayerNormalization(word[ids] + position[positions] + segment[segments])`.
//!
//! | value | type |
//! |---|---|
//! | `input_ids`, `segment_ids`, `mask` | `i32[n, len]` |
//! | `position_ids` | `i32[n, len]` or `i32[1, len]`; left out `0, 1, …` |
//! | `word_embedding`, `position_embedding`, `segment_embedding` | `T[_, hidden]` |
//! | `gamma`, `beta` | `T[hidden]` |
//! | `output`, `embedding_sum` | `T[n, len, hidden]` |
//! | `mask_index` | `i32[n]`: how many entries of `mask` are 1; zeros without a mask |
//!
//! - **C1** the embeddings, `gamma` and `beta` have one float type; indices and mask are `i32`
//! - **C2** `input_ids` has rank 2, `segment_ids` and `mask` have its extents
//! - **C3** `position_ids` is `[n, len]` or `[1, len]`
//! - **C4** embeddings are `[_, hidden]`, `gamma` and `beta` `[hidden]`
//! - **C5** `segment_ids` and `segment_embedding` are given together
//! - **C6** without `position_ids`, `position_embedding` has a row for each place in the sequence
//!
//! ONNX Runtime `com.microsoft::EmbedLayerNormalization`, version 1.

use crate::dtype::DType;
use crate::error::Result;
use crate::ops::attention_common::{cast, require_shape};
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `EmbedLayerNormalization`.
    pub struct EmbedLayerNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-12f32,
        /// A hint for the shape of `mask_index` without meaning for its content.
        mask_index_type: i64 = 0i64,
    }
}

impl Op for EmbedLayerNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 2, sets::FLOATS)?;
        let t = cx.same_dtype("C1", 2..7)?;
        for i in [0, 1, 7, 8].into_iter().filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            cx.require_dtype("C1", i, &[DType::I32])?;
        }
        let ids = cx.shape(0)?;
        cx.require("C2", ids.len() == 2, || format!("input_ids has rank {}", ids.len()))?;
        for i in [1, 7].into_iter().filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            require_shape(cx, "C2", i, &ids)?;
        }
        if cx.has(8) {
            let n = cx.shape(8)?.first().cloned().unwrap_or_default();
            require_shape(cx, "C3", 8, &[n.clone(), ids[1].clone()])?;
            cx.require_that("C3", Cond::eq(&n, &Dim::ONE).or(&Cond::eq(&n, &ids[0])))?;
        }
        let word = cx.shape(2)?;
        cx.require("C4", word.len() == 2, || format!("word_embedding has rank {}", word.len()))?;
        let hidden = word[1].clone();
        for i in [3, 4].into_iter().filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            let rows = cx.shape(i)?.first().cloned().unwrap_or_default();
            require_shape(cx, "C4", i, &[rows, hidden.clone()])?;
        }
        if !cx.has(8) {
            let rows = cx.shape(3)?.first().cloned().unwrap_or_default();
            cx.require_that("C6", Cond::le(&ids[1], &rows))?;
        }
        require_shape(cx, "C4", 5, std::slice::from_ref(&hidden))?;
        require_shape(cx, "C4", 6, std::slice::from_ref(&hidden))?;
        cx.require("C5", cx.has(1) == cx.has(4), || "one of segment_ids and segment_embedding is missing".into())?;
        let y = vec![ids[0].clone(), ids[1].clone(), hidden];
        cx.output(t, y.clone())?;
        cx.output(DType::I32, vec![ids[0].clone()])?;
        cx.output(t, y)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(ids), Some(word), Some(position)) = (at(0), at(2), at(3)) else { return Ok(None) };
        let mut sum = b.op("Gather", attrs! {}, &[word, ids])?;
        let rows = match at(8) {
            Some(positions) => b.op("Gather", attrs! {}, &[position, positions])?,
            None => {
                let len = b.op("Shape", attrs! { start: 1i64, end: 2i64 }, &[ids])?;
                let zero = b.ints(&[0]);
                b.op("Slice", attrs! {}, &[position, zero, len, zero])?
            }
        };
        sum = b.op("Add", attrs! {}, &[sum, rows])?;
        if let (Some(segments), Some(segment)) = (at(1), at(4)) {
            let rows = b.op("Gather", attrs! {}, &[segment, segments])?;
            sum = b.op("Add", attrs! {}, &[sum, rows])?;
        }
        let operands = [Some(sum), at(5), at(6)];
        let y = b.node("ai.onnx", "LayerNormalization", attrs! { epsilon: self.epsilon }, &operands, 1)?[0];
        let index = match at(7) {
            Some(mask) => {
                let one = b.constant(Tensor::scalar(1i32));
                let set = b.op("Equal", attrs! {}, &[mask, one])?;
                let set = cast(b, set, DType::I32)?;
                let axis = b.ints(&[1]);
                b.op("ReduceSum", attrs! { keepdims: false }, &[set, axis])?
            }
            None => {
                let n = b.op("Shape", attrs! { start: 0i64, end: 1i64 }, &[ids])?;
                b.op("ConstantOfShape", attrs! { value: Tensor::from_slice(&[1], &[0i32]) }, &[n])?
            }
        };
        Ok(Some(vec![y, index, sum]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    EmbedLayerNormalization in "com.microsoft" since [1];
    "input_ids, segment_ids?, word_embedding, position_embedding, segment_embedding?, gamma, beta, mask?, position_ids?" => "output, mask_index?, embedding_sum?";
    summary: "normalised sum of the embeddings of words, positions and segments";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @words([[1, 0]], [[0.0, 0.0], [1.0, 3.0]], [[0.0, 0.0], [5.0, 1.0]], [1.0, 1.0], [0.0, 0.0], [[1, 1]]) ~= [[[-1.0, 1.0], [1.0, -1.0]]], [2]
graph @words(%ids: i32[1, 2], %w: f32[2, 2], %p: f32[2, 2], %g: f32[2], %b: f32[2], %m: i32[1, 2]) -> (f32[1, 2, 2], i32[1]) {
  %0, %1 = microsoft.embed_layer_normalization %ids, _, %w, %p, _, %g, %b, %m : f32[1, 2, 2], i32[1]
  return %0, %1
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embed_layer_normalization_c1_c2_c3_c4_c5_c6_are_named() {
        let f = |s: &[usize]| Some(Fact::of(Type::tensor(DType::F32, s)));
        let i = |s: &[usize]| Some(Fact::of(Type::tensor(DType::I32, s)));
        let bad = |k: usize, fact: Option<Fact>| {
            let mut x = vec![i(&[1, 2]), i(&[1, 2]), f(&[9, 4]), f(&[9, 4]), f(&[2, 4]), f(&[4]), f(&[4])];
            x.resize(9, None);
            x[k] = fact;
            let op = (DEF.parse)(&attrs! {}).unwrap();
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let name = |n| format!("EmbedLayerNormalization.C{n}");
        assert_eq!(bad(0, f(&[1, 2])), name(1));
        assert_eq!(bad(1, i(&[1, 3])), name(2));
        assert_eq!(bad(8, i(&[1, 3])), name(3));
        assert_eq!(bad(5, f(&[5])), name(4));
        assert_eq!(bad(4, None), name(5));
        assert_eq!(bad(3, f(&[1, 4])), name(6));
    }
}
