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

/// Samples of one region on the image that are taken at most.
const MAX_SAMPLES: f64 = (1u64 << 28) as f64;
/// Places of samples along an axis that are looked at, at most.
const MAX_PLACES: usize = 1 << 24;
/// Samples of a cell are counted exactly up to here.
const MAX_COUNT: f64 = (1u64 << 52) as f64;

/// A sample along an axis: the entries below and above it, and the weight of the upper.
pub type Place = (usize, usize, f64);

/// The samples of one region along one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Along {
    /// Of each cell of the result, the samples on the image: at most 1 outside of it.
    pub cells: Vec<Vec<Place>>,
    /// Samples of each cell, wherever they lie.
    pub each: f64,
}

impl Along {
    /// Samples of `cells` cells that divide `length` from `start` on an axis of `extent` entries: so many for each, or where
    /// `samples` is 0 as many as the cell is long. The time depends on those on the image alone.
    ///
    /// # Errors
    /// When there are too many.
    pub fn new(start: f64, length: f64, cells: usize, samples: usize, extent: usize) -> Result<Along> {
        let bin = length / cells as f64;
        let each = if samples > 0 { samples as f64 } else { bin.ceil().max(0.0) };
        let too_many = || Error::limit(format!("a region of length {length} has {each} samples a cell"));
        if each > MAX_COUNT {
            return Err(too_many());
        }
        let mut left = MAX_PLACES;
        let mut all = Vec::new();
        for cell in 0..cells {
            let first = start + cell as f64 * bin;
            let at = |i: f64| first + (i + 0.5) * bin / each;
            // The samples whose places are -1 and `extent`, and some around them for what rounding does to places.
            let of = |place: f64| (place - first) * each / bin - 0.5;
            let (p, q) = (of(-1.0), of(extent as f64));
            let slack = 2.0 + 1e-15 * p.abs().max(q.abs());
            let known = p.is_finite() && q.is_finite();
            let low = if known { (p.min(q) - slack).floor().clamp(0.0, each) } else { 0.0 };
            let high = if known { (p.max(q) + slack).ceil().clamp(0.0, each) } else { each };
            left = left.checked_sub((high - low) as usize).ok_or_else(too_many)?;
            let samples = (low as u64..high as u64).map(|i| at(i as f64));
            all.push(samples.filter_map(|t| Self::place(t, extent)).collect());
        }
        Ok(Along { cells: all, each })
    }

    fn place(t: f64, extent: usize) -> Option<Place> {
        if !(t >= -1.0 && t <= extent as f64) || extent == 0 {
            return None;
        }
        let t = t.max(0.0);
        let low = t as usize;
        Some(if low + 1 >= extent { (extent - 1, extent - 1, 0.0) } else { (low, low + 1, t - low as f64) })
    }
}

/// The samples of one region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// By row of the result.
    pub rows: Along,
    /// By column.
    pub columns: Along,
    /// Samples on the image, of all cells.
    pub taken: usize,
}

impl Region {
    /// The samples of the region with these corners: `x` and `y` of the one, `x` and `y` of the other.
    ///
    /// # Errors
    /// When there are too many.
    pub fn new(c: &library::RoiAlign, corners: [f64; 4]) -> Result<Region> {
        let [x0, y0, x1, y1] = corners.map(|t| t * c.scale - c.offset);
        let least = if c.at_least_one { 1.0 } else { f64::NEG_INFINITY };
        let rows = Along::new(y0, (y1 - y0).max(least), c.output[0], c.samples, c.x[2])?;
        let columns = Along::new(x0, (x1 - x0).max(least), c.output[1], c.samples, c.x[3])?;
        let of = |a: &Along| a.cells.iter().map(|c| c.len() as f64).sum::<f64>();
        let taken = of(&rows) * of(&columns);
        if taken > MAX_SAMPLES {
            return Err(Error::limit(format!("a region has {taken} samples on the image")));
        }
        Ok(Region { rows, columns, taken: taken as usize })
    }

    /// The samples on the image of each cell, row by row: entries of an image with rows of `w` entries, and their weights.
    pub fn taps(&self, w: usize) -> impl Iterator<Item = impl Iterator<Item = Taps>> {
        let cells = self.rows.cells.iter().flat_map(|r| self.columns.cells.iter().map(move |c| (r, c)));
        cells.map(move |(rows, columns)| {
            rows.iter().flat_map(move |&r| columns.iter().map(move |&c| Taps::new(r, c, w)))
        })
    }

    /// A cell's value from the weighted entries of its samples on the image: their mean, or the largest, where a sample
    /// elsewhere counts 0.
    #[inline]
    pub fn pooled(&self, largest: bool, samples: impl Iterator<Item = [f64; 4]>) -> f64 {
        let each = self.rows.each * self.columns.each;
        if !largest {
            return samples.map(|[a, b, c, d]| a + b + c + d).sum::<f64>() / each.max(1.0);
        }
        let (mut n, mut best) = (0usize, f64::NAN);
        for sample in samples {
            n += 1;
            best = best.max(sample.into_iter().fold(f64::NAN, f64::max));
        }
        match (n as f64) < each {
            true => best.max(0.0),
            false if n == 0 => 0.0,
            false => best,
        }
    }
}

