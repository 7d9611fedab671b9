//! Executables against reference evaluation.

use super::*;
use egret_ir::eval::{Env, evaluate};
use egret_ir::plan::{Buffer, Layout, Placement};
use egret_ir::{DType, Dim, GraphBuilder, Tensor, attrs};

/// Leaves graphs as they are and shares no memory.
pub(crate) struct Plain;

impl Planner for Plain {
    fn optimise(&self, mut graph: Graph) -> Result<Graph> {
        egret_ir::infer::infer(&mut graph)?;
        Ok(graph)
    }

    fn layout(&self, graph: Graph, _: &[bool], _: Layout) -> Result<Graph> {
        Ok(graph)
    }

    fn place(&self, buffers: &[Buffer]) -> Placement {
        let mut at = 0;
        let mut offsets = Vec::new();
        for b in buffers {
            offsets.push(at);
            at += b.size_bytes.next_multiple_of(64);
        }
        Placement { offsets, arena_bytes: at, bound_bytes: 0 }
    }
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed;
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_slice(shape, &values)
}

fn check(graph: Graph, args: &[Tensor], threads: usize) -> Executable {
    let values: Vec<Value> = args.iter().cloned().map(Value::from).collect();
    let want = evaluate(&graph, values.clone(), &Env::default()).unwrap();
    let options = ExecOptions { threads, ..ExecOptions::default() };
    let exe = Executable::new(Arc::new(graph), Arc::new(Plain), options).unwrap();
    for _ in 0..2 {
        let got = exe.run(values.clone()).unwrap();
        for (g, w) in got.iter().zip(&want) {
            let (g, w) = (g.tensor().unwrap(), w.tensor().unwrap());
            assert_eq!(g.shape(), w.shape());
            for (a, b) in g.floats().unwrap().iter().zip(w.floats().unwrap()) {
                assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }
    exe
}

#[test]
fn a_product_and_a_convolution_run_natively_and_agree() {
    let mut b = GraphBuilder::new("t");
    let x = b.input("x", Type::tensor(DType::F32, &[2, 6, 9, 7]));
    let w = b.constant(random(&[8, 3, 3, 3], 1));
    let bias = b.constant(random(&[8], 2));
    let y = b.op("Conv", attrs! { group: 2i64, pads: vec![1, 1, 1, 1], strides: vec![2, 1] }, &[x, w, bias]).unwrap();
    let shape = b.ints(&[2, -1]);
    let y = b.op("Reshape", attrs! {}, &[y, shape]).unwrap();
    let m = b.constant(random(&[8 * 5 * 7, 11], 3));
    let y = b.op("MatMul", attrs! {}, &[y, m]).unwrap();
    let z = b.op("Relu", attrs! {}, &[y]).unwrap();
    let graph = b.finish(&[z, y]);
    for threads in [1, 2] {
        let exe = check(graph.clone(), &[random(&[2, 6, 9, 7], 4)], threads);
        let plan = exe.prepare(&[Type::tensor(DType::F32, &[2, 6, 9, 7])]).unwrap();
        assert_eq!(plan.steps.iter().filter(|s| s.kind() == "host").count(), 0);
    }
}

#[test]
fn reductions_across_memory_agree_for_every_width_of_elements() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::I64, DType::I32, DType::I8, DType::U8] {
        for op in ["ArgMin", "ArgMax", "ReduceMax", "ReduceMin", "ReduceSum"] {
            for shape in [[1, 4, 1, 2], [5, 3, 2, 9], [3, 1, 1, 17]] {
                let mut b = GraphBuilder::new("t");
                let x = b.input("x", Type::tensor(dtype, &shape));
                let y = if op.starts_with("Arg") {
                    b.op(op, attrs! { axis: 0i64 }, &[x])
                } else {
                    let axes = b.constant(Tensor::from_slice(&[1], &[0i64]));
                    b.op(op, attrs! {}, &[x, axes])
                };
                // Not every reduction takes every type.
                let Ok(y) = y else { continue };
                let numbers = random(&shape, 7).floats().unwrap().into_iter().map(|v| (v * 8.0).round().abs());
                check(b.finish(&[y]), &[Tensor::from_floats(dtype, &shape, numbers)], 1);
            }
        }
    }
}

#[test]
fn symbolic_extents_make_a_plan_for_each_shape() {
    let mut b = GraphBuilder::new("t");
    let x = b.input("x", Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(4)]));
    let m = b.constant(random(&[4, 5], 3));
    let y = b.op("MatMul", attrs! {}, &[x, m]).unwrap();
    let exe = check(b.finish(&[y]), &[random(&[3, 4], 1)], 1);
    for n in [0, 1, 7, 8] {
        let out = exe.run(vec![random(&[n, 4], 5).into()]).unwrap();
        assert_eq!(out[0].tensor().unwrap().shape(), [n, 5]);
    }
    assert!(exe.run(vec![random(&[3, 5], 1).into()]).is_err());
}

