//! `y[b, i]`: a class drawn with probability proportional to `e^x[b, class]`, `sample_size` times for each row.
//!
//! - **C1** `x` is a float, `dtype` `i32` or `i64`
//! - **C2** `x` has rank 2 and at least one class
//! - **C3** `sample_size` is not negative
//!
//! ONNX `Multinomial`: opset 7, 22 (bfloat16).

use super::common::*;
use super::random::Rng;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Multinomial`.
    pub struct Multinomial {
        /// Element type of the result.
        dtype: DType = DType::I32,
        /// Draws a row.
        sample_size: Dim = Dim::int(1),
        /// Seed; without it each run differs.
        seed: Option<f32>,
    }
}

impl Op for Multinomial {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        cx.require("C1", sets::INDEX.contains(&self.dtype), || format!("dtype is {}", self.dtype))?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() == 2, || format!("the operand has rank {}", x.len()))?;
        cx.require_that("C2", Cond::le(&Dim::int(1), &x[1]))?;
        cx.require_that("C3", Cond::le(&Dim::int(0), &self.sample_size))?;
        cx.output(self.dtype, vec![x[0].clone(), self.sample_size.clone()])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let mut rng = Rng::new(cx.env, self.seed);
        let v = x.floats()?;
        let mut y = Vec::with_capacity(shape.iter().product());
        for row in v.chunks_exact(x.shape()[1].max(1)) {
            let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = row.iter().map(|v| (v - greatest).exp()).collect();
            let total: f64 = weights.iter().sum();
            if !(total.is_finite() && total > 0.0) {
                return Err(Error::invalid("the probabilities of a row are not finite"));
            }
            for _ in 0..shape[1] {
                let mut rest = rng.uniform() * total;
                let drawn = weights.iter().position(|w| {
                    rest -= w;
                    rest < 0.0
                });
                // Rounding may leave a rest: the last class that is possible.
                let last = weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
                y.push(drawn.unwrap_or(last) as i128);
            }
        }
        cx.push(Tensor::from_ints(dtype, &shape, y));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { pure: self.seed.is_some(), ..Facts::default() }
    }
}

op! {
    Multinomial in "ai.onnx" since [7, 22 brings "bf16"]; "input" => "output";
    summary: "classes drawn by unnormalised log-probabilities";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// why: where one class has all the weight nothing is left to chance.
// run: @certain([[-1000.0, 0.0]]) == [[1, 1, 1]]
graph @certain(%x: f32[1, 2]) -> i32[1, 3] {
  %0 = multinomial %x {sample_size = 3}
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn an_impossible_class_is_never_drawn() {
        let x = Tensor::from_slice(&[2, 2], &[0.0f32, f32::NEG_INFINITY, f32::NEG_INFINITY, 3.0]);
        let y = run1("Multinomial", attrs! { sample_size: 3i64 }, &[x]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[0i32, 0, 0, 1, 1, 1]));
    }

    #[test]
    fn multinomial_constraints_are_named() {
        let label = |a, d, s: &[usize]| violated("Multinomial", a, &[Type::tensor(d, s)]);
        assert_eq!(label(attrs! {}, DType::I32, &[1, 1]).as_deref(), Some("Multinomial.C1"));
        assert_eq!(label(attrs! {}, DType::F32, &[1]).as_deref(), Some("Multinomial.C2"));
        assert_eq!(label(attrs! { sample_size: -1i64 }, DType::F32, &[1, 1]).as_deref(), Some("Multinomial.C3"));
    }
}
