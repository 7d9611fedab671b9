//! Products and convolutions of 8-bit integers against reference evaluation, bit for bit.

use super::tests::Plain;
use super::*;
use egret_ir::eval::{Env, evaluate};
use egret_ir::loops::testing::Random;
use egret_ir::{Attr, Attrs, DType, GraphBuilder, Tensor, ValueId, attrs};

/// A graph in the making, with its arguments.
struct Case {
    b: GraphBuilder,
    args: Vec<Value>,
}

fn bytes(r: &mut Random, dtype: DType, shape: &[usize]) -> Tensor {
    // The ends of the range often.
    let ends = if dtype == DType::I8 { [-128, 127] } else { [0, 255] };
    let n: usize = shape.iter().product();
    let values: Vec<i128> = (0..n)
        .map(|_| match r.below(4) {
            0 => ends[r.below(2)],
            _ => r.below(256) as i128 + ends[0],
        })
        .collect();
    Tensor::from_ints(dtype, shape, values)
}

fn coin(r: &mut Random) -> bool {
    r.below(2) == 1
}

impl Case {
    fn new() -> Case {
        Case { b: GraphBuilder::new("t"), args: Vec::new() }
    }

    /// A constant, or an argument.
    fn give(&mut self, t: Tensor, constant: bool) -> ValueId {
        if constant {
            return self.b.constant(t);
        }
        let v = self.b.input("", Type::tensor(t.dtype(), t.shape()));
        self.args.push(t.into());
        v
    }

    /// An operand, or none.
    fn zero(&mut self, r: &mut Random, dtype: DType, shapes: &[&[usize]]) -> Option<ValueId> {
        let at = r.below(shapes.len() + 1);
        let shape = shapes.get(at)?;
        let t = bytes(r, dtype, shape);
        let constant = coin(r);
        Some(self.give(t, constant))
    }

    /// The sums as they are, or scaled and further.
    fn end(mut self, r: &mut Random, sums: ValueId) -> (Graph, Vec<Value>) {
        let results = match r.below(3) {
            0 => vec![sums],
            1 => {
                let y = self.b.op("Cast", attrs! { to: DType::F32 }, &[sums]).unwrap();
                let scale = self.give(Tensor::from_slice(&[1], &[0.37f32]), false);
                let y = self.b.op("Mul", attrs! {}, &[y, scale]).unwrap();
                vec![self.b.op("Relu", attrs! {}, &[y]).unwrap()]
            }
            _ => {
                let more = self.give(Tensor::from_slice(&[1], &[1_000_000i32]), false);
                let y = self.b.op("Add", attrs! {}, &[sums, more]).unwrap();
                let y = self.b.op("Cast", attrs! { to: DType::F32 }, &[y]).unwrap();
                vec![self.b.op("Sign", attrs! {}, &[y]).unwrap()]
            }
        };
        (self.b.finish(&results), self.args)
    }
}

fn product(r: &mut Random) -> (Graph, Vec<Value>) {
    let pick = |r: &mut Random, from: &[usize]| from[r.below(from.len())];
    let (m, n) = (pick(r, &[1, 2, 7, 13, 30]), pick(r, &[1, 3, 8, 17, 50]));
    let k = pick(r, &[1, 2, 3, 8, 31, 67]);
    let (ta, tb) = ([DType::U8, DType::I8][r.below(2)], [DType::U8, DType::I8][r.below(2)]);
    let (a, b): (Vec<usize>, Vec<usize>) = match r.below(5) {
        0 => (vec![3, m, k], vec![k, n]),
        1 => (vec![2, 1, m, k], vec![3, k, n]),
        2 => (vec![k], vec![k, n]),
        3 => (vec![m, k], vec![k]),
        _ => (vec![m, k], vec![k, n]),
    };
    let mut case = Case::new();
    let (a_constant, b_constant) = (r.below(6) == 0, coin(r));
    let (xa, xb) = (bytes(r, ta, &a), bytes(r, tb, &b));
    let (va, vb) = (case.give(xa, a_constant), case.give(xb, b_constant));
    let a_zeros: &[&[usize]] = if a.len() > 1 { &[&[], &[1], &[m], &[m, 1]] } else { &[&[], &[1]] };
    let b_zeros: &[&[usize]] = if b.len() > 1 { &[&[], &[1], &[n], &[1, n]] } else { &[&[], &[1]] };
    let za = case.zero(r, ta, a_zeros);
    let zb = case.zero(r, tb, b_zeros);
    let sums = case.b.node("ai.onnx", "MatMulInteger", attrs! {}, &[Some(va), Some(vb), za, zb], 1).unwrap()[0];
    case.end(r, sums)
}

