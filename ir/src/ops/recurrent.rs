//! What `RNN`, `GRU` and `LSTM` share: shapes, activations, directions, and the walk over time.
//!
//! `X: T[seq, batch, input]`, `W: T[d, g h, input]`, `R: T[d, g h, h]`, `B: T[d, 2 g h]`, `sequence_lens: i32[batch]`,
//! `initial_h: T[d, batch, h]`; `Y: T[seq, d, batch, h]`, `Y_h: T[d, batch, h]`; `g` gates, `d` directions. With
//! `layout = 1` the batch comes first: `X: T[batch, seq, input]`, `Y: T[batch, seq, d, h]`, `Y_h: T[batch, d, h]`.
//!
//! - **C1** one element type, a float; `sequence_lens` is `i32`
//! - **C2** ranks are those above
//! - **C3** `direction` is `forward`, `reverse` or `bidirectional`, `layout` 0 or 1
//! - **C4** extents agree
//! - **C5** the activations are known, as many as gates times directions need
//!
//! Sources: ONNX `RNN`, `GRU`, `LSTM`; activation parameters are consumed in order by the functions that take them.

use super::common::*;
use super::lowering::{ComputeBuilder, ExprId, Loops, TensorId};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::loops::LoopError;
use crate::lower::{CellPart, CellTensor, Direction, Recurrent};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use std::ops::Range;

/// The attributes that all three have.
pub struct Common<'a> {
    /// Names of the activation functions, if stated.
    pub activations: Option<&'a [String]>,
    /// Their first parameters.
    pub alpha: Option<&'a [f32]>,
    /// Their second parameters.
    pub beta: Option<&'a [f32]>,
    /// Bound on the activations' arguments.
    pub clip: Option<f32>,
    /// `forward`, `reverse` or `bidirectional`.
    pub direction: &'a str,
    /// Extent of the hidden state.
    pub hidden_size: Option<&'a Dim>,
    /// Whether the batch comes first.
    pub batch_first: i64,
    /// Gates of a cell.
    pub gates: usize,
    /// Activation functions of one direction where none are stated.
    pub defaults: &'static [&'static str],
    /// Operand of the first cell state and of the peepholes, for `LSTM`.
    pub cell_state: bool,
}

/// An activation function with its parameters.
#[derive(Clone, Debug)]
pub struct Activation {
    name: String,
    alpha: f64,
    beta: f64,
}

impl Activation {
    /// Its value.
    pub fn of(&self, x: f64) -> f64 {
        let (a, b) = (self.alpha, self.beta);
        match self.name.as_str() {
            "relu" if x <= 0.0 => 0.0,
            "tanh" => x.tanh(),
            "sigmoid" => 1.0 / (1.0 + (-x).exp()),
            "affine" => a * x + b,
            "leakyrelu" if x < 0.0 => a * x,
            "thresholdedrelu" if x <= a => 0.0,
            "scaledtanh" => a * (b * x).tanh(),
            "hardsigmoid" => (a * x + b).clamp(0.0, 1.0),
            "elu" if x < 0.0 => a * x.exp_m1(),
            "softsign" => x / (1.0 + x.abs()),
            "softplus" => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            _ => x,
        }
    }

    /// Its value in a loop nest.
    fn lower(&self, e: &mut ComputeBuilder, x: ExprId) -> ExprId {
        let dtype = e.dtype(x);
        let (alpha, beta) = (e.float(dtype, self.alpha), e.float(dtype, self.beta));
        let (zero, one) = (e.zero(dtype), e.one(dtype));
        match self.name.as_str() {
            "relu" => e.relu(x),
            "tanh" => e.tanh(x),
            "sigmoid" => e.sigmoid(x),
            "affine" => {
                let scaled = e.mul(alpha, x);
                e.add(scaled, beta)
            }
            "leakyrelu" => {
                let (negative, scaled) = (e.lt(x, zero), e.mul(alpha, x));
                e.select(negative, scaled, x)
            }
            "thresholdedrelu" => {
                let below = e.le(x, alpha);
                e.select(below, zero, x)
            }
            "scaledtanh" => {
                let scaled = e.mul(beta, x);
                let t = e.tanh(scaled);
                e.mul(alpha, t)
            }
            "hardsigmoid" => {
                let scaled = e.mul(alpha, x);
                let line = e.add(scaled, beta);
                e.clamp(line, 0.0, 1.0)
            }
            "elu" => {
                let (negative, exp) = (e.lt(x, zero), e.expm1(x));
                let scaled = e.mul(alpha, exp);
                e.select(negative, scaled, x)
            }
            "softsign" => {
                let size = e.abs(x);
                let size = e.add(one, size);
                e.div(x, size)
            }
            "softplus" => {
                let size = e.abs(x);
                let size = e.neg(size);
                let exp = e.exp(size);
                let (log, line) = (e.log1p(exp), e.relu(x));
                e.add(line, log)
            }
            _ => x,
        }
    }
}

