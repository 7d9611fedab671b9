//! `y_i = x_i - ln(sum exp(x_j))` along one axis.
//!
//! - **C1** `x` is a float tensor
//! - **C2** `-r <= axis < r`
//!
//! ONNX `LogSoftmax`: opset 1 and 11 (over all axes from `axis`, default 1), 13 (one axis, default the last).

use super::common::*;
use super::lanes::eval_lane;
use super::lowering;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `LogSoftmax`.
    pub struct LogSoftmax {
        /// Axis, `-r..r`.
        axis: i64 = -1i64,
    }
}

impl Op for LogSoftmax {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let shape = cx.shape(0)?;
        cx.axis("C2", self.axis, shape.len())?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_lane(cx, self.axis, log_softmax)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.outputs[0].1.contains(&0) {
            return Ok(Lowering::Host);
        }
        lowering::softmax(cx, normal_axis(self.axis, cx.shape(0).len()), true)
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0)], ..Facts::default() }
    }
}

/// `x - ln(sum exp(x))`, the greatest element taken out first.
pub fn log_softmax(v: &mut [f64]) {
    let max = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log = v.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    v.iter_mut().for_each(|x| *x = *x - max - log);
}

op! {
    LogSoftmax in "ai.onnx" since [1, 11, 13]; "input" => "output";
    summary: "logarithm of the softmax along an axis";
    upgrade: super::softmax::upgrade_2d;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @log_softmax([[1.0, 3.0, 2.0]]) ~= [[-2.4076061, -0.40760604, -1.407606]]
graph @log_softmax(%a: f32[1, 3]) -> f32[1, 3] {
  %y = log_softmax %a : f32[1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn log_softmax_is_taken_by_rows_without_overflow() {
        let y = run1("LogSoftmax", attrs! {}, &[Tensor::from_slice(&[2, 2], &[1.0f32, 1.0, 1000.0, -1000.0])]).unwrap();
        let half = f64::from(0.5f64.ln() as f32);
        assert_eq!(y.floats().unwrap(), [half, half, 0.0, -2000.0]);
    }

    #[test]
    fn log_softmax_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("LogSoftmax", attrs! { axis: 1i64 }, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1, 1]).as_deref(), Some("LogSoftmax.C1"));
        assert_eq!(bad(DType::F32, &[1]).as_deref(), Some("LogSoftmax.C2"));
    }
}
