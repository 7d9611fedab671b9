//! Boxes and regions of images: non-maximum suppression and region-of-interest pooling.

use super::{Found, Inputs, Kernel, Real, indices, numbers, numbers_mut, operand, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::RoiAlign;
use egret_ir::ops::roi_align::Along;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Result};

/// Region pooling of a call.
pub struct Regions(pub RoiAlign);

/// Where the samples of a region lie.
struct Samples {
    rows: Along,
    columns: Along,
    each: f64,
}

impl Samples {
    /// Samples on the image.
    fn taken(&self) -> usize {
        let of = |a: &Along| a.cells.iter().map(Vec::len).sum::<usize>();
        of(&self.rows) * of(&self.columns)
    }
}

impl Regions {
    fn samples<T: Real>(&self, region: &[T]) -> Result<Samples> {
        let c = &self.0;
        let at = |i: usize| region[i].to() * c.scale - c.offset;
        let (x0, y0) = (at(0), at(1));
        let (mut rw, mut rh) = (at(2) - x0, at(3) - y0);
        if c.at_least_one {
            (rw, rh) = (rw.max(1.0), rh.max(1.0));
        }
        let rows = Along::new(y0, rh, c.output[0], c.samples, c.x[2])?;
        let columns = Along::new(x0, rw, c.output[1], c.samples, c.x[3])?;
        let each = Along::samples(&rows, &columns)?;
        Ok(Samples { rows, columns, each })
    }

    fn plane<T: Real>(&self, x: &[T], samples: &Samples, out: &mut [T]) {
        let w = self.0.x[3];
        let cells = samples.rows.cells.iter().flat_map(|r| samples.columns.cells.iter().map(move |c| (r, c)));
        for ((rows, columns), out) in cells.zip(out) {
            // Weighted entries around each sample.
            let taken = rows.iter().flat_map(|&(y0, y1, ly)| {
                let (upper, lower) = (&x[y0 * w..][..w], &x[y1 * w..][..w]);
                columns.iter().map(move |&(x0, x1, lx)| {
                    let near = [upper[x0], upper[x1], lower[x0], lower[x1]].map(Real::to);
                    let weights = [(1.0 - ly) * (1.0 - lx), (1.0 - ly) * lx, ly * (1.0 - lx), ly * lx];
                    [0, 1, 2, 3].map(|k| near[k] * weights[k])
                })
            });
            *out = T::of(if self.0.largest {
                // Of each sample the largest; one elsewhere counts 0.
                let best = taken.map(|p| p.into_iter().fold(f64::NAN, f64::max)).reduce(f64::max);
                let outside = samples.each > (rows.len() * columns.len()) as f64;
                best.map_or(0.0, |b| if outside { b.max(0.0) } else { b })
            } else {
                taken.map(|p| p.into_iter().sum::<f64>()).sum::<f64>() / samples.each.max(1.0)
            });
        }
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
                let samples = self.samples(&regions[r * 4..r * 4 + 4])?;
                let out = &mut y[r * channels * cells..(r + 1) * channels * cells];
                // About 4 ns a sample.
                super::fill(pool, out, cells, super::grain(4.0 * samples.taken() as f64), |first, planes| {
                    for (k, out) in planes.chunks_exact_mut(cells).enumerate() {
                        let at = (image * channels + first + k) * h * w;
                        self.plane(&v[at..at + h * w], &samples, out);
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
