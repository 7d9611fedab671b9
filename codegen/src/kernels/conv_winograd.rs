//! Convolution by Winograd's minimal filtering, F(2x2, 3x3) and F(4x4, 3x3): 2.25 and 4 times fewer multiplications; in plain
//! layout, for vectors of 128 bits. Wide ones have channels as lanes ([`super::conv_last_winograd`]).
//!
//! After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015). Sums are reassociated; F(2x2) errs
//! about as much as the direct form, F(4x4) about ten times as much (its matrices hold numbers up to 8 and 1/24), which is
//! why the caller chooses.
//!
//! A unit of work is some rows of output tiles of one image and group. It copies each channel into a zero-bordered plane,
//! transforms a vector of tiles at a time (a lane each) into scratch `[point][channel][tile]`, multiplies for a few output
//! channels at a time `[channel][point][tile]`, and transforms those back, still in cache, through a plane from which the
//! epilogue writes whole rows.

use super::conv::{ConvDesc, Weight};
use super::gemm::{L2_BUDGET_BYTES, MAX_UNITS, MIN_UNIT_FLOPS};
use super::gemm_tile::{self, RowSplit, Steps, TileCode, TileShape};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, BUF_SCRATCH, KernelPlan};
use crate::builder::{BinOp, Builder, CmpOp, Elem, Target, Ty, Val};
use crate::error::CodegenError;

/// Lanes: elements of a row of a patch that are read at once, tiles that are transformed together.
const QUAD: usize = 4;

const BYTES: i64 = 4;

/// Units below which the output channels are cut too.
const MIN_UNITS: usize = 4;

/// The matrices of one tile size.
pub(super) struct Matrices {
    /// Output tile.
    pub(super) m: usize,
    /// Points in one direction, `m + 2`: rows of `bt`, `g`, columns of `at`.
    pub(super) points: usize,
    /// `[points][points]`.
    pub(super) bt: &'static [f32],
    /// `[points][3]`.
    pub(super) g: &'static [f32],
    /// `[m][points]`.
    pub(super) at: &'static [f32],
}

/// Lavin and Gray, section 4.1: points 0, 1, -1, infinity.
const F2: Matrices = Matrices {
    m: 2,
    points: 4,
    bt: &[1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 1.0, 0.0, -1.0],
    g: &[1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0],
    at: &[1.0, 1.0, 1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
};

/// Lavin and Gray, section 4.3: points 0, 1, -1, 2, -2, infinity.
const F4: Matrices = Matrices {
    m: 4,
    points: 6,
    bt: &[
        4.0, 0.0, -5.0, 0.0, 1.0, 0.0, //
        0.0, -4.0, -4.0, 1.0, 1.0, 0.0, //
        0.0, 4.0, -4.0, -1.0, 1.0, 0.0, //
        0.0, -2.0, -1.0, 2.0, 1.0, 0.0, //
        0.0, 2.0, -1.0, -2.0, 1.0, 0.0, //
        0.0, 4.0, 0.0, -5.0, 0.0, 1.0,
    ],
    g: &[
        1.0 / 4.0,
        0.0,
        0.0,
        -1.0 / 6.0,
        -1.0 / 6.0,
        -1.0 / 6.0,
        -1.0 / 6.0,
        1.0 / 6.0,
        -1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 12.0,
        1.0 / 6.0,
        1.0 / 24.0,
        -1.0 / 12.0,
        1.0 / 6.0,
        0.0,
        0.0,
        1.0,
    ],
    at: &[
        1.0, 1.0, 1.0, 1.0, 1.0, 0.0, //
        0.0, 1.0, -1.0, 2.0, -2.0, 0.0, //
        0.0, 1.0, 1.0, 4.0, 4.0, 0.0, //
        0.0, 1.0, -1.0, 8.0, -8.0, 1.0,
    ],
};

pub(super) fn matrices(m: usize) -> Option<&'static Matrices> {
    match m {
        2 => Some(&F2),
        4 => Some(&F4),
        _ => None,
    }
}

