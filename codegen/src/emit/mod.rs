//! Emitters: a recorded kernel to machine code.
//!
//! Code is position independent within itself: constants lie behind the function and are addressed relative to it, host
//! functions come through the pointer table. So bytes may be placed anywhere without relocation.

pub mod cranelift;
#[cfg(test)]
mod tests;

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
