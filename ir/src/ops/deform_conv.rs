//! `Y[n, r, o…] = B[r] + Σ W[r, c, k…] · mask[n, g, k, o…] · X[n, c, o · stride + k · dilation - begin + offset[n, g, k, :, o…]]`.
//!
//! A convolution whose taps are moved by data, each read by multilinear interpolation with zeros outside.
//! `X: T[n, groups c, spatial…]`, `W: T[groups m, c, kernel…]`, `offset: T[n, G K d, windows…]` with `K = Π kernel` and
//! `d` spatial axes, `B: T[groups m]`, `mask: T[n, G K, windows…]`, `Y: T[n, groups m, windows…]`. Channel `c` belongs to
//! offset group `g = c / (channels / G)`, `G = offset_group`.
//!
//! - **C1** one element type, a float
//! - **C2** `X`, `W`, `offset` and `mask` have one rank of 3 or more, `B` rank 1
//! - **C3** `group` is positive and divides the channels of `X` into as many as `W` has, and the rows of `W`
//! - **C4** `kernel_shape`, where given, is `W`'s
//! - **C5** the windows: lists as long as the spatial rank, sizes positive, padding not negative, no window larger than
//!   the padded input
//! - **C6** `offset_group` is positive and divides the channels; `offset` and `mask` have the extents above
//! - **C7** `B` has one element an output channel
//!
//! Source: Dai et al., arXiv:1703.06211; Zhu et al. (masks), arXiv:1811.11168. ONNX `DeformConv`: opset 19, 22
//! (bfloat16).

use super::common::*;
use super::lowering::{ComputeBuilder, ExprId, Loops, ReduceOp};
use super::window::{Fixed, Window, number};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

