//! `y = quantise(Concat(dequantise(x_0), …; axis))`, operands in triples of tensor, scale, zero point.
//!
//! - **C1** quantised operands are `i8` or `u8`, and the result of their type
//! - **C2** after the result's scale and zero point there is at least one triple, and no part of one
//! - **C3** scales and zero points are one number each: their extents are 1
//! - their types are as for [`dequantize_linear`](crate::ops::dequantize_linear), shapes of tensors as for
//!   [`concat`](crate::ops::concat)
//!
//! Evaluated through `f32`. ONNX Runtime `com.microsoft::QLinearConcat`, version 1.

use super::q_linear;
use crate::error::Result;
use crate::ops::common::*;
use crate::ops::pointwise::rule_of_expansion;
use crate::ops::quantized::*;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `QLinearConcat`.
    pub struct QLinearConcat {
        /// Axis to join along.
        axis: i64,
    }
}

impl Op for QLinearConcat {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let n = cx.n_inputs();
        cx.require("C2", n >= 5 && (n - 2).is_multiple_of(3), || format!("{n} operands are given"))?;
        q_linear::require_one_type(cx, [1].into_iter().chain((2..n).step_by(3)))?;
        q_linear::require_numbers(cx, "C3", &[0, 1])?;
        for i in (2..n).step_by(3) {
            q_linear::require_numbers(cx, "C3", &[i + 1, i + 2])?;
        }
        rule_of_expansion(self, cx)
    }

    fn expand(&self, b: &mut GraphBuilder, x: &[Option<ValueId>]) -> Result<Option<Vec<ValueId>>> {
        let mut pieces = Vec::new();
        for triple in x.get(2..).unwrap_or_default().chunks(3) {
            let at = |i: usize| triple.get(i).copied().flatten();
            pieces.push(dequantize(b, at(0), at(1), at(2), 1)?);
        }
        let y = b.op("Concat", attrs! { axis: self.axis }, &pieces)?;
        Ok(Some(vec![quantize(b, y, x[0], x[1], None)?]))
    }
}

op! {
    QLinearConcat in "com.microsoft" since [1]; "Y_scale, Y_zero_point, inputs*" => "Y";
    summary: "quantised tensors joined along one axis, quantised";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @microsoft_q_linear_concat(0.5, 10, [10, 14], 1.0, 0, [1, 2], 0.5, 10) == [30, 38, 1, 2]
graph @microsoft_q_linear_concat(%a: f32[], %b: u8[], %c: u8[2], %d: f32[], %e: u8[], %f: u8[2], %g: f32[], %h: u8[]) -> u8[4] {
  %y = microsoft.q_linear_concat %a, %b, %c, %d, %e, %f, %g, %h {axis = 0} : u8[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::q_linear::testing::check_numbers;
    use super::*;
    use crate::Tensor;
    use crate::ops::common::testing::*;

    fn operands() -> Vec<Tensor> {
        vec![
            Tensor::scalar(1.0f32),
            Tensor::scalar(1u8),
            Tensor::from_slice(&[1], &[4u8]),
            Tensor::scalar(0.5f32),
            Tensor::scalar(0u8),
            Tensor::from_slice(&[1], &[7u8]),
            Tensor::scalar(1.0f32),
            Tensor::scalar(2u8),
        ]
    }

    #[test]
    fn q_linear_concat_c3_wants_parameters_of_one_number() {
        check_numbers("QLinearConcat", "C3", &attrs! { axis: 0i64 }, &operands(), &[0, 1, 3, 4, 6, 7]);
    }

    #[test]
    fn q_linear_concat_of_two() {
        let operands: Vec<_> = operands().into_iter().map(|t| Some(Value::from(t))).collect();
        let y = run("com.microsoft", "QLinearConcat", attrs! { axis: 0i64 }, &operands, 1).unwrap();
        let want = [3.0, 6.0];
        let have = y[0].tensor().unwrap().floats().unwrap();
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?}");
        assert_eq!(have.len(), want.len());
    }
}
