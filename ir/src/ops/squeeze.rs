//! The operand without axes of extent 1: those in `axes`, or all.
//!
//! - **C1** `axes` is `i64` of rank 1
//! - **C2** each is in `-r..r`, none twice
//! - **C3** each has extent 1
//!
//! ONNX `Squeeze`: opset 1 (`axes` an attribute), 11 (negative axes), 13 (an operand), 21, 23, 24, 25 (types).

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Squeeze` has no attributes.
    pub struct Squeeze {}
}

impl Op for Squeeze {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = (cx.dtype(0)?, cx.shape(0)?);
        let axes = if cx.has(1) {
            cx.require_dtype("C1", 1, &[DType::I64])?;
            cx.require("C1", cx.rank(1)? <= 1, || "`axes` must have rank 1".into())?;
            let Some(axes) = cx.int_values(1)? else {
                let rank = shape.len().checked_sub(cx.len_of(1)?);
                cx.require("C2", rank.is_some(), || "more axes than the operand has".into())?;
                let dims = (0..rank.unwrap_or(0)).map(|_| cx.fresh()).collect();
                return cx.output(dtype, dims);
            };
            cx.axes("C2", &axes, shape.len())?
        } else {
            if shape.iter().any(|d| !d.is_int()) {
                return Err(Stop::Deferred("the extents of an operand"));
            }
            (0..shape.len()).filter(|&a| shape[a] == 1).collect()
        };
        for &a in &axes {
            cx.require_eq("C3", &shape[a], &Dim::int(1))?;
        }
        let dims = (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a].clone()).collect();
        cx.output(dtype, dims)?;
        if shape.len() <= 1 && dtype.is_int() {
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
    Squeeze in "ai.onnx" since [1, 11, 13, 21 brings "f8 i4 u4", 23 brings "f4e2m1", 24 brings "f8e8m0",
        25 brings "i2 u2"];
    "data, axes?" => "squeezed";
    summary: "axes of extent 1 taken away";
    upgrade: |cx| if cx.version < 13 { cx.ints_to_input("axes", 1) } else { Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @squeeze([[1.0, 2.0]], [0]) == f32[2] [1.0, 2.0]
graph @squeeze(%a: f32[1, 2], %b: i64[1]) -> f32[u1] {
  %y = squeeze %a, %b : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn label(axes: Tensor) -> String {
        let x = Tensor::zeros(DType::F32, &[1, 2]).unwrap();
        run1("Squeeze", attrs! {}, &[x, axes]).unwrap_err().label().unwrap().to_owned()
    }

    #[test]
    fn squeeze_takes_named_or_all_axes() {
        let x = Tensor::zeros(DType::F32, &[1, 3, 1]).unwrap();
        let y = run1("Squeeze", attrs! {}, &[x.clone(), Tensor::from_slice(&[1], &[-1i64])]).unwrap();
        assert_eq!(y.shape(), [1, 3]);
        assert_eq!(run1("Squeeze", attrs! {}, &[x]).unwrap().shape(), [3]);
    }

    #[test]
    fn squeeze_constraints_are_named() {
        assert_eq!(label(Tensor::from_slice(&[1], &[0i32])), "Squeeze.C1");
        assert_eq!(label(Tensor::from_slice(&[2], &[0i64, -2])), "Squeeze.C2");
        assert_eq!(label(Tensor::from_slice(&[1], &[1i64])), "Squeeze.C3");
    }
}
