//! `Y = activation(Gemm(A, B, C))`.
//!
//! - **C1** `activation` is known (or absent)
//! - everything else as for [`gemm`](crate::ops::gemm)
//!
//! ONNX Runtime `com.microsoft::FusedGemm`, version 1.

use super::activation::activate;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `FusedGemm`.
    #[expect(non_snake_case, reason = "ONNX's names")]
    pub struct FusedGemm {
        /// `Relu`, `Tanh`, `Sigmoid`, `LeakyRelu` and others.
        activation: Option<String>,
        /// Its first parameter.
        activation_alpha: Option<f32>,
        /// Its second parameter.
        activation_beta: Option<f32>,
        /// A third parameter, which no known activation takes.
        activation_gamma: Option<f32>,
        /// Factor of the product.
        alpha: f32 = 1.0f32,
        /// Factor of `C`.
        beta: f32 = 1.0f32,
        /// Whether `A` is transposed.
        transA: bool = false,
        /// Whether `B` is transposed.
        transB: bool = false,
    }
}

impl Op for FusedGemm {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let attrs = attrs! { alpha: self.alpha, beta: self.beta, transA: self.transA, transB: self.transB };
        let mut y = b.node("ai.onnx", "Gemm", attrs, x, 1)?[0];
        if let Some(name) = self.activation.as_deref().filter(|n| !n.is_empty()) {
            let parameters: Vec<f32> =
                [self.activation_alpha, self.activation_beta].into_iter().map_while(|v| v).collect();
            y = activate(b, "C1", y, name, &parameters)?;
        }
        Ok(Some(vec![y]))
    }
}

op! {
    FusedGemm in "com.microsoft" since [1]; "A, B, C?" => "Y";
    summary: "matrix product, sum and activation";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use crate::{Tensor, attrs};

    #[test]
    fn fused_gemm_activates() {
        let a = Tensor::from_slice(&[1, 2], &[1.0f32, -3.0]);
        let leaky = attrs! { transB: true, activation: "LeakyRelu", activation_alpha: 0.5f32, alpha: -1.0f32 };
        check("FusedGemm", leaky, &[a.clone(), a.clone()], &[-5.0]);
        let bad = label("FusedGemm", attrs! { transB: true, activation: "No" }, &[Some(a.clone()), Some(a)]);
        assert_eq!(bad.as_deref(), Some("FusedGemm.C1"));
    }
}
