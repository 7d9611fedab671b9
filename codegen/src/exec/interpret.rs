//! Steps without machine code: loop nests in the interpreter of the loop IR, other kernels in that of recorded kernels.

use crate::builder::KernelFn;
use crate::interp::{self, Region};
use egret_ir::loops::interp::run_kernel;
use egret_ir::loops::{Program, Role};
use egret_ir::{Error, Result};
use std::sync::Arc;

/// Runs a kernel over its whole range on the calling thread; `nest` is the loop nest that it was made from.
///
/// # Safety
/// `regions` is the kernel's pointer table with the length of each buffer, under the conditions of [`interp::run`].
pub(super) unsafe fn step(
    kernel: &KernelFn,
    nest: Option<&(Arc<Program>, usize)>,
    extent: usize,
    regions: &[Region],
    fused: bool,
) -> Result<()> {
    match nest {
        // SAFETY: passed on.
        Some((program, number)) => unsafe { run_nest(program, *number, regions) },
        None => {
            // SAFETY: passed on.
            let done = unsafe { interp::run(kernel, regions, 0, extent as i64, fused) };
            done.map_err(|e| Error::bug(e.to_string()))
        }
    }
}

/// Kernel `number` of a program, on copies of its buffers.
///
/// # Safety
/// As [`step`]: the first regions are the program's outer buffers.
unsafe fn run_nest(program: &Program, number: usize, regions: &[Region]) -> Result<()> {
    let mut memory: Vec<Vec<u8>> = Vec::with_capacity(program.buffers.len());
    for (i, buffer) in program.buffers.iter().enumerate() {
        let len = buffer.len_elems * buffer.dtype.size_bytes();
        memory.push(match buffer.role {
            Role::Scratch { .. } => vec![0; len],
            _ => {
                let region = regions.get(i).filter(|r| len <= r.len_bytes);
                let region = region.ok_or_else(|| Error::bug(format!("buffer {i} of a nest is shorter than {len}")))?;
                // SAFETY: the region is valid for reads of its length, which is at least `len`.
                if len == 0 { Vec::new() } else { unsafe { std::slice::from_raw_parts(region.start, len) }.to_vec() }
            }
        });
    }
    let kernel = program.kernels.get(number).ok_or_else(|| Error::bug(format!("a nest has no kernel {number}")))?;
    run_kernel(program, kernel, &mut memory, 0, kernel.extent).map_err(|e| Error::bug(e.to_string()))?;
    for ((buffer, bytes), region) in program.buffers.iter().zip(&memory).zip(regions) {
        if matches!(buffer.role, Role::Output(_) | Role::Temp(_)) && !bytes.is_empty() {
            // SAFETY: the region is at least as long as the bytes (checked above) and kernels may write outputs and
            // temporaries.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), region.start, bytes.len()) };
        }
    }
    Ok(())
}
