//! Bounds of small graphs.

use super::*;
use crate::choices::Seeded;
use egret_ir::eval::{Env, evaluate};
use egret_ir::{Attr, GraphBuilder, Type, attrs};

fn case(build: impl FnOnce(&mut GraphBuilder) -> egret_ir::ValueId, inputs: Vec<Value>) -> Case {
    let mut b = GraphBuilder::new("t");
    let y = build(&mut b);
    let graph = b.finish(&[y]);
    let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
    Case { graph, inputs, outputs, ..Case::default() }
}

#[test]
fn a_sample_next_to_a_cell_may_be_that_cell() {
    let ones = |shape: &[usize]| Value::from(Tensor::from_floats(DType::F32, shape, vec![1.0; shape.iter().product()]));
    // At row 2 of 0 and 1, less 1e-9: a part of the last row, or nothing.
    let offset = Tensor::from_floats(DType::F32, &[1, 2, 3, 1], [0.0, 0.0, -1e-9, 0.0, 0.0, 0.0]);
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1, 2, 1]));
        let w = b.input("w", Type::tensor(DType::F32, &[1, 1, 1, 1]));
        let offset = b.input("offset", Type::tensor(DType::F32, &[1, 2, 3, 1]));
        b.op("DeformConv", attrs! { pads: vec![0i64, 0, 1, 0] }, &[x, w, offset]).unwrap()
    };
    let case = case(build, vec![ones(&[1, 1, 2, 1]), ones(&[1, 1, 1, 1]), offset.into()]);
    let want = case.outputs[0].tensor().unwrap().floats().unwrap();
    assert!(want[2] > 0.0 && want[2] < 1e-8);
    let bound = &bounds(&case, 2, Silent::Reference, &mut Seeded::new(1, 0))[0];
    assert!(bound.error[2] >= want[2] && bound.error[2] < 1e-4, "{bound:?}");
}

#[test]
fn cancellation_widens_the_bound_and_exact_operators_have_none() {
    let x: Value = Tensor::from_slice(&[2], &[80.0f32, 1.0]).into();
    let of = |build: fn(&mut GraphBuilder) -> egret_ir::ValueId| {
        bounds(&case(build, vec![x.clone()]), 48, Silent::Open, &mut Seeded::new(1, 0)).remove(0)
    };
    let exact = of(|b| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        b.op("Neg", attrs! {}, &[x]).unwrap()
    });
    assert_eq!(exact.error, [0.0, 0.0]);
    let cancelled = of(|b| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let e = b.op("Exp", attrs! {}, &[x]).unwrap();
        let l = b.op("Log", attrs! {}, &[e]).unwrap();
        b.op("Sub", attrs! {}, &[l, x]).unwrap()
    });
    assert!(cancelled.error[0] > 1e-6 && cancelled.error[0] < 1e-2, "{cancelled:?}");
    assert!(cancelled.error[1] > 1e-8 && cancelled.error[1] < 1e-3, "{cancelled:?}");
}

#[test]
fn a_product_that_overflows_before_it_is_scaled_is_nobodys_fault() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1]));
        b.op("Gemm", attrs! { alpha: 0.0f32 }, &[x, x]).unwrap()
    };
    let of = |x: f32| {
        bounds(&case(build, vec![Tensor::from_slice(&[1, 1], &[x]).into()]), 3, Silent::Open, &mut Seeded::new(1, 0))
    };
    assert!(of(1e30).remove(0).unsure[0]);
    assert!(!of(1e3).remove(0).unsure[0]);
}

/// `beta c` is beyond the type, `a b + beta c` is not: a multiply-add gives the sum.
#[test]
fn a_product_that_overflows_before_it_is_added_to_is_nobodys_fault() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1]));
        let c = b.input("c", Type::tensor(DType::F32, &[1]));
        b.op("Gemm", attrs! { beta: 1.5f32 }, &[x, x, c]).unwrap()
    };
    let of = |c: f32| {
        let args = vec![Tensor::from_slice(&[1, 1], &[1.0f32]).into(), Tensor::from_slice(&[1], &[c]).into()];
        bounds(&case(build, args), 8, Silent::Reference, &mut Seeded::new(1, 0)).remove(0).unsure[0]
    };
    assert!(of(3e38));
    assert!(!of(1e38) && !of(f32::INFINITY));
}

