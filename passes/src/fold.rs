//! Constant folding: a pure call whose operands are all constant is evaluated once, by the reference; integer
//! contents that rules know (shape arithmetic) become constants; identities vanish.

use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::infer::{constant_fact, infer_call};
use egret_ir::rule::{Content, Fact};
use egret_ir::{Graph, Node, Result, Tensor, Type, Value, ValueId};

/// Results larger than this and larger than twice their operands are left to run time: weights expanded from a seed
/// are smaller in the file than in memory.
const MAX_GROWTH_BYTES: usize = 1 << 20;

/// Folds constants, types every value and removes `Identity`.
///
/// # Errors
/// When a node violates its rule.
pub fn fold(mut graph: Graph) -> Result<Graph> {
    let mut fresh = 1 << 40;
    let is_input: Vec<bool> = {
        let mut v = vec![false; graph.values.len()];
        graph.inputs.iter().for_each(|i| v[i.index()] = true);
        v
    };
    let mut facts: Vec<Fact> = graph
        .values
        .iter()
        .zip(&is_input)
        .map(|(v, &input)| match &v.constant {
            Some(t) if !input => constant_fact(t),
            _ => Fact::of(v.ty.clone()),
        })
        .collect();
    let mut alias: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    let env = Env::new(Limits { value_bytes: 1 << 31, loop_steps: 1 << 16, ..Limits::default() }, 0);
    let weights = makers_of_weights(&graph);
    let nodes = std::mem::take(&mut graph.nodes);
    for (n, mut node) in nodes.into_iter().enumerate() {
        for v in node.inputs.iter_mut().flatten().chain(&mut node.captures) {
            *v = alias[v.index()];
        }
        let inputs: Vec<Option<Fact>> = node.inputs.iter().map(|v| v.map(|v| facts[v.index()].clone())).collect();
        let captures: Vec<Fact> = node.captures.iter().map(|v| facts[v.index()].clone()).collect();
        let place = || {
            let types: Vec<String> =
                inputs.iter().map(|f| f.as_ref().map_or("none".into(), |f| f.ty.to_string())).collect();
            format!("{}, operands ({})", graph.describe_node(n, &node), types.join(", "))
        };
        let got =
            infer_call(&*node.op, &inputs, &captures, node.outputs.len(), &mut fresh).map_err(|e| e.at(place()))?;
        let def = node.op.def();
        if def.domain == "ai.onnx"
            && def.name == "Identity"
            && let ([Some(x)], [Some(y)]) = (node.inputs.as_slice(), node.outputs.as_slice())
        {
            alias[y.index()] = *x;
            continue;
        }
        for (v, fact) in node.outputs.iter().zip(&got.outputs) {
            if let Some(v) = v
                && fact.ty != Type::Unknown
            {
                facts[v.index()] = fact.clone();
                graph.values[v.index()].ty = fact.ty.clone();
            }
        }
        let known: Option<Vec<Tensor>> = got.outputs.iter().map(tensor_of).collect();
        let folded = match known {
            Some(tensors) => Some(tensors),
            None => weights[n]
                .then(|| deferred(&graph, &is_input, &node, &got.outputs))
                .flatten()
                .or_else(|| evaluate(&graph, &is_input, &node, &got.outputs, &env)),
        };
        match folded {
            Some(tensors) => {
                for (v, t) in node.outputs.iter().zip(tensors) {
                    if let Some(v) = v {
                        facts[v.index()] = constant_fact(&t);
                        graph.values[v.index()].ty = Type::tensor(t.dtype(), t.shape());
                        graph.values[v.index()].constant = Some(t);
                    }
                }
            }
            None => graph.nodes.push(node),
        }
    }
    for v in &mut graph.outputs {
        *v = alias[v.index()];
    }
    Ok(graph)
}

