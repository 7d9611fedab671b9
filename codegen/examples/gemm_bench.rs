//! Speed of contractions on this machine, one thread, beside the peak of its 128-bit fused multiply-add.
//!
//! `cargo run --release -p egret-codegen --example gemm_bench [filter]`

use std::time::Instant;

use egret_codegen::CodegenError;
use egret_codegen::builder::Elem;
use egret_codegen::builder::{Builder, Target};
use egret_codegen::isa::{Effort, Isa};
use egret_codegen::jit::{CompiledKernels, Entry};
use egret_codegen::kernels::conv::{self, ConvAxis, ConvDesc, ConvPlan};
use egret_codegen::kernels::gemm::{self, GemmDesc, Rhs};
use egret_codegen::kernels::{Epilogue, EpilogueOperand, KernelPlan};

/// Best time of repeated calls over about a fifth of a second, in seconds.
fn best_seconds(mut f: impl FnMut()) -> f64 {
    f();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed().as_secs_f64() < 0.2 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
    }
    best
}

/// Chains of independent multiply-adds in registers: the rate that no kernel can exceed.
fn peak_gflops(isa: &Isa) -> Result<f64, CodegenError> {
    const CHAINS: usize = 10;
    let mut b = Builder::new("peak", Target::baseline());
    let (out, lo, hi) = (b.buf(0), b.begin(), b.end());
    let (x, y) = (b.vf32(0.999), b.vf32(0.001));
    let start: Vec<_> = (0..CHAINS).map(|i| b.vf32(i as f32)).collect();
    let sums = b.for_loop(lo, hi, 1, &start, |b, _, c| {
        let mut c = c.to_vec();
        for _ in 0..4 {
            c = c.iter().map(|&v| b.fma(v, x, y)).collect();
        }
        c
    });
    for (i, &v) in sums.iter().enumerate() {
        b.store(out, i as i32 * 16, v);
    }
    let code = CompiledKernels::compile(&[b.finish()?], isa, 1)?;
    let mut out = [0f32; 4 * CHAINS];
    let table = [out.as_mut_ptr().cast::<u8>()];
    let turns = 100_000;
    // SAFETY: the kernel writes CHAINS vectors of 4 floats to its only buffer.
    let seconds = best_seconds(|| unsafe { code.entry(0).call(table.as_ptr(), 0, turns) });
    Ok((turns as usize * 4 * CHAINS * 8) as f64 / seconds / 1e9)
}

fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u64;
    (0..n.max(1))
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn time(entry: &Entry, plan: &KernelPlan, bufs: &mut [Vec<f32>]) -> f64 {
    let mut scratch = vec![0f32; plan.scratch_len_bytes / 4 + 16];
    let mut table: Vec<*mut u8> = bufs.iter_mut().map(|v| v.as_mut_ptr().cast()).collect();
    table.insert(3, scratch.as_mut_ptr().cast());
    // SAFETY: `bufs` holds the operands of the sizes that the caller described, scratch is as long as the plan says.
    best_seconds(|| unsafe { entry.call(table.as_ptr(), 0, plan.parallel_extent as i64) })
}