#[test]
fn which_boxes_overlap_is_unsure_where_areas_overflow() {
    let of = |edge: f32| {
        let build = |b: &mut GraphBuilder| {
            let boxes = b.input("boxes", Type::tensor(DType::F32, &[1, 2, 4]));
            let scores = b.constant(Tensor::from_slice(&[1, 1, 2], &[0.9f32, 0.8]));
            let most = b.constant(Tensor::scalar(2i64));
            b.op("NonMaxSuppression", attrs! {}, &[boxes, scores, most]).unwrap()
        };
        let boxes = Tensor::from_slice(&[1, 2, 4], &[0.0, 0.0, edge, edge, 0.0, 0.0, 1.0, 1.0]);
        bounds(&case(build, vec![boxes.into()]), 8, Silent::Open, &mut Seeded::new(1, 0)).remove(0)
    };
    assert!(of(1e30).unsure_shape && !of(2.0).unsure_shape);
}

#[test]
fn interpolated_integers_are_unsure_next_to_whole_ones_alone() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::I8, &[2]));
        let scales = b.constant(Tensor::from_slice(&[1], &[3.0f32]));
        b.node("ai.onnx", "Resize", attrs! { mode: "linear" }, &[Some(x), None, Some(scales)], 1).unwrap()[0]
    };
    // -1, -1, 0, 1, 2, 2; and 0, 0, 0.33, 0.67, 1, 1 with ends that are whole.
    let of = |x: [i8; 2], silent| {
        let case = case(build, vec![Tensor::from_slice(&[2], &x).into()]);
        bounds(&case, 8, silent, &mut Seeded::new(1, 0)).remove(0).unsure
    };
    assert_eq!(of([0, 1], Silent::Open)[2..4], [false, false]);
    assert_eq!(of([-1, 2], Silent::Open)[2..4], [true, true]);
    assert!(!of([-1, 2], Silent::Reference).contains(&true));
}

#[test]
fn the_nearest_entry_is_unsure_where_rounding_errors_choose_it() {
    let of = |from: usize, to: i64, nearest_mode: &'static str, silent| {
        let build = |b: &mut GraphBuilder| {
            let x = b.input("x", Type::tensor(DType::F32, &[from]));
            let sizes = b.ints(&[to]);
            b.node("ai.onnx", "Resize", attrs! { nearest_mode: nearest_mode }, &[Some(x), None, None, Some(sizes)], 1)
                .unwrap()[0]
        };
        let x: Vec<f32> = (0..from).map(|i| i as f32).collect();
        bounds(&case(build, vec![Tensor::from_slice(&[from], &x).into()]), 8, silent, &mut Seeded::new(1, 0))
            .remove(0)
            .unsure
    };
    // 0.5 times 7 less 0.5 is 3, but a seventh is rounded.
    assert_eq!(of(7, 1, "floor", Silent::Open), [true]);
    assert_eq!(of(7, 1, "floor", Silent::Reference), [false]);
    assert_eq!(of(7, 1, "round_prefer_floor", Silent::Open), [false]);
    // 0, 0.25, 0.75, 1 and a quarter, ...; 0.5, 2.5: by a half, which is exact.
    assert!(!of(4, 8, "floor", Silent::Open).contains(&true));
    assert!(!of(4, 2, "round_prefer_ceil", Silent::Open).contains(&true));
    assert_eq!(of(6, 4, "round_prefer_ceil", Silent::Open), [false; 4]);
    assert_eq!(of(9, 3, "floor", Silent::Open), [true; 3]);
}

