//! `y[n, c, w] = (sum |x|^p)^(1/p)` over window `w`.
//!
//! - **C1** `x` is a float tensor
//! - **C2** its rank is 3 or more
//! - **C3** the windows: see [`window`](super::window)
//! - **C4** `p >= 1`
//!
//! ONNX `LpPool`: opset 1 (real `p`), 2, 11, 18 (`ceil_mode`, `dilations`), 22.

use super::common::*;
use super::pool_common::{eval_pool, lp_norm, pool_rule, upgrade_p};
use super::window::{Window, window};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `LpPool`.
    pub struct LpPool {
        /// `NOTSET`, `SAME_UPPER`, `SAME_LOWER` or `VALID`.
        auto_pad: String = "NOTSET",
        /// Whether the number of windows is rounded up.
        ceil_mode: bool = false,
        /// Step within a window, by axis.
        dilations: Option<Vec<Dim>>,
        /// Extents of the window.
        kernel_shape: Vec<Dim>,
        /// Exponent of the norm.
        p: i64 = 2i64,
        /// Padding: all begins, then all ends.
        pads: Option<Vec<Dim>>,
        /// Step between windows, by axis.
        strides: Option<Vec<Dim>>,
    }
}

impl LpPool {
    fn window(&self) -> Window<'_> {
        window!(self, ceil = self.ceil_mode)
    }
}

impl Op for LpPool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C4", self.p >= 1, || format!("p is {}", self.p))?;
        let (dtype, shape) = pool_rule(cx, sets::FLOATS, self.window(), &self.kernel_shape)?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_pool(cx, self.window(), &self.kernel_shape, |cells, _, _| lp_norm(cells, self.p))
    }
}

op! {
    LpPool in "ai.onnx" since [1, 2, 11, 18 brings "ceil_mode dilations", 22 brings "bf16"]; "X" => "Y";
    summary: "Lp norm of each sliding window";
    upgrade: upgrade_p;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @lp_pool([[[3.0, 4.0, 0.0]]]) == [[[5.0, 4.0]]]
graph @lp_pool(%a: f32[1, 1, 3]) -> f32[1, 1, 2] {
  %y = lp_pool %a {kernel_shape = [2]} : f32[1, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn lp_pool_takes_norms() {
        let x = Tensor::from_slice(&[1, 1, 3], &[3.0f32, -4.0, 0.0]);
        let y = run1("LpPool", attrs! { kernel_shape: vec![2] }, &[x]).unwrap();
        assert_eq!(y.floats().unwrap(), [5.0, 4.0]);
    }

    #[test]
    fn lp_pool_constraints_are_named() {
        let bad =
            |p: i64, d, s: &[usize]| violated("LpPool", attrs! { kernel_shape: vec![3], p: p }, &[Type::tensor(d, s)]);
        assert_eq!(bad(2, DType::I8, &[1, 1, 4]).as_deref(), Some("LpPool.C1"));
        assert_eq!(bad(2, DType::F32, &[1, 4]).as_deref(), Some("LpPool.C2"));
        assert_eq!(bad(2, DType::F32, &[1, 1, 2]).as_deref(), Some("LpPool.C3"));
        assert_eq!(bad(0, DType::F32, &[1, 1, 4]).as_deref(), Some("LpPool.C4"));
    }
}
