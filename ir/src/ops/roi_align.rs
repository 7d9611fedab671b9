//! `Y[r, c, ph, pw]`: the mean (or greatest) of bilinear samples of `X[batch_indices[r], c]` in a cell of region `r`.
//!
//! `X: T[n, c, h, w]`, `rois: T[r, 4]` (x1, y1, x2, y2), `batch_indices: i64[r]`, `Y: T[r, c, output_height, output_width]`.
//!
//! - **C1** `X` and `rois` hold floats of one type, `batch_indices` is `i64`
//! - **C2** ranks and extents are those above
//! - **C3** the modes are known, output extents positive, `sampling_ratio` not negative
//!
//! With `sampling_ratio` 0 there are `ceil(region / output)` samples along an axis. ONNX `RoiAlign`: opset 10
//! (`output_half_pixel`), 16, 22.

use super::common::*;
use super::window::number;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::library::{self, Library};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `RoiAlign`.
    pub struct RoiAlign {
        /// `half_pixel` or `output_half_pixel`.
        coordinate_transformation_mode: String = "half_pixel",
        /// `avg` or `max`.
        mode: String = "avg",
        /// Rows of a region's result.
        output_height: Dim = Dim::ONE,
        /// Columns of a region's result.
        output_width: Dim = Dim::ONE,
        /// Samples along an axis of a cell; 0 chooses.
        sampling_ratio: i64 = 0i64,
        /// From the regions' coordinates to cells of `X`.
        spatial_scale: f32 = 1.0f32,
    }
}

/// Samples of one region that are taken at most.
const MAX_SAMPLES: f64 = (1u64 << 28) as f64;

/// Cells of `x` and weights for a bilinear sample at `(y, x)`; nothing far outside.
fn bilinear(y: f64, x: f64, h: usize, w: usize) -> Vec<(usize, f64)> {
    if !(y >= -1.0 && y <= h as f64 && x >= -1.0 && x <= w as f64) || h == 0 || w == 0 {
        return vec![];
    }
    let place = |t: f64, n: usize| {
        let t = t.max(0.0);
        let low = t as usize;
        if low + 1 >= n { (n - 1, n - 1, 0.0) } else { (low, low + 1, t - low as f64) }
    };
    let ((y0, y1, ly), (x0, x1, lx)) = (place(y, h), place(x, w));
    vec![
        (y0 * w + x0, (1.0 - ly) * (1.0 - lx)),
        (y0 * w + x1, (1.0 - ly) * lx),
        (y1 * w + x0, ly * (1.0 - lx)),
        (y1 * w + x1, ly * lx),
    ]
}

