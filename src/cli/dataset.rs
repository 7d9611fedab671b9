//! Folders of test data in ONNX's layout: `input_0.pb`, `input_1.pb`…, `output_0.pb`….

use super::Failure;
use anyhow::{Context, Result, ensure};
use egret::ir::onnx::{Limits, data};
use egret::{Executable, Model, Type, Value};
use std::path::{Path, PathBuf};

/// Input files as read before the model is known. A file does not say whether it holds a tensor or something else, so
/// that what is no tensor by the model's word is read again.
pub(super) struct RawInputs {
    files: Vec<(PathBuf, Option<(String, Value)>)>,
}

/// Inputs by name.
pub(super) struct Inputs {
    /// Name in the model, and value.
    pub(super) named: Vec<(String, Value)>,
    /// Whether a value is for an input that has a default.
    pub(super) overrides: bool,
}

/// `stem_0.pb`, `stem_1.pb`… as far as they are there.
pub(super) fn files(folder: &Path, stem: &str) -> Vec<PathBuf> {
    (0..).map(|k| folder.join(format!("{stem}_{k}.pb"))).take_while(|p| p.is_file()).collect()
}

impl RawInputs {
    /// Reads every `input_k.pb` of a folder.
    pub(super) fn read(folder: &Path) -> RawInputs {
        let read = |p: PathBuf| {
            let tensor = data::load(&p, &Type::Unknown, &Limits::default()).ok();
            (p, tensor.filter(|(_, v)| matches!(v, Value::Tensor(_))))
        };
        RawInputs { files: files(folder, "input").into_iter().map(read).collect() }
    }

    /// No file at all.
    pub(super) fn none() -> RawInputs {
        RawInputs { files: Vec::new() }
    }

    /// Gives the values their names. Files without one follow the order of the inputs: of those without a default if
    /// they suffice, else of all.
    pub(super) fn bind(self, model: &Model) -> Result<Inputs> {
        let graph = model.graph();
        let all: Vec<_> = graph.inputs.iter().map(|&v| graph.value(v)).collect();
        let needed: Vec<_> = all.iter().copied().filter(|i| i.constant.is_none()).collect();
        let order = if self.files.len() <= needed.len() { needed } else { all.clone() };
        ensure!(self.files.len() <= order.len(), "{} input files for {} inputs", self.files.len(), order.len());
        let mut out = Inputs { named: Vec::new(), overrides: false };
        for ((path, read), by_order) in self.files.into_iter().zip(order) {
            let named = |name: &str| all.iter().copied().find(|i| !name.is_empty() && i.name == name);
            let info = read.as_ref().and_then(|(name, _)| named(name)).unwrap_or(by_order);
            let (info, value) = match (read, &info.ty) {
                (Some((_, value)), Type::Tensor(_) | Type::Unknown) => (info, value),
                (_, ty) => {
                    let (name, value) = data::load(&path, ty, &Limits::default())?;
                    (named(&name).unwrap_or(info), value)
                }
            };
            out.overrides |= info.constant.is_some();
            out.named.push((info.name.clone(), value));
        }
        Ok(out)
    }
}

impl Inputs {
    /// In the order of an executable's inputs.
    pub(super) fn order(&self, executable: &Executable) -> Result<Vec<Value>> {
        let named: Vec<(&str, Value)> = self.named.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        Ok(executable.order(&named)?)
    }
}

/// Expected outputs of a folder.
pub(super) fn outputs(folder: &Path, executable: &Executable) -> Result<Vec<Value>> {
    let files = files(folder, "output");
    ensure!(files.len() <= executable.outputs().len(), "{} output files", files.len());
    let load = |(p, port): (&PathBuf, &egret::Port)| Ok(data::load(p, &port.ty, &Limits::default())?.1);
    files.iter().zip(executable.outputs()).map(load).collect()
}

/// Writes values as `output_k.pb`, names set; gives their number.
pub(super) fn save(folder: &Path, executable: &Executable, values: &[Value]) -> Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (k, (port, value)) in executable.outputs().iter().zip(values).enumerate() {
        data::save(&folder.join(format!("output_{k}.pb")), &port.name, value)?;
    }
    Ok(values.len())
}

/// A case in ONNX's layout.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// Cases under the folders, sorted by name within each; a name is the path below its folder.
pub(super) fn find(dirs: &[PathBuf], filter: &[String]) -> Result<Vec<Case>> {
    let mut out = Vec::new();
    for dir in dirs {
        let mut found = Vec::new();
        std::fs::read_dir(dir).map_err(|e| Failure::usage(format!("{}: {e}", dir.display())))?;
        walk(dir, 3, &mut found);
        found.sort();
        for folder in found {
            let below = folder.strip_prefix(dir).unwrap_or(&folder);
            let name = match below.components().next() {
                Some(_) => below.to_string_lossy().replace('\\', "/"),
                None => dir.canonicalize()?.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
            };
            if filter.is_empty() || filter.iter().any(|f| name.contains(f.as_str())) {
                out.push(Case { name, folder });
            }
        }
    }
    Ok(out)
}

fn walk(dir: &Path, levels: usize, out: &mut Vec<PathBuf>) {
    if dir.join("model.onnx").is_file() {
        out.push(dir.to_owned());
    } else if levels > 0 {
        let folders = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        folders.filter(|p| p.is_dir()).for_each(|p| walk(&p, levels - 1, out));
    }
}

/// Folders `test_data_set_*` of a case, sorted.
pub(super) fn sets(case: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(case)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("test_data_set_")))
        .collect();
    out.sort();
    out
}
