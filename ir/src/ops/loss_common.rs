//! What the classification losses share: weights, ignored targets, reduction.
//!
//! `input: T[n, c, d…]`, `target: I[n, d…]`, `weight: T[c]`; the loss is a scalar, or `T[n, d…]` with `reduction = none`.
//!
//! - **C1** floats of one type, `target` is `i32` or `i64`
//! - **C2** `input` has rank 2 or more, `target` one less and the same extents without the class axis
//! - **C3** `weight` has one element a class
//! - **C4** `reduction` is `none`, `sum` or `mean`

use super::common::*;
use super::lanes::sum;
use super::lowering::{self, ComputeBuilder, ExprId, Loops, ReduceOp};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::lower::IndexRange;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// Rule C1 to C4; pushes the loss.
pub fn loss_rule(cx: &mut RuleCx<'_>, reduction: &str) -> RuleResult<DType> {
    cx.require_dtype("C1", 0, sets::FLOATS)?;
    let dtype = cx.same_dtype("C1", [0, 2])?;
    cx.require_dtype("C1", 1, sets::INDEX)?;
    let (x, t) = (cx.shape(0)?, cx.shape(1)?);
    cx.require("C2", x.len() >= 2 && t.len() + 1 == x.len(), || format!("ranks are {} and {}", x.len(), t.len()))?;
    cx.require_eq("C2", &x[0], &t[0])?;
    for (a, b) in x[2..].iter().zip(&t[1..]) {
        cx.require_eq("C2", a, b)?;
    }
    if cx.has(2) {
        let w = cx.shape(2)?;
        cx.require("C3", w.len() == 1, || format!("`weight` has rank {}", w.len()))?;
        cx.require_eq("C3", &w[0], &x[1])?;
    }
    cx.require("C4", matches!(reduction, "none" | "sum" | "mean"), || format!("`reduction` is \"{reduction}\""))?;
    cx.output(dtype, if reduction == "none" { t } else { vec![] })?;
    Ok(dtype)
}

/// Lowers a loss: of the operand's logarithms of probabilities, or with `softmax` of scores, whose logarithms are then
/// a second result where the call has one.
///
/// # Errors
/// When the expressions do not fit together.
pub fn loss_lowering(cx: &LowerCx<'_>, reduction: &str, ignore: Option<i64>, softmax: bool) -> Result<Lowering> {
    let (dtype, x_shape) = (cx.dtype(0), cx.shape(0).to_vec());
    let (wide, classes) = (lowering::wide(dtype), x_shape[1]);
    let rows = lowering::without(&x_shape, 1);
    if x_shape.contains(&0) {
        return Ok(Lowering::Host);
    }
    let mut l = Loops::new(cx);
    let (x, target) = (l.x(0), l.x(1));
    let weight = cx.has(2).then(|| l.x(2));
    l.check_index(1, IndexRange { extents: vec![classes], from_end: false, except: ignore });
    let read = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let v = c.load(x, i);
        c.cast(v, wide)
    };
    // Logarithm of the sum of exponentials, the greatest score taken out.
    let log_sum = softmax.then(|| {
        let max = l.c.compute(wide, &rows, |c, i| {
            c.reduce(ReduceOp::Max, &[classes], |c, r| read(c, &lowering::with(i, 1, r[0])))
        });
        let sum = l.c.compute(wide, &rows, |c, i| {
            let sum = c.reduce(ReduceOp::Sum, &[classes], |c, r| {
                let (v, m) = (read(c, &lowering::with(i, 1, r[0])), c.load(max, i));
                let d = c.sub(v, m);
                c.exp(d)
            });
            c.log(sum)
        });
        (max, sum)
    });
    let log_prob = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let v = read(c, i);
        match log_sum {
            None => v,
            Some((max, sum)) => {
                let row = lowering::without(i, 1);
                let (m, s) = (c.load(max, &row), c.load(sum, &row));
                let v = c.sub(v, m);
                c.sub(v, s)
            }
        }
    };
    let class_of = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let t = c.load(target, i);
        let t = c.cast(t, DType::I64);
        let ignored = match ignore {
            Some(at) => {
                let at = c.idx(at);
                c.eq(t, at)
            }
            None => c.bool(false),
        };
        let (zero, last) = (c.idx(0), c.idx(classes as i64 - 1));
        let class = c.max(t, zero);
        (c.min(class, last), ignored)
    };
    let share = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let (class, ignored) = class_of(c, i);
        let w = match weight {
            Some(w) => {
                let w = c.load(w, &[class]);
                c.cast(w, wide)
            }
            None => c.one(wide),
        };
        let none = c.zero(wide);
        c.select(ignored, none, w)
    };
    let of_row = |c: &mut ComputeBuilder, i: &[ExprId]| {
        let (class, ignored) = class_of(c, i);
        let (w, v) = (share(c, i), log_prob(c, &lowering::with(i, 1, class)));
        let product = c.mul(w, v);
        let (loss, none) = (c.neg(product), c.zero(wide));
        c.select(ignored, none, loss)
    };
    let loss = if reduction == "none" {
        l.c.compute(dtype, &rows, |c, i| {
            let v = of_row(c, i);
            c.cast(v, dtype)
        })
    } else {
        let each = l.c.compute(wide, &rows, of_row);
        let shares = l.c.compute(wide, &rows, share);
        l.c.compute(dtype, &[], |c, _| {
            let mut y = c.reduce(ReduceOp::Sum, &rows, |c, r| c.load(each, r));
            if reduction == "mean" {
                let total = c.reduce(ReduceOp::Sum, &rows, |c, r| c.load(shares, r));
                y = c.div(y, total);
            }
            c.cast(y, dtype)
        })
    };
    let mut results = vec![loss];
    if softmax && cx.outputs.len() > 1 {
        results.push(l.c.compute(dtype, &x_shape, |c, i| {
            let v = log_prob(c, i);
            c.cast(v, dtype)
        }));
    }
    l.done(&results)
}

/// The loss of `scores` (logarithms of probabilities), laid out as operand 0.
///
/// # Errors
/// When a target is no class and not ignored.
pub fn loss(cx: &EvalCx<'_>, scores: &[f64], reduction: &str, ignore: Option<i64>) -> Result<Tensor> {
    let x = cx.tensor(0)?;
    let (dtype, shape) = cx.out(0)?;
    let classes = x.shape()[1];
    let plane: usize = x.shape()[2..].iter().product();
    let targets = cx.tensor(1)?.to_i64s()?;
    let weight = cx.tensor_opt(2)?.map(Tensor::floats).transpose()?;
    let (mut losses, mut total) = (Vec::with_capacity(targets.len()), 0.0);
    for (i, &t) in targets.iter().enumerate() {
        if Some(t) == ignore {
            losses.push(0.0);
            continue;
        }
        let class = usize::try_from(t).ok().filter(|&c| c < classes);
        let class = class.ok_or_else(|| Error::invalid(format!("target {t} is outside 0..{classes}")))?;
        let w = weight.as_ref().map_or(1.0, |w| w[class]);
        total += w;
        losses.push(-w * scores[(i / plane.max(1) * classes + class) * plane + i % plane.max(1)]);
    }
    Ok(match reduction {
        "none" => Tensor::from_floats(dtype, &shape, losses),
        "sum" => Tensor::from_floats(dtype, &[], [sum(losses.into_iter())]),
        _ => Tensor::from_floats(dtype, &[], [sum(losses.into_iter()) / total]),
    })
}