impl Op for RoiAlign {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", [0, 1])?;
        cx.require_dtype("C1", 2, &[DType::I64])?;
        let (x, rois, batch) = (cx.shape(0)?, cx.shape(1)?, cx.shape(2)?);
        cx.require("C2", (x.len(), rois.len(), batch.len()) == (4, 2, 1), || "ranks must be 4, 2 and 1".into())?;
        cx.require_eq("C2", &rois[1], &Dim::int(4))?;
        cx.require_eq("C2", &rois[0], &batch[0])?;
        let known = matches!(self.mode.as_str(), "avg" | "max")
            && matches!(self.coordinate_transformation_mode.as_str(), "half_pixel" | "output_half_pixel");
        cx.require("C3", known && self.sampling_ratio >= 0, || format!("{self:?}"))?;
        cx.require_that("C3", Cond::le(&Dim::ONE, &self.output_height))?;
        cx.require_that("C3", Cond::le(&Dim::ONE, &self.output_width))?;
        cx.output(dtype, vec![batch[0].clone(), x[1].clone(), self.output_height.clone(), self.output_width.clone()])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let (channels, h, w) = (x.shape()[1], x.shape()[2], x.shape()[3]);
        let (oh, ow) = (number(&self.output_height)?, number(&self.output_width)?);
        let (v, rois, batch) = (x.floats()?, cx.tensor(1)?.floats()?, cx.tensor(2)?.to_i64s()?);
        let half = self.coordinate_transformation_mode == "half_pixel";
        let mut y = vec![0.0; shape.iter().product()];
        for (r, &image) in batch.iter().enumerate() {
            let image = usize::try_from(image).ok().filter(|&i| i < x.shape()[0]);
            let image = image.ok_or_else(|| Error::invalid(format!("batch index {} of region {r}", batch[r])))?;
            let at = |i: usize| rois[r * 4 + i] * f64::from(self.spatial_scale) - if half { 0.5 } else { 0.0 };
            let (x0, y0) = (at(0), at(1));
            let (mut rw, mut rh) = (at(2) - x0, at(3) - y0);
            if !half {
                (rw, rh) = (rw.max(1.0), rh.max(1.0));
            }
            let (bh, bw) = (rh / oh as f64, rw / ow as f64);
            let samples =
                |bin: f64| if self.sampling_ratio > 0 { self.sampling_ratio as f64 } else { bin.ceil().max(0.0) };
            let (gh, gw) = (samples(bh), samples(bw));
            if gh * gw * (oh * ow) as f64 > MAX_SAMPLES {
                return Err(Error::limit(format!("region {r} has {gh} x {gw} samples a cell")));
            }
            let (gh, gw) = (gh as usize, gw as usize);
            for (ph, pw) in (0..oh).flat_map(|ph| (0..ow).map(move |pw| (ph, pw))) {
                let taps: Vec<Vec<(usize, f64)>> = (0..gh * gw)
                    .map(|s| {
                        let yy = y0 + ph as f64 * bh + ((s / gw) as f64 + 0.5) * bh / gh as f64;
                        let xx = x0 + pw as f64 * bw + ((s % gw) as f64 + 0.5) * bw / gw as f64;
                        bilinear(yy, xx, h, w)
                    })
                    .collect();
                for c in 0..channels {
                    let plane = (image * channels + c) * h * w;
                    let products =
                        |t: &Vec<(usize, f64)>| t.iter().map(|&(i, k)| v[plane + i] * k).collect::<Vec<f64>>();
                    y[((r * channels + c) * oh + ph) * ow + pw] = if self.mode == "avg" {
                        taps.iter().flat_map(products).sum::<f64>() / (gh * gw).max(1) as f64
                    } else {
                        let best = |t: &Vec<(usize, f64)>| products(t).into_iter().reduce(f64::max).unwrap_or(0.0);
                        taps.iter().map(best).reduce(f64::max).unwrap_or(0.0)
                    };
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let (x, half) = (cx.shape(0), self.coordinate_transformation_mode == "half_pixel");
        if !library::is_real(dtype) {
            return Ok(Lowering::Host);
        }
        Ok(Lowering::Library(Library::RoiAlign(library::RoiAlign {
            dtype,
            x: [x[0], x[1], x[2], x[3]],
            regions: shape[0],
            output: [shape[2], shape[3]],
            samples: self.sampling_ratio as usize,
            scale: self.spatial_scale.into(),
            offset: if half { 0.5 } else { 0.0 },
            at_least_one: !half,
            largest: self.mode == "max",
        })))
    }
}

/// Opset 10 had no offset of half a cell at the input.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 16 {
        cx.attrs.insert("coordinate_transformation_mode".into(), Attr::from("output_half_pixel"));
    }
    Ok(())
}

op! {
    RoiAlign in "ai.onnx" since [10, 16, 22]; "X, rois, batch_indices" => "Y";
    summary: "bilinear samples of regions, pooled to a fixed grid";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @roi_align([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]], [[0.0, 0.0, 2.0, 2.0]], [0]) == [[[[2.5, 3.5]]]]
graph @roi_align(%a: f32[1, 1, 3, 3], %b: f32[1, 4], %c: i64[1]) -> f32[1, 1, 1, 2] {
  %y = roi_align %a, %b, %c {output_width = 2, sampling_ratio = 1} : f32[1, 1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn roi_align_averages_a_region_and_checks_the_batch() {
        let x = Tensor::from_slice(&[1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
        let rois = Tensor::from_slice(&[1, 4], &[0.0f32, 0.0, 2.0, 2.0]);
        let run = |b: i64| run1("RoiAlign", attrs! {}, &[x.clone(), rois.clone(), Tensor::from_slice(&[1], &[b])]);
        assert_eq!(run(0).unwrap().floats().unwrap(), [2.5]);
        assert!(run(1).is_err());
    }

    #[test]
    fn roi_align_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let b = Type::tensor(DType::I64, &[1]);
        let bad = |a, t: &[Type]| violated("RoiAlign", a, t);
        assert_eq!(bad(attrs! {}, &[f(&[1, 1, 1, 1]), f(&[1, 4]), f(&[1])]).as_deref(), Some("RoiAlign.C1"));
        assert_eq!(bad(attrs! {}, &[f(&[1, 1, 1, 1]), f(&[1, 5]), b.clone()]).as_deref(), Some("RoiAlign.C2"));
        assert_eq!(bad(attrs! { mode: "x" }, &[f(&[1, 1, 1, 1]), f(&[1, 4]), b]).as_deref(), Some("RoiAlign.C3"));
    }
}