fn convolution(r: &mut Random) -> (Graph, Vec<Value>) {
    let pick = |r: &mut Random, from: &[usize]| from[r.below(from.len())];
    let (tx, tw) = ([DType::U8, DType::I8][r.below(2)], [DType::U8, DType::I8][r.below(2)]);
    let groups = pick(r, &[1, 1, 2, 5]);
    let (c, m) = (pick(r, &[1, 2, 3, 9]), pick(r, &[1, 2, 3, 8]));
    let axes = 1 + r.below(3);
    let mut list = |from: &[usize]| (0..axes).map(|_| pick(r, from)).collect::<Vec<usize>>();
    let (kernel, strides, dilations) = (list(&[1, 2, 3]), list(&[1, 1, 2]), list(&[1, 1, 2]));
    let (begins, ends, size) = (list(&[0, 1, 2]), list(&[0, 1]), list(&[5, 8, 9]));
    let ints = |v: &[usize]| Attr::Ints(v.iter().map(|&i| egret_ir::Dim::int(i as i64)).collect());
    let pads = [begins, ends].concat();
    let attrs = Attrs::from([
        ("group".to_owned(), Attr::from(groups as i64)),
        ("strides".to_owned(), ints(&strides)),
        ("dilations".to_owned(), ints(&dilations)),
        ("pads".to_owned(), ints(&pads)),
    ]);
    let mut case = Case::new();
    let n = pick(r, &[1, 2]);
    let x = bytes(r, tx, &[vec![n, groups * c], size].concat());
    let w = bytes(r, tw, &[vec![groups * m, c], kernel].concat());
    let constant = coin(r);
    let (vx, vw) = (case.give(x, false), case.give(w, constant));
    let zx = case.zero(r, tx, &[&[], &[1]]);
    let zw = case.zero(r, tw, &[&[], &[1], &[groups * m]]);
    let sums = case.b.node("ai.onnx", "ConvInteger", attrs, &[Some(vx), Some(vw), zx, zw], 1).unwrap()[0];
    case.end(r, sums)
}

fn check(what: &str, graph: &Graph, args: &[Value], levels: &[IsaLevel]) {
    let want = evaluate(graph, args.to_vec(), &Env::default()).unwrap();
    for &level in levels {
        for threads in [1, 2] {
            let options = ExecOptions { level, threads, ..ExecOptions::default() };
            let exe = Executable::new(Arc::new(graph.clone()), Arc::new(Plain), options).unwrap();
            let types: Vec<Type> = args.iter().map(Value::ty).collect();
            let plan = exe.prepare(&types).unwrap();
            assert!(plan.steps.iter().all(|s| s.kind() != "host"), "{what}: a host call");
            for _ in 0..2 {
                assert_eq!(exe.run(args.to_vec()).unwrap(), want, "{what} at {level:?}, {threads} threads");
            }
        }
    }
}

const LEVELS: [IsaLevel; 3] = [IsaLevel::Baseline, IsaLevel::BaselineWithoutFma, IsaLevel::Interpret];

#[test]
fn integer_products_have_the_bits_of_the_reference() {
    let mut r = Random::new(5);
    for i in 0..36 {
        let (graph, args) = product(&mut r);
        check(&format!("product {i}"), &graph, &args, if i % 6 == 0 { &LEVELS } else { &LEVELS[..1] });
    }
}

#[test]
fn integer_convolutions_have_the_bits_of_the_reference() {
    let mut r = Random::new(6);
    for i in 0..36 {
        let (graph, args) = convolution(&mut r);
        check(&format!("convolution {i}"), &graph, &args, if i % 6 == 0 { &LEVELS } else { &LEVELS[..1] });
    }
}

#[test]
fn large_sums_are_exact_and_wrap() {
    // 255 * 255 * 40000 passes 2^31.
    let k = 40_000;
    let mut case = Case::new();
    let a = case.give(Tensor::from_ints(DType::U8, &[2, k], vec![255; 2 * k]), false);
    let b = case.give(Tensor::from_ints(DType::U8, &[k, 3], vec![255; 3 * k]), true);
    let y = case.b.op("MatMulInteger", attrs! {}, &[a, b]).unwrap();
    let (graph, args) = (case.b.finish(&[y]), case.args);
    check("large", &graph, &args, &LEVELS[..2]);
}

#[test]
fn scales_and_activations_run_in_the_registers_of_an_integer_product() {
    let mut r = Random::new(7);
    let mut case = Case::new();
    let (a, b) = (bytes(&mut r, DType::U8, &[9, 20]), bytes(&mut r, DType::I8, &[20, 33]));
    let (a, b) = (case.give(a, false), case.give(b, true));
    let bias = case.give(Tensor::from_ints(DType::I32, &[33], (0..33).map(|i| i * 100 - 1000)), true);
    let scale = case.give(Tensor::from_slice(&[33], &[0.125f32; 33]), true);
    let y = case.b.op("MatMulInteger", attrs! {}, &[a, b]).unwrap();
    let y = case.b.op("Add", attrs! {}, &[y, bias]).unwrap();
    let y = case.b.op("Cast", attrs! { to: DType::F32 }, &[y]).unwrap();
    let y = case.b.op("Mul", attrs! {}, &[y, scale]).unwrap();
    let y = case.b.op("Relu", attrs! {}, &[y]).unwrap();
    let (graph, args) = (case.b.finish(&[y]), case.args);
    check("chain", &graph, &args, &LEVELS);
    let exe = Executable::new(Arc::new(graph), Arc::new(Plain), ExecOptions::default()).unwrap();
    let plan = exe.prepare(&[Type::tensor(DType::U8, &[9, 20])]).unwrap();
    // The pairs, then the product with all that follows.
    assert_eq!(plan.steps.iter().map(|s| s.nodes().len()).collect::<Vec<_>>(), [1, 5]);
}
