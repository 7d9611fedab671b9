//! `y = saturate(round(x / s) + z)`, with scale `s = (max(0, max x) - min(0, min x)) / 255` and zero point
//! `z = saturate(round(-min(0, min x) / s))` of the data itself.
//!
//! - **C1** `x` is `f32`
//!
//! Where all of `x` is 0, or `x` is empty, `s = 1` (the specification divides 0 by 0). All steps are taken in `f32`.
//! ONNX `DynamicQuantizeLinear`: opset 11.

use super::common::*;
use super::lowering::{BinOp, Loops, ReduceOp};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `DynamicQuantizeLinear` has no attributes.
    pub struct DynamicQuantizeLinear {}
}

impl Op for DynamicQuantizeLinear {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::F32])?;
        cx.output(DType::U8, cx.shape(0)?)?;
        cx.output(DType::F32, vec![])?;
        cx.output(DType::U8, vec![])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let t = cx.tensor(0)?;
        let x = t.slice::<f32>()?;
        let (scale, zero) = range_of(&x);
        let y: Vec<u8> = x.iter().map(|v| ((v / scale).round_ties_even() + f32::from(zero)) as u8).collect();
        cx.push(Tensor::from_slice(t.shape(), &y));
        cx.push(Tensor::scalar(scale));
        cx.push(Tensor::scalar(zero));
        Ok(())
    }
    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = cx.shape(0).to_vec();
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let mut end = |op| {
            l.c.compute(DType::F32, &[], |c, _| {
                let v = c.reduce(op, &shape, |c, r| c.load(x, r));
                let zero = c.zero(DType::F32);
                if op == ReduceOp::Max { c.max(v, zero) } else { c.min(v, zero) }
            })
        };
        let (lo, hi) = (end(ReduceOp::Min), end(ReduceOp::Max));
        let scale = l.c.compute(DType::F32, &[], |c, _| {
            let (lo, hi) = (c.load(lo, &[]), c.load(hi, &[]));
            let (some, width) = (c.gt(hi, lo), c.sub(hi, lo));
            let (scale, one) = (c.bin_const(BinOp::Div, width, 255.0), c.one(DType::F32));
            c.select(some, scale, one)
        });
        // Casts hold numbers within the range of `u8`.
        let zero = l.c.compute(DType::U8, &[], |c, _| {
            let (lo, scale) = (c.load(lo, &[]), c.load(scale, &[]));
            let q = c.div(lo, scale);
            let q = c.neg(q);
            let q = c.round(q);
            c.cast(q, DType::U8)
        });
        let y = l.c.compute(DType::U8, &shape, |c, i| {
            let (v, scale, zero) = (c.load(x, i), c.load(scale, &[]), c.load(zero, &[]));
            let q = c.div(v, scale);
            let q = c.round(q);
            let zero = c.cast(zero, DType::F32);
            let q = c.add(q, zero);
            c.cast(q, DType::U8)
        });
        let all = [y, scale, zero];
        l.done(&all[..cx.outputs.len().min(3)])
    }
}

/// Scale and zero point for these numbers.
pub fn range_of(x: &[f32]) -> (f32, u8) {
    // Of NaN there is no range.
    if x.iter().any(|v| v.is_nan()) {
        return (1.0, 0);
    }
    let (lo, hi) = x.iter().fold((0f32, 0f32), |(lo, hi), &v| (lo.min(v), hi.max(v)));
    let scale = if hi > lo { (hi - lo) / 255.0 } else { 1.0 };
    // A conversion to `u8` saturates.
    (scale, (-lo / scale).round_ties_even() as u8)
}

op! {
    DynamicQuantizeLinear in "ai.onnx" since [11]; "x" => "y, y_scale, y_zero_point";
    summary: "quantised by the range of the data";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @dynamic_quantize_linear([0.0, 2.0, -3.0, 1.5]) == [153, 255, 0, 229], 0.019607844, 153
graph @dynamic_quantize_linear(%a: f32[4]) -> (u8[4], f32[], u8[]) {
  %y, %z, %u = dynamic_quantize_linear %a : u8[4], f32[], u8[]
  return %y, %z, %u
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn dynamic_quantize_linear_of_zeros_and_of_a_range() {
        assert_eq!(range_of(&[]), (1.0, 0));
        assert_eq!(range_of(&[-1.0, 254.0]), (1.0, 1));
        assert_eq!(range_of(&[f32::NAN, -300.0]), (1.0, 0), "as compiled");
        let y = run1("DynamicQuantizeLinear", attrs! {}, &[Tensor::from_slice(&[2], &[-1.0f32, 254.0])]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2], &[0u8, 255]));
    }

    #[test]
    fn dynamic_quantize_linear_c1_names_the_types() {
        let label = violated("DynamicQuantizeLinear", attrs! {}, &[Type::tensor(DType::F64, &[1])]);
        assert_eq!(label.as_deref(), Some("DynamicQuantizeLinear.C1"));
    }
}
