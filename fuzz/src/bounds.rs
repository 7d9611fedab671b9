//! How far a correct compiler's results may lie from the reference's, element by element.
//!
//! An operator whose formula has several steps is replaced by them (`crate::formulas`), and what remains are steps that round
//! once or sum up. Each says how exact it is ([`Accuracy`]); a sum of `n` products may err by
//! `n u Σ|terms|`, and `Σ|terms|` is what the step gives on the magnitudes of its operands. What such an error does to the
//! results is measured: the steps are evaluated again with random errors of that size behind every one. An element that
//! changes its kind (NaN, infinite, another integer, another truth value) under them is ill-conditioned: nobody can be blamed
//! for it.

mod local;
mod steps;

use crate::choices::Choices;
use crate::generate::Case;
use crate::unroll::{has_control_flow, unrolled};
use crate::values::is_finite;
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::op::Accuracy;
use egret_ir::{Attr, DType, Graph, Node, Tensor, Value};
use local::{chooses_openly, local_errors, operand, spreads};
use steps::{Notes, steps};

/// A deviation that was seen in few trials is taken this many times.
const SAFETY: f64 = 4.0;

/// Interpolated numbers that are this near to a whole one, as a part of their size, may be it.
const NEXT_TO_WHOLE: f64 = 1e-5;

/// Elements of 16 bits and of more that are this large and change their sign by rounding errors lie next to a pole.
const POLE: (f64, f64) = (16.0, 1024.0);

/// What each element of one result may differ by.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Absolute; 0 for what must be the same bits.
    pub error: Vec<f64>,
    /// Elements that nobody can be blamed for.
    pub unsure: Vec<bool>,
    /// Whether the extents follow from elements that nobody can be blamed for.
    pub unsure_shape: bool,
}

impl Bound {
    /// Takes in another evaluation of the result.
    fn widen(&mut self, want: &Tensor, seen: &Tensor) {
        if want.shape() != seen.shape() {
            self.unsure_shape = true;
            return self.unsure.fill(true);
        }
        if let (Ok(x), Ok(y)) = (want.strings(), seen.strings()) {
            // A rounding error shows in the digits of a number.
            self.unsure.iter_mut().zip(x.iter().zip(y)).for_each(|(u, (x, y))| *u |= x != y);
            return;
        }
        let (Ok(x), Ok(y)) = (numbers(want), numbers(seen)) else { return };
        let float = want.dtype().is_float();
        let pole = if want.dtype().bits() <= 16 { POLE.0 } else { POLE.1 };
        for i in 0..x.len() {
            // Between large numbers of both signs lies a pole, which few bits step over.
            if float && x[i] * y[i] < 0.0 && x[i].abs().min(y[i].abs()) > pole {
                self.unsure[i] = true;
            }
            if x[i].is_finite() && y[i].is_finite() && float {
                self.error[i] = self.error[i].max(SAFETY * (x[i] - y[i]).abs());
            } else if !(x[i] == y[i] || x[i].is_nan() && y[i].is_nan()) {
                self.unsure[i] = true;
            }
        }
    }
}

/// Whose word counts where ONNX's specification is silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silent {
    /// Nobody's: what a cast of a number out of the integer's range gives is left open.
    Open,
    /// The reference's, which every stage of Egret follows.
    Reference,
}

/// Bounds of every result of a case from so many trials.
pub fn bounds(case: &Case, trials: usize, silent: Silent, choices: &mut dyn Choices) -> Vec<Bound> {
    if has_control_flow(&case.graph) {
        return bounds_of_unrolled(case, trials, silent, choices);
    }
    let taken = match Taken::new(case, silent, choices) {
        Ok(taken) => taken,
        // Steps that refuse extents which are other ones in their types: the case's own are as unsure.
        Err(notes) => return nothing_known(case, notes.is_some_and(|n| n.assumes_extents)),
    };
    if !taken.quantises_numbers() {
        return nothing_known(case, false);
    }
    if taken.has_open_choice() {
        return nothing_known(case, true);
    }
    let mut out: Vec<Bound> = Vec::new();
    for (v, want) in taken.steps.outputs.iter().zip(&case.outputs) {
        let Ok(want) = want.tensor() else { return nothing_known(case, false) };
        let n = want.len();
        let error = taken.errors[v.index()].clone().filter(|e| e.len() == n).unwrap_or_else(|| vec![0.0; n]);
        let unsure = error.iter().map(|e| !e.is_finite()).collect();
        out.push(Bound { error, unsure, unsure_shape: false });
    }
    let take = |out: &mut Vec<Bound>, values: &[Option<Value>]| {
        for ((bound, v), want) in out.iter_mut().zip(&taken.steps.outputs).zip(&case.outputs) {
            if let (Ok(want), Some(seen)) = (want.tensor(), tensor(values, v.index())) {
                bound.widen(want, seen);
            }
        }
    };
    take(&mut out, &taken.base);
    for _ in 0..trials {
        match taken.trial(case, choices) {
            Some(values) => take(&mut out, &values),
            None => return nothing_known(case, taken.notes.assumes_extents),
        }
    }
    // How many there are of elements that nobody can be blamed for, nobody can be blamed for.
    for (bound, v) in out.iter_mut().zip(&taken.steps.outputs) {
        bound.unsure_shape |= taken.steps.ty(*v).concrete().is_none() && bound.unsure.iter().all(|u| *u);
    }
    out
}