#[test]
fn what_overflows_in_one_order_may_be_a_number_in_another() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
        let axes = b.ints(&[1]);
        let sum = b.op("ReduceSum", attrs! {}, &[x, axes]).unwrap();
        b.node("ai.onnx", "DynamicQuantizeLinear", attrs! {}, &[Some(sum)], 3).unwrap()[0]
    };
    let x = Tensor::from_slice(&[2, 3], &[3e38f32, -3e38, 0.0, 3e38, -3e38, 0.0]);
    let case = case(build, vec![x.into()]);
    let unsure = bounds(&case, 128, Silent::Open, &mut Seeded::new(1, 0)).remove(0).unsure;
    assert_eq!(unsure, [true, true]);
}

#[test]
fn rows_that_may_be_equal_by_chance_leave_their_number_unsure() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let e = b.op("Exp", attrs! {}, &[x]).unwrap();
        b.op("Unique", attrs! {}, &[e]).unwrap()
    };
    let of = |x: [f32; 2]| {
        let case = case(build, vec![Tensor::from_slice(&[2], &x).into()]);
        bounds(&case, 128, Silent::Open, &mut Seeded::new(1, 0)).remove(0).unsure_shape
    };
    assert!(of([1.0, 1.000_000_1]) && !of([1.0, 1.1]));
}

#[test]
fn a_shape_that_follows_from_a_rounding_error_is_unsure() {
    let case = case(
        |b| {
            let x = b.input("x", Type::tensor(DType::F32, &[1]));
            let e = b.op("Exp", attrs! {}, &[x]).unwrap();
            let l = b.op("Log", attrs! {}, &[e]).unwrap();
            let d = b.op("Sub", attrs! {}, &[l, x]).unwrap();
            b.op("NonZero", attrs! {}, &[d]).unwrap()
        },
        vec![Tensor::from_slice(&[1], &[1.0f32]).into()],
    );
    let bounds = bounds(&case, 16, Silent::Open, &mut Seeded::new(1, 0));
    assert!(bounds[0].unsure_shape);
    let other = Tensor::from_slice(&[1, 3], &[0i64, 0, 0]);
    assert_eq!(difference(&case, &[other.into()], &bounds), None);
    let scalar = Tensor::scalar(0i64);
    assert!(difference(&case, &[scalar.into()], &bounds).is_some());
}

#[test]
fn the_digits_of_an_inexact_number_are_unsure_and_those_of_an_exact_one_are_not() {
    let of = |op: &'static str| {
        let build = |b: &mut GraphBuilder| {
            let x = b.input("x", Type::tensor(DType::F64, &[1]));
            let y = b.op(op, attrs! {}, &[x]).unwrap();
            b.op("Cast", attrs! { to: DType::String }, &[y]).unwrap()
        };
        let case = case(build, vec![Tensor::from_slice(&[1], &[1.5f64]).into()]);
        let bounds = bounds(&case, 16, Silent::Open, &mut Seeded::new(1, 0));
        difference(&case, &[Tensor::from_strings(&[1], vec!["4.0".into()]).into()], &bounds)
    };
    assert_eq!(of("Exp"), None);
    assert!(of("Neg").unwrap().contains("element 0"));
}

#[test]
fn formulas_hold_behind_extents_that_only_values_tell() {
    // The mean of these overflows in single precision.
    let x: Value = Tensor::from_slice(&[1, 1, 1, 2], &[-f32::MAX, -f32::MAX]).into();
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1, 1, 2]));
        let keep = b.input("keep", Type::tensor(DType::Bool, &[1]));
        let some = b.op("Compress", attrs! { axis: 0i64 }, &[x, keep]).unwrap();
        b.op("MeanVarianceNormalization", attrs! {}, &[some]).unwrap()
    };
    let case = case(build, vec![x, Tensor::from_ints(DType::Bool, &[1], [1]).into()]);
    assert!(bounds(&case, 8, Silent::Open, &mut Seeded::new(1, 0)).remove(0).unsure[0]);
}

