//! The upper or lower triangle of the last two axes: [`trilu`](crate::ops::trilu) before ONNX had it.
//!
//! Constraints as there. ONNX Runtime `com.microsoft::Trilu`, version 1.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Trilu`.
    pub struct Trilu {
        /// Whether the upper triangle stays.
        upper: bool = true,
    }
}

impl Op for Trilu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        b.node("ai.onnx", "Trilu", self.attrs(), x, 1).map(Some)
    }
}

op! {
    Trilu in "com.microsoft" since [1]; "X, k?" => "Y";
    summary: "upper or lower triangle of matrices";
}

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::check;
    use crate::{Tensor, attrs};

    #[test]
    fn trilu_keeps_a_triangle() {
        let x = Tensor::from_slice(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
        check("Trilu", attrs! { upper: false }, &[x], &[1.0, 0.0, 3.0, 4.0]);
    }
}
