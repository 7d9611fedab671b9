//! `egret conform`: cases in the layout of ONNX's backend tests.
//!
//! Cases run on threads of their own, so that one that hangs is given up (its thread is left behind) and one that
//! panics is reported; the others go on.

mod manifest;

use super::dataset::{self, Case, RawInputs, find};
use super::show::{count, time};
use super::{Failure, panic_text, progress, say, say_json};
use anyhow::{Context, Result};
use clap::Args;
use egret::compare::Tolerance;
use egret::{ErrorKind, Level, Limits, Model, Options, Value, available_threads};
use manifest::Manifest;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Run conformance cases and compare with their expected outputs.
///
/// A case is a folder with `model.onnx` and `test_data_set_*` folders (`input_k.pb`, `output_k.pb`), as in ONNX's backend
/// tests; a DIR is a case or holds cases up to three levels down. Tolerances are those of the case's `data.json`
/// (`rtol`, `atol`, `atol_scaled_by_max`, `differing_integers`), else --rtol and --atol.
///
/// The last line is `N passed, M failed, K skipped`. Exit code 1 if any failed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret conform target/onnx-cases
  egret conform target/onnx-cases/node --filter conv --level reference,native
  egret conform target/onnx-cases --manifest tests/conformance/conformance.txt")]
pub(super) struct ConformArgs {
    /// Cases, or folders of cases.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Levels to run at; a case passes if it passes at each. Default: native.
    #[arg(long, value_name = "LEVEL", value_delimiter = ',')]
    level: Vec<Level>,
    /// Only cases whose name contains one of these words.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Expected failures: lines `name<TAB>reason`, sorted. One that passes counts as failed, so that the list stays true.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Write the failures, with the reasons that are in --manifest or were found, as a new manifest.
    #[arg(long, value_name = "FILE")]
    write_manifest: Option<PathBuf>,
    /// Relative tolerance for cases that state none.
    #[arg(long, default_value_t = 1e-3)]
    rtol: f64,
    /// Absolute tolerance for cases that state none.
    #[arg(long, default_value_t = 1e-7)]
    atol: f64,
    /// Seconds after which a case is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    case_limit: u64,
    /// Cases at a time. Default: the processors that this process may use.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Threads of one case's run.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

/// What became of a case.
#[derive(Clone, Debug)]
enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Outcome {
    verdict: Verdict,
    took: Duration,
}

#[derive(Clone)]
struct How {
    levels: Vec<Level>,
    tolerance: Tolerance,
    limit: Duration,
    threads: usize,
}

pub(super) fn run(args: &ConformArgs) -> Result<()> {
    let manifest = args.manifest.as_deref().map_or(Ok(Manifest::default()), Manifest::read)?;
    let cases = find(&args.dirs, &args.filter)?;
    if cases.is_empty() {
        return Err(Failure::usage("no case was found: a case is a folder with model.onnx and test_data_set_*"));
    }
    let how = How {
        levels: if args.level.is_empty() { vec![Options::from_env()?.level] } else { args.level.clone() },
        tolerance: Tolerance { rtol: args.rtol, atol: args.atol, ..Tolerance::default() },
        limit: Duration::from_secs(args.case_limit),
        threads: args.threads.max(1),
    };
    let jobs = args.jobs.unwrap_or_else(available_threads).clamp(1, cases.len());
    let start = Instant::now();
    let cases = Arc::new(cases);
    let outcomes = run_all(&cases, how, jobs);
    let report = Report::new(&cases, outcomes, &manifest, args.filter.is_empty());
    if let Some(path) = &args.write_manifest {
        report.as_manifest(&manifest).write(path)?;
    }
    if args.json {
        say_json(&report.to_json())?;
    } else {
        say(&report.to_text(start.elapsed()))?;
    }
    // Threads of cases that hang are left behind: the process ends without them.
    if report.n_failed() > 0 { Err(Failure::Found.into()) } else { Ok(()) }
}

enum Event {
    Started(usize),
    Done(usize, Verdict),
}

fn run_all(cases: &Arc<Vec<Case>>, how: How, jobs: usize) -> Vec<Outcome> {
    std::panic::set_hook(Box::new(|_| {}));
    let queue = Arc::new(Mutex::new((0..cases.len()).collect::<VecDeque<_>>()));
    let (tx, rx) = mpsc::channel();
    let spawn = || {
        let (cases, queue, tx, how) = (Arc::clone(cases), Arc::clone(&queue), tx.clone(), how.clone());
        let work = move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(i) = next else { break };
                let _ = tx.send(Event::Started(i));
                let done = catch_unwind(AssertUnwindSafe(|| run_case(&cases[i], &how)));
                let verdict = done.unwrap_or_else(|panic| Verdict::Failed(panic_text(&*panic)));
                let _ = tx.send(Event::Done(i, verdict));
            }
        };
        // Deep models recurse deeply.
        std::thread::Builder::new().stack_size(64 << 20).spawn(work).is_ok()
    };
    let mut running = (0..jobs).filter(|_| spawn()).count();
    let mut outcomes: Vec<Option<Outcome>> = cases.iter().map(|_| None).collect();
    let mut started: BTreeMap<usize, Instant> = BTreeMap::new();
    let bar = progress::bar(cases.len());
    while running > 0 && outcomes.iter().any(Option::is_none) {
        match rx.recv_timeout(Duration::from_millis(200)) {
            Ok(Event::Started(i)) => {
                bar.set_message(cases[i].name.clone());
                started.insert(i, Instant::now());
            }
            Ok(Event::Done(i, verdict)) => {
                // A case that was given up has its outcome already.
                if let Some(since) = started.remove(&i) {
                    outcomes[i] = Some(Outcome { verdict, took: since.elapsed() });
                    bar.inc(1);
                }
            }
            Err(_) => {}
        }
        // Limits within a run are the executor's; this is for what does not look at them.
        let grace = how.limit + Duration::from_secs(5);
        let late: Vec<usize> = started.iter().filter(|(_, s)| s.elapsed() > grace).map(|(&i, _)| i).collect();
        for i in late {
            started.remove(&i);
            let verdict = Verdict::Failed(format!("no answer after {} s", grace.as_secs()));
            outcomes[i] = Some(Outcome { verdict, took: grace });
            bar.inc(1);
            running -= 1;
            running += usize::from(spawn());
        }
    }
    bar.finish_and_clear();
    let lost = || Outcome { verdict: Verdict::Failed("no thread could be started".into()), took: Duration::ZERO };
    outcomes.into_iter().map(|o| o.unwrap_or_else(lost)).collect()
}