#[test]
fn what_follows_from_a_shape_that_is_unsure_has_an_unsure_shape() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let e = b.op("Exp", attrs! {}, &[x]).unwrap();
        let l = b.op("Log", attrs! {}, &[e]).unwrap();
        let d = b.op("Sub", attrs! {}, &[l, x]).unwrap();
        let at = b.op("NonZero", attrs! {}, &[d]).unwrap();
        let at = b.op("Cast", attrs! { to: DType::F32 }, &[at]).unwrap();
        b.op("Sigmoid", attrs! {}, &[at]).unwrap()
    };
    let case = case(build, vec![Tensor::from_slice(&[1], &[1.0f32]).into()]);
    let bounds = bounds(&case, 16, Silent::Open, &mut Seeded::new(1, 0));
    let n = if case.outputs[0].tensor().unwrap().is_empty() { 1 } else { 0 };
    assert_eq!(difference(&case, &[Tensor::from_slice(&[1, n], &vec![0.5f32; n]).into()], &bounds), None);
}

#[test]
fn an_overflow_of_powers_before_their_root_is_nobodys_fault() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 2, 2]));
        b.op("LpPool", attrs! { kernel_shape: vec![2i64] }, &[x]).unwrap()
    };
    let x = Tensor::from_slice(&[1, 2, 2], &[1.8e19f32, 1.8e19, 3.0, 4.0]);
    let bound = bounds(&case(build, vec![x.into()]), 4, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
    assert_eq!(bound.unsure, [true, false], "{bound:?}");
    assert!(bound.error[1] < 1e-4, "{bound:?}");
}

#[test]
fn next_to_a_pole_the_sign_is_nobodys_fault() {
    for dtype in [DType::F16, DType::F32] {
        let build = |b: &mut GraphBuilder| {
            let x = b.input("x", Type::tensor(dtype, &[2]));
            let a = b.op("Acos", attrs! {}, &[x]).unwrap();
            b.op("Tan", attrs! {}, &[a]).unwrap()
        };
        let x = Tensor::from_floats(dtype, &[2], [0.0, 0.5]);
        let bound = bounds(&case(build, vec![x.into()]), 16, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
        assert_eq!(bound.unsure, [true, false], "{dtype} {bound:?}");
    }
}

#[test]
fn what_may_be_0_may_be_0_of_either_sign() {
    // The imaginary part of the second frequency is `-sin π`, where the reference multiplies by it and others know that it is 0.
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 2, 1]));
        let y = b.node("ai.onnx", "DFT", attrs! {}, &[Some(x)], 1).unwrap()[0];
        let r = b.op("Reciprocal", attrs! {}, &[y]).unwrap();
        b.op("Softplus", attrs! {}, &[r]).unwrap()
    };
    let case = case(build, vec![Tensor::from_slice(&[1, 2, 1], &[1.0f32, 1.0]).into()]);
    let bound = bounds(&case, 128, Silent::Reference, &mut Seeded::new(1, 0)).remove(0);
    assert_eq!(bound.unsure, [false, true, true, true], "{bound:?}");
}

#[test]
fn a_lane_of_the_least_numbers_may_be_one_of_zeros() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F16, &[1, 2]));
        let half = b.constant(Tensor::from_floats(DType::F16, &[], [0.25]));
        let y = b.op("PRelu", attrs! {}, &[x, half]).unwrap();
        b.op("LpNormalization", attrs! { p: 1i64 }, &[y]).unwrap()
    };
    let x = Tensor::from_floats(DType::F16, &[1, 2], [0.0, -2f64.powi(-23)]);
    let case = case(build, vec![x.into()]);
    let bounds = bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0));
    let got = Tensor::from_floats(DType::F16, &[1, 2], [0.0, -1.0]);
    assert_eq!(difference(&case, &[got.into()], &bounds), None);
}

#[test]
fn factors_that_are_0_are_rounded_too() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2, 1]));
        b.op("DFT", attrs! {}, &[x]).unwrap()
    };
    let x = Tensor::from_slice(&[2, 1], &[0.0f32, 1.0]);
    let bound = bounds(&case(build, vec![x.into()]), 2, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
    assert!(bound.error.iter().all(|e| (1e-7..1e-4).contains(e)), "{bound:?}");
}

