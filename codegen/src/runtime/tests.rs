//! Calls of single operators, compiled against reference evaluation: random extents (0, 1 and odd ones among them),
//! the same bits for every number of threads, nothing on the host.

use crate::exec::tests::Plain;
use crate::exec::{ExecOptions, Executable};
use egret_ir::attr::Attrs;
use egret_ir::eval::{Env, evaluate};
use egret_ir::loops::testing::Random;
use egret_ir::{DType, GraphBuilder, Tensor, Type, Value, attrs};
use std::sync::Arc;

/// An operand: one of the run, or one that the compiler knows.
#[derive(Clone, Debug)]
enum X {
    Run(Tensor),
    Known(Tensor),
    None,
}

/// Runs one call at one and two threads and compares it with its evaluation; an error must be one on both sides.
fn check_in(domain: &str, op: &str, attrs: Attrs, x: &[X], n_out: usize) {
    let mut b = GraphBuilder::new("t");
    let mut args: Vec<Value> = Vec::new();
    let ids: Vec<_> = x
        .iter()
        .map(|x| match x {
            X::Run(t) => {
                args.push(t.clone().into());
                Some(b.input("", Type::tensor(t.dtype(), t.shape())))
            }
            X::Known(t) => Some(b.constant(t.clone())),
            X::None => None,
        })
        .collect();
    let what = format!("{op} {attrs:?} of {x:?}");
    let y = b.node(domain, op, attrs, &ids, n_out).unwrap_or_else(|e| panic!("{what}: {e}"));
    let graph = b.finish(&y);
    let want = evaluate(&graph, args.clone(), &Env::default());
    let mut bits: Option<Vec<Vec<u8>>> = None;
    for threads in [1, 2] {
        let options = ExecOptions { threads, ..ExecOptions::default() };
        let exe = Executable::new(Arc::new(graph.clone()), Arc::new(Plain), options).unwrap();
        let types: Vec<Type> = args.iter().map(Value::ty).collect();
        let plan = exe.prepare(&types).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(plan.steps.iter().all(|s| s.kind() != "host"), "{what} runs on the host");
        let got = exe.run(args.clone());
        let (got, want) = match (&got, &want) {
            (Ok(got), Ok(want)) => (got, want),
            (Err(_), Err(_)) => continue,
            _ => panic!("{what}: {got:?}, wanted {want:?}"),
        };
        let mut all = Vec::new();
        for (g, w) in got.iter().zip(want) {
            let (g, w) = (g.tensor().unwrap(), w.tensor().unwrap());
            assert_eq!((g.shape(), g.dtype()), (w.shape(), w.dtype()), "{what}");
            let u = match g.dtype() {
                DType::F32 => 1e-5,
                DType::F64 => 1e-12,
                DType::F16 => 4e-3,
                DType::BF16 => 3e-2,
                _ => 0.0,
            };
            let (gv, wv) = (g.floats().unwrap(), w.floats().unwrap());
            let most = wv.iter().filter(|v| v.is_finite()).fold(1.0f64, |a, v| a.max(v.abs()));
            for (k, (a, b)) in gv.iter().zip(&wv).enumerate() {
                let same = a == b || (a.is_nan() && b.is_nan());
                assert!(same || (a - b).abs() <= u * most, "{what}: element {k} is {a}, wanted {b}");
            }
            all.push(g.bytes().to_vec());
        }
        assert_eq!(*bits.get_or_insert_with(|| all.clone()), all, "{what}: bits differ between numbers of threads");
    }
}

fn check(op: &str, attrs: Attrs, x: &[X], n_out: usize) {
    check_in("ai.onnx", op, attrs, x, n_out);
}

/// Values with repeats, in the range of small integers.
fn tensor(r: &mut Random, dtype: DType, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let v: Vec<f64> = (0..n).map(|_| r.below(4001) as f64 / 100.0 - 20.0).collect();
    match dtype.is_float() {
        true => Tensor::from_floats(dtype, shape, v),
        false => Tensor::from_ints(dtype, shape, v.iter().map(|&v| v as i128)),
    }
}

fn ints(shape: &[usize], v: &[i64]) -> Tensor {
    Tensor::from_slice(shape, v)
}

