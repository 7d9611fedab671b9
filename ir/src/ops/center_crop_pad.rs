//! The operand cut or filled with zeros about its centre to the extents in `shape`.
//!
//! - **C1** `shape` is `i32` or `i64` of rank 1 with one extent for each of `axes`, none negative
//! - **C2** `axes` are in `-r..r`, none twice; left out all axes
//!
//! Where the difference is odd the extra entry is cut or filled at the end. ONNX `CenterCropPad`: opset 18.

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `CenterCropPad`.
    pub struct CenterCropPad {
        /// Axes that `shape` is about.
        axes: Option<Vec<i64>>,
    }
}

impl Op for CenterCropPad {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, sets::INDEX)?;
        let (mut shape, r) = (cx.shape(0)?, cx.rank(1)?);
        cx.require("C1", r == 1, || format!("`shape` has rank {r}"))?;
        let axes = match &self.axes {
            Some(a) => cx.axes("C2", a, shape.len())?,
            None => (0..shape.len()).collect(),
        };
        let n = cx.dim(1, 0)?;
        cx.require_eq("C1", &n, &Dim::from(axes.len()))?;
        let want = cx.values(1)?;
        for (k, &a) in axes.iter().enumerate() {
            shape[a] = match &want {
                Some(w) => w[k].clone(),
                None => cx.fresh(),
            };
            cx.require_that("C1", Cond::le(&Dim::int(0), &shape[a]))?;
        }
        cx.output(cx.dtype(0)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let x = cx.tensor(0)?;
        // Index of the result -> index of the operand: one shift an axis.
        let shifts: Vec<i64> = shape
            .iter()
            .zip(x.shape())
            .map(|(&to, &from)| if from >= to { (from - to) as i64 / 2 } else { -((to - from) as i64 / 2) })
            .collect();
        let mut y = Tensor::zeros(dtype, &shape)?;
        let mut write = TensorWriter::new(&mut y);
        each_index(&shape, |at, index| {
            let mut place = 0;
            for ((&i, &n), &shift) in index.iter().zip(x.shape()).zip(&shifts) {
                match usize::try_from(i as i64 + shift) {
                    Ok(i) if i < n => place = place * n + i,
                    _ => return Ok(()),
                }
            }
            write.copy(at, x, place)
        })?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let from = cx.shape(0).to_vec();
        if from.contains(&0) {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let x = l.x(0);
        l.result(|c, i| {
            let index: Vec<_> = i
                .iter()
                .zip(shape.iter().zip(&from))
                .map(|(&i, (&to, &from))| {
                    c.affine(i, 1, if from >= to { (from - to) as i64 / 2 } else { -((to - from) as i64 / 2) })
                })
                .collect();
            let zero = c.zero(dtype);
            c.load_padded(x, &index, zero)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    CenterCropPad in "ai.onnx" since [18]; "input_data, shape" => "output_data";
    summary: "cut or filled with zeros about the centre";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @center_crop_pad([1.0, 2.0, 3.0, 4.0], [2]) == f32[2] [2.0, 3.0]
graph @center_crop_pad(%a: f32[4], %b: i64[1]) -> f32[u1] {
  %y = center_crop_pad %a, %b : f32[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    fn go(x: &[i64], n: &[i64]) -> Result<Vec<i64>> {
        let t = |v: &[i64]| Tensor::from_slice(&[v.len()], v);
        run1("CenterCropPad", attrs! {}, &[t(x), t(n)])?.to_i64s()
    }

    #[test]
    fn center_crop_pad_puts_the_odd_entry_at_the_end() {
        assert_eq!(go(&[1, 2, 3, 4], &[3]).unwrap(), [1, 2, 3]);
        assert_eq!(go(&[1, 2], &[5]).unwrap(), [0, 1, 2, 0, 0]);
    }

    #[test]
    fn center_crop_pad_constraints_are_named() {
        let label = |n: &[i64]| go(&[1], n).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(&[1, 1]), "CenterCropPad.C1");
        assert_eq!(label(&[-1]), "CenterCropPad.C1");
        let types = [Type::tensor(DType::F32, &[1]), Type::tensor(DType::I64, &[1])];
        assert_eq!(violated("CenterCropPad", attrs! { axes: vec![1i64] }, &types).as_deref(), Some("CenterCropPad.C2"));
    }
}