/// Default parameters of the function `name` (lower case), `None` where it takes none.
fn parameters(name: &str) -> Option<(Option<f64>, Option<f64>)> {
    Some(match name {
        "relu" | "tanh" | "sigmoid" | "softsign" | "softplus" => (None, None),
        "affine" => (Some(1.0), Some(0.0)),
        "leakyrelu" => (Some(0.01), None),
        "thresholdedrelu" | "elu" => (Some(1.0), None),
        "scaledtanh" => (Some(1.0), Some(1.0)),
        "hardsigmoid" => (Some(0.2), Some(0.5)),
        _ => return None,
    })
}

impl Common<'_> {
    fn directions(&self) -> Result<usize> {
        match self.direction {
            "forward" | "reverse" => Ok(1),
            "bidirectional" => Ok(2),
            other => Err(Error::violation("C3", format!("`direction` is \"{other}\""))),
        }
    }

    /// The activation functions, all of the first direction, then those of the second.
    ///
    /// # Errors
    /// A violation of C5.
    pub fn functions(&self) -> Result<Vec<Activation>> {
        let want = self.defaults.len() * self.directions()?;
        let names: Vec<String> = match self.activations {
            Some(names) => names.iter().map(|n| n.to_lowercase()).collect(),
            None => self.defaults.iter().cycle().take(want).map(|n| n.to_lowercase()).collect(),
        };
        // `RNN`'s own default names two functions whatever the direction.
        let is_default_of_rnn = self.defaults.len() == 1 && names.len() == 2;
        if names.len() != want && !is_default_of_rnn {
            return Err(Error::violation("C5", format!("{} activations, {want} are wanted", names.len())));
        }
        let (mut alphas, mut betas) = (self.alpha.unwrap_or(&[]).iter(), self.beta.unwrap_or(&[]).iter());
        names
            .into_iter()
            .take(want)
            .map(|name| {
                let (alpha, beta) = parameters(&name)
                    .ok_or_else(|| Error::violation("C5", format!("activation \"{name}\" is not known")))?;
                let take = |default: Option<f64>, list: &mut std::slice::Iter<'_, f32>| match default {
                    None => 0.0,
                    Some(d) => list.next().map_or(d, |&v| v.into()),
                };
                let (alpha, beta) = (take(alpha, &mut alphas), take(beta, &mut betas));
                Ok(Activation { name, alpha, beta })
            })
            .collect()
    }

    /// The rule; pushes `Y`, `Y_h` and, for `LSTM`, `Y_c`.
    pub fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let floats: &[usize] = if self.cell_state { &[0, 1, 2, 3, 5, 6, 7] } else { &[0, 1, 2, 3, 5] };
        let dtype = cx.same_dtype("C1", floats.iter().copied())?;
        let d = Dim::from(self.directions()?);
        cx.require("C3", self.batch_first == 0 || self.batch_first == 1, || {
            format!("`layout` is {}", self.batch_first)
        })?;
        self.functions()?;
        let rank = |cx: &RuleCx<'_>, i: usize, want: usize| -> RuleResult<Vec<Dim>> {
            let s = cx.shape(i)?;
            cx.require("C2", s.len() == want, || format!("operand {i} has rank {}, {want} is wanted", s.len()))?;
            Ok(s)
        };
        let (x, w, r) = (rank(cx, 0, 3)?, rank(cx, 1, 3)?, rank(cx, 2, 3)?);
        let (seq, batch) = if self.batch_first == 1 { (&x[1], &x[0]) } else { (&x[0], &x[1]) };
        let h = &r[2];
        let gates = Dim::from(self.gates);
        if let Some(size) = self.hidden_size {
            cx.require_eq("C4", size, h)?;
        }
        for (a, b) in [(&w[0], &d), (&r[0], &d), (&w[2], &x[2]), (&w[1], &(h * &gates)), (&r[1], &(h * &gates))] {
            cx.require_eq("C4", a, b)?;
        }
        let state = if self.batch_first == 1 {
            vec![batch.clone(), d.clone(), h.clone()]
        } else {
            vec![d.clone(), batch.clone(), h.clone()]
        };
        let mut operands = vec![(3, vec![d.clone(), h * &gates * 2]), (4, vec![batch.clone()]), (5, state.clone())];
        if self.cell_state {
            operands.extend([(6, state.clone()), (7, vec![d.clone(), h * 3])]);
        }
        for (i, want) in operands {
            if cx.has(i) {
                if i == 4 {
                    cx.require_dtype("C1", 4, &[DType::I32])?;
                }
                for (a, b) in rank(cx, i, want.len())?.iter().zip(&want) {
                    cx.require_eq("C4", a, b)?;
                }
            }
        }
        let y = if self.batch_first == 1 {
            vec![batch.clone(), seq.clone(), d, h.clone()]
        } else {
            vec![seq.clone(), d, batch.clone(), h.clone()]
        };
        cx.output(dtype, y)?;
        cx.output(dtype, state.clone())?;
        if self.cell_state {
            cx.output(dtype, state)?;
        }
        Ok(())
    }

    /// Walks over directions, batch and time; `cell` makes the next state of the present one.
    ///
    /// # Errors
    /// When a sequence length is out of range or a result too large.
    pub fn eval(&self, cx: &mut EvalCx<'_>, cell: impl Fn(&Cell<'_>, &[f64], &mut [f64], &mut [f64])) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, y_shape) = cx.out(0)?;
        let first = self.batch_first == 1;
        let (seq, batch) = if first { (x.shape()[1], x.shape()[0]) } else { (x.shape()[0], x.shape()[1]) };
        let (input, h) = (x.shape()[2], cx.tensor(2)?.shape()[2]);
        let (n_dirs, gh) = (self.directions()?, self.gates * h);
        let xv = x.floats()?;
        let (w, r) = (cx.tensor(1)?.floats()?, cx.tensor(2)?.floats()?);
        let load = |i: usize, len: usize| -> Result<Vec<f64>> {
            Ok(cx.tensor_opt(i)?.map(Tensor::floats).transpose()?.unwrap_or_else(|| vec![0.0; len]))
        };
        let b = load(3, n_dirs * 2 * gh)?;
        let (h0, c0) =
            (load(5, n_dirs * batch * h)?, if self.cell_state { load(6, n_dirs * batch * h)? } else { vec![] });
        let p = if self.cell_state { load(7, n_dirs * 3 * h)? } else { vec![] };
        let lens = match cx.tensor_opt(4)? {
            Some(t) => t.to_i64s()?,
            None => vec![seq as i64; batch],
        };
        if let Some(l) = lens.iter().find(|&&l| l < 0 || l > seq as i64) {
            return Err(Error::invalid(format!("sequence length {l} is outside 0..={seq}")));
        }
        let functions = self.functions()?;
        let mut y = vec![0.0; y_shape.iter().product()];
        let (mut last_h, mut last_c) = (vec![0.0; n_dirs * batch * h], vec![0.0; n_dirs * batch * h]);
        for d in 0..n_dirs {
            let weights = Cell {
                w: &w[d * gh * input..(d + 1) * gh * input],
                r: &r[d * gh * h..(d + 1) * gh * h],
                wb: &b[d * 2 * gh..d * 2 * gh + gh],
                rb: &b[d * 2 * gh + gh..(d + 1) * 2 * gh],
                p: p.get(d * 3 * h..(d + 1) * 3 * h).unwrap_or(&[]),
                f: &functions[d * self.defaults.len()..(d + 1) * self.defaults.len()],
                clip: self.bound(),
                input,
                h,
            };
            let reverse = d == 1 || self.direction == "reverse";
            for n in 0..batch {
                cx.env.check()?;
                let at = if first { (n * n_dirs + d) * h } else { (d * batch + n) * h };
                let mut state = h0[at..at + h].to_vec();
                let mut cell_state = c0.get(at..at + h).unwrap_or(&[]).to_vec();
                let len = lens[n] as usize;
                for step in 0..len {
                    let t = if reverse { len - 1 - step } else { step };
                    let from = if first { n * seq + t } else { t * batch + n } * input;
                    cell(&weights, &xv[from..from + input], &mut state, &mut cell_state);
                    let to = if first { (n * seq + t) * n_dirs + d } else { (t * n_dirs + d) * batch + n } * h;
                    y[to..to + h].copy_from_slice(&state);
                }
                last_h[at..at + h].copy_from_slice(&state);
                if self.cell_state {
                    last_c[at..at + h].copy_from_slice(&cell_state);
                }
            }
        }
        let state_shape = if first { [batch, n_dirs, h] } else { [n_dirs, batch, h] };
        cx.push(Tensor::from_floats(dtype, &y_shape, y));
        cx.push(Tensor::from_floats(dtype, &state_shape, last_h));
        if self.cell_state {
            cx.push(Tensor::from_floats(dtype, &state_shape, last_c));
        }
        Ok(())
    }
}

