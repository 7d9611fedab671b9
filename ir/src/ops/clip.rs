//! `y = min(max, max(x, min))`, element by element.
//!
//! - **C1** `x` is a number; `min` and `max`, where given, have its type
//! - **C2** `min` and `max` have one element
//!
//! Where `min > max` the result is `max`; NaN stays. ONNX `Clip`: opset 1 and 6 (bounds are attributes), 11 (operands),
//! 12 (integers), 13 (bfloat16).

use super::common::*;
use super::lowering::{ComputeBuilder, Loops, TensorId};
use super::pointwise::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Clip` has no attributes.
    pub struct Clip {}
}

impl Op for Clip {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::NUMBERS)?;
        cx.same_dtype("C1", 0..3)?;
        for bound in (1..3).filter(|&i| cx.has(i)).collect::<Vec<_>>() {
            for d in cx.shape(bound)? {
                cx.require_eq("C2", &d, &Dim::int(1))?;
            }
        }
        cx.output(dtype, cx.shape(0)?)?;
        clip_values(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        if cx.tensor(0)?.dtype().is_float() {
            let bound = |i| Ok::<_, Error>(cx.tensor_opt(i)?.map(Tensor::floats).transpose()?.map(|v| v[0]));
            let (lo, hi) = (bound(1)?, bound(2)?);
            eval_float(cx, |x| hi.into_iter().fold(lo.into_iter().fold(x, max), min))
        } else {
            let bound = |i| Ok::<_, Error>(cx.tensor_opt(i)?.map(Tensor::ints).transpose()?.map(|v| v[0]));
            let (lo, hi) = (bound(1)?.unwrap_or(i128::MIN), bound(2)?.unwrap_or(i128::MAX));
            eval_unary(cx, |x| x, |x| x.max(lo).min(hi))
        }
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let (lo, hi) = (cx.has(1).then(|| l.x(1)), cx.has(2).then(|| l.x(2)));
        let first = |c: &mut ComputeBuilder, t: TensorId| {
            let index = vec![c.idx(0); c.shape(t).len()];
            c.load(t, &index)
        };
        l.result(|c, i| {
            let mut y = c.load(x, i);
            if let Some(lo) = lo {
                let lo = first(c, lo);
                y = c.max(y, lo);
            }
            if let Some(hi) = hi {
                let hi = first(c, hi);
                y = c.min(y, hi);
            }
            y
        })
    }

    fn facts(&self) -> Facts {
        Facts::POINTWISE
    }
}

fn clip_values(cx: &mut RuleCx<'_>) -> RuleResult {
    let bound = |i: usize| -> RuleResult<Option<Option<Dim>>> {
        Ok(if cx.has(i) { cx.values(i)?.and_then(|v| v.first().cloned()).map(Some) } else { Some(None) })
    };
    if may_count(cx, 0)?
        && let (Some(lo), Some(hi)) = (bound(1)?, bound(2)?)
    {
        unary_values(cx, |d| {
            let raised = lo.as_ref().map_or_else(|| d.clone(), |lo| Dim::max(d, lo));
            hi.as_ref().map_or_else(|| raised.clone(), |hi| Dim::min(&raised, hi))
        })?;
    }
    Ok(())
}

/// Before opset 11 the bounds were attributes.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    drop_hints(cx)?;
    if cx.version >= 11 {
        return Ok(());
    }
    for (i, name) in [(1, "min"), (2, "max")] {
        let Some(bound) = cx.take(name) else { continue };
        let Attr::Float(bound) = bound else {
            return Err(Error::invalid(format!("attribute `{name}` must be a float, it is {}", bound.kind())));
        };
        let value = match cx.ty(0).as_tensor().map(|t| t.dtype) {
            // The greatest single as a bound of a narrower type: none, as it was.
            Some(dtype) if dtype.is_float() => cx.constant(Tensor::from_floats(dtype, &[], [bound.into()])),
            _ => {
                let (single, x) = (cx.constant(Tensor::scalar(bound)), cx.inputs[0]);
                cx.add("CastLike", attrs! {}, &[Some(single), x], 1)?[0]
            }
        };
        cx.set_input(i, value);
    }
    Ok(())
}

op! {
    Clip in "ai.onnx" since [1, 6, 11, 12, 13]; "input, min?, max?" => "output";
    summary: "x held between two bounds";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @clip([-2.0, -0.5, 0.0, 1.5], -1.0, 1.0) == [-1.0, -0.5, 0.0, 1.0]
graph @clip(%a: f32[4], %b: f32[], %c: f32[]) -> f32[4] {
  %y = clip %a, %b, %c : f32[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn clip_takes_the_upper_bound_where_bounds_cross() {
        let x = Tensor::from_slice(&[3], &[-2.0f32, 0.5, f32::NAN]);
        let y = run1("Clip", attrs! {}, &[x.clone(), Tensor::scalar(-1.0f32), Tensor::scalar(1.0f32)]).unwrap();
        let y = y.floats().unwrap();
        assert!(y[0] == -1.0 && y[1] == 0.5 && y[2].is_nan());
        let y = run1("Clip", attrs! {}, &[x, Tensor::scalar(2.0f32), Tensor::scalar(1.0f32)]).unwrap();
        assert_eq!(y.floats().unwrap()[..2], [1.0, 1.0]);
    }

    #[test]
    fn clip_without_a_bound_is_one_sided() {
        let x = Value::from(Tensor::from_slice(&[2], &[-2i8, 9]));
        let hi = Value::from(Tensor::scalar(5i8));
        let y = run("ai.onnx", "Clip", attrs! {}, &[Some(x), None, Some(hi)], 1).unwrap();
        assert_eq!(y[0], Value::from(Tensor::from_slice(&[2], &[-2i8, 5])));
    }

    #[test]
    fn clip_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        refuses("Clip", &[DType::Bool]);
        let types = [t(DType::F32, &[1]), t(DType::F64, &[])];
        assert_eq!(violated("Clip", attrs! {}, &types).as_deref(), Some("Clip.C1"));
        let types = [t(DType::F32, &[1]), t(DType::F32, &[2])];
        assert_eq!(violated("Clip", attrs! {}, &types).as_deref(), Some("Clip.C2"));
    }
}
