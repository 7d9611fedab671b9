//! Elements for which operators stay within their domains, by interval search.
//!
//! Drawn elements give a logarithm of negative numbers, a quotient by 0, an exponential that overflows: behind those all is NaN
//! or infinite, and nothing is shown of the operators there. Here the elements of one argument or constant after the other are
//! moved into another interval (the domain of an operator that reads it, a half of its own, numbers around 1, small ones), and
//! what makes fewer elements of all results infinite or NaN is kept. NNSmith (ASPLOS 2023) searches by gradients, which operators
//! without a slope have not.

use super::{Case, Config, limits};
use crate::choices::{Choices, pick};
use egret_ir::eval::{Env, Reference, evaluate_observed};
use egret_ir::{Node, Tensor, Value, ValueId};

/// Evaluations of one search.
const TRIALS: usize = 24;

/// A case with other elements, of which fewer make a result infinite or NaN; `None` where all is finite, or none was found.
pub(super) fn settled(case: &Case, config: &Config, choices: &mut dyn Choices) -> Option<Case> {
    // What a call makes of infinities and NaN mostly shows in a result.
    if case.outputs.iter().all(|v| bad(v) == 0) {
        return None;
    }
    let start = Trial::of(case.clone(), config)?;
    let (mut best, mut found) = (start, false);
    for _ in 0..TRIALS {
        let Some(node) = best.leaves_its_domain else { break };
        let leaves = best.leaves(node);
        if leaves.is_empty() {
            break;
        }
        let leaf = *pick(choices, &leaves);
        let Some(moved) = best.moved(leaf, choices).and_then(|case| Trial::of(case, config)) else { continue };
        // Nodes further on count as well: a move that only hides an operator behind another is none.
        if moved.bad < best.bad && moved.types_are_those_of(&best) {
            (best, found) = (moved, true);
        }
    }
    (found && config.wants_all(&best.case)).then_some(best.case)
}

/// A case with all its values.
struct Trial {
    case: Case,
    values: Vec<Option<Value>>,
    /// Elements of results of calls that are infinite or NaN.
    bad: usize,
    /// The first call that makes such elements of finite ones.
    leaves_its_domain: Option<usize>,
}

impl Trial {
    /// `None` where the reference refuses.
    fn of(mut case: Case, config: &Config) -> Option<Trial> {
        let graph = &case.graph;
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        let mut seen = |v: ValueId, x: &Value| values[v.index()] = Some(x.clone());
        let env = Env::new(limits(config), 0);
        case.outputs = evaluate_observed(graph, case.inputs.clone(), &[], &env, &Reference, &mut seen).ok()?;
        graph.inputs.iter().zip(&case.inputs).for_each(|(v, x)| values[v.index()] = Some(x.clone()));
        for (value, info) in values.iter_mut().zip(&graph.values) {
            if let Some(t) = &info.constant {
                *value = Some(t.clone().into());
            }
        }
        let bad_of = |v: ValueId| values[v.index()].as_ref().map_or(0, bad);
        let leaves = |n: &Node| n.uses().all(|v| bad_of(v) == 0) && n.defs().any(|v| bad_of(v) > 0);
        let leaves_its_domain = graph.nodes.iter().position(leaves);
        let bad = graph.nodes.iter().flat_map(Node::defs).map(bad_of).sum();
        Some(Trial { case, values, bad, leaves_its_domain })
    }

    /// Arguments and constants of finite floats that the call's operands are computed from.
    fn leaves(&self, node: usize) -> Vec<ValueId> {
        let graph = &self.case.graph;
        let mut wanted = vec![false; graph.values.len()];
        graph.nodes[node].uses().for_each(|v| wanted[v.index()] = true);
        for n in graph.nodes[..node].iter().rev() {
            if n.defs().any(|v| wanted[v.index()]) {
                n.uses().for_each(|v| wanted[v.index()] = true);
            }
        }
        let is_leaf = |v: ValueId| graph.inputs.contains(&v) || graph.constant(v).is_some();
        let moves = |v: &ValueId| {
            let t = self.values[v.index()].as_ref().and_then(|v| v.tensor().ok());
            wanted[v.index()] && is_leaf(*v) && t.is_some_and(|t| t.dtype().is_float() && !t.is_empty())
        };
        let all = (0..graph.values.len()).map(|i| ValueId(i as u32));
        all.filter(moves).filter(|v| self.values[v.index()].as_ref().is_none_or(|x| bad(x) == 0)).collect()
    }

