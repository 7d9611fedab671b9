//! Kernels to callable code in this process.
//!
//! Equal kernels are compiled once; the rest is cut over threads (Cranelift contexts are independent). The code of one
//! batch lies in one mapping that is written while it is not executable and executable while it is not writable.
//! Own mapping rather than `cranelift-jit`, because the emitters make code without relocations, wide emitters put their
//! bytes beside Cranelift's, and the mapping is released with its last handle.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_frontend::FunctionBuilderContext;

use crate::builder::KernelFn;
use crate::emit::{self, MachineCode};
use crate::error::CodegenError;
use crate::isa::Isa;

/// The C signature of every kernel, see [`crate::builder`].
pub type KernelAbi = unsafe extern "C" fn(bufs: *const *mut u8, begin: i64, end: i64);

/// Kernels are aligned to a cache line, so that loops sit in the instruction cache the same way wherever they land.
const CODE_ALIGN: usize = 64;

/// The compiled form of a list of kernels; cheap to clone, freely shared between threads.
#[derive(Clone)]
pub struct CompiledKernels {
    code: Arc<CodeMap>,
    /// Offset of each kernel of the list.
    offsets: Vec<usize>,
}

impl CompiledKernels {
    /// Compiles `kernels` on up to `n_threads` threads.
    pub fn compile(kernels: &[KernelFn], isa: &Isa, n_threads: usize) -> Result<CompiledKernels, CodegenError> {
        let mut first: HashMap<&KernelFn, usize> = HashMap::new();
        let mut unique: Vec<&KernelFn> = Vec::new();
        let mut which = Vec::with_capacity(kernels.len());
        for kernel in kernels {
            let id = *first.entry(kernel).or_insert_with(|| {
                unique.push(kernel);
                unique.len() - 1
            });
            which.push(id);
        }
        let distinct = CompiledKernels::compile_distinct(&unique, isa, n_threads)?;
        Ok(CompiledKernels { offsets: which.into_iter().map(|id| distinct.offsets[id]).collect(), ..distinct })
    }

    /// As [`CompiledKernels::compile`], for kernels that are known to differ.
    pub fn compile_distinct(
        kernels: &[&KernelFn],
        isa: &Isa,
        n_threads: usize,
    ) -> Result<CompiledKernels, CodegenError> {
        let codes = compile_all(kernels, isa, n_threads)?;
        let mut len = 0usize;
        let mut offsets = Vec::with_capacity(codes.len());
        for code in &codes {
            len = len.next_multiple_of(code.align.max(CODE_ALIGN));
            offsets.push(len);
            len += code.bytes.len();
        }
        let mut image = vec![0; len];
        for (code, &offset) in codes.iter().zip(&offsets) {
            image[offset..offset + code.bytes.len()].copy_from_slice(&code.bytes);
        }
        Ok(CompiledKernels { code: Arc::new(CodeMap::new(&image)?), offsets })
    }

    /// Number of kernels.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no kernel.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of machine code.
    pub fn code_len_bytes(&self) -> usize {
        self.code.len
    }

    /// Kernel `idx` of the list that was compiled.
    ///
    /// # Panics
    /// If `idx` is not below [`CompiledKernels::len`].
    pub fn entry(&self, idx: usize) -> Entry {
        Entry { offset: self.offsets[idx], code: Arc::clone(&self.code) }
    }
}

/// One compiled kernel; keeps its code alive.
#[derive(Clone)]
pub struct Entry {
    code: Arc<CodeMap>,
    offset: usize,
}

impl Entry {
    /// Runs the kernel over `begin..end` of its parallel range.
    ///
    /// # Safety
    /// `bufs` must hold every entry that the kernel uses, each pointing to memory of the extent and with the permissions
    /// that the kernel's description states, and no other thread may write what this call reads or writes.
    #[inline]
    pub unsafe fn call(&self, bufs: *const *mut u8, begin: i64, end: i64) {
        // SAFETY: the offset is the start of a function of type KernelAbi inside the live mapping; the caller answers for
        // the pointers.
        unsafe { self.raw()(bufs, begin, end) }
    }

