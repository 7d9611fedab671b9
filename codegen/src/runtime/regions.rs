//! Boxes and regions of images: non-maximum suppression and region-of-interest pooling.

use super::{Found, Inputs, Kernel, Real, indices, numbers, numbers_mut, operand, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::RoiAlign;
use egret_ir::ops::roi_align::{Region, Taps};
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Result};

/// Region pooling of a call.
pub struct Regions(pub RoiAlign);

/// Samples of a region that are kept from channel to channel; of more, weights are worked out anew for each.
const KEPT: usize = 1 << 16;

impl Regions {
    /// One channel: `kept` are the taps of all cells with where those of each end, where they were not too many.
    fn plane<T: Real>(&self, x: &[T], region: &Region, kept: Option<&(Vec<Taps>, Vec<usize>)>, out: &mut [T]) {
        let weighted = |t: Taps| t.of(|i| x[i].to());
        let largest = self.0.largest;
        match kept {
            Some((taps, ends)) => {
                let starts = std::iter::once(&0).chain(ends);
                for (out, (&start, &end)) in out.iter_mut().zip(starts.zip(ends)) {
                    *out = T::of(region.pooled(largest, taps[start..end].iter().map(|t| weighted(*t))));
                }
            }
            None => {
                for (out, cell) in out.iter_mut().zip(region.taps(self.0.x[3])) {
                    *out = T::of(region.pooled(largest, cell.map(weighted)));
                }
            }
        }
    }

    /// The taps of all cells with where those of each end, where they are not too many.
    fn kept(&self, region: &Region) -> Option<(Vec<Taps>, Vec<usize>)> {
        if region.taken > KEPT {
            return None;
        }
        let mut taps = Vec::with_capacity(region.taken);
        let ends = region.taps(self.0.x[3]).map(|cell| {
            taps.extend(cell);
            taps.len()
        });
        let ends = ends.collect();
        Some((taps, ends))
    }
}

impl Kernel for Regions {
    fn run(&self, x: &Inputs<'_>, y: &mut [&mut [u8]], pool: &ThreadPool) -> Result<()> {
        let c = &self.0;
        let [y] = y else { return Err(Error::bug("region pooling has one result")) };
        let images = indices(DType::I64, operand(x, 2)?)?;
        let [n, channels, h, w] = c.x;
        let cells = c.output[0] * c.output[1];
        with_real!(c.dtype, T, {
            let (v, regions, y) = (numbers::<T>(operand(x, 0)?)?, numbers::<T>(operand(x, 1)?)?, numbers_mut::<T>(y)?);
            for r in 0..c.regions {
                let image = usize::try_from(images[r]).ok().filter(|&i| i < n);
                let image = image.ok_or_else(|| Error::invalid(format!("batch index {} of region {r}", images[r])))?;
                let corners = [0, 1, 2, 3].map(|i| regions[r * 4 + i].to());
                let region = Region::new(c, corners)?;
                let kept = self.kept(&region);
                let out = &mut y[r * channels * cells..(r + 1) * channels * cells];
                // About 4 ns a sample.
                super::fill(pool, out, cells, super::grain(4.0 * region.taken as f64), |first, planes| {
                    for (k, out) in planes.chunks_exact_mut(cells).enumerate() {
                        let at = (image * channels + first + k) * h * w;
                        self.plane(&v[at..at + h * w], &region, kept.as_ref(), out);
                    }
                });
            }
            Ok(())
        })
    }
}

/// Non-maximum suppression of a call.
pub struct Boxes {
    /// Images.
    pub batches: usize,
    /// Classes.
    pub classes: usize,
    /// Boxes of an image.
    pub boxes: usize,
    /// Whether a box is centre and extents.
    pub centered: bool,
}

/// Least and greatest coordinate along two axes, and the area.
#[derive(Clone, Copy)]
struct Span {
    low: [f32; 2],
    high: [f32; 2],
    area: f32,
}

impl Span {
    fn of(v: &[f32], centered: bool) -> Span {
        let order = |x: f32, y: f32| if x <= y { (x, y) } else { (y, x) };
        let [(l0, h0), (l1, h1)] = match centered {
            true => [(v[0] - v[2] / 2.0, v[0] + v[2] / 2.0), (v[1] - v[3] / 2.0, v[1] + v[3] / 2.0)],
            false => [order(v[0], v[2]), order(v[1], v[3])],
        };
        Span { low: [l0, l1], high: [h0, h1], area: (h0 - l0) * (h1 - l1) }
    }

    /// Intersection over union; 0 where there is none.
    fn overlap(&self, b: &Span) -> f32 {
        let side = |k: usize| self.high[k].min(b.high[k]) - self.low[k].max(b.low[k]);
        let (h, w) = (side(0), side(1));
        let union = self.area + b.area - h * w;
        if h <= 0.0 || w <= 0.0 || self.area <= 0.0 || b.area <= 0.0 || union <= 0.0 { 0.0 } else { h * w / union }
    }
}

impl Kernel for Boxes {
    fn run(&self, _x: &Inputs<'_>, _y: &mut [&mut [u8]], _pool: &ThreadPool) -> Result<()> {
        Err(Error::bug("how many boxes are selected depends on data"))
    }

    fn find(&self, x: &Inputs<'_>, limit_bytes: usize) -> Result<Vec<Found>> {
        let (boxes, scores): (&[f32], &[f32]) = (numbers(operand(x, 0)?)?, numbers(operand(x, 1)?)?);
        let scalar = |i: usize| -> Result<Option<f32>> {
            x.get(i)
                .copied()
                .flatten()
                .map(|b| Ok(numbers::<f32>(b)?.first().copied()))
                .transpose()
                .map(Option::flatten)
        };
        let most = match x.get(2).copied().flatten() {
            Some(b) => numbers::<i64>(b)?.first().copied().unwrap_or(0),
            None => 0,
        };
        let (iou, least) = (scalar(3)?.unwrap_or(0.0), scalar(4)?);
        if !(0.0..=1.0).contains(&iou) {
            return Err(Error::violation("C3", format!("`iou_threshold` is {iou}")));
        }
        let n = self.boxes;
        let mut found: Vec<i64> = Vec::new();
        let mut left: Vec<u64> = Vec::with_capacity(n);
        for (batch, class) in (0..self.batches).flat_map(|b| (0..self.classes).map(move |c| (b, c))) {
            let score = &scores[(batch * self.classes + class) * n..][..n];
            // The score's order in the upper half, the index, falling, in the lower one.
            left.clear();
            left.extend((0..n).filter(|&i| least.is_none_or(|l| score[i] > l)).map(|i| {
                let bits = score[i].to_bits();
                let order = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
                u64::from(order) << 32 | u64::from(!(i as u32))
            }));
            left.sort_unstable_by(|a, b| b.cmp(a));
            let mut taken: Vec<Span> = Vec::new();
            for key in &left {
                if taken.len() as i64 >= most {
                    break;
                }
                let i = !(*key as u32) as usize;
                let candidate = Span::of(&boxes[(batch * n + i) * 4..][..4], self.centered);
                if taken.iter().all(|t| candidate.overlap(t) <= iou) {
                    taken.push(candidate);
                    found.extend([batch as i64, class as i64, i as i64]);
                    if found.len() * 8 > limit_bytes {
                        return Err(Error::limit(format!("{} boxes are selected", found.len() / 3)));
                    }
                }
            }
        }
        let bytes = AlignedBytes::copy_of(bytemuck::cast_slice(&found));
        Ok(vec![Found { dtype: DType::I64, shape: vec![found.len() / 3, 3], bytes }])
    }
}
