//! A campaign: graphs are generated, checked, and each failure of a new cause is reduced and written down.

use crate::check::{Failure, System};
use crate::choices::Seeded;
use crate::finding;
use crate::generate::{Case, Config, Generator};
use crate::reduce::reduce;
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time to reduce one failure.
const REDUCE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// First seed; graph `i` is grown from it and `i`.
    pub seed: u64,
    /// First graph.
    pub from: u64,
    /// Graphs.
    pub count: u64,
    /// End of the campaign.
    pub deadline: Option<Instant>,
    /// Kind of graphs.
    pub config: Config,
}

/// A failure with its smallest graph.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What went wrong, on the smallest graph.
    pub failure: Failure,
    /// The smallest graph.
    pub case: Case,
    /// Where it is written down.
    pub folder: Option<PathBuf>,
    /// Graphs that failed for the same cause.
    pub seen: usize,
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// Graphs checked.
    pub graphs: u64,
    /// Findings by cause.
    pub findings: BTreeMap<String, Finding>,
    /// Calls by operator.
    pub uses: Vec<(&'static str, usize)>,
    /// Time spent.
    pub took: Duration,
}

/// Runs a campaign on one system; `progress` is told after each graph.
///
/// # Errors
/// When the system cannot be started, or a finding cannot be written.
pub fn run(
    plan: &Plan,
    system: &mut dyn System,
    out: Option<&Path>,
    progress: &mut dyn FnMut(&Report),
) -> Result<Report> {
    let start = Instant::now();
    let mut generator = Generator::new(plan.config.clone());
    let mut report = Report::default();
    // Causes of failures before they were reduced: known ones are not reduced again.
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for i in plan.from..plan.from + plan.count {
        if plan.deadline.is_some_and(|d| Instant::now() > d) {
            break;
        }
        let Some(case) = generator.generate(&mut Seeded::new(plan.seed, i)) else { break };
        report.graphs += 1;
        if let Some(failure) = system.check(&case)? {
            let before = failure.cause(&case.graph);
            let cause = match known.get(&before) {
                Some(cause) => cause.clone(),
                None => {
                    let (case, failure) = smallest(&case, &failure, system)?;
                    let cause = failure.cause(&case.graph);
                    known.insert(before, cause.clone());
                    if !report.findings.contains_key(&cause) {
                        let found = json!({ "seed": plan.seed, "graph": i });
                        let name = format!("{:03}-{}", report.findings.len(), slug(&cause));
                        let folder = out.map(|o| finding::write(o, &name, &case, &failure, &found)).transpose()?;
                        report.findings.insert(cause.clone(), Finding { failure, case, folder, seen: 0 });
                    }
                    cause
                }
            };
            if let Some(f) = report.findings.get_mut(&cause) {
                f.seen += 1;
            }
        }
        report.took = start.elapsed();
        progress(&report);
    }
    for (graph, _, text) in &generator.bugs {
        let stage = "egret: reference".to_owned();
        let failure = Failure { stage, kind: crate::check::Kind::Wrong, text: text.clone() };
        let case = Case { graph: graph.clone(), inputs: Vec::new(), outputs: Vec::new() };
        let cause = format!("{} | {text}", failure.cause(graph));
        report.findings.entry(cause).or_insert(Finding { failure, case, folder: None, seen: 0 }).seen += 1;
    }
    report.uses = generator.uses().map(|(d, n)| (d.name, n)).collect();
    report.took = start.elapsed();
    Ok(report)
}

/// The smallest case with the same stage and kind of failure.
fn smallest(case: &Case, failure: &Failure, system: &mut dyn System) -> Result<(Case, Failure)> {
    let (mut last, mut broken) = (failure.clone(), None);
    let small = reduce(case, Instant::now() + REDUCE, &mut |c| match system.check(c) {
        Ok(Some(f)) if f.kind == failure.kind && f.stage == failure.stage => {
            last = f;
            true
        }
        Ok(_) => false,
        Err(e) => {
            broken.get_or_insert(e);
            false
        }
    });
    broken.map_or(Ok((small, last)), Err)
}

fn slug(cause: &str) -> String {
    let words: Vec<String> =
        cause.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).take(6).map(str::to_lowercase).collect();
    words.join("-")
}
