//! `Y[b…]`: the determinant of each square matrix `X[b…, :, :]`; 1 for a matrix without rows.
//!
//! - **C1** `X` holds floats
//! - **C2** `X` has rank 2 or more, and its last two extents are equal
//!
//! By elimination with row exchanges (the largest pivot of each column), in `f64`, rounded once. A column without a
//! pivot gives 0; NaN spreads. ONNX `Det`: opset 11, 22 (bfloat16).

use super::common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Det` has no attributes.
    pub struct Det {}
}

/// Determinant of an `m` by `m` matrix, which is destroyed.
pub fn determinant(a: &mut [f64], m: usize) -> f64 {
    let mut det = 1.0;
    for col in 0..m {
        let pivot = (col..m).fold(col, |best, r| if a[r * m + col].abs() > a[best * m + col].abs() { r } else { best });
        let p = a[pivot * m + col];
        if p == 0.0 {
            return 0.0;
        }
        if pivot != col {
            (0..m).for_each(|j| a.swap(col * m + j, pivot * m + j));
            det = -det;
        }
        det *= p;
        for r in col + 1..m {
            let factor = a[r * m + col] / p;
            for j in col + 1..m {
                a[r * m + j] -= factor * a[col * m + j];
            }
        }
    }
    det
}

impl Op for Det {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() >= 2, || format!("X has rank {}", x.len()))?;
        let (batch, square) = x.split_at(x.len() - 2);
        cx.require_eq("C2", &square[0], &square[1])?;
        cx.output(dtype, batch.to_vec())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let m = x.shape()[x.rank() - 1];
        let mut v = x.floats()?;
        let mut y = vec![1.0; len_elems(&shape)?];
        for (matrix, y) in v.chunks_exact_mut((m * m).max(1)).zip(&mut y) {
            cx.env.check()?;
            *y = determinant(matrix, m);
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }
}

op! {
    Det in "ai.onnx" since [11, 22 brings "bf16"]; "X" => "Y";
    summary: "determinant of square matrices";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn det_exchanges_rows_and_sees_singular_and_empty_matrices() {
        let det = |s: &[usize], v: &[f32]| run1("Det", attrs! {}, &[Tensor::from_slice(s, v)]).unwrap();
        assert_eq!(det(&[2, 2], &[0.0, 2.0, 3.0, 4.0]), Tensor::scalar(-6.0f32));
        assert_eq!(det(&[2, 2], &[1.0, 2.0, 2.0, 4.0]), Tensor::scalar(0.0f32));
        assert_eq!(det(&[2, 0, 0], &[]), Tensor::from_slice(&[2], &[1.0f32, 1.0]));
        let three = [2.0, 0.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0, 4.0];
        assert_eq!(det(&[1, 3, 3], &three), Tensor::from_slice(&[1], &[18.0f32]));
        assert!(det(&[1, 1], &[f32::NAN]).floats().unwrap()[0].is_nan());
    }

    #[test]
    fn det_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("Det", attrs! {}, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[2, 2]).as_deref(), Some("Det.C1"));
        assert_eq!(bad(DType::F32, &[2]).as_deref(), Some("Det.C2"));
        assert_eq!(bad(DType::F32, &[2, 3]).as_deref(), Some("Det.C2"));
    }
}
