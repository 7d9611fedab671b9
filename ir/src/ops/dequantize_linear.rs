//! `y = (x - zero_point) scale`.
//!
//! - **C1** `x` and `scale` have types of the specification; `zero_point` has the type of `x`; the result's type is
//!   `output_dtype` or that of `scale`
//! - **C2** `axis` is one of `x`
//! - **C3** `scale` is a scalar, a vector of one number or of one an index of `axis`, or, with `block_size`, has the rank of `x`
//!   and one number a block
//! - **C4** `zero_point` has the shape of `scale`, or both are one number, a scalar or a vector
//!
//! The product is rounded once. ONNX `DequantizeLinear`: opset 10, 13 (`axis`), 19 (8-bit floats), 21 (`block_size`),
//! 23 (`output_dtype`), 24, 25, 28 (types).

use super::common::*;
use super::lowering::Loops;
use super::quantized::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{AlignedBytes, Tensor};

attributes! {
    /// Attributes of `DequantizeLinear`.
    pub struct DequantizeLinear {
        /// Axis of the scales.
        axis: i64 = 1,
        /// Elements of `axis` that share a scale; 0: not blocked.
        block_size: Dim = Dim::int(0),
        /// Type of the result.
        output_dtype: Option<DType>,
    }
}

impl Op for DequantizeLinear {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[QUANTIZED, &[DType::I32]].concat())?;
        let scale = cx.require_dtype("C1", 1, &[DType::F32, DType::F16, DType::BF16, DType::F8E8M0])?;
        cx.same_dtype("C1", [0, 2])?;
        let dtype = self.output_dtype.unwrap_or(if scale == DType::F8E8M0 { DType::F32 } else { scale });
        cx.require("C1", [DType::F32, DType::F16, DType::BF16].contains(&dtype), || format!("output_dtype {dtype}"))?;
        scale_rule(cx, 1, 2, self.axis, &self.block_size)?;
        cx.output(dtype, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (x, scale) = (cx.tensor(0)?, cx.tensor(1)?);
        let (dtype, shape) = cx.out(0)?;
        let at = scale_positions(&shape, scale.shape(), self.axis, &self.block_size)?;
        let zero = cx.tensor_opt(2)?.map(Tensor::floats).transpose()?;
        let s = scale.floats()?;
        let y = x.floats()?.into_iter().zip(at).map(|(x, i)| {
            let zero = zero.as_ref().map_or(0.0, |z| z[if z.len() == 1 { 0 } else { i }]);
            (x - zero) * s[i]
        });
        cx.push(Tensor::from_floats(dtype, &shape, y));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (from, to) = (cx.dtype(0), cx.outputs[0].0);
        if cx.dtype(1) == DType::F8E8M0 {
            return Ok(Lowering::Host);
        }
        // 8- and 16-bit numbers are exact in `f32`, so that only the product is rounded.
        let wide = if from == DType::I32 { DType::F64 } else { DType::F32 };
        let at = ScaleIndex::new(cx, self.axis, &self.block_size)?;
        let mut l = Loops::new(cx);
        let (x, scale) = (l.x(0), l.x(1));
        let zero = cx.has(2).then(|| l.x(2));
        l.result(|c, i| {
            let x = c.load(x, i);
            let mut v = c.cast(x, wide);
            if let Some(zero) = zero {
                let z = at.load(c, zero, i);
                let z = c.cast(z, wide);
                v = c.sub(v, z);
            }
            let s = at.load(c, scale, i);
            let s = c.cast(s, wide);
            let y = c.mul(v, s);
            c.cast(y, to)
        })
    }

    fn deferred(&self, operands: &[Option<&Tensor>], dtype: DType, shape: &[usize]) -> Option<Tensor> {
        let (x, scale) = (operands.first().copied()??, operands.get(1).copied()??);
        let signed = match x.dtype() {
            DType::I8 => true,
            DType::U8 => false,
            _ => return None,
        };
        let along = scale.len() != 1;
        if dtype != DType::F32 || self.block_size != 0 || along && scale.rank() != 1 {
            return None;
        }
        let zeros = operands.get(2).copied().flatten().map(Tensor::floats).transpose().ok()?;
        let scales = scale.floats().ok()?;
        let zero = move |i: usize| zeros.as_ref().map_or(0.0, |z| z[if z.len() == 1 { 0 } else { i }]);
        let axis = if shape.len() <= 1 { 0 } else { normal_axis(self.axis, shape.len()) };
        // Elements that share a scale lie in a row.
        let row = if along { shape.get(axis + 1..)?.iter().product::<usize>() } else { x.len() };
        let x = x.clone();
        let made = move || {
            let mut out = AlignedBytes::zeroed(4 * x.len());
            let rows = out.as_mut_f32().chunks_mut(row.max(1)).zip(x.bytes().chunks(row.max(1)));
            for (r, (to, from)) in rows.enumerate() {
                let at = r % scales.len();
                let (scale, zero) = (scales[at], zero(at));
                for (to, &q) in to.iter_mut().zip(from) {
                    let q = if signed { f64::from(q as i8) } else { f64::from(q) };
                    *to = ((q - zero) * scale) as f32;
                }
            }
            x.release_pages(0..x.len());
            out
        };
        Tensor::deferred(dtype, shape, made).ok()
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], accuracy: Accuracy::Ulp(1), ..Facts::MOVES }
    }
}

