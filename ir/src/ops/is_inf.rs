//! `y = (x is infinite)`, element by element, of the signs asked for.
//!
//! - **C1** `x` is a float, 8-bit ones included
//!
//! ONNX `IsInf`: opset 10, 20 (more types).

use super::common::*;
use super::lowering;
use super::pointwise::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `IsInf`.
    pub struct IsInf {
        /// Whether negative infinity counts.
        detect_negative: bool = true,
        /// Whether positive infinity counts.
        detect_positive: bool = true,
    }
}

impl Op for IsInf {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, FLOATS_AND_8)?;
        cx.output(DType::Bool, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let found =
            |v: f64| (self.detect_negative && v == f64::NEG_INFINITY) || (self.detect_positive && v == f64::INFINITY);
        cx.push(Tensor::from_bools(x.shape(), x.floats()?.into_iter().map(found)));
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let signs = (self.detect_negative, self.detect_positive);
        if signs == (false, false) {
            return Ok(Lowering::Host);
        }
        lowering::unary(cx, |c, x| {
            let end = if signs.1 { f64::INFINITY } else { f64::NEG_INFINITY };
            if signs == (true, true) {
                c.is_inf(x)
            } else {
                let end = c.float(c.dtype(x), end);
                c.eq(x, end)
            }
        })
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

op! {
    IsInf in "ai.onnx" since [10, 20 brings "f16 bf16 f8"]; "X" => "Y";
    summary: "whether elements are infinite";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @is_inf([1.0, nan, inf, -inf]) == [false, false, true, true]
graph @is_inf(%a: f32[4]) -> bool[4] {
  %y = is_inf %a : bool[4]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::pointwise::testing::*;
    use super::*;

    #[test]
    fn is_inf_looks_at_the_signs_asked_for() {
        let x = Tensor::from_slice(&[4], &[1.0f32, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let run = |a| run1("IsInf", a, std::slice::from_ref(&x)).unwrap().ints().unwrap();
        assert_eq!(run(attrs! {}), [0, 0, 1, 1]);
        assert_eq!(run(attrs! { detect_negative: 0i64 }), [0, 0, 1, 0]);
        assert_eq!(run(attrs! { detect_positive: 0i64 }), [0, 0, 0, 1]);
    }

    #[test]
    fn is_inf_c1_names_the_types() {
        refuses("IsInf", &[DType::I32]);
    }
}
