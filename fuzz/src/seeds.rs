//! Valid models that mutation starts from: folders of ONNX files, the operators' examples, and the models of the corpus.

use crate::mutate::Seed;
use egret_ir::onnx::{self, Model};
use egret_ir::{ops, text};
use std::io;
use std::path::{Path, PathBuf};

/// Each graph of each operator's examples, exported; those that cannot be are left out.
pub fn of_examples() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for def in ops::OPS {
        for (k, graph) in text::parse(def.examples).unwrap_or_default().into_iter().enumerate() {
            if let Ok(bytes) = onnx::export(&Model { graph, ir_version: 10, ..Model::default() }) {
                seeds.push(Seed { name: format!("example {k} of {}", def.name), bytes });
            }
        }
    }
    seeds
}

/// The examples, and the models in the fuzz target's corpus where the source folder is there.
pub fn own() -> Vec<Seed> {
    let mut seeds = of_examples();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/import");
    seeds.extend(of_files(&[corpus], u64::MAX).unwrap_or_default());
    seeds
}

/// Every `.onnx` file of at most `max_bytes` in these files and folders, sub-folders included, sorted by path.
///
/// # Errors
/// When a file or folder cannot be read.
pub fn of_files(paths: &[PathBuf], max_bytes: u64) -> io::Result<Vec<Seed>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    let mut seeds = Vec::new();
    for file in files {
        if file.metadata()?.len() <= max_bytes {
            seeds.push(Seed { name: file.display().to_string(), bytes: std::fs::read(&file)? });
        }
    }
    Ok(seeds)
}

fn collect(path: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        out.push(path.to_owned());
        return Ok(());
    }
    for entry in path.read_dir()? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|e| e == "onnx") {
            collect(&path, out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_and_the_corpus_are_seeds() {
        let (examples, all) = (of_examples().len(), own().len());
        assert!(examples > 0 && all > examples + 20, "{examples} examples, {all} seeds");
    }
}
