//! Discrete Fourier transforms of many lines at once, in `f64`.
//!
//! Lengths without a prime factor above `LARGEST_FACTOR` go through Stockham's self-sorting algorithm with butterflies
//! of 2, 3, 4, 5, 7, 11 and 13; others through Bluestein's, a convolution of a length that is a power of two. So the cost
//! is `n log n` for every length. `LANES` lines are transformed together, number by number beside each other, so that
//! every butterfly is plain vector arithmetic. Two real lines travel as the real and imaginary part of one.
//!
//! Sources: C. Van Loan, Computational Frameworks for the Fast Fourier Transform, 1992, 1.7; L. Bluestein, A linear
//! filtering approach to the computation of discrete Fourier transform, 1970.

use super::{Inputs, Kernel, Real, fill, grain, numbers, numbers_mut, operand, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::Fourier;
use egret_ir::{Error, Result};
use std::f64::consts::PI;

/// Lines that are transformed together: two cache lines of `f64`.
const LANES: usize = 16;

/// Prime factors up to this one have butterflies.
const LARGEST_FACTOR: usize = 13;

/// Complex numbers, parts apart.
#[derive(Clone, Default)]
struct Parts {
    re: Vec<f64>,
    im: Vec<f64>,
}

impl Parts {
    fn zeros(n: usize) -> Parts {
        Parts { re: vec![0.0; n], im: vec![0.0; n] }
    }
}

/// `exp(-2 pi i k / n)`.
fn root(k: usize, n: usize) -> (f64, f64) {
    let (sin, cos) = (-2.0 * PI * (k % n) as f64 / n as f64).sin_cos();
    (cos, sin)
}

/// One pass of Stockham's algorithm: `m` groups of butterflies of `p`.
struct Pass {
    p: usize,
    m: usize,
    /// For each group and each `k` of `1..p` the factor `exp(-2 pi i j k / (p m))`.
    twiddles: Vec<(f64, f64)>,
    /// `exp(-2 pi i k / p)`.
    roots: Vec<(f64, f64)>,
}

/// A forward transform of one length.
enum Plan {
    Stockham(Vec<Pass>),
    Bluestein {
        /// `exp(-pi i k^2 / n)`.
        chirp: Vec<(f64, f64)>,
        /// Transform of the conjugate chirp, over its length.
        filter: Vec<(f64, f64)>,
        inner: Box<Plan>,
        m: usize,
    },
}

/// Factors of `n`, fours before twos; `None` where a prime is too large.
fn factors(mut n: usize) -> Option<Vec<usize>> {
    let mut out = Vec::new();
    for p in [4, 2, 3, 5, 7, 11, LARGEST_FACTOR] {
        while n.is_multiple_of(p) && n > 1 {
            out.push(p);
            n /= p;
        }
    }
    (n == 1).then_some(out)
}

impl Plan {
    fn new(n: usize) -> Plan {
        if let Some(factors) = factors(n.max(1)) {
            let mut rest = n;
            let passes = factors.into_iter().map(|p| {
                let m = rest / p;
                let twiddles =
                    (0..m).flat_map(|j| (1..p).map(move |k| (j, k))).map(|(j, k)| root(j * k, rest)).collect();
                rest = m;
                Pass { p, m, twiddles, roots: (0..p).map(|k| root(k, p)).collect() }
            });
            return Plan::Stockham(passes.collect());
        }
        let m = (2 * n - 1).next_power_of_two();
        // k^2 modulo 2 n keeps the angle exact.
        let chirp: Vec<(f64, f64)> =
            (0..n).map(|k| root(((k as u128 * k as u128) % (2 * n as u128)) as usize, 2 * n)).collect();
        let inner = Plan::new(m);
        let (mut a, mut b) = (Parts::zeros(m), Parts::zeros(m));
        for (k, &(re, im)) in chirp.iter().enumerate() {
            for at in [k, (m - k) % m] {
                (a.re[at], a.im[at]) = (re, -im);
            }
        }
        inner.run(&mut a, &mut b, &mut Parts::default(), 1);
        let filter = a.re.iter().zip(&a.im).map(|(&re, &im)| (re / m as f64, im / m as f64)).collect();
        Plan::Bluestein { chirp, filter, inner: Box::new(inner), m }
    }

    /// Numbers of scratch besides the line itself and its copy.
    fn extra_len(&self) -> usize {
        match self {
            Plan::Stockham(_) => 0,
            Plan::Bluestein { m, .. } => *m,
        }
    }

    /// Length of the second buffer.
    fn copy_len(&self, n: usize) -> usize {
        n.max(self.extra_len())
    }

    /// Transforms `lanes` lines in `a` (number `k` of all lines before number `k + 1`).
    fn run(&self, a: &mut Parts, b: &mut Parts, extra: &mut Parts, lanes: usize) {
        match self {
            Plan::Stockham(passes) => {
                let mut stride = lanes;
                for pass in passes {
                    pass.run(a, b, stride);
                    std::mem::swap(a, b);
                    stride *= pass.p;
                }
            }
            Plan::Bluestein { chirp, filter, inner, m } => {
                let n = chirp.len();
                extra.re[n * lanes..].fill(0.0);
                extra.im[n * lanes..].fill(0.0);
                multiply(extra, a, chirp, lanes, false);
                inner.run(extra, b, &mut Parts::default(), lanes);
                for (k, &(c, s)) in filter.iter().enumerate() {
                    for i in k * lanes..(k + 1) * lanes {
                        let (re, im) = (extra.re[i], extra.im[i]);
                        // The conjugate, so that a forward transform is the inverse.
                        (extra.re[i], extra.im[i]) = (re * c - im * s, -(re * s + im * c));
                    }
                }
                debug_assert_eq!(filter.len(), *m);
                inner.run(extra, b, &mut Parts::default(), lanes);
                multiply(a, extra, chirp, lanes, true);
            }
        }
    }
}

/// `to[k] = from[k] * by[k]` for all lines, `from` conjugated first if asked for.
fn multiply(to: &mut Parts, from: &Parts, by: &[(f64, f64)], lanes: usize, conjugate: bool) {
    let sign = if conjugate { -1.0 } else { 1.0 };
    for (k, &(c, s)) in by.iter().enumerate() {
        for i in k * lanes..(k + 1) * lanes {
            let (re, im) = (from.re[i], sign * from.im[i]);
            (to.re[i], to.im[i]) = (re * c - im * s, re * s + im * c);
        }
    }
}

impl Pass {
    /// From `x` to `y`; numbers of one butterfly input lie `stride` beside each other.
    fn run(&self, x: &Parts, y: &mut Parts, stride: usize) {
        for j in 0..self.m {
            let w = &self.twiddles[j * (self.p - 1)..(j + 1) * (self.p - 1)];
            match self.p {
                2 => self.group::<2>(x, y, stride, j, w, |v| {
                    [(v[0].0 + v[1].0, v[0].1 + v[1].1), (v[0].0 - v[1].0, v[0].1 - v[1].1)]
                }),
                3 => self.group::<3>(x, y, stride, j, w, |v| {
                    let (sum, dif) = (add(v[1], v[2]), sub(v[1], v[2]));
                    let half = 0.75f64.sqrt();
                    let mid = (v[0].0 - 0.5 * sum.0, v[0].1 - 0.5 * sum.1);
                    let turn = (half * dif.1, -half * dif.0);
                    [add(v[0], sum), add(mid, turn), sub(mid, turn)]
                }),
                4 => self.group::<4>(x, y, stride, j, w, |v| {
                    let (a, b, c, d) = (add(v[0], v[2]), sub(v[0], v[2]), add(v[1], v[3]), sub(v[1], v[3]));
                    // Times -i.
                    let d = (d.1, -d.0);
                    [add(a, c), add(b, d), sub(a, c), sub(b, d)]
                }),
                5 => self.group::<5>(x, y, stride, j, w, |v| self.plain(v)),
                7 => self.group::<7>(x, y, stride, j, w, |v| self.plain(v)),
                11 => self.group::<11>(x, y, stride, j, w, |v| self.plain(v)),
                _ => self.group::<LARGEST_FACTOR>(x, y, stride, j, w, |v| self.plain(v)),
            }
        }
    }

    /// A butterfly by its definition, halved by symmetry: sums and differences of mirrored inputs.
    #[inline(always)]
    fn plain<const P: usize>(&self, v: [(f64, f64); P]) -> [(f64, f64); P] {
        let mut out = [v[0]; P];
        for k in 1..P {
            out[0] = add(out[0], v[k]);
        }
        for k in 1..=P / 2 {
            let (mut even, mut odd) = (v[0], (0.0, 0.0));
            for r in 1..=P / 2 {
                let (c, s) = self.roots[k * r % P];
                let (sum, dif) = (add(v[r], v[P - r]), sub(v[r], v[P - r]));
                even = (even.0 + c * sum.0, even.1 + c * sum.1);
                // i s times the difference.
                odd = (odd.0 - s * dif.1, odd.1 + s * dif.0);
            }
            out[k] = add(even, odd);
            out[P - k] = sub(even, odd);
        }
        out
    }

    #[inline(always)]
    fn group<const P: usize>(
        &self,
        x: &Parts,
        y: &mut Parts,
        stride: usize,
        j: usize,
        w: &[(f64, f64)],
        butterfly: impl Fn([(f64, f64); P]) -> [(f64, f64); P],
    ) {
        let from: [(&[f64], &[f64]); P] = std::array::from_fn(|k| {
            let at = stride * (j + self.m * k);
            (&x.re[at..at + stride], &x.im[at..at + stride])
        });
        let at = stride * P * j;
        let (re, im) = (&mut y.re[at..at + stride * P], &mut y.im[at..at + stride * P]);
        for q in 0..stride {
            let out = butterfly(std::array::from_fn(|k| (from[k].0[q], from[k].1[q])));
            (re[q], im[q]) = out[0];
            for k in 1..P {
                let ((a, b), (c, s)) = (out[k], w[k - 1]);
                (re[k * stride + q], im[k * stride + q]) = (a * c - b * s, a * s + b * c);
            }
        }
    }
}

#[inline(always)]
fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

#[inline(always)]
fn sub(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 - b.0, a.1 - b.1)
}

