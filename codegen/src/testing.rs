//! Support for the tests of this crate: run one kernel on vectors, pseudo-random data, a compile check for aarch64.

use crate::builder::{KernelFn, Target};
use crate::interp::{self, Region};
use crate::isa::{Effort, Isa, IsaLevel};
use crate::jit::CompiledKernels;

/// A small deterministic generator (xorshift), so that failures repeat.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In -1..1, a multiple of 1/64, so that short sums are exact in any order.
    pub(crate) fn coarse(&mut self) -> f32 {
        ((self.next() >> 40) % 129) as f32 / 64.0 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.coarse()).collect()
    }
}

/// Compiles for this machine, and for aarch64 as a check that the portable emitter covers it.
pub(crate) fn compile(kernels: &[KernelFn]) -> CompiledKernels {
    let arm = Isa::cross("aarch64-unknown-linux-gnu", &[], Effort::Quick).unwrap();
    let refs: Vec<&KernelFn> = kernels.iter().filter(|k| k.lanes == 4).collect();
    crate::jit::compile_all(&refs, &arm, 1).unwrap();
    CompiledKernels::compile(kernels, &Isa::native(Effort::Speed).unwrap(), 1).unwrap()
}

/// The targets of every emitter of this machine.
pub(crate) fn targets() -> impl Iterator<Item = Target> {
    isas().into_iter().map(|isa| isa.target)
}

/// Every level of machine code of this machine.
pub(crate) fn isas() -> Vec<Isa> {
    let at = |level| Isa::native(Effort::Speed).unwrap().at(level).unwrap();
    IsaLevel::here().into_iter().map(at).collect()
}

/// Whether this machine's code rounds `fma` once.
pub(crate) fn fused() -> bool {
    Isa::native(Effort::Quick).unwrap().target.fused
}

/// Runs `kernel` over `0..extent` in the interpreter, which checks every access.
pub(crate) fn interpret(kernel: &KernelFn, bufs: &mut [&mut [u8]], extent: i64) {
    let regions: Vec<Region> = bufs.iter_mut().map(|b| Region::of(b)).collect();
    // SAFETY: the regions are exclusive slices; a function table among them holds the functions that the test put there.
    unsafe { interp::run(kernel, &regions, 0, extent, fused()) }.unwrap();
}

/// The same bytes, but for which NaN it is.
#[track_caller]
pub(crate) fn assert_same_bits(interpreted: &[u8], compiled: &[u8]) {
    let nan = |w: &[u8]| f32::from_le_bytes([w[0], w[1], w[2], w[3]]).is_nan();
    let same = |(a, b): (&[u8], &[u8])| a == b || a.len() == 4 && nan(a) && nan(b);
    assert_eq!(interpreted.len(), compiled.len());
    let differs = interpreted.chunks(4).zip(compiled.chunks(4)).position(|words| !same(words));
    assert_eq!(differs, None, "word that differs: {interpreted:?} interpreted, {compiled:?} compiled");
}

/// Runs `kernel` over `0..extent` on byte views of the buffers: interpreted on copies of them, then compiled; both must
/// give the same bits.
pub(crate) fn run(kernel: &KernelFn, bufs: &mut [&mut [u8]], extent: i64) {
    let mut copies: Vec<Vec<u8>> = bufs.iter().map(|b| b.to_vec()).collect();
    interpret(kernel, &mut copies.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(), extent);
    let code = compile(std::slice::from_ref(kernel));
    let table: Vec<*mut u8> = bufs.iter_mut().map(|b| b.as_mut_ptr()).collect();
    // SAFETY: every test passes the buffers that its kernel names, of the sizes it uses.
    unsafe { code.entry(0).call(table.as_ptr(), 0, extent) };
    copies.iter().zip(bufs).for_each(|(copy, b)| assert_same_bits(copy, b));
}

/// Byte view of plain numbers.
pub(crate) fn bytes<T: Copy>(v: &mut [T]) -> &mut [u8] {
    let len = std::mem::size_of_val(v);
    // SAFETY: used with plain number types only, which have no padding and accept any bits.
    unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), len) }
}
