//! Random numbers for the random operators: SplitMix64 (Steele, Lea, Flood 2014), 53 bits a uniform number, normal
//! numbers by the method of Box and Muller. The sequence is a function of the seed alone, the same on every machine.

use crate::eval::Env;

/// A sequence of random numbers.
pub struct Rng(u64);

impl Rng {
    /// The sequence of a node: by its own seed (the bits of the attribute), or by the next of the run.
    pub fn new(env: &Env, seed: Option<f32>) -> Rng {
        Rng(seed.map_or_else(|| env.next_seed(), |s| u64::from(s.to_bits())))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        // In (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut r = Rng::new(&Env::default(), Some(1.0));
        let n = 20_000;
        let mean = (0..n).map(|_| r.uniform()).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let normal: Vec<f64> = (0..n).map(|_| r.normal()).collect();
        let (mean, square) =
            (normal.iter().sum::<f64>() / f64::from(n), normal.iter().map(|v| v * v).sum::<f64>() / f64::from(n));
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
    }

    #[test]
    fn a_seed_names_a_sequence() {
        let env = Env::default();
        assert_eq!(Rng::new(&env, Some(2.0)).bits(), Rng::new(&env, Some(2.0)).bits());
        assert_ne!(Rng::new(&env, None).bits(), Rng::new(&env, None).bits());
    }
}