impl Common<'_> {
    /// Bound on the activations' arguments.
    fn bound(&self) -> f64 {
        self.clip.filter(|c| !c.is_nan()).map_or(f64::INFINITY, |c| f64::from(c).abs())
    }

    /// The lowering; `cell` states the parts of a step. The recurrent biases of the first `biased` gates are added to
    /// the projection beside the input's. What is not `f32`, and empty extents, run on the host.
    ///
    /// # Errors
    /// A violation of C3 or C5.
    pub fn lower(
        &self,
        cx: &LowerCx<'_>,
        biased: usize,
        cell: impl Fn(&mut CellParts<'_>) -> std::result::Result<(), LoopError>,
    ) -> Result<Lowering> {
        if [0, 1, 2, 3, 5, 6, 7].into_iter().any(|i| cx.has(i) && cx.dtype(i) != DType::F32) {
            return Ok(Lowering::Host);
        }
        let (x, hidden) = (cx.shape(0), cx.shape(2)[2]);
        let batch_first = self.batch_first == 1;
        let (seq, batch) = if batch_first { (x[1], x[0]) } else { (x[0], x[1]) };
        if [seq, batch, x[2], hidden].contains(&0) {
            return Ok(Lowering::Host);
        }
        let n_dirs = self.directions()?;
        let rows = self.gates * hidden;
        let bias = if cx.has(3) {
            let mut l = Loops::new(cx);
            let b = l.x(3);
            let sum = l.c.compute(DType::F32, &[n_dirs, rows], |e, i| {
                let (from_input, row) = (e.load(b, i), e.affine(i[1], 1, rows as i64));
                let from_state = e.load(b, &[i[0], row]);
                let end = e.idx((biased * hidden) as i64);
                let (added, zero) = (e.lt(i[1], end), e.zero(DType::F32));
                let from_state = e.select(added, from_state, zero);
                e.add(from_input, from_state)
            });
            match l.done(&[sum])? {
                Lowering::Compute(c) => Some(c),
                _ => return Ok(Lowering::Host),
            }
        } else {
            None
        };
        let functions = self.functions()?;
        let mut lowered = Recurrent {
            seq,
            batch,
            input: x[2],
            hidden,
            gates: self.gates,
            batch_first,
            bias,
            directions: vec![Direction { backward: false, parts: Vec::new() }; n_dirs],
            cell_state: self.cell_state,
        };
        for d in 0..n_dirs {
            let mut parts = CellParts {
                shape: [batch, hidden],
                gates: self.gates,
                projection_stride: lowered.projection_stride(),
                f: &functions[d * self.defaults.len()..(d + 1) * self.defaults.len()],
                clip: self.bound(),
                has_bias: cx.has(3),
                has_peepholes: self.cell_state && cx.has(7),
                parts: Vec::new(),
            };
            match cell(&mut parts) {
                Ok(()) => {}
                Err(LoopError::Unsupported(_)) => return Ok(Lowering::Host),
                Err(e) => return Err(Error::bug(e.to_string())),
            }
            let backward = d == 1 || self.direction == "reverse";
            lowered.directions[d] = Direction { backward, parts: parts.parts };
        }
        Ok(Lowering::Recurrent(lowered))
    }
}