/// Indices of axes of these extents in turn, from either end; now and then one that is wrong.
fn index(r: &mut Random, shape: &[usize], extents: &[usize], wrong: bool) -> Tensor {
    let n: usize = shape.iter().product();
    let mut v: Vec<i64> = (0..n)
        .map(|k| {
            let e = extents[k % extents.len()].max(1);
            r.below(2 * e) as i64 - e as i64
        })
        .collect();
    if let (true, Some(v)) = (wrong, v.first_mut()) {
        *v = extents[0] as i64;
    }
    ints(shape, &v)
}

const EXTENTS: [usize; 6] = [0, 1, 2, 3, 7, 18];

fn extent(r: &mut Random) -> usize {
    EXTENTS[r.below(EXTENTS.len())]
}

fn shape(r: &mut Random, rank: usize) -> Vec<usize> {
    (0..rank).map(|_| extent(r)).collect()
}

fn pick<T: Copy>(r: &mut Random, list: &[T]) -> T {
    list[r.below(list.len())]
}

const REALS: [DType; 5] = [DType::F32, DType::F32, DType::F64, DType::F16, DType::BF16];
const NUMBERS: [DType; 7] = [DType::F32, DType::F64, DType::F16, DType::I32, DType::I64, DType::U8, DType::I8];

#[test]
fn transforms_agree_with_their_definition() {
    let r = &mut Random::new(1);
    for _ in 0..60 {
        let rank = 2 + r.below(3);
        let mut s: Vec<usize> = shape(r, rank);
        let axis = r.below(rank - 1);
        s[axis] = 1 + r.below(40);
        let (onesided, inverse) = (r.below(2) == 1, r.below(2) == 1);
        s[rank - 1] = if onesided && !inverse { 1 } else { 1 + r.below(2) };
        let least = if onesided && inverse { 2 } else { 1 };
        let length = if r.below(2) == 0 && s[axis] >= least {
            X::None
        } else {
            X::Known(Tensor::scalar(1 + r.below(50) as i64))
        };
        let dtype = pick(r, &REALS);
        let x = [X::Run(tensor(r, dtype, &s)), length, X::Known(Tensor::scalar(axis as i64))];
        check("DFT", attrs! { onesided: onesided, inverse: inverse }, &x, 1);
    }
    for _ in 0..20 {
        let (n, batch) = (20 + r.below(50), 1 + r.below(3));
        let (length, step) = (1 + r.below(20), 1 + r.below(9));
        let onesided = r.below(2) == 1;
        let parts = if onesided { 1 } else { 1 + r.below(2) };
        let window = if r.below(2) == 0 { X::None } else { X::Run(tensor(r, DType::F32, &[length])) };
        let x = [
            X::Run(tensor(r, DType::F32, &[batch, n, parts])),
            X::Known(Tensor::scalar(step as i64)),
            window,
            X::Known(Tensor::scalar(length as i64)),
        ];
        check("STFT", attrs! { onesided: onesided }, &x, 1);
    }
}

#[test]
fn running_sums_and_products_agree() {
    let r = &mut Random::new(2);
    for _ in 0..60 {
        let rank = 1 + r.below(3);
        let (s, dtype) =
            (shape(r, rank), pick(r, &[DType::F32, DType::F64, DType::F16, DType::I32, DType::I64, DType::U32]));
        let axis = r.below(2 * rank) as i64 - rank as i64;
        let a = attrs! { exclusive: r.below(2) == 1, reverse: r.below(2) == 1 };
        let x = [X::Run(tensor(r, dtype, &s)), X::Known(Tensor::scalar(axis))];
        check("CumSum", a.clone(), &x, 1);
        if !dtype.is_float() {
            check("CumProd", a, &x, 1);
        }
    }
}

