//! The interpreter of recorded kernels: what every operation of [`crate::builder`] means, in plain Rust, for any vector
//! width.
//!
//! It is the level below machine code: a kernel that is right here and wrong when compiled was emitted wrongly, one that
//! is wrong here was recorded wrongly. Every access must lie in one of the buffers that the caller names, so it also
//! finds kernels that read or write past their ends. Some 100 to 500 times slower than machine code.

mod lanes;
mod ops;

use crate::builder::{Elem, Inst, KernelFn, Op, Ty, Val};
use lanes::{Bits, VECTOR_BYTES};
use std::collections::HashMap;

/// A kernel that cannot go on: it left its buffers, or calls a function of a signature that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`, interpreted: {text}")]
pub struct InterpError {
    /// Name of the kernel.
    pub kernel: String,
    /// What it did.
    pub text: String,
}

/// Memory that a kernel may touch.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// First byte.
    pub start: *mut u8,
    /// Length.
    pub len_bytes: usize,
}

impl Region {
    /// The region of a slice.
    pub fn of<T>(memory: &mut [T]) -> Region {
        Region { start: memory.as_mut_ptr().cast(), len_bytes: size_of_val(memory) }
    }
}

/// Runs a kernel over `begin..end` of its parallel range; `fused` says whether `fma` rounds once.
///
/// # Errors
/// When the kernel touches memory outside its buffers, or was recorded for vectors of more than 512 bits.
///
/// # Safety
/// `buffers` is the kernel's pointer table with the length of each buffer; each must be valid for reads and writes of
/// that many bytes, but constants, which the kernel must not write, and a function table, whose entries must be functions
/// of the signatures with which the kernel calls them.
pub unsafe fn run(kernel: &KernelFn, buffers: &[Region], begin: i64, end: i64, fused: bool) -> Result<(), InterpError> {
    let mut run = Run {
        kernel,
        buffers,
        range: (begin, end),
        fused,
        values: vec![Bits::ZERO; kernel.types.len()],
        stack: HashMap::new(),
        last: 0,
    };
    let done = if kernel.lanes * 4 > VECTOR_BYTES {
        Err(format!("it was recorded for {} lanes", kernel.lanes))
    } else {
        run.body(&kernel.body)
    };
    done.map_err(|text| InterpError { kernel: kernel.name.clone(), text })
}

type Step<T = ()> = Result<T, String>;

struct Run<'a> {
    kernel: &'a KernelFn,
    buffers: &'a [Region],
    range: (i64, i64),
    fused: bool,
    values: Vec<Bits>,
    /// Blocks of the stack frame, one for each instruction that asks for one.
    stack: HashMap<Val, Box<[u128]>>,
    /// The buffer that was touched last: the next access is likely in it too.
    last: usize,
}

