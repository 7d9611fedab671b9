//! The error that a step makes by itself: how exact its operator says it is, times how large what it sums up is.

use super::steps::Notes;
use super::{Silent, numbers, tensor};
use crate::choices::Choices;
use crate::values::is_finite;
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::op::Accuracy;
use egret_ir::{Attr, DType, Graph, Node, Tensor, Value, ValueId};

/// Evaluations of an operator without a formula on operands that are off by a rounding error.
const CONDITION_TRIALS: usize = 4;

/// Error that a node may make by itself, by value and element; `None` where it may make none. Exact ones that are noted as loose
/// may be rounded otherwise.
pub(super) fn local_errors(
    graph: &Graph,
    base: &[Option<Value>],
    notes: &Notes,
    choices: &mut dyn Choices,
) -> Vec<Option<Vec<f64>>> {
    let mut out = vec![None; graph.values.len()];
    for node in &graph.nodes {
        let accuracy = match node.outputs[..] {
            [Some(v)] if notes.loose.contains(&v) => Accuracy::Ulp(1),
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
            // Half a unit of the narrower type that it may be rounded to.
            let narrow = notes.rounded.iter().find(|(r, _)| *r == v);
            let rounding = narrow.and_then(|(_, dtype)| dtype.unit_roundoff()).unwrap_or(0.0);
            let (least, largest) = (least_positive(y.dtype()), largest_finite(y.dtype()));
            let size = sizes.get(k).filter(|m| m.len() == ys.len());
            // Numbers of which some err as if they were larger.
            let larger = match node.op.def().name {
                // Arguments are reduced by a rounded multiple of π: next to a zero the error is that of 1.
                "Sin" | "Cos" | "Tan" => node.inputs[0]
                    .and_then(|v| tensor(base, v.index())?.floats().ok())
                    .map(|x| x.iter().map(|x| x.abs().min(1.0)).collect()),
                // `x s - z s`, as some compute it.
                "DequantizeLinear" => {
                    let (scale, zero) = (greatest_of(operand(node, base, 1)), greatest_of(operand(node, base, 2)));
                    let x = operand(node, base, 0).and_then(|t| numbers(t).ok());
                    x.map(|x| x.iter().map(|x| x.abs().max(zero) * scale).collect())
                }
                // Sums of the step, one behind the other, as in ONNX's function body.
                "Range" => Some(vec![ys.len() as f64 * ys.iter().fold(0.0, |m: f64, y| m.max(y.abs())); ys.len()]),
                _ => None,
            };
            // Elsewhere what follows may read the number before it was rounded to 16 bits.
            let open = notes.silent == Silent::Open && y.dtype() == DType::F16 && ys.iter().any(|y| y.is_infinite());
            let overflows = if open {
                is_finite_as(node, k, base, (DType::F16, DType::F32))
            } else if notes.fused.contains(&v) && ys.iter().any(|y| y.is_infinite()) {
                is_finite_as(node, k, base, (DType::F32, DType::F64))
            } else {
                None
            };
            // Sums and products of whole numbers are exact where the type holds them.
            let whole = is_of_whole_numbers(node, base);
            let is_exact = |i: usize, roundoff: f64| whole && ys[i].abs() <= roundoff.recip();
            let error = |i: usize| {
                if is_exact(i, u) {
                    return 0.0;
                }
                if ys[i].is_infinite() && overflows.as_ref().is_some_and(|o| o.get(i) == Some(&true)) {
                    return f64::INFINITY;
                }
                let like = larger.as_ref().and_then(|x| x.get(i)).map_or(0.0, |x| x.abs());
                let y = if ys[i].is_finite() { ys[i].abs().max(like) } else { 0.0 };
                match accuracy {
                    Accuracy::Exact => 0.0,
                    Accuracy::Ulp(n) => {
                        // Elsewhere what takes several steps may lose the last bits of a subnormal number on the way.
                        let lost = if n > 1 && notes.silent == Silent::Open { SUBNORMAL_BITS * least } else { least };
                        f64::from(n.max(1)) * (2.0 * u * y + lost)
                    }
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
            let rounded = |i: usize| {
                if is_exact(i, rounding) || !ys[i].is_finite() { 0.0 } else { 2.0 * rounding * ys[i].abs() }
            };
            out[v.index()] = Some((0..ys.len()).map(|i| error(i) + rounded(i)).collect());
        }
    }
    out
}

/// Whether each element of a result is a finite number where operands of the first type are of the second one.
fn is_finite_as(node: &Node, result: usize, base: &[Option<Value>], (from, to): (DType, DType)) -> Option<Vec<bool>> {
    let wide = |v: &Option<ValueId>| {
        let t = v.and_then(|v| tensor(base, v.index()))?;
        let narrow = t.dtype() == from;
        Some(if narrow { Tensor::from_floats(to, t.shape(), t.floats().ok()?) } else { t.clone() }.into())
    };
    let operands: Vec<Option<Value>> = node.inputs.iter().map(wide).collect();
    let operands: Vec<Option<&Value>> = operands.iter().map(Option::as_ref).collect();
    let out =
        eval_call(&*node.op, &operands, &[], node.outputs.len(), &Env::new(Limits::default(), 0), &Reference).ok()?;
    Some(out.get(result)?.tensor().ok()?.floats().ok()?.into_iter().map(f64::is_finite).collect())
}

/// Whether its results are whole numbers, those of sums, products, casts and roundings.
fn is_of_whole_numbers(node: &Node, base: &[Option<Value>]) -> bool {
    let is_whole = |v: &ValueId| {
        let x = tensor(base, v.index()).and_then(|t| numbers(t).ok());
        x.is_some_and(|x| x.iter().all(|x| x.fract() == 0.0))
    };
    match node.op.def().name {
        "Ceil" | "Floor" | "Round" => true,
        "Add" | "Cast" | "Mul" | "Sub" => node.inputs.iter().flatten().all(is_whole),
        _ => false,
    }
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

/// Least numbers that a function of several steps may be off near 0: `tanh x = x p(x²) / q(x²)` has `p(0) = 0.005` in common
/// implementations.
const SUBNORMAL_BITS: f64 = 256.0;

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
            // Gates that have no bound are as large as their sums, and states that they multiply grow.
            let results = node.defs().map(|v| greatest(&base[v.index()])).fold(size, f64::max);
            let size = if has_bounded_activations(node) { size } else { (1.0 + sums) * results };
            let is_known = all_finite(node, base) && sums < least && size < largest_finite(dtype).sqrt();
            everywhere(if is_known { 8.0 * size } else { f64::INFINITY })
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
        "CumProd" | "ReduceProd" => of_products(node, base, dtype).into_iter().collect(),
        // Coordinates that are rounded to whole cells, or by more.
        "GridSample" if lies_far_out(node, base) => everywhere(f64::INFINITY),
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
            // Where it reads is rounded as well, so that next to a cell it reads that cell alone.
            if matches!(name, "DeformConv" | "RoiAlign")
                && let Some(x) = operand(0).and_then(|v| tensor(base, v.index()))
            {
                let extent = x.shape().iter().skip(2).max().map_or(0.0, |&n| n as f64);
                let (reach, factor) = match name {
                    "DeformConv" => (extent + size_of(2), size_of(1) * size_of(4).max(1.0)),
                    _ => (extent, 1.0),
                };
                let moved = 2.0 * x.rank() as f64 * reach * size_of(0) * factor;
                sizes.iter_mut().flatten().for_each(|s| *s += moved);
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

/// Operand `k` of a node, a tensor.
pub(super) fn operand<'a>(node: &Node, values: &'a [Option<Value>], k: usize) -> Option<&'a Tensor> {
    tensor(values, node.inputs.get(k).copied().flatten()?.index())
}

/// The largest magnitude of an element; 0 where there is none.
fn greatest_of(t: Option<&Tensor>) -> f64 {
    t.and_then(|t| numbers(t).ok()).unwrap_or_default().into_iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// Whether a grid has coordinates of an image that are rounded to whole cells, or by more.
fn lies_far_out(node: &Node, base: &[Option<Value>]) -> bool {
    let (Some(image), grid) = (operand(node, base, 0), operand(node, base, 1)) else { return false };
    let types = [Some(image), grid].into_iter().flatten().filter_map(|t| t.dtype().unit_roundoff());
    16.0 * greatest_of(grid) * image.len() as f64 * types.fold(0.0, f64::max) > 1.0
}

/// Whether the call chooses whole numbers by what rounding leaves nothing of: cells far outside of an image, boxes whose areas
/// overflow.
pub(super) fn chooses_openly(node: &Node, base: &[Option<Value>]) -> bool {
    match node.op.def().name {
        "GridSample" => operand(node, base, 0).is_some_and(|x| !x.dtype().is_float()) && lies_far_out(node, base),
        "NonMaxSuppression" => greatest_of(operand(node, base, 0)) > largest_finite(DType::F32).sqrt() / 4.0,
        _ => false,
    }
}

/// Whether all activation functions of a recurrent operator give numbers of size 1.
fn has_bounded_activations(node: &Node) -> bool {
    let attrs = node.op.attrs();
    let Some(Attr::Strings(names)) = attrs.get("activations") else { return true };
    names.iter().all(|n| ["tanh", "sigmoid", "hardsigmoid", "softsign"].contains(&&*n.to_lowercase()))
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
pub(super) fn spreads(node: &Node, values: &[Option<Value>]) -> bool {
    matches!(node.op.def().name, "Conv" | "ConvTranspose" | "CausalConvWithState" | "DeformConv")
        && !all_finite(node, values)
}

/// Whether every element of every float operand is a finite number.
fn all_finite(node: &Node, base: &[Option<Value>]) -> bool {
    node.inputs.iter().flatten().filter_map(|v| tensor(base, v.index())).all(is_finite)
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
            let change = x.iter().zip(seen).map(|(x, y)| match (x.is_nan(), y.is_nan()) {
                (true, true) => 0.0,
                // Next to what is no number.
                (true, false) | (false, true) => f64::INFINITY,
                _ if x == y => 0.0,
                _ => (x - y).abs() / (2.0 * u),
            });
            match out.get_mut(k) {
                Some(most) if !most.is_empty() => most.iter_mut().zip(change).for_each(|(m, c)| *m = m.max(c)),
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
