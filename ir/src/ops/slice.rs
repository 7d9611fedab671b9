//! `y[i] = data[start + i * step]` along each of `axes`.
//!
//! - **C1** `starts`, `ends`, `axes`, `steps` are `i32` or `i64` of one kind, of rank 1
//! - **C2** they are equally long
//! - **C3** axes are in `-r..r`, none twice; left out they are the first ones
//! - **C4** no step is 0; left out all are 1
//!
//! Starts and ends count from the end where negative, then are clamped: to `0..=d` for a positive step, to
//! `-1..=d-1` for a negative one. Result extent: `max(0, ceil((end - start) / step))`.
//! ONNX `Slice`: opset 1 (attributes), 10 (operands, steps), 11, 13 (types).

use super::common::*;
use super::lowering;
use super::move_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use crate::tensor::strides;

attributes! {
    /// `Slice` has no attributes.
    pub struct Slice {}
}

/// First index and number of indices of a slice of an axis of extent `d`.
pub fn slice_range(d: usize, start: i64, end: i64, step: i64) -> (usize, usize) {
    let d = d as i128;
    let at = |v: i64| if v < 0 { i128::from(v) + d } else { i128::from(v) };
    let step = i128::from(step);
    let (lo, hi) = if step > 0 { (0, d) } else { (-1, d - 1) };
    let (start, end) = (at(start).clamp(lo, hi.max(lo)), at(end).clamp(lo, hi.max(lo)));
    let span = if step > 0 { end - start } else { start - end };
    let n = if span > 0 { (span + step.abs() - 1) / step.abs() } else { 0 };
    if n > 0 { (start as usize, n as usize) } else { (0, 0) }
}

/// The extent of a slice as a term; `None` where it cannot be said.
fn extent(d: &Dim, start: &Dim, end: &Dim, step: i64) -> Option<Dim> {
    if let (Some(d), Some(s), Some(e)) = (d.as_int(), start.as_int(), end.as_int()) {
        return Some(Dim::from(slice_range(d.max(0) as usize, s, e, step).1));
    }
    const FAR: i64 = i32::MAX as i64;
    let (zero, last, below) = (Dim::int(0), d - 1, Dim::int(-1));
    let (lo, hi) = if step > 0 { (&zero, d) } else { (&below, &last) };
    let place = |v: &Dim| match v.as_int() {
        Some(v) if v >= FAR => Some(hi.clone()),
        Some(v) if v <= -FAR => Some(lo.clone()),
        Some(v) if v < 0 => Some(Dim::max(&(d + v), lo)),
        Some(v) => Some(Dim::min(&Dim::int(v), hi)),
        None if v == d && step > 0 => Some(d.clone()),
        None if v.bounds().0.is_some_and(|b| b >= 0) => Some(Dim::min(v, hi)),
        None => None,
    };
    let (start, end) = (place(start)?, place(end)?);
    let span = if step > 0 { &end - &start } else { &start - &end };
    Some(Dim::max(&span, &zero).ceil_div(&Dim::int(step.checked_abs()?)))
}

