//! Boxes and regions of images: non-maximum suppression and region-of-interest pooling.

use super::{Found, Inputs, Kernel, Real, indices, numbers, numbers_mut, operand, with_real};
use crate::pool::ThreadPool;
use egret_ir::library::RoiAlign;
use egret_ir::tensor::AlignedBytes;
use egret_ir::{DType, Error, Result};

/// Samples of one region that are taken at most.
const MAX_SAMPLES: f64 = (1u64 << 28) as f64;

/// Region pooling of a call.
pub struct Regions(pub RoiAlign);

/// A bilinear sample: four cells with their weights; nothing far outside.
#[derive(Clone, Copy)]
struct Sample {
    cells: [usize; 4],
    weights: [f64; 4],
}

fn sample(y: f64, x: f64, h: usize, w: usize) -> Option<Sample> {
    if !(y >= -1.0 && y <= h as f64 && x >= -1.0 && x <= w as f64) || h == 0 || w == 0 {
        return None;
    }
    let place = |t: f64, n: usize| {
        let t = t.max(0.0);
        let low = t as usize;
        if low + 1 >= n { (n - 1, n - 1, 0.0) } else { (low, low + 1, t - low as f64) }
    };
    let ((y0, y1, ly), (x0, x1, lx)) = (place(y, h), place(x, w));
    Some(Sample {
        cells: [y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1],
        weights: [(1.0 - ly) * (1.0 - lx), (1.0 - ly) * lx, ly * (1.0 - lx), ly * lx],
    })
}

impl Regions {
    /// The samples of one region, `per_cell` a cell of its result.
    fn samples<T: Real>(&self, region: &[T]) -> Result<(Vec<Option<Sample>>, usize)> {
        let c = &self.0;
        let [oh, ow] = c.output;
        let at = |i: usize| region[i].to() * c.scale - c.offset;
        let (x0, y0) = (at(0), at(1));
        let (mut rw, mut rh) = (at(2) - x0, at(3) - y0);
        if c.at_least_one {
            (rw, rh) = (rw.max(1.0), rh.max(1.0));
        }
        let (bh, bw) = (rh / oh as f64, rw / ow as f64);
        let along = |bin: f64| if c.samples > 0 { c.samples as f64 } else { bin.ceil().max(0.0) };
        let (gh, gw) = (along(bh), along(bw));
        if gh * gw * (oh * ow) as f64 > MAX_SAMPLES {
            return Err(Error::limit(format!("a region has {gh} x {gw} samples a cell")));
        }
        let (gh, gw) = (gh as usize, gw as usize);
        let mut all = Vec::with_capacity(gh * gw * oh * ow);
        for (ph, pw) in (0..oh).flat_map(|ph| (0..ow).map(move |pw| (ph, pw))) {
            for (i, j) in (0..gh).flat_map(|i| (0..gw).map(move |j| (i, j))) {
                let yy = y0 + ph as f64 * bh + (i as f64 + 0.5) * bh / gh as f64;
                let xx = x0 + pw as f64 * bw + (j as f64 + 0.5) * bw / gw as f64;
                all.push(sample(yy, xx, c.x[2], c.x[3]));
            }
        }
        Ok((all, gh * gw))
    }

    fn plane<T: Real>(&self, x: &[T], samples: &[Option<Sample>], per_cell: usize, out: &mut [T]) {
        for (cell, out) in out.iter_mut().enumerate() {
            let of_cell = samples[cell * per_cell..(cell + 1) * per_cell].iter().flatten();
            *out = T::of(if self.0.largest {
                // Of each sample the largest weighted cell; one outside counts 0.
                let outside = samples[cell * per_cell..(cell + 1) * per_cell].iter().any(Option::is_none);
                let best = of_cell
                    .map(|s| (0..4).map(|k| x[s.cells[k]].to() * s.weights[k]).reduce(f64::max).unwrap_or(0.0))
                    .reduce(f64::max);
                match (best, outside) {
                    (Some(b), true) => b.max(0.0),
                    (Some(b), false) => b,
                    (None, _) => 0.0,
                }
            } else {
                let sum: f64 = of_cell.map(|s| (0..4).map(|k| x[s.cells[k]].to() * s.weights[k]).sum::<f64>()).sum();
                sum / per_cell.max(1) as f64
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
                let (samples, per_cell) = self.samples(&regions[r * 4..r * 4 + 4])?;
                let out = &mut y[r * channels * cells..(r + 1) * channels * cells];
                // About 4 ns a sample.
                super::fill(pool, out, cells, super::grain(4.0 * samples.len() as f64), |first, planes| {
                    for (k, out) in planes.chunks_exact_mut(cells).enumerate() {
                        let at = (image * channels + first + k) * h * w;
                        self.plane(&v[at..at + h * w], &samples, per_cell, out);
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
