//! Many operators: each one's structures are listed and a rule is inferred for each, operators side by side.

use super::list::{self, Listing};
use super::search::{Effort, Known, Rule, infer_beside};
use crate::blackbox::{BlackBox, Egret};
use crate::form::seed_of;
use crate::trace::calls_shown;
use egret_ir::OpDef;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What came of one operator.
#[derive(Debug)]
pub struct Inferred {
    /// The operator.
    pub def: &'static OpDef,
    /// Its rules, by structure.
    pub rules: Vec<Rule>,
    /// Why there is none.
    pub none: Option<String>,
    /// Time that listing and inference took.
    pub took: Duration,
}

/// Infers rules of one operator's structures, one after another, so that what was learnt of some helps with the others.
/// All that a rule says comes from `system`.
fn of_listing(
    def: &'static OpDef,
    listing: &Listing,
    system: &mut dyn BlackBox,
    seed: u64,
    effort: Effort,
) -> Vec<Rule> {
    let n = listing.structures.len();
    let most = effort.structures.unwrap_or(n).min(n);
    let mut known = Known::of_records(calls_shown(def));
    // Where not all are wanted, they are spread over the list.
    (0..most)
        .map(|k| &listing.structures[k * n / most])
        .filter_map(|(structure, start)| infer_beside(structure, Some(start), system, seed, effort, &mut known))
        .collect()
}

/// Infers the rules of many operators, `jobs` at a time, each thread with a black box of its own. The results are in
/// the order of `defs` and do not depend on `jobs`.
///
/// The structures are those of the registry's list: which ones there are to ask about follows from the operator's
/// declaration, and which of them have a valid call is cheap to try there. Operators with many come first, so that threads
/// end together.
pub fn operators(
    defs: &[&'static OpDef],
    make: &(dyn Fn() -> Box<dyn BlackBox> + Sync),
    seed: u64,
    effort: Effort,
    jobs: usize,
    done: &(dyn Fn(&Inferred) + Sync),
) -> Vec<Inferred> {
    let seed_of = |def: &OpDef| seed ^ seed_of(def);
    let listings = side_by_side(defs, jobs, Egret::default, |egret, def| {
        let begin = Instant::now();
        (list::list(def, egret, seed_of(def)), begin.elapsed())
    });
    let mut order: Vec<usize> = (0..defs.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(listings[k].0.structures.len()));
    let mut found = side_by_side(&order, jobs, make, |system, &k| {
        let begin = Instant::now();
        let (listing, listed) = &listings[k];
        let rules = of_listing(defs[k], listing, &mut **system, seed_of(defs[k]), effort);
        let inferred = Inferred { def: defs[k], rules, none: listing.none.clone(), took: *listed + begin.elapsed() };
        done(&inferred);
        (k, inferred)
    });
    found.sort_by_key(|(k, _)| *k);
    found.into_iter().map(|(_, inferred)| inferred).collect()
}

/// `work` on each item, `jobs` at a time, each thread with a state of its own; the results in the order of the items.
pub fn side_by_side<T: Sync, S, R: Send>(
    items: &[T],
    jobs: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                let mut own = state();
                while let Some((k, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|k| Some((k, items.get(k)?)))
                {
                    let result = work(&mut own, item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((k, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(k, _)| *k);
    results.into_iter().map(|(_, r)| r).collect()
}

#[cfg(all(test, feature = "z3"))]
mod tests {
    use super::super::score::{Asked, Counts, Verdict, score_beside};
    use super::*;
    use egret_ir::ops;

    #[test]
    fn operators_are_inferred_as_the_registry_says() {
        let names = ["Relu", "Gather", "SpaceToDepth"];
        let defs: Vec<&'static OpDef> = names.iter().map(|n| ops::find("ai.onnx", n).unwrap()).collect();
        let make = || Box::new(Egret::default()) as Box<dyn BlackBox>;
        let effort = Effort { structures: Some(3), ..Effort::default() };
        let found = operators(&defs, &make, 0, effort, 2, &|_| {});
        assert_eq!(found.iter().map(|i| i.def.name).collect::<Vec<_>>(), names);
        let (mut asked, mut counts) = (Asked::default(), Counts::default());
        for rule in found.iter().flat_map(|i| &i.rules) {
            let score = score_beside(rule, 1, &mut asked);
            let proved = matches!(score.verdict, Verdict::Proved | Verdict::ProvedInCases(_));
            assert!(proved, "{}: {:?}", rule.structure.text(), score.verdict);
            counts += score.counts;
        }
        assert_eq!((counts.only_inferred, counts.only_registry, counts.right), (0, 0, counts.both));
        assert!(counts.both > 30 && counts.neither > 20, "{counts:?}");
    }
}
