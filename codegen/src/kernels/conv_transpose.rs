//! Transposed convolution: every input pixel adds its weighted kernel to the output.
//!
//! A unit of work is some output channels of one image and group. Their columns, `cols[(oc, taps), pixel] =
//! weights[c, (oc, taps)]^T * image[c, pixel]`, are multiplied into scratch by register tiles; then each channel's plane
//! (output with its cropped border, so that no tap needs a test) gathers all taps in a fixed order and is written once,
//! with the epilogue.
//!
//! Buffers: image `[n, c, ..]`, weights `[c, oc / groups, ..]` (packed if the plan says so), output `[n, oc, ..]`,
//! scratch, epilogue operands (batch axes image and group, rows the output channels of a group, columns the output
//! pixels).

use super::conv::{ConvDesc, ConvPlan, PackedWeights};
use super::gemm::{L2_BUDGET_BYTES, MIN_UNIT_FLOPS};
use super::gemm_tile::{self, RowSplit, Steps, TileCode, TileShape};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, BUF_SCRATCH, KernelPlan, PackedLhs};
use crate::builder::{BinOp, Builder, Target, Ty, Val};
use crate::error::CodegenError;

/// Sizes of one kernel.
struct Shape {
    /// Input channels and output channels of a group.
    c: usize,
    m: usize,
    /// Output channels of a unit, a divisor of `m`.
    unit_channels: usize,
    /// Pixels of the image, and elements between rows of columns.
    pixels: usize,
    pitch: usize,
    tile: TileShape,
    split: RowSplit,
    /// Extents of the plane, and its length rounded up to whole vectors.
    plane: [usize; 3],
    plane_len: usize,
}

impl Shape {
    fn new(desc: &ConvDesc, target: Target) -> Shape {
        let lanes = target.lanes * 4 / desc.elem.size_bytes();
        let (c, m) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
        let (pixels, taps) = (desc.image_len(), desc.n_taps());
        let per_channel = taps * pixels.max(1);
        let fits = L2_BUDGET_BYTES / (per_channel * desc.elem.size_bytes()).max(1);
        let repays = MIN_UNIT_FLOPS.div_ceil((2 * c * per_channel).max(1));
        let most = fits.min(repays.max(1)).max(1);
        let unit_channels = (1..=m.max(1)).rev().find(|&n| n <= most && m.is_multiple_of(n)).unwrap_or(1);
        let rows = unit_channels * taps;
        let tile = gemm_tile::choose(rows, pixels, desc.elem, target);
        // Everything that any tap reaches, and at least the output behind its cropped border.
        let plane = desc.axes3().map(|a| {
            let reach = a.input.saturating_sub(1) * a.stride + (a.kernel - 1) * a.dilation + 1;
            reach.max(a.pad_begin + a.output)
        });
        Shape {
            c,
            m,
            unit_channels,
            pixels,
            pitch: pixels.next_multiple_of(tile.vecs * lanes),
            tile,
            split: RowSplit::new(rows, tile.rows),
            plane,
            plane_len: plane.iter().product::<usize>().next_multiple_of(lanes),
        }
    }

    fn blocks(&self) -> usize {
        self.m.div_ceil(self.unit_channels)
    }
}

/// Makes the kernel. In `desc`, an axis's `input` is the extent of the image and `output` that of the result, however
/// output padding came about; `in_channels` are those of the image; `winograd` is not used.
pub fn plan(desc: &ConvDesc, target: Target) -> Result<ConvPlan, CodegenError> {
    desc.check()?;
    let s = Shape::new(desc, target);
    let name = format!("conv_transpose_{}x{}x{}", desc.out_channels, desc.in_channels, desc.output_len());
    let mut b = Builder::new(name, target);
    b.keep_order();
    record(&mut b, desc, &s);
    let (taps, size) = (desc.n_taps(), desc.elem.size_bytes());
    let plan = KernelPlan {
        kernel: b.finish()?,
        scratch_len_bytes: (s.plane_len + s.unit_channels * taps * s.pitch) * size,
        parallel_extent: desc.n * desc.groups * s.blocks(),
        flops: 2 * (desc.n * desc.out_channels * taps * s.pixels) as u64 * s.c as u64,
        partial_sums_in_output: false,
    };
    let layout = PackedLhs::new(s.unit_channels * taps, s.c, s.c, s.tile.rows);
    let packed = desc.constant_weights.then(|| PackedWeights::transposed(layout, desc.groups, s.blocks()));
    Ok(ConvPlan { plan, packed })
}

