//! `present = past`, then `present[b, …, write_indices[b] + s, …] = update[b, …, s, …]`: a cache written along its time axis.
//!
//! - **C1** `past_cache` and `update` have one element type and one rank, 2 or more
//! - **C2** `axis` is in `-r..r` and not the batch axis 0
//! - **C3** extents agree except along `axis`, where `update` is no longer than the cache
//! - **C4** `write_indices` is `i64[batch]`; left out all 0
//! - **C5** `mode` is `linear` (writing past the end is an error) or `circular` (it wraps)
//!
//! ONNX `TensorScatter`: opset 24.

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `TensorScatter`.
    pub struct TensorScatter {
        /// Axis of time.
        axis: i64 = -2,
        /// What happens at the end of the cache: `linear` or `circular`.
        mode: String = "linear",
    }
}

impl Op for TensorScatter {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.same_dtype("C1", [0, 1])?;
        let (past, update) = (cx.shape(0)?, cx.shape(1)?);
        cx.require("C1", past.len() == update.len() && past.len() >= 2, || {
            format!("ranks {} and {}", past.len(), update.len())
        })?;
        let axis = cx.axis("C2", self.axis, past.len())?;
        cx.require("C2", axis != 0, || "the batch axis cannot be that of time".into())?;
        for a in 0..past.len() {
            if a == axis {
                cx.require_that("C3", Cond::le(&update[a], &past[a]))?;
            } else {
                cx.require_eq("C3", &past[a], &update[a])?;
            }
        }
        if cx.has(2) {
            cx.require_dtype("C4", 2, &[DType::I64])?;
            let r = cx.rank(2)?;
            cx.require("C4", r == 1, || format!("`write_indices` has rank {r}"))?;
            let n = cx.dim(2, 0)?;
            cx.require_eq("C4", &n, &past[0])?;
        }
        cx.require("C5", self.mode == "linear" || self.mode == "circular", || format!("mode `{}`", self.mode))?;
        cx.output(dtype, past)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (past, update) = (cx.tensor(0)?, cx.tensor(1)?);
        let axis = normal_axis(self.axis, past.rank());
        let n = past.shape()[axis] as i128;
        let starts = match cx.tensor_opt(2)? {
            Some(t) => t.to_i64s()?,
            None => vec![0; past.shape()[0]],
        };
        let mut y = past.clone();
        let mut write = TensorWriter::new(&mut y);
        let mut to = vec![0; past.rank()];
        each_index(update.shape(), |at, index| {
            to.copy_from_slice(index);
            // In 128 bits, where no sum overflows.
            let place = i128::from(starts[index[0]]) + index[axis] as i128;
            to[axis] = if self.mode == "circular" && n > 0 {
                place.rem_euclid(n) as usize
            } else if (0..n).contains(&place) {
                place as usize
            } else {
                return Err(Error::invalid(format!("entry {place} of a cache of {n}")));
            };
            write.copy(past.position(&to), update, at)
        })?;
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0)], ..Facts::MOVES }
    }
}

op! {
    TensorScatter in "ai.onnx" since [24]; "past_cache, update, write_indices?" => "present_cache";
    summary: "a cache written along its time axis";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @tensor_scatter([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]], [[[9.0, 9.0]]], [1]) == [[[1.0, 1.0], [9.0, 9.0], [3.0, 3.0]]]
graph @tensor_scatter(%a: f32[1, 3, 2], %b: f32[1, 1, 2], %c: i64[1]) -> f32[1, 3, 2] {
  %y = tensor_scatter %a, %b, %c {axis = 1} : f32[1, 3, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn go(mode: &str, at: i64) -> Result<Vec<i64>> {
        let x = Tensor::zeros(DType::I64, &[1, 3, 1])?;
        let u = Tensor::from_slice(&[1, 2, 1], &[1i64, 2]);
        run1("TensorScatter", attrs! { mode: mode }, &[x, u, Tensor::from_slice(&[1], &[at])])?.to_i64s()
    }

    #[test]
    fn tensor_scatter_wraps_when_circular() {
        let past = Tensor::from_slice(&[1, 3], &[0i64; 3]);
        let update = Tensor::from_slice(&[1, 3], &[1i64, 2, 3]);
        let far = [past, update, Tensor::from_slice(&[1], &[i64::MAX - 1])];
        let y = run1("TensorScatter", attrs! { axis: 1i64, mode: "circular" }, &far).unwrap();
        // 2^63 - 2 is a multiple of 3.
        assert_eq!(y.to_i64s().unwrap(), [1, 2, 3]);
        assert_eq!(go("linear", 1).unwrap(), [0, 1, 2]);
        assert_eq!(go("circular", 2).unwrap(), [2, 0, 1]);
        assert!(go("linear", 2).is_err());
        assert_eq!(go("other", 0).unwrap_err().label(), Some("TensorScatter.C5"));
    }

    #[test]
    fn tensor_scatter_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let label = |a, t: &[Type]| violated("TensorScatter", a, t);
        assert_eq!(label(attrs! {}, &[f(&[2]), f(&[2])]).as_deref(), Some("TensorScatter.C1"));
        assert_eq!(label(attrs! {}, &[f(&[2, 2]), f(&[2, 2])]).as_deref(), Some("TensorScatter.C2"));
        assert_eq!(label(attrs! {}, &[f(&[1, 2, 2]), f(&[1, 3, 2])]).as_deref(), Some("TensorScatter.C3"));
        let i = Type::tensor(DType::I64, &[2]);
        assert_eq!(label(attrs! {}, &[f(&[1, 2, 2]), f(&[1, 2, 2]), i]).as_deref(), Some("TensorScatter.C4"));
    }
}
