//! Random numbers for the random operators: the Mersenne twister MT19937 (Matsumoto and Nishimura 1998), seeded and
//! read like numpy's `RandomState`, on which ONNX's reference is built. So a node with a seed gives the reference's
//! numbers, the same on every machine.

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::{Env, EvalCx};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Words of state.
const N: usize = 624;
/// Distance of the word that is mixed in.
const M: usize = 397;

/// A sequence of random numbers.
pub struct Rng {
    state: Vec<u32>,
    next: usize,
    spare: Option<f64>,
}

impl Rng {
    /// The sequence of a node: by its own seed, of which the integer part counts, or by the next of the run.
    pub fn new(env: &Env, seed: Option<f32>) -> Rng {
        Rng::seeded(env, seed.map(|s| s as i64))
    }

    /// As [`Rng::new`], for operators whose seed is an integer; its low 32 bits count.
    pub fn seeded(env: &Env, seed: Option<i64>) -> Rng {
        let mut word = seed.map_or_else(|| env.next_seed(), |s| s as u64) as u32;
        let mut state = Vec::with_capacity(N);
        for i in 0..N as u32 {
            if i > 0 {
                word = (word ^ (word >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
            }
            state.push(word);
        }
        Rng { state, next: N, spare: None }
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.next == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (self.bits() >> 5, self.bits() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// Normal with mean 0 and deviation 1, by the polar method.
    pub fn normal(&mut self) -> f64 {
        if let Some(v) = self.spare.take() {
            return v;
        }
        loop {
            let (a, b) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = a * a + b * b;
            if square < 1.0 && square != 0.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(factor * a);
                return factor * b;
            }
        }
    }

    /// True with probability `p`; ends of `[0, 1]` stand for what lies outside, 0 for NaN.
    pub fn chance(&mut self, p: f64) -> bool {
        let u = self.uniform();
        if p <= 0.5 { u > 1.0 - p } else { u <= p }
    }
}

/// Rule of a result of a given element type and shape. Labels: C1 the type, C2 the extents.
pub fn given_rule(cx: &mut RuleCx<'_>, dtype: DType, shape: &[Dim]) -> RuleResult {
    cx.require("C1", sets::FLOATS.contains(&dtype), || format!("dtype is {dtype}"))?;
    for d in shape {
        cx.require_that("C2", Cond::le(&Dim::ZERO, d))?;
    }
    cx.output(dtype, shape.to_vec())
}

/// The call's result, each element drawn by `draw`.
///
/// # Errors
/// When it is too large.
pub fn fill(cx: &EvalCx<'_>, seed: Option<f32>, draw: impl Fn(&mut Rng) -> f64) -> Result<Tensor> {
    let (dtype, shape) = cx.out(0)?;
    let mut rng = Rng::new(cx.env, seed);
    Ok(Tensor::from_floats(dtype, &shape, (0..len_elems(&shape)?).map(|_| draw(&mut rng))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_numpy() {
        // numpy.random.RandomState(0): random_sample(), and randn() of a fresh state.
        let env = Env::default();
        let mut r = Rng::new(&env, Some(0.0));
        assert_eq!([r.uniform(), r.uniform()], [0.548_813_503_927_324_7, 0.715_189_366_372_419_5]);
        let mut r = Rng::seeded(&env, Some(0));
        for want in [1.764_052_345_967_664, 0.400_157_208_367_223_3] {
            let have = r.normal();
            assert!((have - want).abs() < 1e-15, "{have}");
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut r = Rng::new(&Env::default(), Some(1.0));
        let n = 20_000;
        let normal: Vec<f64> = (0..n).map(|_| r.normal()).collect();
        let (mean, square) =
            (normal.iter().sum::<f64>() / f64::from(n), normal.iter().map(|v| v * v).sum::<f64>() / f64::from(n));
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
        let share = (0..n).filter(|_| r.chance(0.25)).count() as f64 / f64::from(n);
        assert!((share - 0.25).abs() < 0.02, "{share}");
    }

    #[test]
    fn without_a_seed_sequences_differ() {
        let env = Env::default();
        assert_ne!(Rng::new(&env, None).bits(), Rng::new(&env, None).bits());
    }
}