/// Whether this form exists for a convolution.
pub(crate) fn applies(desc: &ConvDesc) -> bool {
    let [d, h, w] = desc.axes3();
    let plain =
        |kernel: usize, axis: super::conv::ConvAxis| axis.kernel == kernel && axis.stride == 1 && axis.dilation == 1;
    desc.elem == Elem::F32
        && desc.constant_weights
        && d.input == 1
        && d.output == 1
        && plain(1, d)
        && plain(3, h)
        && plain(3, w)
        && desc.in_channels > 0
        && desc.out_channels > 0
        && desc.output_len() > 0
}

/// Transformed weights, `[group][row tile][point][channel][row]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WinogradWeights {
    /// Output tile, 2 or 4.
    tile: usize,
    groups: usize,
    /// Output and input channels of a group.
    m: usize,
    c: usize,
    split: RowSplit,
}

impl WinogradWeights {
    pub(crate) fn len_elems(&self) -> usize {
        let points = self.tile + 2;
        self.groups * self.m * self.c * points * points
    }

    /// Elements before packing.
    pub(crate) fn src_len_elems(&self) -> usize {
        self.groups * self.m * self.c * 9
    }

    /// `src` is `[groups * m][c][3][3]`; lengths are checked by the caller. Computed in f64, rounded once.
    pub(crate) fn pack<T: Weight>(&self, src: &[T], dst: &mut [T]) {
        match self.tile {
            2 => self.pack_points::<4, T>(F2.g, src, dst),
            4 => self.pack_points::<6, T>(F4.g, src, dst),
            _ => {}
        }
    }

    fn pack_points<const P: usize, T: Weight>(&self, g: &[f32], src: &[T], dst: &mut [T]) {
        let mat = widened::<P>(g);
        let mut at = 0;
        for group in 0..self.groups {
            let mut row = 0;
            for tile in 0..self.split.n_tiles() {
                let rows = if tile < self.split.n_high { self.split.high } else { self.split.high - 1 };
                let len = rows * self.c;
                let out = &mut dst[at..at + len * P * P];
                for i in 0..rows {
                    let taps = &src[(group * self.m + row + i) * self.c * 9..][..self.c * 9];
                    for (c, taps) in taps.as_chunks::<9>().0.iter().enumerate() {
                        let points = at_points(&mat, &taps.map(|t| f64::from(t.number())));
                        for (point, &w) in points.as_flattened().iter().enumerate() {
                            out[point * len + c * rows + i] = T::of(w as f32);
                        }
                    }
                }
                at += out.len();
                row += rows;
            }
        }
    }
}

/// The matrix of the weights in `f64`.
pub(super) fn widened<const P: usize>(g: &[f32]) -> [[f64; 3]; P] {
    let mut mat = [[0.0f64; 3]; P];
    for (row, g) in mat.iter_mut().zip(g.as_chunks::<3>().0) {
        *row = g.map(f64::from);
    }
    mat
}

/// A kernel's weights at all points.
pub(super) fn at_points<const P: usize>(g: &[[f64; 3]; P], taps: &[f64; 9]) -> [[f64; P]; P] {
    let mut points = [[0.0; P]; P];
    for (gy, line) in g.iter().zip(&mut points) {
        let t: [f64; 3] = std::array::from_fn(|k| gy[0] * taps[k] + gy[1] * taps[3 + k] + gy[2] * taps[6 + k]);
        for (gx, point) in g.iter().zip(line) {
            *point = gx[0] * t[0] + gx[1] * t[1] + gx[2] * t[2];
        }
    }
    points
}

