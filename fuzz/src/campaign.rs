//! A campaign: graphs are generated, checked, and each failure of a new cause is reduced and written down.
//!
//! All that it does is kept in a [`Store`] as it goes, so that a campaign which was killed goes on where it was.

use crate::ahead::Ahead;
use crate::check::{Failure, Kind, System, failure};
use crate::choices::{Choices, Seeded};
use crate::finding;
use crate::generate::{Case, Config, Generator, full_name};
use crate::memcheck::SLOWNESS;
use crate::metamorphic::{Rewritten, rewritten};
use crate::older::Schemas;
use crate::page::{page, picture};
use crate::probe::{Admission, Probe};
use crate::reduce::reduce;
use crate::store::{Progress, Record, Store};
use anyhow::{Context, Result};
use egret_ir::version::opset;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time to reduce one failure.
const REDUCE: Duration = Duration::from_secs(30);

/// Graphs made for one number until one has only calls that the system implements.
const AGAIN: u64 = 64;

/// The file in a campaign's folder that says which kinds of calls the system implements.
const PROBE: &str = "probe.json";

/// Choices of equal graphs are those of another seed.
const ANEW: u64 = 0xa4e0 << 48;

/// And those of calls in older forms.
const OLDER: u64 = 0x01d0 << 48;

/// And those of graphs that are compiled ahead of time.
const AHEAD: u64 = 0xa4ead << 40;

/// How often progress is kept, and the page written.
const KEEP: Duration = Duration::from_secs(5);

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
    /// End once so many causes are known.
    pub max_findings: Option<usize>,
    /// Kind of graphs.
    pub config: Config,
    /// Of 100 graphs that show no failure, how many are run once more, written as an equal graph.
    pub rewritten_percent: usize,
    /// Of 100 graphs that show no failure, of how many one call is run in the form that it had at an older opset.
    pub older_percent: usize,
    /// Of 100 graphs that show no failure, how many are also compiled ahead of time by Egret, linked and run.
    pub ahead_percent: usize,
}

impl Plan {
    /// What makes two runs one campaign: all but its length.
    fn describe(&self, system: &dyn System) -> String {
        let Plan { seed, from, config, rewritten_percent, older_percent, ahead_percent, .. } = self;
        let also = format!("rewritten {rewritten_percent}, older {older_percent}, ahead {ahead_percent}");
        let system = named(system);
        format!("{system}, seed {seed}, from graph {from}, {config:?}, {also}")
    }
}

/// A system as the options of `egret fuzz run` name it.
fn named(system: &dyn System) -> String {
    let memcheck = system.memcheck().map_or(String::new(), |m| format!(" --memcheck={}", m.name()));
    format!("{}{memcheck}", system.name())
}

/// What came of a campaign, all runs of it together.
#[derive(Debug, Default)]
pub struct Report {
    /// How far it is.
    pub progress: Progress,
    /// Findings by cause.
    pub findings: BTreeMap<String, Record>,
    /// Graphs of this run.
    pub graphs: u64,
    /// Time of this run.
    pub took: Duration,
}

