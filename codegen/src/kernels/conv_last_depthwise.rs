//! Depthwise convolution with channels innermost: a lane is a channel, a tile some pixels of one line.
//!
//! No plane is made: which taps of a pixel lie inside the line is known when the kernel is recorded, since tiles at the ends
//! of a line are recorded one by one, and which lines a tap reads is a range of the loop over them (lines that are inside with
//! all taps have it unrolled). A tile reads each element of its lines once for all the taps that need it.

use super::conv::{ConvAxis, ConvDesc};
use super::conv_last::LastWeights;
use super::gemm::MIN_UNIT_FLOPS;
use super::gemm_tile::{RowSplit, TileCode, TilePlace};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, KernelPlan};
use crate::builder::{BinOp, Builder, CmpOp, Elem, Target, Ty, Val};
use crate::error::CodegenError;

/// Most pixels of a tile: chains enough to hide the latency of the multiply-add.
const MAX_PIXELS: usize = 8;

/// Most tiles that are recorded one by one.
const MAX_EDGE_TILES: usize = 8;

/// Most taps of a line's window that are recorded in one piece.
const MAX_TAPS: usize = 49;

/// Units that a large convolution is cut into.
const UNITS: usize = 16;

/// Neighbouring tiles of one line: the first pixel, pixels of a tile, number of tiles.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    pixels: usize,
    times: usize,
}

/// Whether all taps of pixels `first..first + pixels` lie in the line.
fn is_inside(axis: ConvAxis, first: usize, pixels: usize) -> bool {
    let end = (first + pixels - 1) * axis.stride + (axis.kernel - 1) * axis.dilation;
    first * axis.stride >= axis.pad_begin && end < axis.input + axis.pad_begin
}

fn runs(axis: ConvAxis) -> Vec<Run> {
    let split = RowSplit::new(axis.output, MAX_PIXELS);
    let mut runs: Vec<Run> = Vec::new();
    let mut first = 0;
    for tile in 0..split.n_tiles() {
        let pixels = if tile < split.n_high { split.high } else { split.high - 1 };
        match runs.last_mut() {
            Some(run)
                if run.pixels == pixels && is_inside(axis, run.first, pixels) && is_inside(axis, first, pixels) =>
            {
                run.times += 1;
            }
            _ => runs.push(Run { first, pixels, times: 1 }),
        }
        first += pixels;
    }
    runs
}

/// Whether this form exists: one output channel an image channel, few tiles at the ends of a line.
pub(crate) fn applies(desc: &ConvDesc) -> bool {
    let [_, _, w] = desc.axes3();
    desc.elem == Elem::F32
        && desc.in_channels == desc.groups
        && desc.out_channels == desc.groups
        && w.output > 0
        && w.kernel <= MAX_TAPS
        && runs(w).len() <= MAX_EDGE_TILES
}

/// Makes the kernel; the epilogue is that of [`super::conv_last`].
pub(crate) fn plan(desc: &ConvDesc, target: Target) -> Result<(KernelPlan, LastWeights), CodegenError> {
    desc.check()?;
    let mut b = Builder::new(format!("depthwise_last_{}x{}", desc.out_channels, desc.output_len()), target);
    b.keep_order();
    let [d, h, _] = desc.axes3();
    let flops = 2 * (desc.n * desc.out_channels * desc.output_len()) as u64 * desc.n_taps() as u64;
    let wanted = (flops as usize / MIN_UNIT_FLOPS).clamp(1, UNITS).div_ceil((desc.n * d.output).max(1));
    let lines = h.output.div_ceil(wanted).max(1);
    let s = Shape { desc, lines, runs: runs(desc.axes3()[2]) };
    s.record(&mut b);
    let weights = LastWeights::new(1, desc.groups, 1, desc.n_taps(), b.lanes(), true);
    let plan = KernelPlan {
        kernel: b.finish()?,
        scratch_len_bytes: 0,
        parallel_extent: desc.n * d.output * h.output.div_ceil(lines),
        flops,
        partial_sums_in_output: false,
    };
    Ok((plan, weights))
}

struct Shape<'a> {
    desc: &'a ConvDesc,
    /// Lines of a unit.
    lines: usize,
    runs: Vec<Run>,
}

const SIZE: i64 = 4;

/// The lines that a pixel's window touches.
#[derive(Clone, Copy)]
enum Window {
    /// All, with known distances.
    Whole,
    /// Planes and lines from the first to before the second.
    Part([Val; 2], [Val; 2]),
}

