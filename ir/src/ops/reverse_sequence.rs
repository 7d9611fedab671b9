//! `y[t, b] = x[len_b - 1 - t, b]` for `t < len_b`, else `x[t, b]`: each batch entry's first entries in time reversed.
//!
//! - **C1** the operand has rank 2 or more
//! - **C2** `time_axis` and `batch_axis` are 0 and 1 in either order
//! - **C3** `sequence_lens` is `i64[batch]`
//!
//! A length outside `0..=time` is an error. ONNX `ReverseSequence`: opset 10, 28 (types).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::lower::IndexRange;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ReverseSequence`.
    pub struct ReverseSequence {
        /// Axis of the batch.
        batch_axis: i64 = 1,
        /// Axis of time.
        time_axis: i64 = 0,
    }
}

impl Op for ReverseSequence {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let shape = cx.shape(0)?;
        cx.require("C1", shape.len() >= 2, || format!("the operand has rank {}", shape.len()))?;
        let (b, t) = (self.batch_axis, self.time_axis);
        cx.require("C2", (b == 0 && t == 1) || (b == 1 && t == 0), || format!("axes {b} and {t}"))?;
        cx.require_dtype("C3", 1, &[DType::I64])?;
        let r = cx.rank(1)?;
        cx.require("C3", r == 1, || format!("`sequence_lens` has rank {r}"))?;
        let n = cx.dim(1, 0)?;
        cx.require_eq("C3", &n, &shape[b as usize])?;
        cx.output(cx.dtype(0)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (b, t) = (self.batch_axis as usize, self.time_axis as usize);
        let time = x.shape()[t];
        let lens = cx.tensor(1)?.to_i64s()?;
        if let Some(bad) = lens.iter().find(|&&n| n < 0 || n > time as i64) {
            return Err(Error::invalid(format!("a sequence of length {bad} in {time} steps")));
        }
        let mut from = Vec::with_capacity(x.len());
        let mut source = vec![0; x.rank()];
        each_index(x.shape(), |_, index| {
            source.copy_from_slice(index);
            let n = lens[index[b]] as usize;
            if index[t] < n {
                source[t] = n - 1 - index[t];
            }
            from.push(x.position(&source));
            Ok(())
        })?;
        take_result(cx, from)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (b, t) = (self.batch_axis as usize, self.time_axis as usize);
        let time = cx.shape(0)[t];
        if cx.shape(0).contains(&0) {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let (x, lens) = (l.x(0), l.x(1));
        l.check_index(1, IndexRange::from_zero(time + 1));
        l.result(|c, i| {
            let n = c.load(lens, &[i[b]]);
            let (here, back) = (c.lt(i[t], n), c.sub(n, i[t]));
            let back = c.affine(back, 1, -1);
            let mut index = i.to_vec();
            index[t] = c.select(here, back, i[t]);
            // The check keeps it inside; the clamp makes that plain.
            let (zero, last) = (c.idx(0), c.idx(time as i64 - 1));
            let at = c.max(index[t], zero);
            index[t] = c.min(at, last);
            c.load(x, &index)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    ReverseSequence in "ai.onnx" since [10, 28 brings "bf16"]; "input, sequence_lens" => "Y";
    summary: "sequences of given lengths reversed in time";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reverse_sequence([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [2, 3]) == [[2.0, 1.0, 3.0], [6.0, 5.0, 4.0]]
graph @reverse_sequence(%a: f32[2, 3], %b: i64[2]) -> f32[2, 3] {
  %y = reverse_sequence %a, %b {batch_axis = 0, time_axis = 1} : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn reverse_sequence_keeps_the_tail() {
        let x = Tensor::from_slice(&[2, 3], &[1i32, 2, 3, 4, 5, 6]);
        let a = || attrs! { batch_axis: 0i64, time_axis: 1i64 };
        let y = run1("ReverseSequence", a(), &[x.clone(), Tensor::from_slice(&[2], &[2i64, 3])]).unwrap();
        assert_eq!(y.ints().unwrap(), [2, 1, 3, 6, 5, 4]);
        assert!(run1("ReverseSequence", a(), &[x, Tensor::from_slice(&[2], &[4i64, 0])]).is_err());
    }

    #[test]
    fn reverse_sequence_constraints_are_named() {
        let (f, i) = (|s: &[usize]| Type::tensor(DType::F32, s), Type::tensor(DType::I64, &[2]));
        let label = |a, t| violated("ReverseSequence", a, &[t, i.clone()]);
        assert_eq!(label(attrs! {}, f(&[2])).as_deref(), Some("ReverseSequence.C1"));
        assert_eq!(label(attrs! { time_axis: 1i64 }, f(&[2, 2])).as_deref(), Some("ReverseSequence.C2"));
        assert_eq!(label(attrs! {}, f(&[2, 3])).as_deref(), Some("ReverseSequence.C3"));
    }
}
