//! The levels against each other: definition, nest, fused nest.

use super::testing::{Random, random_compute, random_input};
use super::*;
use crate::DType;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|v| v.to_le_bytes()).collect()
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
    let wanted = interp::eval(compute, &inputs).unwrap_or_else(|e| panic!("{what}: {e}\n{compute}"));
    let mut fused = compute.clone();
    inline(&mut fused);
    fused.check().unwrap();
    for (level, c) in [("as it is", compute), ("fused", &fused)] {
        let program = schedule(c).unwrap_or_else(|e| panic!("{what}, {level}: {e}\n{c}"));
        let got = interp::run(&program, &inputs).unwrap_or_else(|e| panic!("{what}, {level}: {e}\n{c}\n{program}"));
        for (o, (w, g)) in wanted.iter().zip(&got).enumerate() {
            let dtype = compute.stages[compute.outputs[o]].desc.dtype;
            assert!(equal(dtype, w, g), "{what}, {level}, output {o}\n{c}\n{program}\nwanted {w:?}\n   got {g:?}");
        }
    }
}

#[test]
fn scheduled_and_fused_computations_keep_their_meaning() {
    for seed in 0..400 {
        let mut r = Random::new(seed);
        let dtype = [DType::F32, DType::F32, DType::I64, DType::I32, DType::F16, DType::U8, DType::F64][r.below(7)];
        let compute = random_compute(&mut r, dtype, 6);
        check(&compute, &mut r, &format!("seed {seed}"));
    }
}

#[test]
fn reshape_of_reshape_is_a_copy() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[4, 6, 10]);
    let a = c.reshape(x, &[24, 10]);
    let b = c.reshape(a, &[8, 30]);
    let y = c.reshape(b, &[4, 6, 10]);
    c.output(y);
    let mut compute = c.finish().unwrap();
    inline(&mut compute);
    assert_eq!(compute.stages.len(), 1);
    let text = ShowExpr(&compute.arena, compute.stages[0].value).to_string();
    assert!(!text.contains("//") && !text.contains("mod"), "{text}");
    let program = schedule(&compute).unwrap();
    assert_eq!(program.kernels.len(), 1, "{program}");
}

fn softmax(rows: usize, cols: usize) -> Compute {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[rows, cols]);
    let max = c.compute(DType::F32, &[rows], |e, i| e.reduce(ReduceOp::Max, &[cols], |e, r| e.load(x, &[i[0], r[0]])));
    let exp = c.compute(DType::F32, &[rows, cols], |e, i| {
        let (v, m) = (e.load(x, i), e.load(max, &[i[0]]));
        let d = e.sub(v, m);
        e.exp(d)
    });
    let sum =
        c.compute(DType::F32, &[rows], |e, i| e.reduce(ReduceOp::Sum, &[cols], |e, r| e.load(exp, &[i[0], r[0]])));
    let y = c.compute(DType::F32, &[rows, cols], |e, i| {
        let (v, s) = (e.load(exp, i), e.load(sum, &[i[0]]));
        e.div(v, s)
    });
    c.output(y);
    c.finish().unwrap()
}

#[test]
fn softmax_is_one_kernel_over_rows() {
    let mut compute = softmax(20, 10);
    inline(&mut compute);
    let program = schedule(&compute).unwrap();
    assert_eq!(program.kernels.len(), 1, "{program}");
    assert_eq!(program.kernels[0].extent, 20);
    assert!(program.temps.is_empty());
    assert!(program.kernels[0].scratch_bytes >= 40, "the exponentials of a row are kept");
    let x: Vec<f32> = (0..200).map(|i| (i % 7) as f32).collect();
    let y = floats(&interp::run(&program, &[&bytes(&x)]).unwrap()[0]);
    for row in y.chunks(10) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_reduction_across_memory_runs_along_it() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[300, 1000]);
    let sum = c.compute(DType::F32, &[1000], |e, i| e.reduce(ReduceOp::Sum, &[300], |e, r| e.load(x, &[r[0], i[0]])));
    let y = c.compute(DType::F32, &[1000], |e, i| {
        let s = e.load(sum, i);
        e.sqrt(s)
    });
    c.output(y);
    let mut compute = c.finish().unwrap();
    inline(&mut compute);
    let program = schedule(&compute).unwrap();
    for kernel in &program.kernels {
        assert!(kernel.extent < 100 && format!("{program}").contains(" vector"), "columns one by one: {program}");
    }
    check(&compute, &mut Random::new(1), "columns");
}

