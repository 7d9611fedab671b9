//! Egret's intermediate representation.

pub mod dtype;

pub use dtype::{Class, DType};
