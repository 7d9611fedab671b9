//! Products of 8-bit integers as products of pairs of 16-bit ones, which machines multiply and add in one step.
//!
//! An operand less its zero point lies in `-255..=255`, so the two products of a pair fit 32 bits and sums wrap as 32-bit
//! sums of single products do.

use super::{Computation, Conv, MatMul, Operand};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::loops::{BinOp, ComputeBuilder, ExprId};
use crate::tensor::Tensor;

/// A product or convolution over pairs, summed in 32 bits that wrap; the result is `i32`.
#[derive(Clone, Debug)]
pub struct PairProduct {
    /// The first factor: the matrix `a`, or the image.
    pub lhs: Pairs,
    /// The second: the matrix `b`, or the weights.
    pub rhs: Pairs,
    /// What is summed; extents and strides count pairs.
    pub form: PairForm,
}

/// What a [`PairProduct`] sums.
#[derive(Clone, Debug)]
pub enum PairForm {
    /// A matrix product without bias.
    MatMul(MatMul),
    /// A convolution without bias, pairs of channels.
    Conv(Conv),
}

/// An 8-bit operand, seen as `[outer, len, inner]`, less its zero point, as pairs along the middle: `i32[outer,
/// ceil(len / 2), inner]`, the first number of a pair in the lower half, 0 behind an odd end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pairs {
    /// The operand, by number.
    pub operand: usize,
    /// `i8` or `u8`.
    pub dtype: DType,
    /// Extent of the axes in front, as one.
    pub outer: usize,
    /// Extent of the axis of the pairs.
    pub len: usize,
    /// Extent of the axes behind, as one.
    pub inner: usize,
    /// The zero point, of the operand's type.
    pub zero: ZeroPoint,
}

/// Which zero point belongs to element `[o, _, i]` of a [`Pairs`]; operands by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZeroPoint {
    /// There is none.
    None,
    /// One number for all.
    One(usize),
    /// Element `o % period` of an operand of `period` elements.
    Outer {
        /// The operand.
        operand: usize,
        /// Its elements.
        period: usize,
    },
    /// Element `i`.
    Inner(usize),
}

impl ZeroPoint {
    /// The operand that holds it.
    pub fn operand(self) -> Option<usize> {
        match self {
            ZeroPoint::None => None,
            ZeroPoint::One(operand) | ZeroPoint::Outer { operand, .. } | ZeroPoint::Inner(operand) => Some(operand),
        }
    }
}

impl Pairs {
    /// Pairs along the axis.
    pub fn n_pairs(&self) -> usize {
        self.len.div_ceil(2)
    }

    /// Elements of the result.
    pub fn len_elems(&self) -> usize {
        self.outer * self.n_pairs() * self.inner
    }

    /// Elements of the zero point.
    fn n_zeros(&self) -> usize {
        match self.zero {
            ZeroPoint::None => 0,
            ZeroPoint::One(_) => 1,
            ZeroPoint::Outer { period, .. } => period,
            ZeroPoint::Inner(_) => self.inner,
        }
    }

    /// The expressions that make the pairs.
    ///
    /// # Errors
    /// When the loops do not support the element type.
    pub fn computation(&self) -> Result<Computation> {
        let Pairs { operand, dtype, outer, len, inner, zero } = *self;
        let mut c = ComputeBuilder::new();
        let x = c.input(dtype, &[outer, len, inner]);
        let z = zero.operand().map(|_| c.input(dtype, &[self.n_zeros()]));
        let y = c.compute(DType::I32, &[outer, self.n_pairs(), inner], |c, i| {
            let at = match zero {
                ZeroPoint::Outer { period, .. } if period != outer => {
                    let period = c.idx(period as i64);
                    c.bin(BinOp::FloorMod, i[0], period)
                }
                ZeroPoint::Outer { .. } => i[0],
                ZeroPoint::Inner(_) => i[2],
                _ => c.idx(0),
            };
            let z = z.map(|z| c.load(z, &[at]));
            let half = |c: &mut ComputeBuilder, offset: i64| -> ExprId {
                let k = c.affine(i[1], 2, offset);
                // The zero point behind the end, so that 0 is left there.
                let otherwise = z.unwrap_or_else(|| c.zero(dtype));
                let v = c.load_padded(x, &[i[0], k, i[2]], otherwise);
                let v = c.cast(v, DType::I32);
                match z {
                    Some(z) => {
                        let z = c.cast(z, DType::I32);
                        c.sub(v, z)
                    }
                    None => v,
                }
            };
            let (low, high) = (half(c, 0), half(c, 1));
            let (mask, shift) = (c.int(DType::I32, 0xffff), c.int(DType::I32, 1 << 16));
            let (low, high) = (c.bin(BinOp::And, low, mask), c.mul(high, shift));
            c.bin(BinOp::Or, low, high)
        });
        c.output(y);
        let compute = c.finish().map_err(|e| Error::bug(e.to_string()))?;
        let operands = std::iter::once(operand).chain(zero.operand()).map(Operand::Input).collect();
        Ok(Computation { compute, operands, checks: Vec::new() })
    }