/// The constant that a fact with fully known integer content stands for.
fn tensor_of(fact: &Fact) -> Option<Tensor> {
    let (dtype, shape) = fact.ty.concrete()?;
    let values: Vec<i128> = match fact.content.as_ref()? {
        Content::Tensor(t) => return Some(t.clone()),
        Content::Dims(d) => d.iter().map(|d| d.as_int().map(i128::from)).collect::<Option<_>>()?,
    };
    (dtype.is_int() && shape.iter().product::<usize>() == values.len())
        .then(|| Tensor::from_ints(dtype, &shape, values))
}

/// For each node whether its only result is read as weights only: packing reads those once, so they need not be in memory at
/// all.
fn makers_of_weights(graph: &Graph) -> Vec<bool> {
    const PACKED: &[&str] = &["Conv", "Gemm", "MatMul"];
    let mut read = vec![false; graph.values.len()];
    for v in graph.outputs.iter().copied().chain(graph.nodes.iter().flat_map(|n| n.captures.iter().copied())) {
        read[v.index()] = true;
    }
    for node in &graph.nodes {
        let packed = node.op.def().domain == "ai.onnx" && PACKED.contains(&node.op.def().name);
        for (i, v) in node.inputs.iter().enumerate() {
            if let Some(v) = v
                && !(packed && i == 1)
            {
                read[v.index()] = true;
            }
        }
    }
    let weights = |n: &Node| n.outputs.len() == 1 && n.defs().all(|v| !read[v.index()]);
    graph.nodes.iter().map(weights).collect()
}

/// What a value is in every run; an argument with a default may be another.
fn constant<'g>(graph: &'g Graph, is_input: &[bool], v: ValueId) -> Option<&'g Tensor> {
    graph.values[v.index()].constant.as_ref().filter(|_| !is_input[v.index()])
}

/// The result of a call of constants, made when it is read.
fn deferred(graph: &Graph, is_input: &[bool], node: &Node, outputs: &[Fact]) -> Option<Vec<Tensor>> {
    let (dtype, shape) = outputs.first()?.ty.concrete()?;
    let known = |v: &Option<ValueId>| v.map(|v| constant(graph, is_input, v).ok_or(())).transpose();
    let operands: Vec<Option<&Tensor>> = node.inputs.iter().map(known).collect::<Result<_, ()>>().ok()?;
    Some(vec![node.op.deferred(&operands, dtype, &shape)?])
}

