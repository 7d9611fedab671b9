//! What poolings share: the rule over sliding windows, the global forms, norms.

use super::common::*;
use super::lanes::{lanes, sum};
use super::window::{Axis, Fixed, Window, for_each_window, numbers};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Rule of a pooling: C1 the element type, C2 rank 3 or more, C3 the windows. Gives the result's type.
pub fn pool_rule(
    cx: &mut RuleCx<'_>,
    allowed: &[DType],
    window: Window<'_>,
    kernel: &[Dim],
) -> RuleResult<(DType, Vec<Dim>)> {
    let dtype = cx.require_dtype("C1", 0, allowed)?;
    let x = cx.shape(0)?;
    cx.require("C2", x.len() >= 3, || format!("rank is {}", x.len()))?;
    let axes: Vec<Axis> = window.rule(cx, "C3", &x[2..], kernel)?;
    let mut shape = x[..2].to_vec();
    shape.extend(axes.into_iter().map(|a| a.out));
    Ok((dtype, shape))
}

/// Evaluates a pooling of floats: `f` gets the window's elements inside the input, their positions in the kernel, the
/// axes and the window's index.
///
/// # Errors
/// When the result is too large.
pub fn eval_pool(
    cx: &mut EvalCx<'_>,
    window: Window<'_>,
    kernel: &[Dim],
    mut f: impl FnMut(&[f64], &[Fixed], &[usize]) -> f64,
) -> Result<()> {
    let x = cx.tensor(0)?;
    let (dtype, shape) = cx.out(0)?;
    let axes = window.fixed(&x.shape()[2..], &numbers(kernel)?)?;
    let v = x.floats()?;
    let (plane, windows) = (x.shape()[2..].iter().product::<usize>(), shape[2..].iter().product::<usize>());
    let mut y = vec![0.0; shape.iter().product()];
    let mut at = 0;
    let mut cells = Vec::new();
    for_each_window(&axes, |index, taps| {
        for p in 0..shape[0] * shape[1] {
            cells.clear();
            cells.extend(taps.iter().map(|&(_, i)| v[p * plane + i]));
            y[p * windows + at] = f(&cells, &axes, index);
        }
        at += 1;
        Ok(())
    })?;
    cx.push(Tensor::from_floats(dtype, &shape, y));
    Ok(())
}

/// Rule of a pooling over all spatial axes.
pub fn global_rule(cx: &mut RuleCx<'_>) -> RuleResult {
    let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
    let mut shape = cx.shape(0)?;
    cx.require("C2", shape.len() >= 3, || format!("rank is {}", shape.len()))?;
    shape[2..].fill(Dim::ONE);
    cx.output(dtype, shape)
}

/// Evaluates a pooling over all spatial axes.
///
/// # Errors
/// When the result is too large.
pub fn eval_global(cx: &mut EvalCx<'_>, f: impl Fn(&[f64]) -> f64) -> Result<()> {
    let x = cx.tensor(0)?;
    let (dtype, shape) = cx.out(0)?;
    let v = x.floats()?;
    let (bases, inner) = lanes(x.shape(), &(2..x.rank()).collect::<Vec<_>>());
    let y = bases.iter().map(|b| f(&inner.iter().map(|o| v[b + o]).collect::<Vec<_>>()));
    cx.push(Tensor::from_floats(dtype, &shape, y));
    Ok(())
}

/// `(sum |v|^p)^(1/p)`.
pub fn lp_norm(v: &[f64], p: i64) -> f64 {
    match p {
        1 => sum(v.iter().map(|x| x.abs())),
        2 => sum(v.iter().map(|x| x * x)).sqrt(),
        _ => sum(v.iter().map(|x| x.abs().powf(p as f64))).powf(1.0 / p as f64),
    }
}

/// Opset 1 had a real exponent, 2 by default.
///
/// # Errors
/// When it is no whole number.
pub fn upgrade_p(cx: &mut Upgrade<'_>) -> Result<()> {
    if let Some(Attr::Float(p)) = cx.attrs.get("p") {
        if p.fract() != 0.0 || !(1.0..1e9).contains(p) {
            return Err(Error::unsupported(format!("an Lp norm with exponent {p}")));
        }
        let p = *p as i64;
        cx.attrs.insert("p".into(), Attr::from(p));
    }
    Ok(())
}
