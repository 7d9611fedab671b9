//! The runtime's compiled kernels, for what is too irregular for loop nests ([`egret_ir::library`]).
//!
//! A kernel is prepared once from its description (tables of a transform, trees in an order that is quick to walk), holds
//! no state that a run changes, and works on plain slices: any number of runs may share it. Indices from data are checked
//! as they are used. Work is cut over independent parts of the result, so the bits are the same for every number of
//! threads.
//!
//! Code map: [`fourier`] transforms; [`scan`] running sums; [`scatter`] writes by index; [`top_k`] selection and order;
//! [`trees`] decision trees; [`regions`] boxes and regions of images; [`select`] indices of what is not zero.

pub mod fourier;
pub mod regions;
pub mod scan;
pub mod scatter;
pub mod select;
#[cfg(test)]
mod tests;
pub mod top_k;
pub mod trees;

use crate::pool::ThreadPool;
use egret_ir::library::Library;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Result};
use std::sync::{Mutex, PoisonError};

/// Operands of a call as bytes, left-out ones `None`; each is as long as the description says.
pub type Inputs<'a> = [Option<&'a [u8]>];

/// A result whose extents depend on data.
pub struct Found {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements.
    pub bytes: AlignedBytes,
}

/// A prepared kernel.
pub trait Kernel: Send + Sync {
    /// Writes every element of the results, whose extents are known; buffers are aligned to their elements.
    ///
    /// # Errors
    /// When an index among the operands is out of range, or a limit is passed.
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], pool: &ThreadPool) -> Result<()>;

    /// Gives the results whose extents depend on data, at most `limit_bytes` each.
    ///
    /// # Errors
    /// As [`Kernel::run`].
    fn find(&self, _x: &Inputs<'_>, _limit_bytes: usize) -> Result<Vec<Found>> {
        Err(Error::bug("the results of this kernel have known extents"))
    }
}

/// Prepares the kernel of a description.
///
/// # Errors
/// When its element types are not supported.
pub fn prepare(call: &Library) -> Result<Box<dyn Kernel>> {
    Ok(match call {
        Library::Fourier(c) => Box::new(fourier::Transform::new(c)),
        Library::Cumulate(c) => Box::new(scan::Scan(c.clone())),
        Library::Scatter(c) => Box::new(scatter::Writes(c.clone())),
        Library::TopK(c) => Box::new(top_k::Selection(c.clone())),
        Library::Trees(c) => Box::new(trees::Walk::new(c)),
        Library::RoiAlign(c) => Box::new(regions::Regions(c.clone())),
        Library::NonMaxSuppression { batches, classes, boxes, centered } => {
            Box::new(regions::Boxes { batches: *batches, classes: *classes, boxes: *boxes, centered: *centered })
        }
        Library::NonZero { dtype, shape } => Box::new(select::NonZero { dtype: *dtype, shape: shape.clone() }),
    })
}

/// An operand that must be there.
fn operand<'a>(x: &Inputs<'a>, i: usize) -> Result<&'a [u8]> {
    x.get(i).copied().flatten().ok_or_else(|| Error::bug(format!("operand {i} is missing")))
}

/// Bytes as numbers.
fn numbers<T: bytemuck::Pod>(bytes: &[u8]) -> Result<&[T]> {
    bytemuck::try_cast_slice(bytes).map_err(|e| Error::bug(format!("a buffer of a kernel: {e}")))
}

/// Bytes as numbers to be written.
fn numbers_mut<T: bytemuck::Pod>(bytes: &mut [u8]) -> Result<&mut [T]> {
    bytemuck::try_cast_slice_mut(bytes).map_err(|e| Error::bug(format!("a buffer of a kernel: {e}")))
}