    /// The function itself; valid as long as a handle to its batch lives.
    #[inline]
    pub fn raw(&self) -> KernelAbi {
        // SAFETY: `offset` is where compile() put a complete function of this signature, and the mapping is executable.
        unsafe { std::mem::transmute::<*const u8, KernelAbi>(self.code.base.add(self.offset)) }
    }
}

/// Compiles distinct kernels, in order.
pub fn compile_all(kernels: &[&KernelFn], isa: &Isa, n_threads: usize) -> Result<Vec<MachineCode>, CodegenError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut scratch = FunctionBuilderContext::new();
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= kernels.len() {
                return done;
            }
            done.push((i, emit::compile(kernels[i], isa, &mut scratch)));
        }
    };
    let n_threads = n_threads.clamp(1, kernels.len().max(1));
    let mut all = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for helper in helpers {
            match helper.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|&(i, _)| i);
    all.into_iter().map(|(_, code)| code).collect()
}

/// Executable pages.
struct CodeMap {
    base: *mut u8,
    len: usize,
}

// SAFETY: after `new` the pages are never written, and reading or executing them from any thread is free of races.
unsafe impl Send for CodeMap {}
// SAFETY: as above.
unsafe impl Sync for CodeMap {}

impl CodeMap {
    fn new(image: &[u8]) -> io::Result<CodeMap> {
        let len = image.len().max(1);
        // SAFETY: a fresh anonymous mapping of non-zero length; the result is checked.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = CodeMap { base: base.cast(), len };
        // SAFETY: the mapping is writable, at least as long as the image, and nobody else knows it yet.
        unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), map.base, image.len()) };
        // SAFETY: exactly the mapping made above.
        if unsafe { libc::mprotect(base, len, libc::PROT_READ | libc::PROT_EXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        flush_instruction_cache(map.base, len);
        Ok(map)
    }
}

impl Drop for CodeMap {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, of which no handle is left.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// x86 keeps its instruction cache coherent.
#[cfg(target_arch = "x86_64")]
fn flush_instruction_cache(_base: *mut u8, _len: usize) {}

/// aarch64: clean the data cache to the point of unification and drop stale instructions, line by line.
#[cfg(target_arch = "aarch64")]
fn flush_instruction_cache(base: *mut u8, len: usize) {
    // The smallest line that the architecture allows to be assumed without reading CTR_EL0 is 4 words.
    const LINE: usize = 16;
    let start = base as usize;
    // SAFETY: cache maintenance by address on mapped pages; it changes no memory contents.
    unsafe {
        for line in (start..start + len).step_by(LINE) {
            core::arch::asm!("dc cvau, {}", in(reg) line);
        }
        core::arch::asm!("dsb ish");
        for line in (start..start + len).step_by(LINE) {
            core::arch::asm!("ic ivau, {}", in(reg) line);
        }
        core::arch::asm!("dsb ish", "isb");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{Builder, Target};
    use crate::isa::Effort;

    fn store_constant(name: &str, value: i64) -> KernelFn {
        let mut b = Builder::new(name, Target::baseline());
        let (p, v) = (b.buf(0), b.i64(value));
        b.store(p, 0, v);
        b.finish().unwrap()
    }

    #[test]
    fn equal_kernels_share_code_and_order_is_kept() {
        let kernels: Vec<_> = (0..20).map(|i| store_constant(&format!("k{i}"), i % 7)).collect();
        let isa = Isa::native(Effort::Quick).unwrap();
        for n_threads in [1, 2, 64] {
            let code = CompiledKernels::compile(&kernels, &isa, n_threads).unwrap();
            assert_eq!(code.entry(0).raw() as usize, code.entry(7).raw() as usize);
            for i in 0..20 {
                let mut out = -1i64;
                let table = [(&raw mut out).cast::<u8>()];
                // SAFETY: the kernel writes the 8 bytes of its only buffer.
                unsafe { code.entry(i).call(table.as_ptr(), 0, 1) };
                assert_eq!(out, i as i64 % 7);
            }
        }
    }

    #[test]
    fn an_empty_list_compiles() {
        let isa = Isa::native(Effort::Quick).unwrap();
        assert!(CompiledKernels::compile(&[], &isa, 2).unwrap().is_empty());
    }
}
