//! Decision trees, however their operators encode them.

use super::scores::rows_rule;
use crate::dim::{Cond, Dim};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use std::collections::{HashMap, HashSet};

/// How a node compares its feature.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// `x <= v`.
    Leq(f64),
    /// `x < v`.
    Lt(f64),
    /// `x >= v`.
    Gte(f64),
    /// `x > v`.
    Gt(f64),
    /// `x == v`.
    Eq(f64),
    /// `x != v`.
    Neq(f64),
    /// `x` is one of these.
    Member(Vec<f64>),
}

impl Test {
    /// The test of an ONNX mode (`BRANCH_LEQ`…).
    ///
    /// # Errors
    /// When it is not known.
    pub fn of(mode: &str, v: f64) -> Result<Test> {
        Ok(match mode {
            "BRANCH_LEQ" => Test::Leq(v),
            "BRANCH_LT" => Test::Lt(v),
            "BRANCH_GTE" => Test::Gte(v),
            "BRANCH_GT" => Test::Gt(v),
            "BRANCH_EQ" => Test::Eq(v),
            "BRANCH_NEQ" => Test::Neq(v),
            other => return Err(Error::invalid(format!("node mode `{other}` is not known"))),
        })
    }

    fn holds(&self, x: f64) -> bool {
        match self {
            Test::Leq(v) => x <= *v,
            Test::Lt(v) => x < *v,
            Test::Gte(v) => x >= *v,
            Test::Gt(v) => x > *v,
            Test::Eq(v) => x == *v,
            Test::Neq(v) => x != *v,
            Test::Member(all) => all.contains(&x),
        }
    }
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    /// Goes on to one of two nodes.
    Branch {
        /// Which feature.
        feature: usize,
        /// What is asked of it.
        test: Test,
        /// Whether NaN goes to the first.
        nan_is_true: bool,
        /// Where to go, true first.
        next: [usize; 2],
    },
    /// Adds weights to targets.
    Leaf(Vec<(usize, f64)>),
}

/// Trees over one list of nodes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Forest {
    /// Nodes of all trees.
    pub nodes: Vec<Node>,
    /// First node of each tree.
    pub roots: Vec<usize>,
}

/// How the trees' weights for one target are put together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// Their sum over the number of trees.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Forest {
    /// Weights of one row for `n` targets; 0 for a target that no leaf names.
    ///
    /// # Errors
    /// When a node, feature or target does not exist, or nodes form a circle.
    pub fn score(&self, row: &[f64], n: usize, how: Aggregate) -> Result<Vec<f64>> {
        let mut out: Vec<Option<f64>> = vec![None; n];
        for &root in &self.roots {
            for &(target, w) in self.leaf(root, row)? {
                let at = out.get_mut(target).ok_or_else(|| Error::invalid(format!("target {target} of {n}")))?;
                *at = Some(match (*at, how) {
                    (None, _) => w,
                    (Some(v), Aggregate::Min) => v.min(w),
                    (Some(v), Aggregate::Max) => v.max(w),
                    (Some(v), _) => v + w,
                });
            }
        }
        let over = if how == Aggregate::Average { self.roots.len().max(1) as f64 } else { 1.0 };
        Ok(out.into_iter().map(|v| v.unwrap_or(0.0) / over).collect())
    }

    fn leaf(&self, root: usize, row: &[f64]) -> Result<&[(usize, f64)]> {
        let mut at = root;
        for _ in 0..=self.nodes.len() {
            match self.nodes.get(at).ok_or_else(|| Error::invalid(format!("node {at} does not exist")))? {
                Node::Leaf(weights) => return Ok(weights),
                Node::Branch { feature, test, nan_is_true, next } => {
                    let x = *row
                        .get(*feature)
                        .ok_or_else(|| Error::invalid(format!("feature {feature} of {}", row.len())))?;
                    let yes = test.holds(x) || (x.is_nan() && *nan_is_true);
                    at = next[usize::from(!yes)];
                }
            }
        }
        Err(Error::invalid("nodes of a tree form a circle"))
    }
}

