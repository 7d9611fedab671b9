//! Native kernels: from descriptions of computations to machine code of this processor.
//!
//! Code map:
//! - [`builder`]: the language in which kernels are written once for any vector width, recorded as [`builder::KernelFn`];
//! - [`emit`]: recorded kernels to machine code (Cranelift, 128-bit vectors, x86-64 and aarch64; AVX2 and AVX-512);
//! - [`kernels`]: register-blocked contractions with fused epilogues;
//! - [`lower`]: loop nests of the loop IR to kernels;
//! - [`pool`]: the threads that share a kernel;
//! - [`object`]: kernels as an object file for other programs;
//! - [`interp`]: recorded kernels run without machine code, every access checked;
//! - [`aot`]: a plan as an object file with a driver, a C header and weights;
//! - [`runtime`]: compiled Rust kernels for what is too irregular for loops;
//! - [`exec`]: graphs to plans, plans to runs;
//! - [`jit`]: many kernels to callable code in this process; [`isa`]: the processor that code is made for.
//!
//! Invariant: `unsafe` is confined to the mapping of code, the calls into it and the hand-over of jobs between threads.
//! Invariant: generated code holds no absolute address and never touches memory outside the buffers of its description.

pub mod aot;
pub mod builder;
pub mod emit;
pub mod error;
pub mod exec;
pub mod interp;
pub mod isa;
pub mod jit;
pub mod kernels;
pub mod lower;
pub mod object;
pub mod pool;
pub mod runtime;
#[cfg(test)]
mod testing;

pub use error::CodegenError;
