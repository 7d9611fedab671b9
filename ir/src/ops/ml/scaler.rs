//! `y = (x - offset) * scale`, feature by feature, as `f32`.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 1 or more
//! - **C2** `offset` and `scale` have one entry or one a feature
//!
//! Left out, `offset` is 0 and `scale` 1. ONNX `Scaler` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::super::lowering::Loops;
use super::scores::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Scaler`.
    pub struct Scaler {
        /// Taken away first.
        offset: Vec<f32> = Vec::new(),
        /// Multiplied with.
        scale: Vec<f32> = Vec::new(),
    }
}

impl Op for Scaler {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, FEATURES)?;
        let shape = cx.shape(0)?;
        cx.require("C1", !shape.is_empty(), || "the operand has rank 0".into())?;
        for list in [&self.offset, &self.scale] {
            if list.len() > 1 {
                cx.require_eq("C2", &shape[shape.len() - 1], &Dim::from(list.len()))?;
            }
        }
        cx.output(DType::F32, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let f = x.shape().last().copied().unwrap_or(1);
        let at = |list: &[f32], i: usize, none: f32| match list.len() {
            0 => f64::from(none),
            1 => f64::from(list[0]),
            _ => f64::from(list[i % f]),
        };
        let scaled = x.floats()?.into_iter().enumerate();
        let y = scaled.map(|(i, v)| (v - at(&self.offset, i, 0.0)) * at(&self.scale, i, 1.0));
        cx.push(Tensor::from_floats(DType::F32, x.shape(), y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let f = cx.shape(0).last().copied().unwrap_or(1);
        // One number for all features, or a table of one a feature.
        let table = |list: &[f32], none: f32| -> Vec<f32> {
            match list {
                [] => vec![none],
                list if list.iter().all(|v| v.to_bits() == list[0].to_bits()) => vec![list[0]],
                list => list.to_vec(),
            }
        };
        let (offset, scale) = (table(&self.offset, 0.0), table(&self.scale, 1.0));
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let [offset, scale] = [offset, scale].map(|v| match v.len() {
            1 => Err(v[0]),
            _ => Ok(l.table(Tensor::from_slice(&[f], &v))),
        });
        l.result(|c, i| {
            let v = c.load(x, i);
            let v = c.cast(v, DType::F64);
            let [offset, scale] = [offset, scale].map(|t| match t {
                Err(v) => c.float(DType::F64, v.into()),
                Ok(t) => {
                    let v = c.load(t, &i[i.len() - 1..]);
                    c.cast(v, DType::F64)
                }
            });
            let v = c.sub(v, offset);
            let y = c.mul(v, scale);
            c.cast(y, DType::F32)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(2), ..Facts::default() }
    }
}

op! {
    Scaler in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "features shifted and scaled";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_scaler([[1.0, 2.0]]) == [[0.0, 1.0]]
graph @ml_scaler(%a: f32[1, 2]) -> f32[1, 2] {
  %y = ml.scaler %a {offset = [1.0, 0.0], scale = [2.0, 0.5]} : f32[1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn scaler_shifts_then_scales() {
        let x = Tensor::from_slice(&[1, 2], &[3i64, 5]);
        let a = attrs! { offset: Attr::Floats(vec![1.0, 2.0]), scale: Attr::Floats(vec![2.0]) };
        let y = run("ai.onnx.ml", "Scaler", a, &[Some(x.into())], 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[1, 2], &[4f32, 6.0]).into());
    }

    #[test]
    fn scaler_constraints_are_named() {
        let label = |a, x: Tensor| {
            run("ai.onnx.ml", "Scaler", a, &[Some(x.into())], 1).unwrap_err().label().unwrap().to_owned()
        };
        assert_eq!(label(attrs! {}, Tensor::from_bools(&[1], [true])), "Scaler.C1");
        let two = attrs! { scale: Attr::Floats(vec![1.0, 2.0]) };
        assert_eq!(label(two, Tensor::from_slice(&[1], &[1f32])), "Scaler.C2");
    }
}
