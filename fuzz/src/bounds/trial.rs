//! A run with an error behind every step, and with what the specification leaves open decided another way.

use super::local::{operand, spreads};
use super::steps::Notes;
use super::{NEXT_TO_WHOLE, Silent, numbers, tensor};
use crate::choices::Choices;
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::op::Accuracy;
use egret_ir::{Attr, DType, Graph, Node, Op, Tensor, Value};

/// All values of a run, errors added behind each node if asked for; `None` if a node refuses.
pub(super) fn run(
    graph: &Graph,
    inputs: &[Value],
    mut errors: Option<(&[Option<Vec<f64>>], &Notes, &mut dyn Choices)>,
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
        let captures: Vec<Value> = node.captures.iter().filter_map(|v| values[v.index()].clone()).collect();
        let out = eval_call(&*node.op, &operands, &captures, node.outputs.len(), &env, &Reference).ok()?;
        let spread = errors.is_some() && spreads(node, &values);
        for (v, mut value) in node.outputs.iter().zip(out) {
            let Some(v) = *v else { continue };
            if let Some((errors, _, choices)) = &mut errors
                && let Some(e) = &errors[v.index()]
                && let Ok(t) = value.tensor()
                && e.len() == t.len()
                && let Ok(x) = t.floats()
            {
                // Which of the sums that may overflow do: all, or those alone that did; and none to what is no number.
                let (some, finite) = (choices.chance(1, 2), choices.chance(1, 4));
                // Whether numbers that may be equal by chance are.
                let equal = choices.chance(1, 8);
                let off = x.iter().zip(e).map(|(x, e)| {
                    let e = if spread { &f64::INFINITY } else { e };
                    // A NaN has either sign, which its bits show.
                    if x.is_nan() && choices.chance(1, 2) {
                        return -x;
                    }
                    if e.is_finite() {
                        if equal && *e > 0.0 {
                            return either_zero((x / (2.0 * e)).round() * 2.0 * e, *choices);
                        }
                        // What may be a whole number by chance is: a jump of many operators.
                        if *e > 0.0 && (x - x.round()).abs() <= *e && choices.chance(1, 3) {
                            return either_zero(x.round(), *choices);
                        }
                        let e = match choices.below(8) {
                            // Errors are smaller too, which is worse for what is divided by the result.
                            0 | 1 => e * 2f64.powi(-(choices.below(12) as i32)),
                            // An error of many periods is of any phase.
                            2 | 3 => e * choices.unit(),
                            _ => *e,
                        };
                        return if choices.chance(1, 2) { x + e } else { x - e };
                    }
                    // Partial sums overflow in one order and not in another.
                    if some && x.is_finite() {
                        return *x;
                    }
                    match choices.below(4) {
                        0 if !finite => f64::INFINITY,
                        1 if !finite => f64::NEG_INFINITY,
                        2 if !finite => f64::NAN,
                        _ if x.is_finite() && (!finite || choices.chance(1, 2)) => *x,
                        // Whole numbers are indices.
                        _ if choices.chance(1, 2) => choices.below(7) as f64 - 3.0,
                        _ => choices.unit(),
                    }
                });
                value = Tensor::from_floats(t.dtype(), t.shape(), off.collect::<Vec<_>>()).into();
            }
            if let Some((_, notes, choices)) = &mut errors
                && (picks(node) || notes.silent == Silent::Open && makes_zeros(node))
                && let Some(other) = with_signs_of_zeros(&value, *choices)
            {
                value = other;
            }
            if let Some((_, notes, _)) = &errors
                && notes.silent == Silent::Open
                && !notes.held.contains(&v)
                && let Some(other) = left_open(node, &values, &value)
            {
                value = other;
            }
            values[v.index()] = Some(value);
        }
    }
    Some(values)
}

/// Whether its zeros have either sign: sums of zeros below 0 may begin with one above, and the sign of a zero is "0".
fn makes_zeros(node: &Node) -> bool {
    node.op.facts().accuracy == Accuracy::Reduction || node.op.def().name == "Sign"
}

/// Zeros that come of errors have either sign.
fn either_zero(x: f64, choices: &mut dyn Choices) -> f64 {
    if x == 0.0 && choices.chance(1, 2) { -x } else { x }
}

/// Whether results are the greatest or least of numbers: of zeros of both signs either.
fn picks(node: &Node) -> bool {
    matches!(node.op.def().name, "Clip" | "Max" | "MaxPool" | "Min" | "ReduceMax" | "ReduceMin" | "Relu")
}

/// A result with other signs of its zeros, if it has any.
fn with_signs_of_zeros(value: &Value, choices: &mut dyn Choices) -> Option<Value> {
    let t = value.tensor().ok().filter(|t| t.dtype().is_float())?;
    let x = t.floats().ok().filter(|x| x.contains(&0.0))?;
    let other = x.iter().map(|x| either_zero(*x, choices));
    Some(Tensor::from_floats(t.dtype(), t.shape(), other.collect::<Vec<_>>()).into())
}

/// The results of a resize of integers before their fractions are dropped.
fn interpolated(node: &Node, values: &[Option<Value>]) -> Option<Vec<f64>> {
    resized(&*node.op, node, values, numbers(operand(node, values, 0)?).ok()?)
}

/// What the operator makes of an operand of the node's extents with these elements.
fn resized(op: &dyn Op, node: &Node, values: &[Option<Value>], x: Vec<f64>) -> Option<Vec<f64>> {
    let wide = Value::from(Tensor::from_floats(DType::F64, operand(node, values, 0)?.shape(), x));
    let mut operands: Vec<Option<&Value>> =
        node.inputs.iter().map(|v| v.and_then(|v| values[v.index()].as_ref())).collect();
    operands[0] = Some(&wide);
    let y = eval_call(op, &operands, &[], 1, &Env::new(Limits::default(), 0), &Reference).ok()?;
    y.first()?.tensor().ok()?.floats().ok()
}

