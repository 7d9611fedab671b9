//! `z[…, j] = x[…, y[j]]`: features picked by number along the last axis.
//!
//! - **C1** `y` is `i64`
//! - **C2** `x` has rank 1 or more; a row gives a matrix of one row
//!
//! An index outside the axis is an error. ONNX `ArrayFeatureExtractor` (ai.onnx.ml): opset 1.

use super::super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `ArrayFeatureExtractor` has no attributes.
    pub struct ArrayFeatureExtractor {}
}

impl Op for ArrayFeatureExtractor {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let (mut shape, picked) = (cx.shape(0)?, cx.shape(1)?.iter().product());
        cx.require("C2", !shape.is_empty(), || "the operand has rank 0".into())?;
        if shape.len() == 1 {
            shape.insert(0, Dim::int(1));
        }
        let last = shape.len() - 1;
        shape[last] = picked;
        cx.output(cx.dtype(0)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let f = x.shape()[x.rank() - 1];
        let at = cx.tensor(1)?.to_i64s()?;
        if let Some(bad) = at.iter().find(|&&i| i < 0 || i >= f as i64) {
            return Err(Error::invalid(format!("feature {bad} of {f}")));
        }
        let rows: usize = shape[..shape.len() - 1].iter().product();
        let y = x.take(&shape, (0..rows).flat_map(|r| at.iter().map(move |&i| r * f + i as usize)))?;
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    ArrayFeatureExtractor in "ai.onnx.ml" since [1]; "X, Y" => "Z";
    summary: "features picked by number";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_array_feature_extractor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [2, 0]) == [[3.0, 1.0], [6.0, 4.0]]
graph @ml_array_feature_extractor(%a: f32[2, 3], %b: i64[2]) -> f32[2, 2] {
  %y = ml.array_feature_extractor %a, %b : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn array_feature_extractor_makes_a_matrix_of_a_row() {
        let x = Tensor::from_slice(&[3], &[1f32, 2.0, 3.0]);
        let go = |i: &[i64]| {
            let i = Tensor::from_slice(&[i.len()], i);
            run("ai.onnx.ml", "ArrayFeatureExtractor", attrs! {}, &[Some(x.clone().into()), Some(i.into())], 1)
        };
        assert_eq!(go(&[2, 0]).unwrap()[0], Tensor::from_slice(&[1, 2], &[3f32, 1.0]).into());
        assert!(go(&[3]).is_err());
    }
}
