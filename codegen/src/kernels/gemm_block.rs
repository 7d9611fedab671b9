//! Loops around the register tile: batch, groups of column panels, blocks of rows, blocks of k.
//!
//! The parallel range counts units: batch index x block of row tiles x group of column panels. A unit owns its part of
//! the output, so any partition of units gives the same bits. Inside a unit either panels are the outer loop (weights
//! packed as B stream from memory once while A stays in L2) or row tiles are (B, packed to scratch by the unit, stays in
//! L2 while weights stream as A).

use super::epilogue::Epilogue;
use super::gemm_tile::{RowSplit, Steps, TileCode, TilePlace, TileShape, UNROLL};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, BUF_SCRATCH};
use crate::builder::{BinOp, Builder, CmpOp, Elem, Val};

/// One axis of the batch; strides in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchAxis {
    pub(crate) len: usize,
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) c: usize,
}

/// What a unit packs, for the code that does it.
pub(crate) struct PackRequest {
    /// B's first element for this batch index.
    pub(crate) src: Val,
    /// The unit's scratch; row `i` of it holds step `k0 + i`, columns from `col0` on.
    pub(crate) dst: Val,
    /// First step and number of steps.
    pub(crate) k0: Val,
    pub(crate) k_len: Val,
    /// First column and number of columns.
    pub(crate) col0: Val,
    pub(crate) n_cols: Val,
    /// Bytes between rows of the scratch.
    pub(crate) row_bytes: usize,
}

/// Writes part of B into scratch and returns the address of column `col0` of its first row. May write columns around the
/// requested ones (inside the row).
pub(crate) type PackFn<'a> = dyn Fn(&mut Builder, &PackRequest) -> Val + 'a;

/// Where the tile reads B.
pub(crate) enum BSource<'a> {
    /// Panels of the tile's width, `[panel][k][width]`, zero-padded.
    Panels,
    /// Rows of `row_stride` elements, columns contiguous, read in place.
    Rows { row_stride: usize },
    /// Packed by each unit into rows of at least `row_cols` columns.
    Scratch { pack: &'a PackFn<'a>, row_cols: usize },
}

/// A blocked contraction `C[m, n] = epilogue(A[m, k] B[k, n])` per batch index.
pub(crate) struct Blocked<'a> {
    pub(crate) elem: Elem,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) tile: TileShape,
    pub(crate) batch: Vec<BatchAxis>,
    /// Element strides of A; unused if it is packed.
    pub(crate) a_row: usize,
    pub(crate) a_k: usize,
    /// Whether A is in the order of [`PackedLhs`](super::PackedLhs).
    pub(crate) a_packed: bool,
    pub(crate) b: BSource<'a>,
    /// Element stride between rows of the output.
    pub(crate) c_row: usize,
    /// Steps of k per block, a multiple of [`UNROLL`] or at least `k`.
    pub(crate) k_block: usize,
    /// Row tiles per unit.
    pub(crate) tiles_per_unit: usize,
    /// Column panels per unit.
    pub(crate) panels_per_unit: usize,
    /// Whether panels are the outer loop of a unit.
    pub(crate) panels_outer: bool,
    /// Exchange the operands' entries of the pointer table: A is `BUF_RHS`.
    pub(crate) a_is_rhs: bool,
    pub(crate) epilogue: &'a Epilogue,
}

/// Values of one unit that the inner loops need.
struct Unit {
    a: Val,
    b: Val,
    c: Val,
    operands: Vec<Val>,
    tile_lo: Val,
    tile_hi: Val,
    /// First panel of the unit, for addressing scratch.
    panel_lo: Val,
    panel_hi: Val,
    /// Whether the narrow last panel belongs to the unit.
    has_tail: Val,
}

/// One block of k.
struct KBlock {
    steps: Steps,
    k0: Val,
    k_len: Val,
    /// `None` where there is one block only.
    is_first: Option<Val>,
    is_last: Option<Val>,
}

