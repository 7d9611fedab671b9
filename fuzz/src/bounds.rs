//! How far a correct compiler's results may lie from the reference's, element by element.
//!
//! Each operator says how exact it is ([`Accuracy`]); a sum of `n` products may err by `n u Σ|terms|`, and `Σ|terms|` is
//! what the operator gives on the magnitudes of its operands. What such an error does to the results is measured: the
//! graph is evaluated again with random errors of that size behind every node. An element that changes its kind (NaN,
//! infinite, another integer, another truth value) under them is ill-conditioned: nobody can be blamed for it.

use crate::choices::Choices;
use crate::generate::Case;
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::op::Accuracy;
use egret_ir::{DType, Graph, Tensor, Value};

/// A deviation that was seen in few trials is taken this many times.
const SAFETY: f64 = 4.0;

/// What each element of one result may differ by.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Absolute; 0 for what must be the same bits.
    pub error: Vec<f64>,
    /// Elements that nobody can be blamed for.
    pub unsure: Vec<bool>,
}

/// Bounds of every result of a case from so many trials.
pub fn bounds(case: &Case, trials: usize, choices: &mut dyn Choices) -> Vec<Bound> {
    let Some(base) = run(&case.graph, &case.inputs, None) else { return nothing_known(case) };
    let errors = local_errors(&case.graph, &base);
    let mut out: Vec<Bound> = case
        .graph
        .outputs
        .iter()
        .map(|v| {
            let n = base[v.index()].as_ref().and_then(|v| v.tensor().ok()).map_or(0, Tensor::len);
            let error = errors[v.index()].clone().unwrap_or_else(|| vec![0.0; n]);
            let unsure = error.iter().map(|e| !e.is_finite()).collect();
            Bound { error, unsure }
        })
        .collect();
    for _ in 0..trials {
        let Some(trial) = run(&case.graph, &case.inputs, Some((&errors, choices))) else { return nothing_known(case) };
        for (bound, v) in out.iter_mut().zip(&case.graph.outputs) {
            let (Some(a), Some(b)) = (tensor(&base, v.index()), tensor(&trial, v.index())) else { continue };
            if a.shape() != b.shape() {
                bound.unsure.fill(true);
                continue;
            }
            let (Ok(x), Ok(y)) = (numbers(a), numbers(b)) else { continue };
            let float = a.dtype().is_float();
            for i in 0..x.len() {
                let same_kind = x[i].is_finite() && y[i].is_finite() && float;
                if same_kind {
                    bound.error[i] = bound.error[i].max(SAFETY * (x[i] - y[i]).abs());
                } else if !(x[i] == y[i] || x[i].is_nan() && y[i].is_nan()) {
                    bound.unsure[i] = true;
                }
            }
        }
    }
    out
}

fn nothing_known(case: &Case) -> Vec<Bound> {
    let n = |v: &Value| v.tensor().map_or(0, Tensor::len);
    case.outputs.iter().map(|v| Bound { error: vec![0.0; n(v)], unsure: vec![true; n(v)] }).collect()
}

/// The first difference of results that the bounds do not allow, in words.
pub fn difference(case: &Case, got: &[Value], bounds: &[Bound]) -> Option<String> {
    if got.len() != case.outputs.len() {
        return Some(format!("{} results instead of {}", got.len(), case.outputs.len()));
    }
    for (k, ((want, got), bound)) in case.outputs.iter().zip(got).zip(bounds).enumerate() {
        let name = &case.graph.value(case.graph.outputs[k]).name;
        if want.ty() != got.ty() {
            return Some(format!("result \"{name}\" is {} instead of {}", got.ty(), want.ty()));
        }
        let (Ok(w), Ok(g)) = (want.tensor(), got.tensor()) else { continue };
        if w.bytes() == g.bytes() {
            continue;
        }
        let (Ok(x), Ok(y)) = (numbers(w), numbers(g)) else { continue };
        for i in 0..x.len() {
            let equal = x[i] == y[i] || x[i].is_nan() && y[i].is_nan();
            let near = x[i].is_finite() && y[i].is_finite() && (x[i] - y[i]).abs() <= bound.error[i];
            if !equal && !near && !bound.unsure[i] {
                return Some(format!(
                    "result \"{name}\" ({}), element {i}: {:e} instead of {:e} (allowed error {:.1e})",
                    want.ty(),
                    y[i],
                    x[i],
                    bound.error[i]
                ));
            }
        }
    }
    None
}

fn tensor(values: &[Option<Value>], i: usize) -> Option<&Tensor> {
    values[i].as_ref()?.tensor().ok()
}

fn numbers(t: &Tensor) -> egret_ir::Result<Vec<f64>> {
    match t.dtype() {
        DType::Bool => Ok(t.bools()?.into_iter().map(f64::from).collect()),
        d if d.is_int() => Ok(t.ints()?.into_iter().map(|v| v as f64).collect()),
        _ => t.floats(),
    }
}

