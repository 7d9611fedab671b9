//! GEMM against plain loops around every boundary of lanes, tiles, panels and blocks.

use super::*;
use crate::kernels::EpilogueOperand;
use crate::testing::{Rng, assert_same_bits, bytes, compile, interpret, targets};

/// Runs a plan on one matrix set; returns C, which starts as NaN so that unwritten elements show.
fn run(
    plan: &GemmPlan,
    a: &mut [f32],
    rhs: &mut [f32],
    c_len: usize,
    extra: &mut [Vec<f32>],
    pieces: usize,
) -> Vec<f32> {
    let code = compile(std::slice::from_ref(&plan.plan.kernel));
    let mut c = vec![f32::NAN; c_len];
    let mut scratch = vec![0u8; plan.plan.scratch_len_bytes];
    let mut table =
        vec![bytes(a).as_mut_ptr(), bytes(rhs).as_mut_ptr(), bytes(&mut c).as_mut_ptr(), scratch.as_mut_ptr()];
    table.extend(extra.iter_mut().map(|v| bytes(v).as_mut_ptr()));
    let extent = plan.plan.parallel_extent;
    for piece in 0..pieces {
        let (lo, hi) = (extent * piece / pieces, extent * (piece + 1) / pieces);
        // SAFETY: buffers of the sizes that the description states.
        unsafe { code.entry(0).call(table.as_ptr(), lo as i64, hi as i64) };
    }
    // The interpreter is slow: not for the largest.
    if plan.plan.flops < 40_000 {
        let (mut again, mut scratch) = (vec![f32::NAN; c_len], vec![0u8; plan.plan.scratch_len_bytes]);
        let mut bufs = vec![bytes(a), bytes(rhs), bytes(&mut again), &mut scratch];
        bufs.extend(extra.iter_mut().map(|v| bytes(v)));
        interpret(&plan.plan.kernel, &mut bufs, extent as i64);
        assert_same_bits(bytes(&mut again), bytes(&mut c));
    }
    c
}

/// `A[m,k] B[k,n]` in f64.
fn reference(
    m: usize,
    n: usize,
    k: usize,
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|q| f64::from(a(i, q)) * f64::from(b(q, j))).sum();
        }
    }
    c
}

fn close(got: &[f32], want: &[f64], k: usize) {
    assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(g) - w).abs() <= 1e-6 * (k as f64 + 1.0), "element {i}: {g} vs {w}");
    }
}

fn sizes() -> Vec<(usize, usize, usize)> {
    let mut all = Vec::new();
    for m in [1, 2, 3, 4, 5, 6, 7, 12, 13, 25] {
        for n in [1, 3, 4, 5, 8, 13, 24, 31] {
            for k in [1, 4, 7] {
                all.push((m, n, k));
            }
        }
    }
    all.extend([(0, 5, 3), (5, 0, 3), (5, 6, 0), (40, 50, 1030), (37, 29, 600), (3, 700, 33), (300, 9, 20)]);
    all
}

#[test]
fn packed_matches_plain_loops() {
    targets().for_each(packed_matches_plain_loops_on);
}

fn packed_matches_plain_loops_on(target: Target) {
    let mut rng = Rng::new(11);
    for (m, n, k) in sizes() {
        let plan = plan(&GemmDesc::dense(m, n, k, Rhs::Packed), target).unwrap();
        let (mut a, w) = (rng.floats(m * k), rng.floats(k * n));
        let layout = plan.packed.unwrap();
        let mut packed = vec![0.0; layout.len_elems()];
        layout.pack(&w, n, 1, &mut packed).unwrap();
        let want = reference(m, n, k, |i, q| a[i * k + q], |q, j| w[q * n + j]);
        for pieces in [1, 3] {
            let got = run(&plan, &mut a.clone(), &mut packed, m * n, &mut [], pieces);
            close(&got, &want, k);
        }
        a.clear();
    }
}

