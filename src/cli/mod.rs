//! The command line: one verb, one file.
//!
//! Results go to standard output (a person's form, or with `--json` a machine's, failures included), progress and
//! remarks to standard error. [`Failure`] and [`egret::ErrorKind`] decide the exit code.

mod bench;
mod check;
mod compile;
mod completions;
mod conform;
mod convert;
mod dataset;
mod diff;
mod fuzz;
mod image;
mod input;
mod inspect;
mod npy;
mod ops;
mod progress;
mod run;
mod show;
mod stage;
mod worker;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use egret::{ErrorKind, Level, Options};
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  all went well
  1  a comparison found a difference, a run failed, or a file could not be written
  2  wrong usage
  3  the model or its inputs break a rule
  4  legal, but not supported
  5  a limit was reached

`egret help VERB` shows a verb's options with examples.";

/// Compiles deep-learning models (ONNX) to machine code and runs them.
#[derive(Parser)]
#[command(name = "egret", version, after_help = EXIT_CODES, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::RunArgs),
    Bench(bench::BenchArgs),
    Inspect(inspect::InspectArgs),
    Check(check::CheckArgs),
    Compile(compile::CompileArgs),
    Diff(diff::DiffArgs),
    Convert(convert::ConvertArgs),
    Conform(conform::ConformArgs),
    Ops(ops::OpsArgs),
    Fuzz(fuzz::FuzzArgs),
    Worker(worker::WorkerArgs),
    Completions(completions::CompletionsArgs),
}

/// How to execute; shared by the verbs that run models.
#[derive(Args, Clone, Debug)]
struct EngineArgs {
    /// What runs the graph: `reference` (each operator's plain definition), `interpret` (planned, kernels interpreted),
    /// `baseline-without-fma`, `baseline` (128-bit vectors), `avx2` (256), `avx512` (512), or `native` (the widest here).
    /// Default: native, or what EGRET_ISA says.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    #[command(flatten)]
    bounds: BoundArgs,
}

/// Threads and limits of a run.
#[derive(Args, Clone, Debug)]
struct BoundArgs {
    /// Threads of one run. Default: the processors that this process may use.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Largest single value, in MiB.
    #[arg(long, value_name = "MIB")]
    max_value_mib: Option<usize>,
    /// All values of a run together, in MiB.
    #[arg(long, value_name = "MIB")]
    max_memory_mib: Option<usize>,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
}

impl EngineArgs {
    fn options(&self) -> Result<Options> {
        let mut options = self.bounds.options()?;
        options.level = self.level.unwrap_or(options.level);
        Ok(options)
    }
}

impl BoundArgs {
    fn options(&self) -> Result<Options> {
        let mut options = Options::from_env()?;
        options.threads = self.threads.unwrap_or(options.threads);
        if options.threads == 0 {
            return Err(Failure::usage("--threads must be at least 1"));
        }
        if let Some(mib) = self.max_value_mib {
            options.limits.value_bytes = mib.saturating_mul(1 << 20);
        }
        if let Some(mib) = self.max_memory_mib {
            options.limits.memory_bytes = mib.saturating_mul(1 << 20);
        }
        if let Some(seconds) = self.time_limit {
            let limit = std::time::Duration::try_from_secs_f64(seconds)
                .map_err(|e| Failure::usage(format!("--time-limit {seconds}: {e}")))?;
            options.limits.deadline = std::time::Instant::now().checked_add(limit);
        }
        Ok(options)
    }
}

/// An outcome that is no error of the library's.
#[derive(Debug)]
enum Failure {
    /// A comparison found a difference; everything was already printed.
    Found,
    /// The command line makes no sense.
    Usage(String),
    /// A program that was run for the user ended with this code and has said why.
    #[cfg_attr(not(feature = "fuzz"), expect(dead_code, reason = "only the fuzzer runs programs for the user"))]
    Ended(u8),
}

impl Failure {
    fn usage(text: impl Into<String>) -> anyhow::Error {
        Failure::Usage(text.into()).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Found => f.write_str("a difference was found"),
            Failure::Usage(text) => f.write_str(text),
            Failure::Ended(code) => write!(f, "the program ended with code {code}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Parses the command line and runs the verb.
pub(crate) fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let done = match verb {
        Verb::Run(a) => run::run(&a),
        Verb::Bench(a) => bench::run(&a),
        Verb::Inspect(a) => inspect::run(&a),
        Verb::Check(a) => check::run(&a),
        Verb::Compile(a) => compile::run(&a),
        Verb::Diff(a) => diff::run(&a),
        Verb::Convert(a) => convert::run(&a),
        Verb::Conform(a) => conform::run(&a),
        Verb::Ops(a) => ops::run(&a),
        Verb::Fuzz(a) => fuzz::run(&a),
        Verb::Worker(a) => worker::run(&a),
        Verb::Completions(a) => completions::run(&a),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error.downcast_ref(), Some(Failure::Found | Failure::Ended(_))) {
                eprintln!("error: {error:#}");
                // A program that asked for JSON gets the failure in that form too.
                if std::env::args_os().any(|a| a == "--json") {
                    let _ =
                        say_json(&serde_json::json!({ "error": format!("{error:#}"), "exit_code": exit_code(&error) }));
                }
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Found) => return 1,
        Some(Failure::Usage(_)) => return 2,
        Some(Failure::Ended(code)) => return *code,
        None => {}
    }
    match error.downcast_ref::<egret::Error>().map(egret::Error::kind) {
        Some(ErrorKind::Invalid) => 3,
        Some(ErrorKind::Unsupported) => 4,
        Some(ErrorKind::Limit) => 5,
        Some(ErrorKind::Bug) | None => 1,
    }
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Writes a JSON document to standard output.
fn say_json(value: &serde_json::Value) -> Result<()> {
    say(&format!("{value:#}\n"))
}

/// What a panic said. Panics are bugs; batch verbs report them and go on.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("(no message)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_follow_the_kind_of_error_through_context() {
        use anyhow::Context;
        let code = |e: anyhow::Error| exit_code(&Err::<(), _>(e).context("while trying").unwrap_err());
        assert_eq!(code(egret::Error::invalid("x").into()), 3);
        assert_eq!(code(egret::Error::unsupported("x").into()), 4);
        assert_eq!(code(egret::Error::limit("x").into()), 5);
        assert_eq!(code(egret::Error::bug("x").into()), 1);
        assert_eq!(code(Failure::usage("x")), 2);
        assert_eq!(code(anyhow::anyhow!("x")), 1);
    }
}
