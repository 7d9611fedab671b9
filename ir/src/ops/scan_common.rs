//! What `CumSum` and `CumProd` share: a running value along one axis.

use super::common::*;
use super::contraction::NUMBERS;
use super::lanes::filled_lanes;
use super::move_common::around;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::library::{self, Library};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Rule: C1 the element type, C2 the axis operand, C3 its value.
pub fn cumulate_rule(cx: &mut RuleCx<'_>) -> RuleResult {
    let dtype = cx.require_dtype("C1", 0, NUMBERS)?;
    cx.require_dtype("C2", 1, sets::INDEX)?;
    let axis = cx.shape(1)?;
    cx.require("C2", axis.len() <= 1, || format!("`axis` has rank {}", axis.len()))?;
    if let Some(n) = axis.first() {
        cx.require_eq("C2", n, &Dim::ONE)?;
    }
    let shape = cx.shape(0)?;
    if let Some(&[axis]) = cx.int_values(1)?.as_deref() {
        cx.axis("C3", axis, shape.len())?;
    }
    cx.output(dtype, shape)
}

/// Evaluates with the neutral element and the operation for floats and for integers.
///
/// # Errors
/// When the result is too large.
pub fn cumulate(
    cx: &mut EvalCx<'_>,
    exclusive: bool,
    reverse: bool,
    float: (f64, impl Fn(f64, f64) -> f64),
    int: (i128, impl Fn(i128, i128) -> i128),
) -> Result<()> {
    let x = cx.tensor(0)?;
    let axis = *cx.tensor(1)?.to_i64s()?.first().ok_or_else(|| Error::invalid("`axis` is empty"))?;
    let (bases, mut inner) = filled_lanes(x.shape(), &[normal_axis(axis, x.rank())]);
    if reverse {
        inner.reverse();
    }
    let y = if x.dtype().is_float() {
        Tensor::from_floats(x.dtype(), x.shape(), run(x.floats()?, &bases, &inner, exclusive, float))
    } else {
        Tensor::from_ints(x.dtype(), x.shape(), run(x.ints()?, &bases, &inner, exclusive, int))
    };
    cx.push(y);
    Ok(())
}

/// The compiled kernel of a running sum or product.
///
/// # Errors
/// When the axis is no integer.
pub fn cumulate_lowering(cx: &LowerCx<'_>, exclusive: bool, reverse: bool, product: bool) -> Result<Lowering> {
    let dtype = cx.dtype(0);
    let axis = cx.constant(1).map(Tensor::to_i64s).transpose()?.and_then(|v| v.first().copied());
    let (Some(axis), true) = (axis, library::is_number(dtype)) else { return Ok(Lowering::Host) };
    let (outer, n, inner) = around(cx.shape(0), normal_axis(axis, cx.shape(0).len()));
    let call = library::Cumulate { dtype, outer, n, inner, exclusive, reverse, product };
    Ok(Lowering::Library(Library::Cumulate(call)))
}

fn run<T: Copy>(
    mut v: Vec<T>,
    bases: &[usize],
    inner: &[usize],
    exclusive: bool,
    op: (T, impl Fn(T, T) -> T),
) -> Vec<T> {
    for b in bases {
        let mut sum = op.0;
        for o in inner {
            let next = (op.1)(sum, v[b + o]);
            v[b + o] = if exclusive { sum } else { next };
            sum = next;
        }
    }
    v
}