#[test]
fn runtime_operands_match_plain_loops() {
    targets().for_each(runtime_operands_match_plain_loops_on);
}

fn runtime_operands_match_plain_loops_on(target: Target) {
    let mut rng = Rng::new(12);
    for (m, n, k) in sizes() {
        let (mut a, mut w) = (rng.floats(m * k), rng.floats(k * n));
        for (rhs, k_step, n_step) in
            [(Rhs::RowMajor { row_stride: n }, n, 1), (Rhs::Transposed { row_stride: k }, 1, k)]
        {
            // A as it is, and A given transposed.
            for (a_row_stride, a_k_stride) in [(k, 1), (1, m)] {
                let desc = GemmDesc { a_row_stride, a_k_stride, ..GemmDesc::dense(m, n, k, rhs) };
                let plan = plan(&desc, target).unwrap();
                let want =
                    reference(m, n, k, |i, q| a[i * a_row_stride + q * a_k_stride], |q, j| w[q * k_step + j * n_step]);
                let got = run(&plan, &mut a, &mut w, m * n, &mut [], 2);
                close(&got, &want, k);
            }
        }
    }
}

#[test]
fn batches_broadcast_by_strides() {
    targets().for_each(batches_broadcast_by_strides_on);
}

fn batches_broadcast_by_strides_on(target: Target) {
    let mut rng = Rng::new(13);
    let (m, n, k) = (5, 9, 6);
    // A[3, 1], B[1, 2] -> C[3, 2], with a bias per column that varies over the second axis and a shared residual row.
    let (mut a, w) = (rng.floats(3 * m * k), rng.floats(2 * k * n));
    let mut extra = [rng.floats(2 * n), rng.floats(m)];
    for packed in [true, false] {
        let unit = if packed { 1 } else { k * n };
        let desc = GemmDesc {
            batch: vec![
                GemmBatch { len: 3, a: m * k, b: 0, c: 2 * m * n },
                GemmBatch { len: 2, a: 0, b: unit, c: m * n },
            ],
            epilogue: Epilogue::none()
                .plus(EpilogueOperand { batch_strides: vec![0, n], row_stride: 0, col_stride: 1 })
                .bias_per_row(2)
                .relu(),
            ..GemmDesc::dense(m, n, k, if packed { Rhs::Packed } else { Rhs::RowMajor { row_stride: n } })
        };
        let plan = plan(&desc, target).unwrap();
        let mut rhs = w.clone();
        if let Some(layout) = plan.packed {
            rhs = vec![0.0; 2 * layout.len_elems()];
            for (i, out) in rhs.chunks_exact_mut(layout.len_elems()).enumerate() {
                layout.pack(&w[i * k * n..], n, 1, out).unwrap();
            }
        }
        let got = run(&plan, &mut a, &mut rhs, 6 * m * n, &mut extra, 2);
        for x in 0..3 {
            for y in 0..2 {
                let sums = reference(m, n, k, |i, q| a[(x * m + i) * k + q], |q, j| w[(y * k + q) * n + j]);
                let want: Vec<f64> = sums
                    .iter()
                    .enumerate()
                    .map(|(at, s)| (s + f64::from(extra[0][y * n + at % n]) + f64::from(extra[1][at / n])).max(0.0))
                    .collect();
                close(&got[(x * 2 + y) * m * n..][..m * n], &want, k);
            }
        }
    }
}

#[test]
fn a_shared_matrix_turns_the_batch_into_rows() {
    let desc = GemmDesc {
        batch: vec![GemmBatch { len: 7, a: 3 * 4, b: 0, c: 3 * 5 }],
        ..GemmDesc::dense(3, 5, 4, Rhs::Packed)
    };
    let (merged, batch) = merge_batch_into_rows(&desc);
    assert_eq!((merged.m, batch.len()), (21, 0));
}

#[test]
fn heavy_and_light_epilogues_agree() {
    targets().for_each(heavy_and_light_epilogues_agree_on);
}