fn run_case(case: &Case, how: &How) -> Verdict {
    for &level in &how.levels {
        let prefix = if how.levels.len() > 1 { format!("{level}: ") } else { String::new() };
        match run_case_at(case, how, level) {
            Ok(None) => {}
            Ok(Some(skip)) => return Verdict::Skipped(skip),
            Err(e) => {
                let kind = match e.downcast_ref::<egret::Error>().map(egret::Error::kind) {
                    Some(ErrorKind::Invalid) => "refused: ",
                    _ => "",
                };
                return Verdict::Failed(format!("{prefix}{kind}{e:#}"));
            }
        }
    }
    Verdict::Passed
}

/// Runs every data set; says why where there is nothing to run.
fn run_case_at(case: &Case, how: &How, level: Level) -> Result<Option<String>> {
    let sets = dataset::sets(&case.folder);
    if sets.is_empty() {
        return Ok(Some("it has no test_data_set_*".into()));
    }
    let tolerance = Tolerance::of_case(&case.folder, how.tolerance).map_err(anyhow::Error::msg)?;
    let limits = Limits { deadline: Instant::now().checked_add(how.limit), ..Limits::default() };
    let model = Model::load(case.folder.join("model.onnx"))?;
    for set in &sets {
        let inputs = RawInputs::read(set).bind(&model)?;
        let options = Options {
            level,
            threads: how.threads,
            limits: limits.clone(),
            overridable: inputs.overrides,
            ..Options::default()
        };
        let executable = model.compile(&options)?;
        let want = dataset::outputs(set, &executable)?;
        let got = executable.run(&inputs.order(&executable)?)?;
        compare(&got, &want, &executable, &tolerance)
            .with_context(|| set.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .map_err(|e| if sets.len() > 1 { e } else { anyhow::anyhow!("{}", e.root_cause()) })?;
    }
    Ok(None)
}

fn compare(got: &[Value], want: &[Value], executable: &egret::Executable, tolerance: &Tolerance) -> Result<()> {
    for ((g, w), port) in got.iter().zip(want).zip(executable.outputs()) {
        tolerance.compare(g, w).map_err(|d| anyhow::anyhow!("wrong: output \"{}\": {}", port.name, d.text))?;
    }
    Ok(())
}

/// What is printed.
struct Report<'a> {
    rows: Vec<Row<'a>>,
    /// Names in the manifest that no case has; only known when all cases were asked for.
    stale: Vec<String>,
}

struct Row<'a> {
    name: &'a str,
    /// `pass`, `fail`, `skip`, `expected` (failed as the manifest says), `unexpected` (passed against it).
    verdict: &'static str,
    reason: String,
    took: Duration,
}

