//! What the `Reduce…` operators share: the rule, the axes, the walk, the upgrade.
//!
//! `data: T[d…]`, `axes: i64[k]?`, result `T[d…]` with the reduced axes 1 (`keepdims`) or gone.
//!
//! - **C1** the element type is allowed
//! - **C2** `axes` is `i64` of rank 1
//! - **C3** each axis is in `-r..r` and none is named twice
//!
//! Without `axes`, or with an empty list, all axes are reduced; with `noop_with_empty_axes` none is, each element then
//! being a group of its own. Before opset 18 (`ReduceSum`: 13) `axes` was an attribute.

use super::common::*;
use super::lanes::lanes;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// 32- and 64-bit numbers and the half floats: what most reductions take.
pub const WIDE: &[DType] = super::contraction::NUMBERS;

/// `ReduceMax` and `ReduceMin` take bytes and truth values too.
pub const ORDERED: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I32,
    DType::I64,
    DType::U32,
    DType::U64,
    DType::I8,
    DType::U8,
    DType::Bool,
];

/// Rule C1 to C3; `fold` combines known contents of a rank-1 integer operand.
pub fn reduce_rule(
    cx: &mut RuleCx<'_>,
    allowed: &[DType],
    keepdims: bool,
    noop: bool,
    fold: Option<fn(&Dim, &Dim) -> Dim>,
) -> RuleResult {
    let dtype = cx.require_dtype("C1", 0, allowed)?;
    if cx.has(1) {
        cx.require_dtype("C2", 1, &[DType::I64])?;
        let rank = cx.rank(1)?;
        cx.require("C2", rank == 1, || format!("`axes` has rank {rank}"))?;
    } else if !noop && !keepdims {
        // A scalar, whatever the rank.
        let content = cx.fact(0)?.content.clone();
        cx.output(dtype, vec![])?;
        if let (Some(fold), Some(_), true) = (fold, content, dtype.is_int())
            && cx.rank(0)? == 1
            && let Some((first, rest)) = cx.values(0)?.as_deref().and_then(<[Dim]>::split_first)
        {
            cx.output_values(Some(vec![rest.iter().fold(first.clone(), |a, b| fold(&a, b))]));
        }
        return Ok(());
    }
    let shape = cx.shape(0)?;
    let axes = if cx.has(1) { cx.int_values(1)? } else { Some(vec![]) };
    let Some(axes) = axes else {
        if keepdims {
            let shape = shape.iter().map(|_| cx.fresh()).collect();
            return cx.output(dtype, shape);
        }
        let n = cx.len_of(1)?;
        if n == 0 {
            return cx.output(dtype, if noop { shape } else { vec![] });
        }
        let rest = shape.len().saturating_sub(n);
        let shape = (0..rest).map(|_| cx.fresh()).collect();
        return cx.output(dtype, shape);
    };
    let axes = match cx.axes("C3", &axes, shape.len())? {
        none if none.is_empty() && !noop => (0..shape.len()).collect(),
        axes => axes,
    };
    let reduced = shape.iter().enumerate().filter_map(|(i, d)| match axes.contains(&i) {
        true => keepdims.then_some(Dim::ONE),
        false => Some(d.clone()),
    });
    let reduced: Vec<Dim> = reduced.collect();
    cx.output(dtype, reduced)?;
    if let Some(fold) = fold
        && dtype.is_int()
        && shape.len() == 1
        && axes == [0]
        && let Some((first, rest)) = cx.values(0)?.as_deref().and_then(<[Dim]>::split_first)
    {
        cx.output_values(Some(vec![rest.iter().fold(first.clone(), |a, b| fold(&a, b))]));
    }
    Ok(())
}

