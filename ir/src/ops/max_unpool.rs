//! `Y = 0` but `Y[I[k]] = X[k]`: what a max pooling kept, put back where it came from.
//!
//! `X: T[n, c, spatial…]`, `I: i64` of its shape, positions in the flattened result of extents
//! `u_a = (x_a - 1) stride_a + kernel_a - begin_a - end_a`; with `output_shape` that result is the leading corner of a
//! larger one.
//!
//! - **C1** `X` holds floats, `I` and `output_shape` are `i64`
//! - **C2** `X` has rank 3 or more, `I` its shape
//! - **C3** `kernel_shape`, `strides` and `pads` are as long as the spatial rank asks, sizes positive
//! - **C4** `output_shape` has one entry an axis of `X`: `n`, `c`, and of the others at least `u_a` each
//!
//! Of several elements with one position the last counts; a position outside the result is an error.
//! ONNX `MaxUnpool`: opset 9, 11, 22 (bfloat16).

use super::common::*;
use super::window::{at, check_len};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{Tensor, strides};

attributes! {
    /// Attributes of `MaxUnpool`.
    pub struct MaxUnpool {
        /// Extents of the window.
        kernel_shape: Vec<Dim>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl MaxUnpool {
    /// Extents of the pooled operand, `x`'s batch and channels first.
    fn pooled(&self, x: &[Dim]) -> Vec<Dim> {
        let (pads, strides) = (self.pads.as_deref(), self.strides.as_deref());
        let d = x.len() - 2;
        let spatial = (0..d)
            .map(|a| (&x[2 + a] - 1) * at(strides, a, 1) + &self.kernel_shape[a] - at(pads, a, 0) - at(pads, d + a, 0));
        x[..2].iter().cloned().chain(spatial).collect()
    }
}

impl Op for MaxUnpool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let (x, i) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C2", x.len() >= 3 && i.len() == x.len(), || format!("ranks are {} and {}", x.len(), i.len()))?;
        for (x, i) in x.iter().zip(&i) {
            cx.require_eq("C2", x, i)?;
        }
        let d = x.len() - 2;
        check_len("C3", "kernel_shape", Some(&self.kernel_shape), d)?;
        check_len("C3", "strides", self.strides.as_deref(), d)?;
        check_len("C3", "pads", self.pads.as_deref(), 2 * d)?;
        for a in 0..d {
            cx.require_that("C3", Cond::le(&Dim::ONE, &self.kernel_shape[a]))?;
            cx.require_that("C3", Cond::le(&Dim::ONE, &at(self.strides.as_deref(), a, 1)))?;
        }
        let pooled = self.pooled(&x);
        if !cx.has(2) {
            return cx.output(dtype, pooled);
        }
        cx.require_dtype("C1", 2, &[DType::I64])?;
        let n = cx.shape(2)?;
        cx.require("C4", n.len() == 1, || format!("`output_shape` has rank {}", n.len()))?;
        cx.require_eq("C4", &n[0], &Dim::from(x.len()))?;
        let shape = cx.values(2)?.unwrap_or_else(|| x.iter().map(|_| cx.fresh()).collect());
        for (a, (least, have)) in pooled.iter().zip(&shape).enumerate() {
            let cond = if a < 2 { Cond::eq(least, have) } else { Cond::le(least, have) };
            cx.require_that("C4", cond)?;
        }
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let dims: Vec<Dim> = x.shape().iter().map(|&n| Dim::from(n)).collect();
        let pooled = super::window::numbers(&self.pooled(&dims))?;
        let (len, inner, outer) = (len_elems(&pooled)?, strides(&pooled), strides(&shape));
        let mut y = Tensor::zeros(dtype, &shape)?;
        let mut write = TensorWriter::new(&mut y);
        for (k, place) in cx.tensor(1)?.to_i64s()?.into_iter().enumerate() {
            let place = usize::try_from(place).ok().filter(|&p| p < len);
            let place = place.ok_or_else(|| Error::invalid(format!("position {k} of I is outside 0..{len}")))?;
            // The same index in the result, which may be larger.
            let place = (0..shape.len()).map(|a| place / inner[a] % pooled[a] * outer[a]).sum();
            write.copy(place, x, k)?;
        }
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    MaxUnpool in "ai.onnx" since [9, 11, 22 brings "bf16"]; "X, I, output_shape?" => "output";
    summary: "what a max pooling kept, put back in its place";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn max_unpool_writes_into_the_corner_of_a_larger_result() {
        let x = Tensor::from_slice(&[1, 1, 2], &[5.0f32, 6.0]);
        let i = Tensor::from_slice(&[1, 1, 2], &[1i64, 2]);
        let a = || attrs! { kernel_shape: vec![2i64], strides: vec![2i64] };
        let y = run1("MaxUnpool", a(), &[x.clone(), i.clone()]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 4], &[0.0f32, 5.0, 6.0, 0.0]));
        let y = run1("MaxUnpool", a(), &[x.clone(), i, Tensor::from_slice(&[3], &[1i64, 1, 5])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 1, 5], &[0.0f32, 5.0, 6.0, 0.0, 0.0]));
        assert!(run1("MaxUnpool", a(), &[x, Tensor::from_slice(&[1, 1, 2], &[1i64, 4])]).is_err());
    }

    #[test]
    fn max_unpool_constraints_are_named() {
        let t = |d, s: &[usize]| Fact::of(Type::tensor(d, s));
        let (x, i) = (t(DType::F32, &[1, 1, 2]), t(DType::I64, &[1, 1, 2]));
        let a = || attrs! { kernel_shape: vec![2i64] };
        let bad = |a, f: &[Fact]| infer1("MaxUnpool", a, f).unwrap_err().label().map(str::to_owned);
        assert_eq!(bad(a(), &[i.clone(), i.clone()]).as_deref(), Some("MaxUnpool.C1"));
        assert_eq!(bad(a(), &[x.clone(), t(DType::I64, &[1, 1, 3])]).as_deref(), Some("MaxUnpool.C2"));
        assert_eq!(bad(attrs! { kernel_shape: vec![0i64] }, &[x.clone(), i.clone()]).as_deref(), Some("MaxUnpool.C3"));
        let small = Fact::constant(Tensor::from_slice(&[3], &[1i64, 1, 2]));
        assert_eq!(bad(a(), &[x, i, small]).as_deref(), Some("MaxUnpool.C4"));
    }
}
