//! `Y[r, c, ph, pw]`: the greatest element of `X[b, c]` in a cell of region `r`, 0 for an empty cell.
//!
//! `X: T[n, c, h, w]`, `rois: T[r, 5]` (image, x1, y1, x2, y2), `Y: T[r, c, pooled_shape…]`. The region's corners are
//! scaled and rounded (halves away from zero) and both belong to it; it is at least one cell large, and is cut into
//! `pooled_shape` cells whose borders are rounded outwards and clipped to the image.
//!
//! - **C1** `X` and `rois` hold floats of one type
//! - **C2** ranks and extents are those above
//! - **C3** `pooled_shape` has two positive entries, `spatial_scale` is positive
//!
//! Sizes of cells are taken in the type of `X`, as ONNX Runtime does, so that borders fall alike. An image number outside
//! `0..n` is an error. ONNX `MaxRoiPool`: opset 1, 22 (bfloat16).

use super::common::*;
use super::quantized::round_to;
use super::window::numbers;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `MaxRoiPool`.
    pub struct MaxRoiPool {
        /// Rows and columns of a region's result.
        pooled_shape: Vec<Dim>,
        /// From the regions' coordinates to cells of `X`.
        spatial_scale: f32 = 1.0f32,
    }
}

impl Op for MaxRoiPool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", [0, 1])?;
        let (x, rois) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", (x.len(), rois.len()) == (4, 2), || format!("ranks are {} and {}", x.len(), rois.len()))?;
        cx.require_eq("C2", &rois[1], &Dim::int(5))?;
        cx.require("C3", self.spatial_scale > 0.0, || format!("`spatial_scale` is {}", self.spatial_scale))?;
        cx.require("C3", self.pooled_shape.len() == 2, || format!("`pooled_shape` is {:?}", self.pooled_shape))?;
        for d in &self.pooled_shape {
            cx.require_that("C3", Cond::le(&Dim::ONE, d))?;
        }
        let mut shape = vec![rois[0].clone(), x[1].clone()];
        shape.extend(self.pooled_shape.iter().cloned());
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let [n, channels, h, w] = *x.shape() else { return Err(Error::bug("X has rank 4")) };
        let pooled = numbers(&self.pooled_shape)?;
        let (v, rois) = (x.floats()?, cx.tensor(1)?.floats()?);
        let scale = f64::from(self.spatial_scale);
        let mut y = Vec::with_capacity(len_elems(&shape)?);
        for (r, roi) in rois.chunks_exact(5).enumerate() {
            cx.env.check()?;
            let image = Some(roi[0]).filter(|&b| b >= 0.0 && b < n as f64).map(|b| b as usize);
            let image = image.ok_or_else(|| Error::invalid(format!("region {r} is of image {}", roi[0])))?;
            // Cells of an axis: first and past the last, in the image.
            let cells = |first: f64, last: f64, count: usize, extent: usize| -> Vec<(usize, usize)> {
                let (first, last) = (round_to(dtype, first * scale).round(), round_to(dtype, last * scale).round());
                let size = round_to(dtype, (last - first + 1.0).max(1.0) / count as f64);
                let border = |t: f64| (t + first).clamp(0.0, extent as f64) as usize;
                (0..count)
                    .map(|p| {
                        let edge = |p: usize| round_to(dtype, p as f64 * size);
                        (border(edge(p).floor()), border(edge(p + 1).ceil()))
                    })
                    .collect()
            };
            let (rows, cols) = (cells(roi[2], roi[4], pooled[0], h), cells(roi[1], roi[3], pooled[1], w));
            for c in 0..channels {
                let plane = &v[(image * channels + c) * h * w..][..h * w];
                for &(r0, r1) in &rows {
                    for &(c0, c1) in &cols {
                        let cell = (r0..r1).flat_map(|r| (c0..c1).map(move |c| plane[r * w + c]));
                        y.push(cell.reduce(super::pointwise::max).unwrap_or(0.0));
                    }
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { jumps: true, ..Facts::MOVES }
    }
}

op! {
    MaxRoiPool in "ai.onnx" since [1, 22 brings "bf16"]; "X, rois" => "Y";
    summary: "greatest elements of regions, pooled to a fixed grid";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @max_roi_pool([[[[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]]], [[0.0, 0.0, 0.0, 2.0, 1.0]]) == [[[[6.0, 5.0]]]]
graph @max_roi_pool(%a: f32[1, 1, 2, 3], %b: f32[1, 5]) -> f32[1, 1, 1, 2] {
  %y = max_roi_pool %a, %b {pooled_shape = [1, 2]} : f32[1, 1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn max_roi_pool_takes_regions_apart() {
        let x = Tensor::from_slice(&[1, 1, 2, 3], &[1.0f32, 2.0, 3.0, 6.0, 5.0, 4.0]);
        let pool = |roi: [f32; 5]| {
            let a = attrs! { pooled_shape: vec![1i64, 2] };
            run1("MaxRoiPool", a, &[x.clone(), Tensor::from_slice(&[1, 5], &roi)])
        };
        assert_eq!(pool([0.0, 0.0, 0.0, 2.0, 1.0]).unwrap().floats().unwrap(), [6.0, 5.0]);
        assert_eq!(pool([0.0, 2.0, 0.0, 5.0, 0.0]).unwrap().floats().unwrap(), [3.0, 0.0]);
        assert!(pool([1.0, 0.0, 0.0, 1.0, 1.0]).is_err());
        assert!(pool([f32::NAN, 0.0, 0.0, 1.0, 1.0]).is_err());
    }

    #[test]
    fn max_roi_pool_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |p: Vec<i64>, t: &[Type]| violated("MaxRoiPool", attrs! { pooled_shape: p }, t);
        let (x, rois) = (f(&[1, 1, 2, 2]), f(&[3, 5]));
        let half = Type::tensor(DType::F16, &[3, 5]);
        assert_eq!(bad(vec![1, 1], &[x.clone(), half]).as_deref(), Some("MaxRoiPool.C1"));
        assert_eq!(bad(vec![1, 1], &[x.clone(), f(&[3, 4])]).as_deref(), Some("MaxRoiPool.C2"));
        assert_eq!(bad(vec![1], &[x.clone(), rois.clone()]).as_deref(), Some("MaxRoiPool.C3"));
        assert_eq!(bad(vec![0, 1], &[x, rois]).as_deref(), Some("MaxRoiPool.C3"));
    }
}