/// Runs a campaign on one system, or goes on with the one that `store` holds; `progress` is told after each graph.
/// Findings get folders in `out`, beside a page `index.html`.
///
/// # Errors
/// When the system cannot be started, the store holds another campaign, or a finding cannot be written.
pub fn run(
    plan: &Plan,
    system: &mut dyn System,
    store: &mut dyn Store,
    out: Option<&Path>,
    progress: &mut dyn FnMut(&Report),
) -> Result<Report> {
    let start = Instant::now();
    let (before, records) = store.resume(&plan.describe(system))?;
    let mut generator = Generator::new(plan.config.clone());
    generator.resume(&before.uses);
    let version = format!("{} {}", system.name(), system.version());
    let findings = records.into_iter().map(|r| (r.cause.clone(), r)).collect();
    let mut campaign = Campaign {
        report: Report { progress: before.clone(), findings, ..Report::default() },
        known: BTreeMap::new(),
        operators: generator.uses().count(),
        out,
        store,
        config: &plan.config,
        schemas: if plan.older_percent > 0 { system.schemas()? } else { None },
        probe: match out {
            Some(out) => Probe::load(&version, &out.join(PROBE))?,
            None => Probe::new(&version),
        },
    };
    generator.forbid(campaign.probe.take_fresh());
    let first = before.next.max(plan.from);
    let mut kept = Instant::now();
    for i in first..first.saturating_add(plan.count) {
        if plan.deadline.is_some_and(|d| Instant::now() > d) {
            break;
        }
        if plan.max_findings.is_some_and(|most| campaign.report.findings.len() >= most) {
            break;
        }
        let Some(case) = campaign.next(plan.seed, i, &mut generator, system)? else { break };
        let before_it = system.untaken();
        let found = failure(system, &case)?;
        // Smaller cases that a reduction tries do not count.
        let untaken = system.untaken();
        campaign.report.progress.unloaded += untaken.unloaded - before_it.unloaded;
        campaign.report.progress.unsupported += untaken.unsupported - before_it.unsupported;
        if untaken.unsupported > before_it.unsupported && system.is_partial() {
            campaign.probe.learn(&case, system)?;
        }
        match found {
            Some(failure) => campaign.failed(plan.seed, i, &case, &failure, system)?,
            None => {
                campaign.rewritten(plan, i, &case, system)?;
                campaign.older(plan, i, &case, system)?;
                campaign.ahead(plan, i, &case)?;
            }
        }
        for (graph, inputs, text) in generator.bugs.drain(..) {
            campaign.refused_by_reference(graph, inputs, text)?;
        }
        campaign.report.graphs += 1;
        campaign.report.took = start.elapsed();
        let p = &mut campaign.report.progress;
        (p.next, p.graphs) = (i + 1, before.graphs + campaign.report.graphs);
        p.seconds = before.seconds + start.elapsed().as_secs_f64();
        if kept.elapsed() > KEEP {
            campaign.keep(&generator, system)?;
            kept = Instant::now();
        }
        progress(&campaign.report);
    }
    campaign.report.took = start.elapsed();
    campaign.report.progress.seconds = before.seconds + start.elapsed().as_secs_f64();
    campaign.keep(&generator, system)?;
    Ok(campaign.report)
}

struct Campaign<'a> {
    report: Report,
    /// Causes of failures before they were reduced: known ones are not reduced again.
    known: BTreeMap<String, String>,
    /// Operators of the menu.
    operators: usize,
    out: Option<&'a Path>,
    store: &'a mut dyn Store,
    /// What the system implements.
    probe: Probe,
    /// Which calls count.
    config: &'a Config,
    /// What operators were in older opsets, where the system takes files of those.
    schemas: Option<Schemas>,
}

