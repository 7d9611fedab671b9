//! Sums (or means, least, largest) of decision trees' weights, as `f32[n, targets]`.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 2
//! - **C2** arrays about nodes are equally long, and those about weights, which are of leaves and of
//!   targets that there are; no or `n_targets` base values
//! - **C3** `post_transform` and `aggregate_function` are known
//! - **C4** features of nodes that branch are columns of `x`
//! - **C5** tensors that stand for lists hold `f64` where `x` does, else `f32`
//!
//! Base values are added after the aggregate. ONNX `TreeEnsembleRegressor` (ai.onnx.ml): opset 1, 3 (tensors), 5
//! (deprecated).

use super::super::common::*;
use super::scores::*;
use super::trees::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::library::{self, Library};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `TreeEnsembleRegressor`.
    pub struct TreeEnsembleRegressor {
        /// How weights for one target are put together: `AVERAGE`, `SUM`, `MIN` or `MAX`.
        aggregate_function: String = "SUM",
        /// Number of results a row.
        n_targets: i64 = 1,
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
        /// Target of each weight.
        target_ids: Vec<i64> = Vec::new(),
        /// Leaf of each weight.
        target_nodeids: Vec<i64> = Vec::new(),
        /// Tree of each weight.
        target_treeids: Vec<i64> = Vec::new(),
        /// What the leaves add.
        target_weights: Vec<f32> = Vec::new(),
        /// The same as a tensor.
        target_weights_as_tensor: Option<Tensor>,
    }
}

