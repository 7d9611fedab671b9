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
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
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