impl Campaign<'_> {
    /// Graph `i`, of calls that the system takes one by one; those that it refuses are findings. None where no graph of many was
    /// made.
    fn next(&mut self, seed: u64, i: u64, generator: &mut Generator, system: &mut dyn System) -> Result<Option<Case>> {
        generator.begin(seed, i);
        let mut last = None;
        for again in 0..AGAIN {
            // Graphs that are made anew are as far from all others as these from each other.
            let stream = i.wrapping_add(again << 48);
            // Where all the operators tried were those that the system refuses, others are next.
            let Some(case) = generator.generate(&mut Seeded::new(seed, stream)) else { continue };
            if !system.is_partial() {
                return Ok(Some(case));
            }
            match self.probe.admits(&case, system)? {
                Admission::Yes => return Ok(Some(case)),
                Admission::No => {}
                Admission::Refused(call, failure) => self.failed(seed, i, &call, &failure, system)?,
            }
            generator.forbid(self.probe.take_fresh());
            last = Some(case);
        }
        Ok(last)
    }

    /// The case once more as an equal graph, if it is one of those of which that is wanted.
    fn rewritten(&mut self, plan: &Plan, i: u64, case: &Case, system: &mut dyn System) -> Result<()> {
        let mut choices = Seeded::new(plan.seed ^ ANEW, i);
        if choices.below(100) >= plan.rewritten_percent {
            return Ok(());
        }
        let other = match rewritten(case, &mut choices) {
            Rewritten::Equal(other) => other,
            Rewritten::No => return Ok(()),
            Rewritten::Bug(graph, inputs, text) => return self.refused_by_reference(*graph, inputs, text),
        };
        if !plan.config.wants_all(&other) {
            return Ok(());
        }
        if system.is_partial() {
            match self.probe.admits(&other, system)? {
                Admission::Yes => {}
                Admission::No => return Ok(()),
                Admission::Refused(call, failure) => return self.failed(plan.seed, i, &call, &failure, system),
            }
        }
        match failure(system, &other)? {
            Some(failure) => self.failed(plan.seed, i, &other, &failure, system),
            None => Ok(()),
        }
    }

    /// A call of the case in a form of years ago, if it is one of those of which that is wanted.
    fn older(&mut self, plan: &Plan, i: u64, case: &Case, system: &mut dyn System) -> Result<()> {
        let Some(schemas) = &self.schemas else { return Ok(()) };
        let mut choices = Seeded::new(plan.seed ^ OLDER, i);
        if choices.below(100) >= plan.older_percent {
            return Ok(());
        }
        let Some(other) = schemas.older(case, &mut choices).filter(|c| plan.config.wants_all(c)) else { return Ok(()) };
        match failure(system, &other)? {
            Some(failure) => self.failed(plan.seed, i, &other, &failure, system),
            None => Ok(()),
        }
    }

    /// The case ahead of time, if it is one of those of which that is wanted.
    fn ahead(&mut self, plan: &Plan, i: u64, case: &Case) -> Result<()> {
        if Seeded::new(plan.seed ^ AHEAD, i).below(100) >= plan.ahead_percent {
            return Ok(());
        }
        let mut system = Ahead::default();
        match failure(&mut system, case)? {
            Some(failure) => self.failed(plan.seed, i, case, &failure, &mut system),
            None => Ok(()),
        }
    }

    fn failed(&mut self, seed: u64, i: u64, case: &Case, failure: &Failure, system: &mut dyn System) -> Result<()> {
        // The generator does not see every value of a body.
        if !self.config.wants_all(case) {
            return Ok(());
        }
        let before = failure.cause(&case.graph);
        let cause = match self.known.get(&before) {
            Some(cause) => cause.clone(),
            None => {
                let (case, failure) = smallest(case, failure, system, self.config)?;
                let cause = failure.cause(&case.graph);
                self.known.insert(before, cause.clone());
                if !self.report.findings.contains_key(&cause) {
                    let found = json!({ "seed": seed, "graph": i });
                    let name = format!("{:03}-{}", self.report.findings.len(), slug(&cause));
                    let write = |o| finding::write(o, &name, &case, &failure, &found);
                    let folder = self.out.map(write).transpose()?;
                    self.record(&cause, &case, &failure, folder);
                }
                cause
            }
        };
        self.seen(&cause)
    }

    /// A call that the rule accepts and the reference refuses for reasons that are Egret's own.
    fn refused_by_reference(
        &mut self,
        graph: egret_ir::Graph,
        inputs: Vec<egret_ir::Value>,
        text: String,
    ) -> Result<()> {
        let failure = Failure { stage: "egret: reference".to_owned(), kind: Kind::Wrong, text };
        let cause = format!("{} | {}", failure.cause(&graph), failure.text);
        if !self.report.findings.contains_key(&cause) {
            self.record(&cause, &Case { graph, inputs, ..Case::default() }, &failure, None);
        }
        self.seen(&cause)
    }

    fn record(&mut self, cause: &str, case: &Case, failure: &Failure, folder: Option<PathBuf>) {
        let record = Record {
            cause: cause.to_owned(),
            stage: failure.stage.clone(),
            kind: failure.kind.name().to_owned(),
            text: failure.text.clone(),
            graph: case.opset.map_or(String::new(), |o| format!("// opset {o}\n"))
                + &egret_ir::text::print(&case.graph),
            picture: picture(&case.graph),
            nodes: case.graph.nodes.len(),
            folder,
            seen: 0,
        };
        self.report.findings.insert(cause.to_owned(), record);
    }

    fn seen(&mut self, cause: &str) -> Result<()> {
        match self.report.findings.get_mut(cause) {
            Some(record) => {
                record.seen += 1;
                self.store.found(record)
            }
            None => Ok(()),
        }
    }

    fn keep(&mut self, generator: &Generator, system: &dyn System) -> Result<()> {
        self.report.progress.uses = generator.uses().map(|(d, n)| (full_name(d), n)).collect();
        self.store.progress(&self.report.progress)?;
        let Some(out) = self.out else { return Ok(()) };
        if self.probe.asked > 0 {
            self.probe.save(&out.join(PROBE))?;
        }
        let mut findings: Vec<Record> = self.report.findings.values().cloned().collect();
        findings.sort_by(|a, b| b.seen.cmp(&a.seen).then_with(|| a.cause.cmp(&b.cause)));
        let title = format!("egret fuzz run --system {}", named(system));
        let text = page(&title, &self.report.progress, self.operators, &findings);
        let path = out.join("index.html");
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

/// The smallest case with the same stage and kind of failure, of calls that count.
fn smallest(case: &Case, first: &Failure, system: &mut dyn System, config: &Config) -> Result<(Case, Failure)> {
    let time = REDUCE * system.memcheck().map_or(1, |_| SLOWNESS);
    let (mut last, mut broken) = (first.clone(), None);
    let mut fails = |c: &Case| match failure(system, c) {
        Ok(Some(f)) if f.kind == first.kind && f.stage == first.stage && config.wants_all(c) => {
            last = f;
            true
        }
        Ok(_) => false,
        Err(e) => {
            broken.get_or_insert(e);
            false
        }
    };
    // Calls are taken away, and the opset that they needed stays until the end.
    let pinned = Case { opset: case.file.is_none().then(|| opset(&case.graph)), ..case.clone() };
    let mut small = reduce(&pinned, Instant::now() + time, &mut fails);
    let free = Case { opset: None, ..small.clone() };
    if small.opset.is_some_and(|o| o == opset(&small.graph)) || fails(&free) {
        small = free;
    }
    broken.map_or(Ok((small, last)), Err)
}

fn slug(cause: &str) -> String {
    let words: Vec<String> =
        cause.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).take(6).map(str::to_lowercase).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Taken;
    use crate::store::Database;

    /// Says that every graph with one of these operators is wrong.
    struct Hater(&'static [&'static str]);

    impl System for Hater {
        fn name(&self) -> &str {
            "hater"
        }

        fn check(&mut self, case: &Case) -> Result<Option<Failure>> {
            let bad = case.graph.nodes.iter().any(|n| self.0.contains(&n.op.def().name));
            Ok(bad.then(|| Failure { stage: "hater".into(), kind: Kind::Wrong, text: "no".into() }))
        }
    }

    /// Implements one operator and says so of all others.
    struct Specialist(&'static str);

    impl System for Specialist {
        fn name(&self) -> &str {
            "specialist"
        }

        fn check(&mut self, _: &Case) -> Result<Option<Failure>> {
            Ok(None)
        }

        fn is_partial(&self) -> bool {
            true
        }

        fn takes(&mut self, call: &Case) -> Result<Taken> {
            let is_it = call.graph.nodes.iter().all(|n| n.op.def().name == self.0);
            Ok(if is_it { Taken::Yes } else { Taken::No })
        }
    }

    /// Says that every file with a `Relu` is wrong from an opset on.
    struct Newcomer(i64);

    impl System for Newcomer {
        fn name(&self) -> &str {
            "newcomer"
        }

        fn check(&mut self, case: &Case) -> Result<Option<Failure>> {
            let relu = case.graph.nodes.iter().any(|n| n.op.def().name == "Relu");
            let bad = relu && case.opset.unwrap_or(0).max(opset(&case.graph)) >= self.0;
            Ok(bad.then(|| Failure { stage: "newcomer".into(), kind: Kind::Wrong, text: "no".into() }))
        }
    }

    #[test]
    fn the_opset_of_what_is_taken_away_stays_where_it_is_needed() {
        let mut b = egret_ir::GraphBuilder::new("t");
        let x = b.input("x", egret_ir::Type::tensor(egret_ir::DType::F32, &[1]));
        let y = b.op("Relu", egret_ir::attrs! {}, &[x]).unwrap();
        let y = b.op("Gelu", egret_ir::attrs! {}, &[y]).unwrap();
        let value = egret_ir::Value::from(egret_ir::Tensor::from_slice(&[1], &[0.0f32]));
        let (inputs, outputs) = (vec![value.clone()], vec![value]);
        let case = Case { graph: b.finish(&[y]), inputs, outputs, ..Case::default() };
        for (from, kept) in [(20, Some(20)), (13, None)] {
            let mut system = Newcomer(from);
            let first = system.check(&case).unwrap().unwrap();
            let (small, _) = smallest(&case, &first, &mut system, &Config::default()).unwrap();
            assert_eq!((small.graph.nodes.len(), small.opset), (1, kept));
        }
    }

    #[test]
    fn a_campaign_goes_on_where_a_system_implements_little() {
        let only = [
            "Relu", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Sin", "Cos", "Tanh", "Sigmoid", "Floor", "Ceil",
            "Round", "Add", "Sub", "Mul", "Div",
        ];
        let (plan, mut store) = (plan(1, &only, 300), crate::store::Memory);
        let report = run(&plan, &mut Specialist("Relu"), &mut store, None, &mut |_| {}).unwrap();
        assert_eq!(report.graphs, 300);
    }

    fn plan(nodes: usize, only: &[&str], count: u64) -> Plan {
        let config = Config { nodes, only: only.iter().map(|n| (*n).into()).collect(), ..Config::default() };
        Plan {
            seed: 1,
            from: 0,
            count,
            deadline: None,
            max_findings: None,
            config,
            rewritten_percent: 0,
            older_percent: 0,
            ahead_percent: 0,
        }
    }

    #[test]
    fn an_equal_graph_shows_what_the_graph_does_not() {
        let of = |rewritten_percent| {
            let plan = Plan { rewritten_percent, ..plan(2, &["Add"], 100) };
            run(&plan, &mut Hater(&["Transpose"]), &mut crate::store::Memory, None, &mut |_| {}).unwrap()
        };
        assert!(of(0).findings.is_empty());
        let report = of(100);
        assert_eq!(report.findings.len(), 1);
        let found = report.findings.values().next().unwrap();
        assert!(found.graph.contains("transpose") && found.nodes == 1, "{}", found.graph);
    }

    #[test]
    fn a_campaign_ends_with_the_findings_that_are_enough() {
        let of = |max_findings| {
            let plan = Plan { max_findings, ..plan(3, &["Add", "Relu", "Neg"], 100) };
            run(&plan, &mut Hater(&["Relu", "Neg"]), &mut crate::store::Memory, None, &mut |_| {}).unwrap()
        };
        let (all, one) = (of(None), of(Some(1)));
        assert_eq!((all.graphs, all.findings.len()), (100, 2));
        assert_eq!(one.findings.len(), 1);
        assert!(one.graphs < 20, "{}", one.graphs);
    }

    #[test]
    fn a_campaign_goes_on_and_finds_one_cause_once() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let plan = plan(3, &["Add", "Relu", "Neg"], 10);
        let go = || {
            let mut store = Database::open(&out.join("campaign.sqlite")).unwrap();
            run(&plan, &mut Hater(&["Relu"]), &mut store, Some(out), &mut |_| {}).unwrap()
        };
        let first = go();
        assert_eq!((first.progress.next, first.findings.len()), (10, 1));
        let record = first.findings.values().next().unwrap();
        assert!(record.nodes == 1 && record.seen > 3, "{record:?}");
        let second = go();
        assert_eq!(
            (second.progress.next, second.progress.graphs, second.graphs, second.findings.len()),
            (20, 20, 10, 1)
        );
        assert!(second.progress.uses["Relu"] > first.progress.uses["Relu"]);
        let page = std::fs::read_to_string(out.join("index.html")).unwrap();
        assert!(page.contains("<svg") && page.contains("000-"));
    }
}
