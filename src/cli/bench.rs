//! `egret bench`: times of many runs.

use super::input::InputArgs;
use super::show::{bytes, count, table, time};
use super::{EngineArgs, progress, say, say_json};
use anyhow::{Context, Result};
use clap::Args;
use egret::{Executable, Model, Options, Took, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time a model: median and spread of many runs, and where the time goes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret bench models/digits.onnx --threads 1
  egret bench model.onnx --dim batch=8 --seconds 5 --profile
  egret bench model.onnx --trace trace.json         open it in https://ui.perfetto.dev")]
pub(super) struct BenchArgs {
    /// An ONNX file.
    model: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Runs before the clock counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: usize,
    /// Time to spend; at least three runs are made.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Runs at most.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    runs: usize,
    /// A table of the time by operator.
    #[arg(long)]
    profile: bool,
    /// Write one run's steps in Chrome's trace format.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

/// One step of the profiled run.
struct Timed {
    kind: &'static str,
    ops: String,
    node: String,
    start: Duration,
    took: Took,
}

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let start = Instant::now();
    let model = progress::during("reading", || Model::load(&args.model))?;
    let options = Options { overridable: args.inputs.overrides(&model)?, ..args.engine.options()? };
    let executable = model.compile(&options)?;
    let inputs = args.inputs.read(&model, &executable)?.values;
    let types: Vec<_> = inputs.iter().map(Value::ty).collect();
    let plan = progress::during("compiling", || executable.prepare(&types))?;
    let ready = start.elapsed();
    let start = Instant::now();
    executable.run(&inputs)?;
    let first = start.elapsed();
    for _ in 1..args.warmup {
        executable.run(&inputs)?;
    }
    let times = progress::during("running", || measure(&executable, &inputs, args))?;
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (steps, total) =
        if args.profile || args.trace.is_some() { profile(&executable, &inputs)? } else { (vec![], at(0.5)) };
    if let Some(path) = &args.trace {
        std::fs::write(path, trace(&steps).to_string()).with_context(|| path.display().to_string())?;
    }
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    if args.json {
        return say_json(&json!({
            "model": args.model, "level": options.level.name(), "threads": options.threads, "runs": times.len(),
            "ready_ms": ms(ready), "first_ms": ms(first), "median_ms": ms(at(0.5)), "min_ms": ms(at(0.0)),
            "p10_ms": ms(at(0.1)), "p90_ms": ms(at(0.9)),
            "arena_bytes": plan.as_ref().map(|p| p.arena_bytes),
            "steps": steps.iter().map(|s| json!({
                "kind": s.kind, "ops": s.ops, "node": s.node, "ms": ms(s.took.own()) })).collect::<Vec<_>>(),
        }));
    }
    let mut out = format!(
        "{}, {}, {}\nmedian {}   min {}   10 % {}   90 % {}   of {}\nloaded and compiled in {}, first run {}",
        args.model.display(),
        options.level,
        count(options.threads, "thread"),
        time(at(0.5)),
        time(at(0.0)),
        time(at(0.1)),
        time(at(0.9)),
        count(times.len(), "run"),
        time(ready),
        time(first),
    );
    if let Some(plan) = plan {
        out += &format!(", working memory {}", bytes(plan.arena_bytes as u64));
    }
    out += "\n";
    if args.profile {
        out += &format!("\n{}", by_operator(&steps, total));
    }
    say(&out)
}

/// Sorted times.
fn measure(executable: &Executable, inputs: &[Value], args: &BenchArgs) -> Result<Vec<Duration>> {
    let budget = Duration::try_from_secs_f64(args.seconds).unwrap_or_default();
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || (times.len() < args.runs && begin.elapsed() < budget) {
        let start = Instant::now();
        let outputs = executable.run(inputs)?;
        times.push(start.elapsed());
        drop(outputs);
    }
    times.sort();
    Ok(times)
}

/// The steps of one run, and its time: of the fastest of some, so that a cold cache or another program is not counted.
fn profile(executable: &Executable, inputs: &[Value]) -> Result<(Vec<Timed>, Duration)> {
    const RUNS: usize = 20;
    const BUDGET: Duration = Duration::from_secs(2);
    let (since, mut best) = (Instant::now(), None::<(Vec<Timed>, Duration)>);
    for _ in 0..RUNS {
        let (begin, mut steps) = (Instant::now(), Vec::new());
        executable.run_observed(inputs, false, &mut |s| {
            let start = begin.elapsed().saturating_sub(s.took.whole);
            steps.push(Timed { kind: s.kind, ops: s.ops.join("+"), node: s.node.clone(), start, took: s.took });
        })?;
        let took = begin.elapsed();
        if best.as_ref().is_none_or(|b| took < b.1) {
            best = Some((steps, took));
        }
        if since.elapsed() > BUDGET {
            break;
        }
    }
    Ok(best.unwrap_or_default())
}

/// Time by operators (and how they run), most first.
fn by_operator(steps: &[Timed], total: Duration) -> String {
    let mut groups: BTreeMap<(&str, &str), (usize, Duration)> = BTreeMap::new();
    for s in steps.iter().filter(|s| s.kind != "view") {
        let g = groups.entry((&s.ops, s.kind)).or_default();
        *g = (g.0 + 1, g.1 + s.took.own());
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (_, took))| std::cmp::Reverse(*took));
    let percent = |d: Duration| format!("{:.1}", 100.0 * d.as_secs_f64() / total.as_secs_f64().max(1e-12));
    let spent: Duration = groups.iter().map(|g| g.1.1).sum();
    let mut rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((ops, kind), (n, took))| {
            vec![n.to_string(), time(*took), percent(*took), (*kind).to_owned(), (*ops).to_owned()]
        })
        .collect();
    let rest = total.saturating_sub(spent);
    rows.push(vec![String::new(), time(rest), percent(rest), String::new(), "(between steps)".into()]);
    table(&["steps", "time", "%", "how", "operators"], &rows)
}

/// Chrome's trace event format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
fn trace(steps: &[Timed]) -> serde_json::Value {
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    let event = |s: &Timed| {
        json!({ "name": s.ops, "cat": s.kind, "ph": "X", "pid": 1, "tid": 1, "ts": us(s.start), "dur": us(s.took.whole),
                "args": { "node": s.node } })
    };
    json!({ "displayTimeUnit": "ns", "traceEvents": steps.iter().map(event).collect::<Vec<_>>() })
}
