//! Transposed convolution: every input pixel adds its weighted kernel to the output.
//!
//! Two kernels. The first is a multiplication per image and group, `cols[(oc, taps), pixel] = weights[c, (oc, taps)]^T *
//! image[c, pixel]`, into a workspace. The second folds the columns: a unit is one output channel, whose plane (output
//! with its cropped border, so that no tap needs a test) gathers all taps in scratch in a fixed order and is then written
//! once, with the epilogue.
//!
//! Buffers of the first kernel: image `[n, c, ..]`, weights `[c, oc / groups, ..]` (in the order of [`PackedLhs`] if the
//! plan says so), workspace, scratch. Of the second: workspace, nothing, output `[n, oc, ..]`, scratch, epilogue operands
//! (batch axes image and group, rows the output channels of a group, columns the output pixels).

use super::conv::{ConvDesc, PackedWeights};
use super::epilogue::Epilogue;
use super::gemm::{self, GemmBatch, GemmDesc, Rhs};
use super::{BUF_EPILOGUE, BUF_LHS, BUF_OUT, BUF_SCRATCH, KernelPlan};
use crate::builder::{BinOp, Builder, Target, Ty, Val};
use crate::error::CodegenError;

/// What [`plan`] returns.
#[derive(Clone, Debug)]
pub struct ConvTransposePlan {
    /// Image and weights to columns. Its `scratch` and `parallel_extent` are its own.
    pub columns: KernelPlan,
    /// How to pack constant weights; `None` where the kernel reads the ONNX layout.
    pub packed: Option<PackedWeights>,
    /// Bytes of the workspace between the kernels, shared by all threads.
    pub workspace_len_bytes: usize,
    /// Columns to the output.
    pub fold: KernelPlan,
}

/// Makes the kernels. In `desc`, an axis's `input` is the extent of the image and `output` that of the result, however
/// output padding came about; `in_channels` are those of the image.
pub fn plan(desc: &ConvDesc, target: Target) -> Result<ConvTransposePlan, CodegenError> {
    desc.check()?;
    let (m, channels) = (desc.out_channels / desc.groups, desc.in_channels / desc.groups);
    let (rows, pixels) = (m * desc.n_taps(), desc.image_len());
    let columns = GemmDesc {
        elem: desc.elem,
        batch: vec![
            GemmBatch { len: desc.n, a: 0, b: desc.in_channels * pixels, c: desc.groups * rows * pixels },
            GemmBatch { len: desc.groups, a: rows * channels, b: channels * pixels, c: rows * pixels },
        ],
        m: rows,
        n: pixels,
        k: channels,
        a_row_stride: 1,
        a_k_stride: rows,
        rhs: Rhs::RowMajor { row_stride: pixels },
        c_row_stride: pixels,
        epilogue: Epilogue::none(),
    };
    let (columns, packed) = gemm::plan_weights_first(&columns, desc.constant_weights, target)?;
    let mut b = Builder::new(format!("fold_{}x{}", desc.out_channels, desc.output_len()), target);
    b.keep_order();
    let extents = plane_extents(desc);
    record_fold(&mut b, desc, extents);
    let fold = KernelPlan {
        kernel: b.finish()?,
        scratch_len_bytes: plane_len(extents, b_lanes(desc, target)) * desc.elem.size_bytes(),
        parallel_extent: desc.n * desc.out_channels,
        flops: (desc.n * desc.groups * rows * pixels) as u64,
        partial_sums_in_output: false,
    };
    let workspace_len_bytes = desc.n * desc.groups * rows * pixels * desc.elem.size_bytes();
    let packed = packed.map(|layout| PackedWeights::transposed(layout, desc.groups));
    Ok(ConvTransposePlan { columns, packed, workspace_len_bytes, fold })
}

fn b_lanes(desc: &ConvDesc, target: Target) -> usize {
    target.lanes * 4 / desc.elem.size_bytes()
}

/// Everything that any tap reaches, and at least the output behind its cropped border.
fn plane_extents(desc: &ConvDesc) -> [usize; 3] {
    desc.axes3().map(|a| {
        let reach = a.input.saturating_sub(1) * a.stride + (a.kernel - 1) * a.dilation + 1;
        reach.max(a.pad_begin + a.output)
    })
}

fn plane_len(extents: [usize; 3], lanes: usize) -> usize {
    extents.iter().product::<usize>().next_multiple_of(lanes)
}

