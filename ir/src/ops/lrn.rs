//! `y[n, c, …] = x / (bias + alpha / size * sum x[n, i, …]^2)^beta`, `i` from `c - floor((size - 1) / 2)` to
//! `c + ceil((size - 1) / 2)`.
//!
//! - **C1** `x` is a float tensor
//! - **C2** its rank is 3 or more
//! - **C3** `size >= 1`
//!
//! ONNX `LRN`: opset 1, 13 (bfloat16).

use super::common::*;
use super::lanes::eval_lane;
use super::lowering::{self, BinOp, Loops, ReduceOp};
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `LRN`.
    pub struct Lrn {
        /// Factor of the sum.
        alpha: f32 = 1e-4f32,
        /// Exponent.
        beta: f32 = 0.75f32,
        /// Added to the sum.
        bias: f32 = 1.0f32,
        /// Channels summed over.
        size: i64,
    }
}

impl Op for Lrn {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, sets::FLOATS)?;
        let shape = cx.shape(0)?;
        cx.require("C2", shape.len() >= 3, || format!("rank is {}", shape.len()))?;
        cx.require("C3", self.size >= 1, || format!("`size` is {}", self.size))?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let before = ((self.size - 1) / 2) as usize;
        let behind = (self.size - 1) as usize - before;
        let factor = f64::from(self.alpha) / self.size as f64;
        eval_lane(cx, 1, |v| {
            let x = v.to_vec();
            for (c, y) in v.iter_mut().enumerate() {
                let near = &x[c.saturating_sub(before)..x.len().min(c.saturating_add(behind).saturating_add(1))];
                let sum: f64 = near.iter().map(|x| x * x).sum();
                *y /= (f64::from(self.bias) + factor * sum).powf(f64::from(self.beta));
            }
        })
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, shape) = cx.outputs[0].clone();
        let wide = lowering::wide(dtype);
        let (before, size) = ((self.size - 1) / 2, self.size.min(2 * shape[1] as i64 + 1));
        // A window that reaches past both ends is the whole axis, from wherever it starts.
        let before = if self.size > size { shape[1] as i64 } else { before };
        let (beta, bias) = (f64::from(self.beta), f64::from(self.bias));
        let positive = self.alpha >= 0.0 && self.bias > 0.0;
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let sum = l.c.compute(wide, &shape, |c, i| {
            c.reduce(ReduceOp::Sum, &[size as usize], |c, r| {
                let near = c.affine(r[0], 1, -before);
                let mut index = i.to_vec();
                index[1] = c.add(i[1], near);
                let zero = c.zero(dtype);
                let v = c.load_padded(x, &index, zero);
                let v = c.cast(v, wide);
                c.mul(v, v)
            })
        });
        l.result(|c, i| {
            let s = c.load(sum, i);
            let s = c.bin_const(BinOp::Mul, s, f64::from(self.alpha) / self.size as f64);
            let s = c.bin_const(BinOp::Add, s, bias);
            // The usual exponents take roots; the logarithm of a positive number is cheaper than a general power.
            let divisor = if beta == 0.5 {
                c.sqrt(s)
            } else if beta == 0.75 {
                let root = c.sqrt(s);
                let fourth = c.sqrt(root);
                c.mul(root, fourth)
            } else if beta == 1.0 {
                s
            } else if beta == 0.0 {
                c.one(wide)
            } else if positive {
                let log = c.log(s);
                let log = c.bin_const(BinOp::Mul, log, beta);
                c.exp(log)
            } else {
                c.bin_const(BinOp::Pow, s, beta)
            };
            let v = c.load(x, i);
            let v = c.cast(v, wide);
            let y = c.div(v, divisor);
            c.cast(y, dtype)
        })
    }
}

op! {
    Lrn as "LRN" in "ai.onnx" since [1, 13]; "X" => "Y";
    summary: "normalisation by the squares of neighbouring channels";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @lrn([[[[1.0]], [[2.0]], [[3.0]]]]) ~= [[[[0.16666667]], [[0.13333334]], [[0.21428573]]]]
graph @lrn(%a: f32[1, 3, 1, 1]) -> f32[1, 3, 1, 1] {
  %y = lrn %a {alpha = 3.0, beta = 1.0, size = 3} : f32[1, 3, 1, 1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn lrn_looks_at_neighbouring_channels() {
        let x = Tensor::from_slice(&[1, 3, 1], &[1.0f32, 2.0, 3.0]);
        let a = attrs! { size: 2i64, alpha: 2.0f32, beta: 1.0f32, bias: 0.0f32 };
        let y = run1("LRN", a, &[x]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 3, 1], &[0.2f32, 2.0 / 13.0, 1.0 / 3.0]));
    }

    #[test]
    fn lrn_constraints_are_named() {
        let bad = |n: i64, d, s: &[usize]| violated("LRN", attrs! { size: n }, &[Type::tensor(d, s)]);
        assert_eq!(bad(1, DType::I32, &[1, 1, 1]).as_deref(), Some("LRN.C1"));
        assert_eq!(bad(1, DType::F32, &[1, 1]).as_deref(), Some("LRN.C2"));
        assert_eq!(bad(0, DType::F32, &[1, 1, 1]).as_deref(), Some("LRN.C3"));
    }
}
