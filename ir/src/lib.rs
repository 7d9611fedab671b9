//! Egret's intermediate representation.

pub mod dim;
pub mod dtype;
pub mod loops;

pub use dim::{Cond, CondKind, Dim, DimKind};
pub use dtype::{Class, DType};
