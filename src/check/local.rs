//! A value judged on what its stage made it from.
//!
//! Where an operand lies at a boundary (a half step of QuantizeLinear, equal maxima under ArgMax), its rounding error
//! changes the result by a whole step, and with it all that follows. Nobody is to blame for either. So a value behind such
//! an operator that differs from the reference's is computed once more, by the reference, from the nearest values that the
//! stage itself shows; and where boundaries lie between those and it, also with their operands moved to either side. Values
//! of 16-bit floats are judged so as well: their errors add up over the layers of a network.

use super::Values;
use crate::compare::Tolerance;
use egret_ir::eval::{Env, Reference, eval_call};
use egret_ir::{DType, Graph, Node, Tensor, Value, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Unit roundoff of types whose errors add up over the layers of a network to more than a tolerance: 16-bit floats.
const NARROW: f64 = 1.0 / 4096.0;

/// Operands at a boundary move by this share of the tolerance: single steps err far less than whole networks.
const SHARE: f64 = 1.0 / 16.0;

/// The values of a stage that can be judged by themselves.
pub(super) struct Local<'a> {
    graph: &'a Graph,
    inputs: &'a [Value],
    got: &'a Values,
    /// The node that makes each value.
    made_by: Vec<Option<usize>>,
    /// Values that some jump leads to.
    behind_jump: Vec<bool>,
}

