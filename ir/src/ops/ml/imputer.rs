//! Elements equal to a stand-in for "missing" replaced, feature by feature.
//!
//! - **C1** `x` is `f32`, `f64`, `i64` or `i32`, of rank 1 or 2
//! - **C2** one of the two lists of replacements is given, with one entry or one a feature; floats for floats
//!
//! A stand-in of NaN means NaN. ONNX `Imputer` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::scores::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Imputer`.
    pub struct Imputer {
        /// Replacements for float operands.
        imputed_value_floats: Vec<f32> = Vec::new(),
        /// Replacements for integer operands.
        imputed_value_int64s: Vec<i64> = Vec::new(),
        /// What stands for "missing" in float operands.
        replaced_value_float: f32 = 0.0,
        /// What stands for "missing" in integer operands.
        replaced_value_int64: i64 = 0,
    }
}

impl Op for Imputer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (_, f) = rows_rule(cx, "C1", FEATURES)?;
        let n = if cx.dtype(0)?.is_float() { self.imputed_value_floats.len() } else { self.imputed_value_int64s.len() };
        cx.require("C2", n > 0, || "no replacement of the operand's kind is given".into())?;
        if n > 1 {
            cx.require_eq("C2", &f, &Dim::from(n))?;
        }
        cx.output(cx.dtype(0)?, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let f = x.shape().last().copied().unwrap_or(1);
        let at = |n: usize, i: usize| if n == 1 { 0 } else { i % f };
        let y = if x.dtype().is_float() {
            let (list, old) = (&self.imputed_value_floats, f64::from(self.replaced_value_float));
            let missing = |v: f64| v == old || (v.is_nan() && old.is_nan());
            let new = |(i, v)| if missing(v) { f64::from(list[at(list.len(), i)]) } else { v };
            Tensor::from_floats(x.dtype(), x.shape(), x.floats()?.into_iter().enumerate().map(new))
        } else {
            let (list, old) = (&self.imputed_value_int64s, i128::from(self.replaced_value_int64));
            let new = |(i, v)| if v == old { i128::from(list[at(list.len(), i)]) } else { v };
            Tensor::from_ints(x.dtype(), x.shape(), x.ints()?.into_iter().enumerate().map(new))
        };
        cx.push(y);
        Ok(())
    }
}

op! {
    Imputer in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "missing elements replaced";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_imputer([[1.0, nan]]) == [[1.0, 7.0]]
graph @ml_imputer(%a: f32[1, 2]) -> f32[1, 2] {
  %y = ml.imputer %a {imputed_value_floats = [5.0, 7.0], replaced_value_float = nan} : f32[1, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn imputer_replaces_nan_by_feature() {
        let x = Tensor::from_slice(&[1, 2], &[f32::NAN, 1.0]);
        let a = attrs! { imputed_value_floats: Attr::Floats(vec![7.0, 8.0]), replaced_value_float: f32::NAN };
        let y = run("ai.onnx.ml", "Imputer", a, &[Some(x.into())], 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[1, 2], &[7f32, 1.0]).into());
    }

    #[test]
    fn imputer_c2_wants_replacements() {
        let x = Tensor::from_slice(&[1], &[1i64]);
        let e = run("ai.onnx.ml", "Imputer", attrs! {}, &[Some(x.into())], 1).unwrap_err();
        assert_eq!(e.label(), Some("Imputer.C2"));
    }
}
