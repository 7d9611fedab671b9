//! The `k` largest (or smallest) entries along an axis, in order, with their indices.
//!
//! - **C1** `X` holds numbers
//! - **C2** `-r <= axis < r`
//! - **C3** `K` is one `i64`, `0 <= K <= d`
//!
//! Of equal entries the one with the lower index comes first; NaN counts as larger than everything. With `sorted = 0`
//! the order is free; it is the same here. ONNX `TopK`: opset 1 (`k` an attribute), 10 (an operand), 11 (`largest`,
//! `sorted`), 24 (bfloat16).

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::library::{self, Library};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `TopK`.
    pub struct TopK {
        /// Axis along which entries are compared.
        axis: i64 = -1,
        /// Whether the largest are wanted, not the smallest.
        largest: bool = true,
        /// Whether the result must be in order.
        sorted: bool = true,
    }
}

impl Op for TopK {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::NUMBERS)?;
        let mut shape = cx.shape(0)?;
        let axis = cx.axis("C2", self.axis, shape.len())?;
        cx.require_dtype("C3", 1, &[DType::I64])?;
        require_one(cx, "C3", 1)?;
        let k = match cx.values(1)? {
            Some(k) => {
                cx.require_that("C3", Cond::le(&Dim::int(0), &k[0]))?;
                cx.require_that("C3", Cond::le(&k[0], &shape[axis]))?;
                k[0].clone()
            }
            None => cx.fresh(),
        };
        shape[axis] = k;
        cx.output(dtype, shape.clone())?;
        cx.output(DType::I64, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let axis = normal_axis(self.axis, x.rank());
        let (outer, n, inner) = around(x.shape(), axis);
        let k = shape[axis];
        let order = order_of(x)?;
        let (mut from, mut indices) = (vec![0usize; outer * k * inner], vec![0i64; outer * k * inner]);
        for o in 0..outer {
            for i in 0..inner {
                let at = |j: usize| (o * n + j) * inner + i;
                let mut by: Vec<usize> = (0..n).collect();
                by.sort_by(|&a, &b| {
                    let less = order(at(a), at(b));
                    (if self.largest { less.reverse() } else { less }).then(a.cmp(&b))
                });
                for (rank, &j) in by.iter().take(k).enumerate() {
                    from[(o * k + rank) * inner + i] = at(j);
                    indices[(o * k + rank) * inner + i] = j as i64;
                }
            }
        }
        let values = x.take(&shape, from)?;
        cx.push(values);
        cx.push(Tensor::from_slice(&shape, &indices));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = (cx.dtype(0), &cx.outputs[0].1);
        let axis = normal_axis(self.axis, shape.len());
        let (outer, n, inner) = around(cx.shape(0), axis);
        let call = library::TopK { dtype, outer, n, inner, k: shape[axis], largest: self.largest };
        Ok(if library::is_number(dtype) { Lowering::Library(Library::TopK(call)) } else { Lowering::Host })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

/// Opset 1 to 9: `k` is an attribute.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 10
        && let Some(Attr::Int(k)) = cx.take("k")
    {
        let k = k.as_int().ok_or_else(|| Error::invalid("attribute `k` must be a number"))?;
        let k = cx.constant(Tensor::from_slice(&[1], &[k]));
        cx.set_input(1, k);
    }
    Ok(())
}

op! {
    TopK in "ai.onnx" since [1, 10, 11, 24 brings "bf16"]; "X, K" => "Values, Indices";
    summary: "the largest entries along an axis";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @top_k([3.0, 1.0, 4.0, 1.0], [2]) == f32[2] [4.0, 3.0], i64[2] [2, 0]
graph @top_k(%a: f32[4], %b: i64[1]) -> (f32[u1], i64[u1]) {
  %y, %z = top_k %a, %b : f32[u1], i64[u1]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    fn top(x: &[f32], k: i64, attrs: crate::Attrs) -> Result<(Vec<f64>, Vec<i64>)> {
        let inputs = [Some(Tensor::from_slice(&[x.len()], x).into()), Some(Tensor::from_slice(&[1], &[k]).into())];
        let y = run("ai.onnx", "TopK", attrs, &inputs, 2)?;
        Ok((y[0].tensor()?.floats()?, y[1].tensor()?.to_i64s()?))
    }

    #[test]
    fn top_k_prefers_the_lower_index_of_equals() {
        assert_eq!(top(&[1.0, 3.0, 3.0, 2.0], 3, attrs! {}).unwrap(), (vec![3.0, 3.0, 2.0], vec![1, 2, 3]));
        let least = attrs! { largest: 0i64 };
        assert_eq!(top(&[2.0, 1.0, 1.0], 2, least).unwrap().1, [1, 2]);
        assert_eq!(top(&[1.0, f32::NAN], 1, attrs! {}).unwrap().1, [1]);
    }

    #[test]
    fn top_k_constraints_are_named() {
        let label = |r: Result<_>| r.unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(top(&[1.0], 1, attrs! { axis: 1i64 })), "TopK.C2");
        assert_eq!(label(top(&[1.0], 2, attrs! {})), "TopK.C3");
        let types = [Type::tensor(DType::Bool, &[2]), Type::tensor(DType::I64, &[1])];
        assert_eq!(violated("TopK", attrs! {}, &types).as_deref(), Some("TopK.C1"));
    }
}
