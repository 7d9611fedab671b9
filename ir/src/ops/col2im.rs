//! `output[n, c, i…] = Σ input[n, c K + k, l]`, over the kernel places `k` and windows `l` whose tap is cell `i`.
//!
//! `input: T[n, c K, L]` with `K = Π block_shape` and `L` the number of windows; `image_shape: i64[d]`,
//! `block_shape: i64[d]`, `output: T[n, c, image_shape…]`. The adjoint of cutting an image into columns.
//!
//! - **C1** `input` holds numbers, the shapes are `i64`
//! - **C2** `input` has rank 3, the shapes rank 1 and one length, 1 or more
//! - **C3** `K` divides `input`'s second extent
//! - **C4** the windows: lists as long as the shapes, sizes positive, padding not negative, no window larger than the
//!   padded image
//! - **C5** `L` is the number of windows
//!
//! Floats are summed in `f64`, integers wrapped. The specification's strings and truth values have no sum.
//! ONNX `Col2Im`: opset 18.

use super::common::*;
use super::lowering::{Loops, ReduceOp, joined_in};
use super::window::{Fixed, Window, for_each_window};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Col2Im`.
    pub struct Col2Im {
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl Col2Im {
    fn window(&self) -> Window<'_> {
        Window {
            auto_pad: "NOTSET",
            strides: self.strides.as_deref(),
            dilations: self.dilations.as_deref(),
            pads: self.pads.as_deref(),
            ceil: false,
        }
    }

    fn fixed(&self, image: &[usize], block: &[usize]) -> Result<Vec<Fixed>> {
        self.window().fixed(image, block)
    }
}

fn sizes(t: &Tensor) -> Result<Vec<usize>> {
    let size = |v: i64| usize::try_from(v).map_err(|_| Error::invalid(format!("{v} is no size")));
    t.to_i64s()?.into_iter().map(size).collect()
}

fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::ONE, |a, d| a * d)
}

impl Op for Col2Im {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::NUMBERS)?;
        cx.require_dtype("C1", 1, &[DType::I64])?;
        cx.require_dtype("C1", 2, &[DType::I64])?;
        let (x, image, block) = (cx.shape(0)?, cx.shape(1)?, cx.shape(2)?);
        let ranks = (x.len(), image.len(), block.len());
        cx.require("C2", ranks == (3, 1, 1), || format!("ranks are {ranks:?}, 3, 1 and 1 are wanted"))?;
        cx.require_eq("C2", &image[0], &block[0])?;
        let d = cx.len_of(1)?;
        cx.require("C2", d >= 1, || "there is no spatial axis".into())?;
        let (image, block) = (cx.values(1)?, cx.values(2)?);
        if let Some(block) = &block {
            cx.require_that("C3", Cond::le(&Dim::ONE, &product(block)))?;
            cx.require_eq("C3", &x[1].modulo(&product(block)), &Dim::ZERO)?;
        }
        if let (Some(image), Some(block)) = (&image, &block) {
            let axes = self.window().rule(cx, "C4", image, block)?;
            let windows = axes.iter().fold(Dim::ONE, |a, axis| a * &axis.out);
            cx.require_eq("C5", &x[2], &windows)?;
        }
        let channels = block.map_or_else(|| cx.fresh(), |b| x[1].floor_div(&product(&b)));
        let spatial = image.unwrap_or_else(|| (0..d).map(|_| cx.fresh()).collect());
        let mut shape = vec![x[0].clone(), channels];
        shape.extend(spatial);
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let block = sizes(cx.tensor(2)?)?;
        let axes = self.fixed(&shape[2..], &block)?;
        let (taps_n, windows): (usize, usize) = (block.iter().product(), x.shape()[2]);
        let plane: usize = shape[2..].iter().product();
        // (column, cell) pairs of one plane, the same for all.
        let mut pairs = Vec::new();
        let mut l = 0;
        for_each_window(&axes, |_, taps| {
            pairs.extend(taps.iter().map(|&(k, i)| (k * windows + l, i)));
            l += 1;
            cx.env.check()
        })?;
        let planes = shape[0] * shape[1];
        let columns = taps_n * windows;
        if dtype.is_float() {
            let (v, mut y) = (x.floats()?, vec![0.0; planes * plane]);
            for p in 0..planes {
                pairs.iter().for_each(|&(c, i)| y[p * plane + i] += v[p * columns + c]);
            }
            cx.push(Tensor::from_floats(dtype, &shape, y));
        } else {
            let (v, mut y) = (x.ints()?, vec![0i128; planes * plane]);
            for p in 0..planes {
                pairs.iter().for_each(|&(c, i)| y[p * plane + i] = y[p * plane + i].wrapping_add(v[p * columns + c]));
            }
            cx.push(Tensor::from_ints(dtype, &shape, y));
        }
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let Some(block) = cx.constant(2) else { return Ok(Lowering::Host) };
        let block = sizes(block)?;
        let (dtype, shape) = &cx.outputs[0];
        let axes = self.fixed(&shape[2..], &block)?;
        let windows: Vec<usize> = axes.iter().map(|a| a.out).collect();
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let within = joined_in(ReduceOp::Sum, *dtype);
        l.result(|c, i| {
            let sum = c.reduce(ReduceOp::Sum, &block, |c, r| {
                let mut inside = c.bool(true);
                let mut at = Vec::with_capacity(axes.len());
                for (a, axis) in axes.iter().enumerate() {
                    // Cell i is tap r of the window that starts at (i + begin - r * dilation) / stride.
                    let cell = c.affine(i[2 + a], 1, axis.begin as i64);
                    let tap = c.affine(r[a], axis.dilation as i64, 0);
                    let start = c.sub(cell, tap);
                    let stride = c.idx(axis.stride as i64);
                    let window = c.floor_div(start, stride);
                    let begin = c.mul(window, stride);
                    let whole = c.eq(begin, start);
                    let known = c.in_range(window, 0, axis.out as i64);
                    let both = c.and(whole, known);
                    inside = c.and(inside, both);
                    at.push(window);
                }
                let k = c.linearize(r, &block);
                let channel = c.affine(i[1], block.iter().product::<usize>() as i64, 0);
                let row = c.add(channel, k);
                let window = c.linearize(&at, &windows);
                let zero = c.zero(*dtype);
                let v = c.load_or(inside, x, &[i[0], row, window], zero);
                c.cast(v, within)
            });
            c.cast(sum, *dtype)
        })
    }
}

op! {
    Col2Im in "ai.onnx" since [18]; "input, image_shape, block_shape" => "output";
    summary: "columns of windows summed into an image";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn ints(v: &[i64]) -> Tensor {
        Tensor::from_slice(&[v.len()], v)
    }

    #[test]
    fn col2im_sums_overlapping_windows() {
        // Two windows of two cells over an image of three, then with a cell of padding before and a stride of two.
        let x = Tensor::from_slice(&[1, 2, 2], &[1.0f32, 2.0, 10.0, 20.0]);
        let y = run1("Col2Im", attrs! {}, &[x.clone(), ints(&[3]), ints(&[2])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 3], &[1.0f32, 12.0, 20.0]));
        let a = attrs! { pads: vec![1i64, 0], strides: vec![2i64] };
        let y = run1("Col2Im", a, &[x, ints(&[3]), ints(&[2])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 3], &[10.0f32, 2.0, 20.0]));
    }

    #[test]
    fn col2im_constraints_are_named() {
        let x = |s: &[usize]| Fact::of(Type::tensor(DType::F32, s));
        let c = |v: &[i64]| Fact::constant(ints(v));
        let bad = |a, f: [Fact; 3]| infer1("Col2Im", a, &f).unwrap_err().label().map(str::to_owned);
        let i32s = Fact::of(Type::tensor(DType::I32, &[2]));
        assert_eq!(bad(attrs! {}, [x(&[1, 2, 2]), i32s, c(&[2])]).as_deref(), Some("Col2Im.C1"));
        assert_eq!(bad(attrs! {}, [x(&[2, 2]), c(&[3]), c(&[2])]).as_deref(), Some("Col2Im.C2"));
        assert_eq!(bad(attrs! {}, [x(&[1, 3, 2]), c(&[3]), c(&[2])]).as_deref(), Some("Col2Im.C3"));
        let wide = attrs! { strides: vec![1i64, 1] };
        assert_eq!(bad(wide, [x(&[1, 2, 2]), c(&[3]), c(&[2])]).as_deref(), Some("Col2Im.C4"));
        assert_eq!(bad(attrs! {}, [x(&[1, 2, 3]), c(&[3]), c(&[2])]).as_deref(), Some("Col2Im.C5"));
    }
}
