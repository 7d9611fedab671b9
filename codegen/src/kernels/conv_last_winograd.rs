//! Winograd's form ([`super::conv_winograd`]) with channels innermost: a lane is a channel, in the transforms and in the
//! products, so neither loses lanes to small images and no transform moves elements between lanes.
//!
//! A unit of work is some lines of tiles of one image and group. It transforms its patches to `[point][tile][c]`, multiplies
//! point by point with the transformed weights to `[point][tile][m]`, and transforms those back into the output with the
//! epilogue in registers. Weights that fit the second-level cache are read again for every few tiles, whose other tensors
//! then fit it too; larger ones are read once for as many tiles as a part of the third-level cache holds.

use super::conv::{ConvAxis, ConvDesc, Weight};
use super::conv_last::{Lines, Tiling, div_rem, heights};
use super::conv_winograd::{self, Matrices, combine, matrices, widened};
use super::gemm::{L2_BUDGET_BYTES, MIN_UNIT_FLOPS};
use super::gemm_tile::{Steps, TileCode, TilePlace};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, BUF_SCRATCH, KernelPlan};
use crate::builder::{Builder, CmpOp, Elem, Target, Ty, Val};
use crate::error::CodegenError;

const SIZE: usize = size_of::<f32>();

/// Bytes of transformed patches and products of a unit where weights are larger than the second-level cache.
const LARGE_BYTES: usize = 4 << 20;

/// Bytes of the plane from which patches are read.
const PLANE_BYTES: usize = 32 << 10;

/// Units below which the output channels are cut too.
const MIN_UNITS: usize = 4;

/// Bytes of weights from memory in a cycle, which a stream of them takes at most: 3 to 4 on Zen 5 where all of a network's do not
/// fit the third-level cache, 10 where they do.
const WEIGHT_BYTES_A_CYCLE: f64 = 5.0;

/// Cycles that a further byte of weights must save.
const CYCLES_A_BYTE: f64 = 0.1;

/// Transformed weights, `[group][point][panel of width output channels][c][width]`, the last panel padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LastWinogradWeights {
    /// Output tile, 2 or 4.
    tile: usize,
    groups: usize,
    m: usize,
    c: usize,
    width: usize,
}

impl LastWinogradWeights {
    fn point_len(&self) -> usize {
        self.m.div_ceil(self.width) * self.c * self.width
    }

    pub(crate) fn len_elems(&self) -> usize {
        let points = self.tile + 2;
        self.groups * points * points * self.point_len()
    }

    /// Elements before packing.
    pub(crate) fn src_len_elems(&self) -> usize {
        self.groups * self.m * self.c * 9
    }

    /// `src` is `[groups * m][c][3][3]`; lengths are checked by the caller. Computed in f64, rounded once.
    pub(crate) fn pack<T: Weight>(&self, src: &[T], dst: &mut [T], done: &mut dyn FnMut(usize)) {
        match matrices(self.tile) {
            Some(mat) if self.tile == 2 => self.pack_points::<4, T>(mat.g, src, dst, done),
            Some(mat) => self.pack_points::<6, T>(mat.g, src, dst, done),
            None => {}
        }
    }

    fn pack_points<const P: usize, T: Weight>(&self, g: &[f32], src: &[T], dst: &mut [T], done: &mut dyn FnMut(usize)) {
        let mat = widened::<P>(g);
        let (len, row) = (self.point_len(), self.c * 9);
        let panels = self.m.div_ceil(self.width);
        for number in 0..self.groups * panels {
            let (group, panel) = (number / panels, number % panels);
            let rows = self.width.min(self.m - panel * self.width);
            let first = group * self.m + panel * self.width;
            let start = group * P * P * len + panel * self.c * self.width;
            for c in 0..self.c {
                // A cache line of each point at a time.
                for from in (0..self.width).step_by(LINE) {
                    let n = LINE.min(rows.saturating_sub(from));
                    let mut taps = [[0.0f64; LINE]; 9];
                    for i in 0..n {
                        let at = (first + from + i) * row + c * 9;
                        for (tap, w) in taps.iter_mut().zip(&src[at..at + 9]) {
                            tap[i] = f64::from(w.number());
                        }
                    }
                    let points = points_of_lanes(&mat, &taps);
                    for (point, lanes) in points.as_flattened().iter().enumerate() {
                        let at = start + point * len + c * self.width + from;
                        let n = LINE.min(self.width - from);
                        for (to, &w) in dst[at..at + n].iter_mut().zip(lanes) {
                            *to = T::of(w as f32);
                        }
                    }
                }
            }
            done((first + rows) * row);
        }
    }
}

