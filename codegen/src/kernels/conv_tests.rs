//! Convolutions against plain loops: strides, dilations, pads, groups, ranks, widths around the vector.

use super::*;
use crate::kernels::EpilogueOperand;
use crate::testing::{Rng, assert_same_bits, bytes, compile, interpret, targets};

/// The definition, in f64.
fn reference(desc: &ConvDesc, image: &[f32], weights: &[f32]) -> Vec<f64> {
    let [d, h, w] = desc.axes3();
    let (c_in, c_out) = (desc.in_channels / desc.groups, desc.out_channels / desc.groups);
    let mut out = Vec::new();
    let inside = |o: usize, tap: usize, a: ConvAxis| {
        (o * a.stride + tap * a.dilation).checked_sub(a.pad_begin).filter(|&i| i < a.input)
    };
    for n in 0..desc.n {
        for oc in 0..desc.out_channels {
            for oz in 0..d.output {
                for oy in 0..h.output {
                    for ox in 0..w.output {
                        let mut sum = 0.0;
                        for c in 0..c_in {
                            let channel = n * desc.in_channels + oc / c_out * c_in + c;
                            for kz in 0..d.kernel {
                                for ky in 0..h.kernel {
                                    for kx in 0..w.kernel {
                                        let at = (inside(oz, kz, d), inside(oy, ky, h), inside(ox, kx, w));
                                        if let (Some(z), Some(y), Some(x)) = at {
                                            let k = ((oc * c_in + c) * d.kernel + kz) * h.kernel + ky;
                                            let i = ((channel * d.input + z) * h.input + y) * w.input + x;
                                            sum += f64::from(weights[k * w.kernel + kx]) * f64::from(image[i]);
                                        }
                                    }
                                }
                            }
                        }
                        out.push(sum);
                    }
                }
            }
        }
    }
    out
}

fn check(desc: &ConvDesc, seed: u64) {
    let mut rng = Rng::new(seed);
    let c_out = desc.out_channels / desc.groups;
    let mut image = rng.floats(desc.n * desc.in_channels * desc.image_len());
    let weights = rng.floats(desc.out_channels * desc.in_channels / desc.groups * desc.n_taps());
    let out_len = desc.n * desc.out_channels * desc.output_len();
    let (mut bias, mut residual) = (rng.floats(desc.out_channels), rng.floats(out_len));
    let mut want = reference(desc, &image, &weights);
    for (i, v) in want.iter_mut().enumerate() {
        let channel = i / desc.output_len().max(1) % desc.out_channels;
        *v = (*v + f64::from(bias[channel]) + f64::from(residual[i])).max(0.0);
    }
    let pixels = desc.output_len();
    let operand = |batch: [usize; 2], row_stride, col_stride| EpilogueOperand {
        batch_strides: batch.to_vec(),
        row_stride,
        col_stride,
    };
    let mut desc = desc.clone();
    desc.epilogue = Epilogue::none()
        .plus(operand([0, c_out], 1, 0))
        .plus(operand([desc.out_channels * pixels, c_out * pixels], pixels, 1))
        .relu();
    for (constant_weights, winograd) in [(false, 0), (true, 0), (true, 2), (true, 4)] {
        (desc.constant_weights, desc.winograd) = (constant_weights, winograd);
        for target in targets() {
            if winograd == 0 || target == target.narrow() && conv_winograd::applies(&desc) {
                let made = plan(&desc, target).unwrap();
                check_plan(&desc, made, &mut image, &weights, &mut bias, &mut residual, &want);
            }
        }
    }
    (desc.constant_weights, desc.winograd) = (true, 0);
    desc.epilogue = Epilogue::none()
        .plus(operand([0, c_out], 0, 1))
        .plus(operand([desc.out_channels * pixels, c_out], desc.out_channels, 1))
        .relu();
    let (want, mut residual) = (channels_last(&want, &desc), channels_last(&residual, &desc));
    for image_last in [false, true] {
        if image_last {
            image = moved(&image, desc.n, desc.in_channels, desc.image_len());
        }
        let forms = [0, 2, 4].into_iter().filter(|&tile| tile == 0 || image_last && conv_winograd::applies(&desc));
        for (target, winograd) in targets().flat_map(|t| forms.clone().map(move |tile| (t, tile))).collect::<Vec<_>>() {
            desc.winograd = winograd;
            let made = plan_last(&desc, image_last, target).unwrap();
            check_plan(&desc, made, &mut image, &weights, &mut bias, &mut residual, &want);
        }
    }
}

