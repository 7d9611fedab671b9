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
  egret fuzz run --system onnxruntime --time 30m --out findings     goes on where it was when run again
  egret fuzz generate --nodes 5 --count 20 --out models    graphs as ONNX files with inputs and outputs
  egret fuzz repro findings/000-onnxruntime-wrong-pad
  egret fuzz run --system onnxruntime --memcheck --time 1h  reads and writes outside of its memory
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
    Known(KnownArgs),
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
    /// Only element types that most operators take: no integers of 2 or 4 bits, floats of 4 or 8 bits, texts. `generate`
    /// draws no others.
    #[arg(long)]
    usual_types: bool,
    /// Operands of these element types only (`f32,f16,i8`); shapes, axes and the like are integers all the same.
    #[arg(long, value_delimiter = ',', value_name = "TYPES", value_parser = element_type)]
    dtypes: Vec<egret::ir::DType>,
    /// Operands of these ranks only (`2,4`).
    #[arg(long, value_delimiter = ',', value_name = "RANKS")]
    ranks: Vec<usize>,
    /// Largest tensor, in elements. Default: 4096.
    #[arg(long, value_name = "N")]
    max_elements: Option<usize>,
    /// Of 100 operands, how many read a value that is there where one fits: few give wide graphs with many results.
    /// Default: 75.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    reuse: Option<u8>,
    /// Of 100 operands that read such a value, how many may take one that something reads already. Default: 40.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    shared: Option<u8>,
    /// Of 100 new operands, how many are constants and not arguments. Default: 25.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    constants: Option<u8>,
    /// Of 100 calls, how many have generated bodies: `If`, `Loop`, `Scan`, `SequenceMap`. Default: 5 for `run`, else 0.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    control_flow: Option<u8>,
    /// Of 100 graphs, how many have symbols for extents of arguments and run with two shapes. Default: 10 for `run`, else 0.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    dynamic: Option<u8>,
    /// Of 100 calls, how many become a quantised chain. Default: 5 for `run` without `--ops`, else 0.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    quantised: Option<u8>,
    /// Of 100 calls, how many become arithmetic on extents (`Shape`, `Slice`, `Div`, `Concat`) that a reshape, a padding or the
    /// like reads. Default: 5 for `run` without `--ops`, else 0.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    shapes: Option<u8>,
    /// Of 100 calls, how many become a block as networks have them: a convolution or a product with constant weights, its
    /// normalisation and activation, a sum with another branch. Default: 3 for `run` without `--ops`, else 0.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    blocks: Option<u8>,
    /// Draw calls by the inferred rules of this file (`egret fuzz infer --out`); operators that it does not have by the registry's.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Run a campaign on one system.
#[derive(Args)]
struct RunArgs {
    /// `egret` (each stage, in this process); `egret-native` (its fused machine code alone); `egret-ahead` (compiled ahead of
    /// time, linked by `cc`); `onnxruntime`, `onnxruntime-unoptimised`, `openvino`, `mnn` or `torch` (each in a process of its
    /// own under `--python`); `tract` (in builds with it); or `worker:PROGRAM ARGS…`, a program that speaks the protocol of
    /// `egret worker`.
    #[arg(long, default_value = "egret")]
    system: String,
    #[command(flatten)]
    graphs: GraphArgs,
    /// Graphs. Default: 1000, or as many as `--time` allows.
    #[arg(long)]
    count: Option<u64>,
    /// End after this time: seconds, or with a unit (`90s`, `30m`, `2h`).
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    time: Option<f64>,
    /// End once so many causes were found; 1 ends with the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_findings: Option<u64>,
    /// Of 100 graphs, how many are run a second time, written as another graph that must give the same results.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    rewritten: u8,
    /// Of 100 graphs, of how many one call is run a second time in the form that its operator had at an older opset: another
    /// runtime and Egret's importer must read the same in it.
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    older: u8,
    /// Of 100 graphs against `egret`, how many are also compiled ahead of time, linked by `cc` and run in a process of their own.
    #[arg(long, value_name = "PERCENT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=100))]
    ahead: u8,
    #[command(flatten)]
    watched: WatchedArgs,
    /// Write a folder for each finding here, a page `index.html`, and the campaign's state in `campaign.sqlite`: run
    /// again with the same options it goes on where it was.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Python with the runtime, onnx and numpy. Default: `.venv/bin/python`, for torch the one of `cargo xtask runtime torch
    /// torch`.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// More causes that are known (`egret fuzz known --help`): such calls are not made.
    #[arg(long, value_name = "FILE")]
    known: Vec<PathBuf>,
    /// Make also the calls of causes that are known.
    #[arg(long)]
    rediscover: bool,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

/// What watches the system.
#[derive(Args)]
struct WatchedArgs {
    /// Run the system's process in Valgrind's memcheck: `addresses` (what `--memcheck` alone means) finds reads and writes
    /// outside of heap blocks, in binaries and machine code as they are; `undefined` also what hangs on memory that nobody
    /// wrote. An error in which code of the system takes part is a finding (`memory`), which `repro` watches unasked. A case
    /// takes 20 to 50 times as long; its limits of time are 15 times as long. Valgrind reads more options
    /// (`--suppressions=FILE`) from VALGRIND_OPTS.
    ///
    /// Egret itself is watched as a worker of a build without the fuzzer, whose allocator hides heap blocks from memcheck:
    /// `cargo build --release --target-dir target/plain`, then `--system "worker:target/plain/release/egret worker"`.
    #[arg(long, value_name = "WHAT", value_parser = ["addresses", "undefined"], num_args = 0..=1, require_equals = true,
          default_missing_value = "addresses")]
    memcheck: Option<String>,
}

