//! `y_n = 0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)`, `N` the size, or one less where not `periodic`.
//!
//! - **C1** `size` is an integer scalar
//! - **C2** it is not negative
//! - **C3** `output_datatype` is a type of numbers
//!
//! ONNX `BlackmanWindow`: opset 17.

use super::common::*;
use super::signal_common::{eval_window, window_rule};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `BlackmanWindow`.
    pub struct BlackmanWindow {
        /// Element type of the result.
        output_datatype: DType = DType::F32,
        /// Whether the window is one period of a longer signal.
        periodic: bool = true,
    }
}

impl Op for BlackmanWindow {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        window_rule(cx, self.output_datatype)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_window(cx, self.periodic, |t| 0.42 - 0.5 * t.cos() + 0.08 * (2.0 * t).cos())
    }
}

op! {
    BlackmanWindow in "ai.onnx" since [17]; "size" => "output";
    summary: "the window function 0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @blackman_window(4) ~= f32[4] [1.4901161e-8, 0.34, 1.0, 0.34000003]
graph @blackman_window(%a: i64[]) -> f32[u1] {
  %y = blackman_window %a : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn blackman_window_is_one_in_the_middle_and_checks_its_size() {
        let y = run1("BlackmanWindow", attrs! { periodic: false }, &[Tensor::scalar(3i64)]).unwrap();
        assert!((y.floats().unwrap()[1] - 1.0).abs() < 1e-6);
        let label = |t: Tensor| run1("BlackmanWindow", attrs! {}, &[t]).unwrap_err().label().map(str::to_owned);
        assert_eq!(label(Tensor::scalar(3f32)).as_deref(), Some("BlackmanWindow.C1"));
        assert_eq!(label(Tensor::scalar(-3i64)).as_deref(), Some("BlackmanWindow.C2"));
        let bad = violated("BlackmanWindow", attrs! { output_datatype: DType::Bool }, &[Type::tensor(DType::I64, &[])]);
        assert_eq!(bad.as_deref(), Some("BlackmanWindow.C3"));
    }
}
