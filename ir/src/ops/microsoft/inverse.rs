//! `Y[b…]`: the inverse of each square matrix `X[b…, :, :]`.
//!
//! - **C1** `X` holds floats
//! - **C2** `X` has rank 2 or more, and its last two extents are equal
//!
//! By elimination with row exchanges (the largest pivot of each column), in `f64`, rounded once. A matrix without an
//! inverse is an error. ONNX Runtime `com.microsoft::Inverse`, version 1.

use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::ops::common::*;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Inverse` has no attributes.
    pub struct Inverse {}
}

/// Inverse of an `m` by `m` matrix, which is destroyed; none where a column has no pivot.
fn inverse(a: &mut [f64], m: usize) -> Option<Vec<f64>> {
    let mut y = vec![0.0; m * m];
    (0..m).for_each(|i| y[i * m + i] = 1.0);
    for col in 0..m {
        let pivot = (col..m).fold(col, |best, r| if a[r * m + col].abs() > a[best * m + col].abs() { r } else { best });
        for j in 0..m {
            a.swap(col * m + j, pivot * m + j);
            y.swap(col * m + j, pivot * m + j);
        }
        let p = a[col * m + col];
        if p == 0.0 {
            return None;
        }
        for j in 0..m {
            a[col * m + j] /= p;
            y[col * m + j] /= p;
        }
        for r in (0..m).filter(|&r| r != col) {
            let factor = a[r * m + col];
            for j in 0..m {
                a[r * m + j] -= factor * a[col * m + j];
                y[r * m + j] -= factor * y[col * m + j];
            }
        }
    }
    Some(y)
}

impl Op for Inverse {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() >= 2, || format!("X has rank {}", x.len()))?;
        cx.require_eq("C2", &x[x.len() - 2], &x[x.len() - 1])?;
        cx.output(dtype, x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let m = x.shape()[x.rank() - 1];
        let mut v = x.floats()?;
        let mut y = Vec::with_capacity(v.len());
        for (i, matrix) in v.chunks_exact_mut((m * m).max(1)).enumerate() {
            cx.env.check()?;
            y.extend(inverse(matrix, m).ok_or_else(|| Error::invalid(format!("matrix {i} has no inverse")))?);
        }
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), y));
        Ok(())
    }
}

op! {
    Inverse in "com.microsoft" since [1]; "X" => "Y";
    summary: "inverse of square matrices";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::{call, check, label};
    use super::*;

    #[test]
    fn inverse_exchanges_rows_and_refuses_singular_matrices() {
        let x = |v: &[f32]| Tensor::from_slice(&[1, 2, 2], v);
        check("Inverse", attrs! {}, &[x(&[0.0, 2.0, 4.0, 0.0])], &[0.0, 0.25, 0.5, 0.0]);
        assert!(call("Inverse", attrs! {}, &[Some(x(&[1.0, 2.0, 2.0, 4.0]))]).is_err());
    }

    #[test]
    fn inverse_constraints_are_named() {
        let bad = |t| label("Inverse", attrs! {}, &[Some(t)]);
        assert_eq!(bad(Tensor::from_slice(&[1, 1], &[1i32])).as_deref(), Some("Inverse.C1"));
        assert_eq!(bad(Tensor::from_slice(&[1], &[1.0f32])).as_deref(), Some("Inverse.C2"));
        assert_eq!(bad(Tensor::from_slice(&[1, 2], &[1.0f32, 2.0])).as_deref(), Some("Inverse.C2"));
    }
}
