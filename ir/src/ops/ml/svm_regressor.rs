//! `Y[n, 0] = transform(Σ_j coefficients[j] K(x_n, v_j) + rho)`; with `one_class` 1 where the sum is positive, else -1.
//!
//! - **C1** `X` is `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** there are `n_supports` vectors `v` as long as a row of `X` and as many coefficients; with `n_supports` 0 the
//!   coefficients are one vector, and the kernel is `LINEAR`; `rho` is given
//! - **C3** `post_transform` is known
//! - **C4** `kernel_type` is known and `kernel_params`, where given, has three entries
//!
//! ONNX Runtime leaves `post_transform` out. ONNX `SVMRegressor` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::scores::*;
use super::svm::Kernel;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `SVMRegressor`.
    pub struct SvmRegressor {
        /// One a support vector, or one a feature.
        coefficients: Vec<f32> = Vec::new(),
        /// Gamma, coef0 and degree.
        kernel_params: Vec<f32> = Vec::new(),
        /// `LINEAR`, `POLY`, `RBF` or `SIGMOID`.
        kernel_type: String = "LINEAR",
        /// Number of support vectors.
        n_supports: i64 = 0i64,
        /// Whether only the sign of the sum counts.
        one_class: bool = false,
        /// What is done with the sum: `NONE`, `SOFTMAX`, `LOGISTIC`, `SOFTMAX_ZERO` or `PROBIT`.
        post_transform: String = "NONE",
        /// Added to the sum.
        rho: Vec<f32> = Vec::new(),
        /// The support vectors, one after the other.
        support_vectors: Vec<f32> = Vec::new(),
    }
}

impl Op for SvmRegressor {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, f) = rows_rule(cx, "C1", FEATURES)?;
        let Some(f) = f.as_int() else { return Err(Stop::Deferred("the number of features")) };
        let (vectors, coefficients) = match self.n_supports {
            0 => (0, Some(f)),
            n => (n, Some(n)),
        };
        let fits = vectors >= 0
            && vectors.checked_mul(f) == Some(if vectors == 0 { 0 } else { self.support_vectors.len() as i64 })
            && coefficients == Some(self.coefficients.len() as i64);
        cx.require("C2", fits && !self.rho.is_empty(), || {
            format!(
                "{} elements of {vectors} vectors, {} coefficients and {} rho for {f} features",
                self.support_vectors.len(),
                self.coefficients.len(),
                self.rho.len()
            )
        })?;
        require_transform(cx, "C3", &self.post_transform)?;
        Kernel::rule(cx, "C4", &self.kernel_type, &self.kernel_params)?;
        cx.output(DType::F32, vec![n, Dim::ONE])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let (n, f, x) = rows(cx.tensor(0)?)?;
        let kernel = Kernel::of(&self.kernel_type, &self.kernel_params).ok_or_else(|| Error::bug("a known kernel"))?;
        let rho = self.rho.first().map_or(0.0, |&v| f64::from(v));
        let mut y = Vec::with_capacity(n);
        for r in 0..n {
            cx.env.check()?;
            let row = &x[r * f..(r + 1) * f];
            let mut sum = rho;
            if self.n_supports == 0 {
                sum += Kernel::Linear.of_vectors(row, &self.coefficients);
            }
            for j in 0..self.n_supports as usize {
                let v = &self.support_vectors[j * f..(j + 1) * f];
                sum += f64::from(self.coefficients[j]) * kernel.of_vectors(row, v);
            }
            let mut score = [if !self.one_class {
                sum
            } else if sum > 0.0 {
                1.0
            } else {
                -1.0
            }];
            transform(&self.post_transform, &mut score);
            y.push(score[0]);
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }
}

op! {
    SvmRegressor as "SVMRegressor" in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "regression by support vectors";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @line([[3.0]]) == [[7.0]]
graph @line(%x: f32[1, 1]) -> f32[1, 1] {
  %y = ml.svm_regressor %x {coefficients = [2.0], rho = [1.0]} : f32[1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn go(a: crate::Attrs, x: &[f32]) -> Result<Tensor> {
        let x = Tensor::from_slice(&[x.len() / 2, 2], x);
        run("ai.onnx.ml", "SVMRegressor", a, &[Some(x.into())], 1)?[0].tensor().cloned()
    }

    fn attributes(n: i64, rho: &[f32]) -> crate::Attrs {
        attrs! {
            n_supports: n, rho: Attr::Floats(rho.to_vec()), coefficients: Attr::Floats(vec![2.0, -1.0]),
            support_vectors: Attr::Floats(vec![1.0, 0.0, 0.0, 1.0]), kernel_type: "POLY",
            kernel_params: Attr::Floats(vec![1.0, 0.0, 2.0]),
        }
    }

    #[test]
    fn svm_regressor_sums_kernels() {
        assert_eq!(go(attributes(2, &[0.5]), &[3.0, 1.0]).unwrap(), Tensor::from_slice(&[1, 1], &[17.5f32]));
        let linear =
            attrs! { rho: Attr::Floats(vec![0.5]), coefficients: Attr::Floats(vec![2.0, -1.0]), one_class: true };
        assert_eq!(go(linear, &[3.0, 1.0, -3.0, 1.0]).unwrap(), Tensor::from_slice(&[2, 1], &[1.0f32, -1.0]));
    }

    #[test]
    fn svm_regressor_constraints_are_named() {
        let label = |a| go(a, &[1.0, 2.0]).unwrap_err().label().map(str::to_owned);
        let name = |n| Some(format!("SVMRegressor.C{n}"));
        let text = Tensor::from_strings(&[1], vec!["".into()]);
        let e = run("ai.onnx.ml", "SVMRegressor", attributes(2, &[0.0]), &[Some(text.into())], 1).unwrap_err();
        assert_eq!(e.label(), Some("SVMRegressor.C1"));
        assert_eq!(label(attributes(3, &[0.5])), name(2));
        assert_eq!(label(attributes(2, &[])), name(2));
        let with = |key: &str, v: &str| {
            let mut a = attributes(2, &[0.5]);
            a.insert(key.into(), Attr::from(v));
            a
        };
        assert_eq!(label(with("post_transform", "X")), name(3));
        assert_eq!(label(with("kernel_type", "X")), name(4));
    }
}