/// Four entries of an image with their weights in a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taps {
    entries: [usize; 4],
    weights: [f64; 4],
}

impl Taps {
    fn new((y0, y1, ly): Place, (x0, x1, lx): Place, w: usize) -> Taps {
        Taps {
            entries: [y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1],
            weights: [(1.0 - ly) * (1.0 - lx), (1.0 - ly) * lx, ly * (1.0 - lx), ly * lx],
        }
    }

    /// The weighted entries; `x` gives those of the image.
    #[inline]
    pub fn of(&self, x: impl Fn(usize) -> f64) -> [f64; 4] {
        let ([a, b, c, d], [p, q, r, s]) = (self.entries, self.weights);
        [x(a) * p, x(b) * q, x(c) * r, x(d) * s]
    }
}

impl RoiAlign {
    /// What is pooled of operand 0 with extents `x`, for `regions` regions.
    fn described(&self, dtype: DType, x: &[usize], y: &[usize]) -> library::RoiAlign {
        let half = self.coordinate_transformation_mode == "half_pixel";
        library::RoiAlign {
            dtype,
            x: [x[0], x[1], x[2], x[3]],
            regions: y[0],
            output: [y[2], y[3]],
            samples: self.sampling_ratio as usize,
            scale: self.spatial_scale.into(),
            offset: if half { 0.5 } else { 0.0 },
            at_least_one: !half,
            largest: self.mode == "max",
        }
    }
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
        let c = self.described(dtype, x.shape(), &shape);
        let (plane, channels, cells) = (c.x[2] * c.x[3], c.x[1], c.output[0] * c.output[1]);
        let (v, rois, batch) = (x.floats()?, cx.tensor(1)?.floats()?, cx.tensor(2)?.to_i64s()?);
        let mut y = vec![0.0; shape.iter().product()];
        for (r, &image) in batch.iter().enumerate() {
            let image = usize::try_from(image).ok().filter(|&i| i < c.x[0]);
            let image = image.ok_or_else(|| Error::invalid(format!("batch index {} of region {r}", batch[r])))?;
            let region = Region::new(&c, [0, 1, 2, 3].map(|i| rois[r * 4 + i]))?;
            for k in 0..channels {
                let x = &v[(image * channels + k) * plane..][..plane];
                let out = &mut y[(r * channels + k) * cells..][..cells];
                for (out, cell) in out.iter_mut().zip(region.taps(c.x[3])) {
                    *out = region.pooled(c.largest, cell.map(|t| t.of(|i| x[i])));
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = &cx.outputs[0];
        if !library::is_real(*dtype) {
            return Ok(Lowering::Host);
        }
        Ok(Lowering::Library(Library::RoiAlign(self.described(*dtype, cx.shape(0), shape))))
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
    RoiAlign in "ai.onnx" since [10, 16, 22 brings "bf16"];
    "X, rois, batch_indices" => "Y";
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
    fn samples_on_the_image_are_those_of_all_that_lie_there() {
        let starts = [-7.5, -1.0, 0.0, 0.25, 3.0, 12.0];
        let lengths = [-4.0, 0.0, 0.5, 1.0, 3.0, 40.0];
        let all = starts.iter().flat_map(|s| lengths.iter().map(move |l| (*s, *l)));
        for ((start, length), (cells, samples, extent)) in
            all.flat_map(|a| [(1, 0, 4), (3, 0, 5), (2, 3, 1), (2, 1, 0)].map(|b| (a, b)))
        {
            let along = Along::new(start, length, cells, samples, extent).unwrap();
            let bin = length / cells as f64;
            for (cell, have) in along.cells.iter().enumerate() {
                let at = |i: usize| start + cell as f64 * bin + (i as f64 + 0.5) * bin / along.each;
                let want: Vec<Place> = (0..along.each as usize).filter_map(|i| Along::place(at(i), extent)).collect();
                assert_eq!(*have, want, "{start} {length} {cells} {samples} {extent}");
            }
        }
    }

    #[test]
    fn regions_far_larger_than_the_image_take_no_time_and_those_without_end_are_refused() {
        let x = Tensor::from_slice(&[1, 1, 2, 2], &[1.0f32; 4]);
        let run = |far: f32| {
            let rois = Tensor::from_slice(&[1, 4], &[-far, -far, far, far]);
            run1("RoiAlign", attrs! {}, &[x.clone(), rois, Tensor::from_slice(&[1], &[0i64])])
        };
        let mean = run(1e5).unwrap().floats().unwrap()[0];
        assert!(mean > 0.0 && mean < 1e-9, "{mean}");
        assert!(run(1e30).is_err());
        assert!(run(f32::INFINITY).is_err());
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
