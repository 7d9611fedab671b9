//! `z = x^y`, element by element, with broadcasting.
//!
//! - **C1** `x` is a float or `i32`, `i64`; `y` is a number of any type
//! - **C2** their shapes broadcast
//!
//! The result has the type of `x`. Integers wrap; negative powers of integers are truncated, that of 0 is an error.
//! ONNX `Pow`: opset 1 (`broadcast`, `axis`), 7, 12 (integers, two types), 13, 15 (bfloat16).

use super::common::*;
use super::lowering::{self, ComputeBuilder, ExprId};
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
        if let Some(powers) = cx.constant(1).and_then(whole_powers) {
            return lowering::binary(cx, |c, a, b| by_products(c, a, b, &powers));
        }
        lowering::binary(cx, |c, a, b| c.pow(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Ulp(4), domain: (0.0, f64::INFINITY), in_place: &[(0, 0)], ..Facts::POINTWISE }
    }
}

/// The distinct exponents, where all are whole numbers up to [`MOST_POWER`].
fn whole_powers(y: &Tensor) -> Option<Vec<u32>> {
    let mut powers: Vec<u32> = Vec::new();
    for v in y.floats().ok()? {
        let whole = (0..=MOST_POWER).find(|&p| f64::from(p) == v)?;
        if !powers.contains(&whole) {
            powers.push(whole);
        }
    }
    powers.sort_unstable();
    (!powers.is_empty()).then_some(powers)
}

/// Powers up to this one are products: the `p`-th errs by at most `p - 1` half units in the last place.
const MOST_POWER: u32 = 8;

/// `a^b` where `b` is one of `powers`, which are in order.
fn by_products(c: &mut ComputeBuilder, a: ExprId, b: ExprId, powers: &[u32]) -> ExprId {
    let dtype = c.dtype(a);
    // Each power is the product of two that are about half as high.
    let mut known: Vec<ExprId> = vec![c.float(dtype, 1.0), a];
    for p in 2..=*powers.last().unwrap_or(&0) as usize {
        known.push(c.mul(known[p / 2], known[p - p / 2]));
    }
    let mut powers = powers.iter().map(|&p| (p, known[p as usize]));
    let first = powers.next().map_or(a, |p| p.1);
    powers.fold(first, |other, (p, power)| {
        let exponent = c.float(dtype, p.into());
        let is = c.eq(b, exponent);
        c.select(is, power, other)
    })
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
    fn whole_powers_are_products() {
        let y = Tensor::from_slice(&[5], &[8.0f32, 0.0, 3.0, 1.0, 2.0]);
        assert_eq!(whole_powers(&y), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(whole_powers(&Tensor::scalar(9.0f32)), None);
        assert_eq!(whole_powers(&Tensor::scalar(-1.0f32)), None);
        let x = Tensor::from_slice(&[2, 5], &[3.0f32, f32::NAN, -2.0, 0.5, 7.0, -1.0, 4.0, 0.1, -0.0, f32::INFINITY]);
        let cx = LowerCx {
            inputs: vec![Some((DType::F32, vec![2, 5])), Some((DType::F32, vec![5]))],
            constants: vec![None, Some(&y)],
            outputs: vec![(DType::F32, vec![2, 5])],
        };
        let lowering = Op::lower(&Pow {}, &cx).unwrap();
        let got = lowering.evaluate(&cx, &[Some(&x), Some(&y)]).unwrap().unwrap();
        let want = [6561.0f32, 1.0, -8.0, 0.5, 49.0, 1.0, 1.0, 0.1 * (0.1 * 0.1), -0.0, f32::INFINITY];
        assert_eq!(got[0], Tensor::from_slice(&[2, 5], &want));
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
