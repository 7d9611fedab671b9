//! `y[i] = start + i * delta`, `i < max(0, ceil((limit - start) / delta))`.
//!
//! - **C1** the three operands have one element each and one element type of those allowed
//! - **C2** `delta` is not 0
//!
//! Every element is found from `start` at once and rounded once; for `f16` and `bf16` this is what `stash_type` asks
//! for. ONNX `Range`: opset 11, 27 (`stash_type`, narrow floats).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Range`.
    pub struct Range {
        /// Element type (ONNX number) in which narrow floats are computed.
        stash_type: i64 = 1,
    }
}

const ALLOWED: &[DType] = &[DType::F32, DType::F64, DType::I16, DType::I32, DType::I64, DType::F16, DType::BF16];

/// Number of elements for floats.
fn count(start: f64, limit: f64, delta: f64) -> f64 {
    ((limit - start) / delta).ceil().max(0.0)
}

impl Op for Range {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, ALLOWED)?;
        let dtype = cx.same_dtype("C1", 0..3)?;
        (0..3).try_for_each(|i| require_one(cx, "C1", i))?;
        if dtype.is_int() {
            let (Some(start), Some(limit), Some(delta)) = (cx.values(0)?, cx.values(1)?, cx.values(2)?) else {
                let n = cx.fresh();
                return cx.output(dtype, vec![n]);
            };
            let (start, limit, delta) = (&start[0], &limit[0], &delta[0]);
            cx.require("C2", *delta != 0, || "`delta` is 0".into())?;
            let n = match (start.as_int(), limit.as_int(), delta.as_int()) {
                (Some(start), Some(limit), Some(v)) => {
                    let (way, step) = (i128::from(limit) - i128::from(start), i128::from(v));
                    let n = if (way < 0) == (step < 0) { way.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
                    if n > 1 << 48 {
                        return Err(Error::limit(format!("a range of {n} elements")).into());
                    }
                    Dim::int(n as i64)
                }
                (_, _, Some(v)) if v > 0 => Dim::max(&(limit - start).ceil_div(delta), &Dim::int(0)),
                (_, _, Some(v)) if v < 0 && v > i64::MIN => {
                    Dim::max(&(start - limit).ceil_div(&Dim::int(-v)), &Dim::int(0))
                }
                _ => cx.fresh(),
            };
            let known = n.as_int().filter(|&n| n <= 4096);
            cx.output(dtype, vec![n])?;
            cx.output_values(known.map(|n| (0..n).map(|i| start + delta * i).collect()));
            return Ok(());
        }
        let one =
            |i: usize| -> RuleResult<Option<f64>> { Ok(cx.constant(i).map(Tensor::floats).transpose()?.map(|v| v[0])) };
        let n = match (one(0)?, one(1)?, one(2)?) {
            (Some(start), Some(limit), Some(delta)) => {
                cx.require("C2", delta != 0.0, || "`delta` is 0".into())?;
                let n = count(start, limit, delta);
                if n.is_nan() || n > 2f64.powi(48) {
                    return Err(Error::limit(format!("a range of {n} elements")).into());
                }
                Dim::int(n as i64)
            }
            _ => cx.fresh(),
        };
        cx.output(dtype, vec![n])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let y = if dtype.is_int() {
            let (start, delta) = (cx.tensor(0)?.ints()?[0], cx.tensor(2)?.ints()?[0]);
            Tensor::from_ints(dtype, &shape, (0..shape[0] as i128).map(|i| start + i * delta))
        } else {
            let (start, delta) = (cx.tensor(0)?.floats()?[0], cx.tensor(2)?.floats()?[0]);
            Tensor::from_floats(dtype, &shape, (0..shape[0]).map(|i| start + i as f64 * delta))
        };
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let dtype = cx.outputs[0].0;
        let ranks = [cx.shape(0).len(), cx.shape(2).len()];
        let mut l = Loops::new(cx);
        let (start, delta) = (l.x(0), l.x(2));
        // As evaluation does: integers wrap, floats are taken in f64.
        let wide = if dtype.is_float() { DType::F64 } else { dtype };
        l.result(|c, i| {
            let [start, delta] = [(start, ranks[0]), (delta, ranks[1])].map(|(t, rank)| {
                let at = vec![c.idx(0); rank];
                let v = c.load(t, &at);
                c.cast(v, wide)
            });
            let n = c.cast(i[0], wide);
            let step = c.mul(n, delta);
            let y = c.add(start, step);
            c.cast(y, dtype)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(2), ..Facts::default() }
    }
}

op! {
    Range in "ai.onnx" since [11, 27 brings "f16 bf16 stash_type"]; "start, limit, delta" => "output";
    summary: "numbers from start up to limit in steps of delta";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @range(1.0, 6.0, 2.0) == f32[3] [1.0, 3.0, 5.0]
graph @range(%a: f32[], %b: f32[], %c: f32[]) -> f32[u1] {
  %y = range %a, %b, %c : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn range_counts_down_and_may_be_empty() {
        let s = |v: i64| Tensor::scalar(v);
        let y = |a, b, c| run1("Range", attrs! {}, &[s(a), s(b), s(c)]).unwrap().to_i64s().unwrap();
        assert_eq!(y(10, 4, -2), [10, 8, 6]);
        assert_eq!(y(0, 5, -1), [0i64; 0]);
        assert_eq!(y(i64::MAX, 1, i64::MIN), [i64::MAX]);
        assert_eq!(y(i64::MIN, i64::MAX, i64::MAX), [i64::MIN, -1, i64::MAX - 1]);
        let f =
            run1("Range", attrs! {}, &[Tensor::scalar(1f32), Tensor::scalar(2f32), Tensor::scalar(0.4f32)]).unwrap();
        assert_eq!(f.len(), 3);
    }

    #[test]
    fn range_to_a_symbol_has_its_length() {
        let n =
            Fact { ty: Type::tensor(DType::I64, &[]), content: Some(crate::rule::Content::Dims(vec![Dim::sym("n")])) };
        let c = |v: i64| Fact::constant(Tensor::scalar(v));
        let y = infer1("Range", attrs! {}, &[c(0), n, c(1)]).unwrap();
        assert_eq!(y.ty, Type::ranked(DType::I64, vec![Dim::sym("n")]));
    }

    #[test]
    fn range_constraints_are_named() {
        let label = |t: &[Tensor]| run1("Range", attrs! {}, t).unwrap_err().label().unwrap().to_owned();
        let s = Tensor::scalar(1i64);
        assert_eq!(label(&[s.clone(), s.clone(), Tensor::scalar(1i32)]), "Range.C1");
        assert_eq!(label(&[s.clone(), s, Tensor::scalar(0i64)]), "Range.C2");
    }
}
