//! The operand broadcast together with `shape`: the result has the shape to which both broadcast.
//!
//! - **C1** `shape` is `i64` of rank 1
//! - **C2** the operand's shape and `shape` broadcast (an extent 1 in `shape` keeps the operand's)
//! - **C3** no extent is negative
//!
//! ONNX `Expand`: opset 8, 13 (types).

use super::common::*;
use super::lowering;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Expand` has no attributes.
    pub struct Expand {}
}

impl Op for Expand {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let (dtype, shape, n) = (cx.dtype(0)?, cx.shape(0)?, cx.rank(1)?);
        cx.require("C1", n == 1, || "`shape` must have rank 1".into())?;
        let Some(want) = cx.values(1)? else {
            let rank = shape.len().max(cx.len_of(1)?);
            let dims = (0..rank).map(|_| cx.fresh()).collect();
            return cx.output(dtype, dims);
        };
        for d in &want {
            cx.require_that("C3", Cond::le(&Dim::int(0), d))?;
        }
        let dims = cx.broadcast("C2", &[shape, want])?;
        let n = match dims.as_slice() {
            [] => Some(1),
            [n] => n.as_int().filter(|&n| n <= 4096),
            _ => None,
        };
        cx.output(dtype, dims)?;
        if let (Some(n), true) = (n, dtype.is_int())
            && let Some(v) = cx.values(0)?
        {
            let n = n.max(0) as usize;
            cx.output_values(if v.len() == 1 { Some(vec![v[0].clone(); n]) } else { Some(v) });
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let positions = broadcast_positions(cx.tensor(0)?.shape(), &shape);
        take_result(cx, positions)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        lowering::expand(cx)
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Expand in "ai.onnx" since [8, 13]; "input, shape" => "output";
    summary: "broadcasts to a given shape";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @expand([[1.0], [2.0]], [2, 3]) == f32[2, 3] [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
graph @expand(%a: f32[2, 1], %b: i64[2]) -> f32[u1, u2] {
  %y = expand %a, %b : f32[u1, u2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn expand_broadcasts_both_ways() {
        let x = Tensor::from_slice(&[2, 1], &[1i32, 2]);
        let y = run1("Expand", attrs! {}, &[x, Tensor::from_slice(&[3], &[2i64, 1, 2])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2, 2], &[1i32, 1, 2, 2, 1, 1, 2, 2]));
    }

    #[test]
    fn expand_constraints_are_named() {
        let x = Tensor::zeros(DType::F32, &[3]).unwrap();
        let label = |s: Tensor| run1("Expand", attrs! {}, &[x.clone(), s]).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(Tensor::from_slice(&[1], &[3i32])), "Expand.C1");
        assert_eq!(label(Tensor::from_slice(&[1], &[2i64])), "Expand.C2");
        assert_eq!(label(Tensor::from_slice(&[1], &[-1i64])), "Expand.C3");
    }
}
