//! Where the generator's decisions come from: a seed, or the bytes of libFuzzer. One generator, any driver.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A source of decisions.
pub trait Choices {
    /// A number below `n` (0 where `n` is 0 or 1).
    fn below(&mut self, n: usize) -> usize;

    /// True `numerator` times of `denominator`.
    fn chance(&mut self, numerator: usize, denominator: usize) -> bool {
        self.below(denominator) < numerator
    }

    /// An index by weight; 0 where all weights are 0.
    fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (i, &w) in weights.iter().enumerate() {
            if at < w {
                return i;
            }
            at -= w;
        }
        0
    }

    /// A number in `0.0..1.0`, a multiple of 2^-24.
    fn unit(&mut self) -> f64 {
        self.below(1 << 24) as f64 / (1u32 << 24) as f64
    }
}

/// One of a list that is not empty.
pub fn pick<'a, T>(choices: &mut dyn Choices, list: &'a [T]) -> &'a T {
    &list[choices.below(list.len())]
}

/// Decisions from a seed: the same on every machine.
pub struct Seeded(Xoshiro256PlusPlus);

impl Seeded {
    /// A stream for `seed`; the stream of another `index` is independent of it.
    pub fn new(seed: u64, index: u64) -> Seeded {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        // Xoshiro must not start from zeros only.
        key[31] = 0x9e;
        let mut rng = Xoshiro256PlusPlus::from_seed(key);
        // Keys that differ in few bits give similar first numbers.
        (0..16).for_each(|_| {
            rng.next_u64();
        });
        Seeded(rng)
    }
}

impl Choices for Seeded {
    fn below(&mut self, n: usize) -> usize {
        // The upper half of a product maps 64 random bits onto 0..n; the bias is below n / 2^64.
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }
}

/// Decisions from bytes; zeros once they are used up, which is the plainest choice everywhere.
pub struct FromBytes<'a>(&'a [u8]);

impl FromBytes<'_> {
    /// Reads from the front.
    pub fn new(bytes: &[u8]) -> FromBytes<'_> {
        FromBytes(bytes)
    }

    /// Whether all bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Choices for FromBytes<'_> {
    fn below(&mut self, n: usize) -> usize {
        if n <= 1 {
            return 0;
        }
        let wanted = (usize::BITS - (n - 1).leading_zeros()).div_ceil(8) as usize;
        let (now, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        now.iter().rev().fold(0, |x, &b| x << 8 | usize::from(b)) % n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_another_gives_others() {
        let draw = |seed, index| {
            let mut s = Seeded::new(seed, index);
            (0..8).map(|_| s.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn bytes_that_are_used_up_give_zeros() {
        let mut b = FromBytes::new(&[5, 1, 2]);
        assert_eq!((b.below(10), b.below(1), b.below(1000), b.below(7)), (5, 0, 513, 0));
        assert!(b.is_empty());
    }

    #[test]
    fn weights_of_zero_are_never_chosen() {
        let mut s = Seeded::new(3, 0);
        assert!((0..100).all(|_| s.weighted(&[0, 2, 0, 1]) % 2 == 1));
    }
}