/// Whether a call may be refused for elements that are off by rounding errors, in so many trials: a matrix that has an
/// inverse and is next to one that has none, an index that is rounded.
pub fn may_refuse(case: &Case, trials: usize, choices: &mut dyn Choices) -> bool {
    let unrolled = if has_control_flow(&case.graph) { unrolled(case).map(|(flat, _)| flat) } else { None };
    let case = unrolled.as_ref().unwrap_or(case);
    let Ok(taken) = Taken::new(case, Silent::Open, choices) else { return true };
    taken.has_open_choice() || taken.is_next_to_singular() || (0..trials).any(|_| taken.trial(case, choices).is_none())
}

/// A case taken apart into steps, their values, and the error of each.
struct Taken {
    steps: Graph,
    base: Vec<Option<Value>>,
    errors: Vec<Option<Vec<f64>>>,
    notes: Notes,
}

impl Taken {
    /// The error is what is noted of steps one of which refuses.
    fn new(case: &Case, silent: Silent, choices: &mut dyn Choices) -> Result<Taken, Option<Notes>> {
        let values = run(&case.graph, &case.inputs, None).ok_or(None)?;
        let (steps, notes) = steps(&case.graph, &values, silent);
        let Some(base) = run(&steps, &case.inputs, None) else { return Err(Some(notes)) };
        let errors = local_errors(&steps, &base, &notes, choices);
        Ok(Taken { steps, base, errors, notes })
    }

    /// Values with errors behind every step; `None` where a step refuses.
    fn trial(&self, case: &Case, choices: &mut dyn Choices) -> Option<Vec<Option<Value>>> {
        run(&self.steps, &case.inputs, Some((&self.errors, self.notes.silent, choices)))
    }

    /// Whether a matrix has an inverse that errs by as much as it is large: one that is off by a rounding error may have none.
    fn is_next_to_singular(&self) -> bool {
        let inverses = self.steps.nodes.iter().filter(|n| n.op.def().name == "Inverse");
        inverses.flat_map(|n| n.defs()).any(|v| {
            let y = tensor(&self.base, v.index()).and_then(|t| t.floats().ok()).unwrap_or_default();
            let largest = y.iter().fold(0.0f64, |m, y| m.max(y.abs()));
            self.errors[v.index()].iter().flatten().any(|e| *e > largest)
        })
    }

    /// Whether a call chooses whole numbers by what rounding leaves nothing of.
    fn has_open_choice(&self) -> bool {
        self.steps.nodes.iter().any(|n| chooses_openly(n, &self.base))
    }

    /// Whether no scale is derived from elements that are infinite or NaN: ONNX says nothing of what is quantised by it.
    fn quantises_numbers(&self) -> bool {
        self.notes.quantised.iter().filter_map(|v| tensor(&self.base, v.index())).all(is_finite)
    }
}

/// The bounds of the case with bodies in line; none where errors may change which of them run, or how often.
fn bounds_of_unrolled(case: &Case, trials: usize, silent: Silent, choices: &mut dyn Choices) -> Vec<Bound> {
    let Some((flat, deciding)) = unrolled(case) else { return nothing_known(case, false) };
    let mut all = bounds(&flat, trials, silent, choices);
    let decided = all.split_off(all.len() - deciding);
    let settled = decided.iter().all(|b| !b.unsure.contains(&true));
    if settled {
        return all;
    }
    let unsure_shape = all.iter().chain(&decided).any(|b| b.unsure_shape);
    nothing_known(case, unsure_shape)
}

