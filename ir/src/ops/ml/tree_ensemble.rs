//! Decision trees' weights put together, `T[n, n_targets]`.
//!
//! - **C1** `x` is `T[n, f]`, `T` `f32`, `f64` or `f16`
//! - **C2** arrays about nodes are equally long, and those about leaves
//! - **C3** `aggregate_function` is 0 to 3 (average, sum, least, largest), `post_transform` 0 to 4
//! - **C4** thresholds, weights and members of sets are of the type `T`
//! - **C5** roots, next entries and targets are entries of their arrays, features are columns of `x`
//!
//! ONNX `TreeEnsemble` (ai.onnx.ml): opset 5.

use super::super::common::*;
use super::scores::*;
use super::trees::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `TreeEnsemble`.
    pub struct TreeEnsemble {
        /// 0 average, 1 sum, 2 least, 3 largest.
        aggregate_function: i64 = 1,
        /// Target of each leaf.
        leaf_targetids: Vec<i64>,
        /// Weight of each leaf.
        leaf_weights: Tensor,
        /// Members of the sets that nodes of mode 6 test, each set ended by NaN.
        membership_values: Option<Tensor>,
        /// Number of targets.
        n_targets: i64 = 1,
        /// Whether the next entry is a leaf, when the test fails.
        nodes_falseleafs: Vec<i64>,
        /// Next node or leaf, when the test fails.
        nodes_falsenodeids: Vec<i64>,
        /// Feature of each node.
        nodes_featureids: Vec<i64>,
        /// Not used: how often nodes are visited.
        nodes_hitrates: Option<Tensor>,
        /// Whether NaN counts as holding, for each node.
        nodes_missing_value_tracks_true: Vec<i64> = Vec::new(),
        /// 0 `<=`, 1 `<`, 2 `>=`, 3 `>`, 4 `==`, 5 `!=`, 6 member, for each node.
        nodes_modes: Tensor,
        /// Threshold of each node.
        nodes_splits: Tensor,
        /// Whether the next entry is a leaf, when the test holds.
        nodes_trueleafs: Vec<i64>,
        /// Next node or leaf, when the test holds.
        nodes_truenodeids: Vec<i64>,
        /// 0 none, 1 softmax, 2 logistic, 3 softmax of non-zeros, 4 probit.
        post_transform: i64 = 0,
        /// First node of each tree.
        tree_roots: Vec<i64>,
    }
}

impl TreeEnsemble {
    fn agree(&self) -> bool {
        let n = self.nodes_splits.len();
        let lists = [
            &self.nodes_falseleafs,
            &self.nodes_falsenodeids,
            &self.nodes_featureids,
            &self.nodes_trueleafs,
            &self.nodes_truenodeids,
        ];
        lists.iter().all(|l| l.len() == n)
            && self.nodes_modes.len() == n
            && (self.nodes_missing_value_tracks_true.is_empty() || self.nodes_missing_value_tracks_true.len() == n)
            && self.nodes_hitrates.as_ref().is_none_or(|rates| rates.len() == n)
            && self.leaf_targetids.len() == self.leaf_weights.len()
    }

    /// The first number that is no entry of its array.
    fn outside(&self) -> Option<i64> {
        let (nodes, leaves) = (self.nodes_modes.len(), self.leaf_targetids.len());
        let is_entry = |v: i64, len: usize| usize::try_from(v).is_ok_and(|v| v < len);
        let next = |leafs: &[i64], ids: &[i64]| {
            let end = |leaf: i64| if leaf != 0 { leaves } else { nodes };
            leafs.iter().zip(ids).find(|&(&leaf, &id)| !is_entry(id, end(leaf))).map(|(_, &id)| id)
        };
        let targets = usize::try_from(self.n_targets).unwrap_or(0);
        let roots = self.tree_roots.iter().copied().find(|&r| !is_entry(r, nodes));
        let of_leaf = || self.leaf_targetids.iter().copied().find(|&t| !is_entry(t, targets));
        roots
            .or_else(|| next(&self.nodes_trueleafs, &self.nodes_truenodeids))
            .or_else(|| next(&self.nodes_falseleafs, &self.nodes_falsenodeids))
            .or_else(of_leaf)
    }

    fn aggregate(&self) -> Aggregate {
        match self.aggregate_function {
            0 => Aggregate::Average,
            2 => Aggregate::Min,
            3 => Aggregate::Max,
            _ => Aggregate::Sum,
        }
    }

    /// The trees: nodes first, leaves after them.
    fn forest(&self) -> Result<Forest> {
        let index = |v: i64| usize::try_from(v).map_err(|_| Error::invalid(format!("{v} is no index")));
        let (modes, splits) = (self.nodes_modes.to_i64s()?, self.nodes_splits.floats()?);
        let n = splits.len();
        let members = self.membership_values.as_ref().map_or(Ok(Vec::new()), Tensor::floats)?;
        let mut sets = members.split(|v| v.is_nan());
        let names = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
        let mut nodes = Vec::with_capacity(n + self.leaf_targetids.len());
        for i in 0..n {
            let test = match usize::try_from(modes[i]) {
                Ok(6) => Test::Member(sets.next().ok_or_else(|| Error::invalid("a set is missing"))?.to_vec()),
                Ok(m) if m < 6 => Test::of(names[m], splits[i])?,
                _ => return Err(Error::invalid(format!("node mode {}", modes[i]))),
            };
            let next = |leaf: i64, id: i64| Ok::<_, Error>(index(id)? + if leaf != 0 { n } else { 0 });
            nodes.push(Node::Branch {
                feature: index(self.nodes_featureids[i])?,
                test,
                nan_is_true: self.nodes_missing_value_tracks_true.get(i).is_some_and(|&v| v != 0),
                next: [
                    next(self.nodes_trueleafs[i], self.nodes_truenodeids[i])?,
                    next(self.nodes_falseleafs[i], self.nodes_falsenodeids[i])?,
                ],
            });
        }
        for (&t, w) in self.leaf_targetids.iter().zip(self.leaf_weights.floats()?) {
            nodes.push(Node::Leaf(vec![(index(t)?, w)]));
        }
        let roots = self.tree_roots.iter().map(|&r| index(r)).collect::<Result<_>>()?;
        Ok(Forest { nodes, roots })
    }
}

