//! `egret fuzz`: random graphs at a compiler, failures reduced to small models.

mod infer;
mod mutate;

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Find bugs in a compiler: generate valid graphs, compare its results, reduce what fails.
///
/// The reference is each operator's own definition. A difference counts only where an analysis of the graph's rounding
/// errors says that no correct compiler gives it. Exit code 1 if anything was found.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret fuzz run --count 1000                              Egret itself, stage by stage
  egret fuzz run --system onnxruntime --time 600 --out findings
  egret fuzz generate --nodes 5 --count 20 --out models    graphs as ONNX files with inputs and outputs
  egret fuzz repro findings/000-onnxruntime-wrong-pad
  egret fuzz infer Conv Concat --out rules.jsonl           rules of operators from experiments
  egret fuzz score rules.jsonl                             and how they compare with the registry's")]
pub(super) struct FuzzArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(RunArgs),
    Generate(GenerateArgs),
    Repro(ReproArgs),
    Mutate(mutate::MutateArgs),
    Trace(infer::TraceArgs),
    Infer(infer::InferArgs),
    Show(infer::ShowArgs),
    Score(infer::ScoreArgs),
}

/// What graphs.
#[derive(Args)]
struct GraphArgs {
    /// Seed; the same seed gives the same graphs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// First graph of the seed's sequence.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Operator calls of one graph.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// Use these operators only (ONNX names, comma-separated).
    #[arg(long, value_delimiter = ',', value_name = "OPS")]
    ops: Vec<String>,
    /// No infinities, NaN or elements near overflow in inputs.
    #[arg(long)]
    ordinary: bool,
}

/// Run a campaign on one system.
#[derive(Args)]
struct RunArgs {
    /// `egret` (each stage, in this process); `onnxruntime`, `onnxruntime-unoptimised`, `openvino` or `mnn` (each in a
    /// process of its own under `--python`); or `worker:PROGRAM ARGS…`, a program that speaks the protocol of `egret worker`.
    #[arg(long, default_value = "egret")]
    system: String,
    #[command(flatten)]
    graphs: GraphArgs,
    /// Graphs.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,
    /// Write a folder for each finding here.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Python with the runtime, onnx and numpy.
    #[arg(long, value_name = "PROGRAM", default_value = ".venv/bin/python")]
    python: PathBuf,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

/// Write graphs as ONNX test cases.
#[derive(Args)]
struct GenerateArgs {
    #[command(flatten)]
    graphs: GraphArgs,
    /// Graphs.
    #[arg(long, default_value_t = 10)]
    count: u64,
    /// Folder for the cases, in the layout of ONNX's backend tests. Without it the graphs are printed as text.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Check the case of a finding again.
#[derive(Args)]
struct ReproArgs {
    /// A finding's folder.
    folder: PathBuf,
    /// As for `run`. Default: the system that the finding names.
    #[arg(long)]
    system: Option<String>,
    /// Python with the runtime, onnx and numpy.
    #[arg(long, value_name = "PROGRAM", default_value = ".venv/bin/python")]
    python: PathBuf,
}

#[cfg(not(feature = "fuzz"))]
pub(super) fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    // Read in the build with the fuzzer only.
    let _ = &args.verb;
    Err(egret::Error::unsupported(
        "this build has no fuzzer: run `cargo xtask setup` for libz3, then build with `--features fuzz`",
    )
    .into())
}

#[cfg(feature = "fuzz")]
pub(super) use with_fuzzer::run;

#[cfg(feature = "fuzz")]
mod with_fuzzer {
    use super::super::show::count;
    use super::super::{Failure, say, say_json};
    use super::{FuzzArgs, GenerateArgs, GraphArgs, ReproArgs, RunArgs, Verb};
    use anyhow::{Context, Result};
    use egret_fuzz::campaign::{self, Plan, Report};
    use egret_fuzz::check::{Egret, Failure as Found, Kind, System};
    use egret_fuzz::choices::Seeded;
    use egret_fuzz::finding;
    use egret_fuzz::generate::{Config, Generator};
    use egret_fuzz::runtime::Runtime;
    use serde_json::json;
    use std::path::Path;
    use std::time::{Duration, Instant};

    pub(in super::super) fn run(args: &FuzzArgs) -> Result<()> {
        match &args.verb {
            Verb::Run(a) => run_campaign(a),
            Verb::Generate(a) => generate(a),
            Verb::Repro(a) => repro(a),
            Verb::Mutate(a) => super::mutate::run(a),
            Verb::Trace(a) => super::infer::trace(a),
            Verb::Infer(a) => super::infer::infer(a),
            Verb::Show(a) => super::infer::show(a),
            Verb::Score(a) => super::infer::score(a),
        }
    }