#[test]
fn a_growing_value_does_not_plan_its_loop_again() {
    // (i, go, s, all) -> (go, s * m, concat(all, s))
    let mut body = GraphBuilder::new("body");
    body.input("i", Type::tensor(DType::I64, &[]));
    let go = body.input("go", Type::tensor(DType::Bool, &[]));
    let s = body.input("s", Type::tensor(DType::F32, &[3, 4]));
    let all = body.input("all", Type::ranked(DType::F32, vec![Dim::sym("k"), Dim::int(4)]));
    let go = body.op("Identity", attrs! {}, &[go]).unwrap();
    let m = body.constant(random(&[4, 4], 3));
    let next = body.op("MatMul", attrs! {}, &[s, m]).unwrap();
    let next = body.op("Tanh", attrs! {}, &[next]).unwrap();
    let all = body.op("Concat", attrs! { axis: 0i64 }, &[all, next]).unwrap();
    let body = Arc::new(body.finish(&[go, next, all]));
    let mut b = GraphBuilder::new("t");
    let x = b.input("x", Type::tensor(DType::F32, &[3, 4]));
    let none = b.constant(Tensor::from_slice::<f32>(&[0, 4], &[]));
    let trips = b.constant(Tensor::scalar(30i64));
    let body = [("body".to_owned(), egret_ir::Attr::Graph(body))].into();
    let y = b.node("ai.onnx", "Loop", body, &[Some(trips), None, Some(x), Some(none)], 2).unwrap();
    let exe = check(b.finish(&y), &[random(&[3, 4], 9)], 2);
    let bodies = exe.shared.bodies.lock().unwrap();
    // One with all extents of the first iteration, one that leaves the growing one open.
    let plans: Vec<usize> = bodies.values().map(|b| b.plans.lock().unwrap().made.len()).collect();
    assert_eq!(plans, [2]);
}

#[test]
fn pointwise_calls_run_in_the_registers_of_a_product() {
    let mut b = GraphBuilder::new("t");
    let x = b.input("x", Type::tensor(DType::F32, &[2, 20, 9, 7]));
    let pads = || attrs! { pads: vec![1, 1, 1, 1] };
    let w1 = b.constant(random(&[18, 20, 3, 3], 1));
    let w2 = b.constant(random(&[18, 20, 3, 3], 2));
    let scale = b.constant(random(&[1, 18, 1, 1], 3));
    let (left, right) = (b.op("Conv", pads(), &[x, w1]).unwrap(), b.op("Conv", pads(), &[x, w2]).unwrap());
    let sum = b.op("Add", attrs! {}, &[left, right]).unwrap();
    let sum = b.op("Mul", attrs! {}, &[scale, sum]).unwrap();
    let y = b.op("Relu", attrs! {}, &[sum]).unwrap();
    // A channel of its own each, then a gate that reads what it scales.
    let w3 = b.constant(random(&[18, 1, 3, 3], 4));
    let z = b.op("Conv", attrs! { group: 18i64, pads: vec![1, 1, 1, 1] }, &[y, w3]).unwrap();
    let gate = b.op("Sigmoid", attrs! {}, &[z]).unwrap();
    let z = b.op("Mul", attrs! {}, &[z, gate]).unwrap();
    let shape = b.ints(&[2, 18, 63]);
    let rows = b.op("Reshape", attrs! {}, &[z, shape]).unwrap();
    let m = b.constant(random(&[63, 11], 5));
    let bias = b.constant(random(&[11], 6));
    let p = b.op("MatMul", attrs! {}, &[rows, m]).unwrap();
    let p = b.op("Add", attrs! {}, &[p, bias]).unwrap();
    let p = b.op("Tanh", attrs! {}, &[p]).unwrap();
    let graph = b.finish(&[p]);
    for threads in [1, 2] {
        let exe = check(graph.clone(), &[random(&[2, 20, 9, 7], 7)], threads);
        let plan = exe.prepare(&[Type::tensor(DType::F32, &[2, 20, 9, 7])]).unwrap();
        let kernels: Vec<usize> = plan.steps.iter().filter(|s| s.kind() == "native").map(|s| s.nodes().len()).collect();
        // Convolution; convolution, add, mul, relu; convolution with its gate; product, add, tanh.
        assert_eq!(kernels, [1, 4, 3, 3]);
    }
}
