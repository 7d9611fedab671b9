//! `y = x Φ(x)`, `Φ` the distribution function of the normal distribution: as ONNX's own [`gelu`](crate::ops::gelu).
//!
//! - **C1** `x` is a float
//!
//! ONNX Runtime `com.microsoft::Gelu`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Gelu` has no attributes.
    pub struct Gelu {}
}

impl Op for Gelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x[0] else { return Ok(None) };
        Ok(Some(vec![b.op("Gelu", attrs! {}, &[x])?]))
    }
}

op! {
    Gelu in "com.microsoft" since [1]; "X" => "Y";
    summary: "Gaussian error linear unit";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_gelu([-2.0, -0.5, 0.0, 1.5]) ~= [-0.04550028, -0.15426877, 0.0, 1.3997892]
graph @microsoft_gelu(%a: f32[4]) -> f32[4] {
  %y = microsoft.gelu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn gelu_at_one() {
        let operands = [Tensor::from_slice(&[2], &[1.0f32, 0.0])].map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "Gelu", attrs! {}, &operands, 1).unwrap();
        let want = [0.841_344_746, 0.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