#[test]
fn what_is_saturated_may_be_the_limit() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let one = b.constant(Tensor::from_slice(&[1], &[1.0f32]));
        let t = b.op("Tanh", attrs! {}, &[x]).unwrap();
        b.op("Equal", attrs! {}, &[t, one]).unwrap()
    };
    let case = case(build, vec![Tensor::from_slice(&[1], &[8.7f32]).into()]);
    assert_eq!(bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0)).remove(0).unsure, [true]);
}

#[test]
fn a_product_whose_parts_vanish_or_overflow_is_nobodys_fault() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[5, 3]));
        let axes = b.ints(&[1]);
        b.op("ReduceProd", attrs! {}, &[x, axes]).unwrap()
    };
    let rows =
        [[1e-30f32, 1e-12, 1e30], [1e30, 1e12, 1e-30], [1e-30, 0.0, 1e30], [1e-3, 1e-4, 1e10], [1e-41, 1.0, 1.0]];
    let case = case(build, vec![Tensor::from_slice(&[5, 3], &rows.concat()).into()]);
    let bound = bounds(&case, 4, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
    assert_eq!(bound.unsure, [false, true, false, false, false]);
    assert!((1e-15..1e-12).contains(&bound.error[0]), "{bound:?}");
    assert!(bound.error[2] < 1e-41 && bound.error[3] < 1e-1 && bound.error[4] < 1e-41, "{bound:?}");
}

#[test]
fn a_matrix_next_to_one_without_an_inverse_may_be_refused() {
    let of = |offset: f32| {
        let build = |b: &mut GraphBuilder| {
            let x = b.input("x", Type::tensor(DType::F32, &[2, 2]));
            let one = b.constant(Tensor::from_slice(&[2, 2], &[1.0f32; 4]));
            let s = b.op("Add", attrs! {}, &[x, one]).unwrap();
            b.node("com.microsoft", "Inverse", attrs! {}, &[Some(s)], 1).unwrap()[0]
        };
        let x = Tensor::from_slice(&[2, 2], &[0.0f32, 0.0, 0.0, offset]);
        may_refuse(&case(build, vec![x.into()]), 48, &mut Seeded::new(1, 0))
    };
    assert!(of(2f32.powi(-23)));
    assert!(!of(0.5));
}

#[test]
fn what_overflows_on_its_way_to_a_scale_is_nobodys_fault() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1, 1, 3]));
        let y = b.op("LRN", attrs! { size: 3i64, alpha: 0.0f32 }, &[x]).unwrap();
        b.node("ai.onnx", "DynamicQuantizeLinear", attrs! {}, &[Some(y)], 3).unwrap()[0]
    };
    let x = Tensor::from_slice(&[1, 1, 1, 3], &[0.0, f32::MAX, 1.0]);
    assert!(bounds(&case(build, vec![x.into()]), 4, Silent::Open, &mut Seeded::new(1, 0)).remove(0).unsure[2]);
}

