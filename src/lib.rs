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
//! A graph may be built by hand as well; each call is checked by its operator's rule as it is added, and an extent may be
//! a symbol that is known when the model runs:
//!
//! ```
//! # fn main() -> egret::Result<()> {
//! use egret::ir::{Dim, attrs};
//! use egret::{DType, GraphBuilder, Model, Options, Tensor, Type};
//!
//! let mut b = GraphBuilder::new("dense");
//! let x = b.input("x", Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(2)]));
//! let w = b.constant(Tensor::from_slice(&[2, 1], &[1f32, -1.0]));
//! let product = b.op("MatMul", attrs! {}, &[x, w])?;
//! let y = b.op("LeakyRelu", attrs! { alpha: 0.5f32 }, &[product])?;
//! let executable = Model::from_graph(b.finish(&[y])).compile(&Options::default())?;
//! let outputs = executable.run(&[Tensor::from_slice(&[2, 2], &[3f32, 1.0, 1.0, 3.0]).into()])?;
//! assert_eq!(outputs[0].tensor()?, &Tensor::from_slice(&[2, 1], &[2f32, -1.0]));
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
//! | [`check`](mod@check) | every stage of the compiler against the reference, a difference traced to its node |
//! | [`compare`] | how close two values are, in units of a tolerance |
//! | [`ir`], [`passes`], [`codegen`] | the rooms behind this one |
//!
//! Invariant: this room joins the others and adds no meaning of its own: what an operator computes is said in
//! `egret-ir`, how it is rewritten in `egret-passes`, how it becomes machine code in `egret-codegen`.

pub mod ahead;
pub mod check;
pub mod compare;
mod executable;
mod model;
mod options;

pub use egret_codegen as codegen;
pub use egret_ir as ir;
pub use egret_ir::eval::Limits;
pub use egret_ir::{DType, Error, ErrorKind, Graph, GraphBuilder, Result, Tensor, Type, Value};
pub use egret_passes as passes;
pub use executable::{Executable, Port, StepReport, Took};
pub use model::Model;
pub use options::{Level, Options, available_threads};