/// Sizes of one kernel.
struct Shape {
    mat: &'static Matrices,
    /// Channels of a group.
    c: usize,
    m: usize,
    tile: TileShape,
    split: RowSplit,
    /// Output tiles of the image.
    tiles_y: usize,
    tiles_x: usize,
    /// Rows of tiles per unit.
    unit_rows: usize,
    /// Parts of the output channels that are units of their own (each transforms the patches anew).
    channel_parts: usize,
    /// Tiles of a unit, padded to whole panels.
    n_tiles: usize,
    /// Tiles of a vector.
    lanes: usize,
    /// Floats between rows of the planes.
    in_pitch: usize,
    out_pitch: usize,
}

impl Shape {
    fn new(desc: &ConvDesc, mat: &'static Matrices, target: Target) -> Shape {
        let [_, h, w] = desc.axes3();
        let (c, m) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
        let (tiles_y, tiles_x) = (h.output.div_ceil(mat.m), w.output.div_ceil(mat.m));
        let n_points = mat.points * mat.points;
        let max_tiles = (L2_BUDGET_BYTES * 5 / 4 / (n_points * c * BYTES as usize)).max(1);
        let n_batch = (desc.n * desc.groups).max(1);
        let flops = 2 * n_batch * m * c * desc.output_len() * 9;
        let units = (flops / MIN_UNIT_FLOPS / 4).clamp(1, MAX_UNITS).div_ceil(n_batch);
        let blocks = tiles_y.div_ceil((max_tiles / tiles_x).max(1)).max(units.min(tiles_y.div_ceil(2)));
        let unit_rows = tiles_y.div_ceil(blocks);
        // A small image of many channels gives few units; transforming it twice costs a few hundredths of its products.
        let few = tiles_y.div_ceil(unit_rows) * n_batch < MIN_UNITS && flops > MIN_UNITS * MIN_UNIT_FLOPS * 10;
        let channel_parts = if few && m >= 128 { 2 } else { 1 };
        let tile = gemm_tile::choose(m, unit_rows * tiles_x, Elem::F32, target);
        let n_tiles = (unit_rows * tiles_x).next_multiple_of(tile.vecs * target.lanes);
        Shape {
            mat,
            c,
            m,
            tile,
            split: RowSplit::new(m, tile.rows),
            tiles_y,
            tiles_x,
            unit_rows,
            channel_parts,
            n_tiles,
            lanes: target.lanes,
            // The patch of the last tile, read in vectors of four, and all of the image behind its pad.
            in_pitch: (tiles_x * mat.m + 8).max(w.pad_begin + w.input).next_multiple_of(4),
            out_pitch: tiles_x * mat.m + 4,
        }
    }

    fn n_points(&self) -> usize {
        self.mat.points * self.mat.points
    }

    /// Floats of the input plane; the same memory serves as the output plane.
    fn plane_len(&self) -> usize {
        let rows = self.unit_rows * self.mat.m + 2;
        rows * self.in_pitch.max(self.out_pitch) + 16
    }

    /// Transformed input: an odd number of cache lines between channels.
    fn channel_bytes(&self) -> i64 {
        (self.n_tiles * BYTES as usize).div_ceil(64) as i64 / 2 * 128 + 64
    }

    fn input_bytes(&self) -> i64 {
        self.channel_bytes() * (self.n_points() * self.c) as i64
    }

    /// Products of one output channel.
    fn product_bytes(&self) -> i64 {
        (self.n_points() * self.n_tiles) as i64 * BYTES
    }

    fn scratch_len_bytes(&self) -> usize {
        self.plane_len() * BYTES as usize
            + self.input_bytes() as usize
            + self.product_bytes() as usize * self.split.high
    }

    fn unit_blocks(&self) -> usize {
        self.tiles_y.div_ceil(self.unit_rows)
    }
}