    /// The pairs of these elements, the bytes of each in the machine's order: what [`Pairs::computation`] says, for
    /// constants. `zero` is the operand that [`Pairs::zero`] names.
    ///
    /// # Errors
    /// When a type or a number of elements is another.
    pub fn of(&self, x: &Tensor, zero: Option<&Tensor>) -> Result<Vec<[u8; 4]>> {
        let signed = self.dtype == DType::I8;
        let number = |v: u8| if signed { i16::from(v.cast_signed()) } else { i16::from(v) };
        let zeros: Vec<i16> = zero.map_or(&[][..], Tensor::bytes).iter().map(|&v| number(v)).collect();
        let n = self.outer * self.len * self.inner;
        let bytes = |t: &Tensor| t.dtype() == self.dtype && matches!(t.dtype(), DType::U8 | DType::I8);
        if !bytes(x) || !zero.is_none_or(bytes) || x.bytes().len() != n || zeros.len() != self.n_zeros() {
            return Err(Error::bug(format!(
                "{self:?} of {} elements with {} zero points",
                x.bytes().len(),
                zeros.len()
            )));
        }
        let mut out = Vec::with_capacity(self.len_elems());
        if n == 0 {
            return Ok(out);
        }
        let mut row = vec![0i16; self.inner];
        for (o, block) in x.bytes().chunks_exact(self.len * self.inner).enumerate() {
            match self.zero {
                ZeroPoint::None => {}
                ZeroPoint::One(_) => row.fill(zeros[0]),
                ZeroPoint::Outer { period, .. } => row.fill(zeros[o % period]),
                ZeroPoint::Inner(_) => row.copy_from_slice(&zeros),
            }
            for two in block.chunks(2 * self.inner) {
                let (low, high) = two.split_at(self.inner);
                let high = high.iter().map(|&v| Some(v)).chain(std::iter::repeat(None));
                for ((&low, high), &z) in low.iter().zip(high).zip(&row) {
                    let [a, b] = (number(low) - z).to_ne_bytes();
                    let [c, d] = high.map_or(0, |high| number(high) - z).to_ne_bytes();
                    out.push(if cfg!(target_endian = "little") { [a, b, c, d] } else { [c, d, a, b] });
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::interp;

    #[test]
    fn constants_are_paired_as_the_expressions_say() {
        for (outer, len, inner) in [(1, 4, 3), (4, 5, 1), (6, 1, 2), (2, 3, 4), (3, 0, 2)] {
            for dtype in [DType::U8, DType::I8] {
                let n = outer * len * inner;
                let x = Tensor::from_ints(dtype, &[n], (0..n).map(|i| (i * 37 % 251) as i128 - 100));
                let zeros = [
                    (ZeroPoint::None, 0),
                    (ZeroPoint::One(1), 1),
                    (ZeroPoint::Outer { operand: 1, period: 1 + (outer - 1) % 3 }, 1 + (outer - 1) % 3),
                    (ZeroPoint::Inner(1), inner),
                ];
                for (zero, n_zeros) in zeros.into_iter().filter(|z| z.1 == 0 || outer % z.1 == 0 || z.1 == inner) {
                    let z = Tensor::from_ints(dtype, &[n_zeros], (0..n_zeros).map(|i| 5 + 3 * i as i128));
                    let pairs = Pairs { operand: 0, dtype, outer, len, inner, zero };
                    let c = pairs.computation().unwrap();
                    c.compute.check().unwrap();
                    let mut inputs = vec![x.bytes()];
                    inputs.extend((n_zeros > 0).then_some(z.bytes()));
                    let want = interp::eval(&c.compute, &inputs).unwrap().remove(0);
                    let got = pairs.of(&x, (n_zeros > 0).then_some(&z)).unwrap();
                    assert_eq!(got.as_flattened(), want, "{pairs:?}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_number_of_elements_is_an_error() {
        let pairs = Pairs { operand: 0, dtype: DType::U8, outer: 1, len: 2, inner: 1, zero: ZeroPoint::None };
        assert!(pairs.of(&Tensor::from_slice(&[3], &[1u8, 2, 3]), None).is_err());
        assert!(pairs.of(&Tensor::from_slice(&[2], &[1i8, 2]), None).is_err());
    }
}
