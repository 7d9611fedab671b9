//! `y[i, j] = 1 if j = i + k else 0`, of the operand's shape.
//!
//! - **C1** the operand has rank 2
//! - **C2** both element types, the operand's and the result's (`dtype`, or the operand's), are `bool`, integers of 8 bits or
//!   more, or floats of 16 or more
//!
//! ONNX `EyeLike`: opset 9, 22 (bfloat16).

use super::common::*;
use super::lowering::Loops;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `EyeLike`.
    pub struct EyeLike {
        /// Element type; left out the operand's.
        dtype: Option<DType>,
        /// The diagonal: above the main one where positive.
        k: i64 = 0,
    }
}

impl Op for EyeLike {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let shape = cx.shape(0)?;
        cx.require("C1", shape.len() == 2, || format!("the operand has rank {}", shape.len()))?;
        let dtype = self.dtype.unwrap_or(cx.dtype(0)?);
        for d in [cx.dtype(0)?, dtype] {
            cx.require("C2", sets::NUMBERS.contains(&d) || d == DType::Bool, || format!("the element type {d}"))?;
        }
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let k = i128::from(self.k);
        let cols = shape[1];
        let on = (0..shape[0]).flat_map(|i| (0..cols).map(move |j| i128::from(j as i128 == i as i128 + k)));
        cx.push(Tensor::from_ints(dtype, &shape, on));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, k) = (cx.outputs[0].0, self.k.clamp(-(1 << 50), 1 << 50));
        Loops::new(cx).result(|c, i| {
            let diagonal = c.affine(i[0], 1, k);
            let hit = c.eq(i[1], diagonal);
            let (on, off) = (c.one(dtype), c.zero(dtype));
            c.select(hit, on, off)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    EyeLike in "ai.onnx" since [9, 22 brings "bf16"]; "input" => "output";
    summary: "ones on a diagonal, of the operand's shape";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @eye_like([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]) == [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
graph @eye_like(%a: f32[2, 3]) -> f32[2, 3] {
  %y = eye_like %a {k = 1} : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn eye_like_shifts_its_diagonal() {
        let x = Tensor::zeros(DType::F32, &[2, 3]).unwrap();
        let y = run1("EyeLike", attrs! { k: 1i64, dtype: DType::I32 }, &[x]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[0i32, 1, 0, 0, 0, 1]));
    }

    #[test]
    fn eye_like_constraints_are_named() {
        let label = |d, s: &[usize]| violated("EyeLike", attrs! {}, &[Type::tensor(d, s)]);
        assert_eq!(label(DType::F32, &[2]).as_deref(), Some("EyeLike.C1"));
        assert_eq!(label(DType::String, &[2, 2]).as_deref(), Some("EyeLike.C2"));
        assert_eq!(label(DType::F8E8M0, &[2, 2]).as_deref(), Some("EyeLike.C2"));
    }
}