/// Output channels whose weights are transformed together.
const LINE: usize = 16;

/// As [`conv_winograd::at_points`] for some kernels, each a lane.
fn points_of_lanes<const P: usize>(g: &[[f64; 3]; P], taps: &[[f64; LINE]; 9]) -> [[[f64; LINE]; P]; P] {
    let mut points = [[[0.0; LINE]; P]; P];
    for (gy, line) in g.iter().zip(&mut points) {
        let mut t = [[0.0; LINE]; 3];
        for (k, t) in t.iter_mut().enumerate() {
            for (l, t) in t.iter_mut().enumerate() {
                *t = gy[0] * taps[k][l] + gy[1] * taps[3 + k][l] + gy[2] * taps[6 + k][l];
            }
        }
        for (gx, point) in g.iter().zip(line) {
            for (l, point) in point.iter_mut().enumerate() {
                *point = gx[0] * t[0][l] + gx[1] * t[1][l] + gx[2] * t[2][l];
            }
        }
    }
    points
}

struct Shape<'a> {
    desc: &'a ConvDesc,
    mat: &'static Matrices,
    h: ConvAxis,
    w: ConvAxis,
    /// Channels of a group.
    c: usize,
    m: usize,
    tiles_x: usize,
    tiles_y: usize,
    /// Lines of tiles of a unit.
    unit_rows: usize,
    /// Parts of the output channels that are units of their own (each transforms the patches anew).
    parts: usize,
    tiling: Tiling,
    lanes: usize,
    /// Channels that are transformed together.
    chunk: usize,
}

/// Bytes of `n` elements for each of `tiles`, an odd number of cache lines, so that points spread over the cache's sets.
fn point_bytes(tiles: usize, pitch: usize) -> usize {
    (tiles * pitch * SIZE).div_ceil(64) / 2 * 128 + 64
}

/// Elements between neighbouring tiles of `n` channels, not a multiple of half a set.
fn pitch(n: usize, lanes: usize) -> usize {
    let n = n.next_multiple_of(lanes);
    if (n * SIZE).is_multiple_of(2048) { n + 16 } else { n }
}

