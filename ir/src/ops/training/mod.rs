//! Operators of `ai.onnx.preview.training`: one step of an optimiser each.

pub mod common;

pub mod adagrad;
pub mod adam;
pub mod momentum;
