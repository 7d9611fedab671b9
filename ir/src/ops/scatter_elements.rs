//! `y = data`, then `y[i_0, …, indices[i], …, i_{r-1}] = updates[i]` for every index `i` of `indices`, the index at `axis`.
//!
//! - **C1** `indices` is `i32` or `i64`, `updates` has `data`'s element type
//! - **C2** `-r <= axis < r`
//! - **C3** `indices` has `data`'s rank, and no larger extent except along `axis`
//! - **C4** `updates` has `indices`' shape
//! - **C5** `reduction` is `none`, `add`, `mul`, `max` or `min`; all but `none` want numbers or truth values
//!
//! Without a reduction, of several updates of one element the last counts. Negative indices count from the end.
//! ONNX `ScatterElements`: opset 11, 13, 16 (`add`, `mul`), 18 (`max`, `min`); `Scatter` of opset 9 is the same.

use super::common::*;
use super::gather_elements::{each_element, require_fit};
use super::scatter_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::library::Target;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ScatterElements`.
    pub struct ScatterElements {
        /// Axis that the indices replace.
        axis: i64 = 0,
        /// How an update meets what is there: `none`, `add`, `mul`, `max` or `min`.
        reduction: String = "none",
    }
}

/// Rule of `ScatterElements` and `Scatter`.
pub(super) fn rule(cx: &mut RuleCx<'_>, axis: i64, reduction: &str) -> RuleResult {
    cx.require_dtype("C1", 1, sets::INDEX)?;
    let dtype = cx.same_dtype("C1", [0, 2])?;
    let shape = cx.shape(0)?;
    let axis = cx.axis("C2", axis, shape.len())?;
    require_fit(cx, "C3", axis)?;
    let (indices, updates) = (cx.shape(1)?, cx.shape(2)?);
    cx.require("C4", indices.len() == updates.len(), || {
        format!("`updates` has rank {}, `indices` {}", updates.len(), indices.len())
    })?;
    for (a, b) in indices.iter().zip(&updates) {
        cx.require_eq("C4", a, b)?;
    }
    require_reduction(cx, "C5", reduction)?;
    cx.output(dtype, shape)
}

/// Evaluation of `ScatterElements` and `Scatter`.
///
/// # Errors
/// When an index is out of range.
pub(super) fn eval(cx: &mut EvalCx<'_>, axis: i64, reduction: &str) -> Result<()> {
    let (data, indices) = (cx.tensor(0)?, cx.tensor(1)?);
    let mut places = Vec::with_capacity(indices.len());
    each_element(data, indices, normal_axis(axis, data.rank()), |k, place| {
        places.push((k, place));
        Ok(())
    })?;
    let y = scatter(data, cx.tensor(2)?, &places, reduction)?;
    cx.push(y);
    Ok(())
}

/// Lowering of `ScatterElements` and `Scatter`.
pub(super) fn lowering(cx: &LowerCx<'_>, axis: i64, reduction: &str) -> Lowering {
    let axis = normal_axis(axis, cx.shape(0).len());
    scatter_lowering(cx, Target::Element { axis, indices: cx.shape(1).to_vec() }, reduction)
}

impl Op for ScatterElements {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        rule(cx, self.axis, &self.reduction)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval(cx, self.axis, &self.reduction)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        Ok(lowering(cx, self.axis, &self.reduction))
    }

    fn facts(&self) -> Facts {
        let accuracy = if self.reduction == "none" { Accuracy::Exact } else { Accuracy::Reduction };
        Facts { in_place: &[(0, 0)], accuracy, ..Facts::MOVES }
    }
}

op! {
    ScatterElements in "ai.onnx" since [11, 13, 16 brings "reduction", 18 brings "reduction=min reduction=max"];
    "data, indices, updates" => "output";
    summary: "elements replaced or reduced at an index each along one axis";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @scatter([1.0, 2.0, 3.0], [2, 0], [10.0, 20.0]) == [20.0, 2.0, 10.0]
graph @scatter(%a: f32[3], %b: i64[2], %c: f32[2]) -> f32[3] {
  %y = scatter_elements %a, %b, %c : f32[3]
  return %y
}
// run: @scatter_elements([1.0, 2.0, 3.0], [2, 0], [10.0, 20.0]) == [20.0, 2.0, 10.0]
graph @scatter_elements(%a: f32[3], %b: i64[2], %c: f32[2]) -> f32[3] {
  %y = scatter_elements %a, %b, %c : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn scatter_elements_reduces_repeated_indices() {
        let x = Tensor::from_slice(&[3], &[1f32, 2.0, 3.0]);
        let i = Tensor::from_slice(&[2], &[1i64, -2]);
        let u = Tensor::from_slice(&[2], &[10f32, 20.0]);
        let go =
            |r: &str| run1("ScatterElements", attrs! { reduction: r }, &[x.clone(), i.clone(), u.clone()]).unwrap();
        assert_eq!(go("none").floats().unwrap(), [1.0, 20.0, 3.0]);
        assert_eq!(go("add").floats().unwrap(), [1.0, 32.0, 3.0]);
        assert_eq!(go("mul").floats().unwrap(), [1.0, 400.0, 3.0]);
        assert_eq!(go("min").floats().unwrap(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn scatter_elements_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let i = |s: &[usize]| Type::tensor(DType::I64, s);
        let label = |a, t: [Type; 3]| violated("ScatterElements", a, &t);
        assert_eq!(label(attrs! {}, [f(&[2]), f(&[1]), f(&[1])]).as_deref(), Some("ScatterElements.C1"));
        assert_eq!(label(attrs! { axis: 1i64 }, [f(&[2]), i(&[1]), f(&[1])]).as_deref(), Some("ScatterElements.C2"));
        assert_eq!(label(attrs! {}, [f(&[2, 1]), i(&[1, 2]), f(&[1, 2])]).as_deref(), Some("ScatterElements.C3"));
        assert_eq!(label(attrs! {}, [f(&[2]), i(&[1]), f(&[2])]).as_deref(), Some("ScatterElements.C4"));
        let odd = attrs! { reduction: "sub" };
        assert_eq!(label(odd, [f(&[2]), i(&[1]), f(&[1])]).as_deref(), Some("ScatterElements.C5"));
    }
}
