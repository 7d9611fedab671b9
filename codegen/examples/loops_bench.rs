//! Times fused loop nests: `cargo run --release -p egret-codegen --example loops_bench`.
//!
//! Prints, per computation: kernels, time of one run on one thread, elements per second, code size.

use std::time::Instant;

use egret_codegen::isa::{Effort, Isa};
use egret_codegen::jit::CompiledKernels;
use egret_codegen::lower::{host_table, lower_program};
use egret_ir::DType;
use egret_ir::loops::{Compute, ComputeBuilder, ReduceOp, TensorId, inline, schedule};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    bench("add 1M", pointwise(1 << 20, false))?;
    bench("add + gelu 1M", pointwise(1 << 20, true))?;
    bench("add + gelu 8K", pointwise(8192, true))?;
    bench("bias + relu 64x56x56", bias_relu())?;
    bench("softmax 1536x128", softmax(1536, 128))?;
    bench("layer norm 128x768", layer_norm(128, 768))?;
    bench("transpose 1024x1024", transpose(1024))?;
    bench("column sums 1024x1024", column_sums(1024))?;
    bench("sum of 1M", total(1 << 20))?;
    bench("pad 64x56x56 by 1", pad())?;
    bench("max pool 3x3/2 64x112x112", max_pool())?;
    bench("global average 512x7x7", global_average())?;
    bench("f16 add 1M", add_f16(1 << 20))?;
    Ok(())
}

fn bench(name: &str, mut compute: Compute) -> Result<(), Box<dyn std::error::Error>> {
    inline(&mut compute);
    let program = schedule(&compute)?;
    let isa = Isa::native(Effort::Speed)?;
    let start = Instant::now();
    let lowered = lower_program(&program, name, isa.target)?;
    let kernels: Vec<_> = lowered.iter().map(|k| k.kernel.clone()).collect();
    let code = CompiledKernels::compile(&kernels, &isa, 1)?;
    let compile_us = start.elapsed().as_micros();
    let n_outer = program.n_outer_buffers();
    let mut memory: Vec<Vec<f32>> =
        program.buffers[..n_outer].iter().map(|b| vec![0.5; b.len_elems * b.dtype.size_bytes() / 4 + 1]).collect();
    let scratch = lowered.iter().map(|k| k.scratch_bytes).max().unwrap_or(0);
    let mut scratch = vec![0f32; scratch / 4 + 16];
    let mut table: Vec<*mut u8> = memory.iter_mut().map(|m| m.as_mut_ptr().cast()).collect();
    table.push(scratch.as_mut_ptr().cast());
    table.push(host_table().as_ptr().cast_mut().cast());
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 150 {
        let start = Instant::now();
        for (k, kernel) in lowered.iter().enumerate() {
            // SAFETY: the table holds every buffer of the program at its length, scratch, and the host table.
            unsafe { code.entry(k).call(table.as_ptr(), 0, kernel.extent) };
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    let n: usize = compute.output_descs().map(|d| d.len_elems()).sum::<usize>().max(compute.inputs[0].len_elems());
    println!(
        "{name:28} {:2} kernels {:9.1} us {:6.2} Gelem/s {:6} bytes of code, {compile_us} us to make it",
        kernels.len(),
        best * 1e6,
        n as f64 / best / 1e9,
        code.code_len_bytes()
    );
    Ok(())
}

fn finish(mut c: ComputeBuilder, y: TensorId) -> Compute {
    c.output(y);
    c.finish().expect("the computations here are well typed")
}

fn pointwise(n: usize, gelu: bool) -> Compute {
    let mut c = ComputeBuilder::new();
    let (a, b) = (c.input(DType::F32, &[n]), c.input(DType::F32, &[n]));
    let y = c.compute(DType::F32, &[n], |e, i| {
        let (x, y) = (e.load(a, i), e.load(b, i));
        let s = e.add(x, y);
        if !gelu {
            return s;
        }
        let (root, half, one) = (e.float(DType::F32, 0.5f64.sqrt()), e.float(DType::F32, 0.5), e.one(DType::F32));
        let t = e.mul(s, root);
        let t = e.erf(t);
        let t = e.add(t, one);
        let h = e.mul(s, half);
        e.mul(h, t)
    });
    finish(c, y)
}

fn bias_relu() -> Compute {
    let mut c = ComputeBuilder::new();
    let (x, b) = (c.input(DType::F32, &[64, 56, 56]), c.input(DType::F32, &[64, 1, 1]));
    let y = c.compute(DType::F32, &[64, 56, 56], |e, i| {
        let (x, b) = (e.load(x, i), e.load_broadcast(b, i));
        let s = e.add(x, b);
        e.relu(s)
    });
    finish(c, y)
}

fn row(
    e: &mut ComputeBuilder,
    t: TensorId,
    op: ReduceOp,
    i: egret_ir::loops::ExprId,
    n: usize,
) -> egret_ir::loops::ExprId {
    e.reduce(op, &[n], |e, r| e.load(t, &[i, r[0]]))
}

fn softmax(rows: usize, cols: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[rows, cols]);
    let m = c.compute(DType::F32, &[rows], |e, i| row(e, x, ReduceOp::Max, i[0], cols));
    let exp = c.compute(DType::F32, &[rows, cols], |e, i| {
        let (v, m) = (e.load(x, i), e.load(m, &i[..1]));
        let d = e.sub(v, m);
        e.exp(d)
    });
    let sum = c.compute(DType::F32, &[rows], |e, i| row(e, exp, ReduceOp::Sum, i[0], cols));
    let y = c.compute(DType::F32, &[rows, cols], |e, i| {
        let (v, s) = (e.load(exp, i), e.load(sum, &i[..1]));
        e.div(v, s)
    });
    finish(c, y)
}

fn layer_norm(rows: usize, cols: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[rows, cols]);
    let (scale, bias) = (c.input(DType::F32, &[cols]), c.input(DType::F32, &[cols]));
    let mean = c.compute(DType::F32, &[rows], |e, i| {
        let s = row(e, x, ReduceOp::Sum, i[0], cols);
        let n = e.float(DType::F32, cols as f64);
        e.div(s, n)
    });
    let centred = c.compute(DType::F32, &[rows, cols], |e, i| {
        let (v, m) = (e.load(x, i), e.load(mean, &i[..1]));
        e.sub(v, m)
    });
    let factor = c.compute(DType::F32, &[rows], |e, i| {
        let s = e.reduce(ReduceOp::Sum, &[cols], |e, r| {
            let v = e.load(centred, &[i[0], r[0]]);
            e.mul(v, v)
        });
        let n = e.float(DType::F32, cols as f64);
        let v = e.div(s, n);
        let eps = e.float(DType::F32, 1e-5);
        let v = e.add(v, eps);
        e.rsqrt(v)
    });
    let y = c.compute(DType::F32, &[rows, cols], |e, i| {
        let (v, f) = (e.load(centred, i), e.load(factor, &i[..1]));
        let v = e.mul(v, f);
        let (s, b) = (e.load(scale, &i[1..]), e.load(bias, &i[1..]));
        let v = e.mul(v, s);
        e.add(v, b)
    });
    finish(c, y)
}

