//! `egret fuzz trace`, `infer`, `show`, `score`: records of calls, rules inferred from calls, and how right they are.

use clap::Args;
use std::path::PathBuf;

/// Record operator calls, one JSON object a line: what went in, and the types that came out or the refusal.
///
/// Sources: the examples of the registry's operators, and the nodes of the models given (ONNX files, or folders with
/// cases of ONNX's backend tests), each run in the black box; or the calls of PyTorch's functions that a Python script
/// makes, which keeps its own output and exit code.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret fuzz trace --out records.jsonl                     the examples of all operators
  egret fuzz trace models --out records.jsonl              the nodes of models
  egret fuzz trace --torch train.py --out torch.jsonl -- --epochs 1")]
pub(super) struct TraceArgs {
    /// Models, cases, or folders of such; with `--torch` the script's arguments.
    models: Vec<PathBuf>,
    /// Write the records here and not to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Run this Python script and record its calls of PyTorch's functions.
    #[arg(long, value_name = "SCRIPT", requires = "out")]
    torch: Option<PathBuf>,
    /// Python with PyTorch. Default: that of `cargo xtask runtime torch torch`.
    #[arg(long, value_name = "PROGRAM", requires = "torch")]
    python: Option<PathBuf>,
    /// Different calls of one function that are recorded, at most.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "torch")]
    most: usize,
}

/// Infer when calls of operators are valid, and the extents of their results, from experiments alone.
///
/// An operator is run as a black box; its rule is never read. Experiments are chosen where they decide between
/// candidates. The result is a file of rules, one JSON object a line, which `egret fuzz show` prints for people.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret fuzz infer Conv Gather --out rules.jsonl
  egret fuzz infer --all --out rules.jsonl
  egret fuzz infer Concat --list              argument structures only
  egret fuzz infer Conv --most 8 --system onnxruntime --out ort.jsonl
  egret fuzz infer --system torch --from torch.jsonl conv2d cat --out torch-rules.jsonl")]
