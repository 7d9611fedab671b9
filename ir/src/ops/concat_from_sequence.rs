//! The tensors of a sequence joined along an axis, or stacked along a new one.
//!
//! - **C1** the operand is a sequence of tensors
//! - **C2** `-r <= axis < r`; with `new_axis`, `-r-1 <= axis <= r`
//!
//! At run time the tensors must have one rank and agree but for `axis` (wholly, with `new_axis`); an empty sequence is an
//! error. ONNX `ConcatFromSequence`: opset 11.

use super::common::*;
use super::move_common::*;
use super::sequence_common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `ConcatFromSequence`.
    pub struct ConcatFromSequence {
        /// Axis along which the tensors are joined.
        axis: i64,
        /// Whether the axis is a new one.
        new_axis: bool = false,
    }
}

impl Op for ConcatFromSequence {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        match element_type(cx, "C1", 0)? {
            Type::Tensor(TensorType { dtype, shape: Shape::Ranked(mut dims) }) => {
                let axis = cx.axis("C2", self.axis, dims.len() + usize::from(self.new_axis))?;
                let n = cx.fresh();
                if self.new_axis {
                    dims.insert(axis, n);
                } else {
                    dims[axis] = n;
                }
                // A symbol inside an element's type stands for any extent; what all agree on is not known here.
                let ty = taken(cx, &Type::ranked(dtype, dims));
                cx.output_type(ty)
            }
            Type::Tensor(t) => cx.output_type(Type::Tensor(t)),
            Type::Unknown => Err(Stop::Deferred("the element type of a sequence")),
            other => cx.require("C1", false, || format!("elements are {other}")),
        }
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let tensors = items(cx, 0)?.iter().map(Value::tensor).collect::<Result<Vec<_>>>()?;
        let first = tensors.first().ok_or_else(|| Error::invalid("an empty sequence has nothing to join"))?;
        let rank = first.rank() + usize::from(self.new_axis);
        let axis = normal_index(self.axis, rank)?;
        let widen = |t: &Tensor| {
            let mut s = t.shape().to_vec();
            if self.new_axis && axis <= s.len() {
                s.insert(axis, 1);
            }
            s
        };
        let mut shape = widen(first);
        shape[axis] = 0;
        for t in &tensors {
            let s = widen(t);
            let fits =
                s.len() == rank && (0..rank).all(|a| a == axis || s[a] == shape[a]) && t.dtype() == first.dtype();
            if !fits {
                return Err(Error::invalid(format!("{:?} does not join {:?}", t.shape(), first.shape())));
            }
            shape[axis] += s[axis];
        }
        check_size(cx, first.dtype(), &shape)?;
        let (outer, total, inner) = around(&shape, axis);
        let mut y = Tensor::zeros(first.dtype(), &shape)?;
        let mut write = TensorWriter::new(&mut y);
        let mut start = 0;
        for t in tensors {
            let n = widen(t)[axis];
            for o in 0..outer {
                for k in 0..n * inner {
                    write.copy((o * total + start) * inner + k, t, o * n * inner + k)?;
                }
            }
            start += n;
        }
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    ConcatFromSequence in "ai.onnx" since [11]; "input_sequence" => "concat_result";
    summary: "the tensors of a sequence joined or stacked";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @joined([1.0, 2.0], [3.0]) == f32[3] [1.0, 2.0, 3.0]
graph @joined(%a: f32[2], %b: f32[1]) -> f32[m] {
  %0 = sequence_construct %a, %b
  %1 = concat_from_sequence %0 {axis = 0}
  return %1
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    fn go(axis: i64, new_axis: i64) -> Result<Tensor> {
        let t = |v: &[i64]| Value::from(Tensor::from_slice(&[v.len()], v));
        let s = Value::Sequence(Type::ranked(DType::I64, vec![Dim::sym("z")]), vec![t(&[1, 2]), t(&[3, 4])]);
        let y = run("ai.onnx", "ConcatFromSequence", attrs! { axis: axis, new_axis: new_axis }, &[Some(s)], 1)?;
        y[0].tensor().cloned()
    }

    #[test]
    fn concat_from_sequence_joins_and_stacks() {
        assert_eq!(go(0, 0).unwrap(), Tensor::from_slice(&[4], &[1i64, 2, 3, 4]));
        assert_eq!(go(-1, 1).unwrap(), Tensor::from_slice(&[2, 2], &[1i64, 3, 2, 4]));
    }

    #[test]
    fn concat_from_sequence_constraints_are_named() {
        let t = Type::tensor(DType::F32, &[2]);
        let label = violated("ConcatFromSequence", attrs! { axis: 0i64 }, &[t]);
        assert_eq!(label.as_deref(), Some("ConcatFromSequence.C1"));
        assert_eq!(go(1, 0).unwrap_err().label(), Some("ConcatFromSequence.C2"));
    }
}
