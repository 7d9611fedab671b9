//! `y = saturate(round(x / scale) + zero_point)`, halves to even.
//!
//! - **C1** `x` and `scale` have types of the specification; the result's type is that of `zero_point`, or
//!   `output_dtype` (which agrees with it), or `u8`
//! - **C2** `axis` is one of `x`
//! - **C3** `scale` is a scalar, a vector of one number or of one an index of `axis`, or, with `block_size`, has the rank of `x`
//!   and one number a block
//! - **C4** `zero_point` has the shape of `scale`, or both are one number, a scalar or a vector
//! - **C5** `precision` is `f32`, `f16` or `bf16`
//!
//! The quotient is rounded to `precision`, by default the type of `scale` (of `x` where that is no such float), before
//! it is rounded to an integer. 8-bit floats without `saturate` overflow to infinity or NaN.
//! ONNX `QuantizeLinear`: opset 10, 13 (`axis`), 19 (8-bit floats), 21 (`block_size`, `output_dtype`), 23
//! (`precision`), 24, 25, 28 (types).

use super::cast::floats_to;
use super::common::*;
use super::lowering::Loops;
use super::quantized::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::num::RoundMode;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `QuantizeLinear`.
    pub struct QuantizeLinear {
        /// Axis of the scales.
        axis: i64 = 1,
        /// Elements of `axis` that share a scale; 0: not blocked.
        block_size: Dim = Dim::int(0),
        /// Type of the result.
        output_dtype: Option<DType>,
        /// Type that the quotient is rounded to.
        precision: Option<DType>,
        /// Whether 8-bit floats hold numbers out of their range.
        saturate: bool = true,
    }
}

impl Op for QuantizeLinear {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::F32, DType::F16, DType::BF16, DType::I32])?;
        cx.require_dtype("C1", 1, &[DType::F32, DType::F16, DType::BF16, DType::I32, DType::F8E8M0])?;
        let zero = if cx.has(2) { Some(cx.require_dtype("C1", 2, QUANTIZED)?) } else { None };
        let dtype = zero.or(self.output_dtype).unwrap_or(DType::U8);
        cx.require("C1", self.output_dtype.is_none_or(|d| d == dtype) && QUANTIZED.contains(&dtype), || {
            format!("output_dtype {:?} with a zero point of {zero:?}", self.output_dtype)
        })?;
        let precise = self.precision.is_none_or(|p| matches!(p, DType::F32 | DType::F16 | DType::BF16));
        cx.require("C5", precise, || format!("`precision` is {:?}", self.precision))?;
        scale_rule(cx, 1, 2, self.axis, &self.block_size)?;
        cx.output(dtype, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, scale) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let at = scale_positions(&shape, scale.shape(), self.axis, &self.block_size)?;
        let zero = cx.tensor_opt(2)?.map(Tensor::floats).transpose()?;
        let precision = self.precision.unwrap_or(match (scale.dtype(), x.dtype()) {
            (s @ (DType::F32 | DType::F16 | DType::BF16), _) => s,
            (_, x @ (DType::F16 | DType::BF16)) => x,
            _ => DType::F32,
        });
        let s = scale.floats()?;
        let y: Vec<f64> = x
            .floats()?
            .into_iter()
            .zip(at)
            .map(|(x, i)| {
                let q = round_to(precision, round_to(precision, x) / round_to(precision, s[i]));
                let q = if dtype.is_int() { q.round_ties_even() } else { q };
                q + zero.as_ref().map_or(0.0, |z| z[if z.len() == 1 { 0 } else { i }])
            })
            .collect();
        cx.push(floats_to(dtype, &shape, &y, self.saturate, RoundMode::Up)?);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let precision = self.precision.unwrap_or(DType::F32);
        if [cx.dtype(0), cx.dtype(1), precision] != [DType::F32; 3] {
            return Ok(Lowering::Host);
        }
        let to = cx.outputs[0].0;
        let at = ScaleIndex::new(cx, self.axis, &self.block_size)?;
        let mut l = Loops::new(cx);
        let (x, scale) = (l.x(0), l.x(1));
        let zero = cx.has(2).then(|| l.x(2));
        l.result(|c, i| {
            let x = c.load(x, i);
            let s = at.load(c, scale, i);
            let mut q = c.div(x, s);
            if to.is_int() {
                q = c.round(q);
            }
            if let Some(zero) = zero {
                let z = at.load(c, zero, i);
                let z = c.cast(z, DType::F32);
                q = c.add(q, z);
            }
            // Integers are held within their range.
            c.cast_with(q, to, self.saturate)
        })
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], pointwise: false, ..Facts::MOVES }
    }
}

