//! What the signal operators share: the discrete Fourier transform by its definition, and the window functions.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::{Env, EvalCx};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, len_elems};
use std::f64::consts::PI;

/// `X_k = sum_j x_j exp(-+ 2 pi i j k / n)` for the first `bins` bins; the inverse is divided by `n`.
///
/// # Errors
/// When the run's deadline passes.
pub fn dft(env: &Env, x: &[(f64, f64)], bins: usize, inverse: bool) -> Result<Vec<(f64, f64)>> {
    let n = x.len();
    let sign = if inverse { 1.0 } else { -1.0 };
    let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
    let turns: Vec<(f64, f64)> =
        (0..n).map(|k| (2.0 * PI * k as f64 / n as f64).sin_cos()).map(|(sin, cos)| (cos, sign * sin)).collect();
    (0..bins)
        .map(|k| {
            env.check()?;
            let (mut re, mut im, mut at) = (0.0, 0.0, 0);
            for &(a, b) in x {
                let (c, s) = turns[at];
                re += a * c - b * s;
                im += a * s + b * c;
                at = (at + k) % n;
            }
            Ok((re * scale, im * scale))
        })
        .collect()
}

/// Rule of a scalar integer operand: an integer type, one element; its value where known.
pub fn scalar_int(cx: &mut RuleCx<'_>, label: &'static str, i: usize) -> RuleResult<Option<Dim>> {
    cx.require_dtype(label, i, sets::INDEX)?;
    let s = cx.shape(i)?;
    cx.require(label, s.len() <= 1, || format!("operand {i} has rank {}", s.len()))?;
    if let Some(n) = s.first() {
        cx.require_eq(label, n, &Dim::ONE)?;
    }
    Ok(cx.values(i)?.and_then(|v| v.into_iter().next()))
}

/// The number that a scalar operand holds.
///
/// # Errors
/// When it is empty or no integer.
pub fn scalar(t: &Tensor) -> Result<i64> {
    t.to_i64s()?.first().copied().ok_or_else(|| Error::invalid("a scalar operand is empty"))
}

/// Rule of a window function: C1 `size` is an integer scalar, C2 it is not negative, C3 the type holds numbers.
pub fn window_rule(cx: &mut RuleCx<'_>, dtype: DType) -> RuleResult {
    let size = match scalar_int(cx, "C1", 0)? {
        Some(n) => n,
        None => cx.fresh(),
    };
    cx.require_that("C2", Cond::le(&Dim::ZERO, &size))?;
    cx.require("C3", sets::NUMBERS.contains(&dtype), || format!("`output_datatype` is {dtype}"))?;
    cx.output(dtype, vec![size])
}

/// Evaluates a window function of the phase `2 pi n / N`.
///
/// # Errors
/// When the size is too large.
pub fn eval_window(cx: &mut EvalCx<'_>, periodic: bool, f: impl Fn(f64) -> f64) -> Result<()> {
    let (dtype, shape) = cx.out(0)?;
    let n = len_elems(&shape)?;
    let period = if periodic { n as f64 } else { n as f64 - 1.0 };
    // A single cell that is not periodic has phase 0.
    let phase = |i: usize| if period == 0.0 { 0.0 } else { 2.0 * PI * i as f64 / period };
    cx.push(Tensor::from_floats(dtype, &shape, (0..n).map(|i| f(phase(i)))));
    Ok(())
}
