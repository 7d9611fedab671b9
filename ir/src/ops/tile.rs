//! `y[i] = x[i mod d]`: the operand repeated along each axis.
//!
//! - **C1** `repeats` is `i64` of rank 1 with one count an axis
//! - **C2** no count is negative
//!
//! ONNX `Tile`: opset 1 (`tiles` and `axis`: one axis, as constants here), 6, 13 (types).

use super::common::*;
use super::lowering;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use crate::tensor::strides;

attributes! {
    /// `Tile` has no attributes.
    pub struct Tile {}
}

impl Op for Tile {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let (dtype, shape, r) = (cx.dtype(0)?, cx.shape(0)?, cx.rank(1)?);
        cx.require("C1", r == 1, || "`repeats` must have rank 1".into())?;
        let len = cx.dim(1, 0)?;
        cx.require_eq("C1", &len, &Dim::from(shape.len()))?;
        let dims = match cx.values(1)? {
            Some(n) => {
                for d in &n {
                    cx.require_that("C2", Cond::le(&Dim::int(0), d))?;
                }
                shape.iter().zip(&n).map(|(d, n)| d * n).collect()
            }
            None => shape.iter().map(|_| cx.fresh()).collect(),
        };
        cx.output(dtype, dims)?;
        if shape.len() == 1
            && dtype.is_int()
            && let (Some(v), Some(n)) = (cx.values(0)?, cx.int_values(1)?)
        {
            // Nothing is repeated at once, however often.
            let n = if v.is_empty() { 0 } else { n[0].max(0) as usize };
            cx.output_values(
                (n.saturating_mul(v.len()) <= 4096).then(|| (0..n).flat_map(|_| v.iter().cloned()).collect()),
            );
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let from = strides(x.shape());
        let mut positions = Vec::with_capacity(len_elems(&shape)?);
        each_index(&shape, |_, index| {
            positions.push(index.iter().zip(x.shape()).zip(&from).map(|((i, d), s)| i % d * s).sum());
            Ok(())
        })?;
        take_result(cx, positions)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = cx.shape(0).to_vec();
        if shape.contains(&0) {
            return Ok(Lowering::Host);
        }
        lowering::moved(cx, |c, i| {
            i.iter()
                .zip(&shape)
                .map(|(&e, &n)| {
                    let n = c.idx(n as i64);
                    c.floor_mod(e, n)
                })
                .collect()
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

/// Opset 1: `tiles` copies along `axis`, both operands of one element.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 6 {
        return Ok(());
    }
    let constant = |cx: &Upgrade<'_>, i: usize| -> Result<i64> {
        let t = cx.inputs.get(i).copied().flatten().and_then(|v| cx.graph.constant(v));
        let t = t.ok_or_else(|| Error::unsupported("Tile of opset 1 with `tiles` or `axis` that is no constant"))?;
        match t.floats()?.as_slice() {
            [v] => Ok(*v as i64),
            _ => Err(Error::invalid("`tiles` and `axis` have one element")),
        }
    };
    let (tiles, axis) = (constant(cx, 1)?, constant(cx, 2)?);
    let rank = cx.rank(0).ok_or_else(|| Error::unsupported("Tile of opset 1 on an operand of unknown rank"))?;
    let axis = normal_index(axis, rank)?;
    let repeats: Vec<i64> = (0..rank).map(|a| if a == axis { tiles } else { 1 }).collect();
    let repeats = cx.constant(Tensor::from_slice(&[rank], &repeats));
    cx.inputs = vec![cx.inputs[0], Some(repeats)];
    Ok(())
}

op! {
    Tile in "ai.onnx" since [1, 6, 13]; "input, repeats" => "output";
    summary: "a tensor repeated along its axes";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @tile([[1.0, 2.0]], [2, 2]) == f32[2, 4] [[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]]
graph @tile(%a: f32[1, 2], %b: i64[2]) -> f32[u1, u2] {
  %y = tile %a, %b : f32[u1, u2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn tile_repeats_rows_and_columns() {
        let x = Tensor::from_slice(&[1, 2], &[1i32, 2]);
        let y = run1("Tile", attrs! {}, &[x.clone(), Tensor::from_slice(&[2], &[2i64, 2])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 4], &[1i32, 2, 1, 2, 1, 2, 1, 2]));
        let y = run1("Tile", attrs! {}, &[x, Tensor::from_slice(&[2], &[1i64, 0])]).unwrap();
        assert_eq!(y.shape(), [1, 0]);
    }

    #[test]
    fn tile_of_nothing_however_often_ends_at_once() {
        let most = Tensor::from_slice(&[1], &[i64::MAX]);
        let y = run1("Tile", attrs! {}, &[Tensor::zeros(DType::I64, &[0]).unwrap(), most.clone()]).unwrap();
        assert_eq!(y.shape(), [0]);
        assert_eq!(run1("Tile", attrs! {}, &[Tensor::zeros(DType::F32, &[0]).unwrap(), most]).unwrap().shape(), [0]);
        let most = Tensor::from_slice(&[2], &[1i64 << 40, 1 << 40]);
        let y = run1("Tile", attrs! {}, &[Tensor::zeros(DType::I64, &[0, 0]).unwrap(), most]).unwrap();
        assert_eq!(y.shape(), [0, 0]);
    }

    #[test]
    fn tile_constraints_are_named() {
        let x = Tensor::zeros(DType::F32, &[1]).unwrap();
        let label = |n: &[i64]| {
            let n = Tensor::from_slice(&[n.len()], n);
            run1("Tile", attrs! {}, &[x.clone(), n]).unwrap_err().label().unwrap().to_owned()
        };
        assert_eq!(label(&[1, 1]), "Tile.C1");
        assert_eq!(label(&[-1]), "Tile.C2");
    }
}