op! {
    DequantizeLinear in "ai.onnx" since [10, 13, 19 brings "f16 bf16 f8", 21 brings "i4 i16 u4 u16 block_size",
        23 brings "f4e2m1 output_dtype", 24 brings "f8e8m0", 25 brings "i2 u2", 28 brings ""];
    "x, x_scale, x_zero_point?" => "y";
    summary: "numbers of a low-precision scale as floats";
    upgrade: |cx| { drop_undefined(cx, &["output_dtype"]); Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @dequantize_linear([0, 10, 14], 0.5, 10) == [-5.0, 0.0, 2.0]
graph @dequantize_linear(%a: u8[3], %b: f32[], %c: u8[]) -> f32[3] {
  %y = dequantize_linear %a, %b, %c : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn blocks_share_a_scale() {
        let x = Tensor::from_slice(&[1, 4], &[1u8, 2, 3, 4]);
        let s = Tensor::from_slice(&[1, 2], &[1.0f32, 10.0]);
        let z = Tensor::from_slice(&[1, 2], &[1u8, 2]);
        let y = run1("DequantizeLinear", attrs! { block_size: 2i64 }, &[x, s, z]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[1, 4], &[0.0f32, 1.0, 10.0, 20.0]));
    }

    #[test]
    fn dequantize_linear_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let (f, u) = (DType::F32, DType::U8);
        let label = |a, types: &[Type]| violated("DequantizeLinear", a, types);
        let x = t(u, &[2, 3]);
        let types = [x.clone(), t(f, &[]), t(DType::I8, &[])];
        assert_eq!(label(attrs! {}, &types).as_deref(), Some("DequantizeLinear.C1"));
        assert_eq!(label(attrs! { axis: 2i64 }, &[x.clone(), t(f, &[3])]).as_deref(), Some("DequantizeLinear.C2"));
        assert_eq!(label(attrs! {}, &[x.clone(), t(f, &[2])]).as_deref(), Some("DequantizeLinear.C3"));
        // More axes than one are those of blocks.
        assert_eq!(label(attrs! {}, &[x.clone(), t(f, &[1, 1])]).as_deref(), Some("DequantizeLinear.C3"));
        let types = [x.clone(), t(f, &[]), t(u, &[1, 1])];
        assert_eq!(label(attrs! {}, &types).as_deref(), Some("DequantizeLinear.C4"));
        assert_eq!(label(attrs! {}, &[x, t(f, &[3]), t(u, &[2])]).as_deref(), Some("DequantizeLinear.C4"));
    }
}
