//! Class scores by decision trees, `f32[n, classes]`, and the label of the largest.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 2
//! - **C2** arrays about nodes are equally long, and those about weights, which are of leaves; there is a label a
//!   class, and none or one base value a class (with two labels whose weights all name one class, one is enough)
//! - **C3** `post_transform` is known
//! - **C4** features of nodes that branch are columns of `x`
//! - **C5** tensors that stand for lists hold `f64` where `x` does, else `f32`
//!
//! Two labels whose weights all name one class: the score `s` is that of the second label. It is chosen where `s > 0.5`
//! with scores `[1 - s, s]`, or, where a weight is negative, where `s > 0` with scores `[-s, s]`, which are then transformed
//! (as ONNX Runtime does it; the specification is silent). Labels are chosen before the transform.
//! ONNX `TreeEnsembleClassifier` (ai.onnx.ml): opset 1, 3 (tensors), 5 (deprecated).

use super::super::common::*;
use super::scores::*;
use super::trees::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `TreeEnsembleClassifier`.
    pub struct TreeEnsembleClassifier {
        /// Integer labels.
        classlabels_int64s: Vec<i64> = Vec::new(),
        /// String labels.
        classlabels_strings: Vec<String> = Vec::new(),
        /// Feature of each node.
        nodes_featureids: Vec<i64> = Vec::new(),
        /// Where each node goes when its test fails.
        nodes_falsenodeids: Vec<i64> = Vec::new(),
        /// Not used: how often nodes are visited.
        nodes_hitrates: Vec<f32> = Vec::new(),
        /// Not used, as above.
        nodes_hitrates_as_tensor: Option<Tensor>,
        /// Whether NaN counts as holding, for each node.
        nodes_missing_value_tracks_true: Vec<i64> = Vec::new(),
        /// For each node `LEAF`, `BRANCH_LEQ`, `BRANCH_LT`, `BRANCH_GTE`, `BRANCH_GT`, `BRANCH_EQ` or `BRANCH_NEQ`.
        nodes_modes: Vec<String> = Vec::new(),
        /// Number of each node in its tree.
        nodes_nodeids: Vec<i64> = Vec::new(),
        /// Tree of each node.
        nodes_treeids: Vec<i64> = Vec::new(),
        /// Where each node goes when its test holds.
        nodes_truenodeids: Vec<i64> = Vec::new(),
        /// Threshold of each node.
        nodes_values: Vec<f32> = Vec::new(),
        /// The thresholds as a tensor.
        nodes_values_as_tensor: Option<Tensor>,
        /// Added to the scores.
        base_values: Vec<f32> = Vec::new(),
        /// The same as a tensor.
        base_values_as_tensor: Option<Tensor>,
        /// What is done with a row of scores: `NONE`, `SOFTMAX`, `LOGISTIC`, `SOFTMAX_ZERO` or `PROBIT`.
        post_transform: String = "NONE",
        /// Class of each weight.
        class_ids: Vec<i64> = Vec::new(),
        /// Leaf of each weight.
        class_nodeids: Vec<i64> = Vec::new(),
        /// Tree of each weight.
        class_treeids: Vec<i64> = Vec::new(),
        /// What the leaves add.
        class_weights: Vec<f32> = Vec::new(),
        /// The same as a tensor.
        class_weights_as_tensor: Option<Tensor>,
    }
}

impl TreeEnsembleClassifier {
    fn labels(&self) -> Labels<'_> {
        Labels { ints: &self.classlabels_int64s, strings: &self.classlabels_strings }
    }

    /// The class that all weights name, where there are two.
    fn only_class(&self) -> Option<i64> {
        let first = *self.class_ids.first()?;
        (self.labels().len() == 2 && self.class_ids.iter().all(|&c| c == first)).then_some(first)
    }

    fn with_arrays<T>(&self, f: impl FnOnce(Arrays<'_>) -> Result<T>) -> Result<T> {
        let values = numbers(&self.nodes_values, &self.nodes_values_as_tensor)?;
        let weights = numbers(&self.class_weights, &self.class_weights_as_tensor)?;
        f(Arrays {
            trees: &self.nodes_treeids,
            ids: &self.nodes_nodeids,
            features: &self.nodes_featureids,
            modes: &self.nodes_modes,
            values: &values,
            yes: &self.nodes_truenodeids,
            no: &self.nodes_falsenodeids,
            nan: &self.nodes_missing_value_tracks_true,
            weight_trees: &self.class_treeids,
            weight_nodes: &self.class_nodeids,
            targets: &self.class_ids,
            weights: &weights,
        })
    }
}

