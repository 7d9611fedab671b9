//! `y = (x - E[x]) / (sqrt(E[x^2] - E[x]^2) + 1e-9)` over `axes`.
//!
//! - **C1** `x` is a float tensor
//! - **C2** each axis is in `-r..r` and none is named twice
//!
//! ONNX `MeanVarianceNormalization`: opset 9, 13; the constant is that of ONNX's definition as a function.

use super::common::*;
use super::lanes::{map_lanes, moments, other_axes};
use super::lowering::{self, BinOp};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `MeanVarianceNormalization`.
    pub struct MeanVarianceNormalization {
        /// Axes normalised together.
        axes: Vec<i64> = vec![0i64, 2, 3],
    }
}

impl Op for MeanVarianceNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let shape = cx.shape(0)?;
        cx.axes("C2", &self.axes, shape.len())?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let mut axes: Vec<usize> = self.axes.iter().map(|&a| normal_axis(a, x.rank())).collect();
        if axes.is_empty() {
            axes = (0..x.rank()).collect();
        }
        let y = map_lanes(x, &axes, |v| {
            let (mean, var) = moments(x.dtype(), v);
            v.iter_mut().for_each(|x| *x = (*x - mean) / (var.sqrt() + 1e-9));
        })?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = cx.shape(0).to_vec();
        let mut axes: Vec<usize> = self.axes.iter().map(|&a| normal_axis(a, shape.len())).collect();
        if axes.is_empty() {
            axes = (0..shape.len()).collect();
        }
        let kept = other_axes(shape.len(), &axes);
        let extents = |of: &[usize]| of.iter().map(|&a| shape[a]).collect::<Vec<_>>();
        lowering::normalisation(
            cx,
            (&extents(&kept), &extents(&axes)),
            |c, row, col| {
                let mut index = vec![c.idx(0); shape.len()];
                kept.iter().zip(row).chain(axes.iter().zip(col)).for_each(|(&a, &i)| index[a] = i);
                index
            },
            |_, i| kept.iter().map(|&a| i[a]).collect(),
            |c, var| {
                let root = c.sqrt(var);
                let root = c.bin_const(BinOp::Add, root, 1e-9);
                c.recip(root)
            },
            false,
        )
    }
}

op! {
    MeanVarianceNormalization in "ai.onnx" since [9, 13]; "X" => "Y";
    summary: "zero mean and unit variance over axes";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @mean_variance_normalization([[[1.0, 3.0]], [[5.0, 7.0]]]) ~= [[[-1.3416407, -0.4472136]], [[0.4472136, 1.3416407]]]
graph @mean_variance_normalization(%a: f32[2, 1, 2]) -> f32[2, 1, 2] {
  %y = mean_variance_normalization %a {axes = [0, 2]} : f32[2, 1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn mean_variance_normalization_has_zero_mean() {
        let x = Tensor::from_slice(&[2, 1], &[1.0f32, 3.0]);
        let y = run1("MeanVarianceNormalization", attrs! { axes: vec![0] }, &[x]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 1], &[-1.0f32, 1.0]));
    }

    #[test]
    fn mean_variance_normalization_constraints_are_named() {
        let bad = |d, s: &[usize]| violated("MeanVarianceNormalization", attrs! {}, &[Type::tensor(d, s)]);
        assert_eq!(bad(DType::I32, &[1; 4]).as_deref(), Some("MeanVarianceNormalization.C1"));
        assert_eq!(bad(DType::F32, &[1; 3]).as_deref(), Some("MeanVarianceNormalization.C2"));
    }
}
