//! `y[n, c, w] = ` the greatest of `x[n, c, …]` in window `w`, and where it stands.
//!
//! - **C1** `x` is a float or a byte tensor
//! - **C2** its rank is 3 or more
//! - **C3** the windows: see [`window`](super::window)
//!
//! `Indices` are linear positions in the whole tensor `x`, spatial axes counted row-major (`storage_order = 0`) or
//! column-major (1); of equals the first counts; NaN wins. A window of padding alone gives the type's least value and
//! index -1. ONNX `MaxPool`: opset 1, 8 (`Indices`), 10 (`ceil_mode`, `dilations`), 11, 12 (bytes), 22.

use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use super::pool_common::pool_rule;
use super::window::{Window, for_each_window, numbers, window};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `MaxPool`.
    pub struct MaxPool {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Whether the number of windows is rounded up.
        ceil_mode: bool = false,
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Extents of the window.
        kernel_shape: Vec<Dim>,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Whether `Indices` count column-major.
        storage_order: bool = false,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

const TYPES: &[DType] = &[DType::F32, DType::F64, DType::F16, DType::BF16, DType::I8, DType::U8];

impl MaxPool {
    fn window(&self) -> Window<'_> {
        window!(self, ceil = self.ceil_mode)
    }
}

impl Op for MaxPool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = pool_rule(cx, TYPES, self.window(), &self.kernel_shape)?;
        cx.output(dtype, shape.clone())?;
        cx.output(DType::I64, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (dtype, shape) = cx.out(0)?;
        let spatial = &x.shape()[2..];
        let axes = self.window().fixed(spatial, &numbers(&self.kernel_shape)?)?;
        let v = x.floats()?;
        let (plane, windows) = (spatial.iter().product::<usize>(), shape[2..].iter().product::<usize>());
        let least = dtype.int_range().map_or(f64::NEG_INFINITY, |r| r.0 as f64);
        let n = shape.iter().product();
        let (mut y, mut at, mut w) = (vec![least; n], vec![-1i64; n], 0);
        for_each_window(&axes, |_, taps| {
            for p in 0..shape[0] * shape[1] {
                let cell = p * windows + w;
                for &(_, i) in taps {
                    let value = v[p * plane + i];
                    if at[cell] < 0 || value > y[cell] || (value.is_nan() && !y[cell].is_nan()) {
                        y[cell] = value;
                        at[cell] = (p * plane + if self.storage_order { column_major(spatial, i) } else { i }) as i64;
                    }
                }
            }
            w += 1;
            Ok(())
        })?;
        cx.push(Tensor::from_floats(dtype, &shape, y));
        if cx.n_outputs() > 1 {
            cx.push(Tensor::from_slice(&shape, &at));
        }
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.outputs.len() != 1 || !cx.dtype(0).is_float() || cx.outputs[0].1.contains(&0) {
            return Ok(Lowering::Host);
        }
        let axes = self.window().fixed(&cx.shape(0)[2..], &super::window::numbers(&self.kernel_shape)?)?;
        lowering::pool(cx, &axes, ReduceOp::Max, f64::NEG_INFINITY, |_, v, _| v)
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

/// The column-major position of the cell at row-major position `i`.
fn column_major(shape: &[usize], mut i: usize) -> usize {
    let mut index = vec![0; shape.len()];
    for (at, &n) in index.iter_mut().zip(shape).rev() {
        *at = i % n;
        i /= n;
    }
    index.iter().zip(shape).rev().fold(0, |at, (&i, &n)| at * n + i)
}

op! {
    MaxPool in "ai.onnx" since [1, 8, 10, 11, 12, 22 brings "bf16 ceil_mode"]; "X" => "Y, Indices?";
    summary: "greatest element of each sliding window, and its position";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @max_pool([[[3.0, 1.0, 4.0, 1.0]]]) == [[[3.0, 4.0, 4.0]]], [[[0, 2, 2]]]
graph @max_pool(%a: f32[1, 1, 4]) -> (f32[1, 1, 3], i64[1, 1, 3]) {
  %y, %z = max_pool %a {kernel_shape = [2]} : f32[1, 1, 3], i64[1, 1, 3]
  return %y, %z
}
// run: @values([[[3.0, 1.0, 4.0, 1.0]]]) == [[[3.0, 4.0, 4.0]]]
graph @values(%a: f32[1, 1, 4]) -> f32[1, 1, 3] {
  %y = max_pool %a {kernel_shape = [2]} : f32[1, 1, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn max_pool_gives_positions_in_either_order() {
        let x: Value = Tensor::from_slice(&[1, 1, 2, 3], &[1.0f32, 2.0, 9.0, 4.0, 5.0, 6.0]).into();
        let at = |order: bool| {
            let a = attrs! { kernel_shape: vec![2, 2], storage_order: order };
            let y = run("ai.onnx", "MaxPool", a, &[Some(x.clone())], 2).unwrap();
            assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [5.0, 9.0]);
            y[1].tensor().unwrap().to_i64s().unwrap()
        };
        assert_eq!(at(false), [4, 2]);
        assert_eq!(at(true), [3, 4]);
    }

    #[test]
    fn max_pool_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("MaxPool", attrs! { kernel_shape: vec![3] }, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I16, &[1, 1, 4]).as_deref(), Some("MaxPool.C1"));
        assert_eq!(bad(DType::F32, &[1, 4]).as_deref(), Some("MaxPool.C2"));
        assert_eq!(bad(DType::F32, &[1, 1, 2]).as_deref(), Some("MaxPool.C3"));
    }
}
