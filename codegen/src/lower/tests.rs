//! Compiled kernels against the interpreter.

use egret_ir::DType;
use egret_ir::loops::testing::{Random, random_compute, random_input};
use egret_ir::loops::{Compute, ComputeBuilder, ReduceOp, UnOp, inline, interp, narrow, schedule};

use super::*;
use crate::interp::Region;
use crate::isa::{Effort, Isa, IsaLevel};
use crate::jit::CompiledKernels;
use crate::testing::{assert_same_bits, isas};

/// Compiles and runs a program on inputs given as bytes.
fn run(program: &Program, inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    // Each level is compared with the interpreter.
    isas().iter().map(|isa| run_on(isa, program, inputs)).fold(Vec::new(), |_, out| out)
}

fn run_on(isa: &Isa, program: &Program, inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    let lowered = lower_program(program, "test", isa.target).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let kernels: Vec<KernelFn> = lowered.iter().map(|k| k.kernel.clone()).collect();
    let code = CompiledKernels::compile(&kernels, isa, 1).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let n_outer = program.n_outer_buffers();
    // Exactly as long as described, with a guard behind each that must stay as it is.
    const GUARD: usize = 64;
    let mut memory: Vec<Vec<u8>> = program.buffers[..n_outer]
        .iter()
        .enumerate()
        .map(|(k, b)| {
            let len = b.len_elems * b.dtype.size_bytes();
            let mut bytes = if k < program.n_inputs { inputs[k].to_vec() } else { vec![0; len] };
            bytes.resize(len + GUARD, 0xa5);
            bytes
        })
        .collect();
    let mut interpreted = memory.clone();
    for kernel in &lowered {
        let mut scratch = vec![0u8; kernel.scratch_bytes];
        let mut regions: Vec<Region> =
            interpreted.iter_mut().map(|m| Region { len_bytes: m.len() - GUARD, ..Region::of(m) }).collect();
        regions.push(Region::of(&mut scratch));
        let mut table = host_table().to_vec();
        regions.push(Region::of(&mut table));
        // SAFETY: as below.
        unsafe { crate::interp::run(&kernel.kernel, &regions, 0, kernel.extent, isa.target.fused) }
            .unwrap_or_else(|e| panic!("{e}\n{program}"));
    }
    for (k, kernel) in lowered.iter().enumerate() {
        let mut scratch = vec![0u8; kernel.scratch_bytes + GUARD];
        let mut table: Vec<*mut u8> = memory.iter_mut().map(|m| m.as_mut_ptr()).collect();
        table.push(scratch.as_mut_ptr());
        table.push(host_table().as_ptr().cast_mut().cast());
        // In two parts, so that a kernel that ignores its bounds is found out.
        let middle = kernel.extent / 3;
        // SAFETY: the table holds every buffer of the program at its described length, the scratch and the host table.
        unsafe {
            code.entry(k).call(table.as_ptr(), 0, middle);
            code.entry(k).call(table.as_ptr(), middle, kernel.extent);
        }
    }
    memory.iter().zip(&interpreted).for_each(|(compiled, other)| assert_same_bits(other, compiled));
    for (bytes, b) in memory.iter_mut().zip(&program.buffers) {
        let guard = bytes.split_off(b.len_elems * b.dtype.size_bytes());
        assert!(guard.iter().all(|&g| g == 0xa5), "written past the end of {:?}\n{program}", b.role);
    }
    memory[program.n_inputs..program.n_inputs + program.n_outputs].to_vec()
}

fn equal(dtype: DType, a: &[u8], b: &[u8]) -> bool {
    let size = dtype.size_bytes();
    a.len() == b.len()
        && a.chunks(size).zip(b.chunks(size)).all(|(a, b)| {
            let (a, b) = (narrow::read(dtype, a), narrow::read(dtype, b));
            a == b || a.is_nan() && b.is_nan()
        })
}

fn check(compute: &Compute, r: &mut Random, what: &str) {
    let inputs: Vec<Vec<u8>> = compute.inputs.iter().map(|d| random_input(r, d.dtype, d.len_elems())).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let wanted = interp::eval(compute, &inputs).unwrap();
    let mut fused = compute.clone();
    inline(&mut fused);
    let program = schedule(&fused).unwrap();
    let nests = interp::run(&program, &inputs).unwrap();
    let got = run(&program, &inputs);
    for (o, (w, n)) in wanted.iter().zip(&nests).enumerate() {
        let dtype = compute.stages[compute.outputs[o]].desc.dtype;
        assert!(equal(dtype, w, n), "{what}, output {o} of the nests\n{fused}\n{program}");
    }
    for (o, (w, g)) in wanted.iter().zip(&got).enumerate() {
        let dtype = compute.stages[compute.outputs[o]].desc.dtype;
        assert!(equal(dtype, w, g), "{what}, output {o}\n{fused}\n{program}\nwanted {w:?}\n   got {g:?}");
    }
}

#[test]
fn compiled_computations_agree_with_the_interpreter() {
    let dtypes = [
        DType::F32,
        DType::F32,
        DType::F32,
        DType::I64,
        DType::I32,
        DType::F16,
        DType::BF16,
        DType::U8,
        DType::I8,
        DType::I16,
        DType::U32,
        DType::F64,
        DType::F8E4M3FN,
        DType::U64,
    ];
    for seed in 0..250 {
        let mut r = Random::new(seed + 1000);
        let dtype = dtypes[r.below(dtypes.len())];
        let compute = random_compute(&mut r, dtype, 6);
        check(&compute, &mut r, &format!("seed {seed} {dtype}"));
    }
}

