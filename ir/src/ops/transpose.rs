//! `y[i_perm[0], i_perm[1], …] = x[i_0, i_1, …]`: axis `k` of the result is axis `perm[k]` of the operand.
//!
//! - **C1** `perm` is a permutation of `0..r`; left out it reverses the axes
//!
//! ONNX `Transpose`: opset 1, 13, 21, 23, 24, 25 (types).

use super::common::*;
use super::lowering;
use super::move_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::strides;

attributes! {
    /// Attributes of `Transpose`.
    pub struct Transpose {
        /// Operand's axis for each axis of the result.
        perm: Option<Vec<i64>>,
    }
}

impl Transpose {
    /// The permutation for an operand of rank `rank`.
    pub fn permutation(&self, rank: usize) -> Vec<usize> {
        match &self.perm {
            Some(p) => p.iter().map(|&a| normal_axis(a, rank)).collect(),
            None => (0..rank).rev().collect(),
        }
    }
}

impl Op for Transpose {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = (cx.dtype(0)?, cx.shape(0)?);
        if let Some(p) = &self.perm {
            cx.axes("C1", p, shape.len())?;
            cx.require("C1", p.len() == shape.len(), || {
                format!("`perm` has {} axes, the operand {}", p.len(), shape.len())
            })?;
        }
        let perm = self.permutation(shape.len());
        cx.output(dtype, perm.iter().map(|&a| shape[a].clone()).collect())?;
        if shape.len() <= 1 && dtype.is_int() {
            let v = cx.values(0)?;
            cx.output_values(v);
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let from = strides(x.shape());
        let steps: Vec<isize> = self.permutation(shape.len()).into_iter().map(|a| from[a] as isize).collect();
        take_result(cx, affine_positions(&shape, &steps, 0))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let perm = self.permutation(cx.shape(0).len());
        // Axes of extent 1 alone may move without moving an element.
        let moving: Vec<usize> = perm.iter().copied().filter(|&a| cx.shape(0)[a] != 1).collect();
        if moving.is_sorted() {
            return Ok(Lowering::View);
        }
        lowering::moved(cx, |_, i| {
            let mut at = i.to_vec();
            perm.iter().zip(i).for_each(|(&a, &e)| at[a] = e);
            at
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Transpose in "ai.onnx" since [1, 13, 21 brings "f8 i4 u4", 23 brings "f4e2m1", 24 brings "f8e8m0",
        25 brings "i2 u2"];
    "data" => "transposed";
    summary: "axes in another order";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @transpose([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
graph @transpose(%a: f32[2, 3]) -> f32[3, 2] {
  %y = transpose %a {perm = [1, 0]} : f32[3, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn transpose_permutes_and_reverses_by_default() {
        let x = Tensor::from_slice(&[1, 2, 3], &[1i32, 2, 3, 4, 5, 6]);
        let y = run1("Transpose", attrs! { perm: vec![2i64, 0, 1] }, std::slice::from_ref(&x)).unwrap();
        assert_eq!(y, Tensor::from_slice(&[3, 1, 2], &[1i32, 4, 2, 5, 3, 6]));
        assert_eq!(run1("Transpose", attrs! {}, &[x]).unwrap().shape(), [3, 2, 1]);
    }

    #[test]
    fn transpose_c1_rejects_what_is_no_permutation() {
        let t = Type::tensor(DType::F32, &[2, 2]);
        for perm in [vec![0i64, 0], vec![0], vec![0, 2]] {
            let label = violated("Transpose", attrs! { perm: perm }, std::slice::from_ref(&t));
            assert_eq!(label.as_deref(), Some("Transpose.C1"));
        }
    }
}