attributes! {
    /// Attributes of `DeformConv`.
    pub struct DeformConv {
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Groups of channels.
        group: Dim = Dim::ONE,
        /// Extents of the kernel; `W`'s.
        kernel_shape: Option<Vec<Dim>>,
        /// Groups of channels that share offsets.
        offset_group: Dim = Dim::ONE,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl DeformConv {
    fn window(&self) -> Window<'_> {
        Window {
            auto_pad: "NOTSET",
            strides: self.strides.as_deref(),
            dilations: self.dilations.as_deref(),
            pads: self.pads.as_deref(),
            ceil: false,
        }
    }
}

/// Cells around a point and their weights; cells outside are left out.
fn corners(point: &[f64], extents: &[usize], steps: &[usize]) -> Vec<(usize, f64)> {
    let mut taps = vec![(0, 1.0)];
    for ((&p, &n), &step) in point.iter().zip(extents).zip(steps) {
        let low = p.floor();
        let along: Vec<(usize, f64)> = [(low, low + 1.0 - p), (low + 1.0, p - low)]
            .into_iter()
            .filter(|&(at, weight)| at >= 0.0 && at < n as f64 && weight != 0.0)
            .map(|(at, weight)| (at as usize * step, weight))
            .collect();
        taps = taps.iter().flat_map(|&(i, w)| along.iter().map(move |&(j, v)| (i + j, w * v))).collect();
    }
    taps
}

impl Op for DeformConv {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", 0..5)?;
        let (x, w, offset) = (cx.shape(0)?, cx.shape(1)?, cx.shape(2)?);
        let ranks = [x.len(), w.len(), offset.len()];
        cx.require("C2", x.len() >= 3 && ranks == [x.len(); 3], || format!("ranks are {ranks:?}"))?;
        let d = x.len() - 2;
        cx.require_that("C3", Cond::le(&Dim::ONE, &self.group))?;
        cx.require_eq("C3", &x[1], &(&w[1] * &self.group))?;
        cx.require_eq("C3", &w[0].modulo(&self.group), &Dim::ZERO)?;
        if let Some(k) = &self.kernel_shape {
            cx.require("C4", k.len() == d, || format!("`kernel_shape` has {} elements", k.len()))?;
            for (k, w) in k.iter().zip(&w[2..]) {
                cx.require_eq("C4", k, w)?;
            }
        }
        let axes = self.window().rule(cx, "C5", &x[2..], &w[2..])?;
        cx.require_that("C6", Cond::le(&Dim::ONE, &self.offset_group))?;
        cx.require_eq("C6", &x[1].modulo(&self.offset_group), &Dim::ZERO)?;
        let taps = w[2..].iter().fold(self.offset_group.clone(), |a, k| a * k);
        let mut want = vec![x[0].clone(), &taps * &Dim::from(d)];
        want.extend(axes.iter().map(|a| a.out.clone()));
        for (have, want) in offset.iter().zip(&want) {
            cx.require_eq("C6", have, want)?;
        }
        if cx.has(4) {
            let mask = cx.shape(4)?;
            cx.require("C2", mask.len() == x.len(), || format!("mask has rank {}", mask.len()))?;
            want[1] = taps;
            for (have, want) in mask.iter().zip(&want) {
                cx.require_eq("C6", have, want)?;
            }
        }
        if cx.has(3) {
            let b = cx.shape(3)?;
            cx.require("C2", b.len() == 1, || format!("B has rank {}", b.len()))?;
            cx.require_eq("C7", &b[0], &w[0])?;
        }
        want[1] = w[0].clone();
        cx.output(dtype, want)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, w) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let (extents, kernel) = (&x.shape()[2..], &w.shape()[2..]);
        let axes = self.window().fixed(extents, kernel)?;
        let (d, channels, rows, c) = (axes.len(), x.shape()[1], w.shape()[0], w.shape()[1]);
        let (m, og) = (rows / number(&self.group)?, number(&self.offset_group)?);
        let (plane, taps_n) = (extents.iter().product::<usize>(), kernel.iter().product::<usize>());
        let windows: usize = shape[2..].iter().product();
        let steps = strides(extents);
        let (xv, wv, ov) = (x.floats()?, w.floats()?, cx.tensor(2)?.floats()?);
        let bias = cx.tensor_opt(3)?.map(Tensor::floats).transpose()?;
        let mask = cx.tensor_opt(4)?.map(Tensor::floats).transpose()?;
        let mut y = vec![0.0; len_elems(&shape)?];
        // What each channel and tap reads in one window.
        let mut read = vec![0.0; channels * taps_n];
        for n in 0..shape[0] {
            for (o, index) in indices(&shape[2..]).enumerate() {
                cx.env.check()?;
                for g in 0..og {
                    for (k, place) in indices(kernel).enumerate() {
                        let tap = (n * og + g) * taps_n + k;
                        let point: Vec<f64> = (0..d)
                            .map(|a| {
                                let Fixed { stride, dilation, begin, .. } = axes[a];
                                let start = (index[a] * stride + place[a] * dilation) as f64 - begin as f64;
                                start + ov[(tap * d + a) * windows + o]
                            })
                            .collect();
                        let cells = corners(&point, extents, &steps);
                        let weight = mask.as_ref().map_or(1.0, |m| m[tap * windows + o]);
                        for ch in g * channels / og..(g + 1) * channels / og {
                            let base = (n * channels + ch) * plane;
                            let v: f64 = cells.iter().map(|&(i, w)| xv[base + i] * w).sum();
                            read[ch * taps_n + k] = v * weight;
                        }
                    }
                }
                for row in 0..rows {
                    let of_row = &wv[row * c * taps_n..][..c * taps_n];
                    let of_group = &read[row / m * c * taps_n..][..c * taps_n];
                    let sum: f64 = of_row.iter().zip(of_group).map(|(a, b)| a * b).sum();
                    y[(n * rows + row) * windows + o] = sum + bias.as_ref().map_or(0.0, |b| b[row]);
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let dtype = cx.dtype(0);
        let (x_shape, w_shape) = (cx.shape(0).to_vec(), cx.shape(1).to_vec());
        if dtype != DType::F32 || x_shape[2..].iter().any(|&n| n == 0 || n > 1 << 20) {
            return Ok(Lowering::Host);
        }
        let axes = self.window().fixed(&x_shape[2..], &w_shape[2..])?;
        let (kernel, out) = (w_shape[2..].to_vec(), cx.outputs[0].1.clone());
        let taps_n: usize = kernel.iter().product();
        let (c_n, m, og) = (w_shape[1], w_shape[0] / number(&self.group)?, number(&self.offset_group)?);
        let (has_bias, has_mask) = (cx.has(3), cx.has(4));
        let per_offset = x_shape[1] / og.max(1);
        let mut l = Loops::new(cx);
        let (x, w, offset) = (l.x(0), l.x(1), l.x(2));
        let bias = has_bias.then(|| l.x(3));
        let mask = has_mask.then(|| l.x(4));
        // Stage 1: what each channel and tap reads, `[n, channels, taps, windows…]`.
        let mut read_shape = vec![out[0], x_shape[1], taps_n];
        read_shape.extend(&out[2..]);
        let read = l.c.compute(dtype, &read_shape, |c, i| {
            let per = c.idx(per_offset as i64);
            let group = c.floor_div(i[1], per);
            let first = c.affine(group, taps_n as i64, 0);
            let tap = c.add(first, i[2]);
            let place = c.delinearize(i[2], &kernel);
            let at = |channel: ExprId| [&[i[0], channel], &i[3..]].concat();
            let points: Vec<[(ExprId, ExprId, ExprId); 2]> = axes
                .iter()
                .enumerate()
                .map(|(a, axis)| {
                    let channel = c.affine(tap, axes.len() as i64, a as i64);
                    let moved = c.load(offset, &at(channel));
                    axis_taps(c, axis, i[3 + a], place[a], moved)
                })
                .collect();
            let mut sum = c.zero(dtype);
            for corner in 0..1usize << axes.len() {
                let mut inside = c.bool(true);
                let mut weight = c.one(dtype);
                let mut index = vec![i[0], i[1]];
                for (a, pair) in points.iter().enumerate() {
                    let (cell, part, known) = pair[corner >> a & 1];
                    inside = c.and(inside, known);
                    weight = c.mul(weight, part);
                    index.push(cell);
                }
                let zero = c.zero(dtype);
                let v = c.load_or(inside, x, &index, zero);
                let v = c.mul(v, weight);
                // A weight times nothing is nothing, also where the point is infinitely far.
                let v = c.select(inside, v, zero);
                sum = c.add(sum, v);
            }
            match mask {
                Some(mask) => {
                    let v = c.load(mask, &at(tap));
                    c.mul(sum, v)
                }
                None => sum,
            }
        });
        l.result(|c, i| {
            let per = c.idx(m as i64);
            let group = c.floor_div(i[1], per);
            let first = c.affine(group, c_n as i64, 0);
            let sum = c.reduce(ReduceOp::Sum, &[c_n, taps_n], |c, r| {
                let channel = c.add(first, r[0]);
                let v = c.load(read, &[&[i[0], channel, r[1]], &i[2..]].concat());
                let place = c.delinearize(r[1], &kernel);
                let k = c.load(w, &[&[i[1], r[0]], &place[..]].concat());
                c.mul(v, k)
            });
            match bias {
                Some(b) => {
                    let b = c.load(b, &[i[1]]);
                    c.add(sum, b)
                }
                None => sum,
            }
        })
    }
}

/// The two cells of an axis beside a moved tap: index (clamped), weight, and whether it lies in the input.
fn axis_taps(
    c: &mut ComputeBuilder,
    axis: &Fixed,
    window: ExprId,
    place: ExprId,
    moved: ExprId,
) -> [(ExprId, ExprId, ExprId); 2] {
    let start = c.affine(window, axis.stride as i64, -(axis.begin as i64));
    let step = c.affine(place, axis.dilation as i64, 0);
    let start = c.add(start, step);
    let start = c.cast(start, DType::F32);
    let point = c.add(start, moved);
    let low = c.floor(point);
    let one = c.one(DType::F32);
    let high = c.add(low, one);
    let (near, far) = (c.sub(high, point), c.sub(point, low));
    [(low, near), (high, far)].map(|(at, weight)| {
        let (zero, last) = (c.zero(DType::F32), c.float(DType::F32, axis.extent as f64 - 1.0));
        let (above, below) = (c.ge(at, zero), c.le(at, last));
        let known = c.and(above, below);
        let at = c.select(known, at, zero);
        let cell = c.cast(at, DType::I64);
        (c.index_from_data(cell, axis.extent), weight, known)
    })
}

op! {
    DeformConv in "ai.onnx" since [19, 22 brings "bf16"]; "X, W, offset, B?, mask?" => "Y";
    summary: "convolution whose taps are moved and weighted by data";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn deform_conv_reads_between_cells() {
        let x = Tensor::from_slice(&[1, 1, 3], &[1.0f32, 3.0, 7.0]);
        let w = Tensor::from_slice(&[1, 1, 1], &[2.0f32]);
        let offset = Tensor::from_slice(&[1, 1, 3], &[0.5f32, -1.25, f32::INFINITY]);
        let b = Tensor::from_slice(&[1], &[1.0f32]);
        let mask = Tensor::from_slice(&[1, 1, 3], &[1.0f32, 10.0, 1.0]);
        let y = run1("DeformConv", attrs! {}, &[x.clone(), w.clone(), offset.clone(), b, mask]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 3], &[5.0f32, 16.0, 1.0]));
        let y = run1("DeformConv", attrs! {}, &[x, w, offset]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 3], &[4.0f32, 1.5, 0.0]));
    }

    #[test]
    fn deform_conv_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let (x, w, o) = (f(&[1, 4, 5]), f(&[2, 4, 3]), f(&[1, 3, 3]));
        let bad = |a: crate::Attrs, t: &[Type]| violated("DeformConv", a, t);
        let name = |n| Some(format!("DeformConv.C{n}"));
        assert_eq!(bad(attrs! {}, &[x.clone(), w.clone(), Type::tensor(DType::F16, &[1, 3, 3])]), name(1));
        assert_eq!(bad(attrs! {}, &[x.clone(), w.clone(), f(&[1, 3])]), name(2));
        assert_eq!(bad(attrs! { group: 3i64 }, &[x.clone(), w.clone(), o.clone()]), name(3));
        assert_eq!(bad(attrs! { kernel_shape: vec![2i64] }, &[x.clone(), w.clone(), o.clone()]), name(4));
        assert_eq!(bad(attrs! { dilations: vec![3i64] }, &[x.clone(), w.clone(), o.clone()]), name(5));
        assert_eq!(bad(attrs! { offset_group: 3i64 }, &[x.clone(), w.clone(), o.clone()]), name(6));
        assert_eq!(bad(attrs! {}, &[x, w, o, f(&[3])]), name(7));
    }
}