/// The parts of a step of one direction, in the making.
pub struct CellParts<'a> {
    /// Batch and extent of the state.
    pub shape: [usize; 2],
    gates: usize,
    projection_stride: usize,
    f: &'a [Activation],
    clip: f64,
    /// Whether there are biases.
    pub has_bias: bool,
    /// Whether there are peepholes.
    pub has_peepholes: bool,
    parts: Vec<CellPart>,
}

impl CellParts<'_> {
    /// A part that begins with the product of `of` and the rows of `gates`: `made` states its results.
    ///
    /// # Errors
    /// When the expressions are not well formed.
    pub fn part(
        &mut self,
        of: CellTensor,
        gates: Range<usize>,
        made: impl FnOnce(&mut CellLoops<'_>) -> Vec<(TensorId, CellTensor)>,
    ) -> std::result::Result<(), LoopError> {
        let mut l = CellLoops { c: ComputeBuilder::new(), inputs: Vec::new(), parts: self, gates: gates.clone() };
        let made = made(&mut l);
        let CellLoops { mut c, inputs, .. } = l;
        made.iter().for_each(|m| c.output(m.0));
        let outputs = made.iter().map(|m| m.1).collect();
        self.parts.push(CellPart { of, gates, compute: c.finish()?, inputs, outputs });
        Ok(())
    }
}

