//! Other runtimes, and other releases of one, each in an environment of its own for `egret fuzz run --python`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::Cmd;
use crate::paths;
use crate::report::{Outcome, Report};

/// What every worker needs beside its runtime.
const NEEDED: [&str; 2] = ["numpy", "onnx"];

/// `cargo xtask runtime NAME PACKAGE…`: makes `target/runtimes/NAME`, again from nothing where it is there.
pub(crate) fn run(report: &mut Report, name: &str, packages: &[String]) -> Result<()> {
    report.step("runtime", "cargo xtask runtime", || {
        let folder = folder(name)?;
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        Cmd::new(python).args(["-m", "venv"]).arg(&folder).run().context("cannot make a virtual environment")?;
        let pip = Cmd::new(folder.join("bin/python")).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]).args(NEEDED).args(packages).run()?;
        println!("{}", folder.join("bin/python").display());
        Ok(Outcome::Done)
    })
}

fn folder(name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        bail!("`{name}` is no name for a folder: letters, digits, `-`, `_` and `.` are");
    }
    Ok(paths::target()?.join("runtimes").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_stays_in_its_folder() {
        assert!(folder("onnxruntime-1.16.3").unwrap().ends_with("runtimes/onnxruntime-1.16.3"));
        for bad in ["", "..", "../x", "a/b", ".hidden"] {
            assert!(folder(bad).is_err(), "{bad}");
        }
    }
}