impl TreeEnsembleRegressor {
    fn with_arrays<T>(&self, f: impl FnOnce(Arrays<'_>) -> Result<T>) -> Result<T> {
        let values = numbers(&self.nodes_values, &self.nodes_values_as_tensor)?;
        let weights = numbers(&self.target_weights, &self.target_weights_as_tensor)?;
        f(Arrays {
            trees: &self.nodes_treeids,
            ids: &self.nodes_nodeids,
            features: &self.nodes_featureids,
            modes: &self.nodes_modes,
            values: &values,
            yes: &self.nodes_truenodeids,
            no: &self.nodes_falsenodeids,
            nan: &self.nodes_missing_value_tracks_true,
            weight_trees: &self.target_treeids,
            weight_nodes: &self.target_nodeids,
            targets: &self.target_ids,
            weights: &weights,
        })
    }
}

impl Op for TreeEnsembleRegressor {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, features) = matrix_rule(cx, "C1", FEATURES)?;
        let fault = self.with_arrays(|a| Ok(a.fault(self.n_targets)))?;
        cx.require("C2", fault.is_none(), || fault.unwrap_or_default().into())?;
        let base = numbers(&self.base_values, &self.base_values_as_tensor)?.len() as i64;
        cx.require("C2", self.n_targets >= 1 && (base == 0 || base == self.n_targets), || {
            format!("{base} base values for {} targets", self.n_targets)
        })?;
        require_transform(cx, "C3", &self.post_transform)?;
        cx.require("C3", aggregate(&self.aggregate_function).is_some(), || {
            format!("aggregate function `{}`", self.aggregate_function)
        })?;
        self.with_arrays(|a| Ok(a.require_features(cx, "C4", &features)))??;
        let (values, hitrates) = (&self.nodes_values_as_tensor, &self.nodes_hitrates_as_tensor);
        let (weights, base) = (&self.target_weights_as_tensor, &self.base_values_as_tensor);
        require_tables(cx, "C5", &[values, hitrates, weights, base])?;
        cx.output(DType::F32, vec![n, Dim::int(self.n_targets)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let (n, f, x) = rows(cx.tensor(0)?)?;
        let forest = self.with_arrays(|a| a.forest())?;
        let base = numbers(&self.base_values, &self.base_values_as_tensor)?;
        let how = aggregate(&self.aggregate_function).unwrap_or(Aggregate::Sum);
        let mut y = Vec::with_capacity(len_elems(&shape)?);
        for r in 0..n {
            let mut row = forest.score(&x[r * f..(r + 1) * f], shape[1], how)?;
            row.iter_mut().zip(&base).for_each(|(v, b)| *v += b);
            transform(&self.post_transform, &mut row);
            y.extend(row);
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let x = cx.shape(0);
        Ok(Lowering::Library(Library::Trees(library::Trees {
            forest: Arc::new(self.with_arrays(|a| a.forest())?),
            dtype: cx.dtype(0),
            result: DType::F32,
            rows: cx.outputs[0].1[0],
            features: x.last().copied().unwrap_or(1),
            targets: cx.outputs[0].1[1],
            aggregate: aggregate(&self.aggregate_function).unwrap_or(Aggregate::Sum),
            base: numbers(&self.base_values, &self.base_values_as_tensor)?,
            transform: self.post_transform.clone(),
        })))
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::default() }
    }
}

op! {
    TreeEnsembleRegressor in "ai.onnx.ml" since [1, 3, 5]; "X" => "Y";
    summary: "regression by decision trees";
    deprecated: 5;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_tree_ensemble_regressor([[1.0], [2.0]]) == [[10.0], [20.0]]
graph @ml_tree_ensemble_regressor(%a: f32[2, 1]) -> f32[2, 1] {
  %y = ml.tree_ensemble_regressor %a {nodes_falsenodeids = [2, 0, 0], nodes_featureids = [0, 0, 0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_nodeids = [0, 1, 2], nodes_treeids = [0, 0, 0], nodes_truenodeids = [1, 0, 0], nodes_values = [1.5, 0.0, 0.0], target_ids = [0, 0], target_nodeids = [1, 2], target_treeids = [0, 0], target_weights = [10.0, 20.0]} : f32[2, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn go(weights: Vec<f32>) -> Result<Vec<Value>> {
        go_with(weights, attrs! {})
    }

    fn go_with(weights: Vec<f32>, changed: crate::Attrs) -> Result<Vec<Value>> {
        let a = attrs! {
            nodes_treeids: vec![0i64, 0, 0], nodes_nodeids: vec![0i64, 1, 2], nodes_featureids: vec![0i64, 0, 0],
            nodes_modes: Attr::Strings(vec!["BRANCH_LEQ".into(), "LEAF".into(), "LEAF".into()]),
            nodes_values: Attr::Floats(vec![0.5, 0.0, 0.0]),
            nodes_truenodeids: vec![1i64, 0, 0], nodes_falsenodeids: vec![2i64, 0, 0],
            target_treeids: vec![0i64, 0], target_nodeids: vec![1i64, 2], target_ids: vec![0i64, 0],
            target_weights: Attr::Floats(weights), base_values: Attr::Floats(vec![10.0]),
        };
        let x = Tensor::from_slice(&[2, 1], &[0.5f32, 0.75]);
        run("ai.onnx.ml", "TreeEnsembleRegressor", a.into_iter().chain(changed).collect(), &[Some(x.into())], 1)
    }

    #[test]
    fn tree_ensemble_regressor_follows_branches() {
        assert_eq!(go(vec![1.0, 2.0]).unwrap()[0], Tensor::from_slice(&[2, 1], &[11f32, 12.0]).into());
    }

    #[test]
    fn tree_ensemble_regressor_c2_c4_c5_are_named() {
        let name = |n| Some(format!("TreeEnsembleRegressor.C{n}"));
        assert_eq!(go(vec![1.0]).unwrap_err().label(), name(2).as_deref(), "uneven");
        let bad = |changed| go_with(vec![1.0, 2.0], changed).unwrap_err().label().map(str::to_owned);
        assert_eq!(bad(attrs! { target_nodeids: vec![0i64, 1] }), name(2), "a branch has no weight");
        assert_eq!(bad(attrs! { nodes_featureids: vec![1i64, 0, 0] }), name(4));
        assert_eq!(bad(attrs! { nodes_values_as_tensor: Tensor::from_slice(&[3], &[0.5f64, 0.0, 0.0]) }), name(5));
    }
}
