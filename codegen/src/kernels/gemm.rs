//! Matrix multiplication `C[m, n] = epilogue(A[m, k] B[k, n])`, batched, `f32`, `f64`, and `i32` that are pairs of 16-bit
//! numbers, with sums in `i32`.
//!
//! After Goto and van de Geijn ("Anatomy of High-Performance Matrix Multiplication", 2008), with these simplifications
//! that the measured numbers allow: A is read in place by broadcast loads; the tile's sums stay in registers over a whole
//! block of k; constant B is packed once, when the model is compiled, B made at run time by each unit of work.
//!
//! Buffers: A, B (packed by [`PackedRhs`] if constant), C, scratch, then the epilogue's operands.

use super::epilogue::Epilogue;
use super::gemm_block::{BSource, BatchAxis, Blocked, PackRequest};
use super::gemm_tile::{self, RowSplit, TileShape};
use super::{KernelPlan, has_products};
use crate::builder::{Builder, CmpOp, Elem, Target, Ty, Val};
use crate::error::CodegenError;

/// Part of the second-level cache (1 MiB on Zen 4, 1.25 to 2 MiB on Ice Lake and later) that one operand may fill.
pub(crate) const L2_BUDGET_BYTES: usize = 384 << 10;

/// A unit of work below this is not worth handing to another thread (about 5 microseconds at 128 bits).
pub(crate) const MIN_UNIT_FLOPS: usize = 300_000;

/// Units that a large problem is cut into: enough that an uneven split over a few threads wastes little.
pub(crate) const MAX_UNITS: usize = 32;

/// Fewer rows than this do not repay packing B at run time.
const MIN_ROWS_TO_PACK: usize = 12;

/// One batch axis, outermost first; strides in elements, 0 to share a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GemmBatch {
    /// Extent of the axis.
    pub len: usize,
    /// Stride of A.
    pub a: usize,
    /// Stride of B; for [`Rhs::Packed`] it counts packed matrices.
    pub b: usize,
    /// Stride of C.
    pub c: usize,
}

/// How B is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rhs {
    /// Constant, packed by the returned [`PackedRhs`].
    Packed,
    /// `B[k][n]` with `n` contiguous and `row_stride` elements between steps of k.
    RowMajor {
        /// At least `n`.
        row_stride: usize,
    },
    /// `B^T[n][k]` with `k` contiguous and `row_stride` elements between columns.
    Transposed {
        /// At least `k`.
        row_stride: usize,
    },
}

/// A matrix multiplication with concrete sizes.
#[derive(Clone, Debug)]
pub struct GemmDesc {
    /// `F32`, `F64`, or `I32` for pairs of 16-bit numbers: then `k` counts pairs.
    pub elem: Elem,
    /// Outermost first.
    pub batch: Vec<GemmBatch>,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Element stride between rows of A (1 for a transposed A).
    pub a_row_stride: usize,
    /// Element stride between steps of k of A (1 for a row-major A).
    pub a_k_stride: usize,
    pub rhs: Rhs,
    /// Element stride between rows of C; columns are contiguous.
    pub c_row_stride: usize,
    /// Its operands' `batch_strides` follow `batch`.
    pub epilogue: Epilogue,
}

impl GemmDesc {
    /// Dense row-major operands without batch.
    pub fn dense(m: usize, n: usize, k: usize, rhs: Rhs) -> GemmDesc {
        GemmDesc {
            elem: Elem::F32,
            batch: Vec::new(),
            m,
            n,
            k,
            a_row_stride: k,
            a_k_stride: 1,
            rhs,
            c_row_stride: n,
            epilogue: Epilogue::none(),
        }
    }
}

/// The layout of a constant B: `[panel of width columns][k][width]`, the last panel padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedRhs {
    /// Columns per panel.
    pub width: usize,
    /// Columns of B.
    pub n: usize,
    /// Rows of B.
    pub k: usize,
}