fn record_fold(b: &mut Builder, desc: &ConvDesc, extents: [usize; 3]) {
    let elem = desc.elem;
    let size = elem.size_bytes() as i64;
    let lanes = b.lanes_of(elem);
    let (cols, out, scratch) = (b.buf(BUF_LHS), b.buf(BUF_OUT), b.buf(BUF_SCRATCH));
    let operands: Vec<Val> = (0..desc.epilogue.operands.len()).map(|i| b.buf(BUF_EPILOGUE + i)).collect();
    let (lo, hi, zero) = (b.begin(), b.end(), b.i64(0));
    let [d, h, w] = desc.axes3();
    let [_, plane_h, plane_w] = extents.map(|e| e as i64);
    let plane_end = b.i64(plane_len(extents, lanes) as i64);
    let zeros = b.zero(Ty::V(elem));
    let channel_len = (desc.n_taps() * desc.image_len()) as i64;
    let per_group = desc.out_channels / desc.groups;
    b.for_loop(lo, hi, 1, &[], |b, unit, _| {
        b.for_loop(zero, plane_end, lanes as i64, &[scratch], |b, _, c| {
            b.store(c[0], 0, zeros);
            vec![b.add_imm(c[0], lanes as i64 * size)]
        });
        let from = b.index(cols, unit, channel_len * size);
        let (n_z, n_y, n_x) = (b.i64(d.kernel as i64), b.i64(h.kernel as i64), b.i64(w.kernel as i64));
        let (depth, height) = (b.i64(d.input as i64), b.i64(h.input as i64));
        // Columns are read front to back; taps move the place where they are added.
        b.for_loop(zero, n_z, 1, &[from, scratch], |b, _, z| {
            let z_done = b.for_loop(zero, n_y, 1, z, |b, _, y| {
                let y_done = b.for_loop(zero, n_x, 1, y, |b, _, x| {
                    let deep = b.for_loop(zero, depth, 1, x, |b, _, p| {
                        let lines = b.for_loop(zero, height, 1, p, |b, _, q| {
                            add_line(b, desc, q[0], q[1]);
                            let from = b.add_imm(q[0], w.input as i64 * size);
                            vec![from, b.add_imm(q[1], h.stride as i64 * plane_w * size)]
                        });
                        vec![lines[0], b.add_imm(p[1], d.stride as i64 * plane_h * plane_w * size)]
                    });
                    vec![deep[0], b.add_imm(x[1], w.dilation as i64 * size)]
                });
                vec![y_done[0], b.add_imm(y[1], h.dilation as i64 * plane_w * size)]
            });
            vec![z_done[0], b.add_imm(z[1], d.dilation as i64 * plane_h * plane_w * size)]
        });
        let n_out = b.i64(desc.out_channels as i64);
        let (img, channel) = (b.bin(BinOp::DivU, unit, n_out), b.bin(BinOp::RemU, unit, n_out));
        let n_per_group = b.i64(per_group as i64);
        let (group, row) = (b.bin(BinOp::DivU, channel, n_per_group), b.bin(BinOp::RemU, channel, n_per_group));
        let first = (d.pad_begin as i64 * plane_h + h.pad_begin as i64) * plane_w + w.pad_begin as i64;
        let mut carried = vec![b.add_imm(scratch, first * size)];
        carried.push(b.index(out, unit, desc.output_len() as i64 * size));
        for (&base, operand) in operands.iter().zip(&desc.epilogue.operands) {
            let at = b.index(base, img, operand.batch_strides[0] as i64 * size);
            let at = b.index(at, group, operand.batch_strides[1] as i64 * size);
            carried.push(b.index(at, row, operand.row_stride as i64 * size));
        }
        let (depth, height) = (b.i64(d.output as i64), b.i64(h.output as i64));
        b.for_loop(zero, depth, 1, &carried, |b, _, z| {
            let done = b.for_loop(zero, height, 1, z, |b, _, y| {
                desc.epilogue.apply_row(b, elem, y[0], y[1], &y[2..], w.output);
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
        Vec::new()
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
    use crate::kernels::EpilogueOperand;
    use crate::kernels::conv::ConvAxis;
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
        let plan = plan(&desc, Target::baseline()).unwrap();
        let mut image = rng.floats(n * c * desc.image_len());
        let mut weights = rng.floats(c * oc / groups * desc.n_taps());
        let mut bias = rng.floats(oc);
        let want: Vec<f64> = reference(&desc, &image, &weights)
            .into_iter()
            .enumerate()
            .map(|(i, v)| (v + f64::from(bias[i / desc.output_len() % oc])).max(0.0))
            .collect();
        if let Some(layout) = plan.packed {
            let raw = std::mem::replace(&mut weights, vec![0.0; layout.len_elems()]);
            layout.pack(&raw, &mut weights).unwrap();
        }
        let mut workspace = vec![0xffu8; plan.workspace_len_bytes];
        let scratch_len = plan.columns.scratch_len_bytes.max(plan.fold.scratch_len_bytes);
        let (mut scratch, mut out) = (vec![0xffu8; scratch_len], vec![f32::NAN; want.len()]);
        let code = compile(&[plan.columns.kernel.clone(), plan.fold.kernel.clone()]);
        let (work, scratch) = (workspace.as_mut_ptr(), scratch.as_mut_ptr());
        let first = [bytes(&mut image).as_mut_ptr(), bytes(&mut weights).as_mut_ptr(), work, scratch];
        let second = [work, work, bytes(&mut out).as_mut_ptr(), scratch, bytes(&mut bias).as_mut_ptr()];
        // SAFETY: buffers of the sizes that the description and the plan state.
        unsafe {
            code.entry(0).call(first.as_ptr(), 0, plan.columns.parallel_extent as i64);
            code.entry(1).call(second.as_ptr(), 0, plan.fold.parallel_extent as i64);
        }
        for (i, (&got, &want)) in out.iter().zip(&want).enumerate() {
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
