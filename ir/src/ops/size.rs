//! `y = number of elements of data`, `i64` of rank 0.
//!
//! ONNX `Size`: opset 1, 13, 19, 21, 23, 24, 25 (types).

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Size` has no attributes.
    pub struct Size {}
}

impl Op for Size {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let n: Dim = cx.shape(0)?.iter().product();
        cx.output(DType::I64, vec![])?;
        cx.output_values(Some(vec![n]));
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let n = cx.tensor(0)?.len() as i64;
        cx.push(Tensor::scalar(n));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Size in "ai.onnx" since [1, 13, 19 brings "f8", 21 brings "i4 u4", 23 brings "f4e2m1", 24 brings "f8e8m0",
        25 brings "i2 u2"];
    "data" => "size";
    summary: "a tensor's number of elements";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @size([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) == 6
graph @size(%a: f32[2, 3]) -> i64[] {
  %y = size %a : i64[]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn size_of_an_empty_tensor_is_zero() {
        let y = run1("Size", attrs! {}, &[Tensor::zeros(DType::Bool, &[2, 0]).unwrap()]).unwrap();
        assert_eq!(y, Tensor::scalar(0i64));
    }
}
