//! `y`: random numbers uniform in `[low, high)`, of a given shape.
//!
//! - **C1** `dtype` is a float
//! - **C2** no extent of `shape` is negative
//!
//! With `seed` the numbers are the same at every run ([`random`](super::random)). ONNX `RandomUniform`: opset 1, 22
//! (bfloat16).

use super::common::*;
use super::random::Rng;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `RandomUniform`.
    pub struct RandomUniform {
        /// Element type of the result.
        dtype: DType = DType::F32,
        /// Upper end, excluded.
        high: f32 = 1.0f32,
        /// Lower end, included.
        low: f32 = 0.0f32,
        /// Seed; without it each run differs.
        seed: Option<f32>,
        /// Extents of the result.
        shape: Vec<Dim>,
    }
}

impl Op for RandomUniform {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C1", sets::FLOATS.contains(&self.dtype), || format!("dtype is {}", self.dtype))?;
        for d in &self.shape {
            cx.require_that("C2", Cond::le(&Dim::int(0), d))?;
        }
        cx.output(self.dtype, self.shape.clone())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let y = fill(cx, self.seed, self.low, self.high)?;
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
pub fn fill(cx: &EvalCx<'_>, seed: Option<f32>, low: f32, high: f32) -> Result<Tensor> {
    let (dtype, shape) = cx.out(0)?;
    let n: usize = shape.iter().product();
    let mut rng = Rng::new(cx.env, seed);
    let (low, high) = (f64::from(low), f64::from(high));
    Ok(Tensor::from_floats(dtype, &shape, (0..n).map(|_| low + (high - low) * rng.uniform())))
}

op! {
    RandomUniform in "ai.onnx" since [1, 22]; "" => "output";
    summary: "uniform random numbers of a given shape";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn random_uniform_repeats_with_a_seed() {
        let attrs = attrs! { shape: vec![2i64, 3], seed: 7.0f32 };
        let y = run1("RandomUniform", attrs.clone(), &[]).unwrap();
        assert_eq!(y, run1("RandomUniform", attrs, &[]).unwrap());
        assert!(y.floats().unwrap().windows(2).any(|w| w[0] != w[1]));
    }

    #[test]
    fn random_uniform_constraints_are_named() {
        let label = |a| violated("RandomUniform", a, &[]);
        assert_eq!(label(attrs! { shape: vec![1i64], dtype: DType::I32 }).as_deref(), Some("RandomUniform.C1"));
        assert_eq!(label(attrs! { shape: vec![-1i64] }).as_deref(), Some("RandomUniform.C2"));
    }
}
