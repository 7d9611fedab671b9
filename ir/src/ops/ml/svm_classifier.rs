//! Classes by support vectors: one machine a pair of classes, `s_ij = Σ coefficients K(x, v) + rho_ij` over the vectors of
//! both, a vote for `i` where `s_ij > 0`, else for `j`; the label is the first with most votes.
//!
//! `Z` is the row of all `s_ij` (`[-s, s]` for two classes), or with `prob_a` and `prob_b` one probability a class.
//! Without `vectors_per_class` a class has one row of coefficients, `s_i = coefficients_i · x + rho`, and the label is
//! that of the first largest score.
//!
//! - **C1** `X` is `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** there is a label a class; `support_vectors`, `coefficients`, `rho` and the probability coefficients have the
//!   lengths that the classes, their vectors and the features ask for
//! - **C3** `post_transform` is known
//! - **C4** `kernel_type` is known and `kernel_params`, where given, has three entries
//!
//! The transform meets `[-s, s]` of two classes as it would any row, as ONNX's reference says; one score alone (one class,
//! or `PROBIT` of two) stays one column. Probabilities of pairs are coupled as in LIBSVM (Wu, Lin, Weng, JMLR 5 (2004),
//! second method), as ONNX Runtime does. ONNX Runtime and ONNX's reference treat labels of two classes without
//! probabilities by rules on the signs of all coefficients in which they differ; here votes and scores decide.
//! ONNX `SVMClassifier` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::scores::*;
use super::svm::Kernel;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `SVMClassifier`.
    pub struct SvmClassifier {
        /// Integer labels.
        classlabels_ints: Vec<i64> = Vec::new(),
        /// String labels.
        classlabels_strings: Vec<String> = Vec::new(),
        /// Row `j` of one number a vector: its weight against the `j`-th other class.
        coefficients: Vec<f32> = Vec::new(),
        /// Gamma, coef0 and degree.
        kernel_params: Vec<f32> = Vec::new(),
        /// `LINEAR`, `POLY`, `RBF` or `SIGMOID`.
        kernel_type: String = "LINEAR",
        /// What is done with a row of scores: `NONE`, `SOFTMAX`, `LOGISTIC`, `SOFTMAX_ZERO` or `PROBIT`.
        post_transform: String = "NONE",
        /// Slopes of the pairs' probabilities.
        prob_a: Vec<f32> = Vec::new(),
        /// Offsets of the pairs' probabilities.
        prob_b: Vec<f32> = Vec::new(),
        /// Added to the sum of each pair.
        rho: Vec<f32> = Vec::new(),
        /// The support vectors, class by class.
        support_vectors: Vec<f32> = Vec::new(),
        /// Number of support vectors of each class.
        vectors_per_class: Vec<i64> = Vec::new(),
    }
}