/// The function on values that matter: compiled in vectors of all lengths, largest error in units of the last place.
fn max_ulp(isa: &Isa, op: UnOp, values: &[f32]) -> f64 {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[values.len()]);
    let y = c.compute(DType::F32, &[values.len()], |e, i| {
        let v = e.load(x, i);
        e.un(op, v)
    });
    c.output(y);
    let compute = c.finish().unwrap();
    let input: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let got = run_on(isa, &schedule(&compute).unwrap(), &[&input]);
    let mut worst = 0.0f64;
    for (bytes, &x) in got[0].chunks(4).zip(values) {
        let got = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let exact = scalar::unary(op, DType::F64, scalar::Scalar::F64(f64::from(x))).as_f64();
        let rounded = exact as f32;
        if rounded.is_nan() || rounded.is_infinite() || exact == 0.0 {
            assert!(got == rounded || got.is_nan() && rounded.is_nan(), "{op:?}({x}) = {got}, wanted {rounded}");
            continue;
        }
        let exponent = exact.abs().log2().floor().max(-126.0);
        let ulp = 2f64.powf(exponent - 23.0);
        let error = (f64::from(got) - exact).abs() / ulp;
        if error > worst {
            worst = error;
        }
        assert!(error < 8.0, "{op:?}({x}) = {got}, wanted {exact}: {error} ulp");
    }
    worst
}

#[test]
fn polynomials_keep_their_bounds() {
    let mut all =
        vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1.0, -1.0, 1e-40, -1e-40, 1e-8, 100.0, -80.0];
    let mut r = Random::new(7);
    for _ in 0..20000 {
        let v = (r.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0) * [1e-3, 0.1, 1.0, 3.0, 10.0, 80.0][r.below(6)];
        all.push(v);
    }
    let positive: Vec<f32> = all.iter().map(|v| v.abs()).chain([1e30, 1e-30, -1.0, f32::MAX]).collect();
    let above_minus_one: Vec<f32> = all.iter().filter(|v| **v > -1.0).copied().chain([-1.0, -2.0]).collect();
    let angles: Vec<f32> = all.iter().copied().filter(|v| v.is_finite()).chain([5e4, -6e4, 1e5, 1e20, 3e38]).collect();
    for (op, values, bound) in [
        (UnOp::Exp, &all, 2.0),
        (UnOp::Log, &positive, 2.0),
        (UnOp::Erf, &all, 2.0),
        (UnOp::Sin, &angles, 2.0),
        (UnOp::Cos, &angles, 2.0),
        (UnOp::Tanh, &all, 4.0),
        (UnOp::Sigmoid, &all, 4.0),
        (UnOp::Expm1, &all, 4.0),
        (UnOp::Log1p, &above_minus_one, 4.0),
        (UnOp::Tan, &angles, 1.0),
        (UnOp::Asinh, &all, 1.0),
    ] {
        let without_fma = Isa::native(Effort::Speed).unwrap().at(IsaLevel::BaselineWithoutFma).unwrap();
        for isa in isas().into_iter().chain([without_fma]) {
            let worst = max_ulp(&isa, op, values);
            assert!(worst <= bound, "{op:?}, fma {}: {worst} ulp", isa.target.fused);
        }
    }
}

#[test]
fn conversions_agree_with_the_interpreter() {
    let all: Vec<DType> = DType::ALL.iter().copied().filter(|&t| narrow::is_supported(t)).collect();
    let n = 23;
    for &from in &all {
        let mut c = ComputeBuilder::new();
        let x = c.input(from, &[n]);
        for &to in &all {
            let y = c.compute(to, &[n], |e, i| {
                let v = e.load(x, i);
                e.cast(v, to)
            });
            c.output(y);
        }
        let compute = c.finish().unwrap();
        let values = [
            0.0,
            1.0,
            -1.0,
            2.5,
            3.5,
            -2.5,
            100.0,
            127.0,
            200.0,
            300.0,
            70000.0,
            -70000.0,
            1e10,
            -1e10,
            1e20,
            1e-7,
            448.0,
            254.999_999_999_9,
            -0.999_999_999,
            2_147_483_647.0,
            -2_147_483_648.0,
            16_777_217.0,
            f64::NAN,
        ];
        let mut input = vec![0; n * from.size_bytes()];
        for (k, chunk) in input.chunks_mut(from.size_bytes()).enumerate() {
            let v = scalar::cast(DType::F64, from, false, scalar::Scalar::F64(values[k % values.len()]));
            narrow::write(from, v, chunk);
        }
        let wanted = interp::eval(&compute, &[&input]).unwrap();
        let got = run(&schedule(&compute).unwrap(), &[&input]);
        for (o, &to) in all.iter().enumerate() {
            assert!(equal(to, &wanted[o], &got[o]), "{from} to {to}\nwanted {:?}\n   got {:?}", wanted[o], got[o]);
        }
    }
}

#[test]
fn index_reductions_agree() {
    for (axis, shape) in [(0usize, [9usize, 21]), (1, [9, 21])] {
        for op in [ReduceOp::ArgMax { last: false }, ReduceOp::ArgMax { last: true }, ReduceOp::ArgMin { last: false }]
        {
            let mut c = ComputeBuilder::new();
            let x = c.input(DType::F32, &shape);
            let y = c.compute(DType::I64, &[shape[1 - axis]], |e, i| {
                e.reduce(op, &[shape[axis]], |e, r| {
                    let at = if axis == 0 { [r[0], i[0]] } else { [i[0], r[0]] };
                    e.load(x, &at)
                })
            });
            c.output(y);
            check(&c.finish().unwrap(), &mut Random::new(axis as u64 + 5), &format!("{op:?} axis {axis}"));
        }
    }
}
