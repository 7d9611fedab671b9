//! `y`: random numbers of the normal distribution of mean `mean` and standard deviation `scale`, of a given shape.
//!
//! - **C1** `dtype` is a float
//! - **C2** no extent of `shape` is negative
//!
//! With `seed` the numbers are the same at every run ([`random`](super::random)). ONNX `RandomNormal`: opset 1, 22
//! (bfloat16).

use super::common::*;
use super::random::{fill, given_rule};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

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
        given_rule(cx, self.dtype, &self.shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (mean, scale) = (f64::from(self.mean), f64::from(self.scale));
        let y = fill(cx, self.seed, |rng| mean + scale * rng.normal())?;
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { pure: self.seed.is_some(), ..Facts::default() }
    }
}

op! {
    RandomNormal in "ai.onnx" since [1, 22 brings "bf16"]; "" => "output";
    summary: "normal random numbers of a given shape";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// why: numbers depend on the generator; their count does not.
// run: @count() == 6
graph @count() -> i64[] {
  %0 = random_normal {shape = [2, 3], seed = 1.0}
  %1 = size %0
  return %1
}
"#;

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