impl<'a> Report<'a> {
    fn new(cases: &'a [Case], outcomes: Vec<Outcome>, manifest: &Manifest, whole: bool) -> Report<'a> {
        let row = |(case, outcome): (&'a Case, Outcome)| {
            let (verdict, reason) = match (outcome.verdict, manifest.reason(&case.name)) {
                (Verdict::Passed, None) => ("pass", String::new()),
                (Verdict::Passed, Some(r)) => ("unexpected", format!("passes, but the manifest says: {r}")),
                (Verdict::Failed(_), Some(r)) => ("expected", r.to_owned()),
                (Verdict::Failed(r), None) => ("fail", r),
                (Verdict::Skipped(r), _) => ("skip", r),
            };
            Row { name: &case.name, verdict, reason, took: outcome.took }
        };
        let rows: Vec<Row<'_>> = cases.iter().zip(outcomes).map(row).collect();
        let stale = manifest.names().filter(|n| whole && !cases.iter().any(|c| c.name == **n)).cloned().collect();
        Report { rows, stale }
    }

    fn count(&self, verdicts: &[&str]) -> usize {
        self.rows.iter().filter(|r| verdicts.contains(&r.verdict)).count()
    }

    fn n_failed(&self) -> usize {
        self.count(&["fail", "unexpected"])
    }

    fn to_json(&self) -> serde_json::Value {
        let case = |r: &Row<'_>| json!({ "name": r.name, "verdict": r.verdict, "reason": r.reason, "ms": r.took.as_secs_f64() * 1e3 });
        json!({
            "passed": self.count(&["pass"]),
            "failed": self.n_failed(),
            "skipped": self.count(&["skip", "expected"]),
            "expected_failures": self.count(&["expected"]),
            "not_in_folders": self.stale,
            "cases": self.rows.iter().map(case).collect::<Vec<_>>(),
        })
    }

    /// Failures grouped by reason, most frequent first, then the sums.
    fn to_text(&self, took: Duration) -> String {
        let mut groups: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
        for r in self.rows.iter().filter(|r| ["fail", "unexpected"].contains(&r.verdict)) {
            groups.entry(cause(&r.reason)).or_default().push((r.name, &r.reason));
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        let mut out = String::new();
        for (cause, rows) in groups {
            out += &format!("{}: {cause}\n", count(rows.len(), "case"));
            let width = rows.iter().map(|(n, _)| n.len()).max().unwrap_or(0).min(70);
            for (name, reason) in rows {
                let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                out += &format!("  {name:width$}  {}\n", line.chars().take(300).collect::<String>());
            }
        }
        if !self.stale.is_empty() {
            out += &format!("In the manifest, but no such case: {}\n", self.stale.join(", "));
        }
        let (expected, slowest) = (self.count(&["expected"]), self.rows.iter().max_by_key(|r| r.took));
        if expected > 0 {
            out += &format!("{} as the manifest says, counted as skipped\n", count(expected, "failure"));
        }
        if let Some(r) = slowest {
            out += &format!(
                "{} in {}, slowest {} with {}\n",
                count(self.rows.len(), "case"),
                time(took),
                r.name,
                time(r.took)
            );
        }
        let skipped = self.count(&["skip", "expected"]);
        out + &format!("{} passed, {} failed, {skipped} skipped\n", self.count(&["pass"]), self.n_failed())
    }

    /// The failures as a manifest, reasons of the old one kept.
    fn as_manifest(&self, old: &Manifest) -> Manifest {
        let failed = self.rows.iter().filter(|r| ["fail", "expected"].contains(&r.verdict));
        Manifest::of(failed.map(|r| {
            let reason = old.reason(r.name).map_or_else(|| cause(&r.reason), str::to_owned);
            (r.name.to_owned(), reason)
        }))
    }
}

/// What failures of one kind have in common: the first line, opset versions left out.
fn cause(reason: &str) -> String {
    if reason.contains("wrong: output") {
        return "wrong values".into();
    }
    let line = reason.lines().next().unwrap_or_default();
    let line = match line.split_once(", opset ") {
        Some((before, after)) => format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.to_owned(),
    };
    line.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str) -> Case {
        Case { name: name.into(), folder: PathBuf::new() }
    }

    #[test]
    fn an_expected_failure_that_passes_counts_as_failed() {
        let cases = [case("a"), case("b"), case("c"), case("d")];
        let verdicts = [
            Verdict::Passed,
            Verdict::Passed,
            Verdict::Failed("unsupported: X".into()),
            Verdict::Failed("wrong: output \"y\": 1 of 2".into()),
        ];
        let outcomes = verdicts.map(|verdict| Outcome { verdict, took: Duration::ZERO }).into();
        let manifest = Manifest::of(["b", "c", "gone"].map(|n| (n.to_owned(), "later".to_owned())));
        let report = Report::new(&cases, outcomes, &manifest, true);
        let text = report.to_text(Duration::ZERO);
        assert!(text.ends_with("1 passed, 2 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("no such case: gone"));
        assert_eq!(report.as_manifest(&manifest).names().collect::<Vec<_>>(), ["c", "d"]);
    }

    #[test]
    fn cases_that_hang_or_panic_do_not_stop_the_others() {
        let folder = std::env::temp_dir().join(format!("egret-conform-{}", std::process::id()));
        for name in ["one", "two"] {
            std::fs::create_dir_all(folder.join(name).join("test_data_set_0")).unwrap();
            std::fs::write(folder.join(name).join("model.onnx"), "no model").unwrap();
        }
        let cases = Arc::new(find(&[folder], &[]).unwrap());
        assert_eq!(cases.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        let how = How {
            levels: vec![Level::Reference],
            tolerance: Tolerance::default(),
            limit: Duration::from_secs(5),
            threads: 1,
        };
        for outcome in run_all(&cases, how, 2) {
            assert!(matches!(outcome.verdict, Verdict::Failed(r) if r.contains("no ONNX model")));
        }
    }
}