pub(super) struct InferArgs {
    /// Operators by ONNX name.
    ops: Vec<String>,
    /// Every operator of the registry.
    #[arg(long)]
    all: bool,
    /// Print the argument structures and infer nothing.
    #[arg(long)]
    list: bool,
    /// Write the rules here. Without it they are printed as `show` does.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seed; the same seed gives the same rules.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// At most so many structures of each operator, spread over its list.
    #[arg(long, value_name = "N")]
    most: Option<usize>,
    /// Operators that records of calls (`egret fuzz trace`) tell of, instead of the registry's: functions of PyTorch, custom
    /// operators. Those named (the last part of a dotted name is enough), or all of the file.
    #[arg(long, value_name = "RECORDS", conflicts_with = "all")]
    from: Option<PathBuf>,
    /// What runs the operators: `egret`, or a runtime in a process of its own (`onnxruntime`, `torch`).
    #[arg(long, default_value = "egret")]
    system: String,
    /// Python with the runtime, onnx and numpy. Default: `.venv/bin/python`, for torch the one of `cargo xtask runtime torch
    /// torch`.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// A library of custom operators for `--system onnxruntime`.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Operators side by side. Default: the processors that this process may use.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// Print inferred rules for people.
#[derive(Args)]
pub(super) struct ShowArgs {
    /// Operators by ONNX name; all of the file where none is named.
    ops: Vec<String>,
    /// The file of rules.
    #[arg(long, value_name = "FILE", default_value = "rules.jsonl")]
    rules: PathBuf,
}

/// Compare inferred rules with the registry's: proved equivalent by z3, or a call on which they differ; precision, recall
/// and extents on fresh calls; the report says how many of those are invalid.
#[derive(Args)]
pub(super) struct ScoreArgs {
    /// The file of rules.
    rules: PathBuf,
    /// Only these operators (ONNX names, comma-separated).
    #[arg(long, value_delimiter = ',', value_name = "OPS")]
    ops: Vec<String>,
    /// Seed of the fresh calls.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Compare with this system, on fresh calls only, and not with the registry's rules.
    #[arg(long)]
    system: Option<String>,
    /// Python with the runtime, onnx and numpy. Default: as for `infer`.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// A library of custom operators for `--system onnxruntime`.
    #[arg(long, value_name = "FILE", requires = "system")]
    library: Option<PathBuf>,
    /// Structures side by side. Default: the processors that this process may use.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Exceptions that are listed, at most.
    #[arg(long, default_value_t = 40, value_name = "N")]
    exceptions: usize,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

#[cfg(feature = "fuzz")]
pub(super) use with_fuzzer::{infer, score, show, trace};

#[cfg(feature = "fuzz")]
mod with_fuzzer {
    use super::super::super::progress::bar;
    use super::super::super::show::count;
    use super::super::super::{Failure, say, say_json};
    use super::{InferArgs, ScoreArgs, ShowArgs, TraceArgs};
    use anyhow::{Context, Result};
    use egret::ir::ops;
    use egret_fuzz::blackbox::{BlackBox, Egret};
    use egret_fuzz::infer::declaration::Declaration;
    use egret_fuzz::infer::list::list;
    use egret_fuzz::infer::rulefile;
    use egret_fuzz::infer::run::{Inferred, Make, operators, side_by_side};
    use egret_fuzz::infer::score::{Asked, Counts, Score, Verdict, fresh, score_beside};
    use egret_fuzz::infer::search::{Effort, Rule, Status, render};
    use egret_fuzz::runtime::Runtime;
    use egret_fuzz::trace::{Call, Outcome, Record, read as read_records, trace_examples, trace_model, trace_script};
    use egret_fuzz::workers;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    pub(in super::super) fn trace(args: &TraceArgs) -> Result<()> {
        if let (Some(script), Some(out)) = (&args.torch, &args.out) {
            return trace_torch(script, out, args);
        }
        let mut records = if args.models.is_empty() { trace_examples() } else { Vec::new() };
        let mut refused = 0;
        for path in args.models.iter().flat_map(|p| models(p)) {
            match trace_model(&path, &mut Egret::default()) {
                Ok(r) => records.extend(r),
                Err(e) => {
                    refused += 1;
                    eprintln!("{}: {e:#}", path.display());
                }
            }
        }
        write_lines(args.out.as_deref(), records.iter().map(Record::json))?;
        if args.out.is_some() {
            say(&format!("{} ({} could not be read)\n", count(records.len(), "record"), count(refused, "model")))?;
        }
        Ok(())
    }

    /// Records of what a script asks of PyTorch. The script has standard output to itself.
    fn trace_torch(script: &Path, out: &Path, args: &TraceArgs) -> Result<()> {
        let python = args.python.as_deref().unwrap_or_else(|| workers::python("torch"));
        let status = trace_script(python, script, &args.models, out, args.most)?;
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::Ended(u8::try_from(code).unwrap_or(1)).into()),
            None => anyhow::bail!("{}: {status}", script.display()),
        }
    }

    /// ONNX files and cases under a path.
    fn models(path: &Path) -> Vec<PathBuf> {
        if path.is_file() {
            return vec![path.to_path_buf()];
        }
        if path.join("model.onnx").is_file() {
            return vec![path.join("model.onnx")];
        }
        let mut below: Vec<PathBuf> =
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        below.sort();
        let wanted = |p: &PathBuf| p.is_dir() || p.extension().is_some_and(|e| e == "onnx");
        below.iter().filter(|p| wanted(p)).flat_map(|p| models(p)).collect()
    }

    fn write_lines(out: Option<&Path>, lines: impl Iterator<Item = serde_json::Value>) -> Result<()> {
        let Some(path) = out else {
            for line in lines {
                say(&format!("{line}\n"))?;
            }
            return Ok(());
        };
        let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
        let mut file = std::io::BufWriter::new(file);
        for line in lines {
            writeln!(file, "{line}").with_context(|| path.display().to_string())?;
        }
        file.flush().with_context(|| path.display().to_string())
    }

    /// Operators of the registry by name.
    fn named(names: &[String], all: bool) -> Result<Vec<Declaration>> {
        if names.is_empty() && !all {
            return Err(Failure::usage("name operators, or give --all"));
        }
        for n in names {
            if !ops::OPS.iter().any(|d| d.name == n) {
                return Err(Failure::usage(format!(
                    "the registry has no operator `{n}`; records of its calls declare one (--from)"
                )));
            }
        }
        let wanted = ops::OPS.iter().filter(|d| names.is_empty() || names.iter().any(|n| n == d.name));
        Ok(wanted.map(|d| Declaration::of_def(d)).collect())
    }

