//! Faults planted by hand are traced to their stage and node.

use egret::check::{Settings, Stage, check};
use egret::ir::eval::EvalCx;
use egret::ir::lower::{LowerCx, Lowering};
use egret::ir::op::{Facts, Op, OpDef};
use egret::ir::rule::{RuleCx, RuleResult};
use egret::ir::{Attr, Attrs, attrs};
use egret::passes::{PASSES, Pass};
use egret::{DType, Graph, GraphBuilder, Level, Model, Result, Tensor, Type, Value};
use std::path::Path;
use std::sync::Arc;

/// An operator in every respect but its lowering, which is another's.
#[derive(Debug)]
struct Misplaced {
    meaning: Arc<dyn Op>,
    lowering: Arc<dyn Op>,
}

impl Op for Misplaced {
    fn def(&self) -> &'static OpDef {
        self.meaning.def()
    }
    fn attrs(&self) -> Attrs {
        self.meaning.attrs()
    }
    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        self.meaning.rule(cx)
    }
    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        self.meaning.eval(cx)
    }
    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        self.lowering.lower(cx)
    }
    fn facts(&self) -> Facts {
        self.meaning.facts()
    }
}

fn op(name: &str) -> Arc<dyn Op> {
    (egret::ir::ops::find("", name).expect("it is registered").parse)(&Attrs::new()).expect("it needs no attributes")
}

/// `y = relu((a + b) * b) - a`, nodes named.
fn graph() -> Graph {
    let mut b = GraphBuilder::new("chain");
    let x = b.input("a", Type::tensor(DType::F32, &[2, 3]));
    let w = b.input("b", Type::tensor(DType::F32, &[2, 3]));
    let sum = b.op("Add", attrs! {}, &[x, w]).unwrap();
    let product = b.op("Mul", attrs! {}, &[sum, w]).unwrap();
    let positive = b.op("Relu", attrs! {}, &[product]).unwrap();
    let y = b.op("Sub", attrs! {}, &[positive, x]).unwrap();
    let mut graph = b.finish(&[y]);
    for (node, name) in graph.nodes.iter_mut().zip(["sum", "product", "positive", "difference"]) {
        node.name = name.into();
    }
    graph
}

fn inputs() -> Vec<Value> {
    let t = |from: f32| Tensor::from_slice(&[2, 3], &[from, from + 0.5, from - 2.5, from * 2.0, 0.25, from + 3.0]);
    vec![t(1.5).into(), t(-0.75).into()]
}

/// Stages that find something, with the node that each blames.
fn blamed(stages: &[Stage]) -> Vec<(&str, &str)> {
    stages.iter().filter_map(|s| Some((s.name.as_str(), s.finding.as_ref()?.node.as_str()))).collect()
}

/// The levels of code that are compared here.
fn levels() -> Vec<&'static str> {
    let all = [Level::Interpret, Level::BaselineWithoutFma, Level::Baseline, Level::Avx2, Level::Avx512];
    all.into_iter().filter(|l| l.is_here()).map(Level::name).collect()
}

#[test]
fn a_sound_graph_agrees_at_every_stage() {
    let stages = check(&graph(), &inputs(), &Settings::default()).unwrap();
    assert_eq!(blamed(&stages), []);
    let names: Vec<&str> = stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names.len(), PASSES.len() + 3 + levels().len());
    assert!(names.ends_with(&[&["lowered", "unfused"], &levels()[..]].concat()), "{names:?}");
    assert!(stages.iter().all(|s| s.compared > 0), "{stages:?}");
}

#[test]
fn a_wrong_lowering_is_traced_to_its_node() {
    let mut graph = graph();
    // The product is compiled as a quotient.
    graph.nodes[1].op = Arc::new(Misplaced { meaning: op("Mul"), lowering: op("Div") });
    let stages = check(&graph, &inputs(), &Settings::default()).unwrap();
    let node = "node \"product\" (Mul), operands (f32[2, 3], f32[2, 3])";
    // Fused, the product has no value of its own: what it is fused into is named.
    let last = "node \"difference\" (Sub), operands (f32[2, 3], f32[2, 3])";
    let levels: Vec<_> = levels().into_iter().map(|level| (level, last)).collect();
    assert_eq!(blamed(&stages), [&[("lowered", node), ("unfused", node)][..], &levels[..]].concat());
    let finding = stages.iter().find_map(|s| s.finding.as_ref()).unwrap();
    assert!(finding.text.contains("6 of 6 elements differ"), "{finding}");
}

/// Turns the last subtraction into an addition.
fn flip(mut graph: Graph) -> Result<Graph> {
    for node in &mut graph.nodes {
        if node.op.def().name == "Sub" {
            node.op = op("Add");
        }
    }
    Ok(graph)
}

/// Refuses everything.
fn refuse(_: Graph) -> Result<Graph> {
    panic!("no such rule")
}

#[test]
fn a_wrong_rewrite_is_traced_to_its_pass_and_node() {
    let passes: Vec<Pass> = vec![PASSES[0], ("flip", flip)];
    let stages = check(&graph(), &inputs(), &Settings { passes: &passes, ..Settings::default() }).unwrap();
    let first = stages.iter().find(|s| s.finding.is_some()).unwrap();
    assert_eq!(first.name, "after flip");
    assert_eq!(first.finding.as_ref().unwrap().node, "node \"difference\" (Add), operands (f32[2, 3], f32[2, 3])");
}