impl SvmClassifier {
    fn labels(&self) -> Labels<'_> {
        Labels { ints: &self.classlabels_ints, strings: &self.classlabels_strings }
    }

    /// Whether there are support vectors; rows of coefficients alone otherwise.
    fn has_vectors(&self) -> bool {
        self.vectors_per_class.iter().any(|&n| n != 0)
    }

    /// Whether scores are turned into probabilities.
    fn has_probabilities(&self) -> bool {
        self.has_vectors() && !self.prob_a.is_empty()
    }

    /// Columns of the scores.
    fn width(&self) -> usize {
        let k = self.labels().len();
        let pairs = k * k.saturating_sub(1) / 2;
        match (self.has_vectors() && !self.has_probabilities(), pairs) {
            (true, 1) if self.post_transform != "PROBIT" => 2,
            (true, _) => pairs,
            (false, _) => k,
        }
    }

    /// What is wrong with the attributes' lengths for `f` features.
    fn misfit(&self, f: usize) -> Option<String> {
        let k = self.labels().len();
        let said = |what: &str, have: usize, want: Option<usize>| {
            (want != Some(have)).then(|| match want {
                Some(want) => format!("`{what}` has {have} elements, {want} are wanted"),
                None => format!("`{what}` would be too large"),
            })
        };
        if k == 0 {
            return Some("there is no label".into());
        }
        if self.rho.is_empty() {
            return Some("`rho` is empty".into());
        }
        if !self.has_vectors() {
            return said("coefficients", self.coefficients.len(), k.checked_mul(f));
        }
        if k < 2 || self.vectors_per_class.len() != k {
            return Some(format!("{k} labels and `vectors_per_class` of {}", self.vectors_per_class.len()));
        }
        let add = |a: usize, &n: &i64| usize::try_from(n).ok().and_then(|n| a.checked_add(n));
        let Some(vectors) = self.vectors_per_class.iter().try_fold(0, add) else {
            return Some(format!("`vectors_per_class` is {:?}", self.vectors_per_class));
        };
        let pairs = k * (k - 1) / 2;
        said("support_vectors", self.support_vectors.len(), vectors.checked_mul(f))
            .or_else(|| said("coefficients", self.coefficients.len(), (k - 1).checked_mul(vectors)))
            .or_else(|| said("rho", self.rho.len(), Some(pairs)))
            .or_else(|| said("prob_b", self.prob_b.len(), Some(self.prob_a.len())))
            .or_else(|| if self.prob_a.is_empty() { None } else { said("prob_a", self.prob_a.len(), Some(pairs)) })
    }

    /// Scores and number of the class that wins, for one row.
    fn machines(&self, kernel: Kernel, row: &[f64]) -> (Vec<f64>, usize) {
        let (k, f) = (self.labels().len(), row.len());
        if !self.has_vectors() {
            let rows = (0..k).map(|i| &self.coefficients[i * f..(i + 1) * f]);
            let scores: Vec<f64> = rows.map(|c| Kernel::Linear.of_vectors(row, c) + f64::from(self.rho[0])).collect();
            let class = arg_max(&scores);
            return (scores, class);
        }
        let mut starts = vec![0];
        for &n in &self.vectors_per_class {
            starts.push(starts[starts.len() - 1] + n as usize);
        }
        let vectors = starts[k];
        let kernels: Vec<f64> =
            (0..vectors).map(|v| kernel.of_vectors(row, &self.support_vectors[v * f..(v + 1) * f])).collect();
        // Weighted kernels of class `of` in its machine against the class that stands at `other` among the others.
        let part = |of: usize, other: usize| -> f64 {
            (starts[of]..starts[of + 1]).map(|v| f64::from(self.coefficients[other * vectors + v]) * kernels[v]).sum()
        };
        let mut votes = vec![0.0; k];
        let mut scores = Vec::new();
        for i in 0..k {
            for j in i + 1..k {
                let s = f64::from(self.rho[scores.len()]) + part(i, j - 1) + part(j, i);
                votes[if s > 0.0 { i } else { j }] += 1.0;
                scores.push(s);
            }
        }
        (scores, arg_max(&votes))
    }

    /// One probability a class from the scores of the pairs.
    fn probabilities(&self, scores: &[f64]) -> Vec<f64> {
        let k = self.labels().len();
        let mut r = vec![0.0; k * k];
        let mut at = 0;
        for i in 0..k {
            for j in i + 1..k {
                let p = 1.0 - logistic(scores[at] * f64::from(self.prob_a[at]) + f64::from(self.prob_b[at]));
                let p = p.clamp(1e-7, 1.0 - 1e-7);
                (r[i * k + j], r[j * k + i]) = (p, 1.0 - p);
                at += 1;
            }
        }
        couple(&r, k)
    }
}