impl<'a> Shape<'a> {
    fn new(desc: &'a ConvDesc, mat: &'static Matrices, target: Target) -> Shape<'a> {
        let [_, h, w] = desc.axes3();
        let (c, m) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
        let (tiles_y, tiles_x) = (h.output.div_ceil(mat.m), w.output.div_ceil(mat.m));
        let n_points = mat.points * mat.points;
        let weight_bytes = n_points * c * m * SIZE;
        let budget = if weight_bytes <= L2_BUDGET_BYTES * 3 / 2 { L2_BUDGET_BYTES } else { LARGE_BYTES };
        let row_bytes = n_points * tiles_x * (c + m) * SIZE;
        let n_batch = (desc.n * desc.groups).max(1);
        let flops = 2 * n_batch * m * c * desc.output_len() * 9;
        let blocks = tiles_y.div_ceil((budget / row_bytes.max(1)).max(1));
        let unit_rows = tiles_y.div_ceil(blocks);
        let wanted = (flops / MIN_UNIT_FLOPS / 8).clamp(1, MIN_UNITS);
        let tiling = Tiling::choose(1, unit_rows * tiles_x, m, c, target);
        let n_panels = m.div_ceil(tiling.vecs * target.lanes);
        let parts = if tiles_y.div_ceil(unit_rows) * n_batch < wanted { n_panels.min(2) } else { 1 };
        let lanes = target.lanes;
        let line = (mat.points * (tiles_x * mat.m + 2) * lanes * SIZE).max(1);
        let chunk = (PLANE_BYTES / line).clamp(1, 4) * lanes;
        Shape { desc, mat, h, w, c, m, tiles_x, tiles_y, unit_rows, parts, tiling, lanes, chunk: chunk.min(c) }
    }

    fn n_points(&self) -> usize {
        self.mat.points * self.mat.points
    }

    fn unit_tiles(&self) -> usize {
        self.unit_rows * self.tiles_x
    }

    fn width(&self) -> usize {
        self.tiling.vecs * self.lanes
    }

    fn n_panels(&self) -> usize {
        self.m.div_ceil(self.width())
    }

    fn panels_per_part(&self) -> usize {
        self.n_panels().div_ceil(self.parts)
    }

    fn n_blocks(&self) -> usize {
        self.tiles_y.div_ceil(self.unit_rows)
    }

    fn c_pitch(&self) -> usize {
        pitch(self.c, self.lanes)
    }

    fn m_pitch(&self) -> usize {
        pitch(self.panels_per_part() * self.width(), self.lanes)
    }

    fn patch_bytes(&self) -> usize {
        point_bytes(self.unit_tiles(), self.c_pitch())
    }

    fn product_bytes(&self) -> usize {
        point_bytes(self.unit_tiles(), self.m_pitch())
    }

    /// Elements of a pixel of the plane.
    fn plane_pixel(&self) -> usize {
        self.chunk.next_multiple_of(self.lanes)
    }

    fn plane_width(&self) -> usize {
        self.tiles_x * self.mat.m + 2
    }

    fn plane_bytes(&self) -> usize {
        (self.mat.points * self.plane_width() * self.plane_pixel() * SIZE).next_multiple_of(64) + 64
    }
}

/// The output tile, of at most what the convolution allows, that takes the least time, by an estimate in cycles; 0 where the
/// direct form does, or where what is saved is too little for the larger weights.
pub(crate) fn best_tile(desc: &ConvDesc, target: Target) -> usize {
    if !conv_winograd::applies(desc) {
        return 0;
    }
    let (c, m) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
    let n_batch = (desc.n * desc.groups) as f64;
    let vectors = |channels: usize| channels.div_ceil(target.lanes) as f64;
    // Products and the reading of weights overlap in part.
    let both = |products: f64, bytes: f64| {
        let reads = bytes / WEIGHT_BYTES_A_CYCLE;
        products.max(reads) + 0.3 * products.min(reads)
    };
    let weight_bytes = (9 * c * m * SIZE) as f64;
    let direct = both(n_batch * (desc.output_len() * 9 * c) as f64 * vectors(m) / 2.0, weight_bytes);
    let mut best = (direct / 1.1, 0);
    for tile in [2, 4].into_iter().filter(|&tile| tile <= desc.winograd) {
        let Some(mat) = matrices(tile) else { continue };
        let s = Shape::new(desc, mat, target);
        let (tiles, n_points) = (n_batch * (s.tiles_x * s.tiles_y) as f64, s.n_points() as f64);
        let products = tiles * n_points * c as f64 * vectors(m) / 2.0;
        // Loads, stores and arithmetic of a transform: a few for each point.
        let transforms = tiles * n_points * 2.5 * (vectors(c) + vectors(m));
        let bytes = n_points * (c * m * SIZE) as f64;
        let fits = bytes as usize <= L2_BUDGET_BYTES * 3 / 2;
        let cycles = both(products, if fits { bytes } else { bytes * n_batch * s.n_blocks() as f64 }) + transforms;
        let saved = (direct - cycles) * 4.0 / n_batch.max(1.0);
        if cycles < best.0 && saved > CYCLES_A_BYTE * (bytes - weight_bytes) {
            best = (cycles, tile);
        }
    }
    best.1
}

