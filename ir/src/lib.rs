//! Egret's intermediate representation: types, symbolic extents, graphs, operators, reference evaluation.
//!
//! | module | what |
//! |---|---|
//! | [`dtype`], [`types`], [`dim`] | element types, types of values, extents as terms |
//! | [`tensor`], [`value`] | data |
//! | [`graph`], [`builder`] | values, nodes, bodies; building them by hand |
//! | [`mod@op`], [`ops`], [`attr`], [`rule`] | what an operator is; all operators; attributes; rules |
//! | [`infer`], [`eval`] | types of a graph; its reference evaluation |
//! | [`text`], [`json`], [`dot`], [`verify`] | graphs as text, JSON, drawings; are their invariants held |
//! | [`filetest`] | tests written as IR text |
//! | [`support`] | what is native, expanded, for which element types: the table of operators |
//! | [`onnx`] | the only place that knows protobuf |
//! | [`channels_last`] | calls on tensors in another layout |
//! | [`map`] | files as shared bytes, large ones memory-mapped |
//! | [`lower`], [`loops`] | what an operator's `lower` speaks |
//!
//! Invariant: nothing here depends on another crate of Egret; no e-graph, no machine code, no solver.

pub mod attr;
pub mod builder;
pub mod channels_last;
pub mod dim;
pub mod dot;
pub mod dtype;
pub mod error;
pub mod eval;
pub mod filetest;
pub mod graph;
pub mod infer;
pub mod json;
pub mod library;
pub mod loops;
pub mod lower;
pub mod map;
pub mod num;
pub mod onnx;
pub mod op;
pub mod ops;
pub mod plan;
pub mod rule;
pub mod support;
pub mod tensor;
pub mod text;
pub mod types;
pub mod value;
pub mod verify;
pub mod version;

pub use attr::{Attr, Attrs};
pub use builder::GraphBuilder;
pub use dim::{Cond, CondKind, Dim, DimKind};
pub use dtype::{Class, DType};
pub use error::{Error, ErrorKind, Result};
pub use graph::{Graph, Node, ValueId, ValueInfo};
pub use op::{Op, OpDef};
pub use rule::Fact;
pub use tensor::Tensor;
pub use types::{Shape, TensorType, Type};
pub use value::{Key, Value};
