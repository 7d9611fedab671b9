//! How far a correct compiler's results may lie from the reference's, element by element.
//!
//! An operator whose formula has several steps is replaced by them (`crate::formulas`), and what remains are steps that round
//! once or sum up. Each says how exact it is ([`Accuracy`]); a sum of `n` products may err by `n u Σ|terms|`, and `Σ|terms|`
//! is what the step gives on the magnitudes of its operands. What such an error does to the results is measured: the steps
//! are evaluated again with random errors of that size behind every one. An element that changes its kind (NaN, infinite,
//! another integer, another truth value) under them is ill-conditioned: nobody can be blamed for it.

use crate::choices::Choices;
use crate::formulas::formula;
use crate::generate::Case;
use crate::unroll::{has_control_flow, unrolled};
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::op::Accuracy;
use egret_ir::{Attr, DType, Graph, GraphBuilder, Node, Result, Tensor, Value, ValueId, attrs};

/// A deviation that was seen in few trials is taken this many times.
const SAFETY: f64 = 4.0;

/// Elements of 16 bits that are this large and change their sign by rounding errors lie next to a pole.
const POLE: f64 = 16.0;

/// Evaluations of an operator without a formula on operands that are off by a rounding error.
const CONDITION_TRIALS: usize = 4;

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
        let narrow = float && want.dtype().bits() <= 16;
        for i in 0..x.len() {
            // Between large numbers of both signs lies a pole, which few bits step over.
            if narrow && x[i] * y[i] < 0.0 && x[i].abs().min(y[i].abs()) > POLE {
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

/// Bounds of every result of a case from so many trials.
pub fn bounds(case: &Case, trials: usize, choices: &mut dyn Choices) -> Vec<Bound> {
    if has_control_flow(&case.graph) {
        return bounds_of_unrolled(case, trials, choices);
    }
    let Some(taken) = Taken::new(case, choices).filter(|t| t.quantises_numbers()) else { return nothing_known(case) };
    let mut out: Vec<Bound> = Vec::new();
    for (v, want) in taken.steps.outputs.iter().zip(&case.outputs) {
        let Ok(want) = want.tensor() else { return nothing_known(case) };
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
            None => {
                out = nothing_known(case);
                out.iter_mut().for_each(|b| b.unsure_shape = taken.notes.assumes_extents);
                return out;
            }
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
    let Some(taken) = Taken::new(case, choices) else { return true };
    taken.is_next_to_singular() || (0..trials).any(|_| taken.trial(case, choices).is_none())
}

/// A case taken apart into steps, their values, and the error of each.
struct Taken {
    steps: Graph,
    base: Vec<Option<Value>>,
    errors: Vec<Option<Vec<f64>>>,
    notes: Notes,
}

impl Taken {
    /// `None` where a step refuses.
    fn new(case: &Case, choices: &mut dyn Choices) -> Option<Taken> {
        let values = run(&case.graph, &case.inputs, None)?;
        let (steps, notes) = steps(&case.graph, &values);
        let base = run(&steps, &case.inputs, None)?;
        let errors = local_errors(&steps, &base, &notes.loose, choices);
        Some(Taken { steps, base, errors, notes })
    }

    /// Values with errors behind every step; `None` where a step refuses.
    fn trial(&self, case: &Case, choices: &mut dyn Choices) -> Option<Vec<Option<Value>>> {
        run(&self.steps, &case.inputs, Some((&self.errors, choices)))
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

    /// Whether no scale is derived from elements that are infinite or NaN: ONNX says nothing of what is quantised by it.
    fn quantises_numbers(&self) -> bool {
        self.notes.quantised.iter().filter_map(|v| tensor(&self.base, v.index())).all(is_finite)
    }
}

/// What is noted where a graph is taken apart.
#[derive(Default)]
struct Notes {
    /// Values that formulas round to a narrower type, which a compiler may do later.
    loose: Vec<ValueId>,
    /// Operands that are quantised by a scale that is derived from them.
    quantised: Vec<ValueId>,
    /// Whether operands were given extents that follow from elements: a trial with others is refused.
    assumes_extents: bool,
}

/// The bounds of the case with bodies in line; none where errors may change which of them run, or how often.
fn bounds_of_unrolled(case: &Case, trials: usize, choices: &mut dyn Choices) -> Vec<Bound> {
    let Some((flat, deciding)) = unrolled(case) else { return nothing_known(case) };
    let mut all = bounds(&flat, trials, choices);
    let decided = all.split_off(all.len() - deciding);
    let settled = decided.iter().all(|b| !b.unsure.contains(&true));
    if settled { all } else { nothing_known(case) }
}

/// The graph with formulas for operators; the same results in the same order. `values` are its own, whose extents operands
/// have where types leave them open. Where the rules refuse a step after all, the graph itself: its bounds are those of its
/// operators. And what is to be known of its values.
fn steps(graph: &Graph, values: &[Option<Value>]) -> (Graph, Notes) {
    let mut b = GraphBuilder::new("steps");
    let args: Vec<Option<ValueId>> = graph.inputs.iter().map(|v| Some(b.input("", graph.ty(*v).clone()))).collect();
    let mut notes = Notes::default();
    if let Ok(Some(results)) = spliced(&mut b, graph, &args, values, 0, &mut notes) {
        return (b.finish(&results), notes);
    }
    let quantised = graph.nodes.iter().filter(|n| derives_a_scale(n)).flat_map(|n| n.inputs.iter().flatten().copied());
    (graph.clone(), Notes { quantised: quantised.collect(), ..Notes::default() })
}

/// Whether it quantises by scales that it derives from its operands.
fn derives_a_scale(node: &Node) -> bool {
    matches!(node.op.def().name, "DynamicQuantizeLinear" | "DynamicQuantizeMatMul" | "DynamicQuantizeLSTM")
}

/// The operand with the extents of `value`, since formulas are written for those.
fn with_extents(b: &mut GraphBuilder, v: ValueId, value: Option<&Value>, notes: &mut Notes) -> Result<ValueId> {
    let Some(t) = value.and_then(|v| v.tensor().ok()).filter(|_| b.ty(v).concrete().is_none()) else { return Ok(v) };
    notes.assumes_extents = true;
    let shape: Vec<i64> = t.shape().iter().map(|&d| d as i64).collect();
    let shape = b.ints(&shape);
    b.op("Reshape", attrs! { allowzero: true }, &[v, shape])
}

/// Formulas within formulas end here.
const DEPTH: usize = 8;

/// The calls of `graph` on these arguments, each taken apart; its results, `None` where one of them is made by no call.
/// `values` may hold those of the graph.
fn spliced(
    b: &mut GraphBuilder,
    graph: &Graph,
    args: &[Option<ValueId>],
    values: &[Option<Value>],
    depth: usize,
    notes: &mut Notes,
) -> Result<Option<Vec<ValueId>>> {
    let constants = graph.values.iter().map(|info| info.constant.as_ref().map(|t| b.constant(t.clone())));
    let mut at: Vec<Option<ValueId>> = constants.collect();
    for (v, to) in graph.inputs.iter().zip(args) {
        at[v.index()] = *to;
    }
    for node in &graph.nodes {
        let mut args: Vec<Option<ValueId>> = node.inputs.iter().map(|v| v.and_then(|v| at[v.index()])).collect();
        for (arg, v) in args.iter_mut().zip(&node.inputs) {
            if let (Some(arg), Some(v)) = (arg, v) {
                *arg = with_extents(b, *arg, values.get(v.index()).and_then(Option::as_ref), notes)?;
            }
        }
        let captures: Vec<ValueId> = node.captures.iter().filter_map(|v| at[v.index()]).collect();
        if derives_a_scale(node) {
            notes.quantised.extend(args.iter().flatten());
        }
        let made = taken_apart(b, node, &args, &captures, depth, notes)?;
        for (v, to) in node.outputs.iter().zip(made) {
            v.iter().for_each(|v| at[v.index()] = Some(to));
        }
    }
    Ok(graph.outputs.iter().map(|v| at[v.index()]).collect())
}

/// The node's results by its formula, whose steps are taken apart again; by itself where it has none.
fn taken_apart(
    b: &mut GraphBuilder,
    node: &Node,
    args: &[Option<ValueId>],
    captures: &[ValueId],
    depth: usize,
    notes: &mut Notes,
) -> Result<Vec<ValueId>> {
    if depth < DEPTH && captures.is_empty() {
        let mut inner = GraphBuilder::new("formula");
        let given: Vec<Option<ValueId>> =
            args.iter().map(|v| v.map(|v| inner.input_with_content("", b.fact(v)))).collect();
        if let Ok(Some(results)) = formula(&mut inner, node, &given) {
            // Arguments that are left out are no inputs of the formula.
            let present: Vec<Option<ValueId>> = args.iter().copied().filter(Option::is_some).collect();
            if let Some(found) = spliced(b, &inner.finish(&results), &present, &[], depth + 1, notes)? {
                return Ok(found);
            }
        }
    }
    let made = b.call(node.op.clone(), args, captures, node.outputs.len())?;
    if depth > 0 && node.op.def().name == "Cast" {
        notes.loose.extend(&made);
    }
    Ok(made)
}

fn nothing_known(case: &Case) -> Vec<Bound> {
    let n = |v: &Value| v.tensor().map_or(0, Tensor::len);
    let one = |v: &Value| Bound { error: vec![0.0; n(v)], unsure: vec![true; n(v)], unsure_shape: false };
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

/// Error that a node may make by itself, by value and element; `None` where it may make none. `loose` are exact ones that may
/// be rounded otherwise.
fn local_errors(
    graph: &Graph,
    base: &[Option<Value>],
    loose: &[ValueId],
    choices: &mut dyn Choices,
) -> Vec<Option<Vec<f64>>> {
    let mut out = vec![None; graph.values.len()];
    for node in &graph.nodes {
        let accuracy = match node.outputs[..] {
            [Some(v)] if loose.contains(&v) => Accuracy::Ulp(1),
            _ => node.op.facts().accuracy,
        };
        if accuracy == Accuracy::Exact {
            continue;
        }
        let sizes = if accuracy == Accuracy::Reduction { sizes(node, base, choices) } else { Vec::new() };
        let terms = node.uses().filter_map(|v| tensor(base, v.index())).map(Tensor::len).max().unwrap_or(1);
        for (k, v) in node.outputs.iter().enumerate() {
            let Some(v) = *v else { continue };
            let Some(y) = tensor(base, v.index()) else { continue };
            let (Some(u), Ok(ys)) = (y.dtype().unit_roundoff(), y.floats()) else { continue };
            // Results of narrow floats come from binary32 arithmetic, that of binary64 from its own.
            let inner = if y.dtype() == DType::F64 { u } else { 2f64.powi(-24) };
            let (least, largest) = (least_positive(y.dtype()), largest_finite(y.dtype()));
            let size = sizes.get(k).filter(|m| m.len() == ys.len());
            // Numbers of which some err as if they were larger.
            let larger = match node.op.def().name {
                // Arguments are reduced by a rounded multiple of π: next to a zero the error is that of 1.
                "Sin" | "Cos" | "Tan" => node.inputs[0]
                    .and_then(|v| tensor(base, v.index())?.floats().ok())
                    .map(|x| x.iter().map(|x| x.abs().min(1.0)).collect()),
                // Sums of the step, one behind the other, as in ONNX's function body.
                "Range" => Some(vec![ys.len() as f64 * ys.iter().fold(0.0, |m: f64, y| m.max(y.abs())); ys.len()]),
                _ => None,
            };
            let error = |i: usize| {
                let like = larger.as_ref().and_then(|x| x.get(i)).map_or(0.0, |x| x.abs());
                let y = if ys[i].is_finite() { ys[i].abs().max(like) } else { 0.0 };
                match accuracy {
                    Accuracy::Exact => 0.0,
                    Accuracy::Ulp(n) => f64::from(n.max(1)) * (2.0 * u * y + least),
                    Accuracy::Reduction => {
                        let s = size.map_or(y, |m| m[i]);
                        // Magnitudes that end in NaN overflowed before.
                        let overflowed = s.is_nan() && !ys[i].is_nan();
                        let s = s.max(y);
                        // Partial sums of this size overflow in one order and not in another.
                        if overflowed || s > largest / 4.0 {
                            return f64::INFINITY;
                        }
                        let rounded = if has_bias(node) { s } else { y };
                        // Sums of numbers as they are lose nothing below the least one.
                        let lost = if is_plain_sum(node) { 0.0 } else { least };
                        (terms.min(4096) as f64 + 8.0) * (inner * s + lost) + 2.0 * u * rounded
                    }
                }
            };
            out[v.index()] = Some((0..ys.len()).map(error).collect());
        }
    }
    out
}

/// Whether nothing is multiplied before it is summed up.
fn is_plain_sum(node: &Node) -> bool {
    matches!(node.op.def().name, "CumSum" | "ReduceL1" | "ReduceSum" | "Sum")
}

/// Whether it is a sum to which a bias is added: the sum may be rounded to a narrow type before that.
fn has_bias(node: &Node) -> bool {
    let bias = match node.op.def().name {
        "CausalConvWithState" | "Conv" | "ConvTranspose" | "Gemm" => 2,
        "DeformConv" => 3,
        _ => return false,
    };
    node.inputs.get(bias).copied().flatten().is_some()
}

/// How large the numbers are that a node sums up, by result and element.
fn sizes(node: &Node, base: &[Option<Value>], choices: &mut dyn Choices) -> Vec<Vec<f64>> {
    let n = |v: &Option<ValueId>| v.and_then(|v| tensor(base, v.index())).map_or(0, Tensor::len);
    let greatest = |v: &Option<Value>| {
        let floats = v.as_ref().and_then(|v| v.tensor().ok()).and_then(|t| t.floats().ok());
        floats.into_iter().flatten().map(f64::abs).fold(1.0, f64::max)
    };
    let operand = |k: usize| node.inputs.get(k).copied().flatten();
    let size_of = |k: usize| operand(k).map_or(0.0, |v| greatest(&base[v.index()]));
    let everywhere = |size: f64| node.outputs.iter().map(|v| vec![size; n(v)]).collect::<Vec<_>>();
    let dtype = operand(0).and_then(|v| tensor(base, v.index())).map_or(DType::F32, Tensor::dtype);
    let mut sizes = match node.op.def().name {
        // Cosines of multiples of the step.
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => everywhere(8.0),
        // States are sums of products with activations, which err as numbers of size 1.
        "GRU" | "LSTM" | "RNN" => {
            let states = node.inputs.iter().skip(5).flatten().map(|v| greatest(&base[v.index()]));
            let size = states.fold(1.0, f64::max);
            let terms = node.inputs.iter().map(n).max().unwrap_or(1) as f64;
            let sums = terms * (size_of(0) * size_of(1) + size * size_of(2) + size_of(3));
            // A gate's sum that overflows on the way opens or closes it, as does one that errs by more than 1.
            let least = dtype.unit_roundoff().unwrap_or(1.0).recip();
            everywhere(if all_finite(node, base) && sums < least { 8.0 * size } else { f64::INFINITY })
        }
        // A quotient of two sums: it hides how large they are, and how small.
        "NegativeLogLikelihoodLoss" => {
            let weights = operand(2).and_then(|v| tensor(base, v.index())).and_then(|t| t.floats().ok());
            let (size, least) = weights
                .iter()
                .flatten()
                .filter(|w| **w != 0.0)
                .fold((0.0f64, 1.0f64), |(m, l), w| (m.max(w.abs()), l.min(w.abs())));
            let (few, many) = (least_positive(dtype) * 2f64.powi(32), n(&node.inputs[0]) as f64);
            let open = least < few || many * size.max(1.0) * size_of(0) > largest_finite(dtype);
            if open { everywhere(f64::INFINITY) } else { on_magnitudes(node, base).unwrap_or_default() }
        }
        "ReduceProd" => of_products(node, base, dtype).into_iter().collect(),
        // Cubic weights are negative too: their sizes along three axes sum up to less than 3.
        "GridSample" | "Resize" if node.op.attrs().get("mode") == Some(&Attr::String("cubic".into())) => {
            everywhere(3.0 * size_of(0))
        }
        // The factors are rounded too, those that are 0 as well: no term is larger than an element, and none of the window
        // is than 1 but where it says so.
        "DFT" | "STFT" => {
            let x = operand(0).and_then(|v| tensor(base, v.index())).and_then(|t| t.floats().ok()).unwrap_or_default();
            let window = if node.op.def().name == "STFT" { size_of(2).max(1.0) } else { 1.0 };
            everywhere(if all_finite(node, base) {
                2.0 * window * x.iter().map(|x| x.abs()).sum::<f64>()
            } else {
                f64::INFINITY
            })
        }
        // Elimination errs as the largest numbers on its way.
        "Inverse" => {
            let elements = |v: Option<ValueId>| v.and_then(|v| tensor(base, v.index())).and_then(|t| t.floats().ok());
            let edge = operand(0).and_then(|v| tensor(base, v.index())).and_then(|t| t.shape().last().copied());
            let (Some(a), Some(y), Some(edge)) = (elements(operand(0)), elements(node.outputs[0]), edge) else {
                return Vec::new();
            };
            let largest = |x: &[f64]| x.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let len = (edge * edge).max(1);
            let u = dtype.unit_roundoff().unwrap_or(0.0);
            let size = |(a, y): (&[f64], &[f64])| {
                let size = edge as f64 * largest(a) * largest(y) * largest(y);
                // Next to a matrix without an inverse a pivot may be 0.
                if u * size > largest(y) { f64::INFINITY } else { size }
            };
            let each = a.chunks(len).zip(y.chunks(len)).flat_map(|c| vec![size(c); c.1.len()]);
            vec![each.collect()]
        }
        _ if spreads(node, base) => everywhere(f64::INFINITY),
        name => {
            let mut sizes = on_magnitudes(node, base).unwrap_or_default();
            if matches!(name, "AveragePool" | "GlobalAveragePool" | "ReduceMean") {
                // What is divided may overflow before it is.
                let terms = node.inputs.first().map_or(1.0, |v| n(v) as f64);
                let most = largest_finite(dtype) / terms.max(1.0);
                sizes.iter_mut().flatten().filter(|s| **s > most).for_each(|s| *s = f64::INFINITY);
            }
            sizes
        }
    };
    // What an operator without a formula does to errors of its operands, it may do to errors of its own.
    for (k, change) in condition(node, base, choices).into_iter().enumerate() {
        match sizes.get_mut(k) {
            Some(size) if size.len() == change.len() => {
                size.iter_mut().zip(change).for_each(|(s, c)| *s = s.max(c));
            }
            Some(_) if change.is_empty() => {}
            _ => {
                sizes.truncate(k);
                sizes.push(change);
            }
        }
    }
    sizes
}

/// How large products are that err by the units in the last place of the result: factors are multiplied in any order. A
/// partial product that is next to 0 errs by the least number there is, which the factors after it make larger.
fn of_products(node: &Node, base: &[Option<Value>], dtype: DType) -> Option<Vec<f64>> {
    let of = |change: fn(f64) -> f64| {
        let mut change = |_: usize, t: &Tensor| Some(t.floats().ok()?.into_iter().map(change).collect());
        on_changed(node, base, &mut change)?.into_iter().next()
    };
    let greatest = of(|x| x.abs().max(1.0))?;
    let is_zero = of(|x| f64::from(u8::from(x != 0.0)))?.into_iter().map(|x| x == 0.0);
    let ys = tensor(base, node.outputs[0]?.index())?.floats().ok()?;
    let size = |((y, most), zero): ((f64, f64), bool)| {
        if most > largest_finite(dtype) / 4.0 {
            return f64::INFINITY;
        }
        let lost = if zero { 0.0 } else { most * least_positive(dtype) / dtype.unit_roundoff().unwrap_or(1.0) };
        y.abs() + lost
    };
    Some(ys.into_iter().zip(greatest).zip(is_zero).map(size).collect())
}

/// Whether it is a convolution of operands that are not finite: whether padding is multiplied by a weight, ONNX does not say,
/// and transforms of tiles spread what is not finite.
fn spreads(node: &Node, values: &[Option<Value>]) -> bool {
    matches!(node.op.def().name, "Conv" | "ConvTranspose" | "CausalConvWithState" | "DeformConv")
        && !all_finite(node, values)
}

/// Whether every element of every float operand is a finite number.
fn all_finite(node: &Node, base: &[Option<Value>]) -> bool {
    node.inputs.iter().flatten().filter_map(|v| tensor(base, v.index())).all(is_finite)
}

/// Whether no element is infinite or NaN.
fn is_finite(t: &Tensor) -> bool {
    !t.dtype().is_float() || t.floats().is_ok_and(|x| x.iter().all(|x| x.is_finite()))
}

/// By how much results change with the operands, as the size of a number that changes by as many units in its last place:
/// every element of a float operand goes to a neighbour.
fn condition(node: &Node, base: &[Option<Value>], choices: &mut dyn Choices) -> Vec<Vec<f64>> {
    let mut out: Vec<Vec<f64>> = Vec::new();
    let wanted: Vec<Option<(Vec<f64>, DType)>> = node
        .outputs
        .iter()
        .map(|v| {
            let t = v.and_then(|v| tensor(base, v.index())).filter(|t| t.dtype().is_float())?;
            Some((t.floats().ok()?, t.dtype()))
        })
        .collect();
    for _ in 0..CONDITION_TRIALS {
        let Some(seen) = on_changed(node, base, &mut |_, t| {
            let u = t.dtype().unit_roundoff().unwrap_or(0.0);
            Some(t.floats().ok()?.into_iter().map(|x| x * (1.0 + [0.0, 2.0 * u, -2.0 * u][choices.below(3)])).collect())
        }) else {
            return Vec::new();
        };
        for (k, (seen, wanted)) in seen.iter().zip(&wanted).enumerate() {
            let Some((x, dtype)) = wanted.as_ref().filter(|(x, _)| x.len() == seen.len()) else {
                out.resize(out.len().max(k + 1), Vec::new());
                continue;
            };
            let u = dtype.unit_roundoff().unwrap_or(1.0);
            let change = x.iter().zip(seen).map(|(x, y)| if x == y { 0.0 } else { (x - y).abs() / (2.0 * u) });
            match out.get_mut(k) {
                Some(most) if !most.is_empty() => {
                    most.iter_mut().zip(change).for_each(|(m, c)| *m = if c.is_nan() { c } else { m.max(c) })
                }
                Some(most) => *most = change.collect(),
                None => out.push(change.collect()),
            }
        }
    }
    out
}

/// The least positive number of a type.
fn least_positive(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-24),
        DType::BF16 => 2f64.powi(-133),
        DType::F64 => f64::from_bits(1),
        _ => 2f64.powi(-149),
    }
}

fn largest_finite(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 65504.0,
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

/// The operands that say where others are read: their signs are places, not sizes.
fn places(name: &str) -> &'static [usize] {
    match name {
        "GridSample" | "MaxRoiPool" | "RoiAlign" | "Upsample" => &[1],
        "DeformConv" => &[2],
        "Resize" => &[1, 2],
        _ => &[],
    }
}

/// What the node gives on the magnitudes of its float operands: `Σ|terms|` for sums of products.
fn on_magnitudes(node: &Node, base: &[Option<Value>]) -> Option<Vec<Vec<f64>>> {
    let kept = places(node.op.def().name);
    let sizes = on_changed(node, base, &mut |k, t| {
        let x = t.floats().ok()?;
        Some(if kept.contains(&k) { x } else { x.into_iter().map(f64::abs).collect() })
    })?;
    // A factor among the attributes may be negative.
    Some(sizes.into_iter().map(|s| s.into_iter().map(f64::abs).collect()).collect())
}

/// The node's results with other elements in its float operands, given by number; no elements for what is no tensor of numbers.
fn on_changed(
    node: &Node,
    base: &[Option<Value>],
    change: &mut dyn FnMut(usize, &Tensor) -> Option<Vec<f64>>,
) -> Option<Vec<Vec<f64>>> {
    let mut operands: Vec<Option<Value>> = Vec::with_capacity(node.inputs.len());
    for (k, v) in node.inputs.iter().enumerate() {
        let value = v.and_then(|v| base[v.index()].clone());
        operands.push(match value.as_ref().and_then(|v| v.tensor().ok()).filter(|t| t.dtype().is_float()) {
            Some(t) => Some(Tensor::from_floats(t.dtype(), t.shape(), change(k, t)?).into()),
            None => value,
        });
    }
    let operands: Vec<Option<&Value>> = operands.iter().map(Option::as_ref).collect();
    let captures: Vec<Value> = node.captures.iter().filter_map(|v| base[v.index()].clone()).collect();
    let limits = Limits { loop_steps: 1 << 16, ..Limits::default() };
    let out = eval_call(&*node.op, &operands, &captures, node.outputs.len(), &Env::new(limits, 0), &Reference).ok()?;
    Some(out.iter().map(|v| v.tensor().and_then(Tensor::floats).unwrap_or_default()).collect())
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
        let captures: Vec<Value> = node.captures.iter().filter_map(|v| values[v.index()].clone()).collect();
        let out = eval_call(&*node.op, &operands, &captures, node.outputs.len(), &env, &Reference).ok()?;
        let spread = errors.is_some() && spreads(node, &values);
        for (v, mut value) in node.outputs.iter().zip(out) {
            let Some(v) = *v else { continue };
            if let Some((errors, choices)) = &mut errors
                && let Some(e) = &errors[v.index()]
                && let Ok(t) = value.tensor()
                && e.len() == t.len()
                && let Ok(x) = t.floats()
            {
                // Which of the sums that may overflow do: all, or those alone that did.
                let some = choices.chance(1, 2);
                let off = x.iter().zip(e).map(|(x, e)| {
                    let e = if spread { &f64::INFINITY } else { e };
                    // A NaN has either sign, which its bits show.
                    if x.is_nan() && choices.chance(1, 2) {
                        return -x;
                    }
                    if e.is_finite() {
                        // What may be a whole number by chance is: a jump of many operators.
                        if *e > 0.0 && (x - x.round()).abs() <= *e && choices.chance(1, 3) {
                            return x.round();
                        }
                        // Errors are smaller too, which is worse for what is divided by the result.
                        let e = if choices.chance(1, 4) { e * 2f64.powi(-(choices.below(12) as i32)) } else { *e };
                        return if choices.chance(1, 2) { x + e } else { x - e };
                    }
                    // Partial sums overflow in one order and not in another.
                    if some && x.is_finite() {
                        return *x;
                    }
                    match choices.below(4) {
                        0 => f64::INFINITY,
                        1 => f64::NEG_INFINITY,
                        2 => f64::NAN,
                        _ if x.is_finite() => *x,
                        _ => choices.unit(),
                    }
                });
                value = Tensor::from_floats(t.dtype(), t.shape(), off.collect::<Vec<_>>()).into();
            }
            if errors.is_some()
                && let Some(other) = out_of_range(node, &values, &value)
            {
                value = other;
            }
            values[v.index()] = Some(value);
        }
    }
    Some(values)
}

/// What a cast to integers may give elsewhere: ONNX does not say what becomes of numbers that the type does not have.
fn out_of_range(node: &Node, values: &[Option<Value>], result: &Value) -> Option<Value> {
    if !matches!(node.op.def().name, "Cast" | "CastLike") {
        return None;
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
    use egret_ir::{Type, eval::evaluate};

    fn case(build: impl FnOnce(&mut GraphBuilder) -> egret_ir::ValueId, inputs: Vec<Value>) -> Case {
        let mut b = GraphBuilder::new("t");
        let y = build(&mut b);
        let graph = b.finish(&[y]);
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        Case { graph, inputs, outputs, ..Case::default() }
    }

    #[test]
    fn cancellation_widens_the_bound_and_exact_operators_have_none() {
        let x: Value = Tensor::from_slice(&[2], &[80.0f32, 1.0]).into();
        let of = |build: fn(&mut GraphBuilder) -> egret_ir::ValueId| {
            bounds(&case(build, vec![x.clone()]), 48, &mut Seeded::new(1, 0)).remove(0)
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
        let of =
            |x: f32| bounds(&case(build, vec![Tensor::from_slice(&[1, 1], &[x]).into()]), 3, &mut Seeded::new(1, 0));
        assert!(of(1e30).remove(0).unsure[0]);
        assert!(!of(1e3).remove(0).unsure[0]);
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
        let bounds = bounds(&case, 16, &mut Seeded::new(1, 0));
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
            let bounds = bounds(&case, 16, &mut Seeded::new(1, 0));
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
        assert!(bounds(&case, 8, &mut Seeded::new(1, 0)).remove(0).unsure[0]);
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
        let bounds = bounds(&case, 16, &mut Seeded::new(1, 0));
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
        let bound = bounds(&case(build, vec![x.into()]), 4, &mut Seeded::new(1, 0)).remove(0);
        assert_eq!(bound.unsure, [true, false], "{bound:?}");
        assert!(bound.error[1] < 1e-4, "{bound:?}");
    }

    #[test]
    fn next_to_a_pole_the_sign_is_nobodys_fault() {
        let build = |b: &mut GraphBuilder| {
            let x = b.input("x", Type::tensor(DType::F16, &[2]));
            let a = b.op("Acos", attrs! {}, &[x]).unwrap();
            b.op("Tan", attrs! {}, &[a]).unwrap()
        };
        let x = Tensor::from_floats(DType::F16, &[2], [0.0, 0.5]);
        let bound = bounds(&case(build, vec![x.into()]), 16, &mut Seeded::new(1, 0)).remove(0);
        assert_eq!(bound.unsure, [true, false], "{bound:?}");
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
        let bounds = bounds(&case, 48, &mut Seeded::new(1, 0));
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
        let bound = bounds(&case(build, vec![x.into()]), 2, &mut Seeded::new(1, 0)).remove(0);
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
        assert_eq!(bounds(&case, 48, &mut Seeded::new(1, 0)).remove(0).unsure, [true]);
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
        let bound = bounds(&case, 4, &mut Seeded::new(1, 0)).remove(0);
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
        assert!(bounds(&case(build, vec![x.into()]), 4, &mut Seeded::new(1, 0)).remove(0).unsure[2]);
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
            let bound = bounds(&case, 2, &mut Seeded::new(seed, 0)).remove(0);
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
        let bounds = bounds(&case, 48, &mut Seeded::new(1, 0));
        let got = Tensor::from_slice(&[1, 6], &[0.0f32, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(difference(&case, &[got.into()], &bounds), None);
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
        let bounds = bounds(&case, 48, &mut Seeded::new(1, 0));
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
        let bounds = bounds(&case(of, vec![x]), 16, &mut Seeded::new(1, 0)).remove(0);
        assert!(bounds.unsure[0]);
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
