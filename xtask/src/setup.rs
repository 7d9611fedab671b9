//! The virtual environment `.venv`: the conformance cases, the runtimes that results are compared with, and libz3.
//!
//! The environment is made again whenever `requirements.txt` differs from the copy that a finished installation leaves in it,
//! so an interrupted installation is never taken for a finished one. Packages come as wheels only: building one from source
//! would take a compiler, minutes, and versions that nobody pinned.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::Cmd;
use crate::paths;
use crate::report::{Outcome, Report};

/// The oldest Python for which the pinned packages have wheels (numpy 2.4's `requires-python`).
const PYTHON_MIN: (u32, u32) = (3, 11);

/// `cargo xtask setup`; what needs it calls this, and only the first call of a run is a step.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    if report.has("setup") {
        return Ok(());
    }
    report.step("setup", "cargo xtask setup", install)
}

fn stamp() -> PathBuf {
    paths::venv().join("requirements.installed")
}

fn install() -> Result<Outcome> {
    let requirements = paths::root().join("requirements.txt");
    let wanted =
        fs::read_to_string(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if fs::read_to_string(stamp()).is_ok_and(|installed| installed == wanted) && works() {
        return Ok(Outcome::Skipped(".venv is up to date".to_owned()));
    }
    environment(&paths::venv(), &["--requirement", "requirements.txt"])?;
    link_z3()?;
    fs::write(stamp(), wanted).with_context(|| format!("cannot write {}", stamp().display()))?;
    Ok(Outcome::Done)
}

/// A virtual environment in `folder`, again from nothing where there is one, with what `packages` tells pip.
pub(crate) fn environment(folder: &Path, packages: &[impl AsRef<OsStr>]) -> Result<()> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    check_version(&python)?;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let make = Cmd::new(&python).args(["-m", "venv"]).arg(folder);
    make.run().context("cannot make a virtual environment (Debian and Ubuntu: apt-get install python3-venv)")?;
    let pip = Cmd::new(folder.join("bin/python")).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]).args(packages).run()
}

/// Whether the environment's Python starts: it is a link to the system's, which may have gone.
fn works() -> bool {
    Cmd::new(paths::venv_python()).args(["-c", ""]).read().is_ok()
}

fn check_version(python: &str) -> Result<()> {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let text = Cmd::new(python).args(["-c", script]).read()?;
    let version = parse_version(&text).with_context(|| format!("`{python}` gave {text:?} for its version"))?;
    if version < PYTHON_MIN {
        let (major, minor) = PYTHON_MIN;
        bail!(
            "`{python}` is Python {}.{}, but {major}.{minor} is needed (name another in PYTHON)",
            version.0,
            version.1
        );
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `.venv/z3` leads to the z3 package, whose path holds Python's version: `.cargo/config.toml` names the link.
fn link_z3() -> Result<()> {
    let script = "import os, z3; print(os.path.dirname(z3.__file__))";
    let package = Cmd::new(paths::venv_python()).args(["-c", script]).read()?;
    let link = paths::venv().join("z3");
    std::os::unix::fs::symlink(package.trim_end(), &link).with_context(|| format!("cannot make {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("3 11\n"), Some((3, 11)));
        assert!(parse_version("3 9").unwrap() < PYTHON_MIN);
        assert!(parse_version("3 14").unwrap() > PYTHON_MIN);
        assert_eq!(parse_version("Python 3"), None);
    }
}