fn record(b: &mut Builder, desc: &ConvDesc, s: &Shape) {
    let size = desc.elem.size_bytes() as i64;
    let (image, weights, out, plane) = (b.buf(BUF_LHS), b.buf(BUF_RHS), b.buf(BUF_OUT), b.buf(BUF_SCRATCH));
    let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
    let cols = b.add_imm(plane, s.plane_len as i64 * size);
    let (lo, hi, zero) = (b.begin(), b.end(), b.i64(0));
    let taps = desc.n_taps();
    b.for_loop(lo, hi, 1, &[], |b, unit, _| {
        let (n_blocks, n_groups) = (b.i64(s.blocks() as i64), b.i64(desc.groups as i64));
        let (batch, block) = (b.bin(BinOp::DivU, unit, n_blocks), b.bin(BinOp::RemU, unit, n_blocks));
        let (img, group) = (b.bin(BinOp::DivU, batch, n_groups), b.bin(BinOp::RemU, batch, n_groups));
        let src = b.index(image, batch, (s.c * s.pixels) as i64 * size);
        let w = b.index(weights, group, (s.c * s.m * taps) as i64 * size);
        let block_len = s.unit_channels * taps * if desc.constant_weights { s.c } else { 1 };
        let w = b.index(w, block, block_len as i64 * size);
        columns(b, desc, s, src, w, cols);
        let first = b.mul_imm(block, s.unit_channels as i64);
        let to = b.index(out, batch, (s.m * desc.output_len()) as i64 * size);
        let mut carried = vec![cols, b.index(to, first, desc.output_len() as i64 * size)];
        for (&base, operand) in operands.iter().zip(&desc.epilogue.operands) {
            let at = b.index(base, img, operand.batch_strides[0] as i64 * size);
            let at = b.index(at, group, operand.batch_strides[1] as i64 * size);
            carried.push(b.index(at, first, operand.row_stride as i64 * size));
        }
        let n_channels = b.i64(s.unit_channels as i64);
        b.for_loop(zero, n_channels, 1, &carried, |b, _, c| {
            fold(b, desc, s, c[0], plane);
            write_rows(b, desc, s, plane, c[1], &c[2..]);
            let mut next = vec![b.add_imm(c[0], (taps * s.pitch) as i64 * size)];
            next.push(b.add_imm(c[1], desc.output_len() as i64 * size));
            for (&at, operand) in c[2..].iter().zip(&desc.epilogue.operands) {
                next.push(b.add_imm(at, operand.row_stride as i64 * size));
            }
            next
        });
        Vec::new()
    });
}

/// The unit's columns into scratch.
fn columns(b: &mut Builder, desc: &ConvDesc, s: &Shape, src: Val, w: Val, cols: Val) {
    let (zero, n_high, n_all) = (b.i64(0), b.i64(s.split.n_high as i64), b.i64(s.split.n_tiles() as i64));
    b.for_loop(zero, n_high, 1, &[], |b, tile, _| {
        let row = b.mul_imm(tile, s.split.high as i64);
        tile_rows(b, desc, s, [src, w, cols, row], s.split.high);
        Vec::new()
    });
    if s.split.n_low > 0 {
        b.for_loop(n_high, n_all, 1, &[], |b, tile, _| {
            let row = b.mul_imm(tile, s.split.high as i64 - 1);
            let row = b.add_imm(row, s.split.n_high as i64);
            tile_rows(b, desc, s, [src, w, cols, row], s.split.high - 1);
            Vec::new()
        });
    }
}

