//! The order in which kernels stream a constant left operand: `[block of k][row tile][k][row]`.
//!
//! A tile's elements lie in the order of use, so that they arrive by sequential prefetch; nothing is padded.

use super::gemm_tile::RowSplit;
use crate::error::CodegenError;

/// Layout of one packed `[m, k]` matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedLhs {
    /// Rows.
    pub m: usize,
    /// Columns.
    pub k: usize,
    /// Columns per block; the last block may be shorter.
    pub k_block: usize,
    split: RowSplit,
}

impl PackedLhs {
    pub(crate) fn new(m: usize, k: usize, k_block: usize, max_rows: usize) -> PackedLhs {
        PackedLhs { m, k, k_block: k_block.max(1), split: RowSplit::new(m, max_rows) }
    }

    /// Elements of one packed matrix: as many as before.
    pub fn len_elems(&self) -> usize {
        self.m * self.k
    }

    /// Packs one matrix whose element `(i, kk)` is `src[i * row_stride + kk * k_stride]`.
    ///
    /// # Errors
    /// If `src` is too short for the strides or `dst` is not [`PackedLhs::len_elems`] long.
    pub fn pack<T: Copy>(
        &self,
        src: &[T],
        row_stride: usize,
        k_stride: usize,
        dst: &mut [T],
    ) -> Result<(), CodegenError> {
        self.pack_reporting(src, row_stride, k_stride, dst, &mut |_| {})
    }

    /// As [`PackedLhs::pack`]; `done` hears, as it goes, how many leading elements of `src` will not be read again.
    ///
    /// # Errors
    /// As [`PackedLhs::pack`].
    pub fn pack_reporting<T: Copy>(
        &self,
        src: &[T],
        row_stride: usize,
        k_stride: usize,
        dst: &mut [T],
        done: &mut dyn FnMut(usize),
    ) -> Result<(), CodegenError> {
        let needed = match (self.m, self.k) {
            (0, _) | (_, 0) => 0,
            (m, k) => (m - 1) * row_stride + (k - 1) * k_stride + 1,
        };
        if src.len() < needed || dst.len() != self.len_elems() {
            let text = format!("packing {self:?} from {} into {} elements", src.len(), dst.len());
            return Err(CodegenError::Invalid(text));
        }
        let mut row = 0;
        for tile in 0..self.split.n_tiles() {
            let rows = if tile < self.split.n_high { self.split.high } else { self.split.high - 1 };
            for k0 in (0..self.k).step_by(self.k_block) {
                let k_end = (k0 + self.k_block).min(self.k);
                let at = k0 * self.m + row * (k_end - k0);
                let columns = dst[at..at + (k_end - k0) * rows].chunks_exact_mut(rows.max(1));
                for (kk, column) in (k0..k_end).zip(columns) {
                    for (i, to) in column.iter_mut().enumerate() {
                        *to = src[(row + i) * row_stride + kk * k_stride];
                    }
                }
            }
            row += rows;
            if row_stride > k_stride {
                done(row * row_stride);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lie_in_order_of_use() {
        // Rows 0..3 of tiles of 2 and 1, columns in blocks of 2.
        let layout = PackedLhs::new(3, 3, 2, 2);
        let src = [0, 1, 2, 10, 11, 12, 20, 21, 22];
        let mut dst = [0; 9];
        layout.pack(&src, 3, 1, &mut dst).unwrap();
        assert_eq!(dst, [0, 10, 1, 11, 20, 21, 2, 12, 22]);
        assert!(layout.pack(&src[..8], 3, 1, &mut dst).is_err());
        assert!(layout.pack(&src, 3, 1, &mut dst[..8]).is_err());
    }
}
