//! What the scattering operators share: the update, with or without a reduction.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::library::{self, Library, Reduction, Target};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

/// How an update meets what is there.
pub const REDUCTIONS: &[&str] = &["none", "add", "mul", "max", "min"];

/// Requires a known reduction, and for one other than `none` elements that have it.
pub fn require_reduction(cx: &mut RuleCx<'_>, label: &'static str, reduction: &str) -> RuleResult {
    cx.require(label, REDUCTIONS.contains(&reduction), || format!("reduction `{reduction}` is not known"))?;
    let dtype = cx.dtype(0)?;
    cx.require(label, reduction == "none" || dtype.is_number() || dtype == DType::Bool, || {
        format!("{dtype} elements have no `{reduction}`")
    })
}

/// The compiled kernel of a scatter.
pub fn scatter_lowering(cx: &LowerCx<'_>, target: Target, reduction: &str) -> Lowering {
    let dtype = cx.dtype(0);
    let reduction = match reduction {
        "none" => Reduction::Replace,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "max" => Reduction::Max,
        _ => Reduction::Min,
    };
    if reduction != Reduction::Replace && !library::is_number(dtype) {
        return Lowering::Host;
    }
    let call = library::Scatter { dtype, index: cx.dtype(1), shape: cx.shape(0).to_vec(), target, reduction };
    Lowering::Library(Library::Scatter(call))
}

/// `data` with `updates[k]` put at `place` for each `(k, place)` in order. Sums and products are taken in `f64` or
/// 128-bit integers and rounded (or wrapped) once.
///
/// # Errors
/// When a place is out of range.
pub fn scatter(data: &Tensor, updates: &Tensor, places: &[(usize, usize)], reduction: &str) -> Result<Tensor> {
    if reduction == "none" {
        let mut y = data.clone();
        if places.is_empty() {
            return Ok(y);
        }
        let mut write = TensorWriter::new(&mut y);
        places.iter().try_for_each(|&(k, place)| write.copy(place, updates, k))?;
        return Ok(y);
    }
    let missing = || Error::invalid("an update is out of range");
    if data.dtype().is_float() {
        let (mut y, u) = (data.floats()?, updates.floats()?);
        for &(k, place) in places {
            let (at, v) = (y.get_mut(place).ok_or_else(missing)?, *u.get(k).ok_or_else(missing)?);
            *at = match reduction {
                "add" => *at + v,
                "mul" => *at * v,
                "max" if at.is_nan() || v.is_nan() => f64::NAN,
                "min" if at.is_nan() || v.is_nan() => f64::NAN,
                "max" => at.max(v),
                _ => at.min(v),
            };
        }
        return Ok(Tensor::from_floats(data.dtype(), data.shape(), y));
    }
    let (mut y, u) = (data.ints()?, updates.ints()?);
    for &(k, place) in places {
        let (at, v) = (y.get_mut(place).ok_or_else(missing)?, *u.get(k).ok_or_else(missing)?);
        // Wrapping at 128 bits agrees with wrapping at fewer; truth values are kept at 0 and 1.
        *at = match reduction {
            "add" => at.wrapping_add(v),
            "mul" => at.wrapping_mul(v),
            "max" => (*at).max(v),
            _ => (*at).min(v),
        };
        if data.dtype() == DType::Bool {
            *at = i128::from(*at != 0);
        }
    }
    Ok(Tensor::from_ints(data.dtype(), data.shape(), y))
}