/// One tile's rows over all pixels.
fn tile_rows(b: &mut Builder, desc: &ConvDesc, s: &Shape, [src, w, cols, row]: [Val; 4], rows: usize) {
    let size = desc.elem.size_bytes();
    let lanes = b.lanes_of(desc.elem);
    let width = s.tile.vecs * lanes;
    let a_k = if desc.constant_weights { rows } else { s.m * desc.n_taps() };
    let a = b.index(w, row, (size * if desc.constant_weights { s.c } else { 1 }) as i64);
    let to = b.index(cols, row, (s.pitch * size) as i64);
    let code = |n_cols: usize| TileCode {
        elem: desc.elem,
        rows,
        vecs: n_cols.div_ceil(lanes),
        last_lanes: (n_cols - 1) % lanes + 1,
        a_row: size,
        a_k: a_k * size,
        per_line: usize::MAX,
        a_line: 0,
        b_k: s.pixels * size,
        b_exact: true,
        c_row: s.pitch * size,
    };
    let run = |b: &mut Builder, code: &TileCode, from: Val, to: Val| {
        let init = code.zeros(b);
        let sums = code.accumulate(b, a, from, Steps::Const(s.c), init);
        code.store(b, to, &sums);
    };
    let (zero, full) = (b.i64(0), b.i64((s.pixels / width) as i64));
    let step = (width * size) as i64;
    let c = b.for_loop(zero, full, 1, &[src, to], |b, _, c| {
        run(b, &code(width), c[0], c[1]);
        vec![b.add_imm(c[0], step), b.add_imm(c[1], step)]
    });
    if !s.pixels.is_multiple_of(width) {
        run(b, &code(s.pixels % width), c[0], c[1]);
    }
}

/// One channel's columns, at `from`, added into the cleared plane.
fn fold(b: &mut Builder, desc: &ConvDesc, s: &Shape, from: Val, plane: Val) {
    let size = desc.elem.size_bytes() as i64;
    let [d, h, w] = desc.axes3();
    let [_, plane_h, plane_w] = s.plane.map(|e| e as i64);
    let (zero, plane_end, lanes) = (b.i64(0), b.i64(s.plane_len as i64), b.lanes_of(desc.elem) as i64);
    let zeros = b.zero(Ty::V(desc.elem));
    b.for_loop(zero, plane_end, lanes, &[plane], |b, _, c| {
        b.store(c[0], 0, zeros);
        vec![b.add_imm(c[0], lanes * size)]
    });
    let (n_z, n_y, n_x) = (b.i64(d.kernel as i64), b.i64(h.kernel as i64), b.i64(w.kernel as i64));
    let (depth, height) = (b.i64(d.input as i64), b.i64(h.input as i64));
    // Columns are read front to back; taps move the place where they are added.
    b.for_loop(zero, n_z, 1, &[from, plane], |b, _, z| {
        let z_done = b.for_loop(zero, n_y, 1, z, |b, _, y| {
            let y_done = b.for_loop(zero, n_x, 1, y, |b, _, x| {
                b.for_loop(zero, depth, 1, x, |b, _, p| {
                    let lines = b.for_loop(zero, height, 1, p, |b, _, q| {
                        add_line(b, desc, q[0], q[1]);
                        let from = b.add_imm(q[0], w.input as i64 * size);
                        vec![from, b.add_imm(q[1], h.stride as i64 * plane_w * size)]
                    });
                    vec![lines[0], b.add_imm(p[1], d.stride as i64 * plane_h * plane_w * size)]
                });
                vec![b.add_imm(x[0], s.pitch as i64 * size), b.add_imm(x[1], w.dilation as i64 * size)]
            });
            vec![y_done[0], b.add_imm(y[1], h.dilation as i64 * plane_w * size)]
        });
        vec![z_done[0], b.add_imm(z[1], d.dilation as i64 * plane_h * plane_w * size)]
    });
}