impl Op for Slice {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, sets::INDEX)?;
        cx.same_dtype("C1", 1..5)?;
        for i in 1..5 {
            if !cx.has(i) {
                continue;
            }
            let r = cx.rank(i)?;
            cx.require("C1", r == 1, || format!("operand {i} must have rank 1, it has {r}"))?;
            let (a, b) = (cx.dim(1, 0)?, cx.dim(i, 0)?);
            cx.require_eq("C2", &a, &b)?;
        }
        let (dtype, data) = (cx.dtype(0)?, cx.shape(0)?);
        // Their lengths are equal: any that is known is that of all.
        let known: Vec<usize> = (1..5).filter(|&i| cx.has(i) && cx.dim(i, 0).is_ok_and(|d| d.is_int())).collect();
        for pair in known.windows(2) {
            let (a, b) = (cx.dim(pair[0], 0)?, cx.dim(pair[1], 0)?);
            cx.require_eq("C2", &a, &b)?;
        }
        let n = cx.len_of(known.first().copied().unwrap_or(1))?;
        let axes = match cx.has(3) {
            true => cx.int_values(3)?,
            false => Some((0..n as i64).collect()),
        };
        let Some(axes) = axes else {
            let dims = data.iter().map(|_| cx.fresh()).collect();
            return cx.output(dtype, dims);
        };
        let axes = cx.axes("C3", &axes, data.len())?;
        let (starts, ends) = (cx.values(1)?, cx.values(2)?);
        let steps = if cx.has(4) { cx.int_values(4)? } else { Some(vec![1; n]) };
        cx.require("C4", !steps.iter().flatten().any(|&s| s == 0), || "a step is 0".into())?;
        let mut shape = data.clone();
        for (k, &a) in axes.iter().enumerate() {
            let known = match (&starts, &ends, &steps) {
                (Some(s), Some(e), Some(t)) => extent(&data[a], &s[k], &e[k], t[k]),
                _ => None,
            };
            shape[a] = match known {
                Some(d) => d,
                None => cx.fresh(),
            };
        }
        cx.output(dtype, shape)?;
        if data.len() == 1 && dtype.is_int() && axes.len() == 1 {
            let ints = |v: &Option<Vec<Dim>>| v.as_ref()?.first()?.as_int();
            if let (Some(v), Some(s), Some(e), Some(t)) = (cx.values(0)?, ints(&starts), ints(&ends), steps) {
                let (at, n) = slice_range(v.len(), s, e, t[0]);
                let pick = |i: usize| v[(at as i64 + i as i64 * t[0]) as usize].clone();
                cx.output_values(Some((0..n).map(pick).collect()));
            }
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let data = cx.tensor(0)?;
        let (starts, ends) = (cx.tensor(1)?.to_i64s()?, cx.tensor(2)?.to_i64s()?);
        let axes = match cx.tensor_opt(3)? {
            Some(t) => t.to_i64s()?,
            None => (0..starts.len() as i64).collect(),
        };
        let by = cx.tensor_opt(4)?.map(Tensor::to_i64s).transpose()?;
        let from = strides(data.shape());
        let mut steps: Vec<isize> = from.iter().map(|&s| s as isize).collect();
        let mut start = 0;
        for (k, &a) in axes.iter().enumerate() {
            let a = normal_axis(a, data.rank());
            let step = by.as_ref().map_or(1, |b| b[k]);
            let (at, n) = slice_range(data.shape()[a], starts[k], ends[k], step);
            start += (at * from[a]) as isize;
            // A single index takes no step, however far the step would reach.
            steps[a] = if n > 1 { step as isize * from[a] as isize } else { 0 };
        }
        take_result(cx, affine_positions(&shape, &steps, start))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let ints = |k: usize| cx.constant(k).map(crate::Tensor::to_i64s).transpose();
        let rank = cx.shape(0).len();
        let (Some(starts), Some(ends)) = (ints(1)?, ints(2)?) else { return Ok(Lowering::Host) };
        let axes = if cx.has(3) { ints(3)? } else { Some((0..starts.len() as i64).collect()) };
        let steps = if cx.has(4) { ints(4)? } else { Some(vec![1; starts.len()]) };
        let (Some(axes), Some(steps)) = (axes, steps) else { return Ok(Lowering::Host) };
        let mut map = vec![(1, 0); rank];
        for (k, &a) in axes.iter().enumerate() {
            let a = normal_axis(a, rank);
            map[a] = (steps[k], slice_range(cx.shape(0)[a], starts[k], ends[k], steps[k]).0 as i64);
        }
        lowering::moved(cx, |c, i| i.iter().zip(&map).map(|(&e, &(step, start))| c.affine(e, step, start)).collect())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

/// Opset 1 to 9: `starts`, `ends`, `axes` are attributes.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 10 {
        cx.ints_to_input("starts", 1)?;
        cx.ints_to_input("ends", 2)?;
        cx.ints_to_input("axes", 3)?;
    }
    Ok(())
}