impl Shape<'_> {
    fn pixel(&self) -> i64 {
        self.desc.in_channels as i64 * SIZE
    }

    fn line(&self) -> i64 {
        self.desc.axes3()[2].input as i64 * self.pixel()
    }

    fn plane(&self) -> i64 {
        self.desc.axes3()[1].input as i64 * self.line()
    }

    fn record(&self, b: &mut Builder) {
        let desc = self.desc;
        let (image, weights, out) = (b.buf(BUF_LHS), b.buf(BUF_RHS), b.buf(BUF_OUT));
        let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
        let (lo, hi) = (b.begin(), b.end());
        let [d, h, w] = desc.axes3();
        let n_blocks = b.i64(h.output.div_ceil(self.lines) as i64);
        let n_planes = b.i64(d.output as i64);
        b.for_loop(lo, hi, 1, &[], |b, unit, _| {
            let (rest, block) = (b.bin(BinOp::DivU, unit, n_blocks), b.bin(BinOp::RemU, unit, n_blocks));
            let (img, z) = (b.bin(BinOp::DivU, rest, n_planes), b.bin(BinOp::RemU, rest, n_planes));
            let y_lo = b.mul_imm(block, self.lines as i64);
            let (more, all) = (b.add_imm(y_lo, self.lines as i64), b.i64(h.output as i64));
            let y_hi = b.min(more, all);
            let from = b.index(image, img, d.input as i64 * self.plane());
            let (z_first, z_range) = window(b, d, z);
            let from = b.index(from, z_first, self.plane());
            let first_line = b.mul_imm(z, h.output as i64);
            b.for_loop(y_lo, y_hi, 1, &[], |b, y, _| {
                let (y_first, y_range) = window(b, h, y);
                let from = b.index(from, y_first, self.line());
                let line = b.add(first_line, y);
                let pixel = b.mul_imm(line, w.output as i64);
                let to = b.index(out, img, (desc.output_len() * desc.out_channels) as i64 * SIZE);
                let mut at = vec![from, weights, b.index(to, pixel, desc.out_channels as i64 * SIZE)];
                for (&base, operand) in operands.iter().zip(&desc.epilogue.operands) {
                    let base = b.index(base, img, operand.batch_strides[0] as i64 * SIZE);
                    at.push(b.index(base, pixel, operand.row_stride as i64 * SIZE));
                }
                let part = Window::Part(z_range, y_range);
                if d.kernel > 1 || h.kernel * w.kernel > MAX_TAPS {
                    self.tiles(b, &at, part);
                } else {
                    let inside = self.all_lines(b, y_range);
                    b.if_else(
                        inside,
                        |b| {
                            self.tiles(b, &at, Window::Whole);
                            Vec::new()
                        },
                        |b| {
                            self.tiles(b, &at, part);
                            Vec::new()
                        },
                    );
                }
                Vec::new()
            });
            Vec::new()
        });
    }

    /// Whether a range of taps is all of them; of a kernel with one plane.
    fn all_lines(&self, b: &mut Builder, [lo, hi]: [Val; 2]) -> Val {
        let n = b.sub(hi, lo);
        let all = b.i64(self.desc.axes3()[1].kernel as i64);
        b.cmp(CmpOp::Eq, n, all)
    }

    /// The tiles of one line; `at` is the image where the window of pixel 0 begins in each line of it, weights, output,
    /// operands.
    fn tiles(&self, b: &mut Builder, at: &[Val], window: Window) {
        let [_, _, w] = self.desc.axes3();
        for &run in &self.runs {
            let first = run.first as i64;
            let mut start = vec![b.add_imm(at[0], (first * w.stride as i64 - w.pad_begin as i64) * self.pixel())];
            start.push(b.add_imm(at[2], first * self.pixel()));
            for (&addr, operand) in at[3..].iter().zip(&self.desc.epilogue.operands) {
                start.push(b.add_imm(addr, first * operand.row_stride as i64 * SIZE));
            }
            let (zero, times) = (b.i64(0), b.i64(run.times as i64));
            b.for_loop(zero, times, 1, &start, |b, _, c| {
                self.channels(b, c, at[1], run, window);
                let n = run.pixels as i64;
                let mut next = vec![b.add_imm(c[0], n * w.stride as i64 * self.pixel())];
                next.push(b.add_imm(c[1], n * self.pixel()));
                for (&addr, operand) in c[2..].iter().zip(&self.desc.epilogue.operands) {
                    next.push(b.add_imm(addr, n * operand.row_stride as i64 * SIZE));
                }
                next
            });
        }
    }

    /// All channels of one tile.
    fn channels(&self, b: &mut Builder, at: &[Val], weights: Val, run: Run, window: Window) {
        let lanes = b.lanes();
        let n = self.desc.out_channels;
        let mut carried = vec![at[0], weights];
        carried.extend(&at[1..]);
        let (zero, full) = (b.i64(0), b.i64((n / lanes) as i64));
        let bytes = lanes as i64 * SIZE;
        let c = b.for_loop(zero, full, 1, &carried, |b, _, c| {
            self.tile(b, c, run, window, lanes);
            let mut next = vec![b.add_imm(c[0], bytes), b.add_imm(c[1], self.desc.n_taps() as i64 * bytes)];
            next.push(b.add_imm(c[2], bytes));
            for (&addr, operand) in c[3..].iter().zip(&self.desc.epilogue.operands) {
                next.push(b.add_imm(addr, operand.batch_strides[1] as i64 * bytes));
            }
            next
        });
        if !n.is_multiple_of(lanes) {
            self.tile(b, &c, run, window, n % lanes);
        }
    }

    /// One tile of one vector of channels.
    fn tile(&self, b: &mut Builder, at: &[Val], run: Run, window: Window, last_lanes: usize) {
        let [_, h, _] = self.desc.axes3();
        let code = TileCode {
            elem: Elem::F32,
            rows: run.pixels,
            vecs: 1,
            last_lanes,
            a_row: 0,
            a_k: 0,
            per_line: usize::MAX,
            a_line: 0,
            b_k: 0,
            b_exact: false,
            c_row: self.desc.out_channels * SIZE as usize,
        };
        let mut sums = code.zeros(b);
        let weights_line = self.desc.axes3()[2].kernel as i64 * b.lanes() as i64 * SIZE;
        match window {
            Window::Whole => {
                for ky in 0..h.kernel as i64 {
                    let from = b.add_imm(at[0], ky * h.dilation as i64 * self.line());
                    let w = b.add_imm(at[1], ky * weights_line);
                    self.line_taps(b, from, w, run, last_lanes, &mut sums);
                }
            }
            Window::Part([z_lo, z_hi], [y_lo, y_hi]) => {
                let [d, ..] = self.desc.axes3();
                sums = b.for_loop(z_lo, z_hi, 1, &sums, |b, kz, sums| {
                    let from = b.index(at[0], kz, d.dilation as i64 * self.plane());
                    let w = b.index(at[1], kz, h.kernel as i64 * weights_line);
                    b.for_loop(y_lo, y_hi, 1, sums, |b, ky, sums| {
                        let from = b.index(from, ky, h.dilation as i64 * self.line());
                        let w = b.index(w, ky, weights_line);
                        let mut sums = sums.to_vec();
                        self.line_taps(b, from, w, run, last_lanes, &mut sums);
                        sums
                    })
                });
            }
        }
        let place = TilePlace { c: at[2], operands: at[3..].to_vec() };
        code.finish(b, &place, &self.desc.epilogue, &sums);
    }

    /// The taps of one line.
    fn line_taps(&self, b: &mut Builder, from: Val, weights: Val, run: Run, n: usize, sums: &mut [Val]) {
        let [_, _, w] = self.desc.axes3();
        let lanes = b.lanes();
        let few = (n < lanes).then(|| b.i64(n as i64));
        let inside = |pixel: usize, tap: usize| {
            let at = (run.first + pixel) * w.stride + tap * w.dilation;
            at >= w.pad_begin && at < w.input + w.pad_begin
        };
        let taps: Vec<Val> =
            (0..w.kernel).map(|tap| b.load(Ty::V(Elem::F32), weights, (tap * lanes * SIZE as usize) as i32)).collect();
        let last = (run.pixels - 1) * w.stride + (w.kernel - 1) * w.dilation;
        for place in 0..=last {
            let readers: Vec<(usize, usize)> = (0..run.pixels)
                .flat_map(|pixel| (0..w.kernel).map(move |tap| (pixel, tap)))
                .filter(|&(pixel, tap)| pixel * w.stride + tap * w.dilation == place && inside(pixel, tap))
                .collect();
            if readers.is_empty() {
                continue;
            }
            let off = i32::try_from(place as i64 * self.pixel()).unwrap_or_else(|_| {
                b.fail(format!("{place} pixels of {} channels in one tile", self.desc.in_channels));
                0
            });
            let x = match few {
                Some(n) => b.load_n(Elem::F32, from, off, n),
                None => b.load(Ty::V(Elem::F32), from, off),
            };
            for (pixel, tap) in readers {
                sums[pixel] = b.fma(x, taps[tap], sums[pixel]);
            }
        }
    }
}

/// Where the window of output `o` begins, and the taps that lie inside.
fn window(b: &mut Builder, axis: ConvAxis, o: Val) -> (Val, [Val; 2]) {
    let at = b.mul_imm(o, axis.stride as i64);
    let first = b.add_imm(at, -(axis.pad_begin as i64));
    // Tap t is inside where 0 <= first + t * dilation < input.
    let (zero, n, dilation) = (b.i64(0), b.i64(axis.kernel as i64), b.i64(axis.dilation as i64));
    let missing = b.sub(zero, first);
    let missing = b.max(missing, zero);
    let missing = b.add_imm(missing, axis.dilation as i64 - 1);
    let lo = b.bin(BinOp::DivU, missing, dilation);
    let end = b.i64((axis.input + axis.dilation - 1) as i64);
    let left = b.sub(end, first);
    let left = b.max(left, zero);
    let hi = b.bin(BinOp::DivU, left, dilation);
    let hi = b.min(hi, n);
    let lo = b.min(lo, hi);
    (first, [lo, hi])
}