/// `[n][channels][pixels]` as `[n][pixels][channels]`.
fn moved<T: Copy>(from: &[T], n: usize, channels: usize, pixels: usize) -> Vec<T> {
    let image = |i: usize| &from[i * channels * pixels..][..channels * pixels];
    (0..n).flat_map(|i| (0..pixels).flat_map(move |p| (0..channels).map(move |c| image(i)[c * pixels + p]))).collect()
}

fn channels_last<T: Copy>(result: &[T], desc: &ConvDesc) -> Vec<T> {
    moved(result, desc.n, desc.out_channels, desc.output_len())
}

fn check_plan(
    desc: &ConvDesc,
    ConvPlan { plan, packed }: ConvPlan,
    image: &mut [f32],
    weights: &[f32],
    bias: &mut [f32],
    residual: &mut [f32],
    want: &[f64],
) {
    let out_len = want.len();
    let mut weights = weights.to_vec();
    if let Some(layout) = packed {
        let raw = std::mem::replace(&mut weights, vec![0.0; layout.len_elems()]);
        layout.pack(&raw, &mut weights).unwrap();
    }
    let code = compile(std::slice::from_ref(&plan.kernel));
    let mut results = Vec::new();
    for pieces in [1, 3] {
        let mut out = vec![f32::NAN; out_len];
        // Garbage in scratch must not reach the output.
        let mut scratch = vec![0xffu8; plan.scratch_len_bytes];
        let table = [
            bytes(image).as_mut_ptr(),
            bytes(&mut weights).as_mut_ptr(),
            bytes(&mut out).as_mut_ptr(),
            scratch.as_mut_ptr(),
            bytes(bias).as_mut_ptr(),
            bytes(residual).as_mut_ptr(),
        ];
        for piece in 0..pieces {
            let (lo, hi) = (plan.parallel_extent * piece / pieces, plan.parallel_extent * (piece + 1) / pieces);
            // SAFETY: buffers of the sizes that the description states.
            unsafe { code.entry(0).call(table.as_ptr(), lo as i64, hi as i64) };
        }
        for (i, (&got, &want)) in out.iter().zip(want).enumerate() {
            // F(4x4) errs about ten times as much as the direct form.
            let tolerance = if desc.winograd == 4 { 1e-3 } else { 1e-4 };
            assert!((f64::from(got) - want).abs() < tolerance, "{desc:?}: element {i}: {got} vs {want}");
        }
        results.push(out);
    }
    assert_eq!(results[0], results[1]);
    // The interpreter is slow: not for the largest.
    if plan.flops < 40_000 {
        let (mut again, mut scratch) = (vec![f32::NAN; out_len], vec![0xffu8; plan.scratch_len_bytes]);
        let mut bufs =
            [bytes(image), bytes(&mut weights), bytes(&mut again), &mut scratch[..], bytes(bias), bytes(residual)];
        interpret(&plan.kernel, &mut bufs, plan.parallel_extent as i64);
        assert_same_bits(bytes(&mut again), bytes(&mut results[0]));
    }
}

fn desc(n: usize, groups: usize, c: usize, oc: usize, axes: &[ConvAxis]) -> ConvDesc {
    ConvDesc {
        elem: Elem::F32,
        n,
        groups,
        in_channels: c,
        out_channels: oc,
        axes: axes.to_vec(),
        constant_weights: false,
        winograd: 0,
        epilogue: Epilogue::none(),
    }
}

fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, pads: (usize, usize)) -> ConvAxis {
    ConvAxis::new(input, kernel, stride, dilation, pads.0, pads.1).unwrap()
}

#[test]
fn tiles_of_lines_and_of_pixels() {
    for (side, c, oc) in [(7, 5, 70), (15, 3, 33), (31, 2, 17), (3, 16, 100), (1, 40, 65)] {
        let a = axis(side, 3, 1, 1, (1, 1));
        check(&desc(2, 1, c, oc, &[a, a]), side as u64);
        check(&desc(1, 1, c, oc, &[a, axis(side, 1, 1, 1, (0, 0))]), oc as u64);
    }
    // Pixels that would fall into one set of the cache.
    let a = axis(3, 1, 1, 1, (0, 0));
    check(&desc(1, 1, 1024, 5, &[a, a]), 1024);
}

