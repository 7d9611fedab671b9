//! `y[n, c, 1…] = ` the mean of `x[n, c, …]` over all spatial axes.
//!
//! - **C1** `x` is a float tensor
//! - **C2** its rank is 3 or more
//!
//! ONNX `GlobalAveragePool`: opset 1, 22.

use super::common::*;
use super::lowering;
use super::lowering::{BinOp, ReduceOp};
use super::pool_common::{eval_global, global_rule};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `GlobalAveragePool` has no attributes.
    pub struct GlobalAveragePool {}
}

impl Op for GlobalAveragePool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        global_rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_global(cx, |v| v.iter().sum::<f64>() / v.len() as f64)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let spatial: Vec<usize> = (2..cx.shape(0).len()).collect();
        let n: usize = cx.shape(0).iter().skip(2).product();
        let scale = 1.0 / n as f64;
        lowering::reduce(cx, &spatial, ReduceOp::Sum, |_, x| x, |c, y| c.bin_const(BinOp::Mul, y, scale))
    }
}

op! {
    GlobalAveragePool in "ai.onnx" since [1, 22 brings "bf16"]; "X" => "Y";
    summary: "mean over all spatial axes";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @global_average_pool([[[1.0, 2.0], [3.0, 4.0]]]) == [[[1.5], [3.5]]]
graph @global_average_pool(%a: f32[1, 2, 2]) -> f32[1, 2, 1] {
  %y = global_average_pool %a : f32[1, 2, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn global_average_pool_reduces_each_channel() {
        let x = Tensor::from_slice(&[1, 2, 2], &[3f32, -5.0, 4.0, 0.0]);
        let y = run1("GlobalAveragePool", attrs! {}, &[x]).unwrap();
        assert_eq!(y.shape(), [1, 2, 1]);
        assert_eq!(y.floats().unwrap()[1], 2.0);
    }

    #[test]
    fn global_average_pool_rejects_integers_and_matrices() {
        let bad = |d, s: &[usize]| violated("GlobalAveragePool", attrs! {}, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1, 1, 1]).as_deref(), Some("GlobalAveragePool.C1"));
        assert_eq!(bad(DType::F32, &[1, 1]).as_deref(), Some("GlobalAveragePool.C2"));
    }
}