/// Makes the kernel with output tiles of `tile` by `tile` (2 or 4); `desc` must satisfy [`applies`].
pub(crate) fn plan(
    desc: &ConvDesc,
    tile: usize,
    target: Target,
) -> Result<(KernelPlan, WinogradWeights), CodegenError> {
    if target.lanes != QUAD {
        return Err(CodegenError::Unsupported(format!("Winograd's form of {} tiles at once", target.lanes)));
    }
    let mat = matrices(tile).ok_or_else(|| CodegenError::Unsupported(format!("Winograd tiles of {tile}")))?;
    let shape = Shape::new(desc, mat, target);
    let name = format!("winograd{tile}_{}x{}x{}", desc.out_channels, desc.in_channels, desc.output_len());
    let mut b = Builder::new(name, target);
    b.keep_order();
    record(&mut b, desc, &shape);
    let kernel = b.finish()?;
    let weights = WinogradWeights { tile, groups: desc.groups, m: shape.m, c: shape.c, split: shape.split };
    let plan = KernelPlan {
        kernel,
        scratch_len_bytes: shape.scratch_len_bytes(),
        parallel_extent: desc.n * desc.groups * shape.unit_blocks() * shape.channel_parts,
        flops: 2 * (desc.n * desc.out_channels * desc.output_len()) as u64 * (shape.c * 9) as u64,
        partial_sums_in_output: false,
    };
    Ok((plan, weights))
}

fn div_rem(b: &mut Builder, v: Val, n: usize) -> (Val, Val) {
    if n == 1 {
        return (v, b.i64(0));
    }
    let n = b.i64(n as i64);
    (b.bin(BinOp::DivU, v, n), b.bin(BinOp::RemU, v, n))
}

fn record(b: &mut Builder, desc: &ConvDesc, s: &Shape) {
    let (image, weights, out) = (b.buf(BUF_LHS), b.buf(BUF_RHS), b.buf(BUF_OUT));
    let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
    let plane = b.buf(BUF_SCRATCH);
    let spectrum = b.add_imm(plane, s.plane_len() as i64 * BYTES);
    let products = b.add_imm(spectrum, s.input_bytes());
    let (lo, hi) = (b.begin(), b.end());
    b.for_loop(lo, hi, 1, &[], |b, unit, _| {
        let (unit, part) = div_rem(b, unit, s.channel_parts);
        let (batch, block) = div_rem(b, unit, s.unit_blocks());
        let (img, group) = div_rem(b, batch, desc.groups);
        let row0 = b.mul_imm(block, s.unit_rows as i64);
        let (left, most) = (b.i64(s.tiles_y as i64), b.i64(s.unit_rows as i64));
        let left = b.sub(left, row0);
        let rows = b.min(left, most);
        let image_bytes = desc.image_len() as i64 * BYTES;
        let src = b.index(image, batch, s.c as i64 * image_bytes);
        transform_input(b, desc, s, src, plane, spectrum, row0, rows);
        let group_weights = (s.n_points() * s.c * s.m) as i64 * BYTES;
        let w = b.index(weights, group, group_weights);
        let to = b.index(out, batch, (s.m * desc.output_len()) as i64 * BYTES);
        let operands: Vec<Val> = operands
            .iter()
            .zip(&desc.epilogue.operands)
            .map(|(&base, operand)| {
                let at = b.index(base, img, operand.batch_strides[0] as i64 * BYTES);
                b.index(at, group, operand.batch_strides[1] as i64 * BYTES)
            })
            .collect();
        let per_part = s.split.n_tiles().div_ceil(s.channel_parts);
        let (n_high, n_all) = (b.i64(s.split.n_high as i64), b.i64(s.split.n_tiles() as i64));
        let tile_lo = b.mul_imm(part, per_part as i64);
        let tile_hi = b.add_imm(tile_lo, per_part as i64);
        let tile_hi = b.min(tile_hi, n_all);
        let place = Place { plane, spectrum, products, out: to, operands, row0, rows };
        let high_end = b.min(tile_hi, n_high);
        b.for_loop(tile_lo, high_end, 1, &[], |b, tile, _| {
            let row = b.mul_imm(tile, s.split.high as i64);
            channels(b, desc, s, &place, w, row, s.split.high);
            Vec::new()
        });
        if s.split.n_low > 0 {
            let low_begin = b.max(tile_lo, n_high);
            b.for_loop(low_begin, tile_hi, 1, &[], |b, tile, _| {
                let row = b.mul_imm(tile, s.split.high as i64 - 1);
                let row = b.add_imm(row, s.split.n_high as i64);
                channels(b, desc, s, &place, w, row, s.split.high - 1);
                Vec::new()
            });
        }
        Vec::new()
    });
}