/// Makes the kernel; the epilogue is that of [`super::conv_last`], the image has its channels innermost.
pub(crate) fn plan(
    desc: &ConvDesc,
    tile: usize,
    target: Target,
) -> Result<(KernelPlan, LastWinogradWeights), CodegenError> {
    desc.check()?;
    let mat = matrices(tile).ok_or_else(|| CodegenError::Unsupported(format!("Winograd tiles of {tile}")))?;
    let s = Shape::new(desc, mat, target);
    let mut b = Builder::new(format!("winograd_last_{}x{}x{}", desc.out_channels, s.c, desc.output_len()), target);
    b.keep_order();
    s.record(&mut b);
    let plan = KernelPlan {
        kernel: b.finish()?,
        scratch_len_bytes: s.plane_bytes() + s.n_points() * (s.patch_bytes() + s.product_bytes()),
        parallel_extent: desc.n * desc.groups * s.n_blocks() * s.parts,
        flops: 2 * (desc.n * desc.out_channels * desc.output_len()) as u64 * (9 * s.c) as u64,
        partial_sums_in_output: false,
    };
    Ok((plan, LastWinogradWeights { tile, groups: desc.groups, m: s.m, c: s.c, width: s.width() }))
}

/// Addresses of one unit.
struct Unit {
    /// The image's first line, the group's first channel.
    image: Val,
    plane: Val,
    patches: Val,
    products: Val,
    /// First line of tiles, and their number.
    row0: Val,
    rows: Val,
    /// First and last-but-one panel.
    panel_lo: Val,
    panel_hi: Val,
    /// The image's output and operands, the group's first channel.
    out: Val,
    operands: Vec<Val>,
}

