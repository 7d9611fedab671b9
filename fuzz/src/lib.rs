//! The fuzzer of Egret.
//!
//! | module | what |
//! |---|---|
//! | [`form`] | argument structures of operators: element types, ranks, attributes, with open extents |
//! | [`smt`], [`solve`] | conditions of a call for z3; numbers for its symbols |
//! | [`mod@generate`], [`values`], [`choices`] | graphs grown call by call; elements by class; a seed or libFuzzer's bytes decides |
//! | [`bounds`] | how far a correct compiler's results may lie from the reference's |
//! | [`check`], [`runtime`] | Egret stage by stage; other runtimes in processes of their own |
//! | [`mod@reduce`], [`finding`], [`campaign`] | the smallest failing graph; a folder for it; all of it in a row |
//! | [`surface`] | what must hold of every input from outside, however wrong |
//!
//! `fuzz_targets/` holds the entry points of [cargo-fuzz](https://github.com/rust-fuzz/cargo-fuzz): ten lines each, which
//! hand libFuzzer's bytes to a function of this library. This package is the library and the cargo-fuzz package at once; the
//! targets need the feature `libfuzzer`, so a plain build compiles no fuzzing engine:
//!
//! ```sh
//! mkdir -p fuzz/corpus/import
//! cargo fuzz run --sanitizer none --features libfuzzer import fuzz/corpus/import target/onnx-cases/simple
//! ```
//!
//! The first folder receives what libFuzzer finds worth keeping; further ones (read with their sub-folders) are seeds. On a
//! stable compiler the sanitizer must be `none`: panics, overflows, hangs and memory limits are found all the same.

pub mod bounds;
pub mod campaign;
pub mod check;
pub mod choices;
pub mod finding;
pub mod form;
pub mod generate;
pub mod reduce;
pub mod runtime;
pub mod smt;
pub mod solve;
pub mod surface;
pub mod values;
