//! How far a correct compiler's results may lie from the reference's, element by element.
//!
//! An operator whose formula has several steps is replaced by them (`crate::formulas`), and what remains are steps that round
//! once or sum up. Each says how exact it is ([`Accuracy`](egret_ir::op::Accuracy)); a sum of `n` products may err by
//! `n u Σ|terms|`, and `Σ|terms|` is what the step gives on the magnitudes of its operands. What such an error does to the
//! results is measured: the steps are evaluated again with random errors of that size behind every one. An element that
//! changes its kind (NaN, infinite, another integer, another truth value) under them is ill-conditioned: nobody can be blamed
//! for it.

mod local;
mod steps;
mod trial;

use crate::choices::Choices;
use crate::generate::Case;
use crate::unroll::{has_control_flow, unrolled};
use crate::values::is_finite;
use egret_ir::{DType, Graph, Tensor, Value};
use local::{chooses_openly, local_errors};
use steps::{Notes, steps};
use trial::run;

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
        Err(assumes_extents) => return nothing_known(case, assumes_extents),
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
    /// The error says whether steps one of which refuses were given extents that follow from elements.
    fn new(case: &Case, silent: Silent, choices: &mut dyn Choices) -> Result<Taken, bool> {
        let values = run(&case.graph, &case.inputs, None).ok_or(false)?;
        let (steps, notes) = steps(&case.graph, &values, silent);
        let Some(base) = run(&steps, &case.inputs, None) else { return Err(notes.assumes_extents) };
        let errors = local_errors(&steps, &base, &notes, choices);
        Ok(Taken { steps, base, errors, notes })
    }

    /// Values with errors behind every step; `None` where a step refuses.
    fn trial(&self, case: &Case, choices: &mut dyn Choices) -> Option<Vec<Option<Value>>> {
        run(&self.steps, &case.inputs, Some((&self.errors, &self.notes, choices)))
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

#[cfg(test)]
mod tests;
