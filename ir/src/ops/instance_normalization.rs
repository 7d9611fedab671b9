//! `y = (x - mean) / sqrt(var + epsilon) * scale + bias`, mean and variance over each image's channel.
//!
//! `x: T[n, c, …]`, `scale, bias: T[c]`.
//!
//! - **C1** one element type, a float
//! - **C2** `x` has rank 3 or more, scale and bias rank 1
//! - **C3** scale and bias have one element a channel
//!
//! ONNX `InstanceNormalization`: opset 1, 6, 22.

use super::common::*;
use super::lanes::{filled_lanes, moments};
use super::lowering::{self, BinOp};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `InstanceNormalization`.
    pub struct InstanceNormalization {
        /// Added to the variance.
        epsilon: f32 = 1e-5f32,
    }
}

impl Op for InstanceNormalization {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::FLOATS)?;
        let dtype = cx.same_dtype("C1", 0..3)?;
        let x = cx.shape(0)?;
        cx.require("C2", x.len() >= 3, || format!("x has rank {}", x.len()))?;
        for i in 1..3 {
            let s = cx.shape(i)?;
            cx.require("C2", s.len() == 1, || format!("operand {i} has rank {}", s.len()))?;
            cx.require_eq("C3", &s[0], &x[1])?;
        }
        cx.output(dtype, x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let (scale, bias) = (cx.tensor(1)?.floats()?, cx.tensor(2)?.floats()?);
        let (bases, cells) = filled_lanes(x.shape(), &(2..x.rank()).collect::<Vec<_>>());
        let mut v = x.floats()?;
        for (p, base) in bases.iter().enumerate() {
            let c = p % x.shape()[1];
            let (mean, var) = moments(x.dtype(), &cells.iter().map(|o| v[base + o]).collect::<Vec<_>>());
            let factor = scale[c] / (var + f64::from(self.epsilon)).sqrt();
            for o in &cells {
                v[base + o] = (v[base + o] - mean) * factor + bias[c];
            }
        }
        cx.push(Tensor::from_floats(x.dtype(), x.shape(), v));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = cx.shape(0).to_vec();
        lowering::normalisation(
            cx,
            (&shape[..2], &shape[2..]),
            |_, row, col| [row, col].concat(),
            |_, i| i[..2].to_vec(),
            |c, var| {
                let v = c.bin_const(BinOp::Add, var, self.epsilon.into());
                let root = c.sqrt(v);
                c.recip(root)
            },
            true,
        )
    }
}

op! {
    InstanceNormalization in "ai.onnx" since [1, 6, 22 brings "bf16"]; "input, scale, B" => "output";
    summary: "normalisation of each image's channels";
    upgrade: |cx| { cx.take("consumed_inputs"); Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @instance_normalization([[[1.0, 3.0], [2.0, 6.0]]], [1.0, 2.0], [0.0, 1.0]) == [[[-1.0, 1.0], [-1.0, 3.0]]]
graph @instance_normalization(%a: f32[1, 2, 2], %b: f32[2], %c: f32[2]) -> f32[1, 2, 2] {
  %y = instance_normalization %a, %b, %c {epsilon = 0.0} : f32[1, 2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    #[test]
    fn instance_normalization_is_per_image_and_channel() {
        let x = Tensor::from_slice(&[1, 2, 2], &[1.0f32, 3.0, 10.0, 10.0]);
        let s = Tensor::from_slice(&[2], &[2.0f32, 1.0]);
        let b = Tensor::from_slice(&[2], &[0.0f32, 5.0]);
        let y = run1("InstanceNormalization", attrs! { epsilon: 1e-12f32 }, &[x, s, b]).unwrap();
        assert_eq!(y.floats().unwrap(), [-2.0, 2.0, 5.0, 5.0]);
    }

    #[test]
    fn instance_normalization_constraints_are_named() {
        let f = |s: &[usize]| Type::tensor(DType::F32, s);
        let bad = |x: Type, p: Type| violated("InstanceNormalization", attrs! {}, &[x, p.clone(), p]);
        let name = |n| format!("InstanceNormalization.C{n}");
        assert_eq!(bad(Type::tensor(DType::F64, &[1, 2, 1]), f(&[2])), Some(name(1)));
        assert_eq!(bad(f(&[1, 2]), f(&[2])), Some(name(2)));
        assert_eq!(bad(f(&[1, 2, 2]), f(&[3])), Some(name(3)));
    }
}
