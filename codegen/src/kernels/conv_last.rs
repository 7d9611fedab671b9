//! Convolution whose result has its channels innermost, `[n, d, h, w, c]`: a lane is an output channel, a row of the register
//! tile an output pixel.
//!
//! Each step of k multiplies one broadcast element of every pixel's patch with a vector of weights. Patches are not copied
//! together: the elements of a patch lie at fixed distances from each other, so k is walked as nested loops over taps and
//! channels whose innermost run is contiguous where the image has its channels innermost too. An image in plain layout is
//! read as well (its runs are along the kernel's width), which makes the change of layout part of the convolution. Where
//! there is padding, a unit of work first copies its rows into a zero-bordered plane in scratch (an element is copied once
//! and used `taps * m` times). No lane is lost to the width of an image, and none to the channels of the image: only
//! output channels that do not fill a vector cost lanes.
//!
//! Buffers: image, weights in the order of [`LastWeights`], output, scratch, then the epilogue's operands; batch axes of the
//! epilogue are image and group, its rows the output pixels, its columns the output channels of a group.

use super::conv::{ConvAxis, ConvDesc, Weight, gcd};
use super::gemm::{L2_BUDGET_BYTES, MIN_UNIT_FLOPS};
use super::gemm_tile::{self, RowSplit, Steps, TileCode, TilePlace};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, BUF_SCRATCH, KernelPlan};
use crate::builder::{BinOp, Builder, CmpOp, Elem, Target, Ty, Val};
use crate::error::CodegenError;

/// Bytes after which places fall into the same set of a first-level cache of 64 sets.
const SET_BYTES: usize = 4096;

/// Lines of a set that pixels may take, of twelve in the caches at hand.
const MOST_IN_SET: usize = 10;

/// Units that a large convolution is cut into.
const UNITS: usize = 8;

/// Weights from which a unit is better a part of the output channels than a part of the rows.
const MANY_WEIGHTS_BYTES: usize = 128 << 10;

/// Weights in the order of use, `[group][panel of width output channels][k][width]`, the last panel padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LastWeights {
    groups: usize,
    /// Output channels of a group.
    m: usize,
    /// Input channels of a group.
    c: usize,
    taps: usize,
    /// Output channels of a panel.
    width: usize,
    /// Whether k is taps, then channels; otherwise channels, then taps.
    channels_inner: bool,
}

impl LastWeights {
    /// The order for `groups` of `m` by `c` channels and panels of `width`; see the fields.
    pub(crate) fn new(
        groups: usize,
        m: usize,
        c: usize,
        taps: usize,
        width: usize,
        channels_inner: bool,
    ) -> LastWeights {
        LastWeights { groups, m, c, taps, width, channels_inner }
    }

    fn panel_len(&self) -> usize {
        self.c * self.taps * self.width
    }

    fn n_panels(&self) -> usize {
        self.m.div_ceil(self.width)
    }

    pub(crate) fn len_elems(&self) -> usize {
        self.groups * self.n_panels() * self.panel_len()
    }

    /// Elements before packing.
    pub(crate) fn src_len_elems(&self) -> usize {
        self.groups * self.m * self.c * self.taps
    }

    /// `src` is `[groups * m][c][taps]`; lengths are checked by the caller. `done` hears how many leading elements will not
    /// be read again.
    pub(crate) fn pack<T: Weight>(&self, src: &[T], dst: &mut [T], done: &mut dyn FnMut(usize)) {
        let k = self.c * self.taps;
        let panels = dst.chunks_exact_mut(self.panel_len().max(1));
        for (number, panel) in panels.enumerate() {
            let (group, first) = (number / self.n_panels(), number % self.n_panels() * self.width);
            let rows = self.width.min(self.m - first);
            if rows < self.width {
                panel.fill(T::default());
            }
            let from = &src[(group * self.m + first) * k..][..rows * k];
            for (i, row) in from.chunks_exact(k).enumerate() {
                for (ch, taps) in row.chunks_exact(self.taps).enumerate() {
                    for (tap, &w) in taps.iter().enumerate() {
                        let step = if self.channels_inner { tap * self.c + ch } else { ch * self.taps + tap };
                        panel[step * self.width + i] = w;
                    }
                }
            }
            done((group * self.m + first + rows) * k);
        }
    }
}

