//! Values of a model by ONNX Runtime, through Python's package.

use crate::cli::Failure;
use anyhow::{Context, Result};
use egret::check::Values;
use egret::ir::onnx::{self, data};
use egret::{Executable, Type, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the file with every value of its main graph as an output, optimisations off; writes `K.pb` and names.
const SCRIPT: &str = include_str!("ort.py");

/// Every value that ONNX Runtime gives, by name.
pub(super) fn values(model: &Path, ports: &Executable, inputs: &[Value]) -> Result<Values> {
    let python = python()?;
    let folder = Folder::new()?;
    for (k, (port, value)) in ports.inputs().iter().zip(inputs).enumerate() {
        data::save(&folder.0.join(format!("input_{k}.pb")), &port.name, value)?;
    }
    let output = Command::new(&python).arg("-c").arg(SCRIPT).arg(model).arg(&folder.0).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it says nothing");
        anyhow::bail!("ONNX Runtime (by {}) refuses {}: {last}", python.display(), model.display());
    }
    let names = String::from_utf8(output.stdout)?;
    let one = |(k, name): (usize, &str)| {
        let path = folder.0.join(format!("{k}.pb"));
        let (_, value) = data::load(&path, &Type::Unknown, &onnx::Limits::default())?;
        Ok((name.to_owned(), value))
    };
    names.lines().enumerate().map(one).collect()
}

/// The first Python that has the packages.
fn python() -> Result<PathBuf> {
    let chosen = std::env::var_os("EGRET_PYTHON").map(PathBuf::from);
    let candidates = chosen.into_iter().chain([".venv/bin/python".into(), "python3".into()]);
    let works = |p: &PathBuf| {
        let asked = Command::new(p).args(["-c", "import onnx, onnxruntime"]).output();
        asked.is_ok_and(|o| o.status.success())
    };
    candidates.into_iter().find(works).ok_or_else(|| {
        Failure::usage(
            "--ort needs a Python with the packages onnxruntime and onnx: `cargo xtask setup` makes one in .venv, or name \
             yours in EGRET_PYTHON",
        )
    })
}

/// A folder that goes when it is no longer needed.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("egret-ort-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