op! {
    Slice in "ai.onnx" since [1, 10, 11, 13]; "data, starts, ends, axes?, steps?" => "output";
    summary: "a box of a tensor, with steps";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @slice([1.0, 2.0, 3.0, 4.0, 5.0], [4], [-6], [0], [-2]) == f32[3] [5.0, 3.0, 1.0]
graph @slice(%a: f32[5], %b: i64[1], %c: i64[1], %d: i64[1], %e: i64[1]) -> f32[u1] {
  %y = slice %a, %b, %c, %d, %e : f32[u1]
  return %y
}
// run: @slice_columns([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1], [3], [1]) == f32[2, 2] [[2.0, 3.0], [5.0, 6.0]]
graph @slice_columns(%a: f32[2, 3], %b: i64[1], %c: i64[1], %d: i64[1]) -> f32[u1, u2] {
  %y = slice %a, %b, %c, %d : f32[u1, u2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    fn i(v: &[i64]) -> Tensor {
        Tensor::from_slice(&[v.len()], v)
    }

    #[test]
    fn slice_range_clamps_like_python() {
        assert_eq!(slice_range(10, 1, i64::MAX, 3), (1, 3));
        assert_eq!(slice_range(10, -1, i64::MIN, -1), (9, 10));
        assert_eq!(slice_range(10, 20, 0, -4), (9, 3));
        assert_eq!(slice_range(10, 5, 5, 1), (0, 0));
        assert_eq!(slice_range(0, -1, i64::MIN, -1), (0, 0));
    }

    #[test]
    fn slice_walks_backwards_along_one_axis() {
        let x = Tensor::from_slice(&[2, 3], &[1i32, 2, 3, 4, 5, 6]);
        let y = run1("Slice", attrs! {}, &[x, i(&[-1]), i(&[i64::MIN]), i(&[1]), i(&[-2])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[3i32, 1, 6, 4]));
    }

    #[test]
    fn slice_of_a_symbol_to_the_end_is_the_symbol() {
        let t = Fact::of(Type::ranked(DType::F32, vec![Dim::sym("n")]));
        let c = |v: i64| Fact::constant(i(&[v]));
        let y = infer1("Slice", attrs! {}, &[t.clone(), c(0), c(i64::MAX)]).unwrap();
        assert_eq!(y.ty, Type::ranked(DType::F32, vec![Dim::sym("n")]));
        let y = infer1("Slice", attrs! {}, &[t, c(0), c(-1)]).unwrap().ty;
        let at = |n: i64| y.as_tensor().unwrap().shape.dims().unwrap()[0].eval(&|_| Some(n));
        assert_eq!((at(5), at(0)), (Some(4), Some(0)));
    }

    #[test]
    fn operands_of_lengths_that_cannot_be_equal_are_refused() {
        // Of the starts the length is not known; the ends are none, the axis is one.
        let starts = crate::rule::Fact::of(Type::ranked(DType::I64, vec![Dim::sym("n")]));
        let [x, ends, axes] = [i(&[1, 2, 3]), i(&[]), i(&[0])].map(crate::rule::Fact::constant);
        let refused = infer1("Slice", attrs! {}, &[x, starts, ends, axes]).unwrap_err();
        assert_eq!(refused.label(), Some("Slice.C2"));
    }

    #[test]
    fn slice_constraints_are_named() {
        let x = Tensor::zeros(DType::F32, &[4]).unwrap();
        let label = |t: &[Tensor]| {
            let all: Vec<Tensor> = std::iter::once(x.clone()).chain(t.iter().cloned()).collect();
            run1("Slice", attrs! {}, &all).unwrap_err().label().unwrap().to_owned()
        };
        assert_eq!(label(&[i(&[0]), Tensor::from_slice(&[1], &[1i32])]), "Slice.C1");
        assert_eq!(label(&[i(&[0]), i(&[1, 2])]), "Slice.C2");
        assert_eq!(label(&[i(&[0]), i(&[1]), i(&[1])]), "Slice.C3");
        assert_eq!(label(&[i(&[0]), i(&[1]), i(&[0]), i(&[0])]), "Slice.C4");
    }
}