/// Addresses of one unit.
struct Place {
    plane: Val,
    spectrum: Val,
    products: Val,
    out: Val,
    operands: Vec<Val>,
    /// First row of tiles and number of rows.
    row0: Val,
    rows: Val,
}

/// All channels of the unit's patches to `[point][channel][tile]`.
fn transform_input(
    b: &mut Builder,
    desc: &ConvDesc,
    s: &Shape,
    src: Val,
    plane: Val,
    spectrum: Val,
    row0: Val,
    rows: Val,
) {
    let [_, h, _] = desc.axes3();
    let (zero, n_channels) = (b.i64(0), b.i64(s.c as i64));
    let n_tiles = b.mul_imm(rows, s.tiles_x as i64);
    let first = b.mul_imm(row0, s.mat.m as i64);
    let first = b.add_imm(first, -(h.pad_begin as i64));
    let plane_rows = b.mul_imm(rows, s.mat.m as i64);
    let plane_rows = b.add_imm(plane_rows, 2);
    let image_bytes = desc.image_len() as i64 * BYTES;
    b.for_loop(zero, n_channels, 1, &[src, spectrum], |b, _, c| {
        fill_plane(b, desc, s, c[0], plane, first, plane_rows);
        b.for_loop(zero, n_tiles, s.lanes as i64, &[c[1]], |b, t, at| {
            patches(b, s, plane, t, n_tiles, at[0]);
            vec![b.add_imm(at[0], s.lanes as i64 * BYTES)]
        });
        vec![b.add_imm(c[0], image_bytes), b.add_imm(c[1], s.channel_bytes())]
    });
}

/// Rows `first ..` of one channel, zeros where the image ends.
fn fill_plane(b: &mut Builder, desc: &ConvDesc, s: &Shape, src: Val, plane: Val, first: Val, rows: Val) {
    let [_, h, w] = desc.axes3();
    let (zero, height, width) = (b.i64(0), b.i64(h.input as i64), b.i64(w.input as i64));
    let pitch = s.in_pitch as i64 * BYTES;
    b.for_loop(zero, rows, 1, &[plane], |b, row, at| {
        let y = b.add(first, row);
        let inside = b.cmp(CmpOp::LtU, y, height);
        super::conv::fill_zero(b, Elem::F32, at[0], 0, s.in_pitch);
        b.if_then(inside, |b| {
            let line = b.index(src, y, w.input as i64 * BYTES);
            let to = b.add_imm(at[0], w.pad_begin as i64 * BYTES);
            copy_exact(b, line, to, width);
        });
        vec![b.add_imm(at[0], pitch)]
    });
}

/// Copies `n` floats, writing no more.
fn copy_exact(b: &mut Builder, from: Val, to: Val, n: Val) {
    let lanes = b.lanes() as i64;
    let (zero, mask) = (b.i64(0), b.i64(!(lanes - 1)));
    let main = b.and(n, mask);
    let c = b.for_loop(zero, main, lanes, &[from, to], |b, _, c| {
        let v = b.load(Ty::V(Elem::F32), c[0], 0);
        b.store(c[1], 0, v);
        vec![b.add_imm(c[0], lanes * BYTES), b.add_imm(c[1], lanes * BYTES)]
    });
    b.for_loop(main, n, 1, &c, |b, _, c| {
        let v = b.load(Ty::S(Elem::F32), c[0], 0);
        b.store(c[1], 0, v);
        vec![b.add_imm(c[0], BYTES), b.add_imm(c[1], BYTES)]
    });
}

