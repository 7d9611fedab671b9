//! ONNX Runtime's `QuantizeLinear`: as ONNX's own [`quantize_linear`](crate::ops::quantize_linear), which has taken over its types.
//!
//! Constraints are those of ONNX's own. ONNX Runtime `com.microsoft::QuantizeLinear`, version 1.

use crate::dtype::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QuantizeLinear`.
    pub struct QuantizeLinear {
        /// Axis of the scales.
        axis: i64 = 1,
        /// Elements of `axis` that share a scale; 0: not blocked.
        block_size: Dim = Dim::int(0),
        /// Type of the result.
        output_dtype: Option<DType>,
        /// Whether 8-bit floats hold numbers out of their range.
        saturate: bool = true,
    }
}

impl Op for QuantizeLinear {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        Ok(Some(b.node("ai.onnx", "QuantizeLinear", self.attrs(), x, 1)?))
    }
}

op! {
    QuantizeLinear in "com.microsoft" since [1]; "x, y_scale, y_zero_point?" => "y";
    summary: "numbers rounded to a low-precision scale";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_quantize_linear([-10.0, 0.0, 3.0], 0.5, 10) == [0, 10, 16]
graph @microsoft_quantize_linear(%a: f32[3], %b: f32[], %c: u8[]) -> u8[3] {
  %y = microsoft.quantize_linear %a, %b, %c : u8[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn quantize_linear_of_an_axis() {
        let operands = [
            Tensor::from_slice(&[2], &[4.0f32, 6.0]),
            Tensor::from_slice(&[2], &[2.0f32, 3.0]),
            Tensor::from_slice(&[2], &[1u16, 300]),
        ]
        .map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "QuantizeLinear", attrs! { axis: 0i64 }, &operands, 1).unwrap();
        let want = [3.0, 302.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
