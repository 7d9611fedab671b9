//! `Y = ConvTranspose(X, W, B)`: the transposed convolution; each input cell spreads a kernel over the output.
//!
//! `X: T[n, g c, spatial…]`, `W: T[g c, m, kernel…]`, `B: T[g m]`, `Y: T[n, g m, out…]` with
//! `out = stride (in - 1) + output_padding + (kernel - 1) dilation + 1 - pad_begin - pad_end`.
//!
//! - **C1** one element type, a float
//! - **C2** `X` and `W` have one rank of 3 or more, `B` rank 1
//! - **C3** `group` is positive and divides the channels; `X` has as many as `W` has rows
//! - **C4** `kernel_shape`, where given, is `W`'s
//! - **C5** lists are as long as the spatial rank, sizes positive, padding not negative, the output not negative
//! - **C6** `B` has one element an output channel
//!
//! `output_shape` and `auto_pad` fix the output and derive the padding. ONNX `ConvTranspose`: opset 1, 11, 22.

use super::common::*;
use super::window::{Axis, Fixed, at, check_len, lowered, number, span, split_padding};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

attributes! {
    /// Attributes of `ConvTranspose`.
    pub struct ConvTranspose {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Step within a kernel, by axis.
        dilations: Option<Vec<Dim>>,
        /// Groups of channels.
        group: Dim = Dim::ONE,
        /// Extents of the kernel; `W`'s.
        kernel_shape: Option<Vec<Dim>>,
        /// Cells added behind the output, by axis.
        output_padding: Option<Vec<Dim>>,
        /// Spatial extents of the output, from which padding is derived.
        output_shape: Option<Vec<Dim>>,
        /// Cells cut from the output: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between kernels, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl ConvTranspose {
    fn axes(&self, extents: &[Dim], kernel: &[Dim]) -> Result<Vec<Axis>> {
        let r = extents.len();
        check_len("C5", "strides", self.strides.as_deref(), r)?;
        check_len("C5", "dilations", self.dilations.as_deref(), r)?;
        check_len("C5", "output_padding", self.output_padding.as_deref(), r)?;
        check_len("C5", "pads", self.pads.as_deref(), 2 * r)?;
        check_len("C5", "output_shape", self.output_shape.as_deref(), r)?;
        if !["NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(&self.auto_pad.as_str()) {
            return Err(Error::violation("C5", format!("`auto_pad` is \"{}\"", self.auto_pad)));
        }
        let same = self.auto_pad.starts_with("SAME");
        Ok((0..r)
            .map(|i| {
                let (stride, dilation) = (at(self.strides.as_deref(), i, 1), at(self.dilations.as_deref(), i, 1));
                let extra = at(self.output_padding.as_deref(), i, 0);
                let full = (&extents[i] - 1) * &stride + &extra + span(&kernel[i], &dilation);
                let fixed = match &self.output_shape {
                    Some(s) => Some(s[i].clone()),
                    None if same => Some(&extents[i] * &stride),
                    None => None,
                };
                let (begin, end, out) = if let Some(out) = fixed {
                    let total = Dim::max(&(&full - &out), &Dim::ZERO);
                    let (begin, end) = split_padding(&total, self.auto_pad == "SAME_UPPER");
                    (begin, end, out)
                } else if self.auto_pad == "VALID" {
                    (Dim::ZERO, Dim::ZERO, full)
                } else {
                    let (begin, end) = (at(self.pads.as_deref(), i, 0), at(self.pads.as_deref(), r + i, 0));
                    let out = full - &begin - &end;
                    (begin, end, out)
                };
                Axis { extent: extents[i].clone(), kernel: kernel[i].clone(), stride, dilation, begin, end, out }
            })
            .collect())
    }

    fn fixed(&self, extents: &[usize], kernel: &[usize]) -> Result<Vec<Fixed>> {
        let dims = |v: &[usize]| v.iter().map(|&n| Dim::from(n)).collect::<Vec<_>>();
        self.axes(&dims(extents), &dims(kernel))?.iter().map(Axis::fixed).collect()
    }
}

impl Op for ConvTranspose {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", 0..3)?;
        let (x, w) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", x.len() >= 3 && x.len() == w.len(), || format!("ranks are {} and {}", x.len(), w.len()))?;
        cx.require_that("C3", Cond::le(&Dim::ONE, &self.group))?;
        cx.require_eq("C3", &x[1], &w[0])?;
        cx.require_eq("C3", &w[0].modulo(&self.group), &Dim::ZERO)?;
        if let Some(k) = &self.kernel_shape {
            cx.require("C4", k.len() + 2 == w.len(), || format!("`kernel_shape` has {} elements", k.len()))?;
            for (k, w) in k.iter().zip(&w[2..]) {
                cx.require_eq("C4", k, w)?;
            }
        }
        let axes = self.axes(&x[2..], &w[2..])?;
        for a in &axes {
            for d in [&a.kernel, &a.stride, &a.dilation] {
                cx.require_that("C5", Cond::le(&Dim::ONE, d))?;
            }
            for d in [&a.begin, &a.end, &a.out] {
                cx.require_that("C5", Cond::le(&Dim::ZERO, d))?;
            }
        }
        let channels = &w[1] * &self.group;
        if cx.has(2) {
            let b = cx.shape(2)?;
            cx.require("C2", b.len() == 1, || format!("B has rank {}", b.len()))?;
            cx.require_eq("C6", &b[0], &channels)?;
        }
        let mut shape = vec![x[0].clone(), channels];
        shape.extend(axes.into_iter().map(|a| a.out));
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, w) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let axes = self.fixed(&x.shape()[2..], &w.shape()[2..])?;
        let groups = number(&self.group)?;
        let (c, m) = (w.shape()[0] / groups, w.shape()[1]);
        let (xv, wv) = (x.floats()?, w.floats()?);
        let (plane, taps_n) = (x.shape()[2..].iter().product::<usize>(), w.shape()[2..].iter().product::<usize>());
        let out_plane: usize = shape[2..].iter().product();
        let out_steps = strides(&shape[2..]);
        let mut y = vec![0.0; shape.iter().product()];
        if let Some(b) = cx.tensor_opt(2)? {
            let b = b.floats()?;
            for (row, cells) in y.chunks_mut(out_plane.max(1)).enumerate() {
                cells.fill(b[row % (groups * m)]);
            }
        }
        for (i, index) in indices(&x.shape()[2..]).enumerate() {
            cx.env.check()?;
            let mut taps = vec![(0usize, 0usize)];
            for (a, (axis, &at)) in axes.iter().zip(&index).enumerate() {
                let mut next = Vec::new();
                for &(k0, o0) in &taps {
                    for k in 0..axis.kernel {
                        let o = (at * axis.stride + k * axis.dilation).checked_sub(axis.begin);
                        if let Some(o) = o.filter(|&o| o < axis.out) {
                            next.push((k0 * axis.kernel + k, o0 + o * out_steps[a]));
                        }
                    }
                }
                taps = next;
            }
            for n in 0..shape[0] {
                for ch in 0..groups * c {
                    let v = xv[(n * groups * c + ch) * plane + i];
                    for row in 0..m {
                        let (w0, y0) = ((ch * m + row) * taps_n, (n * groups * m + ch / c * m + row) * out_plane);
                        for &(k, o) in &taps {
                            y[y0 + o] += v * wv[w0 + k];
                        }
                    }
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.dtype(0) != DType::F32 {
            return Ok(Lowering::Host);
        }
        let (x, w) = (cx.shape(0), cx.shape(1));
        let axes = self.fixed(&x[2..], &w[2..])?;
        let groups = number(&self.group)?;
        let conv = lowered(&axes, x[0], groups, w[0] / groups, w[1]);
        Ok(Lowering::Conv(crate::lower::Conv { transposed: true, bias: cx.has(2), ..conv }))
    }
}

op! {
    ConvTranspose in "ai.onnx" since [1, 11, 22 brings "bf16"]; "X, W, B?" => "Y";
    summary: "transposed convolution: each input cell spreads a kernel over the output";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @conv_transpose([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]]) == [[[1.0, 10.0, 102.0, 20.0, 200.0]]]
graph @conv_transpose(%a: f32[1, 1, 2], %b: f32[1, 1, 3]) -> f32[1, 1, 5] {
  %y = conv_transpose %a, %b {strides = [2]} : f32[1, 1, 5]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn conv_transpose_spreads_kernels() {
        let x = Tensor::from_slice(&[1, 1, 2], &[1.0f32, 2.0]);
        let w = Tensor::from_slice(&[1, 1, 3], &[1.0f32, 10.0, 100.0]);
        let y = run1("ConvTranspose", attrs! { strides: vec![2] }, &[x.clone(), w.clone()]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 5], &[1.0f32, 10.0, 102.0, 20.0, 200.0]));
        let y = run1("ConvTranspose", attrs! { strides: vec![2], output_shape: vec![4] }, &[x, w]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 4], &[10.0f32, 102.0, 20.0, 200.0]));
    }

    #[test]
    fn conv_transpose_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |a: crate::Attrs, t: &[Type]| violated("ConvTranspose", a, t);
        let (x, w) = (f(&[1, 4, 5]), f(&[4, 2, 3]));
        assert_eq!(
            bad(attrs! {}, &[Type::tensor(DType::I32, &[1, 4, 5]), w.clone()]).as_deref(),
            Some("ConvTranspose.C1")
        );
        assert_eq!(bad(attrs! {}, &[x.clone(), f(&[4, 2])]).as_deref(), Some("ConvTranspose.C2"));
        assert_eq!(bad(attrs! { group: 3i64 }, &[x.clone(), w.clone()]).as_deref(), Some("ConvTranspose.C3"));
        assert_eq!(bad(attrs! { kernel_shape: vec![2] }, &[x.clone(), w.clone()]).as_deref(), Some("ConvTranspose.C4"));
        assert_eq!(bad(attrs! { pads: vec![9, 9] }, &[x.clone(), w.clone()]).as_deref(), Some("ConvTranspose.C5"));
        assert_eq!(bad(attrs! {}, &[x, w, f(&[3])]).as_deref(), Some("ConvTranspose.C6"));
    }
}