    /// Operators of a file of records: all, or those of these names. The last part of a dotted name is enough.
    fn recorded(path: &Path, names: &[String]) -> Result<Vec<Declaration>> {
        let at = || path.display().to_string();
        let records = read_records(&std::fs::read_to_string(path).with_context(at)?).with_context(at)?;
        let mut declared = Declaration::of_records(&records);
        for n in names {
            if !declared.iter().any(|d| is_named(&d.op, n)) {
                return Err(Failure::usage(format!("{} has no call of `{n}`", path.display())));
            }
        }
        declared.retain(|d| names.is_empty() || names.iter().any(|n| is_named(&d.op, n)));
        Ok(declared)
    }

    fn is_named(op: &str, name: &str) -> bool {
        op == name || op.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    }

    fn black_box(system: &str, python: &Path, library: Option<&Path>) -> Box<dyn BlackBox> {
        if system == "egret" {
            return Box::new(Egret::default());
        }
        match Runtime::start_with(system, python, library) {
            Ok(runtime) => Box::new(runtime),
            Err(e) => Box::new(Absent(format!("{e:#}"))),
        }
    }

    /// A runtime that does not start.
    struct Absent(String);

    impl BlackBox for Absent {
        fn name(&self) -> &str {
            "absent"
        }

        fn call(&mut self, _: &Call) -> Outcome {
            Outcome::Unsupported(self.0.clone())
        }
    }

    fn jobs(wanted: Option<usize>) -> usize {
        wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }

    pub(in super::super) fn infer(args: &InferArgs) -> Result<()> {
        let declared = match &args.from {
            Some(path) => recorded(path, &args.ops)?,
            None => named(&args.ops, args.all)?,
        };
        let python = args.python.as_deref().unwrap_or_else(|| workers::python(&args.system));
        let library = args.library.as_deref();
        // A runtime that does not start is told of here and not in a thread.
        if args.system != "egret" {
            Runtime::start_with(&args.system, python, library)?;
        }
        let make = || black_box(&args.system, python, library);
        let egret = || black_box("egret", python, None);
        // Structures of operators that the registry does not know are tried where they are run.
        let lister: Make<'_> = if args.from.is_some() { &make } else { &egret };
        if args.list {
            let mut total = 0;
            let mut system = lister();
            for of in &declared {
                let listing = list(of, &mut *system, args.seed ^ of.seed());
                total += listing.structures.len();
                for (s, _) in &listing.structures {
                    say(&format!("{}\n", s.text()))?;
                }
                if let Some(why) = &listing.none {
                    say(&format!("{}: {why}\n", of.op))?;
                }
            }
            return say(&format!("{} of {}\n", count(total, "structure"), count(declared.len(), "operator")));
        }
        let begin = Instant::now();
        let bar = bar(declared.len());
        let effort = Effort { structures: args.most, ..Effort::default() };
        let found = operators(&declared, lister, &make, args.seed, effort, jobs(args.jobs), &|i: &Inferred| {
            bar.inc(1);
            bar.set_message(format!("{}: {} in {:.1} s", i.op, count(i.rules.len(), "rule"), i.took.as_secs_f64()));
        });
        bar.finish_and_clear();
        let rules: Vec<&Rule> = found.iter().flat_map(|i| &i.rules).collect();
        match &args.out {
            Some(path) => write_lines(Some(path), rules.iter().map(|r| rulefile::json(r)))?,
            None => {
                for r in &rules {
                    say(&render(r))?;
                }
            }
        }
        for i in &found {
            if let Some(why) = &i.none {
                say(&format!("{}: no rule, {why}\n", i.op))?;
            }
        }
        let mut slow: Vec<&Inferred> = found.iter().collect();
        slow.sort_by_key(|i| std::cmp::Reverse(i.took));
        let slow: Vec<String> =
            slow.iter().take(5).map(|i| format!("{} {:.1} s", i.op, i.took.as_secs_f64())).collect();
        say(&format!("slowest: {}\n", slow.join(", ")))?;
        let stand = rules.iter().filter(|r| r.status == Status::Stands).count();
        let calls: usize = rules.iter().map(|r| r.experiments.0 + r.experiments.1).sum();
        say(&format!(
            "{} of {}, {stand} stand unrefuted, {calls} calls kept, {:.1} s\n",
            count(rules.len(), "rule"),
            count(found.len(), "operator"),
            begin.elapsed().as_secs_f64()
        ))
    }

