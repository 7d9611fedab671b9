//! Each row divided by its largest element (`MAX`), sum of magnitudes (`L1`) or Euclidean length (`L2`), as `f32`.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** `norm` is `MAX`, `L1` or `L2`
//!
//! A row whose divisor is 0 stays as it is. ONNX `Normalizer` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::super::lowering::{Loops, ReduceOp};
use super::scores::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Normalizer`.
    pub struct Normalizer {
        /// What a row is divided by: `MAX`, `L1` or `L2`.
        norm: String = "MAX",
    }
}

impl Op for Normalizer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rows_rule(cx, "C1", FEATURES)?;
        cx.require("C2", ["MAX", "L1", "L2"].contains(&self.norm.as_str()), || format!("norm `{}`", self.norm))?;
        cx.output(DType::F32, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (_, f, mut v) = rows(x)?;
        for row in v.chunks_mut(f.max(1)) {
            let by = match self.norm.as_str() {
                "L1" => row.iter().map(|v| v.abs()).sum(),
                "L2" => row.iter().map(|v| v * v).sum::<f64>().sqrt(),
                // NaN is the greatest of what it is among, as for ReduceMax.
                _ => row.iter().fold(f64::NEG_INFINITY, |m, &v| if v.is_nan() || v > m { v } else { m }),
            };
            if by != 0.0 {
                row.iter_mut().for_each(|v| *v /= by);
            }
        }
        cx.push(Tensor::from_floats(DType::F32, x.shape(), v));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = cx.shape(0).to_vec();
        let axis = shape.len() - 1;
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let by = l.c.compute(DType::F64, &shape[..axis], |c, i| {
            let op = if self.norm == "MAX" { ReduceOp::Max } else { ReduceOp::Sum };
            let sum = c.reduce(op, &shape[axis..], |c, r| {
                let v = c.load(x, &[i, r].concat());
                let v = c.cast(v, DType::F64);
                match self.norm.as_str() {
                    "L1" => c.abs(v),
                    "L2" => c.mul(v, v),
                    _ => v,
                }
            });
            if self.norm == "L2" { c.sqrt(sum) } else { sum }
        });
        l.result(|c, i| {
            let (v, by) = (c.load(x, i), c.load(by, &i[..axis]));
            let v = c.cast(v, DType::F64);
            let zero = c.zero(DType::F64);
            let (none, y) = (c.eq(by, zero), c.div(v, by));
            let y = c.select(none, v, y);
            c.cast(y, DType::F32)
        })
    }
}

op! {
    Normalizer in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "rows divided by a norm";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_normalizer([[3.0, 4.0]]) == [[0.6, 0.8]]
graph @ml_normalizer(%a: f32[1, 2]) -> f32[1, 2] {
  %y = ml.normalizer %a {norm = "L2"} : f32[1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn normalizer_leaves_zero_rows() {
        let x = Tensor::from_slice(&[2, 2], &[3f32, -4.0, 0.0, 0.0]);
        let go = |n: &str| run("ai.onnx.ml", "Normalizer", attrs! { norm: n }, &[Some(x.clone().into())], 1);
        let y = go("L2").unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[2, 2], &[0.6f32, -0.8, 0.0, 0.0]).into());
        assert_eq!(go("L3").unwrap_err().label(), Some("Normalizer.C2"));
    }
}