/// Class probabilities that agree best with those of pairs, `r[i, j] = P(i | i or j)`: the second method of Wu, Lin and
/// Weng as in LIBSVM, with its bounds on steps (`max(100, k)`) and error (`0.005 / k`).
fn couple(r: &[f64], k: usize) -> Vec<f64> {
    let mut q = vec![0.0; k * k];
    for t in 0..k {
        for j in (0..k).filter(|&j| j != t) {
            q[t * k + t] += r[j * k + t] * r[j * k + t];
            q[t * k + j] = -r[j * k + t] * r[t * k + j];
        }
    }
    let mut p = vec![1.0 / k as f64; k];
    for _ in 0..k.max(100) {
        let mut qp: Vec<f64> = (0..k).map(|t| (0..k).map(|j| q[t * k + j] * p[j]).sum()).collect();
        let mut pqp: f64 = p.iter().zip(&qp).map(|(a, b)| a * b).sum();
        let error = qp.iter().map(|v| (v - pqp).abs()).fold(0.0, f64::max);
        if error < 0.005 / k as f64 {
            break;
        }
        for t in 0..k {
            let step = (pqp - qp[t]) / q[t * k + t];
            p[t] += step;
            pqp = (pqp + step * (step * q[t * k + t] + 2.0 * qp[t])) / (1.0 + step) / (1.0 + step);
            for j in 0..k {
                qp[j] = (qp[j] + step * q[t * k + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

impl Op for SvmClassifier {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, f) = rows_rule(cx, "C1", FEATURES)?;
        let Some(f) = f.as_int() else { return Err(Stop::Deferred("the number of features")) };
        let misfit = self.misfit(f.max(0) as usize);
        cx.require("C2", misfit.is_none(), || misfit.unwrap_or_default())?;
        require_transform(cx, "C3", &self.post_transform)?;
        Kernel::rule(cx, "C4", &self.kernel_type, &self.kernel_params)?;
        cx.output(self.labels().dtype(), vec![n.clone()])?;
        cx.output(DType::F32, vec![n, Dim::from(self.width())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (n, f, x) = rows(cx.tensor(0)?)?;
        let kernel = Kernel::of(&self.kernel_type, &self.kernel_params).ok_or_else(|| Error::bug("a known kernel"))?;
        let width = self.width();
        let mut classes = Vec::with_capacity(n);
        let mut all = Vec::with_capacity(n * width);
        for r in 0..n {
            cx.env.check()?;
            let (mut row, class) = self.machines(kernel, &x[r * f..(r + 1) * f]);
            classes.push(class);
            if self.has_probabilities() {
                row = self.probabilities(&row);
            } else if width == 2 && row.len() == 1 {
                row = vec![-row[0], row[0]];
            }
            if row.len() > 1 || self.post_transform == "PROBIT" {
                transform(&self.post_transform, &mut row);
            }
            all.append(&mut row);
        }
        cx.push(self.labels().tensor(&classes)?);
        cx.push(Tensor::from_floats(DType::F32, &[n, width], all));
        Ok(())
    }
}

op! {
    SvmClassifier as "SVMClassifier" in "ai.onnx.ml" since [1]; "X" => "Y, Z";
    summary: "classification by support vectors";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @classes([[2.0, 1.0]]) == [3], [[2.0, 1.0]]
graph @classes(%x: f32[1, 2]) -> (i64[1], f32[1, 2]) {
  %y, %z = ml.svm_classifier %x {classlabels_ints = [3, 4], coefficients = [1.0, 0.0, 0.0, 1.0], rho = [0.0]} : i64[1], f32[1, 2]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn floats(v: &[f32]) -> Attr {
        Attr::Floats(v.to_vec())
    }

    fn go(a: crate::Attrs, x: &[f32]) -> Result<(Tensor, Vec<f64>)> {
        let x = Tensor::from_slice(&[x.len(), 1], x);
        let y = run("ai.onnx.ml", "SVMClassifier", a, &[Some(x.into())], 2)?;
        Ok((y[0].tensor()?.clone(), y[1].tensor()?.floats()?))
    }

    /// Three classes around -1, 0 and 1, one vector each.
    fn three() -> crate::Attrs {
        attrs! {
            classlabels_ints: vec![7i64, 8, 9], vectors_per_class: vec![1i64, 1, 1], support_vectors: floats(&[-1.0, 0.0, 1.0]),
            coefficients: floats(&[1.0, -1.0, -1.0, 1.0, 1.0, -1.0]), rho: floats(&[0.0, 0.0, 0.0]), kernel_type: "RBF",
            kernel_params: floats(&[1.0, 0.0, 0.0]),
        }
    }

    #[test]
    fn svm_classifier_votes() {
        let (y, z) = go(three(), &[-1.0, 0.1, 2.0]).unwrap();
        assert_eq!(y.ints().unwrap(), [7, 8, 9]);
        assert_eq!(z.len(), 9);
        assert!((z[0] - (1.0 - (-1.0f64).exp())).abs() < 1e-6, "{z:?}");
    }

    #[test]
    fn svm_classifier_couples_probabilities() {
        let mut a = three();
        a.insert("prob_a".into(), floats(&[-4.0; 3]));
        a.insert("prob_b".into(), floats(&[0.0; 3]));
        let (_, z) = go(a, &[-1.0]).unwrap();
        assert!((z.iter().sum::<f64>() - 1.0).abs() < 1e-6 && z[0] > 0.7 && z[1] > z[2], "{z:?}");
    }

    #[test]
    fn svm_classifier_by_rows_of_coefficients() {
        let a = attrs! {
            classlabels_strings: Attr::Strings(vec!["a".into(), "b".into()]), coefficients: floats(&[1.0, -1.0]),
            rho: floats(&[0.5]),
        };
        let (y, z) = go(a, &[1.0, -1.0]).unwrap();
        assert_eq!(y, Tensor::from_strings(&[2], vec!["a".into(), "b".into()]));
        assert_eq!(z, [1.5, -0.5, -0.5, 1.5]);
    }

    #[test]
    fn svm_classifier_constraints_are_named() {
        let label = |a| go(a, &[1.0]).unwrap_err().label().map(str::to_owned);
        let name = |n| Some(format!("SVMClassifier.C{n}"));
        let text = Tensor::from_strings(&[1], vec!["".into()]);
        let e = run("ai.onnx.ml", "SVMClassifier", three(), &[Some(text.into())], 2).unwrap_err();
        assert_eq!(e.label(), Some("SVMClassifier.C1"));
        let with = |key: &str, v: Attr| {
            let mut a = three();
            a.insert(key.into(), v);
            a
        };
        for key in ["support_vectors", "coefficients", "rho", "prob_a"] {
            assert_eq!(label(with(key, floats(&[1.0]))), name(2), "{key}");
        }
        assert_eq!(label(with("vectors_per_class", vec![1i64, -1, 1].into())), name(2));
        assert_eq!(label(with("post_transform", "X".into())), name(3));
        assert_eq!(label(with("kernel_type", "X".into())), name(4));
    }
}
