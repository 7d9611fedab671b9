//! `y[…, j] = 1 if x[…] is category j else 0`, as `f32` with a new last axis.
//!
//! - **C1** exactly one list of categories is given: strings for strings, integers for numbers
//!
//! An element of no category gives zeros, or with `zeros = 0` an error. ONNX `OneHotEncoder` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::scores::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `OneHotEncoder`.
    pub struct OneHotEncoder {
        /// Categories of numbers.
        cats_int64s: Vec<i64> = Vec::new(),
        /// Categories of strings.
        cats_strings: Vec<String> = Vec::new(),
        /// Whether an unknown element gives zeros.
        zeros: bool = true,
    }
}

impl Op for OneHotEncoder {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.dtype(0)?;
        let (ints, strings) = (self.cats_int64s.len(), self.cats_strings.len());
        let fits = if dtype == DType::String { strings > 0 && ints == 0 } else { ints > 0 && strings == 0 };
        cx.require("C1", fits && (dtype == DType::String || FEATURES.contains(&dtype)), || {
            format!("{ints} integer and {strings} string categories for {dtype}")
        })?;
        let mut shape = cx.shape(0)?;
        shape.push(Dim::from(ints + strings));
        cx.output(DType::F32, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let found: Vec<Option<usize>> = if x.dtype() == DType::String {
            x.strings()?.iter().map(|s| self.cats_strings.iter().position(|c| **c == **s)).collect()
        } else {
            let of = |v: f64| self.cats_int64s.iter().position(|&c| c == v as i64);
            x.floats()?.into_iter().map(of).collect()
        };
        if !self.zeros && found.contains(&None) {
            return Err(Error::invalid("an element is of no category"));
        }
        let n = self.cats_int64s.len() + self.cats_strings.len();
        let on = found.iter().flat_map(|f| (0..n).map(move |j| f64::from(u8::from(*f == Some(j)))));
        cx.push(Tensor::from_floats(dtype, &shape, on));
        Ok(())
    }
}

op! {
    OneHotEncoder in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "categories as unit vectors";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_one_hot_encoder([2, 9]) == [[0.0, 1.0], [0.0, 0.0]]
graph @ml_one_hot_encoder(%a: i64[2]) -> f32[2, 2] {
  %y = ml.one_hot_encoder %a {cats_int64s = [1, 2]} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn one_hot_encoder_gives_zeros_for_the_unknown() {
        let x = Tensor::from_slice(&[2], &[7i64, 9]);
        let a = |z: i64| attrs! { cats_int64s: vec![9i64, 8], zeros: z };
        let go = |z| run("ai.onnx.ml", "OneHotEncoder", a(z), &[Some(x.clone().into())], 1);
        assert_eq!(go(1).unwrap()[0], Tensor::from_slice(&[2, 2], &[0f32, 0.0, 1.0, 0.0]).into());
        assert!(go(0).is_err());
        let e = run("ai.onnx.ml", "OneHotEncoder", attrs! {}, &[Some(x.clone().into())], 1).unwrap_err();
        assert_eq!(e.label(), Some("OneHotEncoder.C1"));
    }
}