#[test]
fn a_factor_that_is_off_may_change_the_extents_and_hides_no_error() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[11]));
        let factor = b.constant(Tensor::from_slice(&[1], &[3.0f32]));
        b.node("ai.onnx", "Resize", attrs! { mode: "cubic" }, &[Some(x), None, Some(factor)], 1).unwrap()[0]
    };
    let x = Tensor::from_slice(&[11], &[0.0f32, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    let case = case(build, vec![x.into()]);
    for seed in 0..8 {
        let bound = bounds(&case, 2, Silent::Open, &mut Seeded::new(seed, 0)).remove(0);
        assert!(bound.error.iter().all(|e| (1e-7..1e-3).contains(e)), "{bound:?}");
    }
}

#[test]
fn one_score_of_many_may_overflow_alone() {
    let m = f32::MAX;
    let (q, k) = ([-m, -m], [1e19f32, -m, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    let build = |b: &mut GraphBuilder| {
        let q = b.input("q", Type::tensor(DType::F32, &[1, 2]));
        let k = b.input("k", Type::tensor(DType::F32, &[6, 2]));
        let k = b.op("Transpose", attrs! { perm: vec![1i64, 0] }, &[k]).unwrap();
        let s = b.op("MatMul", attrs! {}, &[q, k]).unwrap();
        b.op("Softmax", attrs! {}, &[s]).unwrap()
    };
    let inputs = vec![Tensor::from_slice(&[1, 2], &q).into(), Tensor::from_slice(&[6, 2], &k).into()];
    let case = case(build, inputs);
    let bounds = bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0));
    let got = Tensor::from_slice(&[1, 6], &[0.0f32, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(difference(&case, &[got.into()], &bounds), None);
}

#[test]
fn statistics_of_doubles_may_overflow_in_one_order_and_not_in_another() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F64, &[1, 4]));
        let scale = b.input("scale", Type::tensor(DType::F64, &[4]));
        b.op("LayerNormalization", attrs! {}, &[x, scale]).unwrap()
    };
    let x = Tensor::from_slice(&[1, 4], &[0.0, f64::MAX, f64::MAX, -f64::MAX]);
    let case = case(build, vec![x.into(), Tensor::from_slice(&[4], &[0.0f64; 4]).into()]);
    assert_eq!(bounds(&case, 48, Silent::Reference, &mut Seeded::new(1, 0)).remove(0).unsure, [true; 4]);
}

#[test]
fn how_many_differ_of_elements_that_are_unsure_is_unsure() {
    // The variance of these overflows in single precision.
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1, 2, 2]));
        let s = b.input("s", Type::tensor(DType::F32, &[2]));
        let y = b.op("InstanceNormalization", attrs! { epsilon: -1.5f32 }, &[x, s, s]).unwrap();
        b.op("Unique", attrs! {}, &[y]).unwrap()
    };
    let x = Tensor::from_slice(&[1, 2, 2], &[0.0, f32::MAX, f32::MAX, f32::MAX / 2.0]);
    let case = case(build, vec![x.into(), Tensor::from_slice(&[2], &[1.0f32, 1.0]).into()]);
    let bounds = bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0));
    assert_eq!(difference(&case, &[Tensor::from_slice(&[2], &[f32::NAN, 1.0]).into()], &bounds), None);
}

#[test]
fn the_bits_of_a_nan_are_nobodys_fault() {
    let x: Value = Tensor::from_slice(&[2], &[-1.0f32, 2.0]).into();
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let l = b.op("Log", attrs! {}, &[x]).unwrap();
        b.op("BitCast", attrs! { to: DType::I32 }, &[l]).unwrap()
    };
    let bounds = bounds(&case(of, vec![x]), 16, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
    assert!(bounds.unsure[0]);
}

#[test]
fn a_phase_that_is_off_by_periods_is_unknown() {
    let x: Value = Tensor::from_slice(&[1], &[40f32]).into();
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let e = b.op("Exp", attrs! {}, &[x]).unwrap();
        b.op("Sin", attrs! {}, &[e]).unwrap()
    };
    let case = case(of, vec![x]);
    let bounds = bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0));
    for y in [-1.0f32, 1.0] {
        assert_eq!(difference(&case, &[Tensor::from_slice(&[1], &[y]).into()], &bounds), None);
    }
}

