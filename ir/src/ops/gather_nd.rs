//! `y[b…, i…, s…] = data[b…, indices[b…, i…, :], s…]`: slices picked by index tuples.
//!
//! - **C1** `indices` is `i64` of rank `q >= 1`, `data` has rank `r >= 1`
//! - **C2** `0 <= batch_dims < min(q, r)`, the batch extents agree
//! - **C3** the tuple length, `indices`' last extent, is `1..=r - batch_dims`
//!
//! ONNX `GatherND`: opset 11, 12 (`batch_dims`), 13 (types).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::lower::IndexRange;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `GatherND`.
    pub struct GatherNd {
        /// Leading axes that run together.
        batch_dims: i64 = 0,
    }
}

/// The position in `shape` (of inner size `inner`) to which an index tuple leads.
///
/// # Errors
/// When an index is out of range.
pub(super) fn tuple_place(shape: &[usize], tuple: &[i64]) -> Result<usize> {
    tuple.iter().zip(shape).try_fold(0, |at, (&i, &n)| Ok(at * n + normal_index(i, n)?))
}

impl Op for GatherNd {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let (data, indices) = (cx.shape(0)?, cx.shape(1)?);
        let (r, q) = (data.len(), indices.len());
        cx.require("C1", r >= 1 && q >= 1, || "operands must have rank 1 or more".into())?;
        let b = usize::try_from(self.batch_dims).unwrap_or(usize::MAX);
        cx.require("C2", b < r.min(q), || format!("`batch_dims` {} for ranks {r} and {q}", self.batch_dims))?;
        for a in 0..b {
            cx.require_eq("C2", &data[a], &indices[a])?;
        }
        let Some(k) = indices[q - 1].as_int() else { return Err(Stop::Deferred("the length of index tuples")) };
        cx.require("C3", k >= 1 && k as usize <= r - b, || format!("index tuples have {k} entries for rank {r}"))?;
        let mut shape = indices[..q - 1].to_vec();
        shape.extend_from_slice(&data[b + k as usize..]);
        cx.output(cx.dtype(0)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (data, indices) = (cx.tensor(0)?, cx.tensor(1)?);
        let b = self.batch_dims as usize;
        let k = indices.shape()[indices.rank() - 1];
        let tuples = indices.to_i64s()?;
        let shape = data.shape();
        let batches: usize = shape[..b].iter().product();
        let each: usize = shape[b..].iter().product();
        let inner: usize = shape[b + k..].iter().product();
        let count = tuples.len() / k;
        let mut positions = Vec::new();
        for (t, tuple) in tuples.chunks_exact(k).enumerate() {
            let batch = t / (count / batches.max(1)).max(1);
            let start = batch * each + tuple_place(&shape[b..], tuple)? * inner;
            positions.extend(start..start + inner);
        }
        take_result(cx, positions)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (data, tuples) = (cx.shape(0).to_vec(), cx.shape(1).to_vec());
        let (b, q) = (self.batch_dims as usize, tuples.len());
        let k = tuples[q - 1];
        if data.contains(&0) {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let (x, at) = (l.x(0), l.x(1));
        l.check_index(1, IndexRange::axes(&data[b..b + k]));
        l.result(|c, i| {
            let mut index = i[..b].to_vec();
            for a in 0..k {
                let mut tuple = i[..q - 1].to_vec();
                tuple.push(c.idx(a as i64));
                let picked = c.load(at, &tuple);
                index.push(c.index_from_data(picked, data[b + a]));
            }
            index.extend_from_slice(&i[q - 1..]);
            c.load(x, &index)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    GatherNd as "GatherND" in "ai.onnx" since [11, 12, 13]; "data, indices" => "output";
    summary: "slices picked by index tuples";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gather_nd([[1.0, 2.0], [3.0, 4.0]], [[0, 1], [1, 0]]) == [2.0, 3.0]
graph @gather_nd(%a: f32[2, 2], %b: i64[2, 2]) -> f32[2] {
  %y = gather_nd %a, %b : f32[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn gather_nd_picks_elements_rows_and_per_batch() {
        let x = Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]);
        let go = |b: i64, i: Tensor| run1("GatherND", attrs! { batch_dims: b }, &[x.clone(), i]).unwrap();
        assert_eq!(go(0, Tensor::from_slice(&[2, 2], &[0i64, 0, -1, 1])).ints().unwrap(), [1, 4]);
        assert_eq!(go(0, Tensor::from_slice(&[1, 1], &[1i64])), Tensor::from_slice(&[1, 2], &[3i32, 4]));
        assert_eq!(go(1, Tensor::from_slice(&[2, 1], &[1i64, 0])).ints().unwrap(), [2, 3]);
    }

    #[test]
    fn gather_nd_constraints_are_named() {
        let label = |b: i64, d, s: &[usize]| {
            violated("GatherND", attrs! { batch_dims: b }, &[Type::tensor(DType::F32, &[2, 2]), Type::tensor(d, s)])
        };
        assert_eq!(label(0, DType::I32, &[1]).as_deref(), Some("GatherND.C1"));
        assert_eq!(label(1, DType::I64, &[3, 1]).as_deref(), Some("GatherND.C2"));
        assert_eq!(label(0, DType::I64, &[3]).as_deref(), Some("GatherND.C3"));
    }
}
