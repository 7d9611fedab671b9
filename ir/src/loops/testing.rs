//! Random computations, for tests here and in codegen.

use super::{Compute, ComputeBuilder, ReduceOp, Scalar, TensorId};
use crate::DType;

/// A small generator of numbers (xorshift); the same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator by seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n` (0 for `n` = 0).
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if n == 0 { 0 } else { (self.0 >> 33) as usize % n }
    }
}

/// Small whole numbers of any type, so that sums and products are exact in any order.
pub fn random_input(r: &mut Random, dtype: DType, n: usize) -> Vec<u8> {
    let size = dtype.size_bytes();
    let mut bytes = vec![0; n * size];
    for chunk in bytes.chunks_mut(size) {
        let v = r.below(7) as i64 - if dtype.class() == crate::Class::Unsigned { 0 } else { 3 };
        let v = super::scalar::cast(DType::I64, dtype, false, Scalar::Int(v));
        super::narrow::write(dtype, v, chunk);
    }
    bytes
}

/// Sizes around the edges of vectors.
const SIZES: [usize; 14] = [1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 33];

fn random_shape(r: &mut Random) -> Vec<usize> {
    let rank = r.below(4);
    let mut shape: Vec<usize> = (0..rank).map(|_| SIZES[r.below(SIZES.len())]).collect();
    while shape.iter().product::<usize>() > 4000 {
        shape.pop();
    }
    if r.below(30) == 0 && !shape.is_empty() {
        let axis = r.below(shape.len());
        shape[axis] = 0;
    }
    shape
}

/// A random chain of up to `n_ops` operations on tensors of type `dtype`.
pub fn random_compute(r: &mut Random, dtype: DType, n_ops: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let shape = random_shape(r);
    let mut t = c.input(dtype, &shape);
    let mut side: Vec<TensorId> = vec![t];
    for _ in 0..1 + r.below(n_ops) {
        t = random_op(&mut c, r, t, dtype);
        if c.desc(t).len_elems() > 20000 {
            break;
        }
        if r.below(5) == 0 {
            side.push(t);
        }
    }
    c.output(t);
    if r.below(4) == 0 {
        let extra = side[r.below(side.len())];
        c.output(extra);
    }
    c.finish().expect("the generator makes well-typed expressions only")
}

fn random_op(c: &mut ComputeBuilder, r: &mut Random, t: TensorId, dtype: DType) -> TensorId {
    let shape = c.shape(t);
    let rank = shape.len();
    match r.below(12) {
        0 => c.compute(dtype, &shape, |e, i| {
            let v = e.load(t, i);
            e.relu(v)
        }),
        1 | 2 => {
            // A binary operation with a broadcast input.
            let mut other: Vec<usize> = shape.iter().map(|&n| if r.below(2) == 0 { 1 } else { n }).collect();
            other.drain(..r.below(rank + 1));
            let b = c.input(dtype, &other);
            let which = r.below(4);
            c.compute(dtype, &shape, |e, i| {
                let (x, y) = (e.load(t, i), e.load_broadcast(b, i));
                match which {
                    0 => e.add(x, y),
                    1 => e.sub(x, y),
                    2 => e.max(x, y),
                    _ => {
                        let less = e.lt(x, y);
                        e.select(less, y, x)
                    }
                }
            })
        }
        3 if rank >= 2 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(r.below(rank), r.below(rank));
            c.transpose(t, &perm)
        }
        4 => {
            let n: usize = shape.iter().product();
            let divisors: Vec<usize> = (1..=n).filter(|d| n.is_multiple_of(*d)).collect();
            let d = if n == 0 { 1 } else { divisors[r.below(divisors.len())] };
            c.reshape(t, &[d, n / d])
        }
        5 => {
            let start: Vec<i64> = shape.iter().map(|&n| r.below(n / 2 + 1) as i64).collect();
            let step: Vec<i64> = shape.iter().map(|_| 1 + r.below(2) as i64).collect();
            let sizes: Vec<usize> = shape
                .iter()
                .zip(start.iter().zip(&step))
                .map(|(&n, (&lo, &by))| (n - lo as usize).div_ceil(by as usize))
                .collect();
            c.slice(t, &start, &step, &sizes)
        }
        6 => {
            let before: Vec<i64> = shape.iter().map(|_| r.below(3) as i64).collect();
            let after: Vec<i64> = shape.iter().map(|_| r.below(3) as i64).collect();
            let value = super::scalar::cast(DType::I64, dtype, false, Scalar::Int(1));
            c.pad(t, &before, &after, value)
        }
        7 if rank >= 1 => {
            let axis = r.below(rank);
            let mut other = shape.clone();
            other[axis] = 1 + r.below(5);
            let b = c.input(dtype, &other);
            c.concat(&[b, t, b], axis)
        }
        8 | 9 if rank >= 1 => {
            // A reduction over some axes, without them.
            let reduced: Vec<bool> = shape.iter().map(|_| r.below(2) == 0).collect();
            let kept: Vec<usize> = shape.iter().zip(&reduced).filter(|(_, r)| !**r).map(|(&n, _)| n).collect();
            let sizes: Vec<usize> = shape.iter().zip(&reduced).filter(|(_, r)| **r).map(|(&n, _)| n).collect();
            let op = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min][r.below(3)];
            c.compute(dtype, &kept, |e, i| {
                e.reduce(op, &sizes, |e, k| {
                    let (mut i, mut k) = (i.iter(), k.iter());
                    let at: Vec<_> =
                        reduced.iter().filter_map(|&r| if r { k.next() } else { i.next() }).copied().collect();
                    e.load(t, &at)
                })
            })
        }
        10 if rank >= 1 => {
            // x - reduction of its row, as in a softmax.
            let n = shape[rank - 1];
            let op = [ReduceOp::Sum, ReduceOp::Max][r.below(2)];
            let rows = shape[..rank - 1].to_vec();
            let m = c.compute(dtype, &rows, |e, i| {
                e.reduce(op, &[n], |e, k| {
                    let at: Vec<_> = i.iter().chain(k).copied().collect();
                    e.load(t, &at)
                })
            });
            c.compute(dtype, &shape, |e, i| {
                let (x, m) = (e.load(t, i), e.load(m, &i[..rank - 1]));
                e.sub(x, m)
            })
        }
        11 if rank >= 1 && shape[0] > 0 => {
            // Rows chosen by data.
            let n = 1 + r.below(6);
            let which = c.input(DType::I64, &[n]);
            let mut out = shape.clone();
            out[0] = n;
            let size = shape[0];
            c.compute(dtype, &out, |e, i| {
                let at = e.load(which, &i[..1]);
                let at = e.index_from_data(at, size);
                let mut index = i.to_vec();
                index[0] = at;
                e.load(t, &index)
            })
        }
        _ => c.compute(dtype, &shape, |e, i| {
            let v = e.load(t, i);
            let two = e.int(dtype, 2);
            e.add(v, two)
        }),
    }
}