/// The arrays in which the operators of opsets 1 and 3 hold their nodes and leaves.
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a> {
    /// Tree of each node.
    pub trees: &'a [i64],
    /// Number of each node in its tree.
    pub ids: &'a [i64],
    /// Feature of each node.
    pub features: &'a [i64],
    /// Mode of each node.
    pub modes: &'a [String],
    /// Threshold of each node.
    pub values: &'a [f64],
    /// Where each node goes when its test holds.
    pub yes: &'a [i64],
    /// Where it goes when not.
    pub no: &'a [i64],
    /// Whether NaN counts as holding.
    pub nan: &'a [i64],
    /// Tree of each weight.
    pub weight_trees: &'a [i64],
    /// Node of each weight.
    pub weight_nodes: &'a [i64],
    /// Target of each weight.
    pub targets: &'a [i64],
    /// The weights.
    pub weights: &'a [f64],
}

impl Arrays<'_> {
    /// What is wrong with them: arrays about nodes or about weights that are not equally long, weights of other targets than
    /// the first `n_targets`, or of nodes that are no leaves.
    pub fn fault(&self, n_targets: i64) -> Option<&'static str> {
        let (n, w) = (self.ids.len(), self.weights.len());
        let about_nodes =
            [self.trees.len(), self.features.len(), self.modes.len(), self.values.len(), self.yes.len(), self.no.len()];
        let about_weights = [self.weight_trees.len(), self.weight_nodes.len(), self.targets.len()];
        if about_nodes.iter().any(|&l| l != n)
            || !(self.nan.is_empty() || self.nan.len() == n)
            || about_weights.iter().any(|&l| l != w)
        {
            return Some("arrays differ in length");
        }
        if !self.targets.iter().all(|t| (0..n_targets).contains(t)) {
            return Some("a weight is of a target that there is none of");
        }
        let nodes = self.trees.iter().zip(self.ids).zip(self.modes);
        let leaves: HashSet<_> = nodes.filter(|(_, mode)| *mode == "LEAF").map(|(at, _)| at).collect();
        let mut weighted = self.weight_trees.iter().zip(self.weight_nodes);
        weighted.any(|at| !leaves.contains(&at)).then_some("a weight is of a node that is no leaf")
    }

    /// Requires that the features of all nodes that branch are among `features`.
    ///
    /// # Errors
    /// The violation of the constraint.
    pub fn require_features(&self, cx: &mut RuleCx<'_>, label: &'static str, features: &Dim) -> RuleResult {
        let branches = self.features.iter().zip(self.modes).filter(|(_, mode)| *mode != "LEAF");
        require_features(cx, label, branches.map(|(f, _)| *f), features)
    }

    /// The trees.
    ///
    /// # Errors
    /// When a node, mode or target does not exist.
    pub fn forest(&self) -> Result<Forest> {
        let mut index = HashMap::new();
        let mut roots = Vec::new();
        let mut seen = HashSet::new();
        for (i, (&t, &id)) in self.trees.iter().zip(self.ids).enumerate() {
            index.insert((t, id), i);
            if seen.insert(t) {
                roots.push(i);
            }
        }
        let find = |t: i64, id: i64| {
            index.get(&(t, id)).copied().ok_or_else(|| Error::invalid(format!("tree {t} has no node {id}")))
        };
        let mut leaves: HashMap<usize, Vec<(usize, f64)>> = HashMap::new();
        for (k, &w) in self.weights.iter().enumerate() {
            let target = usize::try_from(self.targets[k]).map_err(|_| Error::invalid("a target is negative"))?;
            leaves.entry(find(self.weight_trees[k], self.weight_nodes[k])?).or_default().push((target, w));
        }
        let mut nodes = Vec::with_capacity(self.ids.len());
        for i in 0..self.ids.len() {
            nodes.push(if self.modes[i] == "LEAF" {
                Node::Leaf(leaves.remove(&i).unwrap_or_default())
            } else {
                let t = self.trees[i];
                Node::Branch {
                    feature: usize::try_from(self.features[i]).map_err(|_| Error::invalid("a feature is negative"))?,
                    test: Test::of(&self.modes[i], self.values[i])?,
                    nan_is_true: self.nan.get(i).is_some_and(|&v| v != 0),
                    next: [find(t, self.yes[i])?, find(t, self.no[i])?],
                }
            });
        }
        Ok(Forest { nodes, roots })
    }
}