/// Elements of a resize to the nearest entry whose place lies next to where the one ends and another begins: rounding errors
/// choose between the two. Where it lies there by a factor that `f32` has, it does so by a quotient that is not rounded.
fn on_edges(node: &Node, values: &[Option<Value>], y: &Tensor) -> Option<Vec<bool>> {
    let mut attrs = node.op.attrs();
    let whole = matches!(attrs.remove("nearest_mode"), Some(Attr::String(m)) if m == "floor" || m == "ceil");
    let edge = if whole { 0.0 } else { 0.5 };
    attrs.insert("mode".to_owned(), Attr::String("linear".into()));
    let linear = (node.op.def().parse)(&attrs).ok()?;
    let x = operand(node, values, 0)?;
    let by_sizes = operand(node, values, 3).is_some_and(|s| !s.is_empty());
    let mut edges = vec![false; y.len()];
    for (axis, (&n, &out)) in x.shape().iter().zip(y.shape()).enumerate() {
        let inner: usize = x.shape()[axis + 1..].iter().product();
        // Between positions is interpolated what lies between them.
        let places = resized(&*linear, node, values, (0..x.len()).map(|i| (i / inner % n) as f64).collect())?;
        let has_factor = !by_sizes || f64::from(out as f32 / n as f32) * n as f64 == out as f64;
        let last = n as f64 - 1.0;
        for (on_edge, place) in edges.iter_mut().zip(places).filter(|(_, place)| *place > 0.0 && *place < last) {
            let off = ((place - edge) - (place - edge).round()).abs();
            *on_edge |= off <= NEXT_TO_WHOLE * (1.0 + place) && !(off == 0.0 && has_factor);
        }
    }
    Some(edges)
}

/// What a call may give elsewhere, where ONNX does not say it: for numbers that an integer type does not have, and for integers
/// between which is interpolated, whose fraction is dropped after it was rounded; for the nearest entry where two are equally
/// near but for rounding errors; for the greatest of what is NaN.
fn left_open(node: &Node, values: &[Option<Value>], result: &Value) -> Option<Value> {
    match node.op.def().name {
        "Cast" | "CastLike" => {}
        "Hardmax" => {
            let x = tensor(values, node.inputs[0]?.index())?.floats().ok()?;
            let y = result.tensor().ok()?;
            let none = || Tensor::from_floats(y.dtype(), y.shape(), vec![0.0; y.len()]).into();
            return x.iter().any(|x| x.is_nan()).then(none);
        }
        "Resize" if node.op.attrs().get("mode").is_none_or(|m| *m == Attr::String("nearest".into())) => {
            let y = result.tensor().ok().filter(|y| y.dtype().is_int() || y.dtype().is_float())?;
            let edges = on_edges(node, values, y)?;
            if !edges.contains(&true) {
                return None;
            }
            let other = if y.dtype().is_int() {
                let other = y.ints().ok()?.into_iter().zip(edges).map(|(y, edge)| if edge { y ^ 1 } else { y });
                Tensor::from_ints(y.dtype(), y.shape(), other.collect::<Vec<_>>())
            } else {
                let other = y.floats().ok()?.into_iter().zip(edges).map(|(y, edge)| if edge { f64::NAN } else { y });
                Tensor::from_floats(y.dtype(), y.shape(), other.collect::<Vec<_>>())
            };
            return Some(other.into());
        }
        "Resize" => {
            let y = result.tensor().ok().filter(|y| y.dtype().is_int())?;
            let between = interpolated(node, values)?;
            let whole = |x: &f64| (x - x.round()).abs() <= NEXT_TO_WHOLE * (1.0 + x.abs());
            let other = y.ints().ok()?.into_iter().zip(&between).map(|(y, x)| if whole(x) { y ^ 1 } else { y });
            return Some(Tensor::from_ints(y.dtype(), y.shape(), other.collect::<Vec<_>>()).into());
        }
        // "Saturate" says nothing of NaN.
        "QuantizeLinear" => {
            let x = tensor(values, node.inputs[0]?.index())?.floats().ok()?;
            let y = result.tensor().ok().filter(|y| y.dtype().is_int())?;
            // Any number, the least of its type among them.
            let (least, most) = y.dtype().int_range()?;
            let far = if y.ints().ok()?.contains(&least) { most } else { least };
            let other = y.ints().ok()?.into_iter().zip(&x).map(|(y, x)| if x.is_nan() { far } else { y });
            let other = Tensor::from_ints(y.dtype(), y.shape(), other.collect::<Vec<_>>());
            return x.iter().any(|x| x.is_nan()).then(|| other.into());
        }
        _ => return None,
    }
    let result = result.tensor().ok().filter(|t| t.dtype().is_int())?;
    let x = tensor(values, node.inputs[0]?.index()).filter(|t| t.dtype().is_float())?.floats().ok()?;
    let y = result.ints().ok()?;
    let outside = |x: f64, y: i128| !x.is_finite() || (x - y as f64).abs() >= 1.0;
    if !x.iter().zip(&y).any(|(x, y)| outside(*x, *y)) {
        return None;
    }
    let other = x.iter().zip(y).map(|(x, y)| if outside(*x, y) { y ^ 1 } else { y });
    Some(Tensor::from_ints(result.dtype(), result.shape(), other.collect::<Vec<_>>()).into())
}
