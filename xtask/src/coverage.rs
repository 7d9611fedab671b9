//! Which lines of the compiler the networks and conformance cases reach, and which a campaign of the fuzzer reaches.
//!
//! The workspace's own crates are built with `-C instrument-coverage` in a target folder of their own; dependencies are not.
//! Profiles are read by the programs of the crate `llvm_profparser`, which cargo installs below `target`: they know the
//! format of the compiler at hand, which no packaged LLVM may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::Cmd;
use crate::report::{Outcome, Report};
use crate::test::{FEATURES, PROFILE};
use crate::{cases, paths};

/// Parts of the tree whose lines are counted.
const ROOMS: &[&str] = &["passes/src", "codegen/src", "ir/src"];

/// Those that turn a graph into machine code.
const COMPILER: &[&str] = &["passes/src", "codegen/src"];

/// The programs that read profiles.
const TOOLS: [&str; 3] = ["llvm_profparser", "--version", "=0.15.0"];

/// `cargo xtask coverage [MINUTES]`: runs the cases, then a campaign of so many minutes, and prints the lines each reached.
pub(crate) fn run(report: &mut Report, minutes: &str) -> Result<()> {
    let time: f64 = minutes.parse().ok().filter(|m| *m > 0.0).context("the minutes are no positive number")?;
    let folder = paths::target()?.join("coverage");
    cases::run(report)?;
    report.step("programs that read profiles", "cargo xtask coverage", || install(&folder))?;
    let egret = folder.join(PROFILE).join("egret");
    report.step("instrumented build", "cargo xtask coverage", || build(&folder))?;
    let onnx = paths::onnx_cases()?;
    let folders = ["node", "simple", "pytorch-converted", "pytorch-operator", "light"].map(|kind| onnx.join(kind));
    let mut networks = vec![paths::contrib_cases()?];
    networks.extend(Some(paths::root().join("../shared/zoo/tiny")).filter(|zoo| zoo.is_dir()));
    let conform = Cmd::new(&egret).args(["conform", "--level", "native"]).args(&folders).args(&networks);
    let seconds = (time * 60.0).to_string();
    let campaign = Cmd::new(&egret).args(["fuzz", "run", "--count", "1000000000", "--time", &seconds]);
    let mut reached = Vec::new();
    for (name, cmd) in [("cases", conform), ("campaign", campaign)] {
        report.step(name, &cmd.to_string(), || {
            reached.push(profiled(&folder, name, &egret, cmd)?);
            Ok(Outcome::Done)
        })?;
    }
    let [cases, campaign] = &reached[..] else { bail!("two runs are compared") };
    print!("{}", table(cases, campaign));
    Ok(())
}

fn install(folder: &Path) -> Result<Outcome> {
    if tool(folder).is_file() {
        return Ok(Outcome::Skipped("they are there".to_owned()));
    }
    Cmd::cargo().args(["install", "--quiet", "--root"]).arg(folder.join("tools")).args(TOOLS).run()?;
    Ok(Outcome::Done)
}

fn tool(folder: &Path) -> PathBuf {
    folder.join("tools/bin/cov")
}

/// Builds `egret` with counters in the workspace's own crates: cargo has them compiled by a script that adds the flag.
fn build(folder: &Path) -> Result<Outcome> {
    let script = folder.join("rustc.sh");
    let text = "#!/bin/sh\nrustc=\"$1\"\nshift\nexec \"$rustc\" \"$@\" -C instrument-coverage\n";
    if !fs::read_to_string(&script).is_ok_and(|there| there == text) {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(&script, text).with_context(|| script.display().to_string())?;
        executable(&script)?;
    }
    let cmd = Cmd::cargo().args(["build", "--bin", "egret", "--profile", PROFILE, "--features", FEATURES]);
    let cmd = cmd.arg("--target-dir").arg(folder).env("CARGO_PROFILE_CI_DEBUG", "false");
    cmd.env("RUSTC_WORKSPACE_WRAPPER", script.display().to_string()).run()?;
    Ok(Outcome::Done)
}

#[cfg(unix)]
fn executable(script: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).with_context(|| script.display().to_string())
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    bail!("coverage is measured where scripts of /bin/sh run")
}