impl Shape<'_> {
    fn record(&self, b: &mut Builder) {
        let desc = self.desc;
        let (image, weights, out, scratch) = (b.buf(BUF_LHS), b.buf(BUF_RHS), b.buf(BUF_OUT), b.buf(BUF_SCRATCH));
        let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
        let (lo, hi) = (b.begin(), b.end());
        let patches = b.add_imm(scratch, self.plane_bytes() as i64);
        let products = b.add_imm(patches, (self.n_points() * self.patch_bytes()) as i64);
        let group_weights = self.n_points() * self.n_panels() * self.c * self.width() * SIZE;
        b.for_loop(lo, hi, 1, &[], |b, unit, _| {
            let (rest, part) = div_rem(b, unit, self.parts);
            let (batch, block) = div_rem(b, rest, self.n_blocks());
            let (img, group) = div_rem(b, batch, desc.groups);
            let row0 = b.mul_imm(block, self.unit_rows as i64);
            let (all, most) = (b.i64(self.tiles_y as i64), b.i64(self.unit_rows as i64));
            let left = b.sub(all, row0);
            let rows = b.min(left, most);
            let from = b.index(image, img, (desc.in_channels * desc.image_len() * SIZE) as i64);
            let to = b.index(out, img, (desc.out_channels * desc.output_len() * SIZE) as i64);
            let panel_lo = b.mul_imm(part, self.panels_per_part() as i64);
            let (panel_hi, n_panels) =
                (b.add_imm(panel_lo, self.panels_per_part() as i64), b.i64(self.n_panels() as i64));
            let at_operands = operands.iter().zip(&desc.epilogue.operands).map(|(&base, operand)| {
                let at = b.index(base, img, (operand.batch_strides[0] * SIZE) as i64);
                b.index(at, group, (operand.batch_strides[1] * SIZE) as i64)
            });
            let operands: Vec<Val> = at_operands.collect();
            let unit = Unit {
                image: b.index(from, group, (self.c * SIZE) as i64),
                plane: scratch,
                patches,
                products,
                row0,
                rows,
                panel_lo,
                panel_hi: b.min(panel_hi, n_panels),
                out: b.index(to, group, (self.m * SIZE) as i64),
                operands,
            };
            self.transform_patches(b, &unit);
            let w = b.index(weights, group, group_weights as i64);
            self.multiply(b, &unit, w);
            self.transform_back(b, &unit);
            Vec::new()
        });
    }

    /// All patches of the unit.
    fn transform_patches(&self, b: &mut Builder, unit: &Unit) {
        let (zero, n_points) = (b.i64(0), b.i64(self.mat.points as i64));
        let row_bytes = (self.tiles_x * self.c_pitch() * SIZE) as i64;
        b.for_loop(zero, unit.rows, 1, &[unit.patches], |b, row, to| {
            let row = b.add(unit.row0, row);
            let first = b.mul_imm(row, self.mat.m as i64);
            let first = b.add_imm(first, -(self.h.pad_begin as i64));
            let mut done = 0;
            while done < self.c {
                let full = (self.c - done) / self.chunk;
                let (take, times) = if full > 0 { (self.chunk, full) } else { (self.c - done, 1) };
                let lines = Lines {
                    height: self.h.input,
                    width: self.w.input,
                    pad: self.w.pad_begin,
                    from_pixel: self.desc.in_channels,
                    take,
                    to_pixel: self.plane_pixel(),
                    plane_width: self.plane_width(),
                };
                let at = (done * SIZE) as i64;
                let (from, to) = (b.add_imm(unit.image, at), b.add_imm(to[0], at));
                let n = b.i64(times as i64);
                b.for_loop(zero, n, 1, &[from, to], |b, _, c| {
                    lines.fill(b, c[0], None, first, n_points, unit.plane);
                    self.patches(b, unit.plane, c[1], take);
                    vec![b.add_imm(c[0], (take * SIZE) as i64), b.add_imm(c[1], (take * SIZE) as i64)]
                });
                done += take * times;
            }
            vec![b.add_imm(to[0], row_bytes)]
        });
    }

    /// The patches of one line of tiles for the `n` channels that the plane holds. What is behind them in a vector is
    /// transformed too, and not read.
    fn patches(&self, b: &mut Builder, plane: Val, to: Val, n: usize) {
        let pixel = (self.plane_pixel() * SIZE) as i64;
        let vector = (self.lanes * SIZE) as i64;
        let (zero, tiles, vectors) = (b.i64(0), b.i64(self.tiles_x as i64), b.i64(n.div_ceil(self.lanes) as i64));
        b.for_loop(zero, tiles, 1, &[plane, to], |b, _, c| {
            b.for_loop(zero, vectors, 1, c, |b, _, c| {
                self.patch(b, c[0], c[1]);
                vec![b.add_imm(c[0], vector), b.add_imm(c[1], vector)]
            });
            vec![b.add_imm(c[0], self.mat.m as i64 * pixel), b.add_imm(c[1], (self.c_pitch() * SIZE) as i64)]
        });
    }

    /// One patch of a vector of channels.
    fn patch(&self, b: &mut Builder, from: Val, to: Val) {
        let p = self.mat.points;
        let vector = self.lanes * SIZE;
        let (pixel, line) = (self.plane_pixel() * SIZE, self.plane_width() * self.plane_pixel() * SIZE);
        let temp = b.stack((p * p * vector) as u32);
        for j in 0..p {
            let column: Vec<Val> =
                (0..p).map(|i| b.load(Ty::V(Elem::F32), from, (i * line + j * pixel) as i32)).collect();
            for (i, v) in combine(b, self.mat.bt, &column).into_iter().enumerate() {
                b.store(temp, ((i * p + j) * vector) as i32, v);
            }
        }
        for i in 0..p {
            let row: Vec<Val> = (0..p).map(|j| b.load(Ty::V(Elem::F32), temp, ((i * p + j) * vector) as i32)).collect();
            for (j, v) in combine(b, self.mat.bt, &row).into_iter().enumerate() {
                let at = b.add_imm(to, ((i * p + j) * self.patch_bytes()) as i64);
                b.store(at, 0, v);
            }
        }
    }

    /// Products of all points.
    fn multiply(&self, b: &mut Builder, unit: &Unit, weights: Val) {
        let (zero, n_points) = (b.i64(0), b.i64(self.n_points() as i64));
        let panel = self.c * self.width() * SIZE;
        let full = b.i64((self.m / self.width()) as i64);
        let full_hi = b.min(unit.panel_hi, full);
        b.for_loop(zero, n_points, 1, &[weights, unit.patches, unit.products], |b, _, c| {
            let run = |b: &mut Builder, number: Val, vecs: usize| {
                let w = b.index(c[0], number, panel as i64);
                let local = b.sub(number, unit.panel_lo);
                let to = b.index(c[2], local, (self.width() * SIZE) as i64);
                self.panel(b, c[1], w, to, vecs);
            };
            b.for_loop(unit.panel_lo, full_hi, 1, &[], |b, number, _| {
                run(b, number, self.tiling.vecs);
                Vec::new()
            });
            if !self.m.is_multiple_of(self.width()) {
                let own = b.cmp(CmpOp::Lt, full, unit.panel_hi);
                b.if_then(own, |b| run(b, full, (self.m % self.width()).div_ceil(self.lanes)));
            }
            vec![
                b.add_imm(c[0], (self.n_panels() * panel) as i64),
                b.add_imm(c[1], self.patch_bytes() as i64),
                b.add_imm(c[2], self.product_bytes() as i64),
            ]
        });
    }

    /// One panel of one point for all tiles of a unit (the last unit may have fewer, whose places hold anything).
    fn panel(&self, b: &mut Builder, patches: Val, weights: Val, to: Val, vecs: usize) {
        let mut at = vec![patches, to];
        for (rows, times) in heights(self.tiling.cols) {
            let code = TileCode {
                elem: Elem::F32,
                rows,
                vecs,
                last_lanes: self.lanes,
                a_row: self.c_pitch() * SIZE,
                a_k: SIZE,
                per_line: usize::MAX,
                a_line: 0,
                b_k: self.width() * SIZE,
                b_exact: false,
                c_row: self.m_pitch() * SIZE,
            };
            let (zero, times) = (b.i64(0), b.i64(times as i64));
            at = b.for_loop(zero, times, 1, &at, |b, _, c| {
                let init = code.zeros(b);
                let sums = code.accumulate(b, c[0], weights, Steps::Const(self.c), init);
                code.store(b, c[1], &sums);
                vec![b.add_imm(c[0], (rows * code.a_row) as i64), b.add_imm(c[1], (rows * code.c_row) as i64)]
            });
        }
    }

    /// The products of the unit back to pixels, through the epilogue.
    fn transform_back(&self, b: &mut Builder, unit: &Unit) {
        let desc = self.desc;
        let (m, tile_bytes) = (self.mat.m, (self.m_pitch() * SIZE) as i64);
        let first_channel = b.mul_imm(unit.panel_lo, self.width() as i64);
        let out = b.index(unit.out, first_channel, SIZE as i64);
        let operands: Vec<Val> = unit
            .operands
            .iter()
            .zip(&desc.epilogue.operands)
            .map(|(&base, operand)| b.index(base, first_channel, (operand.col_stride * SIZE) as i64))
            .collect();
        let (zero, height, most) = (b.i64(0), b.i64(self.h.output as i64), b.i64(m as i64));
        let (n_last, n_tiles) = (self.w.output % m, self.w.output / m);
        b.for_loop(zero, unit.rows, 1, &[unit.products], |b, row, at| {
            let row = b.add(unit.row0, row);
            let y = b.mul_imm(row, m as i64);
            let left = b.sub(height, y);
            let lines = b.min(left, most);
            let pixel = b.mul_imm(y, self.w.output as i64);
            let mut start = vec![at[0], b.index(out, pixel, (desc.out_channels * SIZE) as i64)];
            for (&base, operand) in operands.iter().zip(&desc.epilogue.operands) {
                start.push(b.index(base, pixel, (operand.row_stride * SIZE) as i64));
            }
            let advance = |b: &mut Builder, c: &[Val]| {
                let mut next =
                    vec![b.add_imm(c[0], tile_bytes), b.add_imm(c[1], (m * desc.out_channels * SIZE) as i64)];
                for (&addr, operand) in c[2..].iter().zip(&desc.epilogue.operands) {
                    next.push(b.add_imm(addr, (m * operand.row_stride * SIZE) as i64));
                }
                next
            };
            let n = b.i64(n_tiles as i64);
            let c = b.for_loop(zero, n, 1, &start, |b, _, c| {
                self.tile_back(b, unit, c, lines, m);
                advance(b, c)
            });
            if n_last > 0 {
                self.tile_back(b, unit, &c, lines, n_last);
            }
            vec![b.add_imm(at[0], self.tiles_x as i64 * tile_bytes)]
        });
    }

    /// One tile, all channels of the unit's panels, `lines` lines of `cols` pixels.
    fn tile_back(&self, b: &mut Builder, unit: &Unit, at: &[Val], lines: Val, cols: usize) {
        let lanes = self.lanes;
        let vector = (lanes * SIZE) as i64;
        // Channels of the unit in whole vectors.
        let channels = b.sub(unit.panel_hi, unit.panel_lo);
        let channels = b.mul_imm(channels, self.width() as i64);
        let before = b.mul_imm(unit.panel_lo, self.width() as i64);
        let all = b.i64(self.m as i64);
        let left = b.sub(all, before);
        let channels = b.min(channels, left);
        let mask = b.i64(-(lanes as i64));
        let whole = b.and(channels, mask);
        let zero = b.i64(0);
        let c = b.for_loop(zero, whole, lanes as i64, at, |b, _, c| {
            self.vector_back(b, c, lines, cols, lanes);
            let mut next = vec![b.add_imm(c[0], vector), b.add_imm(c[1], vector)];
            for (&addr, operand) in c[2..].iter().zip(&self.desc.epilogue.operands) {
                next.push(b.add_imm(addr, operand.col_stride as i64 * vector));
            }
            next
        });
        if !self.m.is_multiple_of(lanes) {
            let some = b.cmp(CmpOp::Lt, whole, channels);
            b.if_then(some, |b| self.vector_back(b, &c, lines, cols, self.m % lanes));
        }
    }

    fn vector_back(&self, b: &mut Builder, at: &[Val], lines: Val, cols: usize, last_lanes: usize) {
        let (p, m) = (self.mat.points, self.mat.m);
        let vector = self.lanes * SIZE;
        let temp = b.stack((m * p * vector) as u32);
        for j in 0..p {
            let column: Vec<Val> = (0..p)
                .map(|i| {
                    let from = b.add_imm(at[0], ((i * p + j) * self.product_bytes()) as i64);
                    b.load(Ty::V(Elem::F32), from, 0)
                })
                .collect();
            for (i, v) in combine(b, self.mat.at, &column).into_iter().enumerate() {
                b.store(temp, ((i * p + j) * vector) as i32, v);
            }
        }
        let code = TileCode {
            elem: Elem::F32,
            rows: cols,
            vecs: 1,
            last_lanes,
            a_row: 0,
            a_k: 0,
            per_line: usize::MAX,
            a_line: 0,
            b_k: 0,
            b_exact: false,
            c_row: self.desc.out_channels * SIZE,
        };
        let mut start = vec![temp];
        start.extend(&at[1..]);
        let zero = b.i64(0);
        b.for_loop(zero, lines, 1, &start, |b, _, c| {
            let row: Vec<Val> = (0..p).map(|j| b.load(Ty::V(Elem::F32), c[0], (j * vector) as i32)).collect();
            let sums = combine(b, self.mat.at, &row);
            let place = TilePlace { c: c[1], operands: c[2..].to_vec() };
            code.finish(b, &place, &self.desc.epilogue, &sums[..cols]);
            let line = self.w.output;
            let mut next = vec![b.add_imm(c[0], (p * vector) as i64)];
            next.push(b.add_imm(c[1], (line * self.desc.out_channels * SIZE) as i64));
            for (&addr, operand) in c[2..].iter().zip(&self.desc.epilogue.operands) {
                next.push(b.add_imm(addr, (line * operand.row_stride * SIZE) as i64));
            }
            next
        });
    }
}