/// Computes `out`, a row of items of `len` elements each, by `f(first item, items)`; on several threads where a thread
/// gets at least `grain` items.
fn fill<T: Send>(pool: &ThreadPool, out: &mut [T], len: usize, grain: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if out.is_empty() || len == 0 {
        return;
    }
    let n_items = out.len() / len;
    let n_parts = (n_items / grain.max(1)).clamp(1, pool.n_threads());
    if n_parts == 1 {
        return f(0, out);
    }
    let each = n_items.div_ceil(n_parts);
    let parts: Vec<Mutex<&mut [T]>> = out.chunks_mut(each * len).map(Mutex::new).collect();
    pool.parallel_for(parts.len(), 1, &|_, begin, end| {
        for p in begin..end {
            f(p * each, &mut parts[p].lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}

/// Items so that a thread has about 50 microseconds of work at `ns` each.
fn grain(ns: f64) -> usize {
    (50_000.0 / ns.max(1e-3)).ceil() as usize
}

/// A real number in memory.
trait Real: bytemuck::Pod + Send + Sync {
    fn to(self) -> f64;
    fn of(v: f64) -> Self;
}

macro_rules! reals {
    ($($t:ty: $to:expr, $of:expr;)*) => {$(
        impl Real for $t {
            #[inline]
            fn to(self) -> f64 {
                ($to)(self)
            }
            #[inline]
            fn of(v: f64) -> Self {
                ($of)(v)
            }
        }
    )*};
}
reals! {
    f32: f64::from, |v| v as f32;
    f64: |v| v, |v| v;
    half::f16: half::f16::to_f64, half::f16::from_f64;
    half::bf16: half::bf16::to_f64, half::bf16::from_f64;
}

/// Runs `$body` with `$T` the Rust type of a float element type.
macro_rules! with_real {
    ($dtype:expr, $T:ident, $body:expr) => {
        match $dtype {
            egret_ir::DType::F32 => {
                type $T = f32;
                $body
            }
            egret_ir::DType::F64 => {
                type $T = f64;
                $body
            }
            egret_ir::DType::F16 => {
                type $T = half::f16;
                $body
            }
            egret_ir::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            other => Err(egret_ir::Error::bug(format!("a kernel of reals for {other}"))),
        }
    };
}
use with_real;

/// Runs `$body` with `$T` the Rust type of an integer element type of whole bytes.
macro_rules! with_int {
    ($dtype:expr, $T:ident, $body:expr) => {
        match $dtype {
            egret_ir::DType::I8 => {
                type $T = i8;
                $body
            }
            egret_ir::DType::I16 => {
                type $T = i16;
                $body
            }
            egret_ir::DType::I32 => {
                type $T = i32;
                $body
            }
            egret_ir::DType::I64 => {
                type $T = i64;
                $body
            }
            egret_ir::DType::U8 | egret_ir::DType::Bool => {
                type $T = u8;
                $body
            }
            egret_ir::DType::U16 => {
                type $T = u16;
                $body
            }
            egret_ir::DType::U32 => {
                type $T = u32;
                $body
            }
            egret_ir::DType::U64 => {
                type $T = u64;
                $body
            }
            other => Err(egret_ir::Error::bug(format!("a kernel of integers for {other}"))),
        }
    };
}
use with_int;

/// Indices as `i64`.
fn indices(dtype: DType, bytes: &[u8]) -> Result<std::borrow::Cow<'_, [i64]>> {
    Ok(match dtype {
        DType::I64 => numbers::<i64>(bytes)?.into(),
        _ => numbers::<i32>(bytes)?.iter().map(|&i| i64::from(i)).collect::<Vec<_>>().into(),
    })
}

/// `i` counted from the front of an axis of `n`.
fn place(i: i64, n: usize) -> Result<usize> {
    let from_front = if i < 0 { i.wrapping_add(n as i64) } else { i };
    match usize::try_from(from_front) {
        Ok(p) if p < n => Ok(p),
        _ => Err(Error::invalid(format!("index {i} is outside -{n}..{n}"))),
    }
}