    /// The case with a leaf's elements in another interval, in the same order.
    fn moved(&self, leaf: ValueId, choices: &mut dyn Choices) -> Option<Case> {
        let t = self.values[leaf.index()].as_ref()?.tensor().ok()?;
        let x = t.floats().ok()?;
        let (lo, hi) = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
        let middle = lo / 2.0 + hi / 2.0;
        let domains = self.case.graph.nodes.iter().filter(|n| n.inputs.first() == Some(&Some(leaf)));
        let domains = domains.map(|n| n.op.facts().domain).filter(|(l, h)| l.is_finite() || h.is_finite());
        let mut intervals: Vec<(f64, f64)> = domains.map(|(l, h)| within(l, h)).collect();
        intervals.extend([(lo, middle), (middle, hi), (0.25, 1.0), (1.0, 2.0), (-1.0, -0.25), (-0.5, 0.5)]);
        let (to_lo, to_hi) = *pick(choices, &intervals);
        let one = |x: &f64| match hi > lo {
            true => to_lo + (to_hi - to_lo) * ((x - lo) / (hi - lo)).clamp(0.0, 1.0),
            false => to_lo / 2.0 + to_hi / 2.0,
        };
        let other = Tensor::from_floats(t.dtype(), t.shape(), x.iter().map(one).collect::<Vec<_>>());
        let mut case = self.case.clone();
        match case.graph.inputs.iter().position(|v| *v == leaf) {
            Some(k) => case.inputs[k] = other.into(),
            None => case.graph.values[leaf.index()].constant = Some(other),
        }
        Some(case)
    }

    /// No extent has changed with the elements.
    fn types_are_those_of(&self, other: &Trial) -> bool {
        let ty = |v: &Option<Value>| v.as_ref().map(Value::ty);
        self.values.iter().zip(&other.values).all(|(a, b)| ty(a) == ty(b))
    }
}

/// A bounded part of an open interval, with some room to its ends.
fn within(lo: f64, hi: f64) -> (f64, f64) {
    match (lo.is_finite(), hi.is_finite()) {
        (true, true) => (lo + (hi - lo) / 8.0, hi - (hi - lo) / 8.0),
        (true, false) => (lo + 0.25, lo + 2.0),
        (false, true) => (hi - 2.0, hi - 0.25),
        (false, false) => (-1.0, 1.0),
    }
}

/// Elements that are infinite or NaN.
fn bad(v: &Value) -> usize {
    let Ok(t) = v.tensor() else { return 0 };
    if !t.dtype().is_float() {
        return 0;
    }
    t.floats().map_or(0, |x| x.iter().filter(|x| !x.is_finite()).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use egret_ir::eval::evaluate;
    use egret_ir::{DType, GraphBuilder, Type, attrs};

    #[test]
    fn a_root_of_a_difference_is_brought_into_its_domain() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[4]));
        let c = b.constant(Tensor::from_slice(&[], &[5.0f32]));
        let d = b.op("Sub", attrs! {}, &[x, c]).unwrap();
        let r = b.op("Sqrt", attrs! {}, &[d]).unwrap();
        let y = b.op("Log", attrs! {}, &[r]).unwrap();
        let graph = b.finish(&[y]);
        let inputs = vec![Tensor::from_slice(&[4], &[-1.0f32, 0.5, 1.5, 2.0]).into()];
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        let case = Case { graph, inputs, outputs, ..Case::default() };
        let config = Config::default();
        let bad = |case: Case| Trial::of(case, &config).unwrap().bad;
        assert_eq!(bad(case.clone()), 8);
        let found = (0..8).filter_map(|seed| settled(&case, &config, &mut Seeded::new(seed, 0)));
        assert_eq!(found.map(bad).min(), Some(0));
    }

    #[test]
    fn a_case_within_its_domains_stays_as_it_is() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let y = b.op("Exp", attrs! {}, &[x]).unwrap();
        let graph = b.finish(&[y]);
        let inputs = vec![Tensor::from_slice(&[1], &[1.0f32]).into()];
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        let case = Case { graph, inputs, outputs, ..Case::default() };
        assert!(settled(&case, &Config::default(), &mut Seeded::new(1, 0)).is_none());
    }
}
