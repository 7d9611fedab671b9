//! `y[n, c, 1…] = ` the greatest element of `x[n, c, …]` over all spatial axes.
//!
//! - **C1** `x` is a float tensor
//! - **C2** its rank is 3 or more
//!
//! ONNX `GlobalMaxPool`: opset 1, 22.

use super::common::*;
use super::lowering;
use super::lowering::ReduceOp;
use super::pool_common::{eval_global, global_rule};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `GlobalMaxPool` has no attributes.
    pub struct GlobalMaxPool {}
}

impl Op for GlobalMaxPool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        global_rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_global(cx, |v| v.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a || b.is_nan() { b } else { a }))
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let spatial: Vec<usize> = (2..cx.shape(0).len()).collect();
        lowering::reduce(cx, &spatial, ReduceOp::Max, |_, x| x, |_, y| y)
    }
}

op! {
    GlobalMaxPool in "ai.onnx" since [1, 22 brings "bf16"]; "X" => "Y";
    summary: "greatest element over all spatial axes";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @global_max_pool([[[1.0, 2.0], [3.0, 4.0]]]) == [[[2.0], [4.0]]]
graph @global_max_pool(%a: f32[1, 2, 2]) -> f32[1, 2, 1] {
  %y = global_max_pool %a : f32[1, 2, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn global_max_pool_reduces_each_channel() {
        let x = Tensor::from_slice(&[1, 2, 2], &[3f32, -5.0, 4.0, 0.0]);
        let y = run1("GlobalMaxPool", attrs! {}, &[x]).unwrap();
        assert_eq!(y.shape(), [1, 2, 1]);
        assert_eq!(y.floats().unwrap()[1], 4.0);
    }

    #[test]
    fn global_max_pool_rejects_integers_and_matrices() {
        let bad = |d, s: &[usize]| violated("GlobalMaxPool", attrs! {}, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1, 1, 1]).as_deref(), Some("GlobalMaxPool.C1"));
        assert_eq!(bad(DType::F32, &[1, 1]).as_deref(), Some("GlobalMaxPool.C2"));
    }
}
