//! ONNX files: the only place that knows protobuf.
//!
//! | module | what |
//! |---|---|
//! | [`proto`] | the messages, generated from the `.proto` files beside this one |
//! | [`external`] | tensor data in files beside the model |
//! | [`tensor`] | `TensorProto`, `SparseTensorProto` <-> [`Tensor`](crate::tensor::Tensor) |
//! | [`types`] | `TypeProto` <-> [`Type`](crate::types::Type) |
//! | [`data`] | `.pb` files with values: tensors, sequences, optionals, maps |
//! | [`import_file`], [`import_bytes`] | a model's bytes -> [`Model`] with a typed [`Graph`](crate::graph::Graph) |
//! | [`export()`], [`export_file`] | a graph -> a model that other runtimes read |
//!
//! Importing goes in two steps: `resolve` settles names (scopes, captures, order, functions) on the messages alone;
//! the second half then makes the operators, raising those of older opsets to the present form.
//!
//! Not read, because they change no result: `training_info`, quantisation annotations, device configurations, checksums.
//!
//! Invariant: no bytes, however wrong, make this module panic, hang or allocate more than in proportion to the file and
//! to [`Limits`]. Protobuf messages nest at most 100 deep (prost's limit); graphs, functions and dense forms of sparse
//! tensors are counted against [`Limits`].

mod attr;
pub mod data;
mod export;
pub mod external;
mod import;
mod resolve;
pub mod tensor;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod types;

#[expect(missing_docs, reason = "generated; the .proto files document every field")]
#[rustfmt::skip]
pub mod proto;

pub use export::{export, export_file};
pub use import::{Model, import_bytes, import_file};

use crate::error::{Error, Result};
use std::time::Instant;

/// The messages of a model file as they are, for tools that change files and not graphs.
///
/// # Errors
/// When the bytes are no such message.
pub fn decode(bytes: &[u8]) -> crate::Result<proto::ModelProto> {
    prost::Message::decode(bytes).map_err(|e| crate::Error::invalid(format!("this is no ONNX model: {e}")))
}

/// The bytes of a model file.
pub fn encode(model: &proto::ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}

/// The newest version of the standard operators that is known here (onnx 1.23).
pub const LATEST_OPSET: i64 = 28;

/// The newest version of the file format that is known here (onnx 1.23).
pub const LATEST_IR_VERSION: i64 = 14;

/// What an importer accepts before it gives up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Nodes in all graphs together, counted after functions are inlined.
    pub max_nodes: usize,
    /// Functions inside functions, sub-graphs on the way counted.
    pub max_depth: usize,
    /// Sub-graphs inside sub-graphs. Small, because typing a loop walks its body more than once: the time may grow
    /// with a power of the depth.
    pub max_body_depth: usize,
    /// Bytes of one tensor that the file holds in a shorter form (sparse, or typed fields).
    pub max_dense_bytes: usize,
    /// When to give up; looked at for every node.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// Looks at the deadline.
    ///
    /// # Errors
    /// When it passed.
    pub fn check_time(&self) -> Result<()> {
        if self.deadline.is_some_and(|d| Instant::now() > d) {
            return Err(Error::limit("reading the model passed its deadline (`deadline` of the import limits)"));
        }
        Ok(())
    }
}

impl Default for Limits {
    /// A million nodes, 64 functions deep, 12 bodies deep, 4 GiB a tensor, no deadline: several times what published models need.
    fn default() -> Limits {
        Limits { max_nodes: 1 << 20, max_depth: 64, max_body_depth: 12, max_dense_bytes: 4 << 30, deadline: None }
    }
}
