//! `c = a + b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! Integers wrap. ONNX `Add`: opset 1 and 6 (`broadcast`, `axis`), 7 (numpy's broadcasting), 13, 14 (8- and 16-bit
//! integers).

use super::common::*;
use super::lowering;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Add` has no attributes.
    pub struct Add {}
}

impl Op for Add {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, None)?;
        binary_values(cx, |a, b| a + b)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |a, b| a + b, |a, b| Ok(a + b))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| c.add(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { commutative: true, in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Ulp(1), ..Facts::POINTWISE }
    }
}

/// Before opset 7 the second operand was aligned at `axis` (default: to the end) only with `broadcast = 1`. Shared by
/// the binary operators of that age.
pub fn upgrade_broadcast(cx: &mut Upgrade<'_>) -> Result<()> {
    cx.take("consumed_inputs");
    let broadcast = cx.take("broadcast");
    let Some(axis) = cx.take("axis") else { return Ok(()) };
    if broadcast != Some(Attr::from(1i64)) {
        return Ok(());
    }
    let Attr::Int(axis) = axis else { return Err(Error::invalid("attribute `axis` must be an integer")) };
    let axis = axis.as_int().ok_or_else(|| Error::invalid("attribute `axis` must be a number"))?;
    let (Some(a), Some(b)) = (cx.rank(0), cx.rank(1)) else {
        return Err(Error::unsupported("broadcasting at an axis needs operands of known rank"));
    };
    let axis = if axis < 0 { axis + a as i64 } else { axis };
    let trailing = a as i64 - axis - b as i64;
    if axis < 0 || trailing < 0 {
        return Err(Error::invalid(format!("operand 1 of rank {b} does not fit rank {a} at axis {axis}")));
    }
    if trailing > 0 {
        let axes: Vec<i64> = (b as i64..b as i64 + trailing).collect();
        let axes = cx.constant(Tensor::from_slice(&[axes.len()], &axes));
        let v = cx.inputs[1];
        cx.inputs[1] = Some(cx.add("Unsqueeze", attrs! {}, &[v, Some(axes)], 1)?[0]);
    }
    Ok(())
}

op! {
    Add in "ai.onnx" since [1, 6, 7, 13, 14 brings "i8 i16 u8 u16"]; "A, B" => "C";
    summary: "c = a + b, with broadcasting";
    upgrade: |cx| if cx.version < 7 { upgrade_broadcast(cx) } else { Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @add([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[11.0, 22.0, 0.0], [14.0, 25.0, 3.0]]
graph @add(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = add %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn add_broadcasts_and_wraps() {
        let a = Tensor::from_slice(&[2, 1], &[250u8, 1]);
        let b = Tensor::from_slice(&[2], &[1u8, 10]);
        assert_eq!(run1("Add", attrs! {}, &[a, b]).unwrap(), Tensor::from_slice(&[2, 2], &[251u8, 4, 2, 11]));
    }

    #[test]
    fn add_c1_rejects_mixed_types_and_c2_shapes_that_do_not_broadcast() {
        let f = |d, s: &[usize]| Type::tensor(d, s);
        assert_eq!(violated("Add", attrs! {}, &[f(DType::F32, &[2]), f(DType::F64, &[2])]).as_deref(), Some("Add.C1"));
        assert_eq!(violated("Add", attrs! {}, &[f(DType::F32, &[2]), f(DType::F32, &[3])]).as_deref(), Some("Add.C2"));
    }
}
