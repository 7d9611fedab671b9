//! The old name of `ScatterElements` without a reduction; its constraints C1 to C4.
//!
//! ONNX `Scatter`: opset 9, 11 (deprecated). The importer makes a `ScatterElements` of it.

use super::common::*;
use super::scatter_elements;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Scatter`.
    pub struct Scatter {
        /// Axis that the indices replace.
        axis: i64 = 0,
    }
}

impl Op for Scatter {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        scatter_elements::rule(cx, self.axis, "none")
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        scatter_elements::eval(cx, self.axis, "none")
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        Ok(super::scatter_elements::lowering(cx, self.axis, "none"))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0)], ..Facts::MOVES }
    }
}

op! {
    Scatter in "ai.onnx" since [9, 11]; "data, indices, updates" => "output";
    summary: "elements replaced at an index each along one axis (old name)";
    deprecated: 11;
    upgrade: |cx| { cx.op_type = "ScatterElements".into(); Ok(()) };
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn scatter_replaces_elements() {
        let t = |v: &[i64]| Tensor::from_slice(&[v.len()], v);
        let y = run1("Scatter", attrs! {}, &[t(&[1, 2, 3]), t(&[2]), t(&[7])]).unwrap();
        assert_eq!(y.to_i64s().unwrap(), [1, 2, 7]);
    }
}