impl<'a> Local<'a> {
    /// What a stage gave for `graph` on these inputs.
    pub(super) fn new(graph: &'a Graph, inputs: &'a [Value], got: &'a Values) -> Local<'a> {
        let mut made_by = vec![None; graph.values.len()];
        let mut behind_jump = vec![false; graph.values.len()];
        for (n, node) in graph.nodes.iter().enumerate() {
            let behind = jumps(graph, node) || node.uses().any(|v| behind_jump[v.index()]);
            for v in node.defs() {
                made_by[v.index()] = Some(n);
                behind_jump[v.index()] = behind;
            }
        }
        Local { graph, inputs, got, made_by, behind_jump }
    }

    /// Whether `v`, which differs from the reference's, is right all the same; its error in units of the tolerance.
    pub(super) fn judge(&self, v: ValueId, tolerance: &Tolerance) -> Option<f64> {
        if !self.behind_jump[v.index()] && tolerance.unit < NARROW {
            return None;
        }
        let got = self.got.get(&self.graph.value(v).name)?;
        let steps = self.steps(v)?;
        let plain = self.evaluate(&steps, v, 0.0, tolerance)?;
        if let Ok(error) = tolerance.compare(got, &plain) {
            return Some(error);
        }
        if !steps.iter().any(|&n| jumps(self.graph, &self.graph.nodes[n])) {
            return None;
        }
        let sides: Vec<Value> =
            [1.0, -1.0].into_iter().filter_map(|side| self.evaluate(&steps, v, side, tolerance)).collect();
        let between = between(got, &plain, &sides).and_then(|nearest| tolerance.compare(got, &nearest).ok());
        between.or_else(|| sides.iter().find_map(|side| tolerance.compare(got, side).ok()))
    }

    /// A value that the stage was given or shows.
    fn shown(&self, v: ValueId) -> Option<Value> {
        if let Some(k) = self.graph.inputs.iter().position(|&i| i == v) {
            return self.inputs.get(k).cloned();
        }
        let info = self.graph.value(v);
        info.constant.clone().map(Value::Tensor).or_else(|| self.got.get(&info.name).cloned())
    }

    /// The nodes between what the stage shows and `v`, in order.
    fn steps(&self, v: ValueId) -> Option<BTreeSet<usize>> {
        let mut steps = BTreeSet::new();
        let mut open = vec![self.made_by[v.index()]?];
        while let Some(n) = open.pop() {
            if !steps.insert(n) {
                continue;
            }
            for u in self.graph.nodes[n].uses().filter(|&u| self.shown(u).is_none()) {
                open.push(self.made_by[u.index()]?);
            }
        }
        Some(steps)
    }

    /// `v` by the reference; operands of jumps moved up or down by `side`.
    fn evaluate(&self, steps: &BTreeSet<usize>, v: ValueId, side: f64, tolerance: &Tolerance) -> Option<Value> {
        let mut values: BTreeMap<ValueId, Value> = BTreeMap::new();
        let env = Env::default();
        for &n in steps {
            let node = &self.graph.nodes[n];
            let moved = side != 0.0 && jumps(self.graph, node);
            let value = |u: ValueId| -> Option<Value> {
                // What the stage shows is known to the last bit.
                let (value, share) = match values.get(&u) {
                    Some(value) => (value.clone(), SHARE),
                    None => (self.shown(u)?, 0.0),
                };
                let constant = self.graph.value(u).constant.is_some();
                Some(if moved && !constant { shifted(value, side, share, tolerance) } else { value })
            };
            let operands: Vec<Option<Value>> =
                node.inputs.iter().map(|u| u.map_or(Some(None), |u| value(u).map(Some))).collect::<Option<_>>()?;
            let operands: Vec<Option<&Value>> = operands.iter().map(Option::as_ref).collect();
            let captures: Vec<Value> = node.captures.iter().map(|&u| value(u)).collect::<Option<_>>()?;
            let made = eval_call(&*node.op, &operands, &captures, node.outputs.len(), &env, &Reference).ok()?;
            values.extend(node.outputs.iter().zip(made).filter_map(|(u, value)| Some(((*u)?, value))));
        }
        values.remove(&v)
    }
}

/// Each element at least two units in its last place away, and by `share` of the tolerance.
fn shifted(value: Value, side: f64, share: f64, tolerance: &Tolerance) -> Value {
    let Value::Tensor(t) = &value else { return value };
    let (Some(unit), Ok(x)) = (t.dtype().unit_roundoff(), t.floats()) else { return value };
    let largest = x.iter().filter(|x| x.is_finite()).fold(1.0f64, |m, x| m.max(x.abs()));
    let absolute = share * tolerance.atol * if tolerance.atol_scaled_by_max { largest } else { 1.0 };
    let relative = (share * tolerance.rtol).max(4.0 * unit.max(tolerance.unit));
    let moved = x.into_iter().map(|x| x + side * (absolute + relative * x.abs()));
    Tensor::from_floats(t.dtype(), t.shape(), moved).into()
}

/// Whether a rounding error of an operand may change a result by a step.
fn jumps(graph: &Graph, node: &Node) -> bool {
    let float = |v: ValueId| graph.ty(v).as_tensor().is_some_and(|t| t.dtype.is_float());
    node.op.facts().jumps
        || node.uses().any(float) && node.defs().any(|v| !float(v))
        || node.op.bodies().iter().any(|body| body.nodes.iter().any(|n| jumps(body, n)))
}

/// What is nearest to `got` between the smallest and the largest of an element's values; `None` where shapes differ.
fn between(got: &Value, plain: &Value, sides: &[Value]) -> Option<Value> {
    let tensor = |v: &Value| v.tensor().ok().cloned();
    let (got, plain) = (tensor(got)?, tensor(plain)?);
    let sides: Vec<Tensor> = sides.iter().map(tensor).collect::<Option<_>>()?;
    let alike = |t: &Tensor| t.dtype() == plain.dtype() && t.shape() == plain.shape();
    if !alike(&got) || !sides.iter().all(alike) {
        return None;
    }
    let all: Vec<&Tensor> = sides.iter().chain([&plain]).collect();
    if plain.dtype().is_int() {
        let all: Vec<Vec<i128>> = all.iter().map(|t| t.ints().ok()).collect::<Option<_>>()?;
        let nearest = got.ints().ok()?.into_iter().enumerate().map(|(i, g)| {
            let each = || all.iter().map(|t| t[i]);
            g.clamp(each().min().unwrap_or(g), each().max().unwrap_or(g))
        });
        return Some(Tensor::from_ints(plain.dtype(), plain.shape(), nearest).into());
    }
    if plain.dtype() == DType::Bool {
        let all: Vec<Vec<bool>> = all.iter().map(|t| t.bools().ok()).collect::<Option<_>>()?;
        let nearest =
            got.bools().ok()?.into_iter().enumerate().map(|(i, g)| if all.iter().any(|t| t[i] == g) { g } else { !g });
        return Some(Tensor::from_bools(plain.shape(), nearest.collect::<Vec<_>>()).into());
    }
    let all: Vec<Vec<f64>> = all.iter().map(|t| t.floats().ok()).collect::<Option<_>>()?;
    let nearest = got.floats().ok()?.into_iter().enumerate().map(|(i, g)| {
        let last = all.len() - 1;
        let each = || all.iter().map(|t| t[i]);
        if g.is_nan() || each().any(f64::is_nan) {
            return if each().any(f64::is_nan) && g.is_nan() { g } else { all[last][i] };
        }
        g.clamp(each().fold(f64::INFINITY, f64::min), each().fold(f64::NEG_INFINITY, f64::max))
    });
    Some(Tensor::from_floats(plain.dtype(), plain.shape(), nearest.collect::<Vec<_>>()).into())
}
