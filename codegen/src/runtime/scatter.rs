//! Updates written where indices say, in their order: of several for one element the last counts, or all are reduced.

use super::{Inputs, Kernel, Real, indices, numbers, numbers_mut, operand, place, with_int, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::{Reduction, Scatter, Target};
use egret_ir::tensor::strides;
use egret_ir::{DType, Error, Result};

/// Writes of a call.
pub struct Writes(pub Scatter);

impl Writes {
    /// Calls `put` with the first element of the result, the first update and how many follow each other, in order.
    fn each(&self, index: &[i64], mut put: impl FnMut(usize, usize, usize)) -> Result<()> {
        let c = &self.0;
        match &c.target {
            Target::Slice { k, count } => {
                let len: usize = c.shape[*k..].iter().product();
                for t in 0..*count {
                    let tuple = &index[t * k..(t + 1) * k];
                    let at = tuple.iter().zip(&c.shape).try_fold(0, |at, (&i, &n)| Ok(at * n + place(i, n)?))?;
                    put(at * len, t * len, len);
                }
            }
            Target::Element { axis, indices } => {
                let steps = strides(&c.shape);
                let (axis, rank) = (*axis, indices.len());
                if indices.contains(&0) {
                    return Ok(());
                }
                let last = *indices.last().unwrap_or(&1);
                let (step, n) = (steps[axis], c.shape[axis]);
                // The index of a row of updates, without its last axis, and where it leads but for `axis`.
                let mut at = vec![0usize; rank.saturating_sub(1)];
                for row in 0..index.len() / last {
                    let base: usize =
                        at.iter().zip(&steps).enumerate().map(|(a, (i, s))| if a == axis { 0 } else { i * s }).sum();
                    for i in 0..last {
                        let k = row * last + i;
                        let along = place(index[k], n)? * step;
                        let own = if axis + 1 == rank { 0 } else { i };
                        put(base + along + own, k, 1);
                    }
                    for a in (0..at.len()).rev() {
                        at[a] += 1;
                        if at[a] < indices[a] {
                            break;
                        }
                        at[a] = 0;
                    }
                }
            }
        }
        Ok(())
    }

    fn reduce<T: Copy>(&self, index: &[i64], y: &mut [T], u: &[T], op: impl Fn(T, T) -> T) -> Result<()> {
        self.each(index, |to, from, len| {
            for (y, &u) in y[to..to + len].iter_mut().zip(&u[from..from + len]) {
                *y = op(*y, u);
            }
        })
    }
}

impl Kernel for Writes {
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], _pool: &ThreadPool) -> Result<()> {
        let c = &self.0;
        let [y] = y else { return Err(Error::bug("a scatter has one result")) };
        let (index, updates) = (indices(c.index, operand(x, 1)?)?, operand(x, 2)?);
        y.copy_from_slice(operand(x, 0)?);
        if c.reduction == Reduction::Replace {
            let size = c.dtype.size_bytes();
            return self.each(&index, |to, from, len| {
                y[to * size..(to + len) * size].copy_from_slice(&updates[from * size..(from + len) * size]);
            });
        }
        if c.dtype.is_float() {
            return with_real!(c.dtype, T, {
                let (y, u) = (numbers_mut::<T>(y)?, numbers::<T>(updates)?);
                let nan = |a: T, b: T| a.to().is_nan() || b.to().is_nan();
                match c.reduction {
                    Reduction::Add => self.reduce(&index, y, u, |a, b| T::of(a.to() + b.to())),
                    Reduction::Mul => self.reduce(&index, y, u, |a, b| T::of(a.to() * b.to())),
                    Reduction::Max => {
                        self.reduce(&index, y, u, |a, b| T::of(if nan(a, b) { f64::NAN } else { a.to().max(b.to()) }))
                    }
                    _ => self.reduce(&index, y, u, |a, b| T::of(if nan(a, b) { f64::NAN } else { a.to().min(b.to()) })),
                }
            });
        }
        with_int!(c.dtype, T, {
            let (y, u) = (numbers_mut::<T>(y)?, numbers::<T>(updates)?);
            let truth = c.dtype == DType::Bool;
            match c.reduction {
                // A sum of truth values is their disjunction.
                Reduction::Add if truth => self.reduce(&index, y, u, |a, b| a | b),
                Reduction::Add => self.reduce(&index, y, u, |a, b| a.wrapping_add(b)),
                Reduction::Mul => self.reduce(&index, y, u, |a, b| a.wrapping_mul(b)),
                Reduction::Max => self.reduce(&index, y, u, |a, b| a.max(b)),
                _ => self.reduce(&index, y, u, |a, b| a.min(b)),
            }
        })
    }
}