/// Try the causes that are known of a system: is each still there, and how many of the calls that it keeps out do fail?
///
/// A cause is a JSON object: operators, conditions over extents and attributes, what the system does there, a verdict (`bug`,
/// `limit`, `beyond` the specification, `open` in it) and a reason. Those of onnxruntime, openvino and torch come with the program.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret fuzz known --system onnxruntime
  egret fuzz known --system openvino --known mine.jsonl LRN
A file:
  {\"operators\":[\"LRN\"],\"when\":[\"size % 2 == 0\"],\"kind\":\"refused\",\"verdict\":\"limit\",\"why\":\"sizes are odd\"}")]
struct KnownArgs {
    /// As for `run`.
    #[arg(long, default_value = "onnxruntime")]
    system: String,
    /// Python with the runtime, onnx and numpy. Default: `.venv/bin/python`, for torch the one of `cargo xtask runtime torch
    /// torch`.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// More causes.
    #[arg(long, value_name = "FILE")]
    known: Vec<PathBuf>,
    /// Calls of each cause.
    #[arg(long, default_value_t = 4)]
    calls: usize,
    /// Graphs of one call made to find them.
    #[arg(long, default_value_t = 4000)]
    tries: u64,
    /// Draw these calls by the inferred rules of this file.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Only print the causes.
    #[arg(long)]
    list: bool,
    /// Causes of these operators only.
    operators: Vec<String>,
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
    /// Write also which error each element of an output may have, as `allowed_K.pb` (NaN: any is right). It takes
    /// far longer.
    #[arg(long, requires = "out")]
    allowed: bool,
    /// Only count: graphs a second, and how often each operator was used.
    #[arg(long, conflicts_with = "out")]
    stats: bool,
}

/// An element type by its name in the IR.
fn element_type(text: &str) -> Result<egret::ir::DType, String> {
    text.parse().map_err(|_| format!("`{text}` is no element type; f32, f16, i8, bool are"))
}

/// A time in seconds, with or without a unit.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| c.is_alphabetic()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is none of the units s, m, h")),
    };
    let number: f64 = number.parse().map_err(|e| format!("{e}"))?;
    Ok(number * unit)
}

/// Check the case of a finding again.
#[derive(Args)]
struct ReproArgs {
    /// A finding's folder.
    folder: PathBuf,
    /// As for `run`. Default: the system that the finding names.
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    watched: WatchedArgs,
    /// Python with the runtime, onnx and numpy. Default: `.venv/bin/python`, for torch the one of `cargo xtask runtime torch
    /// torch`.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
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
    use super::{FuzzArgs, GenerateArgs, GraphArgs, KnownArgs, ReproArgs, RunArgs, Verb, WatchedArgs};
    use anyhow::{Context, Result};
    use egret_fuzz::ahead::Ahead;
    use egret_fuzz::campaign::{self, Plan, Report};
    use egret_fuzz::check::{Egret, Kind, System, failure, system_of};
    use egret_fuzz::choices::Seeded;
    use egret_fuzz::finding;
    use egret_fuzz::form::Types;
    use egret_fuzz::generate::{Config, Generator, Rules, full_name};
    use egret_fuzz::known::{Known, confirm};
    use egret_fuzz::memcheck::Memcheck;
    use egret_fuzz::runtime::Runtime;
    use egret_fuzz::store::{Database, Memory, Store};
    use egret_fuzz::workers;
    use serde_json::json;
    use std::path::Path;
    use std::time::{Duration, Instant};