/// Whether each line that has code was reached, by file from the workspace's root and number.
type Lines = BTreeMap<String, BTreeMap<u32, bool>>;

/// Runs it and reads what it reached; that it found bugs or that cases failed is no error here.
fn profiled(folder: &Path, name: &str, egret: &Path, cmd: Cmd) -> Result<Lines> {
    let raw = folder.join(format!("{name}.profraw"));
    if raw.exists() {
        fs::remove_file(&raw).with_context(|| raw.display().to_string())?;
    }
    let ended = cmd.env("LLVM_PROFILE_FILE", raw.display().to_string()).run();
    if !raw.is_file() {
        ended?;
        bail!("{} was not written", raw.display());
    }
    let show = Cmd::new(tool(folder)).args(["show", "--instr-profile"]).arg(&raw).arg("--object").arg(egret);
    Ok(read(&show.read()?, paths::root()))
}

/// Reads what `cov show` prints: a file's path, then its lines as `number|hits|text`, hits blank where there is no code.
fn read(shown: &str, root: &Path) -> Lines {
    let mut lines = Lines::new();
    let mut file: Option<&mut BTreeMap<u32, bool>> = None;
    for line in shown.lines() {
        let parts: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
        match parts[..] {
            [number, hits, _] if number.parse::<u32>().is_ok() => {
                if let (Some(file), Ok(number), Ok(hits)) = (&mut file, number.parse(), hits.parse::<u64>()) {
                    *file.entry(number).or_default() |= hits > 0;
                }
            }
            [path] if !path.is_empty() => {
                let path = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
                let path = path.to_string_lossy().into_owned();
                file = ROOMS.iter().any(|room| path.starts_with(room)).then(|| lines.entry(path).or_default());
            }
            _ => {}
        }
    }
    lines
}

/// Lines with code, and of them those that each of two runs reached, and both together.
fn count(rooms: &[&str], a: &Lines, b: &Lines) -> [usize; 4] {
    let mut n = [0; 4];
    let files: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for file in files.into_iter().filter(|f| rooms.iter().any(|room| f.starts_with(room))) {
        let empty = BTreeMap::new();
        let (a, b) = (a.get(file).unwrap_or(&empty), b.get(file).unwrap_or(&empty));
        let numbers: BTreeSet<&u32> = a.keys().chain(b.keys()).collect();
        for number in numbers {
            let hit = |lines: &BTreeMap<u32, bool>| lines.get(number).copied().unwrap_or_default();
            let (a, b) = (hit(a), hit(b));
            [true, a, b, a || b].into_iter().zip(&mut n).for_each(|(hit, n)| *n += usize::from(hit));
        }
    }
    n
}

fn table(cases: &Lines, campaign: &Lines) -> String {
    let mut out = format!("{:24}{:>8}{:>16}{:>16}{:>16}{:>9}\n", "", "lines", "cases", "campaign", "both", "more");
    let mut row = |name: &str, rooms: &[&str]| {
        let [all, a, b, both] = count(rooms, cases, campaign);
        let share = |n: usize| format!("{n} {:5.1} %", 100.0 * n as f64 / all.max(1) as f64);
        let more = 100.0 * both as f64 / a.max(1) as f64 - 100.0;
        out += &format!("{name:24}{all:>8}{:>16}{:>16}{:>16}{more:>7.1} %\n", share(a), share(b), share(both));
    };
    ROOMS.iter().for_each(|room| row(room, &[room]));
    row(&COMPILER.join(" + "), COMPILER);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_runs_reached_is_added_up() {
        let shown = |first: &str, second: &str| {
            let text = format!(
                "/w/passes/src/a.rs\n    1|{first}|fn f() {{\n    2|{second}|    g(1 | 2)\n    3|       |\n\n/w/src/x.rs\n    1|      5|x\n"
            );
            read(&text, Path::new("/w"))
        };
        let (a, b) = (shown("      3", "      0"), shown("      0", "      1"));
        assert_eq!(a["passes/src/a.rs"].len(), 2);
        assert_eq!(count(COMPILER, &a, &b), [2, 1, 1, 2]);
        assert!(table(&a, &b).lines().last().unwrap().contains("100.0 %"));
    }
}
