//! `egret compile`: an object file, a C header, weights and the runtime library.

use super::show::{bytes, count};
use super::{Failure, say, say_json};
use anyhow::{Context, Result};
use clap::Args;
use egret::Model;
use egret::ahead::{AheadOptions, Compiled, Port, header, runtime};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Compile a model ahead of time, for programs that are linked without Egret.
///
/// Writes into DIR: NAME.o (kernels and the function NAME_run), NAME.h (C header: sizes, names, types, NAME_load,
/// NAME_call, NAME_free), NAME.weights, and, where kernels call functions of it, the static runtime library. The header
/// says how to link. A node without a compiled kernel, or extents that depend on data, are refused by name (exit code 4).
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret compile models/digits.onnx --shape n=1 -o build
  egret compile model.onnx --shape tokens=1x128 --name bert --target aarch64 -o build")]
pub(super) struct CompileArgs {
    /// An ONNX file.
    model: PathBuf,
    /// Size of a symbolic extent (n=4), or the whole shape of an input (image=1x3x224x224).
    #[arg(long, short, value_name = "NAME=SIZE")]
    shape: Vec<String>,
    /// Folder for what is written; made if it is missing.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Prefix of files and symbols. Default: the model file's name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// native (this processor with all its features), x86_64 (SSE4.1), x86_64-v3 (AVX2 and FMA), aarch64, or a triple.
    #[arg(long, value_name = "TARGET", default_value = "native")]
    target: String,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CompileArgs) -> Result<()> {
    let model = Model::load(&args.model)?;
    let name = args.name.clone().unwrap_or_else(|| identifier(&args.model));
    let mut options = AheadOptions { target: args.target.clone(), ..AheadOptions::new(name) };
    shapes(&args.shape, &model, &mut options)?;
    let compiled = model.compile_ahead(&options)?;
    std::fs::create_dir_all(&args.output).with_context(|| args.output.display().to_string())?;
    let mut files = vec![
        (format!("{}.o", compiled.name), compiled.object.clone()),
        (format!("{}.h", compiled.name), header::text(&compiled).into_bytes()),
        (format!("{}.weights", compiled.name), compiled.weights.clone()),
    ];
    if !compiled.runtime.is_empty() {
        match runtime::library(&compiled.target) {
            Some(library) => files.push((runtime::LIBRARY_NAME.into(), library.to_vec())),
            None => {
                eprintln!(
                    "the runtime library is not at hand for {}: {} is its source, make the library with\n  {}",
                    compiled.target,
                    runtime::SOURCE_NAME,
                    runtime::command(&compiled.target)
                );
                files.push((runtime::SOURCE_NAME.into(), runtime::source().into_bytes()));
            }
        }
    }
    let mut written = Vec::new();
    for (file, content) in &files {
        let path = args.output.join(file);
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
        written.push((path, content.len()));
    }
    report(&compiled, &written, args.json)
}

/// The file's name as a C identifier.
fn identifier(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("model_{name}") }
}

fn shapes(given: &[String], model: &Model, options: &mut AheadOptions) -> Result<()> {
    let graph = model.graph();
    for text in given {
        let wrong =
            || Failure::usage(format!("--shape {text}: wanted is NAME=SIZE, for instance n=4 or image=1x3x8x8"));
        let (name, size) = text.split_once('=').ok_or_else(wrong)?;
        let sizes: Vec<usize> =
            size.split(['x', ',']).map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let is_input = graph.inputs.iter().any(|&v| graph.value(v).name == name);
        match sizes.as_slice() {
            &[n] if !is_input => _ = options.sizes.insert(name.into(), n),
            _ => _ = options.shapes.insert(name.into(), sizes),
        }
    }
    Ok(())
}

fn report(compiled: &Compiled, written: &[(PathBuf, usize)], as_json: bool) -> Result<()> {
    if as_json {
        let port =
            |p: &Port| json!({ "name": p.name, "dtype": p.dtype.to_string(), "shape": p.shape, "bytes": p.size_bytes });
        return say_json(&json!({
            "name": compiled.name, "target": compiled.target, "kernels": compiled.n_kernels,
            "arena_bytes": compiled.arena_bytes, "runtime": compiled.runtime,
            "inputs": compiled.inputs.iter().map(port).collect::<Vec<_>>(),
            "outputs": compiled.outputs.iter().map(port).collect::<Vec<_>>(),
            "files": written.iter().map(|(p, n)| json!({ "path": p, "bytes": n })).collect::<Vec<_>>(),
        }));
    }
    for (path, len) in written {
        say(&format!("{:>10}  {}\n", bytes(*len as u64), path.display()))?;
    }
    say(&format!(
        "{} for {}, working memory {}\n",
        count(compiled.n_kernels, "kernel"),
        compiled.target,
        bytes(compiled.arena_bytes as u64)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_become_identifiers() {
        for (path, name) in [("a/digits.onnx", "digits"), ("b-c.d.onnx", "b_c_d"), ("7.onnx", "model_7")] {
            assert_eq!(identifier(Path::new(path)), name);
        }
    }
}
