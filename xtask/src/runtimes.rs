//! Other runtimes, and other releases of one, each in an environment of its own for `egret fuzz run --python`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::report::{Outcome, Report};
use crate::{paths, setup};

/// What every worker needs beside its runtime.
const NEEDED: [&str; 2] = ["numpy", "onnx"];

/// `cargo xtask runtime NAME PACKAGE…`: makes `target/runtimes/NAME`, again from nothing where it is there.
pub(crate) fn run(report: &mut Report, name: &str, packages: &[String]) -> Result<()> {
    report.step("runtime", "cargo xtask runtime", || {
        let folder = folder(name)?;
        let packages: Vec<&str> = NEEDED.into_iter().chain(packages.iter().map(String::as_str)).collect();
        setup::environment(&folder, &packages)?;
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
