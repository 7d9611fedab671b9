//! Egret: a graph compiler for deep-learning operators.
//!
//! ```
//! # fn main() -> egret::Result<()> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.onnx");
//! use egret::{Level, Model, Options, Tensor};
//!
//! let model = Model::load(path)?;
//! let executable = model.compile(&Options { level: Level::Reference, ..Options::default() })?;
//! let image = Tensor::from_slice(&[1, 1, 8, 8], &[0f32; 64]);
//! let outputs = executable.run(&[image.into()])?;
//! assert_eq!(outputs[0].tensor()?.shape(), [1, 10]);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`Model`] | a graph with its metadata: read, written, built by hand |
//! | [`Options`] | level, threads, limits |
//! | [`Executable`] | a model ready to run, from any number of threads |
//! | [`ahead`] | models as object files that run without Egret |
//! | [`compare`] | how close two values are, in units of a tolerance |
//! | [`ir`], [`passes`], [`codegen`] | the rooms behind this one |
//!
//! Invariant: this room joins the others and adds no meaning of its own: what an operator computes is said in
//! `egret-ir`, how it is rewritten in `egret-passes`, how it becomes machine code in `egret-codegen`.

pub mod ahead;
pub mod compare;
mod executable;
mod model;
mod options;

pub use egret_codegen as codegen;
pub use egret_ir as ir;
pub use egret_ir::eval::Limits;
pub use egret_ir::{DType, Error, ErrorKind, Graph, GraphBuilder, Result, Tensor, Type, Value};
pub use egret_passes as passes;
pub use executable::{Executable, Port, StepReport};
pub use model::Model;
pub use options::{Level, Options, available_threads};
