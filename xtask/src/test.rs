//! Every test, narrow ones first: what cargo runs, then the built `egret` on ONNX's conformance cases and the networks.
//!
//! All of it uses the cargo profile `ci` (see `Cargo.toml`), so one build serves the tests and the program under test.

use anyhow::Result;

use crate::cases;
use crate::command::Cmd;
use crate::report::{Count, Outcome, Report};

/// The cargo profile of every build for tests.
pub(crate) const PROFILE: &str = "ci";

/// Features of every build for tests: with the fuzzer. Not all features: `libfuzzer` would build a C++ library for programs
/// that only `cargo fuzz` can start.
pub(crate) const FEATURES: &str = "egret/fuzz";

/// `cargo xtask test`.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    cases::run(report)?;
    let cmd =
        Cmd::cargo().args(["test", "--workspace", "--no-fail-fast", "--profile", PROFILE, "--features", FEATURES]);
    report.tests("cargo test", &cmd.to_string(), || {
        let (count, outcome) = cmd.run_counting(Count::from_cargo_test);
        (Outcome::Tested(count), outcome)
    })
}
