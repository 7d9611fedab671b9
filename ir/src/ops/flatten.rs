//! `y[Π d_0..d_{axis-1}, Π d_axis..d_{r-1}]`: the elements of `input` as a matrix.
//!
//! - **C1** `-r <= axis <= r`
//!
//! ONNX `Flatten`: opset 1, 9, 11 (negative axes), 13, 21, 23, 24, 25 (types).

use super::common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Flatten`.
    pub struct Flatten {
        /// First axis of the columns.
        axis: i64 = 1,
    }
}

impl Op for Flatten {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = (cx.dtype(0)?, cx.shape(0)?);
        let r = shape.len() as i64;
        cx.require("C1", (-r..=r).contains(&self.axis), || format!("axis {} is outside -{r}..={r}", self.axis))?;
        let axis = normal_axis(self.axis, shape.len());
        cx.output(dtype, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let y = cx.tensor(0)?.reshaped(&shape)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, _cx: &LowerCx<'_>) -> Result<Lowering> {
        Ok(Lowering::View)
    }

    fn facts(&self) -> Facts {
        Facts::VIEW
    }
}

op! {
    Flatten in "ai.onnx" since [1, 9, 11, 13, 21 brings "f8 i4 u4", 23 brings "f4e2m1", 24 brings "f8e8m0",
        25 brings "i2 u2"];
    "input" => "output";
    summary: "the same elements as a matrix";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @flatten([[[1.0, 2.0], [3.0, 4.0]]]) == [[1.0, 2.0, 3.0, 4.0]]
graph @flatten(%a: f32[1, 2, 2]) -> f32[1, 4] {
  %y = flatten %a : f32[1, 4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn flatten_splits_at_axis() {
        let t = Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(3), Dim::int(4)]);
        let y = infer1("Flatten", attrs! {}, &[Fact::of(t)]).unwrap();
        assert_eq!(y.ty, Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(12)]));
        let s = run1("Flatten", attrs! { axis: 0i64 }, &[Tensor::scalar(1f32)]).unwrap();
        assert_eq!(s.shape(), [1, 1]);
    }

    #[test]
    fn flatten_c1_rejects_an_axis_past_the_rank() {
        let t = Type::tensor(DType::F32, &[2]);
        assert_eq!(violated("Flatten", attrs! { axis: 2i64 }, &[t]).as_deref(), Some("Flatten.C1"));
    }
}
