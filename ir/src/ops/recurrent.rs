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
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

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
            "relu" => x.max(0.0),
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
        if names.len() < want {
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
                clip: self.clip.map_or(f64::INFINITY, f64::from),
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

    /// Activation `k` of the clipped argument.
    pub fn activate(&self, k: usize, x: f64) -> f64 {
        self.f[k].of(x.max(-self.clip).min(self.clip))
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
