//! `y[n, c, 1…] = ` the Lp norm of `x[n, c, …]` over all spatial axes.
//!
//! - **C1** `x` is a float tensor
//! - **C2** its rank is 3 or more and the exponent positive
//!
//! ONNX `GlobalLpPool`: opset 1, 2, 22 (1: real exponent).

use super::common::*;
use super::pool_common::{eval_global, global_rule, lp_norm, upgrade_p};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `GlobalLpPool`.
    pub struct GlobalLpPool {
        /// Exponent of the norm.
        p: i64 = 2i64,
    }
}

impl Op for GlobalLpPool {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require("C2", self.p >= 1, || format!("p is {}", self.p))?;
        global_rule(cx)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let p = self.p;
        eval_global(cx, move |v| lp_norm(v, p))
    }
}

op! {
    GlobalLpPool in "ai.onnx" since [1, 2, 22 brings "bf16"]; "X" => "Y";
    summary: "Lp norm over all spatial axes";
    upgrade: upgrade_p;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @global_lp_pool([[[3.0, 4.0]]]) == [[[5.0]]]
graph @global_lp_pool(%a: f32[1, 1, 2]) -> f32[1, 1, 1] {
  %y = global_lp_pool %a : f32[1, 1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn global_lp_pool_reduces_each_channel() {
        let x = Tensor::from_slice(&[1, 2, 2], &[3f32, -5.0, 4.0, 0.0]);
        let y = run1("GlobalLpPool", attrs! {}, &[x]).unwrap();
        assert_eq!(y.shape(), [1, 2, 1]);
        assert_eq!(y.floats().unwrap()[1], 4.0);
    }

    #[test]
    fn global_lp_pool_rejects_integers_and_matrices() {
        let bad = |d, s: &[usize]| violated("GlobalLpPool", attrs! {}, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1, 1, 1]).as_deref(), Some("GlobalLpPool.C1"));
        assert_eq!(bad(DType::F32, &[1, 1]).as_deref(), Some("GlobalLpPool.C2"));
    }
}
