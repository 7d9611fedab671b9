//! `y_i = 1 at the first greatest element, 0 elsewhere,` along one axis.
//!
//! - **C1** `x` is a float tensor
//! - **C2** `-r <= axis < r`
//!
//! ONNX `Hardmax`: opset 1 and 11 (over all axes from `axis`, default 1), 13 (one axis, default the last).

use super::common::*;
use super::lanes::eval_lane;
use super::lowering::{self, Loops, ReduceOp};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Hardmax`.
    pub struct Hardmax {
        /// Axis, `-r..r`.
        axis: i64 = -1i64,
    }
}

impl Op for Hardmax {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let shape = cx.shape(0)?;
        cx.axis("C2", self.axis, shape.len())?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_lane(cx, self.axis, hardmax)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let axis = normal_axis(self.axis, shape.len());
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let best = l.c.compute(DType::I64, &lowering::without(&shape, axis), |c, i| {
            c.reduce(ReduceOp::ArgMax { last: false }, &[shape[axis]], |c, r| c.load(x, &lowering::with(i, axis, r[0])))
        });
        l.result(|c, i| {
            let at = c.load(best, &lowering::without(i, axis));
            let hit = c.eq(at, i[axis]);
            let (on, off) = (c.one(dtype), c.zero(dtype));
            c.select(hit, on, off)
        })
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0)], jumps: true, ..Facts::default() }
    }
}

/// 1 at the first greatest element (NaN counts as greatest), 0 elsewhere.
fn hardmax(v: &mut [f64]) {
    let mut best = 0;
    for (i, &x) in v.iter().enumerate() {
        if x > v[best] || (x.is_nan() && !v[best].is_nan()) {
            best = i;
        }
    }
    v.iter_mut().enumerate().for_each(|(i, x)| *x = if i == best { 1.0 } else { 0.0 });
}

op! {
    Hardmax in "ai.onnx" since [1, 11, 13]; "input" => "output";
    summary: "1 at the first greatest element along an axis, 0 elsewhere";
    upgrade: super::softmax::upgrade_2d;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @hardmax([[1.0, 3.0, 2.0]]) == [[0.0, 1.0, 0.0]]
graph @hardmax(%a: f32[1, 3]) -> f32[1, 3] {
  %y = hardmax %a : f32[1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn hardmax_is_taken_by_rows_without_overflow() {
        let y = run1("Hardmax", attrs! {}, &[Tensor::from_slice(&[2, 2], &[1.0f32, 1.0, 1000.0, -1000.0])]).unwrap();
        assert_eq!(y.floats().unwrap(), [1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn hardmax_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("Hardmax", attrs! { axis: 1i64 }, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1, 1]).as_deref(), Some("Hardmax.C1"));
        assert_eq!(bad(DType::F32, &[1]).as_deref(), Some("Hardmax.C2"));
    }
}