/// Transforms of a call.
pub struct Transform {
    call: Fourier,
    plan: Plan,
}

impl Transform {
    /// Prepares a call: `O(n)` tables.
    pub fn new(call: &Fourier) -> Transform {
        Transform { call: call.clone(), plan: Plan::new(call.len) }
    }

    /// Whether lines travel in pairs: real ones, or symmetric ones whose transforms are real.
    fn paired(&self) -> bool {
        self.call.symmetric || !self.call.complex
    }

    fn lines<T: Real>(&self, x: &[T], window: Option<&[T]>, first: usize, y: &mut [T]) {
        let c = &self.call;
        let n = c.len;
        let parts = if c.symmetric { 1 } else { 2 };
        let row = c.bins * c.inner * parts;
        let count = y.len() / row * c.inner;
        let paired = self.paired();
        let per_turn = if paired { 2 * LANES } else { LANES };
        let mut a = Parts::zeros(self.plan.copy_len(n) * LANES);
        let mut b = a.clone();
        let mut extra = Parts::zeros(self.plan.extra_len() * LANES);
        let scale = if c.inverse { 1.0 / n as f64 } else { 1.0 };
        for start in (0..count).step_by(per_turn) {
            let now = per_turn.min(count - start);
            // A few lines need fewer lanes.
            let lanes = if paired { now.div_ceil(2) } else { now };
            for part in [&mut a.re, &mut a.im] {
                part[..n * lanes].fill(0.0);
            }
            for l in 0..now {
                let (outer, inner) = (first + (start + l) / c.inner, (start + l) % c.inner);
                let at = outer / c.group * c.group_stride + outer % c.group * c.from.outer + inner * c.from.inner;
                let (lane, second) = (l % lanes, l >= lanes);
                self.read(x, window, at, |i, re, im| {
                    let k = i * lanes + lane;
                    // An inverse transform is a forward one of swapped parts.
                    let (re, im) = if paired && second { (-im, re) } else { (re, im) };
                    a.re[k] += re;
                    a.im[k] += im;
                });
            }
            if c.inverse {
                std::mem::swap(&mut a.re, &mut a.im);
            }
            self.plan.run(&mut a, &mut b, &mut extra, lanes);
            if c.inverse {
                std::mem::swap(&mut a.re, &mut a.im);
            }
            for l in 0..now {
                let (outer, inner) = ((start + l) / c.inner, (start + l) % c.inner);
                let (lane, second) = (l % lanes, l >= lanes);
                for k in 0..c.bins {
                    let at = k * lanes + lane;
                    let (re, im) = (a.re[at] * scale, a.im[at] * scale);
                    let to = outer * row + (k * c.inner + inner) * parts;
                    if c.symmetric {
                        y[to] = T::of(if second { im } else { re });
                        continue;
                    }
                    let (re, im) = if paired {
                        // Spectra of real lines are symmetric: the sum belongs to the first, the difference to the second.
                        let mirror = (n - k) % n * lanes + lane;
                        let (mre, mim) = (a.re[mirror] * scale, -a.im[mirror] * scale);
                        match second {
                            false => ((re + mre) / 2.0, (im + mim) / 2.0),
                            true => ((im - mim) / 2.0, (mre - re) / 2.0),
                        }
                    } else {
                        (re, im)
                    };
                    (y[to], y[to + 1]) = (T::of(re), T::of(im));
                }
            }
        }
    }

