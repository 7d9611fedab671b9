//! Depthwise convolution: each output channel reads one image channel.
//!
//! A unit of work is one output channel of one image. It copies the image channel into a zero-bordered plane in scratch
//! (one load and store per element, against a multiply-add per tap), so that no tap needs a test, and then computes rows
//! of vectors, several at a time so that weights are broadcast once for them. Writes are exact; reads past a row's end
//! stay in the plane.

use super::conv::{ConvDesc, load_strided};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_RHS, BUF_SCRATCH, KernelPlan, multiply_add};
use crate::builder::{BinOp, Builder, Elem, Target, Ty, Val};
use crate::error::CodegenError;

/// Most vectors of one row that are computed together: enough chains to hide the latency of the multiply-add.
const MAX_VECS: usize = 8;

/// The padded plane of one image channel.
struct Plane {
    /// Padded extents, `[d, h, w]`; the width has room for whole vectors of outputs.
    extents: [usize; 3],
}

impl Plane {
    fn new(desc: &ConvDesc, lanes: usize) -> Plane {
        let axes = desc.axes3();
        let mut extents = axes.map(|a| {
            // What the last output reads, but at least all of the image, which is copied whole.
            let reach = a.output.saturating_sub(1) * a.stride + (a.kernel - 1) * a.dilation + 1;
            reach.max(a.pad_begin + a.input)
        });
        let w = axes[2];
        let reach = (w.output.next_multiple_of(lanes) + lanes) * w.stride + (w.kernel - 1) * w.dilation;
        extents[2] = extents[2].max(reach).next_multiple_of(16);
        Plane { extents }
    }

    fn len(&self) -> usize {
        self.extents.iter().product()
    }
}

/// Makes the kernel; `desc` has as many groups as image channels.
pub(crate) fn plan(desc: &ConvDesc, target: Target) -> Result<KernelPlan, CodegenError> {
    let elem = desc.elem;
    let size = elem.size_bytes();
    let mut b = Builder::new(format!("depthwise_{}x{}", desc.out_channels, desc.output_len()), target);
    b.keep_order();
    let plane = Plane::new(desc, b.lanes_of(elem));
    record(&mut b, desc, &plane);
    Ok(KernelPlan {
        kernel: b.finish()?,
        scratch_len_bytes: plane.len() * size,
        parallel_extent: desc.n * desc.out_channels,
        flops: 2 * (desc.n * desc.out_channels * desc.output_len()) as u64 * desc.n_taps() as u64,
        partial_sums_in_output: false,
    })
}

fn record(b: &mut Builder, desc: &ConvDesc, plane: &Plane) {
    let elem = desc.elem;
    let size = elem.size_bytes() as i64;
    let (image, weights, out) = (b.buf(BUF_LHS), b.buf(BUF_RHS), b.buf(BUF_OUT));
    let scratch = b.buf(BUF_SCRATCH);
    let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
    let (lo, hi) = (b.begin(), b.end());
    let (zero, plane_len) = (b.i64(0), b.i64(plane.len() as i64));
    // The border stays zero for all units; the inner part is overwritten by each.
    let zeros = b.zero(Ty::V(elem));
    let lanes = b.lanes_of(elem) as i64;
    b.for_loop(zero, plane_len, lanes, &[scratch], |b, _, c| {
        b.store(c[0], 0, zeros);
        vec![b.add_imm(c[0], lanes * size)]
    });
    let per_group = desc.out_channels / desc.groups;
    b.for_loop(lo, hi, 1, &[], |b, unit, _| {
        let n_out = b.i64(desc.out_channels as i64);
        let (img, channel) = (b.bin(BinOp::DivU, unit, n_out), b.bin(BinOp::RemU, unit, n_out));
        let n_per_group = b.i64(per_group as i64);
        let (group, row) = match per_group {
            1 => (channel, zero),
            _ => (b.bin(BinOp::DivU, channel, n_per_group), b.bin(BinOp::RemU, channel, n_per_group)),
        };
        let image_bytes = desc.image_len() as i64 * size;
        let src = b.index(image, img, desc.in_channels as i64 * image_bytes);
        let src = b.index(src, group, image_bytes);
        fill_plane(b, desc, plane, src, scratch);
        let w = b.index(weights, channel, desc.n_taps() as i64 * size);
        let to = b.index(out, unit, desc.output_len() as i64 * size);
        let operands: Vec<Val> = operands
            .iter()
            .zip(&desc.epilogue.operands)
            .map(|(&base, operand)| {
                let at = b.index(base, img, operand.batch_strides[0] as i64 * size);
                let at = b.index(at, group, operand.batch_strides[1] as i64 * size);
                b.index(at, row, operand.row_stride as i64 * size)
            })
            .collect();
        rows(b, desc, plane, scratch, w, to, &operands);
        Vec::new()
    });
}

