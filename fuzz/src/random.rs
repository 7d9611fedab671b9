//! Seeded random choices, the same on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014), or choices read from bytes as long as there are any: then a fuzzing engine that
/// changes a byte changes one choice.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    bytes: Vec<u8>,
    at: usize,
}

impl Random {
    /// Choices that follow from `seed` alone.
    pub fn new(seed: u64) -> Random {
        Random { state: seed, bytes: Vec::new(), at: 0 }
    }

    /// Choices that follow from `bytes`, two for each; the seed 0 goes on where they end.
    pub fn from_bytes(bytes: &[u8]) -> Random {
        Random { state: 0, bytes: bytes.to_vec(), at: 0 }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        if let Some(&[low, high]) = self.bytes.get(self.at..self.at + 2) {
            self.at += 2;
            return u64::from(u16::from_le_bytes([low, high]));
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.bits() % n as u64) as usize }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `items`, if there is any.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// One of `items`, to be changed, if there is any.
    pub fn pick_mut<'a, T>(&mut self, items: &'a mut [T]) -> Option<&'a mut T> {
        let at = self.below(items.len());
        items.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn bytes_are_choices_until_they_end() {
        let mut random = Random::from_bytes(&[3, 0, 1, 1, 9]);
        assert_eq!([random.below(10), random.below(1000)], [3, 257]);
        assert_eq!(random.bits(), Random::new(0).bits());
    }

    #[test]
    fn choices_of_nothing_are_none() {
        let mut random = Random::new(0);
        assert_eq!((random.below(0), random.pick::<u8>(&[])), (0, None));
        assert!((0..100).all(|_| random.below(3) < 3));
    }
}