#[test]
fn padding_leaves_no_condition_in_the_middle() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[100]);
    let y = c.pad(x, &[3], &[5], Scalar::F32(7.0));
    c.output(y);
    let program = schedule(&c.finish().unwrap()).unwrap();
    assert!(!program.to_string().contains("select"), "{program}");
}

#[test]
fn unproven_indices_are_clamped() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[5]);
    let i = c.input(DType::I64, &[3]);
    let y = c.compute(DType::F32, &[3], |e, k| {
        let at = e.load(i, k);
        e.load(x, &[at])
    });
    c.output(y);
    let program = schedule(&c.finish().unwrap()).unwrap();
    let at: Vec<u8> = [-9i64, 2, 1 << 40].iter().flat_map(|v| v.to_le_bytes()).collect();
    let y = interp::run(&program, &[&bytes(&[0.0, 1.0, 2.0, 3.0, 4.0]), &at]).unwrap();
    assert_eq!(floats(&y[0]), [0.0, 2.0, 4.0]);
}

#[test]
fn arg_reductions_find_the_first() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[3, 4]);
    let y = c.compute(DType::I64, &[3], |e, i| {
        e.reduce(ReduceOp::ArgMax { last: false }, &[4], |e, r| e.load(x, &[i[0], r[0]]))
    });
    c.output(y);
    let compute = c.finish().unwrap();
    let x = bytes(&[1.0, 3.0, 3.0, 0.0, -1.0, -2.0, -1.0, -5.0, 0.0, f32::NAN, 9.0, f32::NAN]);
    let wanted: Vec<u8> = [1i64, 0, 1].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(interp::eval(&compute, &[&x]).unwrap()[0], wanted);
    assert_eq!(interp::run(&schedule(&compute).unwrap(), &[&x]).unwrap()[0], wanted);
}

#[test]
fn mistakes_are_reported_not_panicked() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[3]);
    let y = c.compute(DType::F32, &[3], |e, i| {
        let v = e.load(x, i);
        e.add(v, i[0])
    });
    c.output(y);
    assert!(matches!(c.finish(), Err(LoopError::Invalid(_))));
    let mut c = ComputeBuilder::new();
    c.input(DType::String, &[3]);
    assert!(matches!(c.finish(), Err(LoopError::Unsupported(_))));
}

#[test]
fn fuse_binds_one_input() {
    let mut p = ComputeBuilder::new();
    let x = p.input(DType::F32, &[4]);
    let y = p.compute(DType::F32, &[4], |e, i| {
        let v = e.load(x, i);
        e.neg(v)
    });
    p.output(y);
    let p = p.finish().unwrap();
    let mut q = ComputeBuilder::new();
    let (a, b) = (q.input(DType::F32, &[4]), q.input(DType::F32, &[4]));
    let y = q.compute(DType::F32, &[4], |e, i| {
        let (x, y) = (e.load(a, i), e.load(b, i));
        e.sub(x, y)
    });
    q.output(y);
    let q = q.finish().unwrap();
    let whole = fuse(&p, 0, &q, 1).unwrap();
    assert_eq!((whole.inputs.len(), whole.stages.len()), (2, 1));
    let y = interp::eval(&whole, &[&bytes(&[1.0, 2.0, 3.0, 4.0]), &bytes(&[10.0; 4])]).unwrap();
    assert_eq!(floats(&y[0]), [11.0, 12.0, 13.0, 14.0]);
}

