//! What must hold before a change lands: the same commands on a developer's machine and in `.ci/run`.

use anyhow::{Result, bail};

use crate::command::Cmd;
use crate::report::{Outcome, Report};
use crate::{setup, test};

/// `cargo xtask ci`. Cheap steps come first, so that a mistake in format is known in seconds.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    report.step("tools", "cargo xtask ci", tools)?;
    let build = ["--workspace", "--profile", test::PROFILE, "--features", test::FEATURES];
    let lint = Cmd::cargo().arg("clippy").args(build).args(["--all-targets", "--", "--deny", "warnings"]);
    // What users of the plain build get: code that only a feature reads shows here.
    let plain = Cmd::cargo().args(["clippy", "--profile", test::PROFILE, "--", "--deny", "warnings"]);
    let doc = Cmd::cargo().env("RUSTDOCFLAGS", "--deny warnings").arg("doc").args(build).arg("--no-deps");
    let format = Cmd::cargo().args(["fmt", "--all", "--check"]);
    report.step("format", &format.to_string(), || format.run().map(|()| Outcome::Done))?;
    // The fuzzer's solver is linked from what set-up installs.
    setup::run(report)?;
    for (name, cmd) in [("lints", lint), ("lints without features", plain), ("documentation", doc)] {
        report.step(name, &cmd.to_string(), || cmd.run().map(|()| Outcome::Done))?;
    }
    test::run(report)
}

/// Programs that a machine may lack, with what each is for; all missing ones are named at once.
fn tools() -> Result<Outcome> {
    let needed = [
        (Cmd::new("python3"), "the conformance cases and the runtimes compared with"),
        (Cmd::new("cc"), "linking, and the program that calls a compiled model from C"),
        (Cmd::cargo().arg("fmt"), "the format check (rustup component add rustfmt)"),
        (Cmd::cargo().arg("clippy"), "the lints (rustup component add clippy)"),
    ];
    let mut missing = Vec::new();
    for (tool, purpose) in needed {
        if tool.clone().arg("--version").read().is_err() {
            missing.push(format!("`{tool}` (for {purpose})"));
        }
    }
    if !missing.is_empty() {
        bail!("missing: {}", missing.join(", "));
    }
    Ok(Outcome::Done)
}
