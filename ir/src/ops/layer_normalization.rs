//! `y = (x - mean) / sqrt(var + epsilon) * scale + bias`, mean and variance over the axes from `axis` on.
//!
//! `mean` and `inv_std_dev` have the extents of `x` before `axis`, then 1s, in the type `stash_type`.
//!
//! - **C1** one element type, a float
//! - **C2** `-r <= axis < r`
//! - **C3** scale and bias broadcast to `x`
//! - **C4** `stash_type` is a float type of 16 bits or more
//!
//! Statistics are taken in `f64` whatever `stash_type` says. ONNX `LayerNormalization`: opset 17.

use super::common::*;
use super::lanes::{filled_lanes, lanes, moments};
use super::lowering;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `LayerNormalization`.
    pub struct LayerNormalization {
        /// First axis that is normalised, `-r..r`.
        axis: i64 = -1i64,
        /// Added to the variance.
        epsilon: f32 = 1e-5f32,
        /// Element type of the statistics.
        stash_type: DType = DType::F32,
    }
}

/// Checks that operand `i` broadcasts to `shape` without growing it.
pub fn require_broadcasts_to(cx: &mut RuleCx<'_>, label: &'static str, i: usize, shape: &[Dim]) -> RuleResult {
    let s = cx.shape(i)?;
    cx.require(label, s.len() <= shape.len(), || format!("operand {i} has rank {}", s.len()))?;
    let both = cx.broadcast(label, &[shape.to_vec(), s])?;
    for (a, b) in both.iter().zip(shape) {
        cx.require_eq(label, a, b)?;
    }
    Ok(())
}

impl Op for LayerNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", 0..3)?;
        let x = cx.shape(0)?;
        let axis = cx.axis("C2", self.axis, x.len())?;
        for i in (1..3).filter(|&i| i == 1 || cx.has(i)).collect::<Vec<_>>() {
            require_broadcasts_to(cx, "C3", i, &x)?;
        }
        let wide = [DType::F16, DType::BF16, DType::F32, DType::F64].contains(&self.stash_type);
        cx.require("C4", wide, || format!("`stash_type` is {}", self.stash_type))?;
        let mut stats = x.clone();
        stats[axis..].fill(Dim::ONE);
        cx.output(dtype, x)?;
        cx.output(self.stash_type, stats.clone())?;
        cx.output(self.stash_type, stats)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let axis = normal_axis(self.axis, x.rank());
        let with_statistics = cx.n_outputs() > 1;
        let lanes = if with_statistics { lanes } else { filled_lanes };
        let (bases, cells) = lanes(x.shape(), &(axis..x.rank()).collect::<Vec<_>>());
        let mut v = x.floats()?;
        let (mut means, mut inverses) = (Vec::new(), Vec::new());
        for base in &bases {
            let (mean, var) = moments(x.dtype(), &cells.iter().map(|o| v[base + o]).collect::<Vec<_>>());
            let inverse = 1.0 / (var + f64::from(self.epsilon)).sqrt();
            for o in &cells {
                v[base + o] = (v[base + o] - mean) * inverse;
            }
            means.push(mean);
            inverses.push(inverse);
        }
        scale_and_shift(&mut v, x.shape(), Some(cx.tensor(1)?), cx.tensor_opt(2)?)?;
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), v));
        let mut stats = x.shape().to_vec();
        stats[axis..].fill(1);
        if with_statistics {
            cx.push(Tensor::from_floats(self.stash_type, &stats, means));
            cx.push(Tensor::from_floats(self.stash_type, &stats, inverses));
        }
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if cx.outputs.len() != 1 || cx.outputs[0].1.contains(&0) {
            return Ok(Lowering::Host);
        }
        lowering::layer_norm(cx, normal_axis(self.axis, cx.shape(0).len()), self.epsilon, true, self.stash_type)
    }
}

/// `v = v * scale + bias`, both broadcast to `shape`.
///
/// # Errors
/// When the elements are no real numbers.
pub fn scale_and_shift(v: &mut [f64], shape: &[usize], scale: Option<&Tensor>, bias: Option<&Tensor>) -> Result<()> {
    if let Some(s) = scale {
        let (at, s) = (broadcast_positions(s.shape(), shape), s.floats()?);
        v.iter_mut().zip(at).for_each(|(v, i)| *v *= s[i]);
    }
    if let Some(b) = bias {
        let (at, b) = (broadcast_positions(b.shape(), shape), b.floats()?);
        v.iter_mut().zip(at).for_each(|(v, i)| *v += b[i]);
    }
    Ok(())
}

op! {
    LayerNormalization in "ai.onnx" since [17]; "X, Scale, B?" => "Y, Mean?, InvStdDev?";
    summary: "normalisation over the trailing axes";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @layer_normalization([[1.0, 3.0], [2.0, 6.0]], [1.0, 2.0], [0.0, 1.0]) == [[-1.0, 3.0], [-1.0, 3.0]]
graph @layer_normalization(%a: f32[2, 2], %b: f32[2], %c: f32[2]) -> f32[2, 2] {
  %y = layer_normalization %a, %b, %c {epsilon = 0.0} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn layer_normalization_gives_its_statistics() {
        let x: Value = Tensor::from_slice(&[1, 2], &[1.0f32, 3.0]).into();
        let s: Value = Tensor::from_slice(&[2], &[2.0f32, 1.0]).into();
        let y = run("ai.onnx", "LayerNormalization", attrs! { epsilon: 0.0f32 }, &[Some(x), Some(s)], 3).unwrap();
        assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [-2.0, 1.0]);
        assert_eq!(y[1].tensor().unwrap(), &Tensor::from_slice(&[1, 1], &[2.0f32]));
        assert_eq!(y[2].tensor().unwrap(), &Tensor::from_slice(&[1, 1], &[1.0f32]));
    }

    #[test]
    fn layer_normalization_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |axis: i64, t: &[Type]| violated("LayerNormalization", attrs! { axis: axis }, t);
        let name = |n| format!("LayerNormalization.C{n}");
        assert_eq!(bad(-1, &[f(&[2]), Type::tensor(DType::F64, &[2])]), Some(name(1)));
        assert_eq!(bad(1, &[f(&[2]), f(&[2])]), Some(name(2)));
        assert_eq!(bad(0, &[f(&[2]), f(&[3])]), Some(name(3)));
        let a = attrs! { stash_type: DType::I32 };
        assert_eq!(violated("LayerNormalization", a, &[f(&[2]), f(&[2])]), Some(name(4)));
    }
}
