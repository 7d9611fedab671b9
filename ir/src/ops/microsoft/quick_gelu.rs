//! `y = x / (1 + e^(-alpha x))`: Gelu by the logistic function.
//!
//! - **C1** `x` is a float
//!
//! ONNX Runtime `com.microsoft::QuickGelu`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QuickGelu`.
    pub struct QuickGelu {
        /// Factor within the logistic function.
        alpha: f32 = 1.702f32,
    }
}

impl Op for QuickGelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let Some(x) = x[0] else { return Ok(None) };
        Ok(Some(vec![b.op("Swish", attrs! { alpha: self.alpha }, &[x])?]))
    }
}

op! {
    QuickGelu in "com.microsoft" since [1]; "X" => "Y";
    summary: "Gelu by the logistic function";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_quick_gelu([-2.0, -0.5, 0.0, 1.5]) ~= [-0.06434137, -0.14961158, 0.0, 1.3916621]
graph @microsoft_quick_gelu(%a: f32[4]) -> f32[4] {
  %y = microsoft.quick_gelu %a : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn quick_gelu_at_one() {
        let operands = [Tensor::from_slice(&[2], &[1.0f32, 0.0])].map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "QuickGelu", attrs! {}, &operands, 1).unwrap();
        let want = [0.845_795_8, 0.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
