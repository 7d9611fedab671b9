//! `RNN`, `GRU` and `LSTM` against reference evaluation, over their attributes, operands and results.

use super::tests::Plain;
use super::*;
use egret_ir::eval::{Env, evaluate};
use egret_ir::loops::testing::Random;
use egret_ir::{Attr, Attrs, DType, GraphBuilder, Tensor, ValueId};

const ACTIVATIONS: [&str; 11] = [
    "Relu",
    "Tanh",
    "Sigmoid",
    "Affine",
    "LeakyRelu",
    "ThresholdedRelu",
    "ScaledTanh",
    "HardSigmoid",
    "Elu",
    "Softsign",
    "Softplus",
];

fn values(r: &mut Random, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    // Small enough that activations without a bound do not run away.
    let values: Vec<f32> = (0..n).map(|_| r.below(2001) as f32 / 2500.0 - 0.4).collect();
    Tensor::from_slice(shape, &values)
}

fn coin(r: &mut Random) -> bool {
    r.below(2) == 1
}

/// A call with random attributes, operands and results, and its arguments.
fn call(r: &mut Random) -> (Graph, Vec<Value>) {
    let (op, gates, n_functions) = [("RNN", 1, 1), ("GRU", 3, 2), ("LSTM", 4, 3)][r.below(3)];
    let pick = |r: &mut Random, from: &[usize]| from[r.below(from.len())];
    let (seq, batch) = (pick(r, &[1, 2, 3, 6]), pick(r, &[1, 1, 2, 3, 7]));
    let (input, h) = (pick(r, &[1, 3, 8, 17]), pick(r, &[1, 2, 5, 8, 12, 33]));
    let direction = ["forward", "reverse", "bidirectional"][r.below(3)];
    let d = if direction == "bidirectional" { 2 } else { 1 };
    let layout = r.below(2);
    let mut attrs = Attrs::from([
        ("direction".to_owned(), Attr::from(direction)),
        ("hidden_size".to_owned(), Attr::from(h as i64)),
        ("layout".to_owned(), Attr::from(layout as i64)),
    ]);
    if coin(r) {
        let names = (0..n_functions * d).map(|_| ACTIVATIONS[r.below(ACTIVATIONS.len())].to_owned()).collect();
        attrs.insert("activations".into(), Attr::Strings(names));
        if coin(r) {
            let list = |r: &mut Random| Attr::Floats((0..r.below(5)).map(|_| r.below(100) as f32 / 100.0).collect());
            attrs.insert("activation_alpha".into(), list(r));
            attrs.insert("activation_beta".into(), list(r));
        }
    }
    if r.below(4) == 0 {
        attrs.insert("clip".into(), Attr::from(0.3f32));
    }
    match op {
        "GRU" if coin(r) => drop(attrs.insert("linear_before_reset".into(), Attr::from(1i64))),
        "LSTM" if coin(r) => drop(attrs.insert("input_forget".into(), Attr::from(1i64))),
        _ => {}
    }
    let mut b = GraphBuilder::new("t");
    let mut args: Vec<Value> = Vec::new();
    let mut give = |b: &mut GraphBuilder, t: Tensor, constant: bool| -> Option<ValueId> {
        if constant {
            return Some(b.constant(t));
        }
        let v = b.input("", Type::tensor(t.dtype(), t.shape()));
        args.push(t.into());
        Some(v)
    };
    let x_shape = if layout == 1 { [batch, seq, input] } else { [seq, batch, input] };
    let state = if layout == 1 { [batch, d, h] } else { [d, batch, h] };
    let x = give(&mut b, values(r, &x_shape), false);
    let (w_constant, r_constant) = (coin(r), coin(r));
    let w = give(&mut b, values(r, &[d, gates * h, input]), w_constant);
    let rec = give(&mut b, values(r, &[d, gates * h, h]), r_constant);
    let mut operands = vec![x, w, rec, None, None, None];
    if coin(r) {
        let constant = coin(r);
        operands[3] = give(&mut b, values(r, &[d, 2 * gates * h]), constant);
    }
    match r.below(3) {
        0 => {}
        1 => {
            let lens: Vec<i32> = (0..batch).map(|_| r.below(seq + 1) as i32).collect();
            operands[4] = give(&mut b, Tensor::from_slice(&[batch], &lens), false);
        }
        _ => operands[4] = give(&mut b, Tensor::from_slice(&[batch], &vec![seq as i32; batch]), true),
    }
    if coin(r) {
        operands[5] = give(&mut b, values(r, &state), false);
    }
    if op == "LSTM" {
        operands.extend([None, None]);
        if coin(r) {
            operands[6] = give(&mut b, values(r, &state), false);
        }
        if coin(r) {
            operands[7] = give(&mut b, values(r, &[d, 3 * h]), false);
        }
    }
    let n_results = if op == "LSTM" { 3 } else { 2 };
    let results = b.node("ai.onnx", op, attrs, &operands, n_results).unwrap();
    let mut graph = b.finish(&results);
    // Any of the results may be left out, or made and not read.
    for (k, &gone) in results.iter().enumerate() {
        if graph.outputs.len() > 1 && r.below(4) == 0 {
            graph.outputs.retain(|&v| v != gone);
            if coin(r) {
                graph.nodes[0].outputs[k] = None;
            }
        }
    }
    (graph, args)
}

