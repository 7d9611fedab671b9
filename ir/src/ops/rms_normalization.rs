//! `y = x / sqrt(mean(x^2) + epsilon) * scale`, the mean over the axes from `axis` on.
//!
//! - **C1** `x` and `scale` are floats
//! - **C2** `-r <= axis < r`
//! - **C3** `scale` broadcasts to `x`
//!
//! The result has the type of `scale`. ONNX `RMSNormalization`: opset 23.

use super::common::*;
use super::lanes::{map_lanes, mean_square};
use super::layer_normalization::{require_broadcasts_to, scale_and_shift};
use super::lowering;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `RMSNormalization`.
    pub struct RmsNormalization {
        /// First axis that is normalised, `-r..r`.
        axis: i64 = -1i64,
        /// Added to the mean of squares.
        epsilon: f32 = 1e-5f32,
        /// Element type in which the first stage may be computed.
        stash_type: i64 = 1i64,
    }
}

/// Divides elements of `dtype` by the root of the mean of squares.
pub fn rms(dtype: DType, v: &mut [f64], epsilon: f64) {
    let inverse = 1.0 / (mean_square(dtype, v.iter().copied()) + epsilon).sqrt();
    v.iter_mut().for_each(|x| *x *= inverse);
}

impl Op for RmsNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.require_dtype("C1", 1, sets::FLOATS)?;
        let x = cx.shape(0)?;
        cx.axis("C2", self.axis, x.len())?;
        require_broadcasts_to(cx, "C3", 1, &x)?;
        cx.output(dtype, x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, scale) = (cx.tensor(0)?, cx.tensor(1)?);
        let axes: Vec<usize> = (normal_axis(self.axis, x.rank())..x.rank()).collect();
        let wide = Tensor::from_floats(DType::F64, x.shape(), x.floats()?);
        let mut v = map_lanes(&wide, &axes, |v| rms(x.dtype(), v, f64::from(self.epsilon)))?.floats()?;
        scale_and_shift(&mut v, x.shape(), Some(scale), None)?;
        cx.push(Tensor::from_floats(scale.dtype(), x.shape(), v));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.outputs.len() != 1 || cx.outputs[0].1.contains(&0) {
            return Ok(Lowering::Host);
        }
        lowering::layer_norm(cx, normal_axis(self.axis, cx.shape(0).len()), self.epsilon, false, cx.dtype(0))
    }
}

op! {
    RmsNormalization as "RMSNormalization" in "ai.onnx" since [23]; "X, scale" => "Y";
    summary: "division by the root of the mean of squares over the trailing axes";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @rms_normalization([[1.0, 7.0], [3.0, 4.0]], [1.0, 2.0]) == [[0.2, 2.8], [0.84852815, 2.2627418]]
graph @rms_normalization(%a: f32[2, 2], %b: f32[2]) -> f32[2, 2] {
  %y = rms_normalization %a, %b {epsilon = 0.0} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn rms_normalization_scales_rows() {
        let x = Tensor::from_slice(&[2, 2], &[3.0f32, 3.0, -4.0, 4.0]);
        let s = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        let y = run1("RMSNormalization", attrs! { epsilon: 0.0f32 }, &[x, s]).unwrap();
        assert_eq!(y.floats().unwrap(), [1.0, 2.0, -1.0, 2.0]);
    }

    #[test]
    fn squares_that_f32_cannot_hold_vanish_or_are_infinite() {
        for (x, want) in [(1e-30f32, f64::INFINITY), (1e30, 0.0), (1e-15, 1.0)] {
            let args = [Tensor::from_slice(&[1, 2], &[x; 2]), Tensor::from_slice(&[2], &[1.0f32; 2])];
            let y = run1("RMSNormalization", attrs! { epsilon: 0.0f32 }, &args).unwrap().floats().unwrap();
            assert!(y.iter().all(|y| *y == want || (y - want).abs() < 1e-6), "{y:?} for {x}");
        }
    }

    #[test]
    fn rms_normalization_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |axis: i64, t: &[Type]| violated("RMSNormalization", attrs! { axis: axis }, t);
        assert_eq!(bad(0, &[Type::tensor(DType::I32, &[2]), f(&[2])]).as_deref(), Some("RMSNormalization.C1"));
        assert_eq!(bad(1, &[f(&[2]), f(&[2])]).as_deref(), Some("RMSNormalization.C2"));
        assert_eq!(bad(0, &[f(&[2]), f(&[3])]).as_deref(), Some("RMSNormalization.C3"));
    }
}