/// The inner part of the plane through the epilogue to one output channel.
fn write_rows(b: &mut Builder, desc: &ConvDesc, s: &Shape, plane: Val, out: Val, operands: &[Val]) {
    let size = desc.elem.size_bytes() as i64;
    let [d, h, w] = desc.axes3();
    let [_, plane_h, plane_w] = s.plane.map(|e| e as i64);
    let first = (d.pad_begin as i64 * plane_h + h.pad_begin as i64) * plane_w + w.pad_begin as i64;
    let mut carried = vec![b.add_imm(plane, first * size), out];
    carried.extend(operands);
    let (zero, depth, height) = (b.i64(0), b.i64(d.output as i64), b.i64(h.output as i64));
    b.for_loop(zero, depth, 1, &carried, |b, _, z| {
        let done = b.for_loop(zero, height, 1, z, |b, _, y| {
            desc.epilogue.apply_row(b, desc.elem, y[0], y[1], &y[2..], w.output);
            let mut next = vec![b.add_imm(y[0], plane_w * size), b.add_imm(y[1], w.output as i64 * size)];
            for (&at, operand) in y[2..].iter().zip(&desc.epilogue.operands) {
                next.push(b.add_imm(at, (operand.col_stride * w.output) as i64 * size));
            }
            next
        });
        let mut next = vec![b.add_imm(z[0], plane_h * plane_w * size)];
        next.extend(&done[1..]);
        next
    });
}

