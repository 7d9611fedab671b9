//! `y = transform(x Wᵀ + b)`, as `f32[n, targets]`.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** there are `targets` times the features' number of coefficients, and no or `targets` intercepts
//! - **C3** `post_transform` is known
//!
//! ONNX `LinearRegressor` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::scores::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `LinearRegressor`.
    pub struct LinearRegressor {
        /// Weights, row by row of the targets.
        coefficients: Vec<f32> = Vec::new(),
        /// Added last.
        intercepts: Vec<f32> = Vec::new(),
        /// What is done with a row of results: `NONE`, `SOFTMAX`, `LOGISTIC`, `SOFTMAX_ZERO` or `PROBIT`.
        post_transform: String = "NONE",
        /// Number of results a row.
        targets: i64 = 1,
    }
}

/// `x Wᵀ + b` for `x: [n, f]`, `w: [t, f]`.
pub(super) fn linear(x: &[f64], f: usize, w: &[f32], b: &[f32], t: usize) -> Vec<f64> {
    let dot = |row: &[f64], k: usize| {
        let w = &w[k * f..(k + 1) * f];
        row.iter().zip(w).map(|(a, b)| a * f64::from(*b)).sum::<f64>() + b.get(k).map_or(0.0, |&b| f64::from(b))
    };
    x.chunks_exact(f.max(1)).flat_map(|row| (0..t).map(move |k| dot(row, k)).collect::<Vec<_>>()).collect()
}

impl Op for LinearRegressor {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, f) = rows_rule(cx, "C1", FEATURES)?;
        cx.require("C2", self.targets >= 1, || format!("`targets` is {}", self.targets))?;
        cx.require_eq("C2", &(&f * self.targets), &Dim::from(self.coefficients.len()))?;
        let b = self.intercepts.len();
        cx.require("C2", b == 0 || b as i64 == self.targets, || format!("{b} intercepts"))?;
        require_transform(cx, "C3", &self.post_transform)?;
        cx.output(DType::F32, vec![n, Dim::int(self.targets)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let (_, f, x) = rows(cx.tensor(0)?)?;
        let mut y = linear(&x, f, &self.coefficients, &self.intercepts, shape[1]);
        y.resize(shape[0] * shape[1], 0.0);
        y.chunks_mut(shape[1]).for_each(|row| transform(&self.post_transform, row));
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }
}

op! {
    LinearRegressor in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "linear regression";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_linear_regressor([[1.0, 2.0]]) == [[5.5]]
graph @ml_linear_regressor(%a: f32[1, 2]) -> f32[1, 1] {
  %y = ml.linear_regressor %a {coefficients = [0.5, 2.0], intercepts = [1.0]} : f32[1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn linear_regressor_adds_intercepts() {
        let x = Tensor::from_slice(&[1, 2], &[1f32, 2.0]);
        let a = |b: Vec<f32>| {
            let w = Attr::Floats(vec![1.0, 1.0, 0.0, 3.0]);
            attrs! { coefficients: w, intercepts: Attr::Floats(b), targets: 2i64 }
        };
        let go = |b| run("ai.onnx.ml", "LinearRegressor", a(b), &[Some(x.clone().into())], 1);
        assert_eq!(go(vec![1.0, 0.0]).unwrap()[0], Tensor::from_slice(&[1, 2], &[4f32, 6.0]).into());
        assert_eq!(go(vec![1.0]).unwrap_err().label(), Some("LinearRegressor.C2"));
    }
}
