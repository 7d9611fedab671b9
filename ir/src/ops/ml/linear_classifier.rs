//! Scores `transform(x Wᵀ + b)` and the label of the largest.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** the coefficients are rows of the features' length, one a class, with no or as many intercepts
//! - **C3** `post_transform` is known
//!
//! One row of coefficients with two labels stands for the second class; the scores are then `[-s, s]`. One row with one
//! label gives it where the score reaches 0.5 (0 without a transform), else 0 or the empty string.
//! ONNX `LinearClassifier` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::linear_regressor::linear;
use super::scores::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `LinearClassifier`.
    pub struct LinearClassifier {
        /// Integer labels.
        classlabels_ints: Vec<i64> = Vec::new(),
        /// String labels.
        classlabels_strings: Vec<String> = Vec::new(),
        /// Weights, row by row of the classes.
        coefficients: Vec<f32>,
        /// Added last.
        intercepts: Vec<f32> = Vec::new(),
        /// Not used: the shape of the coefficients says it.
        multi_class: i64 = 0,
        /// What is done with a row of scores: `NONE`, `SOFTMAX`, `LOGISTIC`, `SOFTMAX_ZERO` or `PROBIT`.
        post_transform: String = "NONE",
    }
}

impl LinearClassifier {
    fn labels(&self) -> Labels<'_> {
        Labels { ints: &self.classlabels_ints, strings: &self.classlabels_strings }
    }

    /// Rows of coefficients for `f` features.
    fn classes(&self, f: usize) -> usize {
        self.coefficients.len().checked_div(f).unwrap_or(0)
    }

    /// Scores of a row that has so many rows of coefficients.
    fn width(&self, k: usize) -> usize {
        if k == 1 && self.labels().len() == 2 { 2 } else { k }
    }
}

impl Op for LinearClassifier {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, f) = rows_rule(cx, "C1", FEATURES)?;
        let Some(features) = f.as_int() else { return Err(Stop::Deferred("the number of features")) };
        let k = self.classes(features.max(0) as usize);
        let whole = k >= 1 && k as i64 * features == self.coefficients.len() as i64;
        let b = self.intercepts.len();
        cx.require("C2", whole && (b == 0 || b == k), || {
            format!("{} coefficients and {b} intercepts for {features} features", self.coefficients.len())
        })?;
        require_transform(cx, "C3", &self.post_transform)?;
        let width = self.width(k);
        cx.output(self.labels().dtype(), vec![n.clone()])?;
        cx.output(DType::F32, vec![n, Dim::from(width)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, f, x) = rows(cx.tensor(0)?)?;
        let k = self.classes(f);
        let (labels, width) = (self.labels(), self.width(k));
        let mut all = Vec::new();
        let mut classes = Vec::new();
        for s in linear(&x, f, &self.coefficients, &self.intercepts, k).chunks_exact(k) {
            let mut row = if width > k { vec![-s[0], s[0]] } else { s.to_vec() };
            transform(&self.post_transform, &mut row);
            classes.push(arg_max(&row));
            all.push(row);
        }
        let y = if width == 1 {
            let least = if self.post_transform == "NONE" { 0.0 } else { 0.5 };
            let on: Vec<bool> = all.iter().map(|r| r[0] >= least).collect();
            match (labels.ints.first(), labels.strings.first()) {
                (_, Some(s)) => {
                    let s: Arc<str> = s.as_str().into();
                    Tensor::from_strings(
                        &[on.len()],
                        on.iter().map(|&b| if b { s.clone() } else { "".into() }).collect(),
                    )
                }
                (v, None) => {
                    let v: Vec<i64> = on.iter().map(|&b| if b { v.copied().unwrap_or(1) } else { 0 }).collect();
                    Tensor::from_slice(&[v.len()], &v)
                }
            }
        } else {
            labels.tensor(&classes)?
        };
        let n = all.len();
        cx.push(y);
        cx.push(Tensor::from_floats(DType::F32, &[n, width], all.concat()));
        Ok(())
    }
}

op! {
    LinearClassifier in "ai.onnx.ml" since [1]; "X" => "Y, Z";
    summary: "linear classification";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_linear_classifier([[1.0, 2.0]]) == [7], [[1.5, 1.5]]
graph @ml_linear_classifier(%a: f32[1, 2]) -> (i64[1], f32[1, 2]) {
  %y, %z = ml.linear_classifier %a {classlabels_ints = [7, 8], coefficients = [1.0, 0.0, 0.0, 1.0], intercepts = [0.5, -0.5]} : i64[1], f32[1, 2]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn linear_classifier_of_two_classes_by_one_row() {
        let x = Tensor::from_slice(&[2, 1], &[1f32, -2.0]);
        let a = attrs! { coefficients: Attr::Floats(vec![1.0]), classlabels_ints: vec![7i64, 8] };
        let y = run("ai.onnx.ml", "LinearClassifier", a, &[Some(x.into())], 2).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[2], &[8i64, 7]).into());
        assert_eq!(y[1], Tensor::from_slice(&[2, 2], &[-1f32, 1.0, 2.0, -2.0]).into());
        // Of no rows as well.
        let x = Tensor::from_slice::<f32>(&[0, 1], &[]);
        let a = attrs! { coefficients: Attr::Floats(vec![1.0]), classlabels_ints: vec![7i64, 8] };
        let y = run("ai.onnx.ml", "LinearClassifier", a, &[Some(x.into())], 2).unwrap();
        assert_eq!(y[1], Tensor::from_slice::<f32>(&[0, 2], &[]).into());
    }

    #[test]
    fn linear_classifier_c2_wants_whole_rows() {
        let x = Tensor::from_slice(&[1, 2], &[1f32, 2.0]);
        let a = attrs! { coefficients: Attr::Floats(vec![1.0, 2.0, 3.0]) };
        let e = run("ai.onnx.ml", "LinearClassifier", a, &[Some(x.into())], 2).unwrap_err();
        assert_eq!(e.label(), Some("LinearClassifier.C2"));
    }
}
