//! Writes a kernel with the builder, runs it on several threads, and writes it as an object file.
//!
//! `cargo run --release -p egret-codegen --example kernel [object file]`

use egret_codegen::builder::{Builder, Elem, KernelFn, Reduce, Target, Ty};
use egret_codegen::isa::{Effort, Isa};
use egret_codegen::jit::CompiledKernels;
use egret_codegen::object::write_object;
use egret_codegen::pool::ThreadPool;

/// Row-wise `y = x / sqrt(mean(x^2) + eps)` for rows of `len` floats; the parallel range counts rows.
fn rms_norm(len: usize, eps: f32, target: Target) -> Result<KernelFn, egret_codegen::builder::BuildError> {
    let mut b = Builder::new(format!("rms_norm_{len}"), target);
    let (x, y, first, last) = (b.buf(0), b.buf(1), b.begin(), b.end());
    let lanes = b.lanes() as i64;
    let (zero, end, lane_count) = (b.i64(0), b.i64(len as i64), b.i64(lanes));
    b.for_loop(first, last, 1, &[], |b, row, _| {
        let (from, to) = (b.index(x, row, len as i64 * 4), b.index(y, row, len as i64 * 4));
        let none = b.vf32(0.0);
        let squares = b.for_loop(zero, end, lanes, &[none], |b, i, sum| {
            let (at, left) = (b.index(from, i, 4), b.sub(end, i));
            let n = b.min(left, lane_count);
            let v = b.load_n(Elem::F32, at, 0, n);
            vec![b.fma(v, v, sum[0])]
        });
        let sum = b.hreduce(Reduce::Add, squares[0]);
        let (scale, eps, one) = (b.f32(1.0 / len as f32), b.f32(eps), b.f32(1.0));
        let mean = b.fma(sum, scale, eps);
        let root = b.sqrt(mean);
        let factor = b.div(one, root);
        let factor = b.splat(factor);
        debug_assert_eq!(b.ty(factor), Ty::V(Elem::F32));
        b.for_loop(zero, end, lanes, &[], |b, i, _| {
            let (from, to, left) = (b.index(from, i, 4), b.index(to, i, 4), b.sub(end, i));
            let n = b.min(left, lane_count);
            let v = b.load_n(Elem::F32, from, 0, n);
            let v = b.mul(v, factor);
            b.store_n(to, 0, v, n);
            vec![]
        });
        vec![]
    });
    b.finish()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const ROWS: usize = 64;
    const LEN: usize = 1003;
    let kernel = rms_norm(LEN, 1e-5, Target::baseline())?;
    let code = CompiledKernels::compile(std::slice::from_ref(&kernel), &Isa::native(Effort::Speed)?, 1)?;
    println!("{}: {} bytes of code", kernel.name, code.code_len_bytes());

    let mut x: Vec<f32> = (0..ROWS * LEN).map(|i| (i % 97) as f32 - 48.0).collect();
    let mut y = vec![0f32; ROWS * LEN];
    // Addresses as integers, because raw pointers are not Sync.
    let table = [x.as_mut_ptr() as usize, y.as_mut_ptr() as usize];
    let entry = code.entry(0);
    let pool = ThreadPool::new(2)?;
    pool.parallel_for(ROWS, 1, &|_thread, begin, end| {
        let table = table.map(|at| at as *mut u8);
        // SAFETY: both buffers hold ROWS rows of LEN floats and outlive the call; rows of a range are written by one call.
        unsafe { entry.call(table.as_ptr(), begin as i64, end as i64) };
    });

    let row = &y[5 * LEN..6 * LEN];
    let mean_square: f32 = row.iter().map(|v| v * v).sum::<f32>() / LEN as f32;
    println!("mean square of a row after normalisation: {mean_square:.6}");

    let path = std::env::args().nth(1).unwrap_or_else(|| "rms_norm.o".into());
    let object = write_object("rms_norm", &[("rms_norm".into(), kernel)], &Isa::native_object(Effort::Speed)?, 1)?;
    std::fs::write(&path, &object)?;
    println!("{path}: {} bytes, symbol rms_norm", object.len());
    Ok(())
}
