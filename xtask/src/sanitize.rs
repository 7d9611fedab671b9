//! Memory errors: the program and the fuzz targets with AddressSanitizer, and machine code in Valgrind's memcheck.
//!
//! The sanitizer's library comes with every toolchain, the option of the compiler is one of nightlies: `RUSTC_BOOTSTRAP` has the
//! pinned compiler take it. It sees what compiled Rust does to blocks, stack and globals, and not what kernels do that Egret
//! makes at run time: nothing is put into those. Memcheck sees kernels too, at the bounds of heap blocks. Both watch the
//! program as it is without the fuzzer, whose allocator (mimalloc) has no bounds that they know.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Cmd;
use crate::report::{Count, Outcome, Report};
use crate::test::{FEATURES, PROFILE, counted};
use crate::{paths, setup};

/// What builds the targets of `fuzz/fuzz_targets` with libFuzzer.
const CARGO_FUZZ: [&str; 3] = ["cargo-fuzz", "--version", "=0.13.2"];

/// Has a released compiler take options of nightlies.
const BOOTSTRAP: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// What the compiler is told, and where that is said: cargo's own variable leaves build scripts out where a target is named.
const ADDRESS: (&str, &str) = ("RUSTFLAGS", "-Zsanitizer=address");

/// Freed blocks that are kept to tell who reads them, in MiB: the usual 256 look like memory that grows with each run.
const KEPT: (&str, &str) = ("ASAN_OPTIONS", "quarantine_size_mb=1");

/// `cargo xtask sanitize [MINUTES]`: graphs in the sanitizer and in memcheck, then each fuzz target, for so many minutes each.
pub(crate) fn run(report: &mut Report, minutes: &str) -> Result<()> {
    let time: f64 = minutes.parse().ok().filter(|m| *m > 0.0).context("the minutes are no positive number")?;
    let seconds = format!("{:.0}", (time * 60.0).ceil());
    let target = paths::target()?;
    let (folder, host) = (target.join("sanitize"), host()?);
    setup::run(report)?;
    let program = Cmd::cargo().args(["build", "--bin", "egret", "--profile", PROFILE]);
    let fuzzer = program.clone().args(["--features", FEATURES]);
    let address = program.clone().args(["--target", &host, "--target-dir"]).arg(&folder);
    let address = address.env(BOOTSTRAP.0, BOOTSTRAP.1).env(ADDRESS.0, ADDRESS.1);
    let plain = program.arg("--target-dir").arg(target.join("plain"));
    let builds = [("fuzzer", fuzzer), ("egret with the sanitizer", address), ("egret without the fuzzer", plain)];
    for (name, cmd) in builds {
        report.step(name, &cmd.to_string(), || cmd.run().map(|()| Outcome::Done))?;
    }
    let graphs = |worker: &Path| {
        let egret = Cmd::new(target.join(PROFILE).join("egret"));
        let system = format!("worker:{} worker", worker.join(PROFILE).join("egret").display());
        egret.args(["fuzz", "run", "--time", &seconds, "--system", &system])
    };
    let sanitized = graphs(&folder.join(&host)).env(KEPT.0, KEPT.1);
    counted(report, "graphs in the sanitizer", &sanitized, Count::from_campaign)?;
    let watched = graphs(&target.join("plain")).arg("--memcheck");
    match Cmd::new("valgrind").arg("--version").read() {
        Ok(_) => counted(report, "graphs in memcheck", &watched, Count::from_campaign)?,
        Err(_) => report.step("graphs in memcheck", &watched.to_string(), || {
            Ok(Outcome::Skipped("no valgrind; Debian and Ubuntu: apt-get install valgrind".to_owned()))
        })?,
    }
    report.step("cargo-fuzz", "cargo xtask sanitize", || install(&folder))?;
    for name in targets()? {
        let found = target.join("fuzz").join(&name);
        let options = ["fuzz", "run", "--sanitizer", "address", "--features", "libfuzzer", "--target-dir"];
        let cmd =
            Cmd::new(tool(&folder)).env(BOOTSTRAP.0, BOOTSTRAP.1).args(options).arg(&folder).arg(&name).arg(&found);
        let cmd = cmd.arg(format!("fuzz/corpus/{name}")).arg("--").arg(format!("-max_total_time={seconds}"));
        let cmd = cmd.args(["-rss_limit_mb=4096", "-timeout=60", "-verbosity=0", "-print_funcs=0"]);
        report.step("target in the sanitizer", &cmd.to_string(), || {
            fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
            cmd.run().map(|()| Outcome::Done)
        })?;
    }
    Ok(())
}

fn install(folder: &Path) -> Result<Outcome> {
    if tool(folder).is_file() {
        return Ok(Outcome::Skipped("it is there".to_owned()));
    }
    Cmd::cargo().args(["install", "--quiet", "--root"]).arg(folder.join("tools")).args(CARGO_FUZZ).run()?;
    Ok(Outcome::Done)
}

fn tool(folder: &Path) -> PathBuf {
    folder.join("tools/bin/cargo-fuzz")
}

/// The names of `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = paths::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for file in files {
        names.extend(file?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// The compiler's own target, which is named so that build scripts are built without the sanitizer.
fn host() -> Result<String> {
    let text = Cmd::new("rustc").arg("-vV").read()?;
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_found() {
        assert_eq!(targets().unwrap(), ["compile", "graph", "import", "rules", "text"]);
    }
}
