//! A model: a graph in the newest opset with what its file says besides.

use crate::executable::Executable;
use crate::options::Options;
use bytes::Bytes;
use egret_ir::onnx;
use egret_ir::{Error, Graph, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// A model. Weights are shared, not copied, by clones and by everything compiled from it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    file: onnx::Model,
}

impl Model {
    /// Reads an ONNX file; large weights stay in the file's memory map.
    ///
    /// # Errors
    /// When the file is no model, breaks a rule, uses what is not supported, or passes a limit; node and operator are
    /// named.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        Model::load_within(path, &onnx::Limits::default())
    }

    /// As [`Model::load`], with other bounds on what is accepted.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_within(path: impl AsRef<Path>, limits: &onnx::Limits) -> Result<Model> {
        Ok(Model { file: onnx::import_file(path.as_ref(), limits)? })
    }

    /// Reads an ONNX model from memory; it may have no external data.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Model> {
        Ok(Model { file: onnx::import_bytes(bytes.into(), None, &onnx::Limits::default())? })
    }

    /// A model of a graph built by hand (see [`GraphBuilder`](egret_ir::GraphBuilder)).
    pub fn from_graph(graph: Graph) -> Model {
        Model { file: onnx::Model { graph, ..onnx::Model::default() } }
    }

    /// The graph, types inferred.
    pub fn graph(&self) -> &Graph {
        &self.file.graph
    }

    /// Further properties by name.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.file.metadata
    }

    /// Everything that the file says.
    pub fn file(&self) -> &onnx::Model {
        &self.file
    }

    /// Names of the classes, where the metadata entry `labels` is a JSON list of strings.
    pub fn labels(&self) -> Option<Vec<String>> {
        serde_json::from_str(self.metadata().get("labels")?).ok()
    }

    /// The same model with another graph, for instance an optimised one.
    #[must_use]
    pub fn with_graph(&self, graph: Graph) -> Model {
        Model { file: onnx::Model { graph, ..self.file.clone() } }
    }

    /// Makes constants of all inputs that have a default.
    pub fn bind_defaults(&mut self) {
        self.file.bind_defaults();
    }

    /// Writes an ONNX file; weights above 1 GiB together go to `<path>.data` beside it.
    ///
    /// # Errors
    /// When an attribute is a term that has no number, or a file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        onnx::export_file(&self.file, path.as_ref())
    }

    /// Makes the model ready to run. Kernels are compiled when the shapes of a call are known
    /// ([`Executable::prepare`], or the first run).
    ///
    /// # Errors
    /// When a node violates its rule, or there is no code generation for this machine.
    pub fn compile(&self, options: &Options) -> Result<Executable> {
        if options.threads == 0 {
            return Err(Error::invalid("at least one thread is needed"));
        }
        let mut model = self.file.clone();
        if !options.overridable {
            model.bind_defaults();
        }
        Executable::new(model.graph, options)
    }
}
