//! What the classifiers and regressors share: rows of features, class labels, transforms of scores.

use super::super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Numbers that the classical operators take.
pub const FEATURES: &[DType] = &[DType::F32, DType::F64, DType::I64, DType::I32];

/// Batch and features of an operand `T[n, f]` or `T[f]` (one row).
pub fn rows_rule(cx: &mut RuleCx<'_>, label: &'static str, allowed: &[DType]) -> RuleResult<(Dim, Dim)> {
    cx.require_dtype(label, 0, allowed)?;
    let shape = cx.shape(0)?;
    match shape.as_slice() {
        [f] => Ok((Dim::int(1), f.clone())),
        [n, f] => Ok((n.clone(), f.clone())),
        _ => {
            cx.require(label, false, || format!("rows of features have rank 1 or 2, not {}", shape.len()))?;
            Ok((Dim::int(0), Dim::int(0)))
        }
    }
}

/// Number of rows and the features row by row.
///
/// # Errors
/// For elements that are no real numbers.
pub fn rows(x: &Tensor) -> Result<(usize, usize, Vec<f64>)> {
    let f = x.shape().last().copied().unwrap_or(1);
    let n = if x.rank() < 2 { 1 } else { x.shape()[0] };
    Ok((n, f, x.floats()?))
}

/// Names of the transforms of scores.
pub const TRANSFORMS: &[&str] = &["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];

/// Requires a known transform of scores.
pub fn require_transform(cx: &RuleCx<'_>, label: &'static str, name: &str) -> RuleResult {
    cx.require(label, TRANSFORMS.contains(&name), || format!("post_transform `{name}` is not known"))
}

/// `1 / (1 + exp(-v))`.
pub fn logistic(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

/// Inverse of the normal distribution function by Winitzki's formula for the inverse error function, which ONNX's
/// runtimes use.
fn probit(v: f64) -> f64 {
    let x = 2.0 * v - 1.0;
    let square = (1.0 - x) * (1.0 + x);
    if square == 0.0 {
        return f64::INFINITY.copysign(x);
    }
    let log = square.ln();
    let a = 2.0 / (std::f64::consts::PI * 0.147) + 0.5 * log;
    std::f64::consts::SQRT_2 * x.signum() * ((a * a - log / 0.147).sqrt() - a).sqrt()
}

/// Transforms one row of scores.
pub fn transform(name: &str, row: &mut [f64]) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match name {
        "LOGISTIC" => row.iter_mut().for_each(|v| *v = logistic(*v)),
        "PROBIT" => row.iter_mut().for_each(|v| *v = probit(*v)),
        "SOFTMAX" => {
            row.iter_mut().for_each(|v| *v = (*v - most).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum);
        }
        "SOFTMAX_ZERO" => {
            // Scores that are zero stay (nearly) zero instead of taking part; the bound is ONNX Runtime's.
            row.iter_mut().for_each(|v| *v = if v.abs() > 1e-7 { (*v - most).exp() } else { *v * (-most).exp() });
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v = if sum == 0.0 { 0.5 } else { *v / sum });
        }
        _ => {}
    }
}

/// Class labels, integers or strings.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Integer labels.
    pub ints: &'a [i64],
    /// String labels.
    pub strings: &'a [String],
}

impl Labels<'_> {
    /// Number of classes.
    pub fn len(&self) -> usize {
        self.ints.len().max(self.strings.len())
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type of labels.
    pub fn dtype(&self) -> DType {
        if self.strings.is_empty() { DType::I64 } else { DType::String }
    }

    /// The labels of classes given by number; a number is its own label where there are none.
    ///
    /// # Errors
    /// When a class has no label.
    pub fn tensor(&self, classes: &[usize]) -> Result<Tensor> {
        let missing = |c: usize| Error::invalid(format!("class {c} has no label"));
        if self.strings.is_empty() {
            let label = |&c: &usize| match self.ints.get(c) {
                Some(&v) => Ok(v),
                None if self.ints.len() <= 1 => Ok(c as i64),
                None => Err(missing(c)),
            };
            let v = classes.iter().map(label).collect::<Result<Vec<_>>>()?;
            return Ok(Tensor::from_slice(&[v.len()], &v));
        }
        let label = |&c: &usize| self.strings.get(c).map(|s| Arc::from(s.as_str())).ok_or_else(|| missing(c));
        let v = classes.iter().map(label).collect::<Result<Vec<Arc<str>>>>()?;
        Ok(Tensor::from_strings(&[v.len()], v))
    }
}

/// The first largest entry.
pub fn arg_max(row: &[f64]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_of_scores() {
        let go = |name: &str, v: &[f64]| {
            let mut row = v.to_vec();
            transform(name, &mut row);
            row
        };
        assert_eq!(go("LOGISTIC", &[0.0]), [0.5]);
        assert_eq!(go("SOFTMAX", &[1.0, 1.0]), [0.5, 0.5]);
        assert_eq!(go("SOFTMAX_ZERO", &[0.0, 3.0]), [0.0, 1.0]);
        assert!((go("PROBIT", &[0.975])[0] - 1.96).abs() < 5e-3);
        assert_eq!(go("PROBIT", &[0.0, 1.0]), [f64::NEG_INFINITY, f64::INFINITY]);
    }
}