/// The expressions of one part, in the making.
pub struct CellLoops<'a> {
    /// The expressions.
    pub c: ComputeBuilder,
    inputs: Vec<CellTensor>,
    parts: &'a CellParts<'a>,
    gates: Range<usize>,
}

impl CellLoops<'_> {
    /// A tensor of the step.
    pub fn x(&mut self, tensor: CellTensor) -> TensorId {
        let [batch, h] = self.parts.shape;
        let rows = self.parts.gates * h;
        let shape = match tensor {
            CellTensor::Sums => vec![batch, self.gates.len() * h],
            CellTensor::Projection => vec![batch, self.parts.projection_stride],
            CellTensor::Bias => vec![2 * rows],
            CellTensor::Peepholes => vec![3 * h],
            _ => vec![batch, h],
        };
        self.inputs.push(tensor);
        self.c.input(DType::F32, &shape)
    }

    /// A tensor `[batch, hidden]`, element by element.
    pub fn compute(&mut self, f: impl FnOnce(&mut CellExprs<'_>, &[ExprId]) -> ExprId) -> TensorId {
        let (parts, first) = (self.parts, self.gates.start);
        self.c.compute(DType::F32, &parts.shape, |e, i| f(&mut CellExprs { e, parts, first }, i))
    }
}

/// The expressions of one element.
pub struct CellExprs<'a> {
    /// The expressions.
    pub e: &'a mut ComputeBuilder,
    parts: &'a CellParts<'a>,
    first: usize,
}

impl CellExprs<'_> {
    /// Gate `g` of the part's product.
    pub fn sum(&mut self, sums: TensorId, g: usize, i: &[ExprId]) -> ExprId {
        let column = self.e.affine(i[1], 1, ((g - self.first) * self.parts.shape[1]) as i64);
        self.e.load(sums, &[i[0], column])
    }

    /// Gate `g` of the projection.
    pub fn projected(&mut self, projection: TensorId, g: usize, i: &[ExprId]) -> ExprId {
        let column = self.e.affine(i[1], 1, (g * self.parts.shape[1]) as i64);
        self.e.load(projection, &[i[0], column])
    }

    /// Entry of gate `g` of a vector with `hidden` entries a gate.
    pub fn entry(&mut self, vector: TensorId, g: usize, i: &[ExprId]) -> ExprId {
        let at = self.e.affine(i[1], 1, (g * self.parts.shape[1]) as i64);
        self.e.load(vector, &[at])
    }

    /// Activation `k` of the clipped argument.
    pub fn activate(&mut self, k: usize, x: ExprId) -> ExprId {
        let clip = self.parts.clip;
        let x = if clip.is_finite() { self.e.clamp(x, -clip, clip) } else { x };
        self.parts.f[k].lower(self.e, x)
    }

    /// Activation `k` of the argument as it is.
    pub fn activate_unclipped(&mut self, k: usize, x: ExprId) -> ExprId {
        self.parts.f[k].lower(self.e, x)
    }
}

/// The weights of one direction.
pub struct Cell<'a> {
    w: &'a [f64],
    r: &'a [f64],
    wb: &'a [f64],
    rb: &'a [f64],
    /// Peephole weights of the gates i, o, f.
    pub p: &'a [f64],
    /// Activation functions.
    pub f: &'a [Activation],
    clip: f64,
    input: usize,
    /// Extent of the hidden state.
    pub h: usize,
}

impl Cell<'_> {
    /// Row `j` of gate `g`: `W x + Wb`.
    pub fn of_input(&self, g: usize, j: usize, x: &[f64]) -> f64 {
        let row = g * self.h + j;
        dot(&self.w[row * self.input..(row + 1) * self.input], x) + self.wb[row]
    }

    /// Row `j` of gate `g`: `R h + Rb`.
    pub fn of_state(&self, g: usize, j: usize, state: &[f64]) -> f64 {
        let row = g * self.h + j;
        dot(&self.r[row * self.h..(row + 1) * self.h], state) + self.rb[row]
    }

    /// Peephole weight `j` of gate `g`, 0 without peepholes.
    pub fn peephole(&self, g: usize, j: usize) -> f64 {
        self.p.get(g * self.h + j).copied().unwrap_or(0.0)
    }

    /// Activation `k` of the clipped argument; NaN stays.
    pub fn activate(&self, k: usize, x: f64) -> f64 {
        self.f[k].of(x.clamp(-self.clip, self.clip))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Takes away `output_sequence` (opset 1), which only hinted at unused results.
///
/// # Errors
/// Never; the type is that of upgrades.
pub fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    cx.take("output_sequence");
    Ok(())
}
