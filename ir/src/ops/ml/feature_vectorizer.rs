//! Features of several operands side by side, as `f32[n, Σ c_i]`.
//!
//! - **C1** operands are `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** they agree in the number of rows
//! - **C3** `inputdimensions`, where given, has one entry an operand
//!
//! Each operand is cut or filled with zeros to its entry of `inputdimensions`.
//! ONNX `FeatureVectorizer` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::scores::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `FeatureVectorizer`.
    pub struct FeatureVectorizer {
        /// Features of each operand.
        inputdimensions: Option<Vec<i64>>,
    }
}

impl Op for FeatureVectorizer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let n = cx.n_inputs();
        cx.require("C1", n > 0, || "no operand is given".into())?;
        cx.require(
            "C3",
            self.inputdimensions.as_ref().is_none_or(|d| d.len() == n && d.iter().all(|&d| d >= 0)),
            || format!("`inputdimensions` must have {n} entries, none negative"),
        )?;
        let mut rows: Option<Dim> = None;
        let mut width = Dim::int(0);
        for i in 0..n {
            cx.require_dtype("C1", i, FEATURES)?;
            let shape = cx.shape(i)?;
            cx.require("C1", shape.len() == 1 || shape.len() == 2, || format!("operand {i} has rank {}", shape.len()))?;
            let (r, c) = if shape.len() == 1 { (Dim::int(1), &shape[0]) } else { (shape[0].clone(), &shape[1]) };
            match &rows {
                Some(rows) => cx.require_eq("C2", rows, &r)?,
                None => rows = Some(r),
            }
            width += self.inputdimensions.as_ref().map_or(c.clone(), |d| Dim::int(d[i]));
        }
        cx.output(DType::F32, vec![rows.unwrap_or_default(), width])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let parts = (0..cx.n_inputs()).map(|i| rows(cx.tensor(i)?)).collect::<Result<Vec<_>>>()?;
        let mut y = Vec::with_capacity(len_elems(&shape)?);
        for r in 0..shape[0] {
            for (i, (_, f, v)) in parts.iter().enumerate() {
                let want = self.inputdimensions.as_ref().map_or(*f, |d| d[i] as usize);
                y.extend((0..want).map(|j| if j < *f { v[r * f + j] } else { 0.0 }));
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }
}

op! {
    FeatureVectorizer in "ai.onnx.ml" since [1]; "X*" => "Y";
    summary: "features of several operands side by side";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_feature_vectorizer([[1.0, 2.0]], [[3.0]]) == [[1.0, 2.0, 3.0]]
graph @ml_feature_vectorizer(%a: f32[1, 2], %b: f32[1, 1]) -> f32[1, 3] {
  %y = ml.feature_vectorizer %a, %b {inputdimensions = [2, 1]} : f32[1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn feature_vectorizer_fills_with_zeros() {
        let inputs =
            [Some(Tensor::from_slice(&[1, 1], &[5i64]).into()), Some(Tensor::from_slice(&[1, 2], &[1f32, 2.0]).into())];
        let a = attrs! { inputdimensions: vec![2i64, 1] };
        let y = run("ai.onnx.ml", "FeatureVectorizer", a, &inputs, 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[1, 3], &[5f32, 0.0, 1.0]).into());
        let odd = attrs! { inputdimensions: vec![2i64] };
        let e = run("ai.onnx.ml", "FeatureVectorizer", odd, &inputs, 1).unwrap_err();
        assert_eq!(e.label(), Some("FeatureVectorizer.C3"));
    }
}
