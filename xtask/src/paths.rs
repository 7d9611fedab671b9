//! Where things are. Everything follows from the workspace's root, which is fixed when xtask is compiled.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root: the folder above `xtask/`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is a folder of the workspace")
}

/// The folder cargo builds into: this program is `<target>/<profile>/xtask`, whatever variable or file set `<target>`.
pub(crate) fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.with_context(|| format!("{} is not in a target folder", program.display()))?.to_path_buf())
}

/// The virtual environment that `cargo xtask setup` makes.
pub(crate) fn venv() -> PathBuf {
    root().join(".venv")
}

/// The Python of the virtual environment.
pub(crate) fn venv_python() -> PathBuf {
    venv().join("bin/python")
}

/// Where ONNX's backend test cases are written.
pub(crate) fn onnx_cases() -> Result<PathBuf> {
    Ok(target()?.join("onnx-cases"))
}

/// Where cases of ONNX Runtime's own operators are written.
pub(crate) fn contrib_cases() -> Result<PathBuf> {
    Ok(target()?.join("contrib-cases"))
}
