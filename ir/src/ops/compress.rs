//! The slices along `axis` (or elements, without `axis`) at which `condition` holds.
//!
//! - **C1** `condition` is `bool` of rank 1
//! - **C2** `-r <= axis < r`, `r >= 1`
//! - **C3** `condition` is no longer than the axis (or the number of elements)
//!
//! The result's extent depends on data. ONNX `Compress`: opset 9, 11 (negative axes), 28 (types).

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Compress`.
    pub struct Compress {
        /// Axis of the slices; left out, the operand is taken as one row.
        axis: Option<i64>,
    }
}

impl Op for Compress {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::Bool])?;
        let r = cx.rank(1)?;
        cx.require("C1", r == 1, || format!("`condition` has rank {r}"))?;
        let (mut shape, n) = (cx.shape(0)?, cx.dim(1, 0)?);
        match self.axis {
            Some(axis) => {
                let axis = cx.axis("C2", axis, shape.len())?;
                cx.require_that("C3", Cond::le(&n, &shape[axis]))?;
                shape[axis] = cx.fresh();
            }
            None => {
                cx.require("C2", !shape.is_empty(), || "the operand has rank 0".into())?;
                cx.require_that("C3", Cond::le(&n, &shape.iter().product()))?;
                shape = vec![cx.fresh()];
            }
        }
        cx.output(cx.dtype(0)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, cond) = (cx.tensor(0)?, cx.tensor(1)?.bools()?);
        let picked: Vec<usize> = (0..cond.len()).filter(|&i| cond[i]).collect();
        let (mut shape, outer, n, inner) = match self.axis {
            Some(axis) => {
                let (outer, n, inner) = around(x.shape(), normal_axis(axis, x.rank()));
                (x.shape().to_vec(), outer, n, inner)
            }
            None => (vec![x.len()], 1, x.len(), 1),
        };
        let axis = self.axis.map_or(0, |a| normal_axis(a, x.rank()));
        shape[axis] = picked.len();
        let positions =
            (0..outer).flat_map(|o| picked.iter().flat_map(move |&i| (o * n + i) * inner..(o * n + i + 1) * inner));
        let y = x.take(&shape, positions)?;
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Compress in "ai.onnx" since [9, 11, 28 brings "bf16"]; "input, condition" => "output";
    summary: "the slices at which a condition holds";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @compress([1.0, 2.0, 3.0], [true, false, true]) == f32[2] [1.0, 3.0]
graph @compress(%a: f32[3], %b: bool[3]) -> f32[u1] {
  %y = compress %a, %b {axis = 0} : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn compress_picks_columns_or_elements() {
        let x = Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]);
        let c = Tensor::from_bools(&[2], [false, true]);
        let y = run1("Compress", attrs! { axis: 1i64 }, &[x.clone(), c.clone()]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 1], &[2i32, 4]));
        assert_eq!(run1("Compress", attrs! {}, &[x, c]).unwrap(), Tensor::from_slice(&[1], &[2i32]));
    }

    #[test]
    fn compress_constraints_are_named() {
        let label =
            |a, d, n: usize| violated("Compress", a, &[Type::tensor(DType::F32, &[2, 2]), Type::tensor(d, &[n])]);
        assert_eq!(label(attrs! {}, DType::I32, 1).as_deref(), Some("Compress.C1"));
        assert_eq!(label(attrs! { axis: 2i64 }, DType::Bool, 1).as_deref(), Some("Compress.C2"));
        assert_eq!(label(attrs! { axis: 1i64 }, DType::Bool, 3).as_deref(), Some("Compress.C3"));
    }
}