#[test]
fn widths_strides_and_pads() {
    let mut seed = 0;
    for width in [1, 2, 3, 4, 5, 7, 8, 9, 14, 17] {
        for stride in [1, 2, 3] {
            for (kernel, dilation, pads) in
                [(3, 1, (1, 1)), (3, 2, (2, 2)), (1, 1, (0, 0)), (2, 1, (1, 0)), (5, 1, (4, 3))]
            {
                let reach = (kernel - 1) * dilation + 1;
                if width + pads.0 + pads.1 >= reach {
                    seed += 1;
                    let axes = [axis(6, 3, 1, 1, (1, 1)), axis(width, kernel, stride, dilation, pads)];
                    check(&desc(1, 1, 3, 7, &axes), seed);
                }
            }
        }
    }
}

#[test]
fn pointwise_and_blocks_of_channels() {
    for (c, oc, side) in [(5, 9, 4), (70, 12, 5), (130, 20, 7), (16, 1, 3), (1, 8, 6)] {
        let a = axis(side, 1, 1, 1, (0, 0));
        check(&desc(2, 1, c, oc, &[a, a]), c as u64);
        let a = axis(side, 3, 1, 1, (1, 1));
        check(&desc(2, 1, c, oc, &[a, a]), oc as u64);
    }
}

#[test]
fn groups_and_ranks() {
    let a = axis(9, 3, 2, 1, (1, 1));
    check(&desc(2, 3, 6, 9, &[a, a]), 1);
    check(&desc(1, 2, 4, 4, &[axis(30, 5, 2, 2, (3, 1))]), 2);
    check(&desc(2, 1, 3, 5, &[axis(4, 2, 1, 1, (1, 0)), axis(5, 3, 2, 1, (1, 1)), axis(6, 3, 1, 2, (2, 2))]), 3);
}

#[test]
fn depthwise() {
    for width in [1, 3, 4, 15, 16, 17, 35] {
        for (kernel, stride, dilation) in [(3, 1, 1), (3, 2, 1), (5, 1, 2), (2, 3, 1)] {
            let pad = (kernel - 1) * dilation / 2 + 1;
            let axes = [axis(7, kernel, stride, 1, (2, 1)), axis(width, kernel, stride, dilation, (pad, pad))];
            check(&desc(2, 3, 3, 3, &axes), width as u64);
            check(&desc(1, 3, 3, 6, &axes), width as u64 + 100);
        }
    }
    let a = axis(5, 3, 1, 1, (1, 1));
    check(&desc(1, 2, 2, 2, &[a, a, a]), 9);
}

#[test]
fn pads_beyond_the_image_and_empty_batches() {
    check(&desc(1, 1, 2, 3, &[axis(2, 3, 1, 1, (4, 4)), axis(2, 3, 1, 1, (6, 7))]), 5);
    check(&desc(0, 1, 2, 3, &[axis(4, 3, 1, 1, (1, 1))]), 6);
}

#[test]
fn rejects_what_makes_no_sense() {
    let a = axis(5, 3, 1, 1, (1, 1));
    assert!(matches!(plan(&desc(1, 2, 3, 4, &[a]), Target::baseline()), Err(CodegenError::Invalid(_))));
    assert!(matches!(plan(&desc(1, 1, 3, 4, &[a; 4]), Target::baseline()), Err(CodegenError::Unsupported(_))));
    assert_eq!(ConvAxis::new(3, 5, 1, 1, 0, 1), None);
    assert_eq!(ConvAxis::new(3, 1, 0, 1, 0, 1), None);
}

#[test]
fn winograd_tiles_at_every_edge() {
    for (side, c, oc, pad) in
        [(1, 1, 1, 1), (4, 3, 5, 1), (5, 2, 6, 0), (7, 4, 9, 1), (9, 3, 2, 2), (14, 8, 16, 1), (30, 2, 3, 1)]
    {
        if side + 2 * pad >= 3 {
            check(
                &desc(2, 1, c, oc, &[axis(side, 3, 1, 1, (pad, pad)), axis(side + 1, 3, 1, 1, (pad, 0))]),
                side as u64,
            );
        }
    }
    let a = axis(10, 3, 1, 1, (1, 1));
    check(&desc(1, 2, 6, 8, &[a, a]), 77);
    check(&desc(1, 1, 160, 7, &[a, a]), 78);
    let a = axis(7, 3, 1, 1, (1, 1));
    check(&desc(1, 1, 130, 131, &[a, a]), 79);
}
