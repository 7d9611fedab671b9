//! `Y = alpha * A' @ B'`, where `A'` and `B'` are `A` and `B` or have their last two axes exchanged (`transA`, `transB`).
//!
//! `transBatchA` first moves axis 0 behind the batch axes: `[m, b…, k]` becomes `[b…, m, k]`; `transBatchB` likewise.
//!
//! - **C1** `A` and `B` have one element type, a float
//! - **C2** what is exchanged exists: rank 2 or more
//! - shapes as for [`mat_mul`](crate::ops::mat_mul)
//!
//! ONNX Runtime `com.microsoft::FusedMatMul`, version 1.

use crate::error::{Error, Result};
use crate::ops::common::*;
use crate::ops::pointwise::{rule_of_expansion, scalar_like};
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `FusedMatMul`.
    #[expect(non_snake_case, reason = "ONNX's names")]
    pub struct FusedMatMul {
        /// Factor of the product.
        alpha: f32 = 1.0f32,
        /// Whether the last two axes of `A` are exchanged.
        transA: bool = false,
        /// Whether the last two axes of `B` are exchanged.
        transB: bool = false,
        /// Whether axis 0 of `A` stands before its batch axes.
        transBatchA: bool = false,
        /// Whether axis 0 of `B` stands before its batch axes.
        transBatchB: bool = false,
    }
}

/// `x` with its axes in the order that the product wants; none where that needs a rank that is not known.
///
/// # Errors
/// A violation of C2 for a rank below 2.
pub fn arranged(b: &mut GraphBuilder, x: ValueId, batch: bool, swap: bool) -> Result<Option<ValueId>> {
    if !batch && !swap {
        return Ok(Some(x));
    }
    let Some(rank) = b.rank(x) else { return Ok(None) };
    if rank < 2 {
        return Err(Error::violation("C2", format!("an operand of rank {rank} has no axes to exchange")));
    }
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    if batch {
        perm[..rank - 1].rotate_left(1);
    }
    if swap {
        perm.swap(rank - 2, rank - 1);
    }
    Ok(Some(b.op("Transpose", attrs! { perm: perm }, &[x])?))
}

/// `alpha * A' @ B'`.
///
/// # Errors
/// When a rule refuses.
pub fn product(
    b: &mut GraphBuilder,
    x: &[Option<ValueId>],
    alpha: f32,
    (batch_a, swap_a): (bool, bool),
    (batch_b, swap_b): (bool, bool),
) -> Result<Option<Vec<ValueId>>> {
    let [Some(p), Some(q)] = *x else { return Ok(None) };
    let Some(p) = arranged(b, p, batch_a, swap_a)? else { return Ok(None) };
    let Some(q) = arranged(b, q, batch_b, swap_b)? else { return Ok(None) };
    let mut y = b.op("MatMul", attrs! {}, &[p, q])?;
    if alpha != 1.0 {
        let Some(alpha) = scalar_like(b, y, alpha.into()) else { return Ok(None) };
        y = b.op("Mul", attrs! {}, &[y, alpha])?;
    }
    Ok(Some(vec![y]))
}

impl Op for FusedMatMul {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        cx.same_dtype("C1", [0, 1])?;
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        product(b, x, self.alpha, (self.transBatchA, self.transA), (self.transBatchB, self.transB))
    }
}

op! {
    FusedMatMul in "com.microsoft" since [1]; "A, B" => "Y";
    summary: "matrix product of operands with exchanged axes, with a factor";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{check, label};
    use super::*;
    use crate::Tensor;

    #[test]
    fn fused_mat_mul_exchanges_axes() {
        let a = Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]);
        let b = Tensor::from_slice(&[1, 2], &[3.0f32, 5.0]);
        check("FusedMatMul", attrs! { transB: true, alpha: 0.5f32 }, &[a.clone(), b.clone()], &[6.5]);
        check("FusedMatMul", attrs! { transA: true }, &[a, b], &[3.0, 5.0, 6.0, 10.0]);
        // [m, b, k] = [1, 2, 1]: two products of one by one.
        let a = Tensor::from_slice(&[1, 2, 1], &[1.0f32, 2.0]);
        let b = Tensor::from_slice(&[2, 1, 1], &[3.0f32, 5.0]);
        check("FusedMatMul", attrs! { transBatchA: true }, &[a, b], &[3.0, 10.0]);
    }

    #[test]
    fn fused_mat_mul_constraints_are_named() {
        let f = Some(Tensor::from_slice(&[1], &[1.0f32]));
        let i = Some(Tensor::from_slice(&[1], &[1i32]));
        let swap = || attrs! { transA: true };
        assert_eq!(label("FusedMatMul", swap(), &[i.clone(), i]).as_deref(), Some("FusedMatMul.C1"));
        assert_eq!(label("FusedMatMul", swap(), &[f.clone(), f]).as_deref(), Some("FusedMatMul.C2"));
    }
}
