//! `y[n, c, w] = ` the mean of `x[n, c, …]` in window `w`.
//!
//! - **C1** `x` is a float tensor
//! - **C2** its rank is 3 or more
//! - **C3** the windows: see [`window`](super::window)
//!
//! The mean is over the cells inside the input, or with `count_include_pad` over those inside the padded input (zeros
//! in the padding; cells that `ceil_mode` adds behind the padding never count). A window of padding alone gives NaN.
//! ONNX `AveragePool`: opset 1, 7 (`count_include_pad`), 10 (`ceil_mode`), 11, 19 (`dilations`), 22.

use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use super::pool_common::{eval_pool, pool_rule};
use super::window::{Window, window};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `AveragePool`.
    pub struct AveragePool {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Whether the number of windows is rounded up.
        ceil_mode: bool = false,
        /// Whether padding counts as zeros.
        count_include_pad: bool = false,
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Extents of the window.
        kernel_shape: Vec<Dim>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl AveragePool {
    fn window(&self) -> Window<'_> {
        window!(self, ceil = self.ceil_mode)
    }
}

impl Op for AveragePool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = pool_rule(cx, sets::FLOATS, self.window(), &self.kernel_shape)?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_pool(cx, self.window(), &self.kernel_shape, |cells, axes, index| {
            let n = match self.count_include_pad {
                true => axes.iter().zip(index).map(|(a, &o)| a.padded_taps(o)).product(),
                false => cells.len(),
            };
            cells.iter().sum::<f64>() / n as f64
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let axes = self.window().fixed(&cx.shape(0)[2..], &super::window::numbers(&self.kernel_shape)?)?;
        let wide = lowering::wide(cx.dtype(0));
        if cx.outputs[0].1.contains(&0) || axes.iter().any(|a| a.dilation != 1) {
            return Ok(Lowering::Host);
        }
        let padded = self.count_include_pad;
        lowering::pool(cx, &axes, ReduceOp::Sum, 0.0, |c, sum, i| {
            // Cells of the window that count, along each axis: those between the ends of the (padded) input.
            let mut count = c.idx(1);
            for (a, axis) in axes.iter().enumerate() {
                let (begin, end) = if padded { (axis.begin as i64, axis.end as i64) } else { (0, 0) };
                let start = c.affine(i[2 + a], axis.stride as i64, -(axis.begin as i64));
                let stop = c.affine(i[2 + a], axis.stride as i64, axis.kernel as i64 - axis.begin as i64);
                let (lo, hi) = (c.idx(-begin), c.idx(axis.extent as i64 + end));
                let (start, stop) = (c.max(start, lo), c.min(stop, hi));
                let (n, none) = (c.sub(stop, start), c.idx(0));
                let n = c.max(n, none);
                count = c.mul(count, n);
            }
            let count = c.cast(count, wide);
            c.div(sum, count)
        })
    }
}

op! {
    AveragePool in "ai.onnx" since [1, 7, 10, 11, 19 brings "dilations ceil_mode", 22 brings "bf16 ceil_mode"];
    "X" => "Y";
    summary: "mean of each sliding window";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @average_pool([[[1.0, 2.0, 3.0, 4.0]]]) == [[[1.5, 3.5]]]
graph @average_pool(%a: f32[1, 1, 4]) -> f32[1, 1, 2] {
  %y = average_pool %a {kernel_shape = [2], strides = [2]} : f32[1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn average_pool_counts_padding_only_on_request() {
        let x = Tensor::from_slice(&[1, 1, 2], &[2.0f32, 4.0]);
        let run = |include: bool| {
            let a = attrs! { kernel_shape: vec![2], pads: vec![1, 0], count_include_pad: include };
            run1("AveragePool", a, std::slice::from_ref(&x)).unwrap().floats().unwrap()
        };
        assert_eq!(run(false), [2.0, 3.0]);
        assert_eq!(run(true), [1.0, 3.0]);
    }

    #[test]
    fn average_pool_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("AveragePool", attrs! { kernel_shape: vec![3] }, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I8, &[1, 1, 4]).as_deref(), Some("AveragePool.C1"));
        assert_eq!(bad(DType::F32, &[1, 4]).as_deref(), Some("AveragePool.C2"));
        assert_eq!(bad(DType::F32, &[1, 1, 2]).as_deref(), Some("AveragePool.C3"));
    }
}
