//! `y = data`, then `y[indices[i…, :], s…] = updates[i…, s…]` for every index tuple.
//!
//! - **C1** `indices` is `i64` of rank `q >= 1`, `data` has rank `r >= 1`, `updates` its element type
//! - **C2** the tuple length `k`, `indices`' last extent, is `1..=r`
//! - **C3** `updates` has the shape `indices.shape[..q-1] ++ data.shape[k..]`
//! - **C4** `reduction` is `none`, `add`, `mul`, `max` or `min`; all but `none` want numbers or truth values
//!
//! Without a reduction, of several updates of one slice the last counts.
//! ONNX `ScatterND`: opset 11, 13, 16 (`add`, `mul`), 18 (`max`, `min`).

use super::common::*;
use super::gather_nd::tuple_place;
use super::scatter_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::library::Target;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `ScatterND`.
    pub struct ScatterNd {
        /// How an update meets what is there: `none`, `add`, `mul`, `max` or `min`.
        reduction: String = "none",
    }
}

impl Op for ScatterNd {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let dtype = cx.same_dtype("C1", [0, 2])?;
        let (data, indices, updates) = (cx.shape(0)?, cx.shape(1)?, cx.shape(2)?);
        let (r, q) = (data.len(), indices.len());
        cx.require("C1", r >= 1 && q >= 1, || "operands must have rank 1 or more".into())?;
        if let Some(k) = indices[q - 1].as_int() {
            cx.require("C2", k >= 1 && k as usize <= r, || format!("index tuples have {k} entries for rank {r}"))?;
            let want: Vec<&Dim> = indices[..q - 1].iter().chain(&data[k as usize..]).collect();
            cx.require("C3", want.len() == updates.len(), || {
                format!("`updates` has rank {}, {} is wanted", updates.len(), want.len())
            })?;
            for (a, b) in want.into_iter().zip(&updates) {
                cx.require_eq("C3", a, b)?;
            }
        }
        require_reduction(cx, "C4", &self.reduction)?;
        cx.output(dtype, data)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (data, indices, updates) = (cx.tensor(0)?, cx.tensor(1)?, cx.tensor(2)?);
        let k = indices.shape()[indices.rank() - 1];
        let inner: usize = data.shape()[k..].iter().product();
        let mut places = Vec::new();
        for (t, tuple) in indices.to_i64s()?.chunks_exact(k).enumerate() {
            let start = tuple_place(data.shape(), tuple)? * inner;
            places.extend((0..inner).map(|j| (t * inner + j, start + j)));
        }
        let y = scatter(data, updates, &places, &self.reduction)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let tuples = cx.shape(1);
        let (k, count) = (tuples[tuples.len() - 1], tuples[..tuples.len() - 1].iter().product());
        Ok(scatter_lowering(cx, Target::Slice { k, count }, &self.reduction))
    }

    fn facts(&self) -> Facts {
        let accuracy = if self.reduction == "none" { Accuracy::Exact } else { Accuracy::Reduction };
        Facts { in_place: &[(0, 0)], accuracy, ..Facts::MOVES }
    }
}

op! {
    ScatterNd as "ScatterND" in "ai.onnx" since [11, 13, 16 brings "reduction",
        18 brings "reduction=min reduction=max"];
    "data, indices, updates" => "output";
    summary: "slices replaced or reduced at index tuples";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @scatter_nd([1.0, 2.0, 3.0], [[1], [2]], [10.0, 20.0]) == [1.0, 10.0, 20.0]
graph @scatter_nd(%a: f32[3], %b: i64[2, 1], %c: f32[2]) -> f32[3] {
  %y = scatter_nd %a, %b, %c : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    #[test]
    fn scatter_nd_writes_rows() {
        let x = Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]);
        let y = run1(
            "ScatterND",
            attrs! { reduction: "max" },
            &[x, Tensor::from_slice(&[1, 1], &[-1i64]), Tensor::from_slice(&[1, 2], &[9i32, 0])],
        );
        assert_eq!(y.unwrap().ints().unwrap(), [1, 2, 9, 4]);
    }

    #[test]
    fn scatter_nd_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let i = |s: &[usize]| Type::tensor(DType::I64, s);
        let label = |a, t: [Type; 3]| violated("ScatterND", a, &t);
        assert_eq!(label(attrs! {}, [f(&[2]), i(&[1]), i(&[])]).as_deref(), Some("ScatterND.C1"));
        assert_eq!(label(attrs! {}, [f(&[2]), i(&[2]), f(&[])]).as_deref(), Some("ScatterND.C2"));
        assert_eq!(label(attrs! {}, [f(&[2]), i(&[3, 1]), f(&[2])]).as_deref(), Some("ScatterND.C3"));
        assert_eq!(label(attrs! { reduction: "x" }, [f(&[2]), i(&[1]), f(&[])]).as_deref(), Some("ScatterND.C4"));
    }
}