#[test]
fn scatters_agree_and_refuse_wrong_indices() {
    let r = &mut Random::new(3);
    for turn in 0..120 {
        let rank = 1 + r.below(3);
        let (s, dtype) = (shape(r, rank), pick(r, &NUMBERS));
        let reduction = pick(r, &["none", "add", "mul", "max", "min"]);
        let axis = r.below(rank);
        let mut at: Vec<usize> = s.iter().map(|&n| r.below(n + 1)).collect();
        at[axis] = if s[axis] == 0 { 0 } else { extent(r) };
        let x = [
            X::Run(tensor(r, dtype, &s)),
            X::Run(index(r, &at, &[s[axis]], turn % 8 == 7)),
            X::Run(tensor(r, dtype, &at)),
        ];
        check("ScatterElements", attrs! { axis: axis as i64, reduction: reduction }, &x, 1);
        let k = 1 + r.below(rank);
        let count = if s[..k].contains(&0) { 0 } else { extent(r) };
        let updates: Vec<usize> = [&[count], &s[k..]].concat();
        let x = [
            X::Run(tensor(r, dtype, &s)),
            X::Run(index(r, &[count, k], &s[..k], turn % 8 == 7)),
            X::Run(tensor(r, dtype, &updates)),
        ];
        check("ScatterND", attrs! { reduction: reduction }, &x, 1);
    }
}

#[test]
fn gathers_agree_and_refuse_wrong_indices() {
    let r = &mut Random::new(4);
    for turn in 0..80 {
        let rank = 1 + r.below(3);
        let s: Vec<usize> = (0..rank).map(|_| 1 + r.below(6)).collect();
        let (axis, dtype, wrong) = (r.below(rank), pick(r, &NUMBERS), turn % 8 == 7);
        let mut at: Vec<usize> = s.iter().map(|&n| r.below(n + 1)).collect();
        at[axis] = extent(r);
        let x = [X::Run(tensor(r, dtype, &s)), X::Run(index(r, &at, &[s[axis]], wrong))];
        check("GatherElements", attrs! { axis: axis as i64 }, &x, 1);
        let b = r.below(rank);
        let k = 1 + r.below(rank - b);
        let at: Vec<usize> = [&s[..b], &[extent(r), k]].concat();
        let x = [X::Run(tensor(r, dtype, &s)), X::Run(index(r, &at, &s[b..b + k], wrong))];
        check("GatherND", attrs! { batch_dims: b as i64 }, &x, 1);
    }
}

#[test]
fn the_largest_and_smallest_agree() {
    let r = &mut Random::new(5);
    for _ in 0..80 {
        let rank = 1 + r.below(3);
        let (s, dtype, axis) = (shape(r, rank), pick(r, &NUMBERS), r.below(rank));
        let k = r.below(s[axis] + 1) as i64;
        let mut x = tensor(r, dtype, &s);
        if dtype == DType::F32 && !x.is_empty() {
            let mut v = x.floats().unwrap();
            v[0] = f64::NAN;
            let last = v.len() - 1;
            v[last] = -0.0;
            x = Tensor::from_floats(dtype, &s, v);
        }
        let a = attrs! { axis: axis as i64, largest: r.below(2) == 1 };
        check("TopK", a, &[X::Run(x), X::Known(ints(&[1], &[k]))], 2);
    }
}

#[test]
fn regions_and_boxes_agree() {
    let r = &mut Random::new(6);
    for turn in 0..40 {
        let s = [1 + r.below(2), extent(r), 1 + r.below(9), 1 + r.below(9)];
        let n = extent(r);
        let corner: Vec<f64> =
            (0..4 * n).map(|k| r.below(80) as f64 / 10.0 - 2.0 + if k % 4 < 2 { 0.0 } else { 3.0 }).collect();
        let mut image: Vec<i64> = (0..n).map(|_| r.below(s[0]) as i64).collect();
        if let (0, Some(i)) = (turn % 8, image.first_mut()) {
            *i = s[0] as i64;
        }
        let a = attrs! {
            mode: pick(r, &["avg", "max"]), output_height: 1 + r.below(4) as i64, output_width: 1 + r.below(4) as i64,
            sampling_ratio: r.below(3) as i64, spatial_scale: 0.75f32,
            coordinate_transformation_mode: pick(r, &["half_pixel", "output_half_pixel"]),
        };
        let x = [
            X::Run(tensor(r, DType::F32, &s)),
            X::Run(Tensor::from_floats(DType::F32, &[n, 4], corner.iter().copied())),
            X::Run(ints(&[n], &image)),
        ];
        check("RoiAlign", a, &x, 1);
        let (batches, classes, n) = (1 + r.below(2), extent(r), extent(r));
        let x = [
            X::Run(tensor(r, DType::F32, &[batches, n, 4])),
            X::Run(tensor(r, DType::F32, &[batches, classes, n])),
            X::Run(Tensor::scalar(r.below(6) as i64)),
            X::Run(Tensor::scalar(pick(r, &[0.1f32, 0.5, 0.9]))),
            X::Run(Tensor::scalar(-5.0f32)),
        ];
        check("NonMaxSuppression", attrs! { center_point_box: r.below(2) as i64 }, &x, 1);
        let s = shape(r, 2);
        let mut x = tensor(r, DType::F32, &s).floats().unwrap();
        x.iter_mut().step_by(2).for_each(|v| *v = 0.0);
        check("NonZero", attrs! {}, &[X::Run(Tensor::from_floats(DType::F32, &s, x))], 1);
    }
}