fn nothing_known(case: &Case, unsure_shape: bool) -> Vec<Bound> {
    let n = |v: &Value| v.tensor().map_or(0, Tensor::len);
    let one = |v: &Value| Bound { error: vec![0.0; n(v)], unsure: vec![true; n(v)], unsure_shape };
    case.outputs.iter().map(one).collect()
}

/// The first difference of results that the bounds do not allow, in words.
pub fn difference(case: &Case, got: &[Value], bounds: &[Bound]) -> Option<String> {
    if got.len() != case.outputs.len() {
        return Some(format!("{} results instead of {}", got.len(), case.outputs.len()));
    }
    for (k, ((want, got), bound)) in case.outputs.iter().zip(got).zip(bounds).enumerate() {
        let name = &case.graph.value(case.graph.outputs[k]).name;
        let dtypes = [want, got].map(|v| v.tensor().ok().map(|t| (t.dtype(), t.rank())));
        if bound.unsure_shape && dtypes[0] == dtypes[1] {
            continue;
        }
        if want.ty() != got.ty() {
            return Some(format!("result \"{name}\" is {} instead of {}", got.ty(), want.ty()));
        }
        let (Ok(w), Ok(g)) = (want.tensor(), got.tensor()) else { continue };
        if let (Ok(x), Ok(y)) = (w.strings(), g.strings()) {
            if let Some(i) = (0..x.len()).find(|&i| x[i] != y[i] && !bound.unsure[i]) {
                return Some(format!("result \"{name}\", element {i}: {:?} instead of {:?}", y[i], x[i]));
            }
            continue;
        }
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

/// All values of a run, errors added behind each node if asked for; `None` if a node refuses.
fn run(
    graph: &Graph,
    inputs: &[Value],
    mut errors: Option<(&[Option<Vec<f64>>], Silent, &mut dyn Choices)>,
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
            if let Some((_, silent, choices)) = &mut errors
                && (picks(node) || *silent == Silent::Open && makes_zeros(node))
                && let Some(other) = with_signs_of_zeros(&value, *choices)
            {
                value = other;
            }
            if let Some((_, Silent::Open, _)) = errors
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
    let x = operand(node, values, 0)?;
    let wide = Value::from(Tensor::from_floats(DType::F64, x.shape(), numbers(x).ok()?));
    let mut operands: Vec<Option<&Value>> =
        node.inputs.iter().map(|v| v.and_then(|v| values[v.index()].as_ref())).collect();
    operands[0] = Some(&wide);
    let y = eval_call(&*node.op, &operands, &[], 1, &Env::new(Limits::default(), 0), &Reference).ok()?;
    y.first()?.tensor().ok()?.floats().ok()
}

/// What a call may give elsewhere, where ONNX does not say it: for numbers that an integer type does not have, and for integers
/// between which is interpolated, whose fraction is dropped after it was rounded; for the greatest of what is NaN.
fn left_open(node: &Node, values: &[Option<Value>], result: &Value) -> Option<Value> {
    match node.op.def().name {
        "Cast" | "CastLike" => {}
        "Hardmax" => {
            let x = tensor(values, node.inputs[0]?.index())?.floats().ok()?;
            let y = result.tensor().ok()?;
            let none = || Tensor::from_floats(y.dtype(), y.shape(), vec![0.0; y.len()]).into();
            return x.iter().any(|x| x.is_nan()).then(none);
        }
        "Resize" => {
            let nearest = node.op.attrs().get("mode").is_none_or(|m| *m == Attr::String("nearest".into()));
            let y = result.tensor().ok().filter(|y| y.dtype().is_int() && !nearest)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use egret_ir::{Attr, GraphBuilder, Type, attrs, eval::evaluate};

    fn case(build: impl FnOnce(&mut GraphBuilder) -> egret_ir::ValueId, inputs: Vec<Value>) -> Case {
        let mut b = GraphBuilder::new("t");
        let y = build(&mut b);
        let graph = b.finish(&[y]);
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        Case { graph, inputs, outputs, ..Case::default() }
    }

    #[test]
    fn a_sample_next_to_a_cell_may_be_that_cell() {
        let ones =
            |shape: &[usize]| Value::from(Tensor::from_floats(DType::F32, shape, vec![1.0; shape.iter().product()]));
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
            bounds(
                &case(build, vec![Tensor::from_slice(&[1, 1], &[x]).into()]),
                3,
                Silent::Open,
                &mut Seeded::new(1, 0),
            )
        };
        assert!(of(1e30).remove(0).unsure[0]);
        assert!(!of(1e3).remove(0).unsure[0]);
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
}
