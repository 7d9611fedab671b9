//! The runtime library of models compiled ahead of time: functions that generated code calls through its table.
//!
//! They mean what `egret_ir::loops::scalar` and `egret_ir::num` say (a test of `egret-codegen` compares them): functions of
//! `f32` are calculated in `f64` and rounded once, divisions are total. Elementary functions are the C library's, so
//! link with `-lm`. The file needs `core` alone, so that `rustc` builds it for any target without a package.

#![no_std]

include!("functions.rs");