/// `matrix * values`, leaving out zeros; rows of `matrix` are as long as `values`. Two rows, and two columns, that differ in
/// signs alone share their sums.
pub(super) fn combine(b: &mut Builder, matrix: &[f32], values: &[Val]) -> Vec<Val> {
    let mut rows: Vec<Vec<(f32, Val)>> = matrix
        .chunks_exact(values.len())
        .map(|row| row.iter().copied().zip(values.iter().copied()).collect())
        .collect();
    let alike = |a: f32, b: f32| a == b || a == -b;
    let mut column = 0;
    while column + 1 < values.len() {
        let shared = rows.iter().filter(|row| row[column].0 != 0.0).count() > 2
            && rows.iter().all(|row| alike(row[column].0, row[column + 1].0));
        if shared {
            let (v, w) = (values[column], values[column + 1]);
            let (sum, difference) = (b.add(v, w), b.sub(v, w));
            for row in &mut rows {
                let same = row[column].0 == row[column + 1].0;
                row[column].1 = if same { sum } else { difference };
                row[column + 1].0 = 0.0;
            }
            column += 1;
        }
        column += 1;
    }
    let mut out: Vec<Val> = Vec::new();
    while out.len() < rows.len() {
        let (row, next) = (&rows[out.len()], rows.get(out.len() + 1));
        let pair = next.filter(|next| row.iter().zip(*next).all(|(x, y)| alike(x.0, y.0)));
        let terms = |same: bool| {
            let of_pair = row.iter().zip(pair.unwrap_or(row)).filter(|(x, y)| x.0 != 0.0 && (x.0 == y.0) == same);
            of_pair.map(|(x, _)| *x).collect::<Vec<_>>()
        };
        let (even, odd) = (terms(true), terms(false));
        if odd.is_empty() || even.is_empty() {
            let all: Vec<(f32, Val)> = row.iter().copied().filter(|t| t.0 != 0.0).collect();
            out.push(linear(b, all));
        } else {
            let (even, odd) = (linear(b, even), linear(b, odd));
            out.push(b.add(even, odd));
            out.push(b.sub(even, odd));
        }
    }
    out
}

/// The sum of products of numbers that are not 0.
fn linear(b: &mut Builder, mut terms: Vec<(f32, Val)>) -> Val {
    // A term with factor 1 first saves a multiplication.
    terms.sort_by_key(|t| t.0 != 1.0);
    let mut sum: Option<Val> = None;
    for (factor, v) in terms {
        sum = Some(match (sum, factor) {
            (None, 1.0) => v,
            (None, _) => {
                let k = b.vf32(factor);
                b.mul(v, k)
            }
            (Some(s), 1.0) => b.add(s, v),
            (Some(s), -1.0) => b.sub(s, v),
            (Some(s), _) => {
                let k = b.vf32(factor);
                b.fma(v, k, s)
            }
        });
    }
    sum.unwrap_or_else(|| b.vf32(0.0))
}

/// Four vectors of four lanes, transposed.
fn transpose_quads(b: &mut Builder, rows: &[Val]) -> Vec<Val> {
    let (low, high) = ([0, 4, 1, 5], [2, 6, 3, 7]);
    let (first, second) = ([0, 1, 4, 5], [2, 3, 6, 7]);
    let (a, c) = (b.shuffle(rows[0], rows[1], &low), b.shuffle(rows[2], rows[3], &low));
    let (d, e) = (b.shuffle(rows[0], rows[1], &high), b.shuffle(rows[2], rows[3], &high));
    vec![b.shuffle(a, c, &first), b.shuffle(a, c, &second), b.shuffle(d, e, &first), b.shuffle(d, e, &second)]
}