#[test]
fn transposes_go_by_tiles() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[3, 37, 70]);
    let y = c.transpose(x, &[0, 2, 1]);
    c.output(y);
    let compute = c.finish().unwrap();
    assert_eq!(schedule(&compute).unwrap().kernels[0].extent, 3 * 5);
    check(&compute, &mut Random::new(3), "transpose");
}

#[test]
fn padded_windows_have_no_condition_in_the_middle() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[40]);
    let y = c.compute(DType::F32, &[40], |e, i| {
        e.reduce(ReduceOp::Max, &[3], |e, k| {
            let at = e.affine(i[0], 1, -1);
            let at = e.add(at, k[0]);
            let least = e.float(DType::F32, f64::NEG_INFINITY);
            e.load_padded(x, &[at], least)
        })
    });
    c.output(y);
    let compute = c.finish().unwrap();
    let text = schedule(&compute).unwrap().to_string();
    assert!(!text.contains("select"), "{text}");
    check(&compute, &mut Random::new(4), "window");
}

#[test]
fn stages_that_share_all_axes_keep_a_vector_loop() {
    let mut c = ComputeBuilder::new();
    let x = c.input(DType::F32, &[5, 37]);
    let y = c.compute(DType::F32, &[5, 37], |e, i| {
        let v = e.load(x, i);
        e.tanh(v)
    });
    let z = c.compute(DType::F32, &[5, 37], |e, i| {
        let (v, w) = (e.load(y, i), e.load(x, i));
        e.mul(v, w)
    });
    c.output(y);
    c.output(z);
    let compute = c.finish().unwrap();
    let program = schedule(&compute).unwrap();
    assert_eq!((program.kernels.len(), program.kernels[0].extent), (1, 5));
    assert!(program.to_string().contains("vector"), "{program}");
    check(&compute, &mut Random::new(5), "two results");
}

/// Two stages that have every axis but one in common keep the innermost one for vectors.
#[test]
fn rows_leave_the_axis_along_which_elements_lie() {
    let mut b = ComputeBuilder::new();
    let x = b.input(DType::F32, &[8, 9, 32]);
    let shifted = |b: &mut ComputeBuilder, x, n: usize, axis: usize| {
        let mut shape = b.shape(x);
        shape[axis] = n;
        b.compute(DType::F32, &shape, |b, i| {
            let mut at = i.to_vec();
            let (u, mut v) = (b.load(x, i), b.load(x, i));
            for _ in 0..6 {
                at[axis] = b.affine(i[axis], 1, 1);
                let w = b.load(x, &at);
                v = b.mul(v, w);
            }
            b.add(u, v)
        })
    };
    let y = shifted(&mut b, x, 7, 0);
    let z = shifted(&mut b, y, 8, 1);
    b.output(z);
    let mut compute = b.finish().unwrap();
    inline(&mut compute);
    let program = schedule(&compute).unwrap();
    assert_eq!(program.kernels.len(), 1, "{program}");
    // No vector loop runs over elements that lie apart.
    let text = program.to_string();
    let vars: Vec<&str> = text.split("for vector ").skip(1).filter_map(|t| t.split(' ').next()).collect();
    assert_eq!(vars.len(), 2, "{program}");
    assert!(vars.iter().all(|v| !text.contains(&format!("({v} * "))), "{program}");
    check(&compute, &mut Random::new(6), "rows");
}

/// A result that is cut into parts along the innermost axis: a loop over the others for each part.
#[test]
fn joins_of_channels_go_part_by_part() {
    let mut c = ComputeBuilder::new();
    let parts = [32, 48, 20].map(|n| c.input(DType::F32, &[50, n]));
    let y = c.concat(&parts, 1);
    let z = c.compute(DType::F32, &[50, 100], |e, i| {
        let v = e.load(y, i);
        e.tanh(v)
    });
    c.output(z);
    let mut compute = c.finish().unwrap();
    inline(&mut compute);
    let text = schedule(&compute).unwrap().to_string();
    assert_eq!((text.matches("for vector").count(), text.contains("select")), (3, false), "{text}");
    check(&compute, &mut Random::new(7), "concat");
}