/// Requires rows of features of a type that is allowed; how many there are of both.
///
/// # Errors
/// The violation of the constraint.
pub fn matrix_rule(cx: &mut RuleCx<'_>, label: &'static str, allowed: &[DType]) -> RuleResult<(Dim, Dim)> {
    let both = rows_rule(cx, label, allowed)?;
    let rank = cx.rank(0)?;
    cx.require(label, rank == 2, || format!("`x` has rank {rank}"))?;
    Ok(both)
}

/// Requires that columns `wanted` are among so many.
///
/// # Errors
/// The violation of the constraint.
pub fn require_features(
    cx: &mut RuleCx<'_>,
    label: &'static str,
    wanted: impl Iterator<Item = i64> + Clone,
    features: &Dim,
) -> RuleResult {
    let (Some(first), Some(last)) = (wanted.clone().min(), wanted.max()) else { return Ok(()) };
    cx.require(label, first >= 0, || format!("there is no feature {first}"))?;
    cx.require_that(label, Cond::lt(&Dim::int(last), features))
}

/// Requires tensors that stand for lists of floats to be doubles where `X` is, and singles elsewhere.
///
/// # Errors
/// The violation of the constraint.
pub fn require_tables(cx: &mut RuleCx<'_>, label: &'static str, tables: &[&Option<Tensor>]) -> RuleResult {
    let wanted = if cx.dtype(0)? == DType::F64 { DType::F64 } else { DType::F32 };
    let other = tables.iter().filter_map(|t| t.as_ref()).map(Tensor::dtype).find(|d| *d != wanted);
    cx.require(label, other.is_none(), || format!("a tensor of {} instead of {wanted}", other.unwrap_or(wanted)))
}

/// A list of floats, or the tensor that stands for it.
///
/// # Errors
/// When the tensor holds no real numbers.
pub fn numbers(list: &[f32], tensor: &Option<Tensor>) -> Result<Vec<f64>> {
    match tensor {
        Some(t) => t.floats(),
        None => Ok(list.iter().map(|&v| f64::from(v)).collect()),
    }
}

/// The aggregate of an ONNX name.
pub fn aggregate(name: &str) -> Option<Aggregate> {
    match name {
        "SUM" => Some(Aggregate::Sum),
        "AVERAGE" => Some(Aggregate::Average),
        "MIN" => Some(Aggregate::Min),
        "MAX" => Some(Aggregate::Max),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forest_sums_and_meets_circles() {
        let branch = |next| Node::Branch { feature: 0, test: Test::Leq(1.0), nan_is_true: true, next };
        let f = Forest {
            nodes: vec![branch([1, 2]), Node::Leaf(vec![(0, 2.0)]), Node::Leaf(vec![(0, 3.0)])],
            roots: vec![0, 0],
        };
        assert_eq!(f.score(&[1.0], 1, Aggregate::Sum).unwrap(), [4.0]);
        assert_eq!(f.score(&[f64::NAN], 1, Aggregate::Average).unwrap(), [2.0]);
        assert_eq!(f.score(&[2.0], 1, Aggregate::Max).unwrap(), [3.0]);
        let circle = Forest { nodes: vec![branch([0, 0])], roots: vec![0] };
        assert!(circle.score(&[1.0], 1, Aggregate::Sum).is_err());
    }
}
