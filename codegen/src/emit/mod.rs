//! Emitters: a recorded kernel to machine code.
//!
//! Code is position independent within itself: constants lie behind the function and are addressed relative to it, host
//! functions come through the pointer table. So bytes may be placed anywhere without relocation.

pub mod cranelift;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
pub mod x86;

use cranelift_frontend::FunctionBuilderContext;

use crate::builder::{KernelFn, Target};
use crate::error::CodegenError;
use crate::isa::Isa;

/// Compiles a kernel with the emitter of the width that it was recorded for.
///
/// # Errors
/// When no emitter has that width, or its emitter does not have an operation.
pub fn compile(
    kernel: &KernelFn,
    isa: &Isa,
    scratch: &mut FunctionBuilderContext,
) -> Result<MachineCode, CodegenError> {
    #[cfg(target_arch = "x86_64")]
    if let Some(level) = x86::Level::of(kernel) {
        return x86::compile(kernel, level);
    }
    cranelift::compile(kernel, isa, scratch, false)
}

/// Whether the emitter of the width that a kernel was recorded for has all its operations.
pub fn covers(kernel: &KernelFn) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(level) = x86::Level::of(kernel) {
        return x86::covers(kernel, level);
    }
    kernel.lanes == 4
}

/// What `make` records for a target, or for the portable one where the target's emitter lacks an operation of its kernel.
///
/// # Errors
/// Those of `make`.
pub fn recorded<T>(
    target: Target,
    make: impl Fn(Target) -> Result<T, CodegenError>,
    kernel: impl Fn(&T) -> &KernelFn,
) -> Result<T, CodegenError> {
    let made = make(target)?;
    if target == target.narrow() || covers(kernel(&made)) { Ok(made) } else { make(target.narrow()) }
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct MachineCode {
    /// Instructions followed by constants.
    pub bytes: Vec<u8>,
    /// Required alignment in bytes.
    pub align: usize,
    /// Assembly listing, when it was asked for.
    pub listing: Option<String>,
}
