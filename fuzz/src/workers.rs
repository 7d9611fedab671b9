//! The Python programs that run in other processes. They are part of this crate, so that an installed `egret` carries them
//! along, and are written out where they are to run.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Files of `workers/`; they import each other.
const FILES: &[(&str, &str)] = &[
    ("runtimes.py", include_str!("../workers/runtimes.py")),
    ("torch_functions.py", include_str!("../workers/torch_functions.py")),
    ("torch_onnx.py", include_str!("../workers/torch_onnx.py")),
    ("torch_record.py", include_str!("../workers/torch_record.py")),
    ("torch_runtime.py", include_str!("../workers/torch_runtime.py")),
];

/// Writes them all; the path of the one asked for.
///
/// # Errors
/// When the folder takes no files.
pub fn unpack(folder: &Path, program: &str) -> Result<PathBuf> {
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(folder.join(program))
}

/// The Python that a system runs under where nobody names one.
pub fn python(system: &str) -> &'static Path {
    Path::new(if system == "torch" { "target/runtimes/torch/bin/python" } else { ".venv/bin/python" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_is_embedded() {
        let all = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/workers")).unwrap();
        let mut there: Vec<String> = all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        // A finding's own script is none of them.
        there.retain(|n| n.ends_with(".py") && n != "reproduce.py");
        there.sort();
        assert_eq!(there, FILES.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(folder.path(), "runtimes.py").unwrap().is_file());
    }
}
