//! ONNX Runtime's `DequantizeLinear`: as ONNX's own [`dequantize_linear`](crate::ops::dequantize_linear), which has taken over its types.
//!
//! Constraints are those of ONNX's own. ONNX Runtime `com.microsoft::DequantizeLinear`, version 1.

use crate::dtype::DType;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `DequantizeLinear`.
    pub struct DequantizeLinear {
        /// Axis of the scales.
        axis: i64 = 1,
        /// Elements of `axis` that share a scale; 0: not blocked.
        block_size: Dim = Dim::int(0),
        /// Type of the result.
        output_dtype: Option<DType>,
    }
}

impl Op for DequantizeLinear {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        Ok(Some(b.node("ai.onnx", "DequantizeLinear", self.attrs(), x, 1)?))
    }
}

op! {
    DequantizeLinear in "com.microsoft" since [1]; "x, x_scale, x_zero_point?" => "y";
    summary: "numbers of a low-precision scale as floats";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_dequantize_linear([0, 10, 14], 0.5, 10) == [-5.0, 0.0, 2.0]
graph @microsoft_dequantize_linear(%a: u8[3], %b: f32[], %c: u8[]) -> f32[3] {
  %y = microsoft.dequantize_linear %a, %b, %c : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    #[test]
    fn dequantize_linear_of_an_axis() {
        let operands = [
            Tensor::from_slice(&[2], &[3u16, 302]),
            Tensor::from_slice(&[2], &[2.0f32, 3.0]),
            Tensor::from_slice(&[2], &[1u16, 300]),
        ]
        .map(|t: Tensor| Some(Value::from(t)));
        let y = run("com.microsoft", "DequantizeLinear", attrs! { axis: 0i64 }, &operands, 1).unwrap();
        let want = [4.0, 6.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
