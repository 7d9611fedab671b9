//! The wide emitter of x86-64: kernels that were recorded for 256 or 512 bits, with AVX2 or AVX-512.
//!
//! Recorded operations become machine instructions over virtual registers (`select`), `regalloc2` gives them registers, and
//! `iced-x86` their bytes (`encode`). Instructions come in the order in which they were recorded. Constants lie behind the
//! code and are read relative to it, so that bytes may be placed anywhere. Every function ends with `vzeroupper`, and calls
//! nothing without it: a processor that leaves upper halves in use runs code of the older encodings slowly.

mod codes;
mod compare;
mod convert;
mod encode;
mod lanes;
mod mir;
mod ops;
mod select;
#[cfg(test)]
mod tests;

use regalloc2::{Algorithm, MachineEnv, PReg, PRegSet, RegClass, RegallocOptions};

use super::MachineCode;
use crate::builder::KernelFn;
use crate::error::CodegenError;

/// What the emitter makes code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// 256 bits: AVX2, FMA, BMI2.
    Avx2,
    /// 512 bits: AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    /// 32-bit lanes of a vector.
    pub const fn lanes(self) -> usize {
        match self {
            Level::Avx2 => 8,
            Level::Avx512 => 16,
        }
    }

    /// As in `EGRET_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// Whether this processor has it.
    pub fn is_here(self) -> bool {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2");
        match self {
            Level::Avx2 => avx2,
            Level::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// The level that a kernel was recorded for, if it is one of these.
    pub const fn of(kernel: &KernelFn) -> Option<Level> {
        match kernel.lanes {
            8 => Some(Level::Avx2),
            16 => Some(Level::Avx512),
            _ => None,
        }
    }
}

/// Numbers of the registers of the first arguments (System V): `rdi`, `rsi`, `rdx`, `rcx`, `r8`, `r9`.
const GENERAL_ARGS: [usize; 6] = [7, 6, 2, 1, 8, 9];

/// Vector registers for arguments.
const VECTOR_ARGS: usize = 8;

/// Registers that a function leaves as they were: `rbx`, `r12` to `r15`; `rbp` is the frame's.
const CALLEE_SAVED: [usize; 5] = [3, 12, 13, 14, 15];

/// Registers that are nobody's across a call.
const CALLER_SAVED: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];

/// The frame is aligned to a vector.
const FRAME_ALIGN: u32 = 64;

fn vectors(level: Level) -> usize {
    match level {
        Level::Avx2 => 16,
        Level::Avx512 => 32,
    }
}

fn set(regs: impl IntoIterator<Item = usize>, class: RegClass) -> PRegSet {
    let mut set = PRegSet::empty();
    regs.into_iter().for_each(|r| set.add(PReg::new(r, class)));
    set
}

/// Registers whose values a call does not keep.
fn clobbered_by_calls(level: Level) -> PRegSet {
    let mut all = set(CALLER_SAVED, RegClass::Int);
    (0..vectors(level)).for_each(|r| all.add(PReg::new(r, RegClass::Float)));
    if level == Level::Avx512 {
        (1..8).for_each(|r| all.add(PReg::new(r, RegClass::Vector)));
    }
    all
}

/// Compiles a kernel.
///
/// # Errors
/// When it was recorded for another width, or has an operation for which the level has no short sequence.
pub fn compile(kernel: &KernelFn, level: Level) -> Result<MachineCode, CodegenError> {
    let function = select::select(kernel, level)?;
    let masks = if level == Level::Avx512 { set(1..8, RegClass::Vector) } else { PRegSet::empty() };
    let env = MachineEnv {
        preferred_regs_by_class: [set(CALLER_SAVED, RegClass::Int), set(0..vectors(level), RegClass::Float), masks],
        non_preferred_regs_by_class: [set(CALLEE_SAVED, RegClass::Int), PRegSet::empty(), PRegSet::empty()],
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    };
    // The single-pass allocator has no constraint to the low registers.
    let options =
        RegallocOptions { verbose_log: false, validate_ssa: cfg!(debug_assertions), algorithm: Algorithm::Ion };
    let allocated = regalloc2::run(&function, &env, &options)
        .map_err(|e| CodegenError::Emit { kernel: kernel.name.clone(), text: format!("{e:?}") })?;
    encode::encode(&function, &allocated, level, &kernel.name)
}

/// Whether the emitter has all operations of a kernel.
pub fn covers(kernel: &KernelFn, level: Level) -> bool {
    select::select(kernel, level).is_ok()
}
