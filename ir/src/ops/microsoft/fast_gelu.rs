//! `y = Gelu(x + bias)` by the hyperbolic tangent.
//!
//! - **C1** `x` is a float; sum and shapes as for [`add`](crate::ops::add)
//!
//! ONNX Runtime `com.microsoft::FastGelu`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `FastGelu` has no attributes.
    pub struct FastGelu {}
}

impl Op for FastGelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let Some(mut sum) = at(0) else { return Ok(None) };
        if let Some(bias) = at(1) {
            sum = b.op("Add", attrs! {}, &[sum, bias])?;
        }
        Ok(Some(vec![b.op("Gelu", attrs! { approximate: "tanh" }, &[sum])?]))
    }
}

op! {
    FastGelu in "com.microsoft" since [1]; "X, bias?" => "Y";
    summary: "Gelu by the hyperbolic tangent, of an optional sum";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_fast_gelu([-2.0, -0.5, 0.0, 1.5]) ~= [-0.045402348, -0.154286, 0.0, 1.3995715]
graph @microsoft_fast_gelu(%a: f32[4]) -> f32[4] {
  %y = microsoft.fast_gelu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn fast_gelu_at_one() {
        let operands = [Tensor::from_slice(&[2], &[1.0f32, 0.0])].map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "FastGelu", attrs! {}, &operands, 1).unwrap();
        let want = [0.841_191_99, 0.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
