//! `y = x / ||x||_p` along one axis, `p` 1 or 2.
//!
//! - **C1** `x` is a float tensor
//! - **C2** `-r <= axis < r`
//! - **C3** `p` is 1 or 2
//!
//! A lane of zeros stays zero. ONNX `LpNormalization`: opset 1, 22.

use super::common::*;
use super::lanes::eval_lane;
use super::lowering::{self, Loops, ReduceOp};
use super::pool_common::lp_norm;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `LpNormalization`.
    pub struct LpNormalization {
        /// Axis, `-r..r`.
        axis: i64 = -1i64,
        /// Exponent of the norm, 1 or 2.
        p: i64 = 2i64,
    }
}

impl Op for LpNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let shape = cx.shape(0)?;
        cx.axis("C2", self.axis, shape.len())?;
        cx.require("C3", self.p == 1 || self.p == 2, || format!("p is {}", self.p))?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_lane(cx, self.axis, |v| {
            let norm = lp_norm(v, self.p);
            v.iter_mut().for_each(|x| *x = if norm == 0.0 { 0.0 } else { *x / norm });
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let wide = lowering::wide(dtype);
        let axis = normal_axis(self.axis, shape.len());
        let rows = lowering::without(&shape, axis);
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let norm = l.c.compute(wide, &rows, |c, i| {
            let sum = c.reduce(ReduceOp::Sum, &[shape[axis]], |c, r| {
                let v = c.load(x, &lowering::with(i, axis, r[0]));
                let v = c.cast(v, wide);
                if self.p == 1 { c.abs(v) } else { c.mul(v, v) }
            });
            if self.p == 1 { sum } else { c.sqrt(sum) }
        });
        l.result(|c, i| {
            let (v, n) = (c.load(x, i), c.load(norm, &lowering::without(i, axis)));
            let v = c.cast(v, wide);
            let zero = c.zero(wide);
            let (none, y) = (c.eq(n, zero), c.div(v, n));
            let y = c.select(none, zero, y);
            c.cast(y, dtype)
        })
    }
}

op! {
    LpNormalization in "ai.onnx" since [1, 22 brings "bf16"]; "input" => "output";
    summary: "division by the Lp norm along an axis";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @lp_normalization([[3.0, 4.0]]) == [[0.6, 0.8]]
graph @lp_normalization(%a: f32[1, 2]) -> f32[1, 2] {
  %y = lp_normalization %a : f32[1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn lp_normalization_keeps_zero_lanes() {
        let x = Tensor::from_slice(&[2, 2], &[3.0f32, -4.0, 0.0, 0.0]);
        let y = run1("LpNormalization", attrs! {}, &[x]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[0.6f32, -0.8, 0.0, 0.0]));
    }

    #[test]
    fn lp_normalization_constraints_are_named() {
        let bad =
            |p: i64, d, s: &[usize]| violated("LpNormalization", attrs! { axis: 1i64, p: p }, &[Type::tensor(d, s)]);
        assert_eq!(bad(2, DType::I32, &[1, 1]).as_deref(), Some("LpNormalization.C1"));
        assert_eq!(bad(2, DType::F32, &[1]).as_deref(), Some("LpNormalization.C2"));
        assert_eq!(bad(3, DType::F32, &[1, 1]).as_deref(), Some("LpNormalization.C3"));
    }
}