#[test]
fn trees_agree() {
    let r = &mut Random::new(7);
    use egret_ir::attr::Attr;
    for transform in ["NONE", "SOFTMAX", "LOGISTIC"] {
        let a = attrs! {
            nodes_treeids: vec![0i64, 0, 0, 1], nodes_nodeids: vec![0i64, 1, 2, 0], nodes_featureids: vec![1i64, 0, 0, 0],
            nodes_modes: Attr::Strings(["BRANCH_LT", "LEAF", "LEAF", "LEAF"].map(Into::into).to_vec()),
            nodes_values: Attr::Floats(vec![0.5, 0.0, 0.0, 0.0]),
            nodes_truenodeids: vec![1i64, 0, 0, 0], nodes_falsenodeids: vec![2i64, 0, 0, 0],
            target_treeids: vec![0i64, 0, 1], target_nodeids: vec![1i64, 2, 0], target_ids: vec![0i64, 1, 1],
            target_weights: Attr::Floats(vec![1.0, 2.0, -0.5]), base_values: Attr::Floats(vec![10.0, 0.25]),
            n_targets: 2i64, post_transform: transform,
        };
        for (rows, dtype) in [(0, DType::F32), (1, DType::F64), (701, DType::F32), (3, DType::I64)] {
            let x = X::Run(tensor(r, dtype, &[rows, 2]));
            check_in("ai.onnx.ml", "TreeEnsembleRegressor", a.clone(), &[x], 1);
        }
    }
}

#[test]
fn normalisations_agree() {
    let r = &mut Random::new(8);
    for _ in 0..30 {
        let dtype = pick(r, &REALS);
        let (n, groups, each) = (1 + r.below(3), 1 + r.below(3), 1 + r.below(3));
        let s = [n, groups * each, 1 + r.below(5), 1 + r.below(18)];
        let x = X::Run(tensor(r, dtype, &s));
        let (scale, bias) = (X::Run(tensor(r, dtype, &s[1..2])), X::Run(tensor(r, dtype, &s[1..2])));
        check("InstanceNormalization", attrs! { epsilon: 0.5f32 }, &[x.clone(), scale.clone(), bias.clone()], 1);
        let a = attrs! { num_groups: groups as i64, epsilon: 0.5f32 };
        check("GroupNormalization", a, &[x.clone(), scale, bias], 1);
        check(
            "LRN",
            attrs! { size: 1 + r.below(6) as i64, alpha: 0.1f32, beta: pick(r, &[0.5f32, 0.75, 1.0, 0.6]) },
            std::slice::from_ref(&x),
            1,
        );
        check(
            "LpNormalization",
            attrs! { axis: r.below(4) as i64, p: 1 + r.below(2) as i64 },
            std::slice::from_ref(&x),
            1,
        );
        if s[0] * s[2] * s[3] > 4 {
            check("MeanVarianceNormalization", attrs! {}, std::slice::from_ref(&x), 1);
        }
        check("Hardmax", attrs! { axis: r.below(4) as i64 }, &[x], 1);
    }
}

