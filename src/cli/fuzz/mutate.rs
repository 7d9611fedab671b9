//! `egret fuzz mutate`: mutated models against worker processes.

use clap::Args;
use std::path::PathBuf;

/// Feed mutated models to worker processes: each must answer with a result or an error, within its limits.
///
/// Valid models (the operators' examples, and the files and folders given) are changed in a few places: edges, operators,
/// attributes, types, extents, tensors, nesting, bytes. A mutant follows from the seeds and its number alone. What panics,
/// dies, hangs, takes too much memory or blames Egret is a finding; its model and story are written to --out.
///
/// Example: egret fuzz mutate --count 10000 models target/onnx-cases/simple
#[derive(Args)]
pub(super) struct MutateArgs {
    /// Models to start from besides the examples: files, or folders with their sub-folders.
    seeds: Vec<PathBuf>,
    /// How many mutants.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    count: u64,
    /// Number of the first one.
    #[arg(long, default_value_t = 0, value_name = "N")]
    first: u64,
    /// Worker processes side by side. Default: the processors that this process may use.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Memory limit that the worker is told, in MiB.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    memory: u64,
    /// Time limit of each load and each run that the worker is told, in milliseconds.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    time: u64,
    /// Largest file that is a seed, in KiB.
    #[arg(long, default_value_t = 64, value_name = "KIB")]
    seed_kib: u64,
    /// What runs the models: `native` or `reference`.
    #[arg(long, default_value = "native", value_name = "LEVEL")]
    level: egret::Level,
    /// Folder for findings.
    #[arg(long, default_value = "target/mutants", value_name = "FOLDER")]
    out: PathBuf,
    /// Show every mutant with its verdict.
    #[arg(long, short)]
    verbose: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

#[cfg(feature = "fuzz")]
pub(super) use with_fuzzer::run;

#[cfg(feature = "fuzz")]
mod with_fuzzer {
    use super::super::super::{Failure, say, say_json};
    use super::MutateArgs;
    use anyhow::{Context, Result};
    use egret_fuzz::hostile::{Campaign, Verdict};
    use egret_fuzz::mutate::Mutant;
    use egret_fuzz::seeds;
    use indicatif::{ProgressBar, ProgressStyle};
    use serde_json::json;

    pub(in super::super) fn run(args: &MutateArgs) -> Result<()> {
        let mut models = seeds::own();
        models.extend(seeds::of_files(&args.seeds, args.seed_kib << 10).context("reading the seeds")?);
        let egret = std::env::current_exe().context("finding this program")?;
        let worker = [&*egret.to_string_lossy(), "worker", "--level", args.level.name()].map(str::to_owned);
        let campaign = Campaign {
            worker: worker.into(),
            jobs: args.jobs.unwrap_or_else(egret::available_threads),
            first: args.first,
            count: args.count,
            memory_mib: args.memory,
            time_ms: args.time,
            out: args.out.clone(),
        };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}").expect("the template is valid");
        let progress = ProgressBar::new(args.count).with_style(style);
        let tell = |number: u64, mutant: &Mutant, verdict: &Verdict| {
            progress.inc(1);
            let line = match verdict {
                Verdict::Ran if args.verbose => "ran".to_owned(),
                Verdict::Refused(error) if args.verbose => error.clone(),
                Verdict::Finding(kind, text) => format!("{kind}: {text}"),
                _ => return,
            };
            progress.suspend(|| eprintln!("{number}: {}\n    {line}", mutant.story));
        };
        let report = campaign.run(&models, &tell).context("running the workers")?;
        progress.finish_and_clear();
        if args.json {
            let findings =
                report.findings.iter().map(|(cause, (n, first))| json!({"cause": cause, "n": n, "first": first}));
            say_json(&json!({
                "seeds": models.len(), "ran": report.ran, "invalid": report.invalid, "unsupported": report.unsupported,
                "limited": report.limited, "findings": findings.collect::<Vec<_>>(),
            }))?;
        } else {
            for (cause, (n, first)) in &report.findings {
                say(&format!("{n} mutants, the first is {first}: {cause}\n"))?;
            }
            say(&format!(
                "{} mutants of {} seeds: {} ran, {} refused as invalid, {} as unsupported, {} by a limit\n",
                args.count,
                models.len(),
                report.ran,
                report.invalid,
                report.unsupported,
                report.limited
            ))?;
            say(&format!("{} passed, {} failed\n", report.answered(), report.found()))?;
        }
        if report.found() > 0 { Err(Failure::Found.into()) } else { Ok(()) }
    }
}
