//! Blocks of pixels to channels: `x[n, c, h b, w b] -> y[n, c b², h, w]`, the inverse of `DepthToSpace`.
//!
//! - **C1** the operand has rank 4
//! - **C2** `blocksize >= 1`, it divides height and width
//! - **C3** `mode` is `DCR` or `CRD`
//!
//! ONNX `SpaceToDepth`: opset 1, 13, 28 (`mode`).

use super::common::*;
use super::depth_to_space::block;
use super::lowering;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `SpaceToDepth`.
    pub struct SpaceToDepth {
        /// Rows and columns of a block.
        blocksize: Dim,
        /// Order in which channels lie: `DCR` or `CRD`.
        mode: String = "DCR",
    }
}

impl Op for SpaceToDepth {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let shape = cx.shape(0)?;
        cx.require("C1", shape.len() == 4, || format!("the operand has rank {}", shape.len()))?;
        let b = &self.blocksize;
        cx.require_that("C2", Cond::le(&Dim::int(1), b))?;
        for d in &shape[2..] {
            cx.require_eq("C2", &d.modulo(b), &Dim::int(0))?;
        }
        cx.require("C3", self.mode == "DCR" || self.mode == "CRD", || format!("mode `{}` is not known", self.mode))?;
        let dims = vec![shape[0].clone(), &shape[1] * b * b, shape[2].floor_div(b), shape[3].floor_div(b)];
        cx.output(cx.dtype(0)?, dims)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let (b, c) = (block(&self.blocksize)?, x.shape()[1]);
        let mut from = Vec::with_capacity(x.len());
        super::move_common::each_index(&shape, |_, at| {
            let (k, i, j) = if self.mode == "DCR" {
                (at[1] % c, at[1] / c / b, at[1] / c % b)
            } else {
                (at[1] / (b * b), at[1] / b % b, at[1] % b)
            };
            from.push(x.position(&[at[0], k, at[2] * b + i, at[3] * b + j]));
            Ok(())
        })?;
        super::move_common::take_result(cx, from)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (b, c_in) = (block(&self.blocksize)? as i64, cx.shape(0)[1].max(1) as i64);
        lowering::moved(cx, |c, at| {
            let (by, square) = (c.idx(b), c.idx(b * b));
            let (channel, inside) = if self.mode == "DCR" {
                let n = c.idx(c_in);
                (c.floor_mod(at[1], n), c.floor_div(at[1], n))
            } else {
                (c.floor_div(at[1], square), c.floor_mod(at[1], square))
            };
            let (i, j) = (c.floor_div(inside, by), c.floor_mod(inside, by));
            let (row, col) = (c.affine(at[2], b, 0), c.affine(at[3], b, 0));
            vec![at[0], channel, c.add(row, i), c.add(col, j)]
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    SpaceToDepth in "ai.onnx" since [1, 13, 28 brings "mode"]; "input" => "output";
    summary: "blocks of pixels gathered into channels";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @space_to_depth([[[[1.0, 2.0], [3.0, 4.0]]]]) == [[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]
graph @space_to_depth(%a: f32[1, 1, 2, 2]) -> f32[1, 4, 1, 1] {
  %y = space_to_depth %a {blocksize = 2} : f32[1, 4, 1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn space_to_depth_undoes_depth_to_space() {
        let x = Tensor::from_slice(&[1, 8, 1, 2], &(0..16).collect::<Vec<i32>>());
        for mode in ["DCR", "CRD"] {
            let a = || attrs! { blocksize: 2i64, mode: mode };
            let y = run1("DepthToSpace", a(), std::slice::from_ref(&x)).unwrap();
            assert_eq!(run1("SpaceToDepth", a(), &[y]).unwrap(), x);
        }
    }

    #[test]
    fn space_to_depth_constraints_are_named() {
        let label = |a, s: &[usize]| violated("SpaceToDepth", a, &[Type::tensor(DType::F32, s)]);
        assert_eq!(label(attrs! { blocksize: 2i64 }, &[4, 2, 2]).as_deref(), Some("SpaceToDepth.C1"));
        assert_eq!(label(attrs! { blocksize: 2i64 }, &[1, 1, 2, 3]).as_deref(), Some("SpaceToDepth.C2"));
        let odd = attrs! { blocksize: 2i64, mode: "X" };
        assert_eq!(label(odd, &[1, 1, 2, 2]).as_deref(), Some("SpaceToDepth.C3"));
    }
}
