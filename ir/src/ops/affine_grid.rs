//! `grid[n, o] = theta[n] (o, 1)`: the grid of normalised coordinates that an affine map makes, for `GridSample`.
//!
//! `theta: T[n, d, d + 1]`, `size: i64[d + 2]` is `n, c, spatial…` with `d` 2 or 3, `grid: T[n, spatial…, d]`.
//!
//! - **C1** `theta` holds floats, `size` is `i64` of rank 1
//! - **C2** `theta` has rank 3, its extents are `d` and `d + 1`, `size` has `d + 2` elements, `d` is 2 or 3
//! - **C3** the batch of `size` is that of `theta`
//!
//! With `align_corners` -1 and 1 are the centres of the outer cells (a single cell is at -1), else their edges. ONNX
//! `AffineGrid`: opset 20.

use super::common::*;
use super::lowering::{Loops, TensorId};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `AffineGrid`.
    pub struct AffineGrid {
        /// Whether -1 and 1 are centres of the outer cells instead of their edges.
        align_corners: bool = false,
    }
}

impl AffineGrid {
    /// Coordinate of cell `i` of `n`.
    fn place(&self, i: usize, n: usize) -> f64 {
        match self.align_corners {
            true if n == 1 => -1.0,
            true => 2.0 * i as f64 / (n as f64 - 1.0) - 1.0,
            false => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
        }
    }
}

impl Op for AffineGrid {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let theta = cx.shape(0)?;
        cx.require("C2", theta.len() == 3, || format!("`theta` has rank {}", theta.len()))?;
        let d = cx.len_of(1)?.wrapping_sub(2);
        cx.require("C2", d == 2 || d == 3, || "`size` must have 4 or 5 elements".into())?;
        cx.require_eq("C2", &theta[1], &Dim::from(d))?;
        cx.require_eq("C2", &theta[2], &Dim::from(d + 1))?;
        let mut shape = vec![theta[0].clone()];
        match cx.values(1)? {
            Some(size) => {
                cx.require_eq("C3", &size[0], &theta[0])?;
                shape.extend_from_slice(&size[2..]);
            }
            None => shape.extend((0..d).map(|_| cx.fresh())),
        }
        shape.push(Dim::from(d));
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let theta = cx.tensor(0)?.floats()?;
        let (dtype, shape) = cx.out(0)?;
        if shape.contains(&0) {
            cx.push(Tensor::zeros(dtype, &shape)?);
            return Ok(());
        }
        let d = shape.len() - 2;
        let dims = &shape[1..=d];
        let mut y = Vec::with_capacity(shape.iter().product());
        for n in 0..shape[0] {
            for index in indices(dims) {
                // Coordinates stand innermost axis first.
                let at: Vec<f64> = (0..d).rev().map(|a| self.place(index[a], dims[a])).collect();
                for row in theta[n * d * (d + 1)..].chunks(d + 1).take(d) {
                    y.push(row.iter().zip(&at).map(|(t, x)| t * x).sum::<f64>() + row[d]);
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        if shape.contains(&0) {
            // Other extents may be beyond any table.
            return Ok(Lowering::Host);
        }
        let d = shape.len() - 2;
        let mut l = Loops::new(cx);
        let theta = l.x(0);
        // Places along each axis, in f64 as evaluation has them.
        let places: Vec<TensorId> = shape[1..=d]
            .iter()
            .map(|&n| {
                let v: Vec<f64> = (0..n).map(|i| self.place(i, n)).collect();
                l.table(Tensor::from_slice(&[n], &v))
            })
            .collect();
        l.result(|c, i| {
            let (n, row) = (i[0], i[d + 1]);
            let at = c.idx(d as i64);
            let offset = c.load(theta, &[n, row, at]);
            let mut sum = c.cast(offset, DType::F64);
            // Coordinates stand innermost axis first.
            for (k, a) in (0..d).rev().enumerate() {
                let col = c.idx(k as i64);
                let (t, x) = (c.load(theta, &[n, row, col]), c.load(places[a], &[i[1 + a]]));
                let t = c.cast(t, DType::F64);
                let product = c.mul(t, x);
                sum = c.add(sum, product);
            }
            c.cast(sum, dtype)
        })
    }
}

op! {
    AffineGrid in "ai.onnx" since [20]; "theta, size" => "grid";
    summary: "grid of normalised coordinates of an affine map";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @affine_grid([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]], [1, 1, 2, 2]) == f32[1, 2, 2, 2] [[[[0.0, -0.5], [1.0, -0.5]], [[0.0, 0.5], [1.0, 0.5]]]]
graph @affine_grid(%a: f32[1, 2, 3], %b: i64[4]) -> f32[1, u1, u2, 2] {
  %y = affine_grid %a, %b : f32[1, u1, u2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn affine_grid_of_the_identity() {
        let theta = Tensor::from_slice(&[1, 2, 3], &[1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let size = Tensor::from_slice(&[4], &[1i64, 1, 1, 2]);
        let y = run1("AffineGrid", attrs! {}, &[theta, size]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 2, 2], &[-0.5f32, 0.0, 0.5, 0.0]));
    }

    #[test]
    fn affine_grid_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let size = |n| Type::tensor(DType::I64, &[n]);
        let bad = |t: Type, s: Type| violated("AffineGrid", attrs! {}, &[t, s]);
        assert_eq!(bad(Type::tensor(DType::I32, &[1, 2, 3]), size(4)).as_deref(), Some("AffineGrid.C1"));
        assert_eq!(bad(f(&[1, 2, 3]), size(5)).as_deref(), Some("AffineGrid.C2"));
        let theta = Tensor::from_slice(&[1, 2, 3], &[0.0f32; 6]);
        let e = run1("AffineGrid", attrs! {}, &[theta, Tensor::from_slice(&[4], &[2i64, 1, 1, 2])]).unwrap_err();
        assert_eq!(e.label(), Some("AffineGrid.C3"));
    }
}
