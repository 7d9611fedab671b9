//! `y = Cast(x; to = type of target)`: elements converted to the type of another tensor.
//!
//! - **C1** to **C3** as for [`cast`](super::cast)
//!
//! ONNX `CastLike`: opset 15, 19 (`saturate`), 21, 23, 24 (`round_mode`), 25.

use super::cast::{cast_rule, cast_tensor, lower_cast, round_mode};
use super::common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `CastLike`.
    pub struct CastLike {
        /// Whether 8-bit floats hold numbers out of their range.
        saturate: bool = true,
        /// Rounding to powers of two: `up`, `down` or `nearest`.
        round_mode: String = "up",
    }
}

impl Op for CastLike {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let to = cx.dtype(1)?;
        cast_rule(cx, to, self.saturate, &self.round_mode)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let to = cx.tensor(1)?.dtype();
        let y = cast_tensor(cx.tensor(0)?, to, self.saturate, round_mode(&self.round_mode)?)?;
        cx.push(y);
        Ok(())
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let (Some(x), Some(target)) = (x[0], x[1]) else { return Ok(None) };
        let Some(to) = b.ty(target).as_tensor().map(|t| t.dtype) else { return Ok(None) };
        let attrs = attrs! { to: to, saturate: self.saturate, round_mode: self.round_mode.as_str() };
        Ok(Some(vec![b.op("Cast", attrs, &[x])?]))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lower_cast(cx, cx.dtype(1), self.saturate)
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::MOVES }
    }
}

op! {
    CastLike in "ai.onnx" since [15, 19 brings "f8 saturate", 21 brings "i4 u4", 23 brings "f4e2m1",
        24 brings "f8e8m0 round_mode", 25 brings "i2 u2"];
    "input, target_type" => "output";
    summary: "elements converted to the type of another tensor";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @cast_like([1, 0], [0.0]) == [1.0, 0.0]
graph @cast_like(%a: i64[2], %b: f32[1]) -> f32[2] {
  %y = cast_like %a, %b : f32[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn cast_like_takes_only_the_type() {
        let y = run1("CastLike", attrs! {}, &[Tensor::scalar(2.7f32), Tensor::from_slice::<i32>(&[0], &[])]).unwrap();
        assert_eq!(y, Tensor::scalar(2i32));
    }
}
