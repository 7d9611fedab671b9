//! `y_i = exp(x_i) / sum exp(x_j)` along one axis.
//!
//! - **C1** `x` is a float tensor
//! - **C2** `-r <= axis < r`
//!
//! ONNX `Softmax`: opset 1 and 11 (over all axes from `axis`, default 1), 13 (one axis, default the last).

use super::common::*;
use super::lanes::{eval_lane, softmax};
use super::lowering;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Softmax`.
    pub struct Softmax {
        /// Axis, `-r..r`.
        axis: i64 = -1i64,
    }
}

impl Op for Softmax {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let shape = cx.shape(0)?;
        cx.axis("C2", self.axis, shape.len())?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_lane(cx, self.axis, softmax)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.outputs[0].1.contains(&0) {
            return Ok(Lowering::Host);
        }
        lowering::softmax(cx, normal_axis(self.axis, cx.shape(0).len()), false)
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0)], ..Facts::default() }
    }
}

/// Before opset 13 the tensor was seen as a matrix, split before `axis` (default 1), and whole rows were taken. Shared by
/// `Softmax`, `LogSoftmax` and `Hardmax`.
///
/// # Errors
/// When `axis` is no number.
pub fn upgrade_2d(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 13 {
        return Ok(());
    }
    let axis = match cx.take("axis") {
        None => 1,
        Some(Attr::Int(d)) => d.as_int().ok_or_else(|| Error::invalid("attribute `axis` must be a number"))?,
        Some(other) => {
            return Err(Error::invalid(format!("attribute `axis` must be an integer, it is {}", other.kind())));
        }
    };
    if axis == -1 || cx.rank(0).is_some_and(|r| axis + 1 == r as i64) {
        cx.attrs.insert("axis".into(), Attr::from(axis));
        return Ok(());
    }
    let x = cx.inputs.first().copied().flatten();
    let flat = cx.add("Flatten", attrs! { axis: axis }, &[x], 1)?[0];
    let op = cx.op_type.clone();
    let rows = cx.add(&op, attrs! { axis: -1i64 }, &[Some(flat)], 1)?[0];
    let shape = cx.add("Shape", attrs! {}, &[x], 1)?[0];
    cx.op_type = "Reshape".into();
    cx.attrs = attrs! { allowzero: true };
    cx.inputs = vec![Some(rows), Some(shape)];
    Ok(())
}

op! {
    Softmax in "ai.onnx" since [1, 11, 13]; "input" => "output";
    summary: "exponentials scaled to sum 1 along an axis";
    upgrade: upgrade_2d;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @softmax([[1.0, 3.0, 2.0]]) ~= [[0.090030566, 0.6652409, 0.24472845]]
graph @softmax(%a: f32[1, 3]) -> f32[1, 3] {
  %y = softmax %a : f32[1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn softmax_is_taken_by_rows_without_overflow() {
        let y = run1("Softmax", attrs! {}, &[Tensor::from_slice(&[2, 2], &[1.0f32, 1.0, 1000.0, -1000.0])]).unwrap();
        assert_eq!(y.floats().unwrap(), [0.5, 0.5, 1.0, 0.0]);
    }

    #[test]
    fn softmax_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("Softmax", attrs! { axis: 1i64 }, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1, 1]).as_deref(), Some("Softmax.C1"));
        assert_eq!(bad(DType::F32, &[1]).as_deref(), Some("Softmax.C2"));
    }
}