impl Op for TreeEnsembleClassifier {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, features) = matrix_rule(cx, "C1", FEATURES)?;
        let labels = self.labels();
        cx.require("C2", !labels.is_empty(), || "there is no label".into())?;
        let fault = self.with_arrays(|a| Ok(a.fault(labels.len() as i64)))?;
        cx.require("C2", fault.is_none(), || fault.unwrap_or_default().into())?;
        let base = numbers(&self.base_values, &self.base_values_as_tensor)?.len();
        let enough = base == 0 || base == labels.len() || base == 1 && self.only_class().is_some();
        cx.require("C2", enough, || format!("{base} base values for {} classes", labels.len()))?;
        require_transform(cx, "C3", &self.post_transform)?;
        self.with_arrays(|a| Ok(a.require_features(cx, "C4", &features)))??;
        let (values, hitrates) = (&self.nodes_values_as_tensor, &self.nodes_hitrates_as_tensor);
        let (weights, base) = (&self.class_weights_as_tensor, &self.base_values_as_tensor);
        require_tables(cx, "C5", &[values, hitrates, weights, base])?;
        cx.output(labels.dtype(), vec![n.clone()])?;
        cx.output(DType::F32, vec![n, Dim::from(labels.len())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (n, f, x) = rows(cx.tensor(0)?)?;
        let forest = self.with_arrays(|a| a.forest())?;
        let base = numbers(&self.base_values, &self.base_values_as_tensor)?;
        let positive = numbers(&self.class_weights, &self.class_weights_as_tensor)?.iter().all(|&w| w >= 0.0);
        let k = self.labels().len();
        let only = self.only_class();
        let mut classes = Vec::with_capacity(n);
        let mut scores = Vec::with_capacity(n * k);
        for r in 0..n {
            let mut row = forest.score(&x[r * f..(r + 1) * f], k, Aggregate::Sum)?;
            if let Some(c) = only {
                let from = usize::try_from(c).map_err(|_| Error::invalid("a class is negative"))?;
                let s = row[from] + base.last().copied().unwrap_or(0.0);
                classes.push(usize::from(s > if positive { 0.5 } else { 0.0 }));
                row = if positive { vec![1.0 - s, s] } else { vec![-s, s] };
                if !positive || self.post_transform == "PROBIT" {
                    transform(&self.post_transform, &mut row);
                }
            } else {
                row.iter_mut().zip(&base).for_each(|(v, b)| *v += b);
                classes.push(arg_max(&row));
                transform(&self.post_transform, &mut row);
            }
            scores.extend(row);
        }
        let y = self.labels().tensor(&classes)?;
        cx.push(y);
        cx.push(Tensor::from_floats(DType::F32, &[n, k], scores));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::default() }
    }
}

op! {
    TreeEnsembleClassifier in "ai.onnx.ml" since [1, 3, 5]; "X" => "Y, Z";
    summary: "classification by decision trees";
    deprecated: 5;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_tree_ensemble_classifier([[1.0], [2.0]]) == [3, 4], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
graph @ml_tree_ensemble_classifier(%a: f32[2, 1]) -> (i64[2], f32[2, 3]) {
  %y, %z = ml.tree_ensemble_classifier %a {class_ids = [0, 1], class_nodeids = [1, 2], class_treeids = [0, 0], class_weights = [1.0, 1.0], classlabels_int64s = [3, 4, 5], nodes_falsenodeids = [2, 0, 0], nodes_featureids = [0, 0, 0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_nodeids = [0, 1, 2], nodes_treeids = [0, 0, 0], nodes_truenodeids = [1, 0, 0], nodes_values = [1.5, 0.0, 0.0]} : i64[2], f32[2, 3]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn go(classes: Vec<i64>, weights: Vec<f32>) -> Result<Vec<Value>> {
        go_with(classes, weights, attrs! {})
    }

    fn go_with(classes: Vec<i64>, weights: Vec<f32>, changed: crate::Attrs) -> Result<Vec<Value>> {
        let a = attrs! {
            nodes_treeids: vec![0i64, 0, 0], nodes_nodeids: vec![0i64, 1, 2], nodes_featureids: vec![0i64, 0, 0],
            nodes_modes: Attr::Strings(vec!["BRANCH_LEQ".into(), "LEAF".into(), "LEAF".into()]),
            nodes_values: Attr::Floats(vec![0.5, 0.0, 0.0]),
            nodes_truenodeids: vec![1i64, 0, 0], nodes_falsenodeids: vec![2i64, 0, 0],
            class_treeids: vec![0i64, 0], class_nodeids: vec![1i64, 2], class_ids: classes,
            class_weights: Attr::Floats(weights), classlabels_int64s: vec![7i64, 8],
        };
        let x = Tensor::from_slice(&[2, 1], &[0.5f32, 0.75]);
        run("ai.onnx.ml", "TreeEnsembleClassifier", a.into_iter().chain(changed).collect(), &[Some(x.into())], 2)
    }

    #[test]
    fn tree_ensemble_classifier_of_two_classes() {
        let y = go(vec![0, 1], vec![1.0, 1.0]).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[2], &[7i64, 8]).into());
        let y = go(vec![0, 0], vec![0.25, 0.75]).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[2], &[7i64, 8]).into());
        assert_eq!(y[1], Tensor::from_slice(&[2, 2], &[0.75f32, 0.25, 0.25, 0.75]).into());
    }

    #[test]
    fn tree_ensemble_classifier_c2_c4_c5_are_named() {
        let name = |n| Some(format!("TreeEnsembleClassifier.C{n}"));
        assert_eq!(go(vec![0], vec![1.0, 1.0]).unwrap_err().label(), name(2).as_deref(), "uneven");
        assert_eq!(go(vec![0, 2], vec![1.0, 1.0]).unwrap_err().label(), name(2).as_deref(), "no such class");
        let bad = |changed| go_with(vec![0, 1], vec![1.0, 1.0], changed).unwrap_err().label().map(str::to_owned);
        assert_eq!(bad(attrs! { class_nodeids: vec![0i64, 1] }), name(2), "a branch has no weight");
        assert_eq!(bad(attrs! { base_values: Attr::Floats(vec![1.0]) }), name(2));
        assert_eq!(bad(attrs! { nodes_featureids: vec![1i64, 0, 0] }), name(4));
        assert_eq!(bad(attrs! { class_weights_as_tensor: Tensor::from_slice(&[2], &[1.0f64, 1.0]) }), name(5));
    }
}