/// The register tile and how it covers the output: either some pixels of one line, or some whole lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    /// Vectors of output channels.
    pub(crate) vecs: usize,
    /// Lines of a tile, over the height.
    lines: RowSplit,
    /// Pixels of a tile, over the width.
    pub(crate) cols: RowSplit,
}

impl Tiling {
    /// The fewest estimated cycles for `h` lines of `w` pixels, `m` output channels and `k` steps.
    pub(crate) fn choose(h: usize, w: usize, m: usize, k: usize, target: Target) -> Tiling {
        let n_vecs = m.div_ceil(target.lanes).max(1);
        let mut best: Option<(f64, Tiling)> = None;
        for vecs in 1..=n_vecs.min(target.vector_regs / 2) {
            let fits = |rows: usize| rows * vecs + rows.min(vecs) + target.spare_regs <= target.vector_regs;
            let Some(most) = (1..=target.vector_regs).rev().find(|&rows| fits(rows)) else { continue };
            let per_tile = if w > most { 1 } else { most / w.max(1) };
            let tiling = Tiling { vecs, lines: RowSplit::new(h, per_tile), cols: RowSplit::new(w, most) };
            let panel_bytes = k * vecs * target.lanes * size_of::<f32>();
            let cycles = |vecs: usize| tiling.cycles(vecs, panel_bytes > L2_BUDGET_BYTES);
            let mut cost = (n_vecs / vecs) as f64 * cycles(vecs);
            if !n_vecs.is_multiple_of(vecs) {
                cost += cycles(n_vecs % vecs);
            }
            if best.as_ref().is_none_or(|b| cost < b.0 - 1e-9) {
                best = Some((cost, tiling));
            }
        }
        let one = RowSplit::new(1, 1);
        best.map_or(Tiling { vecs: 1, lines: one, cols: one }, |b| b.1)
    }

    /// Estimated cycles of a step of k for one panel of `vecs` vectors.
    fn cycles(&self, vecs: usize, is_large: bool) -> f64 {
        // A vector of weights comes from the second-level cache, at about a line in two cycles, or from beyond it.
        let reads = if is_large { 8.0 } else { 2.0 };
        let tile = |rows: usize| gemm_tile::step_cycles(rows, vecs).max(reads * vecs as f64) + 0.02 * rows as f64;
        let mut sum = 0.0;
        for (lines, n_lines) in heights(self.lines) {
            for (cols, n_cols) in heights(self.cols) {
                sum += (n_lines * n_cols) as f64 * tile(lines * cols);
            }
        }
        sum
    }
}

/// The two sizes of a split with the number of tiles of each.
pub(crate) fn heights(split: RowSplit) -> impl Iterator<Item = (usize, usize)> {
    [(split.high, split.n_high), (split.high.saturating_sub(1), split.n_low)].into_iter().filter(|s| s.0 > 0 && s.1 > 0)
}

/// Where the tile reads the image; distances in bytes.
struct Source {
    /// Between neighbouring pixels, lines and planes of the image.
    place: [usize; 3],
    /// Between neighbouring channels.
    channel: usize,
    /// Pixels of a line of the plane.
    plane_width: usize,
    /// Bytes of the plane of one unit; 0 where the image itself is read.
    plane_bytes: usize,
    /// Axes of k in the order of the weights: extent and distance, merged where they can be.
    k_axes: Vec<(usize, usize)>,
}

struct Shape<'a> {
    desc: &'a ConvDesc,
    /// `[d, h, w]`; a convolution that reads single pixels has them all along `h`.
    axes: [ConvAxis; 3],
    image_last: bool,
    c: usize,
    m: usize,
    tiling: Tiling,
    /// Tiles of lines of a unit.
    tiles: usize,
    /// Panels of a unit.
    panels: usize,
    source: Source,
}

