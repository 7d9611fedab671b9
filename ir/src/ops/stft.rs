//! `output[b, f] = DFT(signal[b, f step .. f step + length] * window)`: the short-time Fourier transform.
//!
//! `signal: T[batch, n, c]` (or `[batch, n]`, real), `c` 1 or 2; `window: T[length]`; `output: T[batch, frames, bins, 2]`
//! with `frames = floor((n - length) / step) + 1`.
//!
//! - **C1** floats of one type; `frame_step` and `frame_length` are integer scalars
//! - **C2** `signal` has rank 2 or 3, last extent 1 or 2 at rank 3; `window` has rank 1
//! - **C3** the step is positive; `1 <= length <= n`; the window is as long as a frame
//! - **C4** with `onesided` the signal is real
//!
//! ONNX `STFT`: opset 17.

use super::common::*;
use super::signal_common::{dft, scalar, scalar_int};
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::library::{self, Library, Lines};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `STFT`.
    pub struct Stft {
        /// Whether only the first `length / 2 + 1` bins are given.
        onesided: bool = true,
    }
}

impl Op for Stft {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", [0, 2])?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() == 2 || x.len() == 3, || format!("rank is {}", x.len()))?;
        if let Some(c) = x.get(2) {
            cx.require_that("C2", Cond::any([&Cond::eq(c, &Dim::ONE), &Cond::eq(c, &Dim::int(2))]))?;
            if self.onesided {
                cx.require_eq("C4", c, &Dim::ONE)?;
            }
        }
        let step = match scalar_int(cx, "C1", 1)? {
            Some(step) => step,
            None => cx.fresh(),
        };
        let mut length = if cx.has(3) { scalar_int(cx, "C1", 3)? } else { None };
        if cx.has(2) {
            let w = cx.shape(2)?;
            cx.require("C2", w.len() == 1, || format!("`window` has rank {}", w.len()))?;
            if let Some(n) = &length {
                cx.require_eq("C3", n, &w[0])?;
            }
            length = Some(w[0].clone());
        }
        let length = match length {
            Some(n) => n,
            None if cx.has(3) => cx.fresh(),
            None => x[1].clone(),
        };
        for (a, b) in [(&Dim::ONE, &step), (&Dim::ONE, &length), (&length, &x[1])] {
            cx.require_that("C3", Cond::le(a, b))?;
        }
        let frames = (&x[1] - &length).floor_div(&step) + 1;
        let bins = if self.onesided { length.floor_div(&Dim::int(2)) + 1 } else { length };
        cx.output(dtype, vec![x[0].clone(), frames, bins, Dim::int(2)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let (n, parts) = (x.shape()[1], x.shape().get(2).copied().unwrap_or(1));
        let step = scalar(cx.tensor(1)?)? as usize;
        let window = cx.tensor_opt(2)?.map(Tensor::floats).transpose()?;
        let length = match (&window, cx.tensor_opt(3)?) {
            (Some(w), _) => w.len(),
            (None, Some(t)) => scalar(t)? as usize,
            (None, None) => n,
        };
        let v = x.floats()?;
        let mut y = Vec::with_capacity(shape.iter().product());
        for b in 0..shape[0] {
            for f in 0..shape[1] {
                cx.env.check()?;
                if f * step + length > n {
                    return Err(Error::bug("a frame passes the signal's end"));
                }
                let frame: Vec<(f64, f64)> = (0..length)
                    .map(|i| {
                        let at = (b * n + f * step + i) * parts;
                        let w = window.as_ref().map_or(1.0, |w| w[i]);
                        (v[at] * w, if parts == 2 { v[at + 1] * w } else { 0.0 })
                    })
                    .collect();
                y.extend(dft(cx.env, &frame, shape[2], false)?.into_iter().flat_map(|(re, im)| [re, im]));
            }
        }
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let x = cx.shape(0);
        let (n, parts) = (x[1], x.get(2).copied().unwrap_or(1));
        let known = |i: usize| cx.constant(i).map(scalar).transpose();
        let Some(step) = known(1)? else { return Ok(Lowering::Host) };
        let len = match (cx.has(2), cx.has(3), known(3)?) {
            (true, ..) => cx.shape(2)[0],
            (false, true, Some(len)) => len as usize,
            (false, true, None) => return Ok(Lowering::Host),
            (false, false, _) => n,
        };
        if !library::is_real(dtype) || len == 0 {
            return Ok(Lowering::Host);
        }
        Ok(Lowering::Library(Library::Fourier(library::Fourier {
            dtype,
            outer: shape[0] * shape[1],
            group: shape[1].max(1),
            group_stride: n * parts,
            inner: 1,
            from: Lines { outer: step as usize * parts, inner: 0, step: parts },
            extent: len,
            complex: parts == 2,
            len,
            bins: shape[2],
            inverse: false,
            symmetric: false,
            windowed: cx.has(2),
        })))
    }
}

op! {
    Stft as "STFT" in "ai.onnx" since [17]; "signal, frame_step, window?, frame_length?" => "output";
    summary: "Fourier transforms of overlapping frames";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @stft([[[1.0], [0.0], [2.0], [0.0]]], 2, 2) == f32[1, 2, 2, 2] [[[[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]]]]
graph @stft(%a: f32[1, 4, 1], %b: i64[], %d: i64[]) -> f32[1, floor((-u2 + 4) / u1) + 1, floor(u2 / 2) + 1, 2] {
  %y = stft %a, %b, _, %d : f32[1, floor((-u2 + 4) / u1) + 1, floor(u2 / 2) + 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn stft_sums_frames_in_bin_zero() {
        let x = Tensor::from_slice(&[1, 4, 1], &[1.0f32, 2.0, 3.0, 4.0]);
        let w = Tensor::from_slice(&[2], &[1.0f32, 10.0]);
        let y = run1("STFT", attrs! {}, &[x, Tensor::scalar(2i64), w]).unwrap();
        assert_eq!(y.shape(), [1, 2, 2, 2]);
        let y = y.floats().unwrap();
        assert_eq!((y[0], y[4]), (21.0, 43.0));
    }

    #[test]
    fn stft_constraints_are_named() {
        let bad = |x: Type| violated("STFT", attrs! {}, &[x, Type::tensor(DType::I64, &[])]);
        assert_eq!(bad(Type::tensor(DType::I32, &[1, 2])).as_deref(), Some("STFT.C1"));
        assert_eq!(bad(Type::tensor(DType::F32, &[1])).as_deref(), Some("STFT.C2"));
        assert_eq!(bad(Type::tensor(DType::F32, &[1, 0, 1])).as_deref(), Some("STFT.C3"));
        assert_eq!(bad(Type::tensor(DType::F32, &[1, 4, 2])).as_deref(), Some("STFT.C4"));
    }
}
