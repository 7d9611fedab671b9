//! `y = (x - mean) / sqrt(var + epsilon) * scale + bias`, mean and variance over each image's group of channels.
//!
//! `x: T[n, c, …]`, `scale, bias: T[c]`.
//!
//! - **C1** one element type, a float
//! - **C2** `x` has rank 2 or more, scale and bias rank 1
//! - **C3** scale and bias have one element a channel
//! - **C4** `num_groups` is positive and divides the channels
//!
//! ONNX `GroupNormalization`: opset 18 (scale and bias by group), 21 (by channel, `stash_type`).

use super::common::*;
use super::lanes::moments;
use super::lowering::{self, BinOp};
use super::window::number;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `GroupNormalization`.
    pub struct GroupNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-5f32,
        /// Groups of channels.
        num_groups: Dim,
        /// Element type in which the first stage may be computed.
        stash_type: i64 = 1i64,
    }
}

impl Op for GroupNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", 0..3)?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() >= 2, || format!("x has rank {}", x.len()))?;
        for i in 1..3 {
            let s = cx.shape(i)?;
            cx.require("C2", s.len() == 1, || format!("operand {i} has rank {}", s.len()))?;
            cx.require_eq("C3", &s[0], &x[1])?;
        }
        cx.require_that("C4", Cond::le(&Dim::ONE, &self.num_groups))?;
        cx.require_eq("C4", &x[1].modulo(&self.num_groups), &Dim::ZERO)?;
        cx.output(dtype, x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (scale, bias) = (cx.tensor(1)?.floats()?, cx.tensor(2)?.floats()?);
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let groups = number(&self.num_groups)?;
        let plane: usize = x.shape()[2..].iter().product();
        let size = c / groups * plane;
        let mut v = x.floats()?;
        if size > 0 {
            for (g, cells) in v.chunks_mut(size).enumerate().take(n * groups) {
                let (mean, var) = moments(x.dtype(), cells);
                let factor = 1.0 / (var + f64::from(self.epsilon)).sqrt();
                for (i, x) in cells.iter_mut().enumerate() {
                    let ch = g % groups * (c / groups) + i / plane;
                    *x = (*x - mean) * factor * scale[ch] + bias[ch];
                }
            }
        }
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), v));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = cx.shape(0).to_vec();
        let groups = number(&self.num_groups)?;
        let each = shape[1] / groups;
        let mut cols = vec![each];
        cols.extend_from_slice(&shape[2..]);
        lowering::normalisation(
            cx,
            (&[shape[0], groups], &cols),
            |c, row, col| {
                let first = c.affine(row[1], each as i64, 0);
                let mut index = vec![row[0], c.add(first, col[0])];
                index.extend_from_slice(&col[1..]);
                index
            },
            |c, i| {
                let by = c.idx(each.max(1) as i64);
                vec![i[0], c.floor_div(i[1], by)]
            },
            |c, var| {
                let v = c.bin_const(BinOp::Add, var, self.epsilon.into());
                let root = c.sqrt(v);
                c.recip(root)
            },
            true,
        )
    }
}

/// Before opset 21 scale and bias were by group: each is repeated for the group's channels.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 21 {
        return Ok(());
    }
    let groups = match cx.attrs.get("num_groups") {
        Some(Attr::Int(g)) => g.as_int().filter(|&g| g > 0),
        _ => None,
    };
    let channels = cx.ty(0).as_tensor().and_then(|t| t.shape.dims()?.get(1)?.as_int());
    let (Some(groups), Some(channels)) = (groups, channels) else {
        return Err(Error::unsupported("GroupNormalization of opset 18 with an unknown number of channels"));
    };
    let column = cx.constant(Tensor::from_slice(&[2], &[groups, 1]));
    let wide = cx.constant(Tensor::from_slice(&[2], &[groups, channels / groups]));
    let flat = cx.constant(Tensor::from_slice(&[1], &[-1i64]));
    for i in 1..3 {
        let v = cx.inputs.get(i).copied().flatten();
        let v = cx.add("Reshape", attrs! {}, &[v, Some(column)], 1)?[0];
        let v = cx.add("Expand", attrs! {}, &[Some(v), Some(wide)], 1)?[0];
        let v = cx.add("Reshape", attrs! {}, &[Some(v), Some(flat)], 1)?[0];
        cx.set_input(i, v);
    }
    Ok(())
}

op! {
    GroupNormalization in "ai.onnx" since [18, 21]; "X, scale, bias" => "Y";
    summary: "normalisation of each image's groups of channels";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @group_normalization([[[1.0, 3.0], [2.0, 6.0]]], [1.0, 1.0], [0.0, 0.0]) == [[[-1.0, 1.0], [-1.0, 1.0]]]
graph @group_normalization(%a: f32[1, 2, 2], %b: f32[2], %c: f32[2]) -> f32[1, 2, 2] {
  %y = group_normalization %a, %b, %c {epsilon = 0.0, num_groups = 2} : f32[1, 2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn group_normalization_shares_statistics_in_a_group() {
        let x = Tensor::from_slice(&[1, 4], &[1.0f32, 3.0, 5.0, 9.0]);
        let s = Tensor::from_slice(&[4], &[1.0f32, 1.0, 2.0, 1.0]);
        let b = Tensor::from_slice(&[4], &[0.0f32, 0.0, 0.0, 1.0]);
        let y = run1("GroupNormalization", attrs! { num_groups: 2i64, epsilon: 0.0f32 }, &[x, s, b]).unwrap();
        assert_eq!(y.floats().unwrap(), [-1.0, 1.0, -2.0, 2.0]);
    }

    #[test]
    fn group_normalization_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |x: Type, p: Type| violated("GroupNormalization", attrs! { num_groups: 2i64 }, &[x, p.clone(), p]);
        let name = |n| format!("GroupNormalization.C{n}");
        assert_eq!(bad(Type::tensor(DType::F64, &[1, 2, 1]), f(&[2])), Some(name(1)));
        assert_eq!(bad(f(&[1]), f(&[1])), Some(name(2)));
        assert_eq!(bad(f(&[1, 2]), f(&[1])), Some(name(3)));
        assert_eq!(bad(f(&[1, 3]), f(&[3])), Some(name(4)));
    }
}