fn evaluate(
    graph: &Graph,
    is_input: &[bool],
    node: &egret_ir::Node,
    outputs: &[Fact],
    env: &Env,
) -> Option<Vec<Tensor>> {
    if !node.op.facts().pure || !node.captures.is_empty() || !node.op.bodies().is_empty() {
        return None;
    }
    let inputs: Vec<Option<Value>> = node
        .inputs
        .iter()
        .map(|v| match v {
            None => Some(None),
            Some(v) => constant(graph, is_input, *v).map(|t| Some(Value::Tensor(t.clone()))),
        })
        .collect::<Option<_>>()?;
    let read: usize = inputs.iter().flatten().map(Value::size_bytes).sum();
    let written: usize = outputs
        .iter()
        .map(|f| {
            f.ty.concrete().map_or(usize::MAX / 64, |(d, s)| {
                s.iter().try_fold(d.size_bytes().max(1), |a, &n| a.checked_mul(n)).unwrap_or(usize::MAX / 64)
            })
        })
        .sum();
    if written > MAX_GROWTH_BYTES.max(2 * read) {
        return None;
    }
    let refs: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
    // A call that fails is left in place: it reports its error when, and only if, it runs.
    let results = eval_call(&*node.op, &refs, &[], node.outputs.len(), env, &Reference).ok()?;
    results
        .into_iter()
        .map(|v| match v {
            Value::Tensor(t) => Some(t),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{DType, Dim, GraphBuilder, attrs};

    #[test]
    fn constants_fold_and_arguments_stay() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let c = b.constant(Tensor::from_slice(&[2], &[1.0f32, -2.0]));
        let r = b.op("Relu", attrs! {}, &[c]).unwrap();
        let y = b.op("Add", attrs! {}, &[x, r]).unwrap();
        let g = fold(b.finish(&[y])).unwrap();
        assert_eq!(g.nodes.len(), 1);
        assert_eq!(g.constant(r).unwrap(), &Tensor::from_slice(&[2], &[1.0f32, 0.0]));
    }

    #[test]
    fn filled_weights_fold_and_other_fills_stay() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1024]));
        let shape = b.constant(Tensor::from_slice(&[2], &[1024i64, 1024]));
        let w = b.op("ConstantOfShape", attrs! { value: Tensor::from_slice(&[1], &[0.5f32]) }, &[shape]).unwrap();
        let y = b.op("MatMul", attrs! {}, &[x, w]).unwrap();
        let bias = b.op("ConstantOfShape", attrs! { value: Tensor::from_slice(&[1], &[2.0f32]) }, &[shape]).unwrap();
        let y = b.op("Add", attrs! {}, &[y, bias]).unwrap();
        let g = fold(b.finish(&[y])).unwrap();
        assert_eq!(g.nodes.len(), 3);
        let w = g.constant(w).unwrap();
        assert_eq!((w.shape(), w.floats().unwrap()[77]), (&[1024, 1024][..], 0.5));
    }

    #[test]
    fn dequantised_weights_are_made_when_they_are_read() {
        for (axis, n_scales) in [(0i64, 8usize), (1, 4), (3, 3), (1, 1)] {
            for dtype in [DType::I8, DType::U8] {
                let mut b = GraphBuilder::new("t");
                let x = b.input("x", Type::tensor(DType::F32, &[1, 4, 9, 9]));
                let q = b.constant(Tensor::from_ints(dtype, &[8, 4, 3, 3], (0..288).map(|i| i * 7 % 127)));
                let vector = |f: fn(usize) -> f64| Tensor::from_floats(DType::F32, &[n_scales], (0..n_scales).map(f));
                let scale = b.constant(vector(|i| 0.1 + i as f64 / 3.0));
                let zero = b.constant(Tensor::from_ints(dtype, &[n_scales], (0..n_scales as i128).map(|i| i % 5)));
                let attrs = attrs! { axis: axis };
                let w = b.op("DequantizeLinear", attrs.clone(), &[q, scale, zero]).unwrap();
                let y = b.op("Conv", attrs! {}, &[x, w]).unwrap();
                let z = b.op("DequantizeLinear", attrs, &[q, scale, zero]).unwrap();
                let g = fold(b.finish(&[y, z])).unwrap();
                let (made, read) = (g.constant(w).unwrap(), g.constant(z).unwrap());
                assert_eq!((made.is_deferred(), read.is_deferred()), (true, false));
                assert_eq!(made.bytes(), read.bytes());
            }
        }
    }

    #[test]
    fn weights_with_a_zero_point_that_is_no_constant_are_not_folded() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[1, 1, 1, 1]));
        let zero = b.input("zero", Type::tensor(DType::U8, &[]));
        let q = b.constant(Tensor::from_slice(&[1, 1, 1, 1], &[0u8]));
        let scale = b.constant(Tensor::scalar(1.0f32));
        let w = b.op("DequantizeLinear", attrs! {}, &[q, scale, zero]).unwrap();
        let y = b.op("Conv", attrs! {}, &[x, w]).unwrap();
        assert_eq!(fold(b.finish(&[y])).unwrap().nodes.len(), 2);
    }

    #[test]
    fn symbols_do_not_fold() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::ranked(DType::F32, vec![Dim::sym("n")]));
        let y = b.op("Relu", attrs! {}, &[x]).unwrap();
        assert_eq!(fold(b.finish(&[y])).unwrap().nodes.len(), 1);
    }
}
