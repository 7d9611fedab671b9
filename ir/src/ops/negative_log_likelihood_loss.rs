//! `loss = -weight[t] input[n, t, …]` at each target `t`, and its sum or weighted mean.
//!
//! Shapes and constraints C1 to C4: see [`loss_common`](super::loss_common). Targets equal to `ignore_index` count
//! nothing, in the mean's weight too. ONNX `NegativeLogLikelihoodLoss`: opset 12, 13, 22.

use super::common::*;
use super::loss_common::{loss, loss_lowering, loss_rule};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `NegativeLogLikelihoodLoss`.
    pub struct NegativeLogLikelihoodLoss {
        /// Target that counts nothing.
        ignore_index: Option<i64>,
        /// `none`, `sum` or `mean`.
        reduction: String = "mean",
    }
}

impl Op for NegativeLogLikelihoodLoss {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        loss_rule(cx, &self.reduction)?;
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let y = loss(cx, &cx.tensor(0)?.floats()?, &self.reduction, self.ignore_index)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        loss_lowering(cx, &self.reduction, self.ignore_index, false)
    }
}

op! {
    NegativeLogLikelihoodLoss in "ai.onnx" since [12, 13, 22 brings "bf16"]; "input, target, weight?" => "loss";
    summary: "negative log-likelihood of targets";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @negative_log_likelihood_loss([[-1.0, -2.0], [-3.0, -0.5]], [0, 1]) == 0.75
graph @negative_log_likelihood_loss(%a: f32[2, 2], %b: i64[2]) -> f32[] {
  %y = negative_log_likelihood_loss %a, %b : f32[]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn ignored_targets_count_nothing_and_wrong_ones_fail() {
        let x = Tensor::from_slice(&[2, 2], &[0.0f32, 0.0, 5.0, -1.0]);
        let run = |t: [i64; 2]| {
            run1("NegativeLogLikelihoodLoss", attrs! { ignore_index: 7i64 }, &[x.clone(), Tensor::from_slice(&[2], &t)])
        };
        let want = 0.0;
        assert_eq!(run([0, 7]).unwrap().floats().unwrap()[0].abs(), want);
        assert!(run([0, 2]).is_err());
    }

    #[test]
    fn negative_log_likelihood_loss_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let bad = |r: &str, types: &[Type]| violated("NegativeLogLikelihoodLoss", attrs! { reduction: r }, types);
        let (f, i) = (DType::F32, DType::I64);
        assert_eq!(bad("sum", &[t(f, &[1, 2]), t(f, &[1])]).as_deref(), Some("NegativeLogLikelihoodLoss.C1"));
        assert_eq!(bad("sum", &[t(f, &[1, 2]), t(i, &[2])]).as_deref(), Some("NegativeLogLikelihoodLoss.C2"));
        assert_eq!(
            bad("sum", &[t(f, &[1, 2]), t(i, &[1]), t(f, &[3])]).as_deref(),
            Some("NegativeLogLikelihoodLoss.C3")
        );
        assert_eq!(bad("max", &[t(f, &[1, 2]), t(i, &[1])]).as_deref(), Some("NegativeLogLikelihoodLoss.C4"));
    }
}