/// Transforms the patches of a vector of tiles from `t` on (the last tile repeated past the end).
fn patches(b: &mut Builder, s: &Shape, plane: Val, t: Val, n_tiles: Val, to: Val) {
    let p = s.mat.points;
    let pitch = s.in_pitch as i64 * BYTES;
    let last = b.add_imm(n_tiles, -1);
    let corners: Vec<Val> = (0..s.lanes as i64)
        .map(|lane| {
            let tile = b.add_imm(t, lane);
            let tile = b.min(tile, last);
            let (y, x) = div_rem(b, tile, s.tiles_x);
            let at = b.index(plane, y, s.mat.m as i64 * pitch);
            b.index(at, x, s.mat.m as i64 * BYTES)
        })
        .collect();
    let vector = s.lanes * BYTES as usize;
    let temp = b.stack((p * p * vector) as u32);
    for i in 0..p {
        let quad = |b: &mut Builder, col: usize| {
            let off = (i as i64 * pitch + col as i64 * BYTES) as i32;
            let rows: Vec<Val> = corners.iter().map(|&corner| b.load(Ty::V(Elem::F32), corner, off)).collect();
            transpose_quads(b, &rows)
        };
        let mut cols = quad(b, 0);
        if p > QUAD {
            let more = quad(b, p - QUAD);
            cols.extend(&more[2 * QUAD - p..]);
        }
        for (j, v) in combine(b, s.mat.bt, &cols).into_iter().enumerate() {
            b.store(temp, ((i * p + j) * vector) as i32, v);
        }
    }
    let point_bytes = s.channel_bytes() * s.c as i64;
    for j in 0..p {
        let column: Vec<Val> = (0..p).map(|i| b.load(Ty::V(Elem::F32), temp, ((i * p + j) * vector) as i32)).collect();
        for (i, v) in combine(b, s.mat.bt, &column).into_iter().enumerate() {
            let at = b.add_imm(to, (i * p + j) as i64 * point_bytes);
            b.store(at, 0, v);
        }
    }
}

/// Products, inverse transform and epilogue of `rows` output channels from `row` on.
fn channels(b: &mut Builder, desc: &ConvDesc, s: &Shape, place: &Place, weights: Val, row: Val, rows: usize) {
    let width = s.tile.vecs * s.lanes;
    let code = TileCode {
        elem: Elem::F32,
        rows,
        vecs: s.tile.vecs,
        last_lanes: s.lanes,
        a_row: BYTES as usize,
        a_k: rows * BYTES as usize,
        per_line: usize::MAX,
        a_line: 0,
        b_k: s.channel_bytes() as usize,
        b_exact: false,
        c_row: s.product_bytes() as usize,
    };
    let a = b.index(weights, row, (s.n_points() * s.c) as i64 * BYTES);
    let (zero, n_points, n_tiles) = (b.i64(0), b.i64(s.n_points() as i64), b.i64(s.n_tiles as i64));
    b.for_loop(zero, n_points, 1, &[a, place.spectrum, place.products], |b, _, c| {
        b.for_loop(zero, n_tiles, width as i64, &[c[1], c[2]], |b, _, at| {
            let init = code.zeros(b);
            let sums = code.accumulate(b, c[0], at[0], Steps::Const(s.c), init);
            code.store(b, at[1], &sums);
            vec![b.add_imm(at[0], width as i64 * BYTES), b.add_imm(at[1], width as i64 * BYTES)]
        });
        vec![
            b.add_imm(c[0], (rows * s.c) as i64 * BYTES),
            b.add_imm(c[1], s.channel_bytes() * s.c as i64),
            b.add_imm(c[2], s.n_tiles as i64 * BYTES),
        ]
    });
    let n_rows = b.i64(rows as i64);
    b.for_loop(zero, n_rows, 1, &[place.products], |b, i, c| {
        let channel = b.add(row, i);
        inverse(b, s, place, c[0]);
        write_rows(b, desc, s, place, channel);
        vec![b.add_imm(c[0], s.product_bytes())]
    });
}

