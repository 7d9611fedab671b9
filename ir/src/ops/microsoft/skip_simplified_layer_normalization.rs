//! `output = RMSNormalization(input + skip + bias) * gamma`, over the last axis.
//!
//! Operands, results and constraints are those of [`skip_layer_normalization`](super::skip_layer_normalization) without
//! `beta`; `inv_std_var` is `1 / sqrt(mean(x^2) + epsilon)`.
//!
//! - **C1** one float type
//! - **C2** `input` has rank 2 or 3, `skip` broadcasts to it
//! - **C3** `gamma` and `bias` are `[hidden]`
//!
//! ONNX Runtime `com.microsoft::SkipSimplifiedLayerNormalization`, version 1.

use super::skip_layer_normalization::{rule_of_skip, skip_sum, statistics};
use crate::error::Result;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SkipSimplifiedLayerNormalization`.
    pub struct SkipSimplifiedLayerNormalization {
        /// Added to the mean of squares.
        epsilon: f32 = 1e-12f32,
    }
}

impl Op for SkipSimplifiedLayerNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule_of_skip(cx, &[2, 3])
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let at = |i: usize| x.get(i).copied().flatten();
        let (Some(x), Some(skip), Some(gamma)) = (at(0), at(1), at(2)) else { return Ok(None) };
        let sum = skip_sum(b, x, skip, at(3))?;
        let y = b.op("RMSNormalization", attrs! { epsilon: self.epsilon }, &[sum, gamma])?;
        let [mean, inverse] = statistics(b, sum, self.epsilon, false)?;
        Ok(Some(vec![y, mean, inverse, sum]))
    }

    fn facts(&self) -> Facts {
        Facts::COMPOSITE
    }
}

op! {
    SkipSimplifiedLayerNormalization in "com.microsoft" since [1];
    "input, skip, gamma, bias?" => "output, mean?, inv_std_var?, input_skip_bias_sum?";
    summary: "a sum divided by the root of its mean square";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pair([[1.0, -1.0]], [[2.0, -2.0]], [2.0, 1.0]) ~= [[2.0, -1.0]]
graph @pair(%x: f32[1, 2], %s: f32[1, 2], %g: f32[2]) -> f32[1, 2] {
  %0 = microsoft.skip_simplified_layer_normalization %x, %s, %g : f32[1, 2]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn skip_simplified_layer_normalization_c1_c2_c3_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |t: [Type; 4]| {
            let op = (DEF.parse)(&attrs! {}).unwrap();
            let x = t.map(|t| Some(Fact::of(t)));
            crate::infer::infer_call(&*op, &x, &[], 1, &mut 0).unwrap_err().label().unwrap_or_default().to_owned()
        };
        let name = |n| format!("SkipSimplifiedLayerNormalization.C{n}");
        let x = || f(&[1, 2]);
        assert_eq!(bad([x(), x(), f(&[2]), Type::tensor(DType::F64, &[2])]), name(1));
        assert_eq!(bad([x(), f(&[3, 2]), f(&[2]), f(&[2])]), name(2));
        assert_eq!(bad([x(), x(), f(&[2]), f(&[3])]), name(3));
    }
}