impl PackedRhs {
    /// Elements of one packed matrix.
    pub fn len_elems(&self) -> usize {
        self.n.div_ceil(self.width) * self.width * self.k
    }

    /// Packs one matrix whose element `(kk, j)` is `src[kk * k_stride + j * n_stride]`.
    ///
    /// # Errors
    /// If `src` is too short for the strides or `dst` is not [`PackedRhs::len_elems`] long.
    pub fn pack<T: Copy + Default>(
        &self,
        src: &[T],
        k_stride: usize,
        n_stride: usize,
        dst: &mut [T],
    ) -> Result<(), CodegenError> {
        self.pack_reporting(src, k_stride, n_stride, dst, &mut |_| {})
    }

    /// As [`PackedRhs::pack`]; `done` hears, as it goes, how many leading elements of `src` will not be read again.
    ///
    /// # Errors
    /// As [`PackedRhs::pack`].
    pub fn pack_reporting<T: Copy + Default>(
        &self,
        src: &[T],
        k_stride: usize,
        n_stride: usize,
        dst: &mut [T],
        done: &mut dyn FnMut(usize),
    ) -> Result<(), CodegenError> {
        /// Rows of B that are packed together, so that they are read in the order in which they lie.
        const ROWS: usize = 32;
        let needed = match (self.k, self.n) {
            (0, _) | (_, 0) => 0,
            (k, n) => (k - 1) * k_stride + (n - 1) * n_stride + 1,
        };
        if src.len() < needed || dst.len() != self.len_elems() {
            let text = format!("packing {self:?} from {} into {} elements", src.len(), dst.len());
            return Err(CodegenError::Invalid(text));
        }
        let columns_first = n_stride > k_stride;
        let n_panels = self.n.div_ceil(self.width);
        let rows = if columns_first { self.k.max(1) } else { ROWS };
        for k0 in (0..self.k).step_by(rows) {
            let k_end = (k0 + rows).min(self.k);
            for panel in 0..n_panels {
                let cols = self.width.min(self.n - panel * self.width);
                let at = (panel * self.k + k0) * self.width;
                let packed = dst[at..at + (k_end - k0) * self.width].chunks_exact_mut(self.width);
                for (kk, row) in (k0..k_end).zip(packed) {
                    let from = &src[kk * k_stride + panel * self.width * n_stride..];
                    if n_stride == 1 {
                        row[..cols].copy_from_slice(&from[..cols]);
                    } else {
                        for (j, to) in row[..cols].iter_mut().enumerate() {
                            *to = from[j * n_stride];
                        }
                    }
                    row[cols..].fill(T::default());
                }
                if columns_first {
                    done((panel * self.width + cols) * n_stride);
                }
            }
            if !columns_first {
                done(k_end * k_stride);
            }
        }
        Ok(())
    }
}

/// What [`plan`] returns.
#[derive(Clone, Debug)]
pub struct GemmPlan {
    pub plan: KernelPlan,
    /// For [`Rhs::Packed`]: how to make the second buffer.
    pub packed: Option<PackedRhs>,
}

