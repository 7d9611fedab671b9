//! `c = a / b`, element by element, with broadcasting.
//!
//! - **C1** `a` and `b` are numbers of one type
//! - **C2** their shapes broadcast
//!
//! Integers are truncated towards zero, an integer divided by zero is an error. Enters shape arithmetic where the
//! signs are known. ONNX `Div`: opset 1 and 6 (`broadcast`, `axis`), 7 (numpy's broadcasting), 13, 14 (8- and 16-bit
//! integers).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// `Div` has no attributes.
    pub struct Div {}
}

impl Op for Div {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, sets::NUMBERS, None)?;
        partial_values(cx, divide)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        eval_binary(
            cx,
            |a, b| a / b,
            |a, b| a.checked_div(b).ok_or_else(|| Error::invalid("an integer is divided by zero")),
        )
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        if !cx.dtype(0).is_float() {
            // Division by zero is an error that only the reference reports.
            return Ok(Lowering::Host);
        }
        lowering::binary(cx, |c, a, b| c.div(a, b))
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0), (1, 0)], accuracy: Accuracy::Ulp(1), ..Facts::POINTWISE }
    }
}

/// The truncated quotient, where it is known not to need rounding up.
fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => a.checked_div(b).map(Dim::int),
        _ if natural(a) && b.bounds().0.is_some_and(|lo| lo > 0) => Some(a.floor_div(b)),
        _ => None,
    }
}

op! {
    Div in "ai.onnx" since [1, 6, 7, 13, 14 brings "i8 i16 u8 u16"]; "A, B" => "C";
    summary: "c = a / b, with broadcasting";
    upgrade: upgrade_binary;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @div([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [10.0, 20.0, -3.0]) == [[0.1, 0.1, -1.0], [0.4, 0.25, -2.0]]
graph @div(%a: f32[2, 3], %b: f32[3]) -> f32[2, 3] {
  %y = div %a, %b : f32[2, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;
    use crate::dtype::DType;
    use crate::tensor::Tensor;

    #[test]
    fn div_truncates() {
        assert_eq!(ints2("Div", attrs! {}, &[-7, 7, i32::MIN], &[2, 2, -1]).unwrap(), [-3, 3, i128::from(i32::MIN)]);
    }

    #[test]
    fn div_by_zero_is_an_error_for_integers_only() {
        assert!(ints2("Div", attrs! {}, &[1], &[0]).is_err());
        let y = run1("Div", attrs! {}, &[Tensor::scalar(1.0f32), Tensor::scalar(0.0f32)]).unwrap();
        assert_eq!(y, Tensor::scalar(f32::INFINITY));
    }

    #[test]
    fn div_c1_names_the_types_and_c2_the_shapes() {
        refuses("Div", &[DType::Bool, DType::Bool]);
        refuses_shapes("Div", DType::F32);
    }
}