    fn read(path: &Path) -> Result<Vec<Rule>> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        rulefile::read(&text).with_context(|| path.display().to_string())
    }

    pub(in super::super) fn show(args: &ShowArgs) -> Result<()> {
        let rules = read(&args.rules)?;
        let wanted = |r: &&Rule| args.ops.is_empty() || args.ops.iter().any(|n| is_named(&r.structure.op, n));
        for r in rules.iter().filter(wanted) {
            say(&render(r))?;
        }
        Ok(())
    }

    pub(in super::super) fn score(args: &ScoreArgs) -> Result<()> {
        let mut rules = read(&args.rules)?;
        rules.retain(|r| args.ops.is_empty() || args.ops.iter().any(|n| is_named(&r.structure.op, n)));
        if let Some(system) = &args.system {
            return score_fresh(&rules, system, args);
        }
        let bar = bar(rules.len());
        let begin = Instant::now();
        // Rules of one operator after another: they ask z3 much the same.
        let groups: Vec<&[Rule]> = rules.chunk_by(|a, b| a.structure.op == b.structure.op).collect();
        let scores = side_by_side(
            &groups,
            jobs(args.jobs),
            || (),
            |(), group| {
                let mut asked = Asked::default();
                let score = |rule| {
                    bar.inc(1);
                    score_beside(rule, args.seed, &mut asked)
                };
                group.iter().map(score).collect::<Vec<Score>>()
            },
        )
        .concat();
        bar.finish_and_clear();
        let seconds = begin.elapsed().as_secs_f64();
        let scored: Vec<(&Rule, &Score)> = rules.iter().zip(&scores).collect();
        if args.json { as_json(&scored) } else { print(&scored, args.exceptions, seconds) }
    }

    /// Rules against a black box on fresh calls.
    fn score_fresh(rules: &[Rule], system: &str, args: &ScoreArgs) -> Result<()> {
        let python = args.python.as_deref().unwrap_or_else(|| workers::python(system));
        Runtime::start_with(system, python, args.library.as_deref())?;
        let bar = bar(rules.len());
        let counts = side_by_side(
            rules,
            jobs(args.jobs),
            || black_box(system, python, args.library.as_deref()),
            |system, rule| {
                bar.inc(1);
                fresh(rule, args.seed, &mut **system)
            },
        );
        bar.finish_and_clear();
        let (mut all, mut perfect, mut tried) = (Counts::default(), 0, 0);
        let mut by_op: BTreeMap<&str, Counts> = BTreeMap::new();
        for (rule, c) in rules.iter().zip(&counts) {
            all += *c;
            *by_op.entry(&rule.structure.op).or_default() += *c;
            let wrong = c.only_inferred + c.only_registry + (c.both - c.right);
            perfect += usize::from(wrong == 0 && c.both > 0);
            tried += usize::from(c.both + c.only_registry > 0);
        }
        for (op, c) in by_op.iter().filter(|(_, c)| c.only_inferred + c.only_registry + c.both > c.right) {
            say(&format!(
                "{op}: of {} accepted {} right, {} of {} refused right\n",
                c.both + c.only_registry,
                c.right,
                c.neither,
                c.neither + c.only_inferred,
            ))?;
        }
        say(&format!(
            "precision {:.2} %, recall {:.2} %, extents right {:.2} % ({} operators, {perfect} of {tried} structures \
             without a mistake)\n",
            percent(all.both, all.both + all.only_inferred),
            percent(all.both, all.both + all.only_registry),
            percent(all.right, all.both),
            by_op.len(),
        ))?;
        say(&format!(
            "{:.1} % of the {} calls that {system} accepts are right, {:.1} % of the {} that it refuses\n",
            percent(all.right, all.both + all.only_registry),
            all.both + all.only_registry,
            percent(all.neither, all.neither + all.only_inferred),
            all.neither + all.only_inferred,
        ))
    }

    fn exception(s: &Score) -> Option<String> {
        match &s.verdict {
            Verdict::Proved | Verdict::ProvedInCases(_) => None,
            Verdict::Differs { at, what } => Some(format!("differs at {at}: {what}")),
            Verdict::Undecided(why) => Some(format!("undecided: {why}")),
        }
    }

    fn percent(part: usize, of: usize) -> f64 {
        if of == 0 { 100.0 } else { 100.0 * part as f64 / of as f64 }
    }

    struct Total {
        counts: Counts,
        proved: usize,
        in_cases: usize,
        differs: usize,
    }

    fn total<'a>(scores: impl Iterator<Item = &'a Score>) -> Total {
        let mut t = Total { counts: Counts::default(), proved: 0, in_cases: 0, differs: 0 };
        for s in scores {
            t.counts += s.counts;
            match s.verdict {
                Verdict::Proved => t.proved += 1,
                Verdict::ProvedInCases(_) => t.in_cases += 1,
                Verdict::Differs { .. } => t.differs += 1,
                Verdict::Undecided(_) => {}
            }
        }
        t
    }

    fn print(scored: &[(&Rule, &Score)], exceptions: usize, seconds: f64) -> Result<()> {
        let mut by_op: BTreeMap<&str, Vec<&(&Rule, &Score)>> = BTreeMap::new();
        for s in scored {
            by_op.entry(&s.0.structure.op).or_default().push(s);
        }
        let mut listed = 0;
        for (op, list) in &by_op {
            let t = total(list.iter().map(|s| s.1));
            if t.proved + t.in_cases == list.len() {
                continue;
            }
            say(&format!("{op}: {} of {} proved, {} differ\n", t.proved + t.in_cases, list.len(), t.differs))?;
            for (rule, score) in list.iter().map(|s| (s.0, s.1)) {
                if let Some(text) = exception(score)
                    && listed < exceptions
                {
                    listed += 1;
                    say(&format!("    {}\n        {text}\n", rule.structure.text()))?;
                }
            }
        }
        let t = total(scored.iter().map(|s| s.1));
        let c = t.counts;
        say(&format!(
            "precision {:.2} %, recall {:.2} %, extents right {:.2} % ({} fresh calls, {:.0} % of them invalid), \
             {seconds:.1} s\n",
            percent(c.both, c.both + c.only_inferred),
            percent(c.both, c.both + c.only_registry),
            percent(c.right, c.both),
            c.both + c.only_inferred + c.only_registry + c.neither,
            percent(c.only_inferred + c.neither, c.both + c.only_inferred + c.only_registry + c.neither),
        ))?;
        say(&format!(
            "{:.1} % of {} of {} proved equivalent ({} for all numbers, {} for all extents in cases of attributes and \
             elements; {} differ, {} undecided)\n",
            percent(t.proved + t.in_cases, scored.len()),
            count(scored.len(), "structure"),
            count(by_op.len(), "operator"),
            t.proved,
            t.in_cases,
            t.differs,
            scored.len() - t.proved - t.in_cases - t.differs,
        ))
    }

    fn as_json(scored: &[(&Rule, &Score)]) -> Result<()> {
        let list: Vec<_> = scored
            .iter()
            .map(|(rule, s)| {
                let verdict = match &s.verdict {
                    Verdict::Proved => json!("proved"),
                    Verdict::ProvedInCases(n) => json!({ "proved in cases": n }),
                    Verdict::Differs { at, what } => json!({ "differs": what, "at": at }),
                    Verdict::Undecided(why) => json!({ "undecided": why }),
                };
                let c = s.counts;
                json!({ "op": rule.structure.op, "structure": rule.structure.text(), "verdict": verdict,
                        "both": c.both, "only_inferred": c.only_inferred, "only_registry": c.only_registry,
                        "neither": c.neither, "right": c.right })
            })
            .collect();
        let t = total(scored.iter().map(|s| s.1));
        say_json(&json!({ "structures": list, "proved": t.proved, "proved_in_cases": t.in_cases, "differ": t.differs }))
    }
}