    pub(in super::super) fn run(args: &FuzzArgs) -> Result<()> {
        match &args.verb {
            Verb::Run(a) => run_campaign(a),
            Verb::Generate(a) => generate(a),
            Verb::Repro(a) => repro(a),
            Verb::Known(a) => try_known(a),
            Verb::Mutate(a) => super::mutate::run(a),
            Verb::Trace(a) => super::infer::trace(a),
            Verb::Infer(a) => super::infer::infer(a),
            Verb::Show(a) => super::infer::show(a),
            Verb::Score(a) => super::infer::score(a),
        }
    }

    impl GraphArgs {
        /// `usual` where an option is not given.
        fn config(&self, usual: Config) -> Result<Config> {
            let percent = |given: Option<u8>, usual: usize| given.map_or(usual, usize::from);
            // Of operators that are named, chains of others are no graphs.
            let chains = |given, usual| percent(given, if self.ops.is_empty() { usual } else { 0 });
            Ok(Config {
                nodes: self.nodes,
                rules: read_rules(self.rules.as_deref())?,
                only: self.ops.clone(),
                special: !self.ordinary,
                types: Types {
                    rare: usual.types.rare && !self.usual_types,
                    only: self.dtypes.clone(),
                    ranks: self.ranks.clone(),
                },
                max_elems: self.max_elements.unwrap_or(usual.max_elems),
                reuse_percent: percent(self.reuse, usual.reuse_percent),
                shared_percent: percent(self.shared, usual.shared_percent),
                constant_percent: percent(self.constants, usual.constant_percent),
                control_percent: percent(self.control_flow, usual.control_percent),
                dynamic_percent: percent(self.dynamic, usual.dynamic_percent),
                quantised_percent: chains(self.quantised, usual.quantised_percent),
                shapes_percent: chains(self.shapes, usual.shapes_percent),
                blocks_percent: chains(self.blocks, usual.blocks_percent),
                ..usual
            })
        }
    }

    impl WatchedArgs {
        fn memcheck(&self) -> Option<Memcheck> {
            self.memcheck.as_deref().and_then(Memcheck::named)
        }
    }

    fn system(name: &str, python: Option<&Path>, memcheck: Option<Memcheck>) -> Result<Box<dyn System>> {
        let python = python.unwrap_or_else(|| workers::python(name));
        if let Some(memcheck) = memcheck {
            if name.starts_with("egret") {
                let text = "--memcheck watches another process, and Egret's own runs as `worker:PROGRAM worker`, of a build \
                            without the fuzzer (see `egret fuzz run --help`)";
                return Err(Failure::usage(text));
            }
            return Ok(Box::new(Runtime::start_watched(memcheck, name, python)?));
        }
        Ok(match name {
            "egret" => Box::new(Egret::default()),
            "egret-native" => Box::new(Egret { native_only: true }),
            "egret-ahead" => Box::new(Ahead::default()),
            other => Box::new(Runtime::start(other, python)?),
        })
    }

