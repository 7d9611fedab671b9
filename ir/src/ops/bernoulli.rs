//! `y = 1` with probability `p`, else 0, for each element `p` of the operand.
//!
//! - **C1** the probabilities are floats
//! - **C2** the result's type, `dtype` or that of the operand, is a number or bool
//!
//! A probability outside `[0, 1]` counts as the nearer end, NaN as 0. ONNX `Bernoulli`: opset 15, 22 (bfloat16).

use super::common::*;
use super::random::Rng;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Bernoulli`.
    pub struct Bernoulli {
        /// Element type of the result; without it that of the operand.
        dtype: Option<DType>,
        /// Seed; without it each run differs.
        seed: Option<f32>,
    }
}

impl Op for Bernoulli {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = self.dtype.unwrap_or(cx.require_dtype("C1", 0, sets::FLOATS)?);
        let allowed = sets::NUMBERS.contains(&dtype) || dtype == DType::Bool;
        cx.require("C2", allowed, || format!("the result's type is {dtype}"))?;
        cx.output(dtype, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let mut rng = Rng::new(cx.env, self.seed);
        let p = cx.tensor(0)?.floats()?;
        let y = p.into_iter().map(|p| i128::from(rng.chance(p)));
        cx.push(Tensor::from_ints(dtype, &shape, y));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { pure: self.seed.is_some(), ..Facts::default() }
    }
}

op! {
    Bernoulli in "ai.onnx" since [15, 22 brings "bf16"]; "input" => "output";
    summary: "ones with given probabilities";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// why: probabilities 0 and 1 leave nothing to chance.
// run: @certain([0.0, 1.0, 1.0]) == [0.0, 1.0, 1.0]
graph @certain(%x: f32[3]) -> f32[3] {
  %0 = bernoulli %x
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn certain_and_impossible_events() {
        let p = Tensor::from_slice(&[3], &[0.0f32, 1.0, f32::NAN]);
        let y = run1("Bernoulli", attrs! { dtype: DType::Bool }, &[p]).unwrap();
        assert_eq!(y, Tensor::from_bools(&[3], [false, true, false]));
    }

    #[test]
    fn bernoulli_constraints_are_named() {
        let label = |a, d| violated("Bernoulli", a, &[Type::tensor(d, &[1])]);
        assert_eq!(label(attrs! {}, DType::I32).as_deref(), Some("Bernoulli.C1"));
        assert_eq!(label(attrs! { dtype: DType::String }, DType::F32).as_deref(), Some("Bernoulli.C2"));
    }
}
