//! ONNX's own backend test cases as files, written by `tests/python/backend_cases.py` from the installed `onnx` package,
//! and cases of ONNX Runtime's operators with its answers, written by `tests/python/contrib_cases.py`.
//!
//! They are not kept in the repository: 2,033 cases are 82 MB, take seven seconds to write, and belong to the pinned package.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::Cmd;
use crate::report::{Outcome, Report};
use crate::{paths, setup};

const SCRIPT: &str = "tests/python/backend_cases.py";
const CONTRIB_SCRIPT: &str = "tests/python/contrib_cases.py";

/// `cargo xtask cases`.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    setup::run(report)?;
    report.step("cases", "cargo xtask cases", || write(SCRIPT, &paths::onnx_cases()?))?;
    report.step("cases of ONNX Runtime", "cargo xtask cases", || write(CONTRIB_SCRIPT, &paths::contrib_cases()?))
}

fn write(script: &str, folder: &Path) -> Result<Outcome> {
    let read = |name: &str| {
        let path = paths::root().join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    // The cases follow from the packages' versions and the script, so a copy of both tells whether they are up to date.
    let wanted = format!("{}{}", read("requirements.txt")?, read(script)?);
    let stamp = folder.join("made_from.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(Outcome::Skipped("the cases are up to date".to_owned()));
    }
    Cmd::new(paths::venv_python()).arg(script).arg("--out").arg(folder).run()?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Outcome::Done)
}