impl Op for TreeEnsemble {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (n, features) = matrix_rule(cx, "C1", &[DType::F32, DType::F64, DType::F16])?;
        cx.require("C2", self.agree() && self.n_targets >= 1, || "arrays differ in length".into())?;
        let known = (0..=3).contains(&self.aggregate_function) && (0..=4).contains(&self.post_transform);
        cx.require("C3", known, || {
            format!("aggregate function {}, transform {}", self.aggregate_function, self.post_transform)
        })?;
        let dtype = cx.dtype(0)?;
        let tables = [Some(&self.nodes_splits), Some(&self.leaf_weights), self.membership_values.as_ref()];
        let other = tables.into_iter().flatten().map(Tensor::dtype).find(|d| *d != dtype);
        cx.require("C4", other.is_none(), || format!("{} instead of {dtype}", other.unwrap_or(dtype)))?;
        let outside = self.outside();
        cx.require("C5", outside.is_none(), || format!("there is no entry {}", outside.unwrap_or_default()))?;
        require_features(cx, "C5", self.nodes_featureids.iter().copied(), &features)?;
        cx.output(dtype, vec![n, Dim::int(self.n_targets)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let (n, f, x) = rows(cx.tensor(0)?)?;
        let forest = self.forest()?;
        let how = self.aggregate();
        let mut y = Vec::with_capacity(len_elems(&shape)?);
        for r in 0..n {
            let mut row = forest.score(&x[r * f..(r + 1) * f], shape[1], how)?;
            transform(TRANSFORMS[self.post_transform as usize], &mut row);
            y.extend(row);
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::default() }
    }
}

op! {
    TreeEnsemble in "ai.onnx.ml" since [5]; "X" => "Y";
    summary: "decision trees, put together";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @single_tree([[1.2, 3.4], [-0.12, 1.66], [4.14, 1.77]]) == [[5.23, 0.0], [5.23, 0.0], [0.0, 12.12]]
graph @single_tree(%X: f64[3, 2]) -> f64[3, 2] {
  %Y = ml.tree_ensemble %X {leaf_targetids = [0, 1, 0, 1], leaf_weights = f64[4] [5.23, 12.12, -12.23, 7.21], n_targets = 2, nodes_falseleafs = [0, 1, 1], nodes_falsenodeids = [2, 2, 3], nodes_featureids = [0, 0, 0], nodes_modes = u8[3] [0, 0, 0], nodes_splits = f64[3] [3.14, 1.2, 4.2], nodes_trueleafs = [0, 1, 1], nodes_truenodeids = [1, 0, 1], tree_roots = [0]} : f64[3, 2]
  return %Y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn tree_ensemble_tests_membership() {
        let a = |how: i64| {
            attrs! {
                aggregate_function: how, leaf_targetids: vec![0i64, 0],
                leaf_weights: Tensor::from_slice(&[2], &[1f32, 2.0]),
                membership_values: Tensor::from_slice(&[2], &[3f32, f32::NAN]),
                nodes_falseleafs: vec![1i64], nodes_falsenodeids: vec![1i64], nodes_featureids: vec![0i64],
                nodes_modes: Tensor::from_slice(&[1], &[6u8]), nodes_splits: Tensor::from_slice(&[1], &[0f32]),
                nodes_trueleafs: vec![1i64], nodes_truenodeids: vec![0i64], tree_roots: vec![0i64],
            }
        };
        let x = Tensor::from_slice(&[2, 1], &[3f32, 4.0]);
        let go = |how| run("ai.onnx.ml", "TreeEnsemble", a(how), &[Some(x.clone().into())], 1);
        let changed = |name: &str, value: Vec<i64>| {
            let attrs = a(1).into_iter().chain([(name.to_owned(), value.into())]).collect();
            run("ai.onnx.ml", "TreeEnsemble", attrs, &[Some(x.clone().into())], 1)
                .unwrap_err()
                .label()
                .map(str::to_owned)
        };
        for name in ["tree_roots", "nodes_truenodeids", "nodes_falsenodeids", "nodes_featureids"] {
            assert_eq!(changed(name, vec![2]).as_deref(), Some("TreeEnsemble.C5"), "{name}");
        }
        assert_eq!(changed("leaf_targetids", vec![0, 1]).as_deref(), Some("TreeEnsemble.C5"));
        assert_eq!(changed("leaf_targetids", vec![0]).as_deref(), Some("TreeEnsemble.C2"));
        assert_eq!(go(1).unwrap()[0], Tensor::from_slice(&[2, 1], &[1f32, 2.0]).into());
        assert_eq!(go(4).unwrap_err().label(), Some("TreeEnsemble.C3"));
        let wide = Tensor::from_slice(&[2, 1], &[3f64, 4.0]);
        let refused = run("ai.onnx.ml", "TreeEnsemble", a(1), &[Some(wide.into())], 1);
        assert_eq!(refused.unwrap_err().label(), Some("TreeEnsemble.C4"));
    }
}
