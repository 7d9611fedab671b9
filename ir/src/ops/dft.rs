//! `output = DFT(input; dft_length, axis)`: the discrete Fourier transform along one axis.
//!
//! `input: T[…, n, …, c]`, `c` 1 (real) or 2 (real and imaginary part); `output: T[…, bins, …, 2]`.
//!
//! - **C1** `input` holds floats, `dft_length` and `axis` are integer scalars
//! - **C2** the rank is 2 or more, the last extent 1 or 2
//! - **C3** `axis` is in `-r..r` and is not the last
//! - **C4** `dft_length` is positive
//! - **C5** with `onesided` a forward transform takes real input
//!
//! The signal is cut or padded with zeros to `dft_length`. `onesided` gives the first `n / 2 + 1` bins; with `inverse`
//! it takes those and gives a real signal of `dft_length` (default `2 (n - 1)`), last extent 1. Taken by the
//! definition, in `f64`. ONNX `DFT`: opset 17 (`axis` an attribute, default 1), 20 (an operand, default -2).

use super::common::*;
use super::lanes::offsets;
use super::signal_common::{dft, scalar, scalar_int};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::library::{self, Library, Lines};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

attributes! {
    /// Attributes of `DFT`.
    pub struct Dft {
        /// Whether the transform is the inverse.
        inverse: bool = false,
        /// Whether only half of a symmetric spectrum is given (or taken).
        onesided: bool = false,
    }
}

impl Op for Dft {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let mut shape = cx.shape(0)?;
        let r = shape.len();
        cx.require("C2", r >= 2, || format!("rank is {r}"))?;
        let last = shape[r - 1].clone();
        cx.require_that("C2", Cond::any([&Cond::eq(&last, &Dim::ONE), &Cond::eq(&last, &Dim::int(2))]))?;
        if self.onesided && !self.inverse {
            cx.require_eq("C5", &last, &Dim::ONE)?;
        }
        shape[r - 1] = if self.onesided && self.inverse { Dim::ONE } else { Dim::int(2) };
        let axis = if cx.has(2) { scalar_int(cx, "C1", 2)?.map(|d| d.as_int()) } else { Some(Some(-2)) };
        let length = if cx.has(1) { Some(scalar_int(cx, "C1", 1)?) } else { None };
        let Some(Some(axis)) = axis else {
            shape[..r - 1].iter_mut().for_each(|d| *d = cx.fresh());
            return cx.output(dtype, shape);
        };
        let axis = cx.axis("C3", axis, r)?;
        cx.require("C3", axis + 1 < r, || "the last axis holds the parts of a number".into())?;
        let n = match length {
            Some(Some(n)) => n,
            Some(None) => cx.fresh(),
            None if self.onesided && self.inverse => (&shape[axis] - 1) * 2,
            None => shape[axis].clone(),
        };
        cx.require_that("C4", Cond::le(&Dim::ONE, &n))?;
        shape[axis] = if self.onesided && !self.inverse { n.floor_div(&Dim::int(2)) + 1 } else { n };
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let r = x.rank();
        let axis = normal_axis(cx.tensor_opt(2)?.map(scalar).transpose()?.unwrap_or(-2), r);
        let (extent, parts) = (x.shape()[axis], x.shape()[r - 1]);
        let n = match cx.tensor_opt(1)? {
            Some(t) => scalar(t)? as usize,
            None if self.onesided && self.inverse => shape[axis],
            None => extent,
        };
        let others: Vec<usize> = (0..r - 1).filter(|&a| a != axis).collect();
        let (from, to) = (offsets(x.shape(), &others), offsets(&shape, &others));
        let (x_step, y_step) = (strides(x.shape())[axis], strides(&shape)[axis]);
        let v = x.floats()?;
        let mut y = vec![0.0; shape.iter().product()];
        let real = self.onesided && self.inverse;
        for (f, t) in from.into_iter().zip(to) {
            cx.env.check()?;
            let read = |i: usize| match i < extent {
                true => (v[f + i * x_step], if parts == 2 { v[f + i * x_step + 1] } else { 0.0 }),
                false => (0.0, 0.0),
            };
            let signal: Vec<(f64, f64)> = match real {
                false => (0..n).map(read).collect(),
                // The upper half of a real signal's spectrum mirrors the lower.
                true => (0..n)
                    .map(|i| match 2 * i {
                        0 => (read(0).0, 0.0),
                        j if j == n => (read(i).0, 0.0),
                        j if j < n => read(i),
                        _ => (read(n - i).0, -read(n - i).1),
                    })
                    .collect(),
            };
            for (i, (re, im)) in dft(cx.env, &signal, shape[axis], self.inverse)?.into_iter().enumerate() {
                y[t + i * y_step] = re;
                if !real {
                    y[t + i * y_step + 1] = im;
                }
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let x = cx.shape(0);
        let r = x.len();
        let known = |i: usize| cx.constant(i).map(scalar).transpose();
        let axis = match (cx.has(2), known(2)?) {
            (false, _) => -2,
            (true, Some(axis)) => axis,
            (true, None) => return Ok(Lowering::Host),
        };
        let axis = normal_axis(axis, r);
        let parts = x[r - 1];
        // The length is the result's extent, or twice that of half a spectrum, to which it adds one bit.
        let len = match (cx.has(1), known(1)?) {
            (true, Some(n)) => n as usize,
            (true, None) if self.onesided && !self.inverse => return Ok(Lowering::Host),
            (false, _) if self.onesided && !self.inverse => x[axis],
            _ => shape[axis],
        };
        if !library::is_real(dtype) || len == 0 {
            return Ok(Lowering::Host);
        }
        let (outer, inner) = (x[..axis].iter().product::<usize>(), x[axis + 1..r - 1].iter().product::<usize>());
        Ok(Lowering::Library(Library::Fourier(library::Fourier {
            dtype,
            outer,
            group: outer.max(1),
            group_stride: 0,
            inner,
            from: Lines { outer: x[axis] * inner * parts, inner: parts, step: inner * parts },
            extent: x[axis],
            complex: parts == 2,
            len,
            bins: shape[axis],
            inverse: self.inverse,
            symmetric: self.onesided && self.inverse,
            windowed: false,
        })))
    }
}

/// Opset 17 had `axis` as an attribute, 1 by default.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 20 {
        let axis = match cx.take("axis") {
            Some(Attr::Int(a)) => a.as_int().unwrap_or(1),
            _ => 1,
        };
        let axis = cx.constant(Tensor::scalar(axis));
        cx.set_input(2, axis);
    }
    Ok(())
}