#[test]
fn quantised_products_are_unsure_next_to_a_half_alone() {
    let build = |b: &mut GraphBuilder| {
        let a = b.input("a", Type::tensor(DType::I8, &[2, 1]));
        let scalar = |b: &mut GraphBuilder, x: f32| Some(b.constant(Tensor::scalar(x)));
        let zero = |b: &mut GraphBuilder, x: i8| Some(b.constant(Tensor::scalar(x)));
        let (sa, za, sb, zb) = (scalar(b, 0.01407775), zero(b, -1), scalar(b, 0.015625), zero(b, 0));
        let (sy, zy) = (scalar(b, 0.020236766), zero(b, -1));
        let w = b.constant(Tensor::from_slice(&[1, 2], &[14i8, 69]));
        let operands = [Some(a), sa, za, Some(w), sb, zb, sy, zy];
        b.node("ai.onnx", "QLinearMatMul", attrs! {}, &operands, 1).unwrap()[0]
    };
    // 2 * 69 of these steps are 1.49999997.
    let case = case(build, vec![Tensor::from_slice(&[2, 1], &[94i8, 1]).into()]);
    let bounds = bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
    assert_eq!(bounds.unsure, [false, false, false, true]);
}

#[test]
fn quantised_convolutions_are_unsure_next_to_a_half_alone() {
    let build = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::I8, &[2, 2, 1]));
        let scalar = |b: &mut GraphBuilder, x: f32| Some(b.constant(Tensor::scalar(x)));
        let zero = |b: &mut GraphBuilder, x: i8| Some(b.constant(Tensor::scalar(x)));
        let (sx, zx, sw, zw) = (scalar(b, 0.007874016), zero(b, 0), scalar(b, 0.015625), zero(b, 0));
        let (sy, zy) = (scalar(b, 0.03125), zero(b, -41));
        let w = b.constant(Tensor::from_slice(&[2, 2, 1], &[-90i8, 109, -85, -87]));
        let operands = [Some(x), sx, zx, Some(w), sw, zw, sy, zy];
        let y = b.node("ai.onnx", "QLinearConv", attrs! {}, &operands, 1).unwrap()[0];
        let w = b.constant(Tensor::from_slice(&[2, 2, 1], &[58i8, -85, -12, 53]));
        let (sz, zz) = (scalar(b, 0.019355087), zero(b, -20));
        let operands = [Some(y), sy, zy, Some(w), sw, zw, sz, zz];
        let z = b.node("ai.onnx", "QLinearConv", attrs! {}, &operands, 1).unwrap()[0];
        b.op("Concat", attrs! { axis: 2i64 }, &[y, z]).unwrap()
    };
    // 127 * 90 + 127 * 109 of these steps are 99.4999996; one more in the first channel is one less in the second of the next,
    // whose first is held at 127.
    let case = case(build, vec![Tensor::from_slice(&[2, 2, 1], &[127i8, -97, -127, 127]).into()]);
    let bounds = bounds(&case, 48, Silent::Open, &mut Seeded::new(1, 0)).remove(0);
    assert_eq!(bounds.unsure, [false, false, false, false, true, false, false, true]);
}

#[test]
fn the_sign_of_a_sum_of_zeros_is_open() {
    let x: Value = Tensor::from_slice(&[1], &[-0.0f32]).into();
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let axis = b.constant(Tensor::scalar(0i32));
        let sum = b.op("CumSum", attrs! {}, &[x, axis]).unwrap();
        b.op("Reciprocal", attrs! {}, &[sum]).unwrap()
    };
    let case = case(of, vec![x]);
    let unsure = |silent| bounds(&case, 16, silent, &mut Seeded::new(1, 0)).remove(0).unsure;
    assert_eq!((unsure(Silent::Open), unsure(Silent::Reference)), (vec![true], vec![false]));
}

#[test]
fn the_sign_of_a_zero_is_a_zero() {
    let x: Value = Tensor::from_slice(&[2], &[-0.0f32, -2.0]).into();
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let sign = b.op("Sign", attrs! {}, &[x]).unwrap();
        b.op("Reciprocal", attrs! {}, &[sign]).unwrap()
    };
    let case = case(of, vec![x]);
    assert_eq!(bounds(&case, 16, Silent::Open, &mut Seeded::new(1, 0)).remove(0).unsure, [true, false]);
}

