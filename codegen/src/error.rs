//! What can go wrong between a kernel's description and its machine code.

use crate::builder::BuildError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// A generator recorded an ill-typed kernel.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The processor is not supported, or a setting of it is not.
    #[error("target: {0}")]
    Target(String),
    /// Something that this compiler does not do yet.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A description that makes no sense (sizes that contradict each other).
    #[error("invalid: {0}")]
    Invalid(String),
    /// Cranelift refused a function that passed our own checks.
    #[error("kernel `{kernel}`: {text}")]
    Emit {
        /// Name of the kernel.
        kernel: String,
        /// Cranelift's message.
        text: String,
    },
    /// The system gave no executable memory.
    #[error("executable memory: {0}")]
    Memory(#[from] std::io::Error),
}