fn transpose(n: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[n, n]);
    let y = c.transpose(x, &[1, 0]);
    finish(c, y)
}

fn column_sums(n: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[n, n]);
    let y = c.compute(DType::F32, &[n], |e, i| e.reduce(ReduceOp::Sum, &[n], |e, r| e.load(x, &[r[0], i[0]])));
    finish(c, y)
}

fn total(n: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[n]);
    let y = c.compute(DType::F32, &[], |e, _| e.reduce(ReduceOp::Sum, &[n], |e, r| e.load(x, r)));
    finish(c, y)
}

fn pad() -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[64, 56, 56]);
    let y = c.pad(x, &[0, 1, 1], &[0, 1, 1], egret_ir::loops::Scalar::F32(0.0));
    finish(c, y)
}

fn max_pool() -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[64, 112, 112]);
    let y = c.compute(DType::F32, &[64, 56, 56], |e, i| {
        e.reduce(ReduceOp::Max, &[3, 3], |e, k| {
            let at = |e: &mut ComputeBuilder, o, k| {
                let s = e.affine(o, 2, -1);
                e.add(s, k)
            };
            let (h, w) = (at(e, i[1], k[0]), at(e, i[2], k[1]));
            let least = e.float(DType::F32, f64::NEG_INFINITY);
            e.load_padded(x, &[i[0], h, w], least)
        })
    });
    finish(c, y)
}

fn global_average() -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[512, 7, 7]);
    let y = c.compute(DType::F32, &[512], |e, i| {
        let s = e.reduce(ReduceOp::Sum, &[7, 7], |e, k| e.load(x, &[i[0], k[0], k[1]]));
        let n = e.float(DType::F32, 49.0);
        e.div(s, n)
    });
    finish(c, y)
}

fn add_f16(n: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let (a, b) = (c.input(DType::F16, &[n]), c.input(DType::F16, &[n]));
    let y = c.compute(DType::F16, &[n], |e, i| {
        let (x, y) = (e.load(a, i), e.load(b, i));
        e.add(x, y)
    });
    finish(c, y)
}
