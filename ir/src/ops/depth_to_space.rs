//! Channels to blocks of pixels: `x[n, c b², h, w] -> y[n, c, h b, w b]`.
//!
//! `DCR`: channel `(i b + j) c + k` goes to `y[:, k, h b + i, w b + j]`; `CRD`: channel `(k b + i) b + j` does.
//!
//! - **C1** the operand has rank 4
//! - **C2** `blocksize >= 1`, its square divides the channels
//! - **C3** `mode` is `DCR` or `CRD`
//!
//! ONNX `DepthToSpace`: opset 1, 11 (`mode`), 13, 28 (types).

use super::common::*;
use super::lowering;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `DepthToSpace`.
    pub struct DepthToSpace {
        /// Rows and columns of a block.
        blocksize: Dim,
        /// Order in which channels lie: `DCR` or `CRD`.
        mode: String = "DCR",
    }
}

/// The block size as a number.
///
/// # Errors
/// When it is a term, or absurdly large.
pub(super) fn block(size: &Dim) -> Result<usize> {
    match size.as_int() {
        Some(v) if (1..=1 << 20).contains(&v) => Ok(v as usize),
        _ => Err(Error::invalid(format!("`blocksize` is {size}"))),
    }
}

impl Op for DepthToSpace {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let shape = cx.shape(0)?;
        cx.require("C1", shape.len() == 4, || format!("the operand has rank {}", shape.len()))?;
        let b = &self.blocksize;
        cx.require_that("C2", Cond::le(&Dim::int(1), b))?;
        let square = b * b;
        cx.require_eq("C2", &shape[1].modulo(&square), &Dim::int(0))?;
        cx.require("C3", self.mode == "DCR" || self.mode == "CRD", || format!("mode `{}` is not known", self.mode))?;
        let channels = shape[1].floor_div(&square);
        cx.output(cx.dtype(0)?, vec![shape[0].clone(), channels, &shape[2] * b, &shape[3] * b])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        let (b, c) = (block(&self.blocksize)?, shape[1]);
        let mut from = Vec::with_capacity(x.len());
        super::move_common::each_index(&shape, |_, at| {
            let (i, j) = (at[2] % b, at[3] % b);
            let channel = if self.mode == "DCR" { (i * b + j) * c + at[1] } else { (at[1] * b + i) * b + j };
            from.push(x.position(&[at[0], channel, at[2] / b, at[3] / b]));
            Ok(())
        })?;
        super::move_common::take_result(cx, from)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (b, c_out) = (block(&self.blocksize)? as i64, cx.outputs[0].1[1] as i64);
        lowering::moved(cx, |c, at| {
            let by = c.idx(b);
            let [(row, i), (col, j)] = [at[2], at[3]].map(|t| (c.floor_div(t, by), c.floor_mod(t, by)));
            let inside = {
                let i = c.affine(i, b, 0);
                c.add(i, j)
            };
            let channel = if self.mode == "DCR" {
                let first = c.affine(inside, c_out, 0);
                c.add(first, at[1])
            } else {
                let first = c.affine(at[1], b * b, 0);
                c.add(first, inside)
            };
            vec![at[0], channel, row, col]
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    DepthToSpace in "ai.onnx" since [1, 11, 13, 28 brings ""]; "input" => "output";
    summary: "channels spread over blocks of pixels";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @depth_to_space([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]) == [[[[1.0, 2.0], [3.0, 4.0]]]]
graph @depth_to_space(%a: f32[1, 4, 1, 1]) -> f32[1, 1, 2, 2] {
  %y = depth_to_space %a {blocksize = 2} : f32[1, 1, 2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn depth_to_space_orders_channels_by_mode() {
        let x = Tensor::from_slice(&[1, 8, 1, 1], &[0i32, 1, 2, 3, 4, 5, 6, 7]);
        let go = |m: &str| run1("DepthToSpace", attrs! { blocksize: 2i64, mode: m }, std::slice::from_ref(&x)).unwrap();
        assert_eq!(go("DCR").ints().unwrap(), [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(go("CRD").ints().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn depth_to_space_constraints_are_named() {
        let label = |a, s: &[usize]| violated("DepthToSpace", a, &[Type::tensor(DType::F32, s)]);
        assert_eq!(label(attrs! { blocksize: 2i64 }, &[4, 1, 1]).as_deref(), Some("DepthToSpace.C1"));
        assert_eq!(label(attrs! { blocksize: 2i64 }, &[1, 6, 1, 1]).as_deref(), Some("DepthToSpace.C2"));
        assert_eq!(label(attrs! { blocksize: 0i64 }, &[1, 4, 1, 1]).as_deref(), Some("DepthToSpace.C2"));
        let odd = attrs! { blocksize: 2i64, mode: "X" };
        assert_eq!(label(odd, &[1, 4, 1, 1]).as_deref(), Some("DepthToSpace.C3"));
    }
}