op! {
    QuantizeLinear in "ai.onnx" since [10, 13, 19 brings "f16 bf16 f8 i32 saturate",
        21 brings "i4 i16 u4 u16 output_dtype block_size", 23 brings "f4e2m1 precision", 24 brings "f8e8m0",
        25 brings "i2 u2", 28 brings ""];
    "x, y_scale, y_zero_point?" => "y";
    summary: "numbers rounded to a low-precision scale";
    upgrade: |cx| { drop_undefined(cx, &["output_dtype", "precision"]); Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @quantize_linear([-10.0, 0.0, 3.0], 0.5, 10) == [0, 10, 16]
graph @quantize_linear(%a: f32[3], %b: f32[], %c: u8[]) -> u8[3] {
  %y = quantize_linear %a, %b, %c : u8[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn halves_go_to_even_and_the_range_holds() {
        let x = Tensor::from_slice(&[5], &[1.0f32, 3.0, 5.0, 1000.0, -1000.0]);
        let y = run1("QuantizeLinear", attrs! {}, &[x, Tensor::scalar(2.0f32), Tensor::scalar(1i8)]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[5], &[1i8, 3, 3, 127, -128]));
    }

    #[test]
    fn scales_an_axis() {
        let x = Tensor::from_slice(&[2, 2], &[2.0f32, 4.0, 6.0, 8.0]);
        let s = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        let y = run1("QuantizeLinear", attrs! { axis: 0i64 }, &[x, s]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[2u8, 4, 3, 4]));
    }

    #[test]
    fn quantize_linear_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let f = DType::F32;
        let label = |a, types: &[Type]| violated("QuantizeLinear", a, types);
        let x = t(f, &[2, 3]);
        assert_eq!(label(attrs! {}, &[t(DType::F64, &[2]), t(f, &[])]).as_deref(), Some("QuantizeLinear.C1"));
        assert_eq!(label(attrs! { axis: 2i64 }, &[x.clone(), t(f, &[3])]).as_deref(), Some("QuantizeLinear.C2"));
        let doubles = attrs! { precision: DType::F64 };
        assert_eq!(label(doubles, &[x.clone(), t(f, &[])]).as_deref(), Some("QuantizeLinear.C5"));
        assert_eq!(label(attrs! {}, &[x.clone(), t(f, &[2])]).as_deref(), Some("QuantizeLinear.C3"));
        let types = [x.clone(), t(f, &[3]), t(DType::U8, &[2])];
        assert_eq!(label(attrs! {}, &types).as_deref(), Some("QuantizeLinear.C4"));
        // More axes than one are those of blocks.
        assert_eq!(label(attrs! {}, &[x.clone(), t(f, &[1, 1])]).as_deref(), Some("QuantizeLinear.C3"));
        let types = [x.clone(), t(f, &[]), t(DType::U8, &[1, 1])];
        assert_eq!(label(attrs! {}, &types).as_deref(), Some("QuantizeLinear.C4"));
        assert_eq!(label(attrs! {}, &[x.clone(), t(f, &[]), t(DType::U8, &[1])]), None);
        let blocked = |s: &[usize]| label(attrs! { block_size: 2i64 }, &[x.clone(), t(f, s)]);
        assert_eq!(blocked(&[2, 2]), None);
        assert_eq!(blocked(&[2, 3]).as_deref(), Some("QuantizeLinear.C3"));
    }
}