/// Error that a node may make by itself, by value and element; `None` where it may make none.
fn local_errors(graph: &Graph, base: &[Option<Value>]) -> Vec<Option<Vec<f64>>> {
    let mut out = vec![None; graph.values.len()];
    for node in &graph.nodes {
        let accuracy = node.op.facts().accuracy;
        if accuracy == Accuracy::Exact {
            continue;
        }
        let magnitudes = on_magnitudes(node, base);
        let terms = node.uses().filter_map(|v| tensor(base, v.index())).map(Tensor::len).max().unwrap_or(1);
        for (k, v) in node.outputs.iter().enumerate() {
            let Some(v) = *v else { continue };
            let Some(y) = tensor(base, v.index()) else { continue };
            let (Some(u), Ok(ys)) = (y.dtype().unit_roundoff(), y.floats()) else { continue };
            // Results of narrow floats come from binary32 arithmetic, that of binary64 from its own.
            let inner = if y.dtype() == DType::F64 { u } else { 2f64.powi(-24) };
            let largest = largest_finite(y.dtype());
            let scale = magnitudes.as_ref().and_then(|m| m.get(k)).filter(|m| m.len() == ys.len());
            let error = |i: usize| {
                let y = if ys[i].is_finite() { ys[i].abs() } else { 0.0 };
                match accuracy {
                    Accuracy::Exact => 0.0,
                    Accuracy::Ulp(n) => f64::from(n.max(1)) * 2.0 * u * y + 4.0 * inner * f64::from(f32::MIN_POSITIVE),
                    Accuracy::Reduction => {
                        let s = scale.map_or(y, |m| m[i]).max(y);
                        // Partial sums of this size overflow in one order and not in another.
                        if s.is_nan() || s > largest / 4.0 {
                            return f64::INFINITY;
                        }
                        (terms.min(4096) as f64 + 8.0) * inner * s + 2.0 * u * y + f64::from(f32::MIN_POSITIVE)
                    }
                }
            };
            out[v.index()] = Some((0..ys.len()).map(error).collect());
        }
    }
    out
}

fn largest_finite(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 65504.0,
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

/// What the node gives on the magnitudes of its float operands: `Σ|terms|` for sums of products.
fn on_magnitudes(node: &egret_ir::Node, base: &[Option<Value>]) -> Option<Vec<Vec<f64>>> {
    let operands: Vec<Option<Value>> = node
        .inputs
        .iter()
        .map(|v| {
            let value = base[(*v)?.index()].clone()?;
            match value.tensor() {
                Ok(t) if t.dtype().is_float() => {
                    let sizes = t.floats().ok()?.into_iter().map(f64::abs);
                    Some(Tensor::from_floats(t.dtype(), t.shape(), sizes).into())
                }
                _ => Some(value),
            }
        })
        .collect();
    let operands: Vec<Option<&Value>> = operands.iter().map(Option::as_ref).collect();
    let limits = Limits { loop_steps: 1 << 16, ..Limits::default() };
    let out = eval_call(&*node.op, &operands, &[], node.outputs.len(), &Env::new(limits, 0), &Reference).ok()?;
    out.iter().map(|v| v.tensor().and_then(Tensor::floats).ok()).collect()
}

/// All values of a run, errors added behind each node if asked for; `None` if a node refuses.
fn run(
    graph: &Graph,
    inputs: &[Value],
    mut errors: Option<(&[Option<Vec<f64>>], &mut dyn Choices)>,
) -> Option<Vec<Option<Value>>> {
    let mut values: Vec<Option<Value>> = graph.values.iter().map(|v| v.constant.clone().map(Value::Tensor)).collect();
    for (v, x) in graph.inputs.iter().zip(inputs) {
        values[v.index()] = Some(x.clone());
    }
    let limits = Limits { loop_steps: 1 << 16, ..Limits::default() };
    let env = Env::new(limits, 0);
    for node in &graph.nodes {
        let operands: Vec<Option<&Value>> =
            node.inputs.iter().map(|v| v.and_then(|v| values[v.index()].as_ref())).collect();
        let out = eval_call(&*node.op, &operands, &[], node.outputs.len(), &env, &Reference).ok()?;
        for (v, mut value) in node.outputs.iter().zip(out) {
            let Some(v) = *v else { continue };
            if let Some((errors, choices)) = &mut errors
                && let Some(e) = &errors[v.index()]
                && let Ok(t) = value.tensor()
                && e.len() == t.len()
                && let Ok(x) = t.floats()
            {
                let off = x.iter().zip(e).map(|(x, e)| {
                    let e = if e.is_finite() { *e } else { 0.0 };
                    if choices.chance(1, 2) { x + e } else { x - e }
                });
                value = Tensor::from_floats(t.dtype(), t.shape(), off.collect::<Vec<_>>()).into();
            }
            values[v.index()] = Some(value);
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use egret_ir::{GraphBuilder, Type, attrs, eval::evaluate};

    fn case(build: impl FnOnce(&mut GraphBuilder) -> egret_ir::ValueId, inputs: Vec<Value>) -> Case {
        let mut b = GraphBuilder::new("t");
        let y = build(&mut b);
        let graph = b.finish(&[y]);
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        Case { graph, inputs, outputs }
    }

    #[test]
    fn cancellation_widens_the_bound_and_exact_operators_have_none() {
        let x: Value = Tensor::from_slice(&[2], &[80.0f32, 1.0]).into();
        let of = |build: fn(&mut GraphBuilder) -> egret_ir::ValueId| {
            bounds(&case(build, vec![x.clone()]), 3, &mut Seeded::new(1, 0)).remove(0)
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
        let bounds = bounds(&case, 16, &mut Seeded::new(1, 0));
        let got = |a: f32, b: f32| vec![Value::from(Tensor::from_slice(&[2], &[a, b]))];
        let first = case.outputs[0].tensor().unwrap().floats().unwrap()[0] as f32;
        assert!(difference(&case, &got(first + 1.0, 2.0), &bounds).unwrap().contains("element 0"));
        // log(exp(2)) may be just below 2.
        assert_eq!(difference(&case, &got(first, 1.0), &bounds), None);
    }
}