#[test]
fn recurrent_networks_agree_with_the_reference() {
    for seed in 0..150 {
        let mut r = Random::new(seed + 1);
        let (graph, args) = call(&mut r);
        let want = evaluate(&graph, args.clone(), &Env::default()).unwrap();
        let types: Vec<Type> = args.iter().map(Value::ty).collect();
        let attrs = format!("seed {seed}, {:?}, {types:?}", graph.nodes[0].op);
        let graph = Arc::new(graph);
        let mut first: Option<Vec<Value>> = None;
        let machine = [(1, IsaLevel::Baseline), (2, IsaLevel::Baseline)];
        // Interpretation takes a hundred times as long.
        let slow = [(1, IsaLevel::BaselineWithoutFma), (1, IsaLevel::Interpret)];
        for (threads, level) in machine.into_iter().chain(slow.into_iter().filter(|_| seed % 5 == 0)) {
            let options = ExecOptions { threads, level, ..ExecOptions::default() };
            let exe = Executable::new(Arc::clone(&graph), Arc::new(Plain), options).unwrap();
            let plan = exe.prepare(&types).unwrap();
            assert!(plan.steps.iter().all(|s| s.kind() == "native"), "{attrs}");
            // The second run finds the memory of the first one.
            for _ in 0..2 {
                let got = exe.run(args.clone()).unwrap();
                for (k, (g, w)) in got.iter().zip(&want).enumerate() {
                    let (g, w) = (g.tensor().unwrap(), w.tensor().unwrap());
                    assert_eq!(g.shape(), w.shape(), "{attrs}");
                    for (a, b) in g.floats().unwrap().iter().zip(w.floats().unwrap()) {
                        let near = *a == b || (a - b).abs() <= 2e-5 * b.abs().max(1.0);
                        assert!(near, "result {k}: {a} {b}, {level:?}, {attrs}");
                    }
                }
                if level == IsaLevel::Baseline {
                    let first = first.get_or_insert_with(|| got.clone());
                    let bytes =
                        |v: &[Value]| v.iter().map(|v| v.tensor().unwrap().bytes().to_vec()).collect::<Vec<_>>();
                    assert_eq!(bytes(first), bytes(&got), "{threads} threads, {attrs}");
                }
            }
        }
    }
}

#[test]
fn a_wrong_sequence_length_is_an_error() {
    let mut b = GraphBuilder::new("t");
    let x = b.input("x", Type::tensor(DType::F32, &[3, 2, 1]));
    let lens = b.input("lens", Type::tensor(DType::I32, &[2]));
    let w = b.constant(Tensor::from_slice(&[1, 1, 1], &[1.0f32]));
    let y = b.node("ai.onnx", "RNN", Attrs::new(), &[Some(x), Some(w), Some(w), None, Some(lens)], 2).unwrap();
    let exe = Executable::new(Arc::new(b.finish(&y)), Arc::new(Plain), ExecOptions::default()).unwrap();
    let run = |lens: [i32; 2]| {
        exe.run(vec![Tensor::from_slice(&[3, 2, 1], &[0.5f32; 6]).into(), Tensor::from_slice(&[2], &lens).into()])
    };
    assert!(run([3, 0]).is_ok());
    let e = run([4, 0]).unwrap_err().to_string();
    assert!(e.contains("sequence length 4 is outside 0..=3") && e.contains("RNN"), "{e}");
    assert!(run([0, -1]).is_err());
}
