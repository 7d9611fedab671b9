//! `y`: random numbers of the normal distribution of mean `mean` and standard deviation `scale`, of the shape of `x`.
//!
//! - **C1** `dtype`, or else the type of `x`, is a float
//!
//! Only the shape and the type of `x` are used. ONNX `RandomNormalLike`: opset 1, 22 (bfloat16).

use super::common::*;
use super::random::fill;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `RandomNormalLike`.
    pub struct RandomNormalLike {
        /// Element type of the result; without it that of `x`.
        dtype: Option<DType>,
        /// Mean.
        mean: f32 = 0.0f32,
        /// Standard deviation.
        scale: f32 = 1.0f32,
        /// Seed; without it each run differs.
        seed: Option<f32>,
    }
}

impl Op for RandomNormalLike {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = self.dtype.map_or_else(|| cx.dtype(0), Ok)?;
        cx.require("C1", sets::FLOATS.contains(&dtype), || format!("the result's type is {dtype}"))?;
        cx.output(dtype, cx.shape(0)?)
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
    RandomNormalLike in "ai.onnx" since [1, 22 brings "bf16"]; "input" => "output";
    summary: "normal random numbers of the shape of another tensor";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// why: numbers depend on the generator; their count does not.
// run: @count([1.0, 2.0]) == 2
graph @count(%x: f32[2]) -> i64[] {
  %0 = random_normal_like %x {seed = 1.0}
  %1 = size %0
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn random_normal_like_takes_shape_and_type() {
        let y =
            run1("RandomNormalLike", attrs! { dtype: DType::F16 }, &[Tensor::from_slice(&[1, 2], &[1i32, 2])]).unwrap();
        assert_eq!((y.dtype(), y.shape()), (DType::F16, &[1, 2][..]));
    }

    #[test]
    fn random_normal_like_c1_names_the_types() {
        let label = violated("RandomNormalLike", attrs! {}, &[Type::tensor(DType::I32, &[1])]);
        assert_eq!(label.as_deref(), Some("RandomNormalLike.C1"));
    }
}
