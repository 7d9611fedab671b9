//! `y = x` for `x >= 0`, else `slope x`, element by element, with broadcasting.
//!
//! - **C1** `x` and `slope` are floats or 32- or 64-bit integers of one type
//! - **C2** their shapes broadcast
//!
//! `slope` broadcasts to `x`, not the other way. ONNX `PRelu`: opset 1 and 6 (one slope a channel), 7 (broadcasting),
//! 9 (integers), 16 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `PRelu` has no attributes.
    pub struct PRelu {}
}

impl Op for PRelu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let allowed = [sets::FLOATS, &[DType::I32, DType::I64, DType::U32, DType::U64]].concat();
        binary_rule(cx, &allowed, None)?;
        let (x, slope) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", slope.len() <= x.len(), || format!("slope has rank {}, x {}", slope.len(), x.len()))?;
        for (d, s) in x.iter().rev().zip(slope.iter().rev()) {
            cx.require_that("C2", Cond::eq(s, &Dim::int(1)).or(&Cond::eq(s, d)))?;
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(cx, |x, s| if x < 0.0 { s * x } else { x }, |x, s| Ok(if x < 0 { s.wrapping_mul(x) } else { x }))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::binary(cx, |c, a, b| {
            let z = c.zero(c.dtype(a));
            let m = c.mul(a, b);
            let neg = c.lt(a, z);
            c.select(neg, m, a)
        })
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(1), ..Facts::POINTWISE }
    }
}

/// Before opset 7 a slope of more than one element was one for each channel, axis 1.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    drop_hints(cx)?;
    if cx.version >= 7 {
        return Ok(());
    }
    let shared = cx.ty(1).concrete().is_some_and(|(_, shape)| shape.iter().product::<usize>() == 1);
    if let (Some(x), Some(1), false) = (cx.rank(0), cx.rank(1), shared)
        && x > 2
    {
        let axes: Vec<i64> = (1..x as i64 - 1).collect();
        let axes = cx.constant(Tensor::from_slice(&[axes.len()], &axes));
        let slope = cx.inputs[1];
        cx.inputs[1] = Some(cx.add("Unsqueeze", attrs! {}, &[slope, Some(axes)], 1)?[0]);
    }
    Ok(())
}

op! {
    PRelu in "ai.onnx" since [1, 6, 7, 9, 16 brings "bf16"]; "X, slope" => "Y";
    summary: "x, or slope x where negative";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @p_relu([[-1.0, 2.0], [3.0, -4.0]], [0.5, 0.25]) == [[-0.5, 2.0], [3.0, -1.0]]
graph @p_relu(%a: f32[2, 2], %b: f32[2]) -> f32[2, 2] {
  %y = prelu %a, %b : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;

    #[test]
    fn prelu_scales_negatives() {
        assert_eq!(ints2("PRelu", attrs! {}, &[-2, 2], &[3]).unwrap(), [-6, 2]);
    }

    #[test]
    fn prelu_c2_rejects_a_slope_larger_than_x() {
        let types = [Type::tensor(DType::F32, &[1]), Type::tensor(DType::F32, &[3])];
        assert_eq!(violated("PRelu", attrs! {}, &types).as_deref(), Some("PRelu.C2"));
    }

    #[test]
    fn prelu_c1_names_the_types_and_c2_the_shapes() {
        refuses("PRelu", &[DType::Bool, DType::Bool]);
        refuses_shapes("PRelu", DType::F32);
    }
}