impl<'a> Shape<'a> {
    fn new(desc: &'a ConvDesc, image_last: bool, target: Target) -> Shape<'a> {
        let (c, m) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
        let mut axes = desc.axes3();
        if axes.iter().all(ConvAxis::is_pointwise) {
            let n = desc.output_len();
            axes = [ConvAxis::UNIT, ConvAxis { input: n, output: n, ..ConvAxis::UNIT }, ConvAxis::UNIT];
        }
        let [d, h, w] = axes;
        let tiling = Tiling::choose(h.output, w.output, m, c * desc.n_taps(), target);
        let n_tiles = tiling.lines.n_tiles().max(1);
        let n_panels = m.div_ceil(tiling.vecs * target.lanes);
        // Rows that fit the cache with the panel of weights.
        let row_bytes = d.kernel * h.stride * (w.input + 2 * w.pad_begin) * c * size_of::<f32>();
        let panel_bytes = c * desc.n_taps() * tiling.vecs * target.lanes * size_of::<f32>();
        let budget = (2 * L2_BUDGET_BYTES).saturating_sub(panel_bytes).clamp(L2_BUDGET_BYTES / 4, L2_BUDGET_BYTES);
        let most = (budget / row_bytes.max(1)).saturating_sub(h.kernel - 1).max(1);
        let tiles_most = (most / tiling.lines.high.max(1)).clamp(1, n_tiles);
        let n_batch = (desc.n * desc.groups * d.output).max(1);
        let k = c * desc.n_taps();
        let flops = (2 * m * desc.output_len()).saturating_mul(k).saturating_mul(desc.n * desc.groups);
        let wanted = (flops / MIN_UNIT_FLOPS).clamp(1, UNITS).div_ceil(n_batch);
        let blocks = n_tiles.div_ceil(tiles_most);
        let (mut tiles, mut panels) = (n_tiles.div_ceil(blocks), n_panels);
        if blocks < wanted {
            if k * m * size_of::<f32>() >= MANY_WEIGHTS_BYTES && n_panels > 1 {
                panels = n_panels.div_ceil(wanted.div_ceil(blocks).min(UNITS / 2));
            } else {
                tiles = n_tiles.div_ceil(wanted.min(n_tiles));
            }
        }
        let unit_lines = (tiles * tiling.lines.high).min(h.output);
        let rows = tiling.lines.high * tiling.cols.high;
        let source = Source::new(desc, axes, image_last, c, unit_lines, rows);
        Shape { desc, axes, image_last, c, m, tiling, tiles, panels, source }
    }

    fn width(&self, b: &Builder) -> usize {
        self.tiling.vecs * b.lanes()
    }

    fn n_blocks(&self) -> usize {
        self.tiling.lines.n_tiles().div_ceil(self.tiles)
    }

    fn n_parts(&self, width: usize) -> usize {
        self.m.div_ceil(width).div_ceil(self.panels)
    }
}

impl Source {
    fn new(desc: &ConvDesc, axes: [ConvAxis; 3], image_last: bool, c: usize, unit_lines: usize, rows: usize) -> Source {
        let size = desc.elem.size_bytes();
        let [d, h, w] = axes;
        let inside =
            |a: ConvAxis| a.pad_begin == 0 && (a.output - 1) * a.stride + (a.kernel - 1) * a.dilation < a.input;
        let pixel = if image_last { desc.in_channels } else { 1 };
        // Rows of a tile whose elements fall into one set push each other out.
        let crowded = |pixel: usize| {
            let step = pixel * size * w.stride;
            let sets = SET_BYTES / gcd(step, SET_BYTES).max(1);
            image_last && rows.div_ceil(sets) > MOST_IN_SET
        };
        let in_place = axes.iter().all(|&a| a.output > 0 && inside(a)) && !crowded(pixel);
        let reach = |a: ConvAxis, n: usize| (n.max(1) - 1) * a.stride + (a.kernel - 1) * a.dilation + 1;
        let (planes, lines, width) = (reach(d, 1), reach(h, unit_lines), reach(w, w.output));
        let (place, channel, plane_bytes) = if in_place {
            let line = w.input * pixel;
            let channel = if image_last { 1 } else { desc.image_len() };
            ([pixel, line, h.input * line], channel, 0)
        } else {
            // A line apart where pixels would fall into one set.
            let pixel = match image_last {
                true if crowded(c) => c + 16,
                true => c,
                false => 1,
            };
            let place = [pixel, width * pixel, lines * width * pixel];
            let channel = if image_last { 1 } else { planes * place[2] };
            (place, channel, planes * place[2] * if image_last { 1 } else { c })
        };
        let place = place.map(|n| n * size);
        let taps =
            [(d.kernel, place[2] * d.dilation), (h.kernel, place[1] * h.dilation), (w.kernel, place[0] * w.dilation)];
        let channels = (c, channel * size);
        let ordered: Vec<(usize, usize)> = if image_last {
            taps.into_iter().chain([channels]).collect()
        } else {
            [channels].into_iter().chain(taps).collect()
        };
        let mut k_axes: Vec<(usize, usize)> = Vec::new();
        for (n, step) in ordered {
            match k_axes.last_mut() {
                _ if n == 1 => {}
                Some(outer) if outer.1 == n * step => *outer = (outer.0 * n, step),
                _ => k_axes.push((n, step)),
            }
        }
        if k_axes.is_empty() {
            k_axes.push((1, size));
        }
        // Reads of whole vectors may pass the end of the plane.
        let plane_bytes = if in_place { 0 } else { plane_bytes * size + 64 };
        Source { place, channel: channel * size, plane_width: width, plane_bytes, k_axes }
    }
}

/// Makes the kernel; the epilogue is described in the module's text.
pub(crate) fn plan(
    desc: &ConvDesc,
    image_last: bool,
    target: Target,
) -> Result<(KernelPlan, LastWeights), CodegenError> {
    desc.check()?;
    if desc.elem != Elem::F32 {
        return Err(CodegenError::Unsupported(format!("a convolution of {:?} with channels innermost", desc.elem)));
    }
    let shape = Shape::new(desc, image_last, target);
    let k = shape.c * desc.n_taps();
    let mut b = Builder::new(format!("conv_last_{}x{k}x{}", desc.out_channels, desc.output_len()), target);
    b.keep_order();
    let width = shape.width(&b);
    record(&mut b, &shape);
    let [d, ..] = shape.axes;
    let empty = desc.output_len() == 0 || shape.m == 0;
    let units = desc.n * desc.groups * d.output * shape.n_blocks() * shape.n_parts(width);
    let plan = KernelPlan {
        kernel: b.finish()?,
        scratch_len_bytes: shape.source.plane_bytes,
        parallel_extent: if empty { 0 } else { units },
        flops: 2 * (desc.n * desc.out_channels * desc.output_len()) as u64 * k as u64,
        partial_sums_in_output: false,
    };
    let weights = LastWeights::new(desc.groups, shape.m, shape.c, desc.n_taps(), width, image_last);
    Ok((plan, weights))
}

/// Values of one unit.
struct Unit {
    /// What the tile of line 0 reads, as if the plane began there.
    image: Val,
    weights: Val,
    /// The first pixel of the unit's plane of the output, the group's first channel.
    out: Val,
    operands: Vec<Val>,
    tile_lo: Val,
    tile_hi: Val,
}

pub(crate) fn div_rem(b: &mut Builder, v: Val, by: usize) -> (Val, Val) {
    if by == 1 {
        return (v, b.i64(0));
    }
    let by = b.i64(by as i64);
    (b.bin(BinOp::DivU, v, by), b.bin(BinOp::RemU, v, by))
}

fn record(b: &mut Builder, s: &Shape<'_>) {
    let desc = s.desc;
    let size = desc.elem.size_bytes() as i64;
    let (image, weights, out) = (b.buf(BUF_LHS), b.buf(BUF_RHS), b.buf(BUF_OUT));
    let scratch = (s.source.plane_bytes > 0).then(|| b.buf(BUF_SCRATCH));
    let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
    let (lo, hi) = (b.begin(), b.end());
    let width = s.width(b);
    let [d, h, w] = s.axes;
    let pixels = h.output * w.output;
    b.for_loop(lo, hi, 1, &[], |b, unit, _| {
        let (rest, part) = div_rem(b, unit, s.n_parts(width));
        let (rest, block) = div_rem(b, rest, s.n_blocks());
        let (batch, z) = div_rem(b, rest, d.output);
        let (img, group) = div_rem(b, batch, desc.groups);
        let tile_lo = b.mul_imm(block, s.tiles as i64);
        let (more, all) = (b.add_imm(tile_lo, s.tiles as i64), b.i64(s.tiling.lines.n_tiles() as i64));
        let tile_hi = b.min(more, all);
        let (y_lo, y_hi) = (line_of(b, s, tile_lo), line_of(b, s, tile_hi));
        let from = b.index(image, img, (desc.in_channels * desc.image_len()) as i64 * size);
        let per_group = if s.image_last { s.c } else { s.c * desc.image_len() };
        let from = b.index(from, group, per_group as i64 * size);
        let line_step = (s.source.place[1] * h.stride) as i64;
        let at = match scratch {
            None => b.index(from, z, (s.source.place[2] * d.stride) as i64),
            Some(plane) => {
                fill(b, s, from, plane, z, y_lo, y_hi);
                let before = b.mul_imm(y_lo, line_step);
                b.sub(plane, before)
            }
        };
        let panel_bytes = (s.c * desc.n_taps() * width) as i64 * size;
        let n_panels = s.m.div_ceil(width);
        let to = b.index(out, img, (desc.out_channels * desc.output_len()) as i64 * size);
        let to = b.index(to, z, (pixels * desc.out_channels) as i64 * size);
        let at_operands: Vec<Val> = operands
            .iter()
            .zip(&desc.epilogue.operands)
            .map(|(&base, operand)| {
                let at = b.index(base, img, operand.batch_strides[0] as i64 * size);
                let at = b.index(at, group, operand.batch_strides[1] as i64 * size);
                b.index(at, z, (pixels * operand.row_stride) as i64 * size)
            })
            .collect();
        let unit = Unit {
            image: at,
            weights: b.index(weights, group, n_panels as i64 * panel_bytes),
            out: b.index(to, group, s.m as i64 * size),
            operands: at_operands,
            tile_lo,
            tile_hi,
        };
        let n_full = b.i64((s.m / width) as i64);
        let panel_lo = b.mul_imm(part, s.panels as i64);
        let panel_hi = b.add_imm(panel_lo, s.panels as i64);
        let full_hi = b.min(panel_hi, n_full);
        b.for_loop(panel_lo, full_hi, 1, &[], |b, panel, _| {
            lines(b, s, &unit, panel, width);
            Vec::new()
        });
        if !s.m.is_multiple_of(width) {
            let own = b.cmp(CmpOp::Lt, n_full, panel_hi);
            b.if_then(own, |b| lines(b, s, &unit, n_full, s.m % width));
        }
        Vec::new()
    });
}

/// First line of a tile of lines (of the one behind the last: all lines).
fn line_of(b: &mut Builder, s: &Shape<'_>, tile: Val) -> Val {
    let split = s.tiling.lines;
    if split.high == 1 {
        return tile;
    }
    let n_high = b.i64(split.n_high as i64);
    let high = b.min(tile, n_high);
    let line = b.mul_imm(tile, split.high as i64 - 1);
    b.add(line, high)
}

/// All tiles of a unit for one panel of `cols` output channels.
fn lines(b: &mut Builder, s: &Shape<'_>, unit: &Unit, panel: Val, cols: usize) {
    let split = s.tiling.lines;
    let n_high = b.i64(split.n_high as i64);
    let all = split.n_low == 0;
    let high_hi = if all { unit.tile_hi } else { b.min(unit.tile_hi, n_high) };
    let some = |b: &mut Builder, lo: Val, hi: Val, n_lines: usize| {
        b.for_loop(lo, hi, 1, &[], |b, tile, _| {
            let line = line_of(b, s, tile);
            line_tiles(b, s, unit, panel, line, n_lines, cols);
            Vec::new()
        });
    };
    some(b, unit.tile_lo, high_hi, split.high);
    if !all {
        let low_lo = b.max(unit.tile_lo, n_high);
        some(b, low_lo, unit.tile_hi, split.high - 1);
    }
}

/// The tiles of `n_lines` lines from `line` on.
fn line_tiles(b: &mut Builder, s: &Shape<'_>, unit: &Unit, panel: Val, line: Val, n_lines: usize, cols: usize) {
    if n_lines == 0 {
        return;
    }
    let size = s.desc.elem.size_bytes() as i64;
    let [_, h, w] = s.axes;
    let width = s.width(b);
    let at = b.index(unit.image, line, (s.source.place[1] * h.stride) as i64);
    let weights = b.index(unit.weights, panel, (s.c * s.desc.n_taps() * width) as i64 * size);
    let to = b.index(unit.out, line, (w.output * s.desc.out_channels) as i64 * size);
    let to = b.index(to, panel, width as i64 * size);
    let mut carried = vec![at, to];
    for (&base, operand) in unit.operands.iter().zip(&s.desc.epilogue.operands) {
        let at = b.index(base, line, (w.output * operand.row_stride) as i64 * size);
        carried.push(b.index(at, panel, (width * operand.col_stride) as i64 * size));
    }
    let split = s.tiling.cols;
    for (n_cols, times) in heights(split) {
        let (zero, times) = (b.i64(0), b.i64(times as i64));
        carried = b.for_loop(zero, times, 1, &carried, |b, _, at| {
            tile(b, s, weights, at, n_lines * n_cols, cols);
            let mut next = vec![
                b.add_imm(at[0], (n_cols * w.stride * s.source.place[0]) as i64),
                b.add_imm(at[1], (n_cols * s.desc.out_channels) as i64 * size),
            ];
            for (&addr, operand) in at[2..].iter().zip(&s.desc.epilogue.operands) {
                next.push(b.add_imm(addr, (n_cols * operand.row_stride) as i64 * size));
            }
            next
        });
    }
}

/// One tile of `rows` pixels and `cols` output channels; `at` is image, output, operands.
fn tile(b: &mut Builder, s: &Shape<'_>, weights: Val, at: &[Val], rows: usize, cols: usize) {
    let elem = s.desc.elem;
    let lanes = b.lanes();
    let [_, h, w] = s.axes;
    let (run, a_k) = *s.source.k_axes.last().expect("k has an axis");
    let b_k = s.width(b) * elem.size_bytes();
    let code = TileCode {
        elem,
        rows,
        vecs: cols.div_ceil(lanes),
        last_lanes: (cols - 1) % lanes + 1,
        a_row: s.source.place[0] * w.stride,
        per_line: w.output.max(1),
        a_line: s.source.place[1] * h.stride,
        a_k,
        b_k,
        b_exact: false,
        c_row: s.desc.out_channels * elem.size_bytes(),
    };
    let sums = code.zeros(b);
    let outer = &s.source.k_axes[..s.source.k_axes.len() - 1];
    let sums = walk(b, &code, outer, run, at[0], weights, sums).1;
    let place = TilePlace { c: at[1], operands: at[2..].to_vec() };
    code.finish(b, &place, &s.desc.epilogue, &sums);
}

/// Sums over the axes of k, the innermost of `run` steps; also gives where the weights go on.
fn walk(
    b: &mut Builder,
    code: &TileCode,
    outer: &[(usize, usize)],
    run: usize,
    image: Val,
    weights: Val,
    sums: Vec<Val>,
) -> (Val, Vec<Val>) {
    let Some((&(n, step), inner)) = outer.split_first() else {
        let sums = code.accumulate(b, image, weights, Steps::Const(run), sums);
        return (b.add_imm(weights, (run * code.b_k) as i64), sums);
    };
    let mut carried = vec![image, weights];
    carried.extend(sums);
    let (zero, n) = (b.i64(0), b.i64(n as i64));
    let c = b.for_loop(zero, n, 1, &carried, |b, _, c| {
        let (weights, sums) = walk(b, code, inner, run, c[0], c[1], c[2..].to_vec());
        let mut next = vec![b.add_imm(c[0], step as i64), weights];
        next.extend(sums);
        next
    });
    (c[1], c[2..].to_vec())
}

/// Copies what lines `y_lo..y_hi` of plane `z` of the output read, zeros where the image ends.
fn fill(b: &mut Builder, s: &Shape<'_>, image: Val, plane: Val, z: Val, y_lo: Val, y_hi: Val) {
    let size = s.desc.elem.size_bytes();
    let [d, h, w] = s.axes;
    let (from_pixel, take, to_pixel) =
        if s.image_last { (s.desc.in_channels, s.c, s.source.place[0] / size) } else { (1, 1, 1) };
    let lines = Lines {
        height: h.input,
        width: w.input,
        pad: w.pad_begin,
        from_pixel,
        take,
        to_pixel,
        plane_width: s.source.plane_width,
    };
    let n_planes = (d.kernel - 1) * d.dilation + 1;
    let n_lines = b.sub(y_hi, y_lo);
    let n_lines = b.add_imm(n_lines, -1);
    let n_lines = b.mul_imm(n_lines, h.stride as i64);
    let n_lines = b.add_imm(n_lines, ((h.kernel - 1) * h.dilation) as i64 + 1);
    let first = |b: &mut Builder, o: Val, a: ConvAxis| {
        let at = b.mul_imm(o, a.stride as i64);
        b.add_imm(at, -(a.pad_begin as i64))
    };
    let (z0, y0) = (first(b, z, d), first(b, y_lo, h));
    let (zero, planes, depth) = (b.i64(0), b.i64(n_planes as i64), b.i64(d.input as i64));
    let n_channels = b.i64(if s.image_last { 1 } else { s.c as i64 });
    let image_bytes = (s.desc.image_len() * size) as i64;
    b.for_loop(zero, n_channels, 1, &[image, plane], |b, _, ch| {
        b.for_loop(zero, planes, 1, &[ch[1]], |b, pz, at| {
            let iz = b.add(z0, pz);
            let z_in = b.cmp(CmpOp::LtU, iz, depth);
            let from = b.index(ch[0], iz, (h.input * w.input * from_pixel * size) as i64);
            lines.fill(b, from, Some(z_in), y0, n_lines, at[0]);
            vec![b.add_imm(at[0], s.source.place[2] as i64)]
        });
        vec![b.add_imm(ch[0], image_bytes), b.add_imm(ch[1], s.source.channel as i64)]
    });
}

/// Lines of an image that are copied into a plane with zeros around it; all in elements.
pub(crate) struct Lines {
    /// Lines of the image, and pixels of each.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Zeros before a line, in pixels.
    pub(crate) pad: usize,
    /// Between pixels of the image; `take` elements of each are copied.
    pub(crate) from_pixel: usize,
    pub(crate) take: usize,
    /// Between pixels of the plane.
    pub(crate) to_pixel: usize,
    /// Pixels of a line of the plane.
    pub(crate) plane_width: usize,
}

impl Lines {
    /// Copies `n` lines from line `first` (which may lie outside, as all do where `valid` is false) to `to`.
    pub(crate) fn fill(&self, b: &mut Builder, from: Val, valid: Option<Val>, first: Val, n: Val, to: Val) {
        let size = size_of::<f32>();
        let (zero, height) = (b.i64(0), b.i64(self.height as i64));
        let len = self.plane_width * self.to_pixel;
        b.for_loop(zero, n, 1, &[to], |b, line, to| {
            let y = b.add(first, line);
            let inside = b.cmp(CmpOp::LtU, y, height);
            let inside = valid.map_or(inside, |v| b.and(v, inside));
            b.if_else(
                inside,
                |b| {
                    let from = b.index(from, y, (self.width * self.from_pixel * size) as i64);
                    self.line(b, from, to[0]);
                    Vec::new()
                },
                |b| {
                    zeros(b, to[0], len);
                    Vec::new()
                },
            );
            vec![b.add_imm(to[0], (len * size) as i64)]
        });
    }

