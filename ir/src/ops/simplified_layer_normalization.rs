//! `Y = X / sqrt(mean(X^2) + epsilon) * scale`, the mean over the axes from `axis` on.
//!
//! As [`rms_normalization`](super::rms_normalization), which took its place; `inv_std_var` is the reciprocal root, in
//! `f32`, with the extents of `X` before `axis`, then 1s.
//!
//! - **C1** `X` and `scale` are floats, `stash_type` is `f32`
//! - **C2** `-r <= axis < r`
//! - **C3** `scale` broadcasts to `X`
//!
//! ONNX Runtime `SimplifiedLayerNormalization`, which it keeps in ONNX's own domain, version 1.

use super::attention_common::{cast, scalar};
use super::common::*;
use super::layer_normalization::require_broadcasts_to;
use crate::dtype::DType;
use crate::error::Result;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SimplifiedLayerNormalization`.
    pub struct SimplifiedLayerNormalization {
        /// First axis that is normalised, `-r..r`.
        axis: i64 = -1i64,
        /// Added to the mean of squares.
        epsilon: f32 = 1e-5f32,
        /// Element type of the statistics.
        stash_type: DType = DType::F32,
    }
}

impl Op for SimplifiedLayerNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.require_dtype("C1", 1, sets::FLOATS)?;
        cx.require("C1", self.stash_type == DType::F32, || format!("`stash_type` is {}", self.stash_type))?;
        let x = cx.shape(0)?;
        let axis = cx.axis("C2", self.axis, x.len())?;
        require_broadcasts_to(cx, "C3", 1, &x)?;
        let mut stats = x.clone();
        stats[axis..].fill(Dim::ONE);
        cx.output(dtype, x)?;
        cx.output(DType::F32, stats)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let [Some(x), Some(scale)] = x else { return Ok(None) };
        let Some(rank) = b.ty(*x).as_tensor().and_then(|t| t.shape.dims().map(<[_]>::len)) else { return Ok(None) };
        let a = attrs! { axis: self.axis, epsilon: self.epsilon };
        let y = b.op("RMSNormalization", a, &[*x, *scale])?;
        let wide = cast(b, *x, DType::F32)?;
        let squares = b.op("Mul", attrs! {}, &[wide, wide])?;
        let axes = b.ints(&(normal_axis(self.axis, rank) as i64..rank as i64).collect::<Vec<_>>());
        let mean = b.op("ReduceMean", attrs! { keepdims: true }, &[squares, axes])?;
        let epsilon = scalar(b, DType::F32, self.epsilon.into());
        let mean = b.op("Add", attrs! {}, &[mean, epsilon])?;
        let root = b.op("Sqrt", attrs! {}, &[mean])?;
        Ok(Some(vec![y, b.op("Reciprocal", attrs! {}, &[root])?]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    SimplifiedLayerNormalization in "ai.onnx" since [1]; "X, scale" => "Y, inv_std_var?";
    summary: "division by the root of the mean of squares, ONNX Runtime's name";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pair([[3.0, -3.0]], [2.0, 1.0]) ~= [[2.0, -1.0]], [[0.33333333]]
graph @pair(%x: f32[1, 2], %s: f32[2]) -> (f32[1, 2], f32[1, 1]) {
  %0, %1 = simplified_layer_normalization %x, %s : f32[1, 2], f32[1, 1]
  return %0, %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn simplified_layer_normalization_c1_c2_c3_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a: crate::Attrs, t: &[Type]| violated("SimplifiedLayerNormalization", a, t);
        let name = |n| Some(format!("SimplifiedLayerNormalization.C{n}"));
        assert_eq!(bad(attrs! {}, &[Type::tensor(DType::I32, &[2]), f(&[2])]), name(1));
        assert_eq!(bad(attrs! { stash_type: DType::F16 }, &[f(&[2]), f(&[2])]), name(1));
        assert_eq!(bad(attrs! { axis: 1i64 }, &[f(&[2]), f(&[2])]), name(2));
        assert_eq!(bad(attrs! {}, &[f(&[2]), f(&[3])]), name(3));
    }
}