fn heavy_and_light_epilogues_agree_on(target: Target) {
    let mut rng = Rng::new(14);
    for (m, n, k) in [(1, 1, 3), (7, 13, 5), (30, 30, 700), (6, 8, 4)] {
        let (mut a, w) = (rng.floats(m * k), rng.floats(k * n));
        let mut extra = [rng.floats(m * n), rng.floats(m), rng.floats(n)];
        let mut results = Vec::new();
        for heavy in [false, true] {
            let residual = EpilogueOperand { batch_strides: vec![], row_stride: n, col_stride: 1 };
            let mut epilogue = Epilogue::none().plus(residual).bias_per_row(0).bias_per_col(0).clip(-1.5, 2.0);
            epilogue.heavy = heavy;
            let desc = GemmDesc { epilogue, ..GemmDesc::dense(m, n, k, Rhs::RowMajor { row_stride: n }) };
            let plan = plan(&desc, target).unwrap();
            results.push(run(&plan, &mut a, &mut w.clone(), m * n, &mut extra, 1));
        }
        let sums = reference(m, n, k, |i, q| a[i * k + q], |q, j| w[q * n + j]);
        let want: Vec<f64> = sums
            .iter()
            .enumerate()
            .map(|(at, s)| {
                let extra = f64::from(extra[0][at]) + f64::from(extra[1][at / n]) + f64::from(extra[2][at % n]);
                (s + extra).clamp(-1.5, 2.0)
            })
            .collect();
        close(&results[0], &want, k);
        assert_eq!(results[0], results[1]);
    }
}

#[test]
fn any_partition_gives_the_same_bits() {
    targets().for_each(any_partition_gives_the_same_bits_on);
}

fn any_partition_gives_the_same_bits_on(target: Target) {
    let mut rng = Rng::new(15);
    let (m, n, k) = (130, 150, 530);
    let (mut a, mut w) = (rng.floats(m * k), rng.floats(k * n));
    a.iter_mut().for_each(|x| *x *= 1.1);
    for rhs in [Rhs::RowMajor { row_stride: n }, Rhs::Transposed { row_stride: k }] {
        let plan = plan(&GemmDesc::dense(m, n, k, rhs), target).unwrap();
        assert!(plan.plan.parallel_extent > 3);
        let one = run(&plan, &mut a, &mut w, m * n, &mut [], 1);
        for pieces in [2, 3, plan.plan.parallel_extent] {
            assert_eq!(one, run(&plan, &mut a, &mut w, m * n, &mut [], pieces));
        }
    }
}

#[test]
fn double_precision() {
    targets().for_each(double_precision_on);
}

fn double_precision_on(target: Target) {
    let (m, n, k) = (7, 11, 9);
    let mut rng = Rng::new(16);
    let double = |v: Vec<f32>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
    let (mut a, mut w) = (double(rng.floats(m * k)), double(rng.floats(k * n)));
    for rhs in [Rhs::RowMajor { row_stride: n }, Rhs::Packed] {
        let desc = GemmDesc { elem: Elem::F64, ..GemmDesc::dense(m, n, k, rhs) };
        let plan = plan(&desc, target).unwrap();
        let mut rhs = w.clone();
        if let Some(layout) = plan.packed {
            rhs = vec![0.0; layout.len_elems()];
            layout.pack(&w, n, 1, &mut rhs).unwrap();
        }
        let mut c = vec![f64::NAN; m * n];
        let code = compile(std::slice::from_ref(&plan.plan.kernel));
        let mut scratch = vec![0u8; plan.plan.scratch_len_bytes];
        let table = [
            bytes(&mut a).as_mut_ptr(),
            bytes(&mut rhs).as_mut_ptr(),
            bytes(&mut c).as_mut_ptr(),
            scratch.as_mut_ptr(),
        ];
        // SAFETY: buffers of the sizes that the description states.
        unsafe { code.entry(0).call(table.as_ptr(), 0, plan.plan.parallel_extent as i64) };
        for i in 0..m {
            for j in 0..n {
                let want: f64 = (0..k).map(|q| a[i * k + q] * w[q * n + j]).sum();
                assert_eq!(c[i * n + j], want);
            }
        }
    }
    w.clear();
}

