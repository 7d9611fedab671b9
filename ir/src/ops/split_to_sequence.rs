//! A tensor cut along an axis into a sequence: into pieces of one length (`split` of one element), of given lengths
//! (`split` of rank 1), or of length 1 (no `split`; with `keepdims = 0` the axis then goes).
//!
//! - **C1** `-r <= axis < r`
//! - **C2** `split` is `i32` or `i64` of rank 0 or 1
//!
//! At run time one length must be positive (the last piece has what is left), given lengths not negative and their sum the
//! extent. ONNX `SplitToSequence`: opset 11, 24 (types).

use super::common::*;
use super::move_common::*;
use super::sequence_common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SplitToSequence`.
    pub struct SplitToSequence {
        /// Axis to cut.
        axis: i64 = 0,
        /// Whether pieces of length 1 keep the axis; only where `split` is left out.
        keepdims: bool = true,
    }
}

impl Op for SplitToSequence {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, mut shape) = (cx.dtype(0)?, cx.shape(0)?);
        let axis = cx.axis("C1", self.axis, shape.len())?;
        if cx.has(1) {
            cx.require_dtype("C2", 1, sets::INDEX)?;
            let r = cx.rank(1)?;
            cx.require("C2", r <= 1, || format!("`split` has rank {r}"))?;
            shape[axis] = cx.fresh();
        } else if self.keepdims {
            shape[axis] = Dim::int(1);
        } else {
            shape.remove(axis);
        }
        cx.output_type(Type::Sequence(Box::new(Type::ranked(dtype, shape))))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let axis = normal_axis(self.axis, x.rank());
        let (outer, n, inner) = around(x.shape(), axis);
        let lengths: Vec<usize> = match cx.tensor_opt(1)? {
            None => vec![1; n],
            Some(split) => {
                let v = split.to_i64s()?;
                let v = v.into_iter().map(usize::try_from).collect::<std::result::Result<Vec<_>, _>>();
                let v = v.map_err(|_| Error::invalid("a length is negative"))?;
                match (split.rank(), v.as_slice()) {
                    (0, [0]) => return Err(Error::invalid("pieces of length 0")),
                    (0, &[by]) => (0..n).step_by(by).map(|at| by.min(n - at)).collect(),
                    _ => v,
                }
            }
        };
        let total = lengths.iter().try_fold(0usize, |a, &b| a.checked_add(b));
        if total != Some(n) {
            return Err(Error::invalid(format!("lengths {lengths:?} for an extent of {n}")));
        }
        let mut pieces = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for len in lengths {
            let mut shape = x.shape().to_vec();
            shape[axis] = len;
            if !cx.has(1) && !self.keepdims {
                shape.remove(axis);
            }
            let row = |o: usize| (o * n + start) * inner..(o * n + start + len) * inner;
            pieces.push(x.take(&shape, (0..outer).flat_map(row))?.into());
            start += len;
        }
        push_sequence(cx, 0, pieces);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SplitToSequence in "ai.onnx" since [11, 24 brings "bf16"]; "input, split?" => "output_sequence";
    summary: "a tensor cut into a sequence";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @rows([[1.0, 2.0], [3.0, 4.0]]) == seq [[1.0, 2.0], [3.0, 4.0]]
graph @rows(%a: f32[2, 2]) -> seq<f32[...]> {
  %0 = split_to_sequence %a {axis = 0, keepdims = 0}
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    fn shapes(split: Option<Tensor>, keepdims: i64) -> Result<Vec<Vec<usize>>> {
        let x = Tensor::from_slice(&[3, 1], &[1i32, 2, 3]);
        let inputs = [Some(x.into()), split.map(Value::from)];
        let y = run("ai.onnx", "SplitToSequence", attrs! { keepdims: keepdims }, &inputs, 1)?;
        let Value::Sequence(_, items) = &y[0] else { panic!("a sequence") };
        items.iter().map(|v| Ok(v.tensor()?.shape().to_vec())).collect()
    }

    #[test]
    fn split_to_sequence_cuts_three_ways() {
        assert_eq!(shapes(None, 0).unwrap(), [[1], [1], [1]]);
        assert_eq!(shapes(Some(Tensor::scalar(2i64)), 1).unwrap(), [[2, 1], [1, 1]]);
        assert_eq!(shapes(Some(Tensor::from_slice(&[2], &[0i32, 3])), 1).unwrap(), [[0, 1], [3, 1]]);
        assert!(shapes(Some(Tensor::from_slice(&[1], &[2i32])), 1).is_err());
    }

    #[test]
    fn split_to_sequence_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let label = |t: &[Type]| violated("SplitToSequence", attrs! {}, t);
        assert_eq!(label(&[f(&[])]).as_deref(), Some("SplitToSequence.C1"));
        assert_eq!(label(&[f(&[1]), f(&[])]).as_deref(), Some("SplitToSequence.C2"));
    }
}
