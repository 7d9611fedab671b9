//! `y`: random numbers uniform in `[low, high)`, of a given shape.
//!
//! - **C1** `dtype` is a float
//! - **C2** no extent of `shape` is negative
//!
//! With `seed` the numbers are the same at every run ([`random`](super::random)). ONNX `RandomUniform`: opset 1, 22
//! (bfloat16).

use super::common::*;
use super::random::{fill, given_rule};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

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
        given_rule(cx, self.dtype, &self.shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let y = fill(cx, self.seed, |rng| low + (high - low) * rng.uniform())?;
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { pure: self.seed.is_some(), ..Facts::default() }
    }
}

op! {
    RandomUniform in "ai.onnx" since [1, 22 brings "bf16"]; "" => "output";
    summary: "uniform random numbers of a given shape";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// why: numbers depend on the generator; an empty range leaves one.
// run: @count() == [5.0, 5.0]
graph @count() -> f32[2] {
  %0 = random_uniform {shape = [2], low = 5.0, high = 5.0, seed = 1.0}
  return %0
}
"#;

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