/// Products of one channel to its output plane.
fn inverse(b: &mut Builder, s: &Shape, place: &Place, products: Val) {
    let (p, m) = (s.mat.points, s.mat.m);
    let pitch = s.out_pitch as i64 * BYTES;
    let n_tiles = b.mul_imm(place.rows, s.tiles_x as i64);
    let (zero, last) = (b.i64(0), b.add_imm(n_tiles, -1));
    let vector = s.lanes * BYTES as usize;
    b.for_loop(zero, n_tiles, s.lanes as i64, &[products], |b, t, c| {
        let temp = b.stack((m * p * vector) as u32);
        let point_bytes = s.n_tiles as i64 * BYTES;
        for j in 0..p {
            let column: Vec<Val> =
                (0..p).map(|i| b.load(Ty::V(Elem::F32), c[0], ((i * p + j) as i64 * point_bytes) as i32)).collect();
            for (i, v) in combine(b, s.mat.at, &column).into_iter().enumerate() {
                b.store(temp, ((i * p + j) * vector) as i32, v);
            }
        }
        let corners: Vec<Val> = (0..s.lanes as i64)
            .rev()
            .map(|lane| {
                // Lanes past the end repeat the last tile's place; they are stored first and overwritten by it.
                let tile = b.add_imm(t, lane);
                let tile = b.min(tile, last);
                let (y, x) = div_rem(b, tile, s.tiles_x);
                let at = b.index(place.plane, y, m as i64 * pitch);
                b.index(at, x, m as i64 * BYTES)
            })
            .collect();
        for i in 0..m {
            let row: Vec<Val> = (0..p).map(|j| b.load(Ty::V(Elem::F32), temp, ((i * p + j) * vector) as i32)).collect();
            let mut cols = combine(b, s.mat.at, &row);
            let pad = cols[0];
            cols.resize(QUAD, pad);
            let n = b.i64(m as i64);
            let tiles = transpose_quads(b, &cols);
            for (&corner, &v) in corners.iter().zip(tiles.iter().rev()) {
                b.store_n(corner, (i as i64 * pitch) as i32, v, n);
            }
        }
        vec![b.add_imm(c[0], vector as i64)]
    });
}

/// The valid part of the output plane through the epilogue to the output.
fn write_rows(b: &mut Builder, desc: &ConvDesc, s: &Shape, place: &Place, channel: Val) {
    let [_, h, w] = desc.axes3();
    let first = b.mul_imm(place.row0, s.mat.m as i64);
    let n = b.mul_imm(place.rows, s.mat.m as i64);
    let (height, zero) = (b.i64(h.output as i64), b.i64(0));
    let left = b.sub(height, first);
    let n = b.min(n, left);
    let to = b.index(place.out, channel, desc.output_len() as i64 * BYTES);
    let mut carried = vec![place.plane, b.index(to, first, w.output as i64 * BYTES)];
    for (&base, operand) in place.operands.iter().zip(&desc.epilogue.operands) {
        let at = b.index(base, channel, operand.row_stride as i64 * BYTES);
        carried.push(b.index(at, first, (w.output * operand.col_stride) as i64 * BYTES));
    }
    b.for_loop(zero, n, 1, &carried, |b, _, c| {
        desc.epilogue.apply_row(b, Elem::F32, c[0], c[1], &c[2..], w.output);
        let mut next = vec![b.add_imm(c[0], s.out_pitch as i64 * BYTES), b.add_imm(c[1], w.output as i64 * BYTES)];
        for (&at, operand) in c[2..].iter().zip(&desc.epilogue.operands) {
            next.push(b.add_imm(at, (w.output * operand.col_stride) as i64 * BYTES));
        }
        next
    });
}
