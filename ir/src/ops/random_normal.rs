//! `y`: random numbers of the normal distribution of mean `mean` and standard deviation `scale`, of a given shape.
//!
//! - **C1** `dtype` is a float
//! - **C2** no extent of `shape` is negative
//!
//! With `seed` the numbers are the same at every run ([`random`](super::random)). ONNX `RandomNormal`: opset 1, 22
//! (bfloat16).

use super::common::*;
use super::random::Rng;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `RandomNormal`.
    pub struct RandomNormal {
        /// Element type of the result.
        dtype: DType = DType::F32,
        /// Mean.
        mean: f32 = 0.0f32,
        /// Standard deviation.
        scale: f32 = 1.0f32,
        /// Seed; without it each run differs.
        seed: Option<f32>,
        /// Extents of the result.
        shape: Vec<Dim>,
    }
}

impl Op for RandomNormal {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C1", sets::FLOATS.contains(&self.dtype), || format!("dtype is {}", self.dtype))?;
        for d in &self.shape {
            cx.require_that("C2", Cond::le(&Dim::int(0), d))?;
        }
        cx.output(self.dtype, self.shape.clone())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let y = fill(cx, self.seed, self.mean, self.scale)?;
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { pure: self.seed.is_some(), ..Facts::default() }
    }
}

/// Random numbers for the call's result.
///
/// # Errors
/// When it is too large.
pub fn fill(cx: &EvalCx<'_>, seed: Option<f32>, mean: f32, scale: f32) -> Result<Tensor> {
    let (dtype, shape) = cx.out(0)?;
    let n: usize = shape.iter().product();
    let mut rng = Rng::new(cx.env, seed);
    let (mean, scale) = (f64::from(mean), f64::from(scale));
    Ok(Tensor::from_floats(dtype, &shape, (0..n).map(|_| mean + scale * rng.normal())))
}

op! {
    RandomNormal in "ai.onnx" since [1, 22]; "" => "output";
    summary: "normal random numbers of a given shape";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn random_normal_repeats_with_a_seed() {
        let attrs = attrs! { shape: vec![2i64, 3], seed: 7.0f32 };
        let y = run1("RandomNormal", attrs.clone(), &[]).unwrap();
        assert_eq!(y, run1("RandomNormal", attrs, &[]).unwrap());
        assert!(y.floats().unwrap().windows(2).any(|w| w[0] != w[1]));
    }

    #[test]
    fn random_normal_constraints_are_named() {
        let label = |a| violated("RandomNormal", a, &[]);
        assert_eq!(label(attrs! { shape: vec![1i64], dtype: DType::I32 }).as_deref(), Some("RandomNormal.C1"));
        assert_eq!(label(attrs! { shape: vec![-1i64] }).as_deref(), Some("RandomNormal.C2"));
    }
}