/// The axes that a call reduces, ascending.
///
/// # Errors
/// When `axes` is no tensor of integers.
pub fn reduced_axes(cx: &EvalCx<'_>, rank: usize, noop: bool) -> Result<Vec<usize>> {
    let mut axes: Vec<usize> = match cx.tensor_opt(1)? {
        Some(t) => t.to_i64s()?.into_iter().map(|a| normal_axis(a, rank)).collect(),
        None => vec![],
    };
    if axes.is_empty() && !noop {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    Ok(axes)
}

/// Evaluates a reduction: each group of elements becomes one, in `f64` or in wide integers (truth values as 0 and 1).
///
/// # Errors
/// When the result is too large.
pub fn eval_reduce(
    cx: &mut EvalCx<'_>,
    noop: bool,
    float: impl Fn(&[f64]) -> f64,
    int: impl Fn(&[i128]) -> i128,
) -> Result<()> {
    let x = cx.tensor(0)?;
    let (dtype, shape) = cx.out(0)?;
    let (bases, inner) = lanes(x.shape(), &reduced_axes(cx, x.rank(), noop)?);
    let y = if dtype.is_float() {
        Tensor::from_floats(dtype, &shape, groups(&x.floats()?, &bases, &inner, float))
    } else {
        Tensor::from_ints(dtype, &shape, groups(&x.ints()?, &bases, &inner, int))
    };
    cx.push(y);
    Ok(())
}

/// As [`eval_reduce`] for reductions that are real-valued for integers too; integer results are rounded towards zero.
///
/// # Errors
/// When the result is too large.
pub fn eval_reduce_real(cx: &mut EvalCx<'_>, noop: bool, f: impl Fn(&[f64]) -> f64) -> Result<()> {
    let x = cx.tensor(0)?;
    let (dtype, shape) = cx.out(0)?;
    let (bases, inner) = lanes(x.shape(), &reduced_axes(cx, x.rank(), noop)?);
    cx.push(Tensor::from_floats(dtype, &shape, groups(&x.floats()?, &bases, &inner, f)));
    Ok(())
}

fn groups<T: Copy, U>(v: &[T], bases: &[usize], inner: &[usize], f: impl Fn(&[T]) -> U) -> Vec<U> {
    let mut group = Vec::with_capacity(inner.len());
    bases
        .iter()
        .map(|b| {
            group.clear();
            group.extend(inner.iter().map(|o| v[b + o]));
            f(&group)
        })
        .collect()
}

/// Makes `axes` an operand where it was an attribute.
///
/// # Errors
/// When the attribute holds no integers.
pub fn upgrade_axes(cx: &mut Upgrade<'_>, operand_since: i64) -> Result<()> {
    if cx.version < operand_since { cx.ints_to_input("axes", 1) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Tests that hold for every reduction.

    use super::super::common::testing::*;
    use super::*;

    /// Constraints and shapes of one reduction.
    pub(crate) fn check_rule(op: &str) {
        let f = |s: &[usize]| Fact::of(Type::tensor(DType::F32, s));
        let axes = |v: &[i64]| Fact::constant(Tensor::from_slice(&[v.len()], v));
        let label = |r: Result<Fact>| r.unwrap_err().label().map(str::to_owned);
        let c = |n: i32| Some(format!("{op}.C{n}"));
        assert_eq!(label(infer1(op, attrs! {}, &[Fact::of(Type::tensor(DType::String, &[1]))])), c(1));
        assert_eq!(label(infer1(op, attrs! {}, &[f(&[2]), f(&[1])])), c(2));
        assert_eq!(label(infer1(op, attrs! {}, &[f(&[2]), axes(&[1])])), c(3));
        assert_eq!(label(infer1(op, attrs! {}, &[f(&[2]), axes(&[0, -1])])), c(3));
        let shape = |keep: bool, noop: bool, v: &[i64]| {
            let attrs = attrs! { keepdims: keep, noop_with_empty_axes: noop };
            infer1(op, attrs, &[f(&[2, 3]), axes(v)]).unwrap().ty.concrete().unwrap().1
        };
        assert_eq!(shape(true, false, &[-1]), [2, 1]);
        assert_eq!(shape(false, false, &[0]), [3]);
        assert_eq!(shape(false, false, &[]), [0usize; 0]);
        assert_eq!(shape(false, true, &[]), [2, 3]);
    }

    /// The reduction of all elements of a vector.
    pub(crate) fn all<T: crate::tensor::Element>(op: &str, v: &[T]) -> Tensor {
        run1(op, attrs! { keepdims: false }, &[Tensor::from_slice(&[v.len()], v)]).unwrap()
    }
}