/// Adds one line of columns into the plane, `stride` apart.
fn add_line(b: &mut Builder, desc: &ConvDesc, from: Val, to: Val) {
    let elem = desc.elem;
    let size = elem.size_bytes() as i64;
    let w = desc.axes3()[2];
    let lanes = b.lanes_of(elem);
    let zero = b.i64(0);
    let ((ty, step), count) = match w.stride {
        1 => ((Ty::V(elem), lanes), w.input / lanes),
        _ => ((Ty::S(elem), 1), w.input),
    };
    let count_val = b.i64(count as i64);
    let step = step as i64;
    let add = |b: &mut Builder, ty: Ty, from: Val, to: Val| {
        let (v, sum) = (b.load(ty, from, 0), b.load(ty, to, 0));
        let sum = b.add(sum, v);
        b.store(to, 0, sum);
    };
    let mut at = b.for_loop(zero, count_val, 1, &[from, to], |b, _, c| {
        add(b, ty, c[0], c[1]);
        let from = b.add_imm(c[0], step * size);
        vec![from, b.add_imm(c[1], step * w.stride as i64 * size)]
    });
    if w.stride == 1 {
        for _ in 0..w.input % lanes {
            add(b, Ty::S(elem), at[0], at[1]);
            at = vec![b.add_imm(at[0], size), b.add_imm(at[1], size)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Elem;
    use crate::kernels::conv::ConvAxis;
    use crate::kernels::{Epilogue, EpilogueOperand};
    use crate::testing::{Rng, bytes, compile};

    /// An axis as ONNX defines it: `output = stride * (input - 1) + output_padding + reach - pads`.
    fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, pads: [usize; 2], extra: usize) -> ConvAxis {
        let output = stride * (input - 1) + extra + (kernel - 1) * dilation + 1 - pads[0] - pads[1];
        ConvAxis { input, output, kernel, stride, dilation, pad_begin: pads[0] }
    }

    fn reference(desc: &ConvDesc, image: &[f32], weights: &[f32]) -> Vec<f64> {
        let [d, h, w] = desc.axes3();
        let (c_in, c_out) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
        let mut out = vec![0.0; desc.n * desc.out_channels * desc.output_len()];
        let to = |i: usize, tap: usize, a: ConvAxis| {
            (i * a.stride + tap * a.dilation).checked_sub(a.pad_begin).filter(|&o| o < a.output)
        };
        for (i, &x) in image.iter().enumerate() {
            let (ix, iy, iz) = (i % w.input, i / w.input % h.input, i / (w.input * h.input) % d.input);
            let channel = i / desc.image_len() % desc.in_channels;
            let n = i / desc.image_len() / desc.in_channels;
            for oc in 0..c_out {
                for tap in 0..desc.n_taps() {
                    let (kx, ky, kz) = (tap % w.kernel, tap / w.kernel % h.kernel, tap / (w.kernel * h.kernel));
                    if let (Some(z), Some(y), Some(x_out)) = (to(iz, kz, d), to(iy, ky, h), to(ix, kx, w)) {
                        let plane = n * desc.out_channels + channel / c_in * c_out + oc;
                        let at = ((plane * d.output + z) * h.output + y) * w.output + x_out;
                        let weight = weights[(channel * c_out + oc) * desc.n_taps() + tap];
                        out[at] += f64::from(x) * f64::from(weight);
                    }
                }
            }
        }
        out
    }

    fn check(groups: usize, c: usize, oc: usize, axes: &[ConvAxis], constant_weights: bool) {
        let mut rng = Rng::new((c * 31 + oc) as u64);
        let n = 2;
        let bias = EpilogueOperand { batch_strides: vec![0, oc / groups], row_stride: 1, col_stride: 0 };
        let desc = ConvDesc {
            elem: Elem::F32,
            n,
            groups,
            in_channels: c,
            out_channels: oc,
            axes: axes.to_vec(),
            constant_weights,
            winograd: 0,
            epilogue: Epilogue::none().plus(bias).relu(),
        };
        let ConvPlan { plan, packed } = plan(&desc, Target::baseline()).unwrap();
        let mut image = rng.floats(n * c * desc.image_len());
        let mut weights = rng.floats(c * oc / groups * desc.n_taps());
        let mut bias = rng.floats(oc);
        let want: Vec<f64> = reference(&desc, &image, &weights)
            .into_iter()
            .enumerate()
            .map(|(i, v)| (v + f64::from(bias[i / desc.output_len() % oc])).max(0.0))
            .collect();
        if let Some(layout) = packed {
            let raw = std::mem::replace(&mut weights, vec![0.0; layout.len_elems()]);
            layout.pack(&raw, &mut weights).unwrap();
        }
        let code = compile(std::slice::from_ref(&plan.kernel));
        for pieces in [1, 2] {
            let (mut scratch, mut out) = (vec![0xffu8; plan.scratch_len_bytes], vec![f32::NAN; want.len()]);
            let table = [
                bytes(&mut image).as_mut_ptr(),
                bytes(&mut weights).as_mut_ptr(),
                bytes(&mut out).as_mut_ptr(),
                scratch.as_mut_ptr(),
                bytes(&mut bias).as_mut_ptr(),
            ];
            for piece in 0..pieces {
                let (lo, hi) = (plan.parallel_extent * piece / pieces, plan.parallel_extent * (piece + 1) / pieces);
                // SAFETY: buffers of the sizes that the description and the plan state.
                unsafe { code.entry(0).call(table.as_ptr(), lo as i64, hi as i64) };
            }
            check_close(&desc, &out, &want);
        }
    }

    fn check_close(desc: &ConvDesc, out: &[f32], want: &[f64]) {
        for (i, (&got, &want)) in out.iter().zip(want).enumerate() {
            assert!((f64::from(got) - want).abs() < 1e-4, "{desc:?}: element {i}: {got} vs {want}");
        }
    }

    #[test]
    fn matches_the_definition() {
        for constant in [false, true] {
            for stride in [1, 2, 3] {
                for width in [1, 3, 4, 9] {
                    let w = axis(width, 3, stride, 1, [1, 0], stride - 1);
                    check(1, 3, 5, &[axis(4, 3, stride, 1, [1, 1], 0), w], constant);
                    check(2, 4, 6, &[axis(4, 2, 2, 2, [0, 1], 1), w], constant);
                }
            }
            check(1, 40, 13, &[axis(12, 4, 2, 1, [1, 1], 0)], constant);
            let a = axis(3, 2, 2, 1, [0, 1], 0);
            check(3, 3, 3, &[a, a, a], constant);
        }
    }
}
