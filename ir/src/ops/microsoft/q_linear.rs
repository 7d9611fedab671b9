//! What the pointwise and pooling operators on quantised tensors share: dequantise, compute in `f32`, quantise.

use crate::error::Result;
use crate::ops::common::*;
use crate::ops::quantized::*;
use crate::rule::{RuleCx, RuleResult};

/// Checks C1: the quantised operands are `i8` or `u8`.
pub fn require_bytes(cx: &RuleCx<'_>, operands: &[usize]) -> RuleResult {
    operands.iter().try_for_each(|&i| cx.require_dtype("C1", i, BYTES).map(|_| ()))
}

/// Checks C1: the quantised operands and the result's zero point, where given, are `i8` or `u8`, all of one type, as ONNX
/// Runtime's schemas have it.
pub fn require_one_type(cx: &RuleCx<'_>, operands: impl IntoIterator<Item = usize>) -> RuleResult {
    let dtype = cx.same_dtype("C1", operands)?;
    cx.require("C1", BYTES.contains(&dtype), || format!("the element type is {dtype}, not `i8` or `u8`"))
}

/// Checks that scales and zero points are one number each, a scalar or a tensor whose extents are 1. ONNX Runtime's schemas
/// want scalars, its kernels take vectors of one element too, and some do not look at the shape.
pub fn require_numbers(cx: &mut RuleCx<'_>, label: &'static str, operands: &[usize]) -> RuleResult {
    for &i in operands {
        if cx.has(i) {
            cx.shape(i)?.iter().try_for_each(|d| cx.require_eq(label, d, &Dim::ONE))?;
        }
    }
    Ok(())
}

/// `quantise(f(dequantise(x)))` of the operands `x, scale, zero?` and the result's `scale, zero?`.
///
/// # Errors
/// When a rule refuses.
pub fn unary(
    b: &mut GraphBuilder,
    x: &[Option<ValueId>],
    f: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<Option<ValueId>>,
) -> Result<Option<Vec<ValueId>>> {
    let at = |i: usize| x.get(i).copied().flatten();
    let p = dequantize(b, at(0), at(1), at(2), 1)?;
    let Some(y) = f(b, p)? else { return Ok(None) };
    Ok(Some(vec![quantize(b, y, at(3), at(4), at(0))?]))
}

/// `quantise(op(dequantise(p), dequantise(q)))` of two triples of tensor, scale, zero point, and the result's scale and
/// zero point.
///
/// # Errors
/// When a rule refuses.
pub fn binary(b: &mut GraphBuilder, x: &[Option<ValueId>], op: &str) -> Result<Option<Vec<ValueId>>> {
    let at = |i: usize| x.get(i).copied().flatten();
    let p = dequantize(b, at(0), at(1), at(2), 1)?;
    let q = dequantize(b, at(3), at(4), at(5), 1)?;
    let y = b.op(op, attrs! {}, &[p, q])?;
    Ok(Some(vec![quantize(b, y, at(6), at(7), at(0))?]))
}

#[cfg(test)]
pub(super) mod testing {
    //! For these operators' tests.

    use super::*;
    use crate::ops::common::testing::run;
    use crate::{Attrs, Tensor};

    /// Runs one call of `com.microsoft` with one result.
    pub(in super::super) fn call(op: &str, attrs: Attrs, operands: &[Option<Tensor>]) -> Result<Tensor> {
        let operands: Vec<_> = operands.iter().map(|t| t.clone().map(Value::from)).collect();
        run("com.microsoft", op, attrs, &operands, 1)?.remove(0).tensor().cloned()
    }

    /// The label that a call violates.
    pub(in super::super) fn label(op: &str, attrs: Attrs, operands: &[Option<Tensor>]) -> Option<String> {
        call(op, attrs, operands).err()?.label().map(str::to_owned)
    }

    /// Checks the one result of a call.
    pub(in super::super) fn check(op: &str, attrs: Attrs, operands: &[Tensor], want: &[f64]) {
        let operands: Vec<_> = operands.iter().cloned().map(Some).collect();
        let have = call(op, attrs, &operands).unwrap().floats().unwrap();
        assert!(
            have.len() == want.len() && have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6),
            "{have:?}, not {want:?}"
        );
    }

    /// Checks that each of these operands, scalars, may have the shape `[1, 1]` and not `[2]`.
    pub(in super::super) fn check_numbers(op: &str, c: &str, attrs: &Attrs, operands: &[Tensor], parameters: &[usize]) {
        for &i in parameters {
            let of_shape = |shape: &[usize]| {
                let mut operands: Vec<_> = operands.iter().cloned().map(Some).collect();
                let v = operands[i].as_ref().and_then(|t| t.floats().ok()).expect("a scalar")[0];
                let n = shape.iter().product();
                operands[i] = Some(Tensor::from_floats(operands[i].as_ref().unwrap().dtype(), shape, vec![v; n]));
                label(op, attrs.clone(), &operands)
            };
            assert_eq!(of_shape(&[1, 1]), None, "operand {i}");
            assert_eq!(of_shape(&[2]), Some(format!("{op}.{c}")), "operand {i}");
        }
    }
}