/// Makes the kernel for a multiplication.
pub fn plan(desc: &GemmDesc, target: Target) -> Result<GemmPlan, CodegenError> {
    if !has_products(desc.elem) {
        return Err(CodegenError::Unsupported(format!("GEMM of {:?}", desc.elem)));
    }
    for (i, operand) in desc.epilogue.operands.iter().enumerate() {
        if operand.col_stride > 1 || operand.batch_strides.len() != desc.batch.len() {
            let text = format!("epilogue operand {i}: {operand:?} for {} batch axes", desc.batch.len());
            return Err(CodegenError::Invalid(text));
        }
    }
    let (desc, mut batch) = merge_batch_into_rows(desc);
    let (m, n, k, elem) = (desc.m, desc.n, desc.k, desc.elem);
    let lanes = target.lanes * 4 / elem.size_bytes();
    let tile = match desc.rhs {
        Rhs::Packed => gemm_tile::choose_for_constant(m, n, elem, target),
        _ => gemm_tile::choose(m, n, elem, target),
    };
    let width = tile.vecs * lanes;
    let packed = PackedRhs { width, n, k };
    let pack = |b: &mut Builder, r: &PackRequest| {
        match desc.rhs {
            Rhs::RowMajor { row_stride } => copy_rows(b, elem, row_stride, r),
            Rhs::Transposed { row_stride } => transpose_rows(b, elem, row_stride, r),
            Rhs::Packed => {}
        }
        r.dst
    };
    let (source, panels_outer) = match desc.rhs {
        Rhs::Packed => {
            for axis in &mut batch {
                axis.b *= packed.len_elems();
            }
            (BSource::Panels, true)
        }
        Rhs::RowMajor { row_stride } if m < MIN_ROWS_TO_PACK => (BSource::Rows { row_stride }, true),
        _ => (BSource::Scratch { pack: &pack, row_cols: 0 }, false),
    };
    let shape = UnitShape::choose(&desc, &batch, tile, width, matches!(source, BSource::Scratch { .. }));
    let blocked = Blocked {
        elem,
        m,
        n,
        k,
        tile,
        batch,
        a_row: desc.a_row_stride,
        a_k: desc.a_k_stride,
        a_packed: false,
        b: source,
        c_row: desc.c_row_stride,
        k_block: shape.k_block,
        tiles_per_unit: shape.tiles,
        panels_per_unit: shape.panels,
        panels_outer,
        a_is_rhs: false,
        epilogue: &desc.epilogue,
    };
    let plan = blocked.plan(format!("gemm_{m}x{n}x{k}"), target)?;
    Ok(GemmPlan { plan, packed: matches!(desc.rhs, Rhs::Packed).then_some(packed) })
}

impl Blocked<'_> {
    /// Records the kernel and states what it needs.
    pub(crate) fn plan(&self, name: String, target: Target) -> Result<KernelPlan, CodegenError> {
        let mut b = Builder::new(name, target);
        b.keep_order();
        self.emit(&mut b);
        let lanes = b.lanes_of(self.elem);
        let batch: usize = self.batch.iter().map(|axis| axis.len).product();
        let products = if self.elem == Elem::I32 { 4 } else { 2 };
        Ok(KernelPlan {
            kernel: b.finish()?,
            scratch_len_bytes: self.scratch_len_bytes(lanes),
            parallel_extent: self.extent(lanes),
            flops: products * (batch * self.m * self.n) as u64 * self.k as u64,
            partial_sums_in_output: self.has_partial_sums(),
        })
    }
}

/// Treats a batch axis that shares B as more rows, where the strides allow it: `[b, s, k] x [k, n]` has `b * s` rows.
fn merge_batch_into_rows(desc: &GemmDesc) -> (GemmDesc, Vec<BatchAxis>) {
    let mut desc = desc.clone();
    desc.batch.iter_mut().filter(|axis| axis.len == 1).for_each(|axis| (axis.a, axis.b, axis.c) = (0, 0, 0));
    while let Some(axis) = desc.batch.last().copied() {
        let dense = axis.a == desc.m * desc.a_row_stride && axis.c == desc.m * desc.c_row_stride;
        let operands_follow = desc
            .epilogue
            .operands
            .iter()
            .all(|operand| operand.batch_strides.last().copied().unwrap_or(0) == desc.m * operand.row_stride);
        if !(axis.len == 1 || (axis.b == 0 && dense && operands_follow)) {
            break;
        }
        desc.m *= axis.len;
        desc.batch.pop();
        for operand in &mut desc.epilogue.operands {
            operand.batch_strides.pop();
        }
    }
    let batch = desc.batch.iter().map(|g| BatchAxis { len: g.len, a: g.a, b: g.b, c: g.c }).collect();
    (desc, batch)
}

/// Block sizes of one unit of work.
struct UnitShape {
    k_block: usize,
    tiles: usize,
    panels: usize,
}

