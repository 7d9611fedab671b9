//! `Y = alpha * A' @ B'`: the older name of [`fused_mat_mul`](super::fused_mat_mul), without batch axes to move.
//!
//! - **C1** `A` and `B` have one element type, a float
//! - **C2** what is exchanged exists: rank 2 or more
//! - shapes as for [`mat_mul`](crate::ops::mat_mul)
//!
//! ONNX Runtime `com.microsoft::TransposeMatMul`, version 1.

use super::fused_mat_mul::product;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `TransposeMatMul`.
    #[expect(non_snake_case, reason = "ONNX's names")]
    pub struct TransposeMatMul {
        /// Factor of the product.
        alpha: f32 = 1.0f32,
        /// Whether the last two axes of `A` are exchanged.
        transA: bool = false,
        /// Whether the last two axes of `B` are exchanged.
        transB: bool = false,
    }
}

impl Op for TransposeMatMul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        cx.same_dtype("C1", [0, 1])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        product(b, x, self.alpha, (false, self.transA), (false, self.transB))
    }
}

op! {
    TransposeMatMul in "com.microsoft" since [1]; "A, B" => "Y";
    summary: "matrix product of operands with exchanged axes, with a factor (older name)";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use crate::{Tensor, attrs};

    #[test]
    fn transpose_mat_mul_exchanges_axes() {
        let a = Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]);
        check("TransposeMatMul", attrs! { transB: true, alpha: 0.5f32 }, &[a.clone(), a.clone()], &[2.5]);
        let i = Some(Tensor::from_slice(&[1], &[1i32]));
        let bad = label("TransposeMatMul", attrs! {}, &[i.clone(), i]);
        assert_eq!(bad.as_deref(), Some("TransposeMatMul.C1"));
        let v = Some(Tensor::from_slice(&[1], &[1.0f32]));
        let bad = label("TransposeMatMul", attrs! { transB: true }, &[v.clone(), v]);
        assert_eq!(bad.as_deref(), Some("TransposeMatMul.C2"));
    }
}