#[test]
fn moves_agree() {
    let r = &mut Random::new(9);
    for _ in 0..60 {
        let dtype = pick(r, &NUMBERS);
        let s: Vec<usize> = (0..3).map(|_| 1 + r.below(6)).collect();
        let mode = pick(r, &["constant", "edge", "reflect", "wrap"]);
        let pads: Vec<i64> = (0..6).map(|k| r.below(5) as i64 - i64::from(s[k % 3] > 2)).collect();
        let x = X::Run(tensor(r, dtype, &s));
        let fill = if r.below(2) == 0 { X::None } else { X::Run(tensor(r, dtype, &[])) };
        check("Pad", attrs! { mode: mode }, &[x.clone(), X::Known(ints(&[6], &pads)), fill], 1);
        let (b, c) = (1 + r.below(3), 1 + r.below(3));
        let order = pick(r, &["DCR", "CRD"]);
        let y = X::Run(tensor(r, dtype, &[2, c * b * b, 3, 2]));
        check("DepthToSpace", attrs! { blocksize: b as i64, mode: order }, &[y], 1);
        let y = X::Run(tensor(r, dtype, &[2, c, 3 * b, 2 * b]));
        check("SpaceToDepth", attrs! { blocksize: b as i64 }, &[y], 1);
        check(
            "Trilu",
            attrs! { upper: r.below(2) as i64 },
            &[x.clone(), X::Run(Tensor::scalar(r.below(9) as i64 - 4))],
            1,
        );
        let lens: Vec<i64> = (0..s[1]).map(|_| r.below(s[0] + 1) as i64).collect();
        check("ReverseSequence", attrs! {}, &[x.clone(), X::Run(ints(&[s[1]], &lens))], 1);
        check("ReverseSequence", attrs! {}, &[x.clone(), X::Run(ints(&[s[1]], &vec![s[0] as i64 + 1; s[1]]))], 1);
        let to: Vec<i64> = (0..3).map(|_| r.below(9) as i64).collect();
        check("CenterCropPad", attrs! {}, &[x, X::Known(ints(&[3], &to))], 1);
        let at = index(r, &s[..2], &[5], false);
        let values = X::Run(tensor(r, dtype, &[2]));
        check("OneHot", attrs! { axis: r.below(3) as i64 }, &[X::Run(at), X::Known(Tensor::scalar(4i64)), values], 1);
        let flat = X::Run(tensor(r, DType::F32, &s[..2]));
        check("EyeLike", attrs! { k: r.below(5) as i64 - 2 }, &[flat], 1);
    }
}

#[test]
fn sums_of_products_agree() {
    let r = &mut Random::new(10);
    let equations: [(&str, &[&str]); 12] = [
        ("bixy,ioxy->boxy", &["bixy", "ioxy"]),
        ("td,edi->eti", &["td", "edi"]),
        ("eti,eid,te->td", &["eti", "eid", "te"]),
        ("bc,hcd->hbd", &["bc", "hcd"]),
        ("ij,jk", &["ij", "jk"]),
        ("ij,kj->ik", &["ij", "kj"]),
        ("abij,abjk->abik", &["abij", "abjk"]),
        ("ij,j->i", &["ij", "j"]),
        ("ii->i", &["ii"]),
        ("ij->ji", &["ij"]),
        ("i,j->ij", &["i", "j"]),
        ("bij,k->b", &["bij", "k"]),
    ];
    for turn in 0..60 {
        let (equation, terms) = equations[turn % equations.len()];
        let dtype = pick(r, &[DType::F32, DType::F32, DType::F64, DType::I32]);
        let mut extents = std::collections::BTreeMap::new();
        let x: Vec<X> = terms
            .iter()
            .map(|t| {
                let s: Vec<usize> =
                    t.chars().map(|l| *extents.entry(l).or_insert_with(|| pick(r, &[1, 2, 3, 5, 9]))).collect();
                X::Run(tensor(r, dtype, &s))
            })
            .collect();
        check("Einsum", attrs! { equation: equation }, &x, 1);
    }
}

