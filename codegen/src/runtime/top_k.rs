//! The largest or smallest entries along an axis: selected in linear time, then only those sorted.
//!
//! Each entry becomes one integer, its value's order in the upper bits and its index, falling, in the lower ones, so that
//! comparing integers is comparing entries, equal ones by their index.

use super::{Inputs, Kernel, Real, numbers, numbers_mut, operand, with_int, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::TopK;
use egret_ir::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// Selections of a call.
pub struct Selection(pub TopK);

/// The order of a float's value as an integer: zeros of both signs alike, NaN above everything.
fn order_of_float(v: f64) -> u64 {
    if v.is_nan() {
        return u64::MAX;
    }
    // Adding 0 turns -0 into 0.
    let bits = (v + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

impl Selection {
    fn select<T: Copy + Send + Sync>(
        &self,
        x: &[T],
        values: &mut [T],
        places: &mut [i64],
        pool: &ThreadPool,
        order: impl Fn(T) -> u64 + Sync,
    ) {
        let c = &self.0;
        let (row, k) = (c.k * c.inner, c.k);
        if row == 0 || c.outer == 0 {
            return;
        }
        let parts: Vec<_> = values.chunks_mut(row).zip(places.chunks_mut(row)).map(Mutex::new).collect();
        // About 5 ns an entry.
        let grain = super::grain(5.0 * (c.n * c.inner) as f64);
        pool.parallel_for(parts.len(), grain, &|_, begin, end| {
            let mut keys: Vec<u128> = Vec::with_capacity(c.n);
            for o in begin..end {
                let mut part = parts[o].lock().unwrap_or_else(PoisonError::into_inner);
                for i in 0..c.inner {
                    let at = |j: usize| x[(o * c.n + j) * c.inner + i];
                    keys.clear();
                    keys.extend((0..c.n).map(|j| {
                        let rank = if c.largest { order(at(j)) } else { !order(at(j)) };
                        u128::from(rank) << 64 | u128::from(!(j as u64))
                    }));
                    if k < keys.len() {
                        keys.select_nth_unstable_by(k, |a, b| b.cmp(a));
                    }
                    keys[..k].sort_unstable_by(|a, b| b.cmp(a));
                    for (rank, key) in keys[..k].iter().enumerate() {
                        let j = !(*key as u64);
                        part.0[rank * c.inner + i] = at(j as usize);
                        part.1[rank * c.inner + i] = j as i64;
                    }
                }
            }
        });
    }
}

impl Kernel for Selection {
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], pool: &ThreadPool) -> Result<()> {
        let x = operand(x, 0)?;
        let [values, places] = y else { return Err(Error::bug("a selection has two results")) };
        let places = numbers_mut::<i64>(places)?;
        if self.0.dtype.is_float() {
            return with_real!(self.0.dtype, T, {
                self.select(numbers::<T>(x)?, numbers_mut::<T>(values)?, places, pool, |v| order_of_float(v.to()));
                Ok(())
            });
        }
        with_int!(self.0.dtype, T, {
            let order = |v: T| {
                let v = i128::from(v);
                // Numbers of 64 bits with the sign's bit turned, or as they are.
                if T::MIN == 0 as T { v as u64 } else { v as i64 as u64 ^ 1 << 63 }
            };
            self.select(numbers::<T>(x)?, numbers_mut::<T>(values)?, places, pool, order);
            Ok(())
        })
    }
}