#[test]
fn a_pass_that_panics_is_a_finding() {
    let stages =
        check(&graph(), &inputs(), &Settings { passes: &[("refuse", refuse)], ..Settings::default() }).unwrap();
    assert_eq!(stages[0].finding.as_ref().unwrap().text, "the pass failed: panic: no such rule");
}

#[test]
fn a_wrong_lowering_in_a_body_is_found_there() {
    let mut body = graph();
    body.nodes[1].op = Arc::new(Misplaced { meaning: op("Mul"), lowering: op("Div") });
    let captures = std::mem::take(&mut body.inputs);
    body.captures = captures;
    let body = Arc::new(body);
    let mut b = GraphBuilder::new("outer");
    let chosen = b.input("c", Type::tensor(DType::Bool, &[]));
    let x = b.input("a", Type::tensor(DType::F32, &[2, 3]));
    let w = b.input("b", Type::tensor(DType::F32, &[2, 3]));
    let mut graph = b.finish(&[]);
    let branch = |name: &str| (name.to_owned(), Attr::Graph(Arc::clone(&body)));
    let attrs = Attrs::from([branch("then_branch"), branch("else_branch")]);
    let y = graph.add_value("y", Type::tensor(DType::F32, &[2, 3]));
    graph.nodes.push(egret::ir::Node {
        name: "choice".into(),
        op: (egret::ir::ops::find("", "If").unwrap().parse)(&attrs).unwrap(),
        inputs: vec![Some(chosen)],
        captures: vec![x, w],
        outputs: vec![Some(y)],
    });
    graph.outputs = vec![y];
    let args = [vec![Tensor::from_bools(&[], [true]).into()], inputs()].concat();
    let stages = check(&graph, &args, &Settings::default()).unwrap();
    let first = stages.iter().find(|s| s.finding.is_some()).unwrap();
    let finding = first.finding.as_ref().unwrap();
    assert_eq!((first.name.as_str(), finding.operator.as_str()), ("unfused", "If"));
    let inside = finding.inside.as_ref().unwrap();
    assert!(inside.node.starts_with("node \"product\" (Mul)") && inside.text.ends_with("(stage lowered)"), "{finding}");
}

#[test]
fn the_model_of_the_repository_agrees() {
    let model = Model::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits.onnx")).unwrap();
    let image = Tensor::from_slice(&[1, 1, 8, 8], &[0.5f32; 64]);
    let stages = check(model.graph(), &[image.into()], &Settings::default()).unwrap();
    assert_eq!(blamed(&stages), []);
}

/// `y = 3 dequantised(quantised(a * b))` at scale 0.1: a stage that shows the values named in `shown`, in which so many
/// steps are added to an element of the dequantised value.
fn quantised(shown: &[&str], element: usize, steps: f64) -> Stage {
    let mut b = GraphBuilder::new("quantised");
    let x = b.input("a", Type::tensor(DType::F32, &[2, 2]));
    let w = b.input("b", Type::tensor(DType::F32, &[2, 2]));
    let product = b.op("Mul", attrs! {}, &[x, w]).unwrap();
    let scale = b.constant(Tensor::from_slice(&[], &[0.1f32]));
    let zero = b.constant(Tensor::from_slice(&[], &[3u8]));
    let q = b.op("QuantizeLinear", attrs! {}, &[product, scale, zero]).unwrap();
    let d = b.op("DequantizeLinear", attrs! {}, &[q, scale, zero]).unwrap();
    let three = b.constant(Tensor::from_slice(&[], &[3f32]));
    let y = b.op("Mul", attrs! {}, &[d, three]).unwrap();
    let mut graph = b.finish(&[y]);
    for (v, name) in [(q, "q"), (d, "d"), (y, "y")] {
        graph.values[v.index()].name = name.into();
    }
    // Products 0.25, 0.33, 0.4 and 0.77: the first lies at half a step.
    let inputs: Vec<Value> = vec![
        Tensor::from_slice(&[2, 2], &[0.5f32, 0.33, 0.8, 0.7]).into(),
        Tensor::from_slice(&[2, 2], &[0.5f32, 1.0, 0.5, 1.1]).into(),
    ];
    let want = egret::check::reference_values(&graph, &inputs, &egret::Options::default()).unwrap();
    let mut got = want.clone();
    for (name, step) in [("d", 0.1), ("y", 0.3)] {
        let t = want[name].tensor().unwrap();
        let mut x = t.floats().unwrap();
        x[element] += step * steps;
        got.insert(name.into(), Tensor::from_floats(DType::F32, t.shape(), x).into());
    }
    got.retain(|name, _| shown.contains(&name.as_str()));
    Stage::compare("stage", &graph, &inputs, &got, &want, &egret::compare::Tolerance::NETWORK)
}

#[test]
fn a_step_at_a_boundary_of_quantisation_is_no_difference() {
    // 2.5 steps round to the even 2; 3 is as good where the product is not shown.
    for shown in [&["y"][..], &["d", "y"], &["d"]] {
        assert_eq!(quantised(shown, 0, 1.0).finding, None, "{shown:?}");
        let error = |element, steps| quantised(shown, element, steps).finding.map(|f| f.n_wrong);
        assert_eq!(error(0, -1.0), Some(1), "{shown:?}");
        assert_eq!(error(0, 2.0), Some(1), "{shown:?}");
        assert_eq!(error(1, 1.0), Some(1), "{shown:?}");
    }
    // The quantised value that the stage shows is not moved: what does not follow from it is wrong, once.
    let found = quantised(&["q", "d", "y"], 0, 1.0).finding.unwrap();
    assert_eq!((found.n_wrong, found.operator.as_str()), (1, "DequantizeLinear"));
}
