//! A tensor cut along one axis into pieces: of the lengths in `split`, or as equal as can be.
//!
//! - **C1** `-r <= axis < r`
//! - **C2** `split` is `i64` of rank 1 with one length a result, none negative
//! - **C3** the lengths sum to the extent
//! - **C4** either `split` or `num_outputs` is given, and the latter is the number of results
//!
//! Without `split` each piece has `ceil(d / n)` entries, the last what is left. ONNX `Split`: opset 1 and 2 (`split` an
//! attribute; 1 takes it as an operand too), 11, 13 (operand), 18 (`num_outputs`; before, pieces were equal).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Split`.
    pub struct Split {
        /// Axis to cut.
        axis: i64 = 0,
        /// Number of pieces.
        num_outputs: Option<i64>,
    }
}

impl Op for Split {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = (cx.dtype(0)?, cx.shape(0)?);
        let axis = cx.axis("C1", self.axis, shape.len())?;
        let n = cx.n_outputs();
        if let Some(m) = self.num_outputs {
            cx.require("C4", m == n as i64, || format!("`num_outputs` is {m}, the node has {n} results"))?;
        }
        cx.require("C4", cx.has(1) != self.num_outputs.is_some(), || {
            format!("`split` and `num_outputs` are {} given", if cx.has(1) { "both" } else { "not" })
        })?;
        let total = shape[axis].clone();
        let lengths: Vec<Dim> = if cx.has(1) {
            cx.require_dtype("C2", 1, &[DType::I64])?;
            let r = cx.rank(1)?;
            cx.require("C2", r == 1, || format!("`split` has rank {r}"))?;
            let len = cx.dim(1, 0)?;
            cx.require("C2", len.as_int().is_none_or(|m| m == n as i64), || {
                format!("`split` has {len} lengths, the node {n} results")
            })?;
            cx.require_eq("C2", &len, &Dim::from(n))?;
            match cx.values(1)? {
                Some(v) => {
                    for d in &v {
                        cx.require_that("C2", Cond::le(&Dim::int(0), d))?;
                    }
                    cx.require_eq("C3", &v.iter().sum(), &total)?;
                    v
                }
                None => (0..n).map(|_| cx.fresh()).collect(),
            }
        } else {
            let chunk = total.ceil_div(&Dim::from(n));
            let last = &total - &chunk * (n as i64 - 1);
            cx.require_that("C3", Cond::le(&Dim::int(0), &last))?;
            (0..n).map(|i| if i + 1 == n { last.clone() } else { chunk.clone() }).collect()
        };
        let values = if shape.len() == 1 && dtype.is_int() { cx.values(0)? } else { None };
        let mut at = 0;
        for d in lengths {
            let mut dims = shape.clone();
            dims[axis] = d.clone();
            cx.output(dtype, dims)?;
            if let (Some(v), Some(n)) = (&values, d.as_int()) {
                let end = at + n.max(0) as usize;
                cx.output_values(v.get(at..end).map(<[_]>::to_vec));
                at = end;
            } else {
                at = usize::MAX / 2;
            }
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (outer, n, inner) = around(x.shape(), normal_axis(self.axis, x.rank()));
        let mut start = 0;
        for k in 0..cx.n_outputs() {
            let (_, shape) = cx.out(k)?;
            let len = shape[normal_axis(self.axis, x.rank())];
            let at = start;
            let row = move |o| (o * n + at) * inner..(o * n + at + len) * inner;
            let piece = x.take(&shape, (0..outer).flat_map(row))?;
            cx.push(piece);
            start += len;
        }
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let axis = normal_axis(self.axis, cx.shape(0).len());
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let mut start = 0;
        let mut pieces = Vec::new();
        for (dtype, shape) in &cx.outputs {
            let at = start;
            pieces.push(l.c.compute(*dtype, shape, |c, i| {
                let mut index = i.to_vec();
                index[axis] = c.affine(index[axis], 1, at);
                c.load(x, &index)
            }));
            start += shape[axis] as i64;
        }
        l.done(&pieces)
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

/// Before opset 13 `split` was an attribute; before 18 the number of pieces was that of the results.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 13 {
        cx.ints_to_input("split", 1)?;
    }
    if cx.inputs.get(1).copied().flatten().is_none() && !cx.attrs.contains_key("num_outputs") {
        cx.attrs.insert("num_outputs".into(), (cx.outputs.len() as i64).into());
    }
    Ok(())
}

op! {
    Split in "ai.onnx" since [1, 2, 11, 13, 18 brings "num_outputs"]; "input, split?" => "outputs*";
    summary: "a tensor cut along one axis";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @split([1.0, 2.0, 3.0, 4.0, 5.0], [2, 3]) == f32[2] [1.0, 2.0], f32[3] [3.0, 4.0, 5.0]
graph @split(%a: f32[5], %b: i64[2]) -> (f32[u1], f32[u2]) {
  %y, %z = split %a, %b : f32[u1], f32[u2]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn cut(x: &Tensor, split: Option<&[i64]>, attrs: crate::Attrs, n: usize) -> Result<Vec<Value>> {
        let split = split.map(|s| Value::from(Tensor::from_slice(&[s.len()], s)));
        run("ai.onnx", "Split", attrs, &[Some(x.clone().into()), split], n)
    }

    #[test]
    fn split_gives_what_is_left_to_the_last_piece() {
        let x = Tensor::from_slice(&[5], &[1i32, 2, 3, 4, 5]);
        let y = cut(&x, None, attrs! { num_outputs: 2i64 }, 2).unwrap();
        assert_eq!(y[1].tensor().unwrap(), &Tensor::from_slice(&[2], &[4i32, 5]));
        let y = cut(&x, Some(&[0, 5]), attrs! {}, 2).unwrap();
        assert_eq!(y[0].tensor().unwrap().shape(), [0]);
    }

    #[test]
    fn split_constraints_are_named() {
        let x = Tensor::from_slice(&[2], &[1i32, 2]);
        let label = |s: Option<&[i64]>, a, n| cut(&x, s, a, n).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(None, attrs! { axis: 1i64 }, 2), "Split.C1");
        assert_eq!(label(Some(&[2]), attrs! {}, 2), "Split.C2");
        assert_eq!(label(Some(&[3, -1]), attrs! {}, 2), "Split.C2");
        assert_eq!(label(Some(&[1, 2]), attrs! {}, 2), "Split.C3");
        assert_eq!(label(None, attrs! { num_outputs: 3i64 }, 2), "Split.C4");
        assert_eq!(label(Some(&[1, 1]), attrs! { num_outputs: 2i64 }, 2), "Split.C4");
        assert_eq!(label(None, attrs! {}, 2), "Split.C4");
    }
}