impl UnitShape {
    fn choose(desc: &GemmDesc, batch: &[BatchAxis], tile: TileShape, width: usize, scratch: bool) -> UnitShape {
        let size = desc.elem.size_bytes();
        let (m, n, k) = (desc.m.max(1), desc.n.max(1), desc.k.max(1));
        let n_batch: usize = batch.iter().map(|axis| axis.len).product();
        let n_tiles = RowSplit::new(m, tile.rows).n_tiles();
        let n_panels = n.div_ceil(width);
        let k_block = k_block(k, if scratch { 256 } else { 2048 });
        let flops = (2 * n_batch * m * n).saturating_mul(k);
        let wanted_units = (flops / MIN_UNIT_FLOPS).clamp(1, MAX_UNITS).div_ceil(n_batch.max(1));
        // Scratch holds one block of k of the unit's columns; packed B keeps the unit's rows of A in cache instead.
        let max_panels = if scratch { (L2_BUDGET_BYTES / (k_block * width * size)).max(1) } else { n_panels };
        let max_tiles = if scratch { n_tiles } else { (L2_BUDGET_BYTES / (k_block * tile.rows * size)).max(8) };
        let groups = n_panels.div_ceil(max_panels).max(wanted_units.min(n_panels)).max(1);
        let blocks = n_tiles.div_ceil(max_tiles).max(wanted_units.div_ceil(groups).min(n_tiles)).max(1);
        UnitShape { k_block, tiles: n_tiles.div_ceil(blocks).max(1), panels: n_panels.div_ceil(groups).max(1) }
    }
}

/// The smallest number of equal blocks of k of at most `most` steps, as a multiple of the inner loop's unrolling.
pub(crate) fn k_block(k: usize, most: usize) -> usize {
    let blocks = k.div_ceil(most).max(1);
    k.div_ceil(blocks).next_multiple_of(gemm_tile::UNROLL)
}

/// Packs `B[k][n]` by copying rows.
pub(crate) fn copy_rows(b: &mut Builder, elem: Elem, row_stride: usize, r: &PackRequest) {
    let size = elem.size_bytes() as i64;
    let src = b.index(r.src, r.k0, row_stride as i64 * size);
    let src = b.index(src, r.col0, size);
    let zero = b.i64(0);
    b.for_loop(zero, r.k_len, 1, &[src, r.dst], |b, _, row| {
        copy_row(b, elem, row[0], row[1], r.n_cols);
        vec![b.add_imm(row[0], row_stride as i64 * size), b.add_imm(row[1], r.row_bytes as i64)]
    });
}

/// Copies `n` contiguous elements; writes whole vectors, reads exactly.
pub(crate) fn copy_row(b: &mut Builder, elem: Elem, src: Val, dst: Val, n: Val) {
    let lanes = b.lanes_of(elem);
    let vec_bytes = (lanes * elem.size_bytes()) as i64;
    let ty = Ty::V(elem);
    let (zero, one) = (b.i64(0), b.i64(1));
    let lane_count = b.i64(lanes as i64);
    let n_vecs = b.bin(crate::builder::BinOp::DivU, n, lane_count);
    let three = b.i64(!3);
    let n_quads = b.and(n_vecs, three);
    let copy = |unroll: i64| {
        move |b: &mut Builder, _: Val, c: &[Val]| {
            let values: Vec<Val> = (0..unroll).map(|u| b.load(ty, c[0], (u * vec_bytes) as i32)).collect();
            for (u, v) in values.into_iter().enumerate() {
                b.store(c[1], (u as i64 * vec_bytes) as i32, v);
            }
            vec![b.add_imm(c[0], unroll * vec_bytes), b.add_imm(c[1], unroll * vec_bytes)]
        }
    };
    let c = b.for_loop(zero, n_quads, 4, &[src, dst], copy(4));
    let c = b.for_loop(n_quads, n_vecs, 1, &c, copy(1));
    let done = b.mul_imm(n_vecs, lanes as i64);
    let rest = b.sub(n, done);
    let any = b.cmp(CmpOp::Ge, rest, one);
    b.if_then(any, |b| {
        let v = b.load_n(elem, c[0], 0, rest);
        b.store(c[1], 0, v);
    });
}

