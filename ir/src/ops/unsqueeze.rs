//! The operand with axes of extent 1 put in; `axes` names them in the result.
//!
//! - **C1** `axes` is `i64` of rank 1
//! - **C2** each is in `-q..q`, `q = r + |axes|`, none twice
//!
//! ONNX `Unsqueeze`: opset 1 (`axes` an attribute), 11 (negative axes), 13 (an operand), 21, 23, 24, 25 (types).

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Unsqueeze` has no attributes.
    pub struct Unsqueeze {}
}

impl Op for Unsqueeze {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        cx.require("C1", cx.rank(1)? <= 1, || "`axes` must have rank 1".into())?;
        let (dtype, shape) = (cx.dtype(0)?, cx.shape(0)?);
        let Some(axes) = cx.int_values(1)? else {
            let dims = (0..shape.len() + cx.len_of(1)?).map(|_| cx.fresh()).collect();
            return cx.output(dtype, dims);
        };
        let rank = shape.len() + axes.len();
        let axes = cx.axes("C2", &axes, rank)?;
        let mut rest = shape.iter();
        let one = Dim::int(1);
        let dims = (0..rank)
            .map(|a| if axes.contains(&a) { one.clone() } else { rest.next().unwrap_or(&one).clone() })
            .collect();
        cx.output(dtype, dims)?;
        if rank <= 1 && dtype.is_int() {
            let v = cx.values(0)?;
            cx.output_values(v);
        }
        Ok(())
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
    Unsqueeze in "ai.onnx" since [1, 11, 13, 21 brings "f8 i4 u4", 23 brings "f4e2m1", 24 brings "f8e8m0",
        25 brings "i2 u2"];
    "data, axes" => "expanded";
    summary: "axes of extent 1 put in";
    upgrade: |cx| if cx.version < 13 { cx.ints_to_input("axes", 1) } else { Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @unsqueeze([1.0, 2.0], [1]) == f32[2, 1] [[1.0], [2.0]]
graph @unsqueeze(%a: f32[2], %b: i64[1]) -> f32[u1, u2] {
  %y = unsqueeze %a, %b : f32[u1, u2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn unsqueeze_counts_axes_in_the_result() {
        let x = Tensor::zeros(DType::F32, &[2, 3]).unwrap();
        let y = run1("Unsqueeze", attrs! {}, &[x, Tensor::from_slice(&[2], &[-1i64, 0])]).unwrap();
        assert_eq!(y.shape(), [1, 2, 3, 1]);
    }

    #[test]
    fn unsqueeze_constraints_are_named() {
        let x = Tensor::zeros(DType::F32, &[2]).unwrap();
        let label =
            |axes: Tensor| run1("Unsqueeze", attrs! {}, &[x.clone(), axes]).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(Tensor::from_slice(&[1, 1], &[0i64])), "Unsqueeze.C1");
        assert_eq!(label(Tensor::from_slice(&[1], &[2i64])), "Unsqueeze.C2");
        assert_eq!(label(Tensor::from_slice(&[2], &[0i64, 0])), "Unsqueeze.C2");
    }
}
