//! Egret's intermediate representation.

pub mod dim;
pub mod dtype;

pub use dim::{Cond, CondKind, Dim, DimKind};
pub use dtype::{Class, DType};
