//! Set-up and test orchestration: the only room that installs things and the only one that starts other programs on its own.
//!
//! | module | what |
//! |---|---|
//! | [`command`] | a program with arguments, shown as a shell line, run with or without reading its output |
//! | [`report`] | steps: name, duration, tests passed and failed, the table at the end |
//! | [`paths`] | where the workspace, its `target` folder and its Python are |
//! | [`setup`] | `.venv` with the pinned packages of `requirements.txt` |
//! | [`cases`] | ONNX's backend test cases under `target/onnx-cases`, ONNX Runtime's operators under `target/contrib-cases` |
//! | [`mod@test`] | every test |
//! | [`runtimes`] | other runtimes and releases under `target/runtimes`, for the fuzzer |
//! | [`ci`] | format, lints, documentation, then every test |
//! | [`coverage`] | lines of the compiler that cases and a campaign reach |
//! | [`sanitize`] | the program and the fuzz targets with AddressSanitizer, machine code in Valgrind's memcheck |
//! | [`mutants`] | the seeded bugs of `fuzz/mutants`: each built in a copy of the workspace and hunted by the fuzzer |
//!
//! Invariant: nothing outside the workspace is written, except the caches of cargo and pip.
//! Invariant: a missing program is a failure that names it; only data beside the repository (`../shared`) may be absent.
//!
//! It is a Rust program and not a shell script so that it runs wherever cargo does; it needs few crates, all of
//! them small, so that `cargo xtask` on a fresh checkout starts in seconds.

mod cases;
mod ci;
mod command;
mod coverage;
mod mutants;
mod paths;
mod report;
mod runtimes;
mod sanitize;
mod setup;
mod test;

use std::process::ExitCode;

use crate::report::Report;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup   make .venv with the packages of requirements.txt (nothing is done when it is up to date)
  cases   write test cases to target/onnx-cases and target/contrib-cases (nothing is done when they are up to date)
  test    set up if needed, then run every test
  ci      check format, lints and documentation, then the same as `test`
  mutants build each seeded bug of fuzz/mutants and let `egret fuzz run` hunt it (hours; `mutants --help` lists options)
  coverage [MINUTES]
          lines of the compiler that the cases reach, and that a campaign of so many minutes (10) reaches beyond them
  sanitize [MINUTES]
          memory errors: graphs in an egret built with AddressSanitizer and in Valgrind's memcheck, then each fuzz target
          with the sanitizer, for so many minutes (10) each; builds the program thrice and the targets (half an hour)
  runtime NAME PACKAGE...
          make target/runtimes/NAME, a Python with other runtimes (in pip's notation, options first) beside numpy and onnx

Every step prints the command that repeats it alone. Exit code: 0 if all went well, 1 if a step failed, 2 for wrong usage.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("mutants", options)) = args.split_first().map(|(verb, rest)| (verb.as_str(), rest)) {
        return mutants::main(options);
    }
    if let [verb, minutes @ ..] = &args[..]
        && verb == "coverage"
        && minutes.len() < 2
    {
        return finish(|report| coverage::run(report, minutes.first().map_or("10", String::as_str)));
    }
    if let [verb, minutes @ ..] = &args[..]
        && verb == "sanitize"
        && minutes.len() < 2
    {
        return finish(|report| sanitize::run(report, minutes.first().map_or("10", String::as_str)));
    }
    if let [verb, name, packages @ ..] = &args[..]
        && verb == "runtime"
        && !packages.is_empty()
    {
        return finish(|report| runtimes::run(report, name, packages));
    }
    let run: fn(&mut Report) -> anyhow::Result<()> = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["setup"] => setup::run,
        ["cases"] => cases::run,
        ["test"] => test::run,
        ["ci"] => ci::run,
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    finish(run)
}

/// Runs it; what it did is printed at its end.
fn finish(run: impl FnOnce(&mut Report) -> anyhow::Result<()>) -> ExitCode {
    let mut report = Report::default();
    let outcome = run(&mut report);
    if let Err(error) = &outcome {
        eprintln!("error: {error:#}");
    }
    print!("{}", report.table());
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
