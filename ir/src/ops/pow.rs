//! `z = x^y`, element by element, with broadcasting.
//!
//! - **C1** `x` is a float or `i32`, `i64`; `y` is a number of any type
//! - **C2** their shapes broadcast
//!
//! The result has the type of `x`. Integers wrap; negative powers of integers are truncated, that of 0 is an error.
//! ONNX `Pow`: opset 1 (`broadcast`, `axis`), 7, 12 (integers, two types), 13, 15 (bfloat16).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Pow` has no attributes.
    pub struct Pow {}
}

impl Op for Pow {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype =
            cx.require_dtype("C1", 0, &[DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I64])?;
        cx.require_dtype("C1", 1, sets::NUMBERS)?;
        let shape = cx.broadcast_inputs("C2", &[0, 1])?;
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, y) = (cx.tensor(0)?, cx.tensor(1)?);
        if x.dtype().is_int() && y.dtype().is_float() {
            let (dtype, shape) = cx.out(0)?;
            let (a, b) = (x.floats()?, y.floats()?);
            let pairs = broadcast_positions(x.shape(), &shape).into_iter().zip(broadcast_positions(y.shape(), &shape));
            cx.push(Tensor::from_floats(dtype, &shape, pairs.map(|(i, j)| a[i].powf(b[j]))));
            return Ok(());
        }
        eval_binary(cx, f64::powf, int_pow)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if !cx.dtype(0).is_float() || cx.dtype(0) != cx.dtype(1) {
            return Ok(Lowering::Host);
        }
        if let Some(2.0) = cx.constant(1).filter(|t| t.len() == 1).and_then(|t| t.floats().ok()).map(|v| v[0]) {
            return lowering::binary(cx, |c, a, _| c.mul(a, a));
        }
        lowering::binary(cx, |c, a, b| c.pow(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (0.0, f64::INFINITY), in_place: &[(0, 0)], ..Facts::POINTWISE }
    }
}

/// Modulo 2^128, hence modulo every width.
fn int_pow(base: i128, exponent: i128) -> Result<i128> {
    if exponent < 0 {
        return match base {
            0 => Err(Error::invalid("0 is raised to a negative power")),
            1 => Ok(1),
            -1 => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Ok(0),
        };
    }
    let (mut y, mut square, mut rest) = (1i128, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            y = y.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest >>= 1;
    }
    Ok(y)
}

op! {
    Pow in "ai.onnx" since [1, 7, 12, 13, 15 brings "bf16"]; "X, Y" => "Z";
    summary: "x to the power y, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pow([1.0, 2.0, 3.0], [2.0, 0.5, -1.0]) == [1.0, 1.4142135, 0.33333334]
graph @pow(%a: f32[3], %b: f32[3]) -> f32[3] {
  %y = pow %a, %b : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;

    #[test]
    fn pow_of_integers() {
        assert_eq!(ints2("Pow", attrs! {}, &[2, -3, 5, -1, 2], &[10, 3, 0, -3, -1]).unwrap(), [1024, -27, 1, -1, 0]);
    }

    #[test]
    fn pow_takes_the_type_of_the_base() {
        let x = Tensor::from_slice(&[2], &[4i32, 9]);
        let y = run1("Pow", attrs! {}, &[x, Tensor::scalar(0.5f32)]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2], &[2i32, 3]));
        assert!(ints2("Pow", attrs! {}, &[0], &[-1]).is_err());
    }

    #[test]
    fn pow_c1_names_the_types_and_c2_the_shapes() {
        refuses("Pow", &[DType::Bool, DType::Bool]);
        refuses_shapes("Pow", DType::F32);
    }
}