impl Blocked<'_> {
    fn rows(&self) -> RowSplit {
        RowSplit::new(self.m, self.tile.rows)
    }

    /// Columns of a full panel.
    fn width(&self, b: &Builder) -> usize {
        self.tile.vecs * b.lanes_of(self.elem)
    }

    fn n_panels(&self, width: usize) -> usize {
        self.n.div_ceil(width)
    }

    fn n_k_blocks(&self) -> usize {
        self.k.div_ceil(self.k_block.max(1)).max(1)
    }

    /// Whether partial sums pass through the output.
    pub(crate) fn has_partial_sums(&self) -> bool {
        self.n_k_blocks() > 1
    }

    /// Bytes between rows of the scratch: the columns of a unit and a vector, as an odd number of cache lines, so that
    /// rows spread over the cache's sets.
    fn scratch_row_bytes(&self, width: usize) -> usize {
        let row_cols = match self.b {
            BSource::Scratch { row_cols, .. } => row_cols,
            _ => 0,
        };
        let cols = (self.panels_per_unit.min(self.n_panels(width)).max(1) * width).max(row_cols + width);
        (cols * self.elem.size_bytes()).div_ceil(64) / 2 * 128 + 64
    }

    /// Scratch of one unit.
    pub(crate) fn scratch_len_bytes(&self, lanes: usize) -> usize {
        match self.b {
            BSource::Scratch { .. } => self.scratch_row_bytes(self.tile.vecs * lanes) * self.k_block.min(self.k).max(1),
            _ => 0,
        }
    }

    /// Length of the parallel range.
    pub(crate) fn extent(&self, lanes: usize) -> usize {
        let panels = self.n_panels(self.tile.vecs * lanes).div_ceil(self.panels_per_unit.max(1));
        let tiles = self.rows().n_tiles().div_ceil(self.tiles_per_unit.max(1));
        self.batch.iter().map(|axis| axis.len).product::<usize>() * panels * tiles
    }

    /// Records the kernel's body.
    pub(crate) fn emit(&self, b: &mut Builder) {
        let (lo, hi) = (b.begin(), b.end());
        let [a_buf, b_buf] = if self.a_is_rhs { [BUF_RHS, BUF_LHS] } else { [BUF_LHS, BUF_RHS] };
        let bases = [b.buf(a_buf), b.buf(b_buf), b.buf(BUF_OUT)];
        let operands: Vec<Val> = (0..self.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
        let scratch = match self.b {
            BSource::Scratch { .. } => Some(b.buf(BUF_SCRATCH)),
            _ => None,
        };
        b.for_loop(lo, hi, 1, &[], |b, idx, _| {
            let unit = self.decode(b, idx, bases, &operands);
            self.unit(b, &unit, scratch);
            Vec::new()
        });
    }

    /// `(idx % n, idx / n)`, without instructions for `n == 1`.
    fn split_index(b: &mut Builder, idx: Val, n: usize) -> (Val, Val) {
        if n == 1 {
            return (b.i64(0), idx);
        }
        let n = b.i64(n as i64);
        (b.bin(BinOp::RemU, idx, n), b.bin(BinOp::DivU, idx, n))
    }

    fn decode(&self, b: &mut Builder, idx: Val, bases: [Val; 3], operands: &[Val]) -> Unit {
        let width = self.width(b);
        let size = self.elem.size_bytes() as i64;
        let n_full = self.n / width;
        let n_groups = self.n_panels(width).div_ceil(self.panels_per_unit);
        let n_tiles = self.rows().n_tiles();
        let n_tile_blocks = n_tiles.div_ceil(self.tiles_per_unit);
        let (group, rest) = Self::split_index(b, idx, n_groups);
        let (tile_block, mut rest) = Self::split_index(b, rest, n_tile_blocks);
        let [mut a, mut bb, mut c] = bases;
        let mut operands = operands.to_vec();
        for (i, axis) in self.batch.iter().enumerate().rev() {
            let (at, above) = Self::split_index(b, rest, axis.len);
            rest = above;
            if axis.len == 1 {
                continue;
            }
            for (base, stride) in [(&mut a, axis.a), (&mut bb, axis.b), (&mut c, axis.c)] {
                if stride > 0 {
                    *base = b.index(*base, at, stride as i64 * size);
                }
            }
            for (base, operand) in operands.iter_mut().zip(&self.epilogue.operands) {
                let stride = operand.batch_strides.get(i).copied().unwrap_or(0);
                if stride > 0 {
                    *base = b.index(*base, at, stride as i64 * size);
                }
            }
        }
        let tile_lo = b.mul_imm(tile_block, self.tiles_per_unit as i64);
        let (tile_end, limit) = (b.add_imm(tile_lo, self.tiles_per_unit as i64), b.i64(n_tiles as i64));
        let tile_hi = if n_tile_blocks == 1 { limit } else { b.min(tile_end, limit) };
        let panel_lo = b.mul_imm(group, self.panels_per_unit as i64);
        let (panel_end, limit) = (b.add_imm(panel_lo, self.panels_per_unit as i64), b.i64(n_full as i64));
        let panel_hi = if n_groups == 1 { limit } else { b.min(panel_end, limit) };
        let last_group = b.i64(n_groups as i64 - 1);
        let has_tail = b.cmp(CmpOp::Eq, group, last_group);
        Unit { a, b: bb, c, operands, tile_lo, tile_hi, panel_lo, panel_hi, has_tail }
    }

    fn unit(&self, b: &mut Builder, unit: &Unit, scratch: Option<Val>) {
        let n_blocks = self.n_k_blocks();
        let zero = b.i64(0);
        if n_blocks == 1 {
            let k_len = b.i64(self.k as i64);
            let scratch = self.pack(b, unit, scratch, zero, k_len);
            let block = KBlock { steps: Steps::Const(self.k), k0: zero, k_len, is_first: None, is_last: None };
            return self.tiles(b, unit, scratch, &block);
        }
        let (k, last_start) = (b.i64(self.k as i64), b.i64(((n_blocks - 1) * self.k_block) as i64));
        b.for_loop(zero, k, self.k_block as i64, &[], |b, k0, _| {
            let (left, full) = (b.sub(k, k0), b.i64(self.k_block as i64));
            let k_len = b.min(left, full);
            let scratch = self.pack(b, unit, scratch, k0, k_len);
            let mask = b.i64(UNROLL as i64 - 1);
            let rest = b.and(k_len, mask);
            let main = b.sub(k_len, rest);
            let is_first = b.cmp(CmpOp::Eq, k0, zero);
            let is_last = b.cmp(CmpOp::Eq, k0, last_start);
            let steps = match self.k % self.k_block {
                0 => Steps::Const(self.k_block),
                _ => Steps::Split(main, rest),
            };
            self.tiles(
                b,
                unit,
                scratch,
                &KBlock { steps, k0, k_len, is_first: Some(is_first), is_last: Some(is_last) },
            );
            Vec::new()
        });
    }

    fn pack(&self, b: &mut Builder, unit: &Unit, scratch: Option<Val>, k0: Val, k_len: Val) -> Option<Val> {
        let (BSource::Scratch { pack, .. }, Some(dst)) = (&self.b, scratch) else { return None };
        let width = self.width(b);
        let col0 = b.mul_imm(unit.panel_lo, width as i64);
        let (n, most) = (b.i64(self.n as i64), b.i64((self.panels_per_unit * width) as i64));
        let left = b.sub(n, col0);
        let n_cols = b.min(left, most);
        let row_bytes = self.scratch_row_bytes(width);
        Some(pack(b, &PackRequest { src: unit.b, dst, k0, k_len, col0, n_cols, row_bytes }))
    }

    /// All tiles of a unit for one block of k.
    fn tiles(&self, b: &mut Builder, unit: &Unit, scratch: Option<Val>, block: &KBlock) {
        if self.panels_outer {
            b.for_loop(unit.panel_lo, unit.panel_hi, 1, &[], |b, panel, _| {
                self.each_tile(b, unit, |b, tile, rows| {
                    self.tile_code(b, unit, scratch, block, panel, tile, rows, false);
                });
                Vec::new()
            });
            self.tail_panel(b, unit, |b, panel| {
                self.each_tile(b, unit, |b, tile, rows| {
                    self.tile_code(b, unit, scratch, block, panel, tile, rows, true);
                });
            });
        } else {
            self.each_tile(b, unit, |b, tile, rows| {
                b.for_loop(unit.panel_lo, unit.panel_hi, 1, &[], |b, panel, _| {
                    self.tile_code(b, unit, scratch, block, panel, tile, rows, false);
                    Vec::new()
                });
                self.tail_panel(b, unit, |b, panel| {
                    self.tile_code(b, unit, scratch, block, panel, tile, rows, true);
                });
            });
        }
    }

    /// Code for the narrow last panel, run by the units that own it.
    fn tail_panel(&self, b: &mut Builder, unit: &Unit, f: impl FnOnce(&mut Builder, Val)) {
        let width = self.width(b);
        if !self.n.is_multiple_of(width) {
            b.if_then(unit.has_tail, |b| {
                let panel = b.i64((self.n / width) as i64);
                f(b, panel);
            });
        }
    }

    /// Loops over the unit's row tiles of each height: `f(b, first row, rows)`.
    fn each_tile(&self, b: &mut Builder, unit: &Unit, f: impl Fn(&mut Builder, Val, usize)) {
        let split = self.rows();
        let one_block = self.tiles_per_unit >= split.n_tiles();
        let n_high = b.i64(split.n_high as i64);
        if split.n_high > 0 {
            let hi = if one_block { n_high } else { b.min(unit.tile_hi, n_high) };
            b.for_loop(unit.tile_lo, hi, 1, &[], |b, tile, _| {
                let row = b.mul_imm(tile, split.high as i64);
                f(b, row, split.high);
                Vec::new()
            });
        }
        if split.n_low > 0 {
            let lo = if one_block { n_high } else { b.max(unit.tile_lo, n_high) };
            b.for_loop(lo, unit.tile_hi, 1, &[], |b, tile, _| {
                // Row of tile t: n_high * high + (t - n_high) * (high - 1) = t * (high - 1) + n_high.
                let row = b.mul_imm(tile, split.high as i64 - 1);
                let row = b.add_imm(row, split.n_high as i64);
                f(b, row, split.high - 1);
                Vec::new()
            });
        }
    }

    fn tile_code(
        &self,
        b: &mut Builder,
        unit: &Unit,
        scratch: Option<Val>,
        block: &KBlock,
        panel: Val,
        row: Val,
        rows: usize,
        is_tail: bool,
    ) {
        let lanes = b.lanes_of(self.elem);
        let size = self.elem.size_bytes();
        let width = self.width(b);
        let cols = if is_tail { self.n % width } else { width };
        let (b_k, b_exact) = match self.b {
            BSource::Panels => (width * size, false),
            BSource::Rows { row_stride } => (row_stride * size, true),
            BSource::Scratch { .. } => (self.scratch_row_bytes(width), false),
        };
        let code = TileCode {
            elem: self.elem,
            rows,
            vecs: cols.div_ceil(lanes),
            last_lanes: (cols - 1) % lanes + 1,
            a_row: if self.a_packed { size } else { self.a_row * size },
            a_k: if self.a_packed { rows * size } else { self.a_k * size },
            per_line: usize::MAX,
            a_line: 0,
            b_k,
            b_exact,
            c_row: self.c_row * size,
        };
        let a = if self.a_packed {
            let at = b.index(unit.a, block.k0, (self.m * size) as i64);
            let before = b.mul(row, block.k_len);
            b.index(at, before, size as i64)
        } else {
            let at = b.index(unit.a, row, (self.a_row * size) as i64);
            b.index(at, block.k0, (self.a_k * size) as i64)
        };
        let bp = match (&self.b, scratch) {
            (BSource::Panels, _) => {
                let at = b.index(unit.b, panel, (self.k * width * size) as i64);
                b.index(at, block.k0, (width * size) as i64)
            }
            (BSource::Rows { row_stride }, _) => {
                let at = b.index(unit.b, panel, (width * size) as i64);
                b.index(at, block.k0, (row_stride * size) as i64)
            }
            (BSource::Scratch { .. }, base) => {
                let local = b.sub(panel, unit.panel_lo);
                b.index(base.unwrap_or(unit.b), local, (width * size) as i64)
            }
        };
        let c = b.index(unit.c, row, (self.c_row * size) as i64);
        let c = b.index(c, panel, (width * size) as i64);
        let operands = unit
            .operands
            .iter()
            .zip(&self.epilogue.operands)
            .map(|(&base, operand)| {
                let at = match operand.row_stride {
                    0 => base,
                    stride => b.index(base, row, (stride * size) as i64),
                };
                match operand.col_stride {
                    0 => at,
                    stride => b.index(at, panel, (width * stride * size) as i64),
                }
            })
            .collect();
        let place = TilePlace { c, operands };
        let init = match block.is_first {
            None => code.zeros(b),
            Some(first) => b.if_else(first, |b| code.zeros(b), |b| code.load(b, c)),
        };
        let sums = code.accumulate(b, a, bp, block.steps, init);
        match block.is_last {
            None => code.finish(b, &place, self.epilogue, &sums),
            Some(last) => {
                b.if_else(
                    last,
                    |b| {
                        code.finish(b, &place, self.epilogue, &sums);
                        Vec::new()
                    },
                    |b| {
                        code.store(b, c, &sums);
                        Vec::new()
                    },
                );
            }
        }
    }
}
