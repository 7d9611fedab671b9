//! Decision trees: rows of features to scores, in `f64` and in the order of the trees, as their definition says.

use super::{Inputs, Kernel, Real, numbers, numbers_mut, operand, with_int, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::Trees;
use egret_ir::ops::ml::scores::transform;
use egret_ir::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// Walks of a call.
pub struct Walk(Trees);

impl Walk {
    /// Prepares a call.
    pub fn new(call: &Trees) -> Walk {
        Walk(call.clone())
    }

    fn rows<T: Copy + Sync, R: Real>(
        &self,
        x: &[T],
        y: &mut [R],
        pool: &ThreadPool,
        wide: impl Fn(T) -> f64 + Sync,
    ) -> Result<()> {
        let c = &self.0;
        let failed = Mutex::new(None);
        // About 50 ns a tree.
        let grain = super::grain(50.0 * c.forest.roots.len() as f64);
        super::fill(pool, y, c.targets, grain, |first, rows| {
            let mut features = vec![0.0; c.features];
            for (r, out) in rows.chunks_exact_mut(c.targets).enumerate() {
                let from = &x[(first + r) * c.features..(first + r + 1) * c.features];
                features.iter_mut().zip(from).for_each(|(f, &v)| *f = wide(v));
                match c.forest.score(&features, c.targets, c.aggregate) {
                    Ok(mut row) => {
                        row.iter_mut().zip(&c.base).for_each(|(v, b)| *v += b);
                        transform(&c.transform, &mut row);
                        out.iter_mut().zip(row).for_each(|(y, v)| *y = R::of(v));
                    }
                    Err(e) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e),
                }
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

impl Kernel for Walk {
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], pool: &ThreadPool) -> Result<()> {
        let x = operand(x, 0)?;
        let [y] = y else { return Err(Error::bug("trees have one result")) };
        with_real!(self.0.result, R, {
            let y = numbers_mut::<R>(y)?;
            if self.0.dtype.is_float() {
                return with_real!(self.0.dtype, T, self.rows(numbers::<T>(x)?, y, pool, |v| v.to()));
            }
            with_int!(self.0.dtype, T, self.rows(numbers::<T>(x)?, y, pool, |v| v as f64))
        })
    }
}
