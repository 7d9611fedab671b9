//! Many operators: each one's structures are listed and a rule is inferred for each, operators side by side.

use super::list;
use super::search::{Effort, Rule, infer};
use crate::blackbox::BlackBox;
use egret_ir::OpDef;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// A number that depends on a text alone.
fn key(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Infers the rules of one operator.
pub fn operator(def: &'static OpDef, system: &mut dyn BlackBox, seed: u64, effort: Effort) -> Inferred {
    let begin = Instant::now();
    let seed = seed ^ key(def.name);
    let listing = list::list(def, system, seed);
    let n = listing.structures.len();
    let most = effort.structures.unwrap_or(n).min(n);
    // Where not all are wanted, they are spread over the list.
    let rules = (0..most).filter_map(|k| infer(&listing.structures[k * n / most], system, seed, effort)).collect();
    Inferred { def, rules, none: listing.none, took: begin.elapsed() }
}

/// Infers the rules of many operators, `jobs` at a time, each thread with a black box of its own. The result is in the
/// order of `defs` and does not depend on `jobs`.
pub fn operators(
    defs: &[&'static OpDef],
    make: &(dyn Fn() -> Box<dyn BlackBox> + Sync),
    seed: u64,
    effort: Effort,
    jobs: usize,
    done: &(dyn Fn(&Inferred) + Sync),
) -> Vec<Inferred> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Inferred)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, defs.len().max(1)) {
            scope.spawn(|| {
                let mut system = make();
                loop {
                    let k = next.fetch_add(1, Ordering::Relaxed);
                    let Some(def) = defs.get(k) else { break };
                    let inferred = operator(def, &mut *system, seed, effort);
                    done(&inferred);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((k, inferred));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(k, _)| *k);
    results.into_iter().map(|(_, r)| r).collect()
}