    fn line(&self, b: &mut Builder, from: Val, to: Val) {
        let size = size_of::<f32>();
        let before = self.pad.min(self.plane_width);
        let inner = self.width.min(self.plane_width - before);
        let behind = self.plane_width - before - inner;
        zeros(b, to, before * self.to_pixel);
        let (zero, start) = (b.i64(0), b.add_imm(to, (before * self.to_pixel * size) as i64));
        if self.from_pixel == self.to_pixel && self.take == self.to_pixel {
            copy(b, from, start, inner * self.take);
        } else {
            let n = b.i64(inner as i64);
            b.for_loop(zero, n, 1, &[from, start], |b, _, c| {
                copy(b, c[0], c[1], self.take);
                vec![b.add_imm(c[0], (self.from_pixel * size) as i64), b.add_imm(c[1], (self.to_pixel * size) as i64)]
            });
        }
        let end = b.add_imm(start, (inner * self.to_pixel * size) as i64);
        zeros(b, end, behind * self.to_pixel);
    }
}

/// Vectors that are moved in a turn of a loop.
const UNROLL: usize = 4;

/// `f(b, addresses, place in bytes, valid lanes)` for `n` elements from the addresses on, in vectors.
fn vectors(b: &mut Builder, addrs: &[Val], n: usize, f: impl Fn(&mut Builder, &[Val], i32, Option<Val>)) {
    let lanes = b.lanes();
    let bytes = lanes * size_of::<f32>();
    let full = n / lanes;
    let (zero, turns) = (b.i64(0), b.i64((full / UNROLL) as i64));
    let at = b.for_loop(zero, turns, 1, addrs, |b, _, c| {
        (0..UNROLL).for_each(|u| f(b, c, (u * bytes) as i32, None));
        c.iter().map(|&addr| b.add_imm(addr, (UNROLL * bytes) as i64)).collect()
    });
    let left = full % UNROLL;
    (0..left).for_each(|u| f(b, &at, (u * bytes) as i32, None));
    if !n.is_multiple_of(lanes) {
        let rest = b.i64((n % lanes) as i64);
        f(b, &at, (left * bytes) as i32, Some(rest));
    }
}

fn copy(b: &mut Builder, from: Val, to: Val, n: usize) {
    vectors(b, &[from, to], n, |b, at, off, few| match few {
        None => {
            let v = b.load(Ty::V(Elem::F32), at[0], off);
            b.store(at[1], off, v);
        }
        Some(few) => {
            let v = b.load_n(Elem::F32, at[0], off, few);
            b.store_n(at[1], off, v, few);
        }
    });
}

fn zeros(b: &mut Builder, to: Val, n: usize) {
    if n == 0 {
        return;
    }
    let zero = b.zero(Ty::V(Elem::F32));
    vectors(b, &[to], n, |b, at, off, few| match few {
        None => b.store(at[0], off, zero),
        Some(few) => b.store_n(at[0], off, zero, few),
    });
}
