//! `y[i_0, …, i_{r-1}] = data[i_0, …, indices[i_0, …, i_{r-1}], …, i_{r-1}]`, the index put at `axis`.
//!
//! - **C1** `indices` is `i32` or `i64`
//! - **C2** `-r <= axis < r`
//! - **C3** `indices` has `data`'s rank, and no larger extent except along `axis`
//!
//! The result has `indices`' shape. Negative indices count from the end. ONNX `GatherElements`: opset 11, 13 (types).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::lower::IndexRange;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use crate::tensor::strides;

attributes! {
    /// Attributes of `GatherElements`.
    pub struct GatherElements {
        /// Axis that the indices replace.
        axis: i64 = 0,
    }
}

/// Requires `indices` (operand 1) to fit `data` (operand 0) but for `axis`.
pub(super) fn require_fit(cx: &mut RuleCx<'_>, label: &'static str, axis: usize) -> RuleResult {
    let (data, indices) = (cx.shape(0)?, cx.shape(1)?);
    cx.require(label, data.len() == indices.len(), || {
        format!("`indices` has rank {}, `data` {}", indices.len(), data.len())
    })?;
    (0..data.len()).filter(|&a| a != axis).try_for_each(|a| cx.require_that(label, Cond::le(&indices[a], &data[a])))
}

/// Calls `visit` with each position of `indices` and the position in `data` to which it leads.
///
/// # Errors
/// When an index is out of range, or `visit` fails.
pub(super) fn each_element(
    data: &Tensor,
    indices: &Tensor,
    axis: usize,
    mut visit: impl FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let (at, steps) = (indices.to_i64s()?, strides(data.shape()));
    each_index(indices.shape(), |k, index| {
        let along = normal_index(at[k], data.shape()[axis])?;
        let place = index.iter().enumerate().map(|(a, &i)| if a == axis { along } else { i } * steps[a]).sum();
        visit(k, place)
    })
}

impl Op for GatherElements {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, sets::INDEX)?;
        let axis = cx.axis("C2", self.axis, cx.rank(0)?)?;
        require_fit(cx, "C3", axis)?;
        cx.output(cx.dtype(0)?, cx.shape(1)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (data, indices) = (cx.tensor(0)?, cx.tensor(1)?);
        let mut positions = Vec::with_capacity(indices.len());
        each_element(data, indices, normal_axis(self.axis, data.rank()), |_, place| {
            positions.push(place);
            Ok(())
        })?;
        take_result(cx, positions)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (data, axis) = (cx.shape(0).to_vec(), normal_axis(self.axis, cx.shape(0).len()));
        if data.contains(&0) {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let (x, at) = (l.x(0), l.x(1));
        l.check_index(1, IndexRange::axes(&data[axis..=axis]));
        l.result(|c, i| {
            let picked = c.load(at, i);
            let mut index = i.to_vec();
            index[axis] = c.index_from_data(picked, data[axis]);
            c.load(x, &index)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    GatherElements in "ai.onnx" since [11, 13]; "data, indices" => "output";
    summary: "elements picked by an index each along one axis";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gather_elements([[1.0, 2.0], [3.0, 4.0]], [[0, 0], [1, 0]]) == [[1.0, 1.0], [4.0, 3.0]]
graph @gather_elements(%a: f32[2, 2], %b: i64[2, 2]) -> f32[2, 2] {
  %y = gather_elements %a, %b {axis = 1} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn gather_elements_picks_in_each_row() {
        let x = Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]);
        let i = Tensor::from_slice(&[1, 2], &[1i64, -2]);
        let y = run1("GatherElements", attrs! {}, &[x.clone(), i]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 2], &[3i32, 2]));
        assert!(run1("GatherElements", attrs! {}, &[x, Tensor::from_slice(&[1, 1], &[2i64])]).is_err());
    }

    #[test]
    fn gather_elements_constraints_are_named() {
        let label = |axis: i64, d, s: &[usize]| {
            violated("GatherElements", attrs! { axis: axis }, &[Type::tensor(DType::F32, &[2, 2]), Type::tensor(d, s)])
        };
        assert_eq!(label(0, DType::F32, &[1, 1]).as_deref(), Some("GatherElements.C1"));
        assert_eq!(label(2, DType::I64, &[1, 1]).as_deref(), Some("GatherElements.C2"));
        assert_eq!(label(0, DType::I64, &[1, 3]).as_deref(), Some("GatherElements.C3"));
        assert_eq!(label(0, DType::I64, &[1]).as_deref(), Some("GatherElements.C3"));
    }
}