#[test]
fn pairs_of_16_bit_numbers_are_exact() {
    targets().for_each(pairs_of_16_bit_numbers_are_exact_on);
}

fn pairs_of_16_bit_numbers_are_exact_on(target: Target) {
    let mut rng = Rng::new(17);
    let halves = |v: i32| [v as i16, (v >> 16) as i16].map(i32::from);
    let dot = |x: i32, y: i32| {
        let ([a, b], [c, d]) = (halves(x), halves(y));
        (a * c).wrapping_add(b * d)
    };
    for (m, n, k) in sizes().into_iter().step_by(7).chain([(40, 50, 1030), (1, 70, 300)]) {
        let mut numbers = |n: usize| (0..n).map(|_| rng.next() as u32 as i32).collect::<Vec<i32>>();
        let (mut a, w) = (numbers(m * k), numbers(k * n));
        let transposed: Vec<i32> = (0..n * k).map(|at| w[at % k * n + at / k]).collect();
        for rhs in [Rhs::Packed, Rhs::RowMajor { row_stride: n }, Rhs::Transposed { row_stride: k }] {
            let desc = GemmDesc { elem: Elem::I32, ..GemmDesc::dense(m, n, k, rhs) };
            let plan = plan(&desc, target).unwrap();
            let mut b = if let Rhs::Transposed { .. } = rhs { transposed.clone() } else { w.clone() };
            if let Some(layout) = plan.packed {
                b = vec![0; layout.len_elems()];
                layout.pack(&w, n, 1, &mut b).unwrap();
            }
            let mut c = vec![-1; m * n];
            let mut scratch = vec![0u8; plan.plan.scratch_len_bytes];
            let code = compile(std::slice::from_ref(&plan.plan.kernel));
            let table = [
                bytes(&mut a).as_mut_ptr(),
                bytes(&mut b).as_mut_ptr(),
                bytes(&mut c).as_mut_ptr(),
                scratch.as_mut_ptr(),
            ];
            // SAFETY: buffers of the sizes that the description states.
            unsafe { code.entry(0).call(table.as_ptr(), 0, plan.plan.parallel_extent as i64) };
            for i in 0..m {
                for j in 0..n {
                    let want = (0..k).fold(0i32, |sum, q| sum.wrapping_add(dot(a[i * k + q], w[q * n + j])));
                    assert_eq!(c[i * n + j], want, "{m}x{n}x{k}, {rhs:?}");
                }
            }
            if plan.plan.flops < 40_000 {
                let (mut again, mut scratch) = (vec![-1; m * n], vec![0u8; plan.plan.scratch_len_bytes]);
                let mut bufs = [bytes(&mut a), bytes(&mut b), bytes(&mut again), &mut scratch];
                interpret(&plan.plan.kernel, &mut bufs, plan.plan.parallel_extent as i64);
                assert_eq!(again, c);
            }
        }
    }
}

#[test]
fn packing_checks_lengths() {
    let layout = PackedRhs { width: 8, n: 3, k: 2 };
    assert!(layout.pack(&[0.0f32; 5], 3, 1, &mut [0.0; 16]).is_err());
    assert!(layout.pack(&[0.0f32; 6], 3, 1, &mut [0.0; 15]).is_err());
    let mut dst = [9.0; 16];
    layout.pack(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 1, &mut dst).unwrap();
    assert_eq!(dst[..4], [1.0, 2.0, 3.0, 0.0]);
    assert_eq!(dst[8..12], [4.0, 5.0, 6.0, 0.0]);
}