#[test]
fn resampling_agrees() {
    let r = &mut Random::new(11);
    for _ in 0..80 {
        let s = [1 + r.below(2), 1 + r.below(3), 1 + r.below(7), 1 + r.below(9)];
        let mode = pick(r, &["nearest", "linear", "cubic"]);
        let dtype = if mode == "nearest" { pick(r, &NUMBERS) } else { pick(r, &REALS) };
        let x = X::Run(tensor(r, dtype, &s));
        let a = attrs! {
            mode: mode,
            coordinate_transformation_mode: pick(r, &["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]),
            nearest_mode: pick(r, &["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"]),
            antialias: (mode != "nearest" && r.below(3) == 0) as i64,
        };
        let how = if r.below(2) == 0 {
            let scales = [1.0f32, 1.0, pick(r, &[0.5, 1.0, 2.0, 1.7]), pick(r, &[0.4, 2.0, 3.0])];
            [X::None, X::Known(Tensor::from_slice(&[4], &scales)), X::None]
        } else {
            let sizes = [s[0] as i64, s[1] as i64, 1 + r.below(12) as i64, 1 + r.below(12) as i64];
            [X::None, X::None, X::Known(ints(&[4], &sizes))]
        };
        let [roi, scales, sizes] = how;
        check("Resize", a, &[x, roi, scales, sizes], 1);
    }
}

#[test]
fn grids_agree() {
    let r = &mut Random::new(12);
    for _ in 0..80 {
        let d = 1 + r.below(3);
        let mode = pick(r, if d == 3 { &["nearest", "linear"] } else { &["nearest", "linear", "cubic"] });
        let dtype = if mode == "nearest" { pick(r, &NUMBERS) } else { pick(r, &[DType::F32, DType::F64]) };
        let spatial: Vec<usize> = (0..d).map(|_| 1 + r.below(6)).collect();
        let x = X::Run(tensor(r, dtype, &[&[2, 3], &spatial[..]].concat()));
        let out: Vec<usize> = [vec![2], (0..d).map(|_| extent(r)).collect(), vec![d]].concat();
        let n = out.iter().product();
        let grid = Tensor::from_floats(DType::F32, &out, (0..n).map(|_| r.below(3001) as f64 / 1000.0 - 1.5003));
        let a = attrs! {
            mode: mode, padding_mode: pick(r, &["zeros", "border", "reflection"]), align_corners: r.below(2) as i64,
        };
        check("GridSample", a, &[x, X::Run(grid)], 1);
        let d = 2 + r.below(2);
        let size: Vec<i64> = [vec![2, 3], (0..d).map(|_| 1 + r.below(5) as i64).collect()].concat();
        let dtype = pick(r, &[DType::F32, DType::F64]);
        let theta = X::Run(tensor(r, dtype, &[2, d, d + 1]));
        check("AffineGrid", attrs! { align_corners: r.below(2) as i64 }, &[theta, X::Known(ints(&[d + 2], &size))], 1);
    }
}

#[test]
fn losses_agree_and_refuse_wrong_classes() {
    let r = &mut Random::new(13);
    for turn in 0..40 {
        let (n, c, d) = (1 + r.below(4), 1 + r.below(5), 1 + r.below(4));
        let dtype = pick(r, &[DType::F32, DType::F64]);
        let x = X::Run(tensor(r, dtype, &[n, c, d]));
        let mut t: Vec<i64> = (0..n * d).map(|_| r.below(c) as i64).collect();
        if turn % 4 == 0 {
            t[0] = if turn % 8 == 0 { -7 } else { -1 };
        }
        let target = X::Run(ints(&[n, d], &t));
        let a = attrs! { reduction: pick(r, &["none", "sum", "mean"]), ignore_index: -7i64 };
        check("NegativeLogLikelihoodLoss", a.clone(), &[x.clone(), target.clone()], 1);
        check("SoftmaxCrossEntropyLoss", a, &[x, target], 2);
    }
}

#[test]
fn operands_of_any_alignment_are_read() {
    let r = &mut Random::new(14);
    let (n, x) = (3000, tensor(r, DType::F32, &[3000]));
    let mut shifted = vec![0u8; 1 + x.bytes().len()];
    shifted[1..].copy_from_slice(x.bytes());
    let bytes = bytes::Bytes::from(shifted);
    // One of the two lies at an odd address.
    for start in [0, 1] {
        let part = bytes.slice(start..start + 4 * n);
        let x = Tensor::from_bytes(DType::F32, &[n], part).unwrap();
        check("TopK", attrs! {}, &[X::Run(x), X::Known(ints(&[1], &[5]))], 2);
    }
}