    /// Calls `put` with the numbers of the line at `at`, those of the upper half of a symmetric one too.
    #[inline(always)]
    fn read<T: Real>(&self, x: &[T], window: Option<&[T]>, at: usize, mut put: impl FnMut(usize, f64, f64)) {
        let c = &self.call;
        let number = |i: usize| {
            let p = at + i * c.from.step;
            let w = window.map_or(1.0, |w| w[i].to());
            (x[p].to() * w, if c.complex { x[p + 1].to() * w } else { 0.0 })
        };
        if !c.symmetric {
            for i in 0..c.extent.min(c.len) {
                let (re, im) = number(i);
                put(i, re, im);
            }
            return;
        }
        for i in 0..c.len {
            let low = if 2 * i <= c.len { i } else { c.len - i };
            if low < c.extent {
                let (re, im) = number(low);
                // What is its own mirror image is real.
                let im = if i == 0 || 2 * i == c.len { 0.0 } else { im };
                put(i, re, if low == i { im } else { -im });
            }
        }
    }
}

impl Kernel for Transform {
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], pool: &ThreadPool) -> Result<()> {
        let c = &self.call;
        let row = c.bins * c.inner * if c.symmetric { 1 } else { 2 };
        let cost = c.len as f64 * c.inner as f64 * (2.0 + (c.len as f64).log2());
        let [y] = y else { return Err(Error::bug("a transform has one result")) };
        with_real!(c.dtype, T, {
            let signal = numbers::<T>(operand(x, 0)?)?;
            let window = if c.windowed { Some(numbers::<T>(operand(x, 2)?)?) } else { None };
            fill(pool, numbers_mut::<T>(y)?, row, grain(cost), |first, out| self.lines(signal, window, first, out));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_transformed_as_the_definition_says() {
        for n in (1..70).chain([97, 128, 169, 211, 400, 1009]) {
            for lanes in [1, 3] {
                let mut a = Parts::zeros(n * lanes);
                for (i, v) in a.re.iter_mut().chain(&mut a.im).enumerate() {
                    *v = ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0;
                }
                let x = a.clone();
                let plan = Plan::new(n);
                a.re.resize(plan.copy_len(n) * lanes, 0.0);
                a.im.resize(plan.copy_len(n) * lanes, 0.0);
                let (mut b, mut extra) = (a.clone(), Parts::zeros(plan.extra_len() * lanes));
                plan.run(&mut a, &mut b, &mut extra, lanes);
                for (lane, k) in (0..lanes).flat_map(|l| (0..n).map(move |k| (l, k))) {
                    let (mut re, mut im) = (0.0, 0.0);
                    for j in 0..n {
                        let (c, s) = root(j * k, n);
                        let (xr, xi) = (x.re[j * lanes + lane], x.im[j * lanes + lane]);
                        re += xr * c - xi * s;
                        im += xr * s + xi * c;
                    }
                    let at = k * lanes + lane;
                    let error = (a.re[at] - re).abs().max((a.im[at] - im).abs());
                    assert!(error < 1e-12 * n as f64, "length {n}, bin {k}: {error}");
                }
            }
        }
    }
}
