//! `y = Gelu(a + b)`, with broadcasting of `b`.
//!
//! - **C1** `a` is a float; sum and shapes as for [`add`](crate::ops::add)
//!
//! ONNX Runtime `com.microsoft::BiasGelu`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `BiasGelu` has no attributes.
    pub struct BiasGelu {}
}

impl Op for BiasGelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let (Some(p), Some(q)) = (x[0], x[1]) else { return Ok(None) };
        let sum = b.op("Add", attrs! {}, &[p, q])?;
        Ok(Some(vec![b.op("Gelu", attrs! {}, &[sum])?]))
    }
}

op! {
    BiasGelu in "com.microsoft" since [1]; "A, B" => "C";
    summary: "Gelu of a sum";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_bias_gelu([[-1.0, 2.0]], [0.5, -0.5]) == [[-0.15426877, 1.3997892]]
graph @microsoft_bias_gelu(%a: f32[1, 2], %b: f32[2]) -> f32[1, 2] {
  %y = microsoft.bias_gelu %a, %b : f32[1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn bias_gelu_at_one() {
        let operands = [Tensor::from_slice(&[2], &[0.5f32, 0.0]), Tensor::from_slice(&[2], &[0.5f32, 0.0])]
            .map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "BiasGelu", attrs! {}, &operands, 1).unwrap();
        let want = [0.841_344_746, 0.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