fn main() -> Result<(), CodegenError> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let isa = Isa::native(Effort::Speed)?;
    let peak = peak_gflops(&isa)?;
    println!("fused multiply-add peak, 128 bits, one thread: {peak:.1} GFLOP/s");
    println!(
        "{:32} {:>10} {:>8} {:>7} {:>9} {:>10}",
        "gemm m x n x k", "us", "GFLOP/s", "peak %", "compile", "code bytes"
    );
    let shapes = [
        (64, 64, 64),
        (128, 128, 128),
        (256, 256, 256),
        (512, 512, 512),
        (1024, 1024, 1024),
        (128, 768, 768),
        (128, 3072, 768),
        (128, 768, 3072),
        (8, 768, 768),
        (1, 768, 768),
        (1, 4096, 4096),
        (4, 1000, 2048),
        (197, 197, 64),
        (3136, 64, 64),
        (12544, 32, 27),
        (49, 512, 4608),
    ];
    for (m, n, k) in shapes {
        for (form, rhs) in [
            ("packed", Rhs::Packed),
            ("rows", Rhs::RowMajor { row_stride: n }),
            ("transposed", Rhs::Transposed { row_stride: k }),
        ] {
            let name = format!("{m} x {n} x {k} {form}");
            if !name.contains(&filter) {
                continue;
            }
            let desc = GemmDesc { epilogue: Epilogue::none().bias_per_col(0).relu(), ..GemmDesc::dense(m, n, k, rhs) };
            let gemm = gemm::plan(&desc, Target::baseline())?;
            let begin = Instant::now();
            let code = CompiledKernels::compile(std::slice::from_ref(&gemm.plan.kernel), &isa, 1)?;
            let compile_ms = begin.elapsed().as_secs_f64() * 1e3;
            let rhs_len = gemm.packed.map_or(n * k, |p| p.len_elems());
            let mut bufs = [noise(m * k), noise(rhs_len), noise(m * n), noise(n)];
            let seconds = time(&code.entry(0), &gemm.plan, &mut bufs);
            let rate = gemm.plan.flops as f64 / seconds / 1e9;
            println!(
                "{name:32} {:>10.1} {rate:>8.1} {:>7.1} {compile_ms:>6.1} ms {:>10} {:>6} units",
                seconds * 1e6,
                100.0 * rate / peak,
                code.code_len_bytes(),
                gemm.plan.parallel_extent
            );
        }
    }
    println!("convolution: channels @ image, kernel stride -> channels");
    // ResNet-50, VGG and MobileNet layers: (channels, side, kernel, stride, output channels, groups).
    let layers = [
        (3, 224, 7, 2, 64, 1),
        (3, 224, 3, 1, 64, 1),
        (64, 56, 1, 1, 64, 1),
        (64, 56, 3, 1, 64, 1),
        (64, 56, 1, 1, 256, 1),
        (256, 56, 1, 1, 64, 1),
        (128, 56, 3, 2, 128, 1),
        (128, 28, 3, 1, 128, 1),
        (256, 14, 3, 1, 256, 1),
        (1024, 14, 1, 1, 256, 1),
        (512, 7, 3, 1, 512, 1),
        (512, 7, 1, 1, 2048, 1),
        (64, 224, 3, 1, 64, 1),
        (256, 56, 3, 1, 256, 1),
        (512, 28, 3, 1, 512, 1),
        (32, 112, 3, 1, 32, 32),
        (64, 112, 3, 2, 64, 64),
        (512, 14, 3, 1, 512, 512),
    ];
    for (c, side, kernel, stride, oc, groups) in layers {
        for winograd in [0, 2, 4] {
            if winograd > 0 && (kernel != 3 || stride != 1 || groups > 1) {
                continue;
            }
            let name = format!("{c} @ {side}, {kernel} s{stride} -> {oc} g{groups} w{winograd}");
            if !name.contains(&filter) {
                continue;
            }
            let pad = kernel / 2;
            let axis = ConvAxis::new(side, kernel, stride, 1, pad, pad)
                .ok_or_else(|| CodegenError::Invalid(format!("layer {name}")))?;
            let per_group = oc / groups;
            let desc = ConvDesc {
                elem: Elem::F32,
                n: 1,
                groups,
                in_channels: c,
                out_channels: oc,
                axes: vec![axis, axis],
                constant_weights: true,
                winograd,
                epilogue: Epilogue::none()
                    .plus(EpilogueOperand { batch_strides: vec![0, per_group], row_stride: 1, col_stride: 0 })
                    .relu(),
            };
            let ConvPlan { plan, packed } = conv::plan(&desc, Target::baseline())?;
            let begin = Instant::now();
            let code = CompiledKernels::compile(std::slice::from_ref(&plan.kernel), &isa, 1)?;
            let compile_ms = begin.elapsed().as_secs_f64() * 1e3;
            let weights_len = packed.map_or(oc * c / groups * kernel * kernel, |p| p.len_elems());
            let out_len = oc * axis.output * axis.output;
            let mut bufs = [noise(c * side * side), noise(weights_len), noise(out_len), noise(oc)];
            let seconds = time(&code.entry(0), &plan, &mut bufs);
            let rate = plan.flops as f64 / seconds / 1e9;
            println!(
                "{name:32} {:>10.1} {rate:>8.1} {:>7.1} {compile_ms:>6.1} ms {:>10} {:>6} units {} KiB scratch",
                seconds * 1e6,
                100.0 * rate / peak,
                code.code_len_bytes(),
                plan.parallel_extent,
                plan.scratch_len_bytes / 1024
            );
        }
    }
    Ok(())
}