#[test]
fn what_overflows_16_bits_alone_may_be_read_before() {
    let x = Tensor::from_floats(DType::F16, &[3], [300.0, f64::INFINITY, 2.0]);
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F16, &[3]));
        let square = b.op("Mul", attrs! {}, &[x, x]).unwrap();
        b.op("Cos", attrs! {}, &[square]).unwrap()
    };
    let case = case(of, vec![x.into()]);
    let unsure = |silent| bounds(&case, 16, silent, &mut Seeded::new(1, 0)).remove(0).unsure;
    assert_eq!(unsure(Silent::Open), [true, false, false]);
    assert_eq!(unsure(Silent::Reference), [false, false, false]);
}

#[test]
fn what_a_nan_is_quantised_to_is_open() {
    let x: Value = Tensor::from_slice(&[2], &[f32::NAN, 2.0]).into();
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let scale = b.constant(Tensor::scalar(1.0f32));
        b.op("QuantizeLinear", attrs! {}, &[x, scale]).unwrap()
    };
    let case = case(of, vec![x]);
    let unsure = |silent| bounds(&case, 16, silent, &mut Seeded::new(1, 0)).remove(0).unsure;
    assert_eq!(unsure(Silent::Open), [true, false]);
    assert_eq!(unsure(Silent::Reference), [false, false]);
}

#[test]
fn what_the_specification_leaves_open_the_reference_does_not() {
    let x: Value = Tensor::from_slice(&[2], &[f32::NAN, 2.0]).into();
    let of = |b: &mut GraphBuilder| {
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        b.op("Cast", attrs! { to: DType::I32 }, &[x]).unwrap()
    };
    let case = case(of, vec![x]);
    let unsure = |silent| bounds(&case, 16, silent, &mut Seeded::new(1, 0)).remove(0).unsure;
    assert_eq!(unsure(Silent::Open), [true, false]);
    assert_eq!(unsure(Silent::Reference), [false, false]);
}

#[test]
fn gates_without_a_bound_overflow_in_one_order_and_not_in_another() {
    let large = |shape: &[usize]| -> Value {
        Tensor::from_floats(DType::F32, shape, vec![100.0; shape.iter().product()]).into()
    };
    let shapes = [[6usize, 1, 1], [1, 3, 1], [1, 3, 1]];
    let is_unsure = |names: [&str; 2]| {
        let names = Attr::Strings(names.map(str::to_owned).to_vec());
        let build = |b: &mut GraphBuilder| {
            let xs = shapes.map(|s| b.input("", Type::tensor(DType::F32, &s)));
            b.op("GRU", attrs! { activations: names, hidden_size: 1i64 }, &xs).unwrap()
        };
        let case = case(build, shapes.map(|s| large(&s)).to_vec());
        bounds(&case, 16, Silent::Reference, &mut Seeded::new(1, 0)).remove(0).unsure.contains(&true)
    };
    assert!(is_unsure(["Affine", "LeakyRelu"]));
    assert!(!is_unsure(["Sigmoid", "Tanh"]));
}

#[test]
fn a_wrong_element_is_told_and_a_step_at_a_jump_is_not() {
    let x: Value = Tensor::from_slice(&[2], &[0.3f32, 2.0]).into();
    let case = case(
        |b| {
            let x = b.input("x", Type::tensor(DType::F32, &[2]));
            let s = b.op("Exp", attrs! {}, &[x]).unwrap();
            let l = b.op("Log", attrs! {}, &[s]).unwrap();
            b.op("Floor", attrs! {}, &[l]).unwrap()
        },
        vec![x],
    );
    let bounds = bounds(&case, 16, Silent::Open, &mut Seeded::new(1, 0));
    let got = |a: f32, b: f32| vec![Value::from(Tensor::from_slice(&[2], &[a, b]))];
    let first = case.outputs[0].tensor().unwrap().floats().unwrap()[0] as f32;
    assert!(difference(&case, &got(first + 1.0, 2.0), &bounds).unwrap().contains("element 0"));
    // log(exp(2)) may be just below 2.
    assert_eq!(difference(&case, &got(first, 1.0), &bounds), None);
}