op! {
    Dft as "DFT" in "ai.onnx" since [17, 20]; "input, dft_length?, axis?" => "output";
    summary: "discrete Fourier transform along an axis";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @dft([[[1.0], [0.0], [0.0], [0.0]]], 1) == f32[1, 4, 2] [[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]
graph @dft(%a: f32[1, 4, 1], %c: i64[]) -> f32[u1, u2, 2] {
  %y = dft %a, _, %c : f32[u1, u2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn dft_of_a_constant_and_back() {
        let x = Tensor::from_slice(&[1, 4, 1], &[1.0f32; 4]);
        let y = run1("DFT", attrs! { onesided: true }, std::slice::from_ref(&x)).unwrap();
        assert_eq!(y.shape(), [1, 3, 2]);
        assert!((y.floats().unwrap()[0] - 4.0).abs() < 1e-6);
        let back = run1("DFT", attrs! { onesided: true, inverse: true }, &[y]).unwrap();
        assert_eq!(back.shape(), x.shape());
        assert!(back.floats().unwrap().iter().all(|v| (v - 1.0).abs() < 1e-6));
    }

    #[test]
    fn dft_constraints_are_named() {
        let bad = |a, d, s: &[usize]| violated("DFT", a, &[Type::tensor(d, s)]);
        assert_eq!(bad(attrs! {}, DType::I32, &[2, 1]).as_deref(), Some("DFT.C1"));
        assert_eq!(bad(attrs! {}, DType::F32, &[2, 3]).as_deref(), Some("DFT.C2"));
        assert_eq!(bad(attrs! {}, DType::F32, &[0, 1]).as_deref(), Some("DFT.C4"));
        assert_eq!(bad(attrs! { onesided: true }, DType::F32, &[2, 2]).as_deref(), Some("DFT.C5"));
        let x = Tensor::from_slice(&[2, 1], &[0.0f32; 2]);
        let n = Tensor::scalar(2i64);
        assert_eq!(run1("DFT", attrs! {}, &[x, n.clone(), n]).unwrap_err().label(), Some("DFT.C3"));
    }
}
