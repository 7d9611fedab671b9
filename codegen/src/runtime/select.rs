//! Indices of the elements that are not zero.

use super::{Found, Inputs, Kernel, Real, numbers, operand, with_int, with_real};
use crate::pool::ThreadPool;
use egret_ir::tensor::{AlignedBytes, strides};
use egret_ir::{DType, Error, Result};

/// `i64[rank, n]`: the indices, by axis.
pub struct NonZero {
    /// Element type.
    pub dtype: DType,
    /// Extents of the operand.
    pub shape: Vec<usize>,
}

impl Kernel for NonZero {
    fn run(&self, _x: &Inputs<'_>, _y: &mut [&mut [u8]], _pool: &ThreadPool) -> Result<()> {
        Err(Error::bug("how many elements are not zero depends on data"))
    }

    fn find(&self, x: &Inputs<'_>, limit_bytes: usize) -> Result<Vec<Found>> {
        let x = operand(x, 0)?;
        let at: Vec<usize> = if self.dtype.is_float() {
            with_real!(self.dtype, T, Ok::<_, Error>(positions(numbers::<T>(x)?, |v| v.to() != 0.0)))?
        } else {
            with_int!(self.dtype, T, Ok::<_, Error>(positions(numbers::<T>(x)?, |v| v != 0)))?
        };
        let (rank, n) = (self.shape.len(), at.len());
        if n.saturating_mul(rank).saturating_mul(8) > limit_bytes {
            return Err(Error::limit(format!("{n} elements are not zero (limit {limit_bytes} bytes a value)")));
        }
        let mut bytes = AlignedBytes::zeroed(rank * n * 8);
        let out: &mut [i64] = super::numbers_mut(bytes.as_mut_slice())?;
        for (axis, (step, extent)) in strides(&self.shape).into_iter().zip(&self.shape).enumerate() {
            for (out, p) in out[axis * n..(axis + 1) * n].iter_mut().zip(&at) {
                *out = (p / step % extent) as i64;
            }
        }
        Ok(vec![Found { dtype: DType::I64, shape: vec![rank, n], bytes }])
    }
}

fn positions<T: Copy>(x: &[T], on: impl Fn(T) -> bool) -> Vec<usize> {
    (0..x.len()).filter(|&i| on(x[i])).collect()
}