/// Copies one image channel into the inner part of the plane.
fn fill_plane(b: &mut Builder, desc: &ConvDesc, plane: &Plane, src: Val, scratch: Val) {
    let elem = desc.elem;
    let size = elem.size_bytes() as i64;
    let [d, h, w] = desc.axes3();
    let [_, plane_h, plane_w] = plane.extents.map(|e| e as i64);
    let first = (d.pad_begin as i64 * plane_h + h.pad_begin as i64) * plane_w + w.pad_begin as i64;
    let start = b.add_imm(scratch, first * size);
    let (zero, depth, height) = (b.i64(0), b.i64(d.input as i64), b.i64(h.input as i64));
    let lanes = b.lanes_of(elem);
    b.for_loop(zero, depth, 1, &[src, start], |b, _, z| {
        let after = b.for_loop(zero, height, 1, z, |b, _, y| {
            let full = b.i64((w.input / lanes) as i64);
            let c = b.for_loop(zero, full, 1, y, |b, _, c| {
                let v = b.load(Ty::V(elem), c[0], 0);
                b.store(c[1], 0, v);
                vec![b.add_imm(c[0], lanes as i64 * size), b.add_imm(c[1], lanes as i64 * size)]
            });
            for i in 0..w.input % lanes {
                let v = b.load(Ty::S(elem), c[0], i as i32 * size as i32);
                b.store(c[1], i as i32 * size as i32, v);
            }
            vec![b.add_imm(y[0], w.input as i64 * size), b.add_imm(y[1], plane_w * size)]
        });
        vec![after[0], b.add_imm(z[1], plane_h * plane_w * size)]
    });
}

/// All output rows of one channel.
fn rows(b: &mut Builder, desc: &ConvDesc, plane: &Plane, scratch: Val, w: Val, out: Val, operands: &[Val]) {
    let elem = desc.elem;
    let size = elem.size_bytes() as i64;
    let [d, h, x] = desc.axes3();
    let [_, plane_h, plane_w] = plane.extents.map(|e| e as i64);
    let lanes = b.lanes_of(elem);
    // Strips of nearly equal width.
    let n_vecs = x.output.div_ceil(lanes).max(1);
    let vecs = n_vecs.div_ceil(n_vecs.div_ceil(MAX_VECS));
    let strip = vecs * lanes;
    let (n_strips, rest) = (x.output / strip, x.output % strip);
    let (zero, depth, height, strips) =
        (b.i64(0), b.i64(d.output as i64), b.i64(h.output as i64), b.i64(n_strips as i64));
    let mut carried = vec![scratch, out];
    carried.extend(operands);
    let col_steps: Vec<i64> = desc.epilogue.operands.iter().map(|op| op.col_stride as i64).collect();
    let advance = |b: &mut Builder, c: &[Val], n: i64, image_step: i64| {
        let mut next = vec![b.add_imm(c[0], image_step), b.add_imm(c[1], n * size)];
        for (&v, step) in c[2..].iter().zip(&col_steps) {
            next.push(b.add_imm(v, n * step * size));
        }
        next
    };
    b.for_loop(zero, depth, 1, &carried, |b, _, z| {
        let z_done = b.for_loop(zero, height, 1, z, |b, _, y| {
            let c = b.for_loop(zero, strips, 1, y, |b, _, c| {
                strip_code(b, desc, plane, w, c, vecs, lanes);
                advance(b, c, strip as i64, (strip * x.stride) as i64 * size)
            });
            if rest > 0 {
                strip_code(b, desc, plane, w, &c, rest.div_ceil(lanes), (rest - 1) % lanes + 1);
            }
            advance(b, y, x.output as i64, h.stride as i64 * plane_w * size)
        });
        let mut next = vec![b.add_imm(z[0], d.stride as i64 * plane_h * plane_w * size)];
        next.extend(&z_done[1..]);
        next
    });
}

/// `vecs` vectors of one output row, the last with `last_lanes` valid lanes.
fn strip_code(b: &mut Builder, desc: &ConvDesc, plane: &Plane, w: Val, at: &[Val], vecs: usize, last_lanes: usize) {
    let elem: Elem = desc.elem;
    let size = elem.size_bytes();
    let [d, h, x] = desc.axes3();
    let [_, plane_h, plane_w] = plane.extents;
    let lanes = b.lanes_of(elem);
    let zero = b.zero(Ty::V(elem));
    let mut sums = vec![zero; vecs];
    for z in 0..d.kernel {
        for y in 0..h.kernel {
            for tap in 0..x.kernel {
                let k = b.load_splat(elem, w, (((z * h.kernel + y) * x.kernel + tap) * size) as i32);
                let line = (z * d.dilation * plane_h + y * h.dilation) * plane_w + tap * x.dilation;
                for (j, sum) in sums.iter_mut().enumerate() {
                    let off = (line + j * lanes * x.stride) * size;
                    if i32::try_from(off).is_err() {
                        b.fail(format!("a depthwise kernel that spans {off} bytes"));
                    }
                    let v = load_strided(b, elem, at[0], off, x.stride);
                    *sum = multiply_add(b, v, k, *sum);
                }
            }
        }
    }
    for (j, &sum) in sums.iter().enumerate() {
        let n = (j + 1 == vecs && last_lanes < lanes).then(|| b.i64(last_lanes as i64));
        let off = (j * lanes * size) as i32;
        let mut value = sum;
        if let Some(apply) = &desc.epilogue.apply {
            let ops: Vec<Val> = desc
                .epilogue
                .operands
                .iter()
                .zip(&at[2..])
                .map(|(operand, &addr)| match (operand.col_stride, n) {
                    (0, _) => b.load_splat(elem, addr, 0),
                    (_, Some(n)) => b.load_n(elem, addr, off, n),
                    (_, None) => b.load(Ty::V(elem), addr, off),
                })
                .collect();
            value = apply(b, sum, &ops);
        }
        match n {
            Some(n) => b.store_n(at[1], off, value, n),
            None => b.store(at[1], off, value),
        }
    }
}
