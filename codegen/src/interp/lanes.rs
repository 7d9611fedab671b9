//! Values of the interpreter: bytes, read as lanes of any type.

use crate::builder::{Elem, Ty};

/// Bytes of the widest vector: 512 bits.
pub(super) const VECTOR_BYTES: usize = 64;

/// A value; a scalar is in the first bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits(pub(super) [u8; VECTOR_BYTES]);

/// A lane's type.
pub(super) trait Lane: Copy {
    fn get(bits: &Bits, lane: usize) -> Self;
    fn put(self, bits: &mut Bits, lane: usize);
}

macro_rules! lanes {
    ($($t:ty),*) => { $(
        impl Lane for $t {
            #[inline]
            fn get(bits: &Bits, lane: usize) -> $t {
                const SIZE: usize = size_of::<$t>();
                let mut bytes = [0; SIZE];
                bytes.copy_from_slice(&bits.0[lane * SIZE..(lane + 1) * SIZE]);
                <$t>::from_le_bytes(bytes)
            }

            #[inline]
            fn put(self, bits: &mut Bits, lane: usize) {
                const SIZE: usize = size_of::<$t>();
                bits.0[lane * SIZE..(lane + 1) * SIZE].copy_from_slice(&self.to_le_bytes());
            }
        }
    )* };
}

lanes!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

impl Bits {
    pub(super) const ZERO: Bits = Bits([0; VECTOR_BYTES]);

    pub(super) fn scalar<T: Lane>(v: T) -> Bits {
        let mut bits = Bits::ZERO;
        v.put(&mut bits, 0);
        bits
    }

    #[inline]
    pub(super) fn lane<T: Lane>(&self, lane: usize) -> T {
        T::get(self, lane)
    }

    #[inline]
    pub(super) fn set<T: Lane>(&mut self, lane: usize, v: T) {
        v.put(self, lane);
    }

    /// The first `size` bytes in `n` lanes.
    pub(super) fn splat(scalar: &Bits, size: usize, n: usize) -> Bits {
        let mut out = Bits::ZERO;
        for lane in out.0[..size * n].chunks_exact_mut(size) {
            lane.copy_from_slice(&scalar.0[..size]);
        }
        out
    }

    /// Bits of `a` where the mask has ones, else of `b`.
    pub(super) fn choose(mask: &Bits, a: &Bits, b: &Bits) -> Bits {
        let mut out = Bits::ZERO;
        for i in 0..VECTOR_BYTES {
            out.0[i] = a.0[i] & mask.0[i] | b.0[i] & !mask.0[i];
        }
        out
    }

    /// One lane of elements of `ty`, put into another.
    pub(super) fn moved(&self, ty: Ty, from: usize, to: usize) -> Bits {
        let size = ty.elem().map_or(1, Elem::size_bytes);
        let mut out = Bits::ZERO;
        out.0[to * size..(to + 1) * size].copy_from_slice(&self.0[from * size..(from + 1) * size]);
        out
    }

    /// The bytes from `at` on, as the first ones.
    pub(super) fn upper(&self, at: usize) -> Bits {
        let mut out = Bits::ZERO;
        out.0[..VECTOR_BYTES - at].copy_from_slice(&self.0[at..]);
        out
    }

    /// `f` of each of the first `n` lanes.
    #[inline]
    pub(super) fn map<T: Lane, R: Lane>(&self, n: usize, f: impl Fn(T) -> R) -> Bits {
        let mut out = Bits::ZERO;
        for i in 0..n {
            out.set(i, f(self.lane(i)));
        }
        out
    }

    /// `f` of each of the first `n` lanes of two values.
    #[inline]
    pub(super) fn zip<T: Lane, R: Lane>(&self, other: &Bits, n: usize, f: impl Fn(T, T) -> R) -> Bits {
        let mut out = Bits::ZERO;
        for i in 0..n {
            out.set(i, f(self.lane(i), other.lane(i)));
        }
        out
    }
}
