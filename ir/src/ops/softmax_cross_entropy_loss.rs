//! `loss = -weight[t] log_softmax(scores)[n, t, …]` at each target `t`, and its sum or weighted mean; the second result is the
//! logarithm of the softmax over classes.
//!
//! Shapes and constraints C1 to C4: see [`loss_common`](super::loss_common). Targets equal to `ignore_index` count
//! nothing, in the mean's weight too. ONNX `SoftmaxCrossEntropyLoss`: opset 12, 13.

use super::common::*;
use super::lanes::map_lanes;
use super::log_softmax::log_softmax;
use super::loss_common::{loss, loss_lowering, loss_rule};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `SoftmaxCrossEntropyLoss`.
    pub struct SoftmaxCrossEntropyLoss {
        /// Target that counts nothing.
        ignore_index: Option<i64>,
        /// `none`, `sum` or `mean`.
        reduction: String = "mean",
    }
}

impl Op for SoftmaxCrossEntropyLoss {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = loss_rule(cx, &self.reduction)?;
        let x = cx.shape(0)?;
        cx.output(dtype, x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let wide = Tensor::from_floats(DType::F64, x.shape(), x.floats()?);
        let log_prob = map_lanes(&wide, &[1], log_softmax)?.floats()?;
        let y = loss(cx, &log_prob, &self.reduction, self.ignore_index)?;
        cx.push(y);
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), log_prob));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        loss_lowering(cx, &self.reduction, self.ignore_index, true)
    }
}

op! {
    SoftmaxCrossEntropyLoss in "ai.onnx" since [12, 13]; "scores, labels, weights?" => "output, log_prob?";
    summary: "cross entropy of the softmax of scores";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @softmax_cross_entropy_loss([[1.0, 2.0], [3.0, 0.5]], [0, 0]) ~= 0.6960757, [[-1.3132616, -0.31326166], [-0.07888975, -2.5788898]]
graph @softmax_cross_entropy_loss(%a: f32[2, 2], %b: i64[2]) -> (f32[], f32[2, 2]) {
  %y, %z = softmax_cross_entropy_loss %a, %b : f32[], f32[2, 2]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn ignored_targets_count_nothing_and_wrong_ones_fail() {
        let x = Tensor::from_slice(&[2, 2], &[0.0f32, 0.0, 5.0, -1.0]);
        let run = |t: [i64; 2]| {
            run1("SoftmaxCrossEntropyLoss", attrs! { ignore_index: 7i64 }, &[x.clone(), Tensor::from_slice(&[2], &t)])
        };
        let want = f64::from(2f64.ln() as f32);
        assert_eq!(run([0, 7]).unwrap().floats().unwrap()[0].abs(), want);
        assert!(run([0, 2]).is_err());
    }

    #[test]
    fn softmax_cross_entropy_loss_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let bad = |r: &str, types: &[Type]| violated("SoftmaxCrossEntropyLoss", attrs! { reduction: r }, types);
        let (f, i) = (DType::F32, DType::I64);
        assert_eq!(bad("sum", &[t(f, &[1, 2]), t(f, &[1])]).as_deref(), Some("SoftmaxCrossEntropyLoss.C1"));
        assert_eq!(bad("sum", &[t(f, &[1, 2]), t(i, &[2])]).as_deref(), Some("SoftmaxCrossEntropyLoss.C2"));
        assert_eq!(bad("sum", &[t(f, &[1, 2]), t(i, &[1]), t(f, &[3])]).as_deref(), Some("SoftmaxCrossEntropyLoss.C3"));
        assert_eq!(bad("max", &[t(f, &[1, 2]), t(i, &[1])]).as_deref(), Some("SoftmaxCrossEntropyLoss.C4"));
    }
}