impl Run<'_> {
    fn int(&self, v: Val) -> i64 {
        match self.kernel.ty(v) {
            Ty::S(Elem::I32) => self.values[v.idx()].lane::<i32>(0).into(),
            _ => self.values[v.idx()].lane(0),
        }
    }

    fn value(&self, v: Val) -> &Bits {
        &self.values[v.idx()]
    }

    fn copy(&mut self, from: &[Val], to: &[Val]) {
        // Read all before any is written: the next values of a loop may be its parameters in another order.
        let values: Vec<Bits> = from.iter().map(|&v| *self.value(v)).collect();
        for (&v, bits) in to.iter().zip(values) {
            self.values[v.idx()] = bits;
        }
    }

    fn body(&mut self, body: &[Inst]) -> Step {
        body.iter().try_for_each(|inst| self.inst(inst))
    }

    fn inst(&mut self, inst: &Inst) -> Step {
        match inst {
            Inst::Def { dst, op } => {
                self.values[dst.idx()] = self.op(*dst, op)?;
            }
            Inst::Store { addr, off, value } => {
                let (ty, bits) = (self.kernel.ty(*value), *self.value(*value));
                self.write(*addr, *off, self.size(ty), &bits)?;
            }
            Inst::StoreN { addr, off, value, n } => {
                let bits = *self.value(*value);
                self.write(*addr, *off, self.partial(self.kernel.ty(*value), *n), &bits)?;
            }
            Inst::StoreNarrow { to, addr, off, value } => {
                let wide = *self.value(*value);
                let mut bits = Bits::ZERO;
                for i in 0..self.kernel.lanes_of(Elem::I32) {
                    let lane: i32 = wide.lane(i);
                    match to {
                        Elem::I8 => bits.set(i, lane as i8),
                        _ => bits.set(i, lane as i16),
                    }
                }
                self.write(*addr, *off, self.kernel.lanes_of(Elem::I32) * to.size_bytes(), &bits)?;
            }
            Inst::For { lo, hi, step, idx, init, params, body, next, results } => {
                let (mut i, hi) = (self.int(*lo), self.int(*hi));
                self.copy(init, params);
                while i < hi {
                    self.values[idx.idx()] = Bits::scalar(i);
                    self.body(body)?;
                    self.copy(next, params);
                    i = i.saturating_add(*step);
                }
                self.copy(params, results);
            }
            Inst::If { cond, then_body, then_vals, else_body, else_vals, results } => {
                let yes = self.value(*cond).lane::<i8>(0) != 0;
                let (body, vals) = if yes { (then_body, then_vals) } else { (else_body, else_vals) };
                self.body(body)?;
                self.copy(vals, results);
            }
            Inst::CallHost { table, slot, args, dst } => {
                let entry = self.read_at(self.int(*table), *slot as i64 * 8, 8)?.lane::<i64>(0);
                let args: Vec<(Ty, Bits)> = args.iter().map(|&v| (self.kernel.ty(v), *self.value(v))).collect();
                let ret = dst.map(|d| self.kernel.ty(d));
                // SAFETY: the caller of `run` answers for the entries of its function table.
                let result = unsafe { ops::call(entry as usize, &args, ret) };
                let result = result.ok_or_else(|| format!("a call with {:?} -> {ret:?} is not known", types(&args)))?;
                if let Some(dst) = dst {
                    self.values[dst.idx()] = result;
                }
            }
        }
        Ok(())
    }

    /// Bytes of a value of a type in memory.
    fn size(&self, ty: Ty) -> usize {
        match ty {
            Ty::Bool => 1,
            Ty::S(e) => e.size_bytes(),
            Ty::V(_) | Ty::Mask(_) => self.kernel.lanes * 4,
        }
    }

    /// Bytes of the first `n` lanes of a vector.
    fn partial(&self, ty: Ty, n: Val) -> usize {
        let size = ty.elem().map_or(1, Elem::size_bytes);
        let lanes = self.kernel.lanes * 4 / size;
        size * usize::try_from(self.int(n)).unwrap_or(0).min(lanes)
    }

    /// Lanes of a type, 1 for scalars.
    fn lanes(&self, ty: Ty) -> usize {
        match ty {
            Ty::V(e) | Ty::Mask(e) => self.kernel.lanes_of(e),
            Ty::Bool | Ty::S(_) => 1,
        }
    }

    /// Where `len` bytes at an address lie, if a buffer or a block of the stack holds them all.
    fn find(&mut self, addr: i64, off: i64, len: usize) -> Step<*mut u8> {
        let at = addr.wrapping_add(off) as usize;
        let inside = |r: &Region| {
            let start = r.start as usize;
            start <= at && at - start <= r.len_bytes && len <= r.len_bytes - (at - start)
        };
        let within = |r: &Region| r.start.wrapping_add(at - r.start as usize);
        if let Some(r) = self.buffers.get(self.last).filter(|r| inside(r)) {
            return Ok(within(r));
        }
        if let Some(i) = self.buffers.iter().position(inside) {
            self.last = i;
            return Ok(within(&self.buffers[i]));
        }
        let stack = self.stack.values_mut().map(|block| Region::of(block)).find(inside);
        stack.map(|r| within(&r)).ok_or_else(|| {
            let near = self.buffers.iter().enumerate().filter(|(_, r)| r.start as usize <= at);
            match near.max_by_key(|(_, r)| r.start as usize) {
                Some((i, r)) => format!(
                    "{len} bytes at offset {} of buffer {i}, which has {}, are outside every buffer",
                    at - r.start as usize,
                    r.len_bytes
                ),
                None => format!("{len} bytes before every buffer"),
            }
        })
    }

    fn read_at(&mut self, addr: i64, off: i64, len: usize) -> Step<Bits> {
        let mut bits = Bits::ZERO;
        if len > 0 {
            let from = self.find(addr, off, len)?;
            // SAFETY: `find` proved that the bytes lie in one region, which is valid for reads (see `run`) or is a block
            // of the stack; `Bits` is at least as long, since `len` is at most the bytes of a vector.
            unsafe { std::ptr::copy_nonoverlapping(from, bits.0.as_mut_ptr(), len) };
        }
        Ok(bits)
    }

    fn read(&mut self, addr: Val, off: i32, len: usize) -> Step<Bits> {
        self.read_at(self.int(addr), off.into(), len)
    }

    fn write(&mut self, addr: Val, off: i32, len: usize, bits: &Bits) -> Step {
        if len > 0 {
            let to = self.find(self.int(addr), off.into(), len)?;
            // SAFETY: as in `read_at`; the region is valid for writes unless it is one that kernels must not write, for
            // which the caller of `run` answers.
            unsafe { std::ptr::copy_nonoverlapping(bits.0.as_ptr(), to, len) };
        }
        Ok(())
    }

    fn op(&mut self, dst: Val, op: &Op) -> Step<Bits> {
        let ty = self.kernel.ty(dst);
        let n = self.lanes(ty);
        Ok(match op {
            Op::Begin => Bits::scalar(self.range.0),
            Op::End => Bits::scalar(self.range.1),
            Op::Buf(k) => {
                let buffer = self.buffers.get(*k as usize).ok_or_else(|| format!("there is no buffer {k}"))?;
                Bits::scalar(buffer.start as i64)
            }
            Op::Const(bits) => Bits::splat(&Bits::scalar(*bits as i64), ty.elem().map_or(1, Elem::size_bytes), n),
            Op::Un(op, a) => ops::unary(*op, ty, n, self.value(*a)),
            Op::Bin(op, a, b) => {
                let count = if matches!(self.kernel.ty(*b), Ty::S(_)) { self.int_or_zero(*b) } else { 0 };
                ops::binary(*op, ty, n, self.value(*a), self.value(*b), count)
            }
            Op::Fma(a, b, c) => ops::fma(ty, n, self.value(*a), self.value(*b), self.value(*c), self.fused),
            Op::Cmp(op, a, b) => {
                let of = self.kernel.ty(*a);
                ops::compare(*op, of, self.lanes(of), self.value(*a), self.value(*b))
            }
            Op::Select(cond, a, b) => match self.kernel.ty(*cond) {
                Ty::Mask(_) => Bits::choose(self.value(*cond), self.value(*a), self.value(*b)),
                _ => *self.value(if self.value(*cond).lane::<i8>(0) != 0 { *a } else { *b }),
            },
            Op::Splat(a) => Bits::splat(self.value(*a), ty.elem().map_or(1, Elem::size_bytes), n),
            Op::Cvt(kind, a) => ops::convert(*kind, self.kernel.ty(*a), ty, n, self.value(*a)),
            Op::DemoteTwo(low, high) => {
                let (low, high) = (*self.value(*low), *self.value(*high));
                let mut out = Bits::ZERO;
                for i in 0..n {
                    let v: f64 = if i < n / 2 { low.lane(i) } else { high.lane(i - n / 2) };
                    out.set(i, v as f32);
                }
                out
            }
            Op::Load { addr, off } => self.read(*addr, *off, self.size(ty))?,
            Op::LoadSplat { addr, off } => {
                let size = ty.elem().map_or(1, Elem::size_bytes);
                Bits::splat(&self.read(*addr, *off, size)?, size, n)
            }
            Op::LoadN { addr, off, n } => self.read(*addr, *off, self.partial(ty, *n))?,
            Op::LoadWiden { from, signed, addr, off } => {
                let narrow = self.read(*addr, *off, n * from.size_bytes())?;
                let mut out = Bits::ZERO;
                for i in 0..n {
                    let wide: i32 = match (from, signed) {
                        (Elem::I16, true) => narrow.lane::<i16>(i).into(),
                        (Elem::I16, false) => narrow.lane::<u16>(i).into(),
                        (_, true) => narrow.lane::<i8>(i).into(),
                        (_, false) => narrow.lane::<u8>(i).into(),
                    };
                    out.set(i, wide);
                }
                out
            }
            Op::ExtractLane(v, lane) => self.value(*v).moved(ty, *lane as usize, 0),
            Op::InsertLane(v, lane, s) => {
                let (mut out, s) = (*self.value(*v), *self.value(*s));
                let size = ty.elem().map_or(1, Elem::size_bytes);
                let at = *lane as usize * size;
                out.0[at..at + size].copy_from_slice(&s.0[..size]);
                out
            }
            Op::Shuffle(a, b, idx) => {
                let size = ty.elem().map_or(1, Elem::size_bytes);
                let (a, b) = (self.value(*a), self.value(*b));
                let mut out = Bits::ZERO;
                for (i, &from) in idx.iter().enumerate() {
                    let from = from as usize;
                    let (source, lane) = if from < n { (a, from) } else { (b, from - n) };
                    out.0[i * size..(i + 1) * size].copy_from_slice(&source.0[lane * size..(lane + 1) * size]);
                }
                out
            }
            Op::HReduce(op, v) => {
                let vector = self.kernel.ty(*v);
                let mut out = *self.value(*v);
                let mut width = self.lanes(vector) / 2;
                while width > 0 {
                    let upper = out.upper(vector.elem().map_or(1, Elem::size_bytes) * width);
                    out = ops::binary(op.bin(), vector, width, &out, &upper, 0);
                    width /= 2;
                }
                out
            }
            Op::DotU8I8 { acc, a, b } => {
                let (mut out, a, b) = (*self.value(*acc), self.value(*a), self.value(*b));
                for i in 0..n {
                    let products = (4 * i..4 * i + 4).map(|q| i32::from(a.lane::<u8>(q)) * i32::from(b.lane::<i8>(q)));
                    out.set(i, products.fold(out.lane::<i32>(i), i32::wrapping_add));
                }
                out
            }
            Op::DotI16 { acc, a, b } => {
                let (mut out, a, b) = (*self.value(*acc), self.value(*a), self.value(*b));
                for i in 0..n {
                    let products =
                        (2 * i..2 * i + 2).map(|q| i32::from(a.lane::<i16>(q)) * i32::from(b.lane::<i16>(q)));
                    out.set(i, products.fold(out.lane::<i32>(i), i32::wrapping_add));
                }
                out
            }
            Op::StackAddr { len_bytes } => {
                let n_blocks = (*len_bytes as usize).div_ceil(16);
                let block = self.stack.entry(dst).or_insert_with(|| vec![0u128; n_blocks].into());
                Bits::scalar(block.as_mut_ptr() as i64)
            }
        })
    }

    /// A scalar count of a shift; other operands are not asked for it.
    fn int_or_zero(&self, v: Val) -> u32 {
        match self.kernel.ty(v) {
            Ty::S(Elem::I32 | Elem::I64) => self.int(v) as u32,
            _ => 0,
        }
    }
}

fn types(args: &[(Ty, Bits)]) -> Vec<Ty> {
    args.iter().map(|a| a.0).collect()
}