    fn run_campaign(args: &RunArgs) -> Result<()> {
        // Panics of the compiler under test are findings; their text goes there and not to standard error.
        static LAST: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
        std::panic::set_hook(Box::new(|panic| {
            *LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = panic.to_string();
        }));
        let mut system = system(&args.system, args.python.as_deref(), args.watched.memcheck())?;
        let time = args.time.map(Duration::try_from_secs_f64).transpose();
        let time = time.map_err(|e| Failure::usage(format!("--time: {e}")))?;
        // Two systems are compared on what the specification says; Egret's stages on everything that Egret says.
        let known = match system.is_partial() && !args.rediscover {
            true => known_causes(&args.system, &args.known)?,
            false => Known::default(),
        };
        let config = Config { stated: system.is_partial(), known, ..args.graphs.config(Config::varied())? };
        let plan = Plan {
            seed: args.graphs.seed,
            from: args.graphs.from,
            count: args.count.unwrap_or(if args.time.is_some() { u64::MAX } else { 1000 }),
            deadline: time.and_then(|t| Instant::now().checked_add(t)),
            max_findings: args.max_findings.and_then(|n| usize::try_from(n).ok()),
            config,
            rewritten_percent: args.rewritten.into(),
            older_percent: args.older.into(),
            ahead_percent: if args.system == "egret" { args.ahead.into() } else { 0 },
        };
        let (bar, template) = match args.count.is_none() && args.time.is_some() {
            true => (indicatif::ProgressBar::no_length(), "{elapsed} {pos} graphs, {per_sec}, {msg}"),
            false => (indicatif::ProgressBar::new(plan.count), "{bar:30} {pos}/{len} graphs, {per_sec}, {msg}"),
        };
        bar.set_style(indicatif::ProgressStyle::with_template(template).context("the bar's template is fixed")?);
        let mut store: Box<dyn Store> = match &args.out {
            None => Box::new(Memory),
            Some(out) => {
                std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
                Box::new(Database::open(&out.join("campaign.sqlite"))?)
            }
        };
        let mut show = |r: &Report| {
            bar.set_position(r.graphs);
            bar.set_message(count(r.findings.len(), "finding"));
        };
        let mut run = || campaign::run(&plan, &mut *system, &mut *store, args.out.as_deref(), &mut show);
        // Outside of what is tested it is the fuzzer's own bug, or that of a rule that it asks for forms.
        let report = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run)).unwrap_or_else(|_| {
            let text = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Err(anyhow::anyhow!("bug in egret: the fuzzer itself panicked: {text}"))
        })?;
        bar.finish_and_clear();
        if args.json {
            say_json(&as_json(&report))?;
        } else {
            print(&report)?;
        }
        if report.findings.is_empty() { Ok(()) } else { Err(Failure::Found.into()) }
    }

    fn known_causes(system: &str, files: &[std::path::PathBuf]) -> Result<Known> {
        let mut known = Known::of(system)?;
        for path in files {
            let at = || path.display().to_string();
            known.add(&std::fs::read_to_string(path).with_context(at)?).with_context(at)?;
        }
        Ok(known)
    }

    fn read_rules(path: Option<&Path>) -> Result<Rules> {
        let Some(path) = path else { return Ok(Rules::default()) };
        let at = || path.display().to_string();
        Rules::read(&std::fs::read_to_string(path).with_context(at)?).with_context(at)
    }

    fn try_known(args: &KnownArgs) -> Result<()> {
        let known = known_causes(&args.system, &args.known)?;
        let wanted = |name: &str| args.operators.is_empty() || args.operators.iter().any(|o| o == name);
        let causes = known.causes().iter().filter(|c| wanted(&full_name(c.def)));
        if args.list {
            return causes.into_iter().try_for_each(|c| say(&format!("{}\n", c.text())));
        }
        let mut system = system(&args.system, args.python.as_deref(), None)?;
        let rules = read_rules(args.rules.as_deref())?;
        let (mut unseen, mut all) = (0, 0);
        for cause in causes {
            let c = confirm(cause, &mut *system, &rules, args.calls, args.tries)?;
            all += 1;
            let word = match (c.met, c.failed) {
                (0, _) => "not met",
                (_, 0) => "unseen",
                _ => "there",
            };
            unseen += usize::from(c.failed == 0);
            say(&format!("{word:8} {} of {} fail: {}\n", c.failed, c.met, cause.text()))?;
        }
        say(&format!("{}, {unseen} of them not seen in {} {}\n", count(all, "cause"), args.system, system.version()))
    }

    fn as_json(report: &Report) -> serde_json::Value {
        let findings = report.findings.values().map(|f| {
            json!({ "cause": f.cause, "stage": f.stage, "kind": f.kind, "text": f.text, "nodes": f.nodes,
                    "seen": f.seen, "folder": f.folder })
        });
        let p = &report.progress;
        json!({ "graphs": p.graphs, "unsupported": p.unsupported, "unloaded": p.unloaded, "seconds": p.seconds,
                "findings": findings.collect::<Vec<_>>(), "uses": p.uses })
    }

    fn print(report: &Report) -> Result<()> {
        for f in report.findings.values() {
            say(&format!("{} ({}): {}\n", f.stage, f.kind, f.text))?;
            for line in f.graph.lines() {
                say(&format!("    {line}\n"))?;
            }
            if let Some(folder) = &f.folder {
                say(&format!("    {}\n", folder.display()))?;
            }
            say(&format!("    seen {}\n\n", count(f.seen, "time")))?;
        }
        let p = &report.progress;
        let small = report.findings.values().filter(|f| f.nodes <= 3).count();
        let small = (!report.findings.is_empty()).then_some(small);
        say(&format!(
            "{} in {:.1} s ({:.0} a second), {} not supported ({} not loaded), {} used, the most used {}, {}{}\n",
            count(p.graphs as usize, "graph"),
            p.seconds,
            p.graphs as f64 / p.seconds.max(1e-9),
            p.unsupported,
            p.unloaded,
            count(p.uses.values().filter(|n| **n > 0).count(), "operator"),
            count(p.uses.values().copied().max().unwrap_or(0), "time"),
            small.map_or(String::new(), |n| format!("{n} reduced to three nodes or fewer, ")),
            count(report.findings.len(), "finding"),
        ))
    }

    fn generate(args: &GenerateArgs) -> Result<()> {
        let mut generator = Generator::new(args.graphs.config(Config::default())?);
        let start = Instant::now();
        let (mut graphs, mut calls) = (0, 0);
        for i in args.graphs.from..args.graphs.from.saturating_add(args.count) {
            generator.begin(args.graphs.seed, i);
            let Some(case) = generator.generate(&mut Seeded::new(args.graphs.seed, i)) else { break };
            (graphs, calls) = (graphs + 1, calls + case.graph.nodes.len());
            match &args.out {
                None if args.stats => {}
                None => say(&egret::ir::text::print(&case.graph))?,
                Some(out) => {
                    let folder = out.join(format!("graph_{i:06}"));
                    finding::write_case(&folder, &case, &format!("// --seed {} --from {i}\n", args.graphs.seed))?;
                    if args.allowed {
                        finding::write_allowed(&folder, &case)?;
                    }
                }
            }
        }
        for (graph, _, text) in &generator.bugs {
            say(&format!("the reference refuses: {text}\n{}\n", egret::ir::text::print(graph)))?;
        }
        if args.stats {
            stats(&generator, graphs, calls, start.elapsed())?;
        }
        Ok(())
    }

    fn stats(generator: &Generator, graphs: usize, calls: usize, took: Duration) -> Result<()> {
        let mut uses: Vec<_> = generator.uses().map(|(d, n)| (n, d.domain, d.name)).collect();
        uses.sort_unstable();
        for (n, domain, name) in &uses {
            say(&format!("{n:8} {domain} {name}\n"))?;
        }
        let (least, most) = (uses.first().map_or(0, |u| u.0), uses.last().map_or(0, |u| u.0));
        say(&format!(
            "{} of {} in {:.1} s ({:.0} a second), {}: the least used {}, the most used {}\n",
            count(graphs, "graph"),
            count(calls, "call"),
            took.as_secs_f64(),
            graphs as f64 / took.as_secs_f64().max(1e-9),
            count(uses.len(), "operator"),
            count(least, "time"),
            count(most, "time"),
        ))
    }

    fn repro(args: &ReproArgs) -> Result<()> {
        let case = finding::read(&args.folder)?;
        let failed = || -> Result<(String, Option<Memcheck>)> {
            let path = args.folder.join("finding.json");
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let json: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            let word = |key: &str| json[key].as_str().unwrap_or_default();
            let memcheck = (word("kind") == Kind::Memory.name()).then(|| Memcheck::that_shows(word("text")));
            Ok((system_of(word("stage")).to_owned(), memcheck))
        };
        // A generated case names no system.
        let (name, memcheck) = args.system.clone().map_or_else(failed, |name| Ok((name, None)))?;
        let memcheck = args.watched.memcheck().or(memcheck);
        match failure(&mut *system(&name, args.python.as_deref(), memcheck)?, &case)? {
            Some(f) => {
                say(&format!("{} ({}): {}\n", f.stage, f.kind.name(), f.text))?;
                Err(Failure::Found.into())
            }
            None => say("the case agrees with the reference\n"),
        }
    }
}