    impl GraphArgs {
        fn config(&self) -> Config {
            Config { nodes: self.nodes, only: self.ops.clone(), special: !self.ordinary, ..Config::default() }
        }
    }

    fn system(name: &str, python: &Path) -> Result<Box<dyn System>> {
        Ok(match name {
            "egret" => Box::new(Egret::default()),
            other => Box::new(Runtime::start(other, python)?),
        })
    }

    fn run_campaign(args: &RunArgs) -> Result<()> {
        // Panics of the compiler under test are findings; their text goes there and not to standard error.
        std::panic::set_hook(Box::new(|_| {}));
        let mut system = system(&args.system, &args.python)?;
        let time = args.time.map(Duration::try_from_secs_f64).transpose();
        let time = time.map_err(|e| Failure::usage(format!("--time: {e}")))?;
        let plan = Plan {
            seed: args.graphs.seed,
            from: args.graphs.from,
            count: args.count,
            deadline: time.and_then(|t| Instant::now().checked_add(t)),
            config: args.graphs.config(),
        };
        let bar = indicatif::ProgressBar::new(args.count);
        let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} graphs, {per_sec}, {msg}");
        bar.set_style(style.context("the bar's template is fixed")?);
        let report = campaign::run(&plan, &mut *system, args.out.as_deref(), &mut |r: &Report| {
            bar.set_position(r.graphs);
            bar.set_message(count(r.findings.len(), "finding"));
        })?;
        bar.finish_and_clear();
        if args.json {
            say_json(&as_json(&report))?;
        } else {
            print(&report)?;
        }
        if report.findings.is_empty() { Ok(()) } else { Err(Failure::Found.into()) }
    }

    fn as_json(report: &Report) -> serde_json::Value {
        let findings = report.findings.iter().map(|(cause, f)| {
            json!({ "cause": cause, "stage": f.failure.stage, "kind": f.failure.kind.name(), "text": f.failure.text,
                    "nodes": f.case.graph.nodes.len(), "seen": f.seen, "folder": f.folder })
        });
        json!({ "graphs": report.graphs, "seconds": report.took.as_secs_f64(), "findings": findings.collect::<Vec<_>>(),
                "uses": report.uses.iter().map(|(n, k)| (n.to_string(), json!(k))).collect::<serde_json::Map<_, _>>() })
    }

    fn print(report: &Report) -> Result<()> {
        for f in report.findings.values() {
            say(&format!("{} ({}): {}\n", f.failure.stage, f.failure.kind.name(), f.failure.text))?;
            for line in egret::ir::text::print(&f.case.graph).lines() {
                say(&format!("    {line}\n"))?;
            }
            if let Some(folder) = &f.folder {
                say(&format!("    {}\n", folder.display()))?;
            }
            say(&format!("    seen {}\n\n", count(f.seen, "time")))?;
        }
        let used = report.uses.iter().filter(|(_, n)| *n > 0).count();
        let most = report.uses.iter().map(|(_, n)| *n).max().unwrap_or(0);
        say(&format!(
            "{} in {:.1} s ({:.0} a second), {} used, the most used {}, {}\n",
            count(report.graphs as usize, "graph"),
            report.took.as_secs_f64(),
            report.graphs as f64 / report.took.as_secs_f64().max(1e-9),
            count(used, "operator"),
            count(most, "time"),
            count(report.findings.len(), "finding"),
        ))
    }

    fn generate(args: &GenerateArgs) -> Result<()> {
        let mut generator = Generator::new(args.graphs.config());
        for i in args.graphs.from..args.graphs.from + args.count {
            let Some(case) = generator.generate(&mut Seeded::new(args.graphs.seed, i)) else { break };
            match &args.out {
                None => say(&egret::ir::text::print(&case.graph))?,
                Some(out) => {
                    let none = Found { stage: "none".into(), kind: Kind::Wrong, text: "a generated case".into() };
                    let found = json!({ "seed": args.graphs.seed, "graph": i });
                    finding::write(out, &format!("graph_{i:06}"), &case, &none, &found)?;
                }
            }
        }
        Ok(())
    }

    fn repro(args: &ReproArgs) -> Result<()> {
        let case = finding::read(&args.folder)?;
        let path = args.folder.join("finding.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let json: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let stage = json["stage"].as_str().unwrap_or_default();
        let name = args.system.clone().unwrap_or_else(|| stage.split(':').next().unwrap_or_default().to_owned());
        match system(&name, &args.python)?.check(&case)? {
            Some(f) => {
                say(&format!("{} ({}): {}\n", f.stage, f.kind.name(), f.text))?;
                Err(Failure::Found.into())
            }
            None => say("the case agrees with the reference\n"),
        }
    }
}
