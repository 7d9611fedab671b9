//! What `ArgMax` and `ArgMin` share.

use super::common::*;
use super::lanes::lanes;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Rule: C1 numbers, C2 the axis, C3 it is not empty.
pub fn arg_rule(cx: &mut RuleCx<'_>, axis: i64, keepdims: bool) -> RuleResult {
    cx.require_dtype("C1", 0, sets::NUMBERS)?;
    let mut shape = cx.shape(0)?;
    let axis = cx.axis("C2", axis, shape.len())?;
    cx.require_that("C3", Cond::le(&Dim::ONE, &shape[axis]))?;
    if keepdims {
        shape[axis] = Dim::ONE;
    } else {
        shape.remove(axis);
    }
    cx.output(DType::I64, shape)
}

/// Evaluates with `float` and `int` saying whether the first argument beats the second.
///
/// # Errors
/// When the result is too large.
pub fn eval_arg(
    cx: &mut EvalCx<'_>,
    axis: i64,
    last: bool,
    float: impl Fn(f64, f64) -> bool,
    int: impl Fn(i128, i128) -> bool,
) -> Result<()> {
    let x = cx.tensor(0)?;
    let (_, shape) = cx.out(0)?;
    let (bases, inner) = lanes(x.shape(), &[normal_axis(axis, x.rank())]);
    let at = if x.dtype().is_float() {
        let beats = |a: f64, b: f64| float(a, b) || (a.is_nan() && !b.is_nan());
        let ties = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        pick(&x.floats()?, &bases, &inner, |a, b| beats(a, b) || (last && ties(a, b)))
    } else {
        pick(&x.ints()?, &bases, &inner, |a, b| int(a, b) || (last && a == b))
    };
    cx.push(Tensor::from_slice(&shape, &at));
    Ok(())
}

fn pick<T: Copy>(v: &[T], bases: &[usize], inner: &[usize], beats: impl Fn(T, T) -> bool) -> Vec<i64> {
    bases
        .iter()
        .map(|b| {
            let mut best = 0;
            for i in 1..inner.len() {
                if beats(v[b + inner[i]], v[b + inner[best]]) {
                    best = i;
                }
            }
            best as i64
        })
        .collect()
}
