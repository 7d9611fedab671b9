//! `y[i] = value` for every index of `shape`.
//!
//! - **C1** `input` (the shape) is `i64` of rank 1
//! - **C2** `value` has one element; left out it is the `f32` 0
//! - **C3** no extent is negative
//!
//! ONNX `ConstantOfShape`: opset 9, 20, 21, 23, 24, 25 (types).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::{AlignedBytes, Tensor};

attributes! {
    /// Attributes of `ConstantOfShape`.
    pub struct ConstantOfShape {
        /// The element, in a tensor of one element.
        value: Option<Tensor>,
    }
}

impl Op for ConstantOfShape {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::I64])?;
        cx.require("C1", cx.rank(0)? == 1, || "the shape must have rank 1".into())?;
        let len = self.value.as_ref().map_or(1, Tensor::len);
        cx.require("C2", len == 1, || format!("`value` has {len} elements"))?;
        let dtype = self.value.as_ref().map_or(DType::F32, Tensor::dtype);
        let shape: Vec<Dim> = match cx.values(0)? {
            Some(v) => v,
            None => (0..cx.len_of(0)?).map(|_| cx.fresh()).collect(),
        };
        for d in &shape {
            cx.require_that("C3", Cond::le(&Dim::int(0), d))?;
        }
        let n = match shape.as_slice() {
            [] => Some(1),
            [n] => n.as_int().filter(|&n| n <= 4096),
            _ => None,
        };
        cx.output(dtype, shape)?;
        if let (Some(n), Some(v)) = (n, self.value.as_ref().filter(|v| v.dtype().is_int())) {
            cx.output_values(Some(vec![Dim::int(one_int(v)?); n.max(0) as usize]));
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let y = match &self.value {
            Some(v) => v.take(&shape, std::iter::repeat_n(0, len_elems(&shape)?))?,
            None => Tensor::zeros(dtype, &shape)?,
        };
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (dtype, _) = cx.outputs[0];
        let value = match &self.value {
            None => None,
            Some(v) if dtype.is_float() => Some(Err(v.floats()?[0])),
            Some(v) if dtype.is_int() || dtype == DType::Bool => Some(Ok(v.ints()?[0])),
            Some(_) => return Ok(Lowering::Host),
        };
        Loops::new(cx).result(|c, _| match value {
            None => c.zero(dtype),
            Some(Err(v)) => c.float(dtype, v),
            Some(Ok(v)) => c.int(dtype, v as i64),
        })
    }

    fn deferred(&self, _: &[Option<&Tensor>], dtype: DType, shape: &[usize]) -> Option<Tensor> {
        let element = self.value.as_ref().map_or_else(|| vec![0; dtype.size_bytes()], |t| t.bytes().to_vec());
        let len_bytes = len_elems(shape).ok()?.checked_mul(element.len())?;
        let made = move || {
            let mut bytes = AlignedBytes::zeroed(len_bytes);
            bytes.as_mut_slice().chunks_exact_mut(element.len()).for_each(|to| to.copy_from_slice(&element));
            bytes
        };
        Tensor::deferred(dtype, shape, made).ok()
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    ConstantOfShape in "ai.onnx" since [9, 20 brings "bf16 f8", 21 brings "i4 u4", 23 brings "f4e2m1",
        24 brings "f8e8m0", 25 brings "i2 u2"];
    "input" => "output";
    summary: "one value at every index of a given shape";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @constant_of_shape([2, 2]) == f32[2, 2] [[7.0, 7.0], [7.0, 7.0]]
graph @constant_of_shape(%a: i64[2]) -> f32[u1, u2] {
  %y = constant_of_shape %a {value = f32[1] [7.0]} : f32[u1, u2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn constant_of_shape_fills_and_defaults_to_zero() {
        let shape = Tensor::from_slice(&[2], &[2i64, 1]);
        let one = Tensor::from_slice(&[1], &[7i32]);
        let y = run1("ConstantOfShape", attrs! { value: one }, &[shape]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 1], &[7i32, 7]));
        let y = run1("ConstantOfShape", attrs! {}, &[Tensor::from_slice::<i64>(&[0], &[])]).unwrap();
        assert_eq!(y, Tensor::scalar(0f32));
    }

    #[test]
    fn constant_of_shape_constraints_are_named() {
        let label = |a, t: Tensor| run1("ConstantOfShape", a, &[t]).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(attrs! {}, Tensor::from_slice(&[1], &[1i32])), "ConstantOfShape.C1");
        let two = attrs! { value: Tensor::from_slice(&[2], &[1i32, 2]) };
        assert_eq!(label(two, Tensor::from_slice(&[1], &[1i64])), "ConstantOfShape.C2");
        assert_eq!(label(attrs! {}, Tensor::from_slice(&[1], &[-1i64])), "ConstantOfShape.C3");
    }
}