/// Packs `B^T[n][k]` in squares of `lanes` columns by `lanes` steps, transposed in registers; rests by single elements.
fn transpose_rows(b: &mut Builder, elem: Elem, row_stride: usize, r: &PackRequest) {
    let size = elem.size_bytes() as i64;
    let lanes = b.lanes_of(elem);
    let (col_bytes, row_bytes) = (row_stride as i64 * size, r.row_bytes as i64);
    let src = b.index(r.src, r.col0, col_bytes);
    let src = b.index(src, r.k0, size);
    let zero = b.i64(0);
    let lane_mask = b.i64(!(lanes as i64 - 1));
    let (k_main, n_main) = (b.and(r.k_len, lane_mask), b.and(r.n_cols, lane_mask));
    let single = |b: &mut Builder, src: Val, dst: Val, k_lo: Val| {
        let (from, to) = (b.index(src, k_lo, size), b.index(dst, k_lo, row_bytes));
        b.for_loop(k_lo, r.k_len, 1, &[from, to], |b, _, c| {
            let v = b.load(Ty::S(elem), c[0], 0);
            b.store(c[1], 0, v);
            vec![b.add_imm(c[0], size), b.add_imm(c[1], row_bytes)]
        });
    };
    let n_lanes = lanes as i64;
    let c = b.for_loop(zero, n_main, n_lanes, &[src, r.dst], |b, _, at| {
        b.for_loop(zero, k_main, n_lanes, at, |b, _, c| {
            let offs: Vec<i32> = (0..n_lanes).map(|i| i32::try_from(i * col_bytes).unwrap_or(i32::MAX)).collect();
            if offs.contains(&i32::MAX) {
                b.fail(format!("{col_bytes} bytes between columns of a transposed operand"));
            }
            let square: Vec<Val> = offs.iter().map(|&off| b.load(Ty::V(elem), c[0], off)).collect();
            for (i, v) in transpose(b, square).into_iter().enumerate() {
                b.store(c[1], (i as i64 * row_bytes) as i32, v);
            }
            vec![b.add_imm(c[0], n_lanes * size), b.add_imm(c[1], n_lanes * row_bytes)]
        });
        for i in 0..n_lanes {
            let (src, dst) = (b.add_imm(at[0], i * col_bytes), b.add_imm(at[1], i * size));
            single(b, src, dst, k_main);
        }
        vec![b.add_imm(at[0], n_lanes * col_bytes), b.add_imm(at[1], n_lanes * size)]
    });
    b.for_loop(n_main, r.n_cols, 1, &c, |b, _, at| {
        single(b, at[0], at[1], zero);
        vec![b.add_imm(at[0], col_bytes), b.add_imm(at[1], size)]
    });
}

/// Transposes a square of `lanes` vectors by repeated interleaving (a rotation of the index bits).
pub(crate) fn transpose(b: &mut Builder, square: Vec<Val>) -> Vec<Val> {
    let n = square.len();
    let low: Vec<usize> = (0..n).map(|i| i / 2 + if i % 2 == 1 { n } else { 0 }).collect();
    let high: Vec<usize> = low.iter().map(|&i| i + n / 2).collect();
    let mut rows = square;
    let mut stages = n.trailing_zeros();
    while stages > 0 {
        let mut next = Vec::with_capacity(n);
        for i in 0..n / 2 {
            next.push(b.shuffle(rows[i], rows[i + n / 2], &low));
            next.push(b.shuffle(rows[i], rows[i + n / 2], &high));
        }
        rows = next;
        stages -= 1;
    }
    rows
}

#[cfg(test)]
#[path = "gemm_tests.rs"]
mod tests;
