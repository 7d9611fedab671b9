//! Running sums and products along an axis. Floats are carried in `f64` and rounded as they are written; integers wrap.

use super::{Inputs, Kernel, Real, fill, grain, numbers, numbers_mut, operand, with_int, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::Cumulate;
use egret_ir::{Error, Result};

/// Scans of a call.
pub struct Scan(pub Cumulate);

impl Scan {
    fn rows<T: Copy + Send + Sync, A: Copy + Sync>(
        &self,
        (x, y): (&[T], &mut [T]),
        pool: &ThreadPool,
        neutral: A,
        op: impl Fn(A, T) -> A + Sync,
        round: impl Fn(A) -> T + Sync,
    ) {
        let c = &self.0;
        let len = c.n * c.inner;
        fill(pool, y, len, grain(2.0 * len as f64), |first, rows| {
            // One running value for each element behind the axis.
            let mut sums = vec![neutral; c.inner];
            for (o, row) in rows.chunks_exact_mut(len).enumerate() {
                let from = &x[(first + o) * len..(first + o + 1) * len];
                sums.fill(neutral);
                for j in 0..c.n {
                    let at = if c.reverse { c.n - 1 - j } else { j } * c.inner;
                    let cells = from[at..at + c.inner].iter().zip(&mut row[at..at + c.inner]);
                    for (sum, (v, out)) in sums.iter_mut().zip(cells) {
                        let next = op(*sum, *v);
                        *out = round(if c.exclusive { *sum } else { next });
                        *sum = next;
                    }
                }
            }
        });
    }
}

impl Kernel for Scan {
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], pool: &ThreadPool) -> Result<()> {
        let (x, product) = (operand(x, 0)?, self.0.product);
        let [y] = y else { return Err(Error::bug("a scan has one result")) };
        if self.0.dtype.is_float() {
            return with_real!(self.0.dtype, T, {
                let cells = (numbers::<T>(x)?, numbers_mut::<T>(y)?);
                match product {
                    false => self.rows(cells, pool, 0.0, |a, v| a + v.to(), T::of),
                    true => self.rows(cells, pool, 1.0, |a, v| a * v.to(), T::of),
                }
                Ok(())
            });
        }
        with_int!(self.0.dtype, T, {
            let cells = (numbers::<T>(x)?, numbers_mut::<T>(y)?);
            match product {
                false => self.rows(cells, pool, 0 as T, |a, v| a.wrapping_add(v), |a| a),
                true => self.rows(cells, pool, 1 as T, |a, v| a.wrapping_mul(v), |a| a),
            }
            Ok(())
        })
    }
}
