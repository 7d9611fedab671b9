//! A constant, given by one of eight attributes.
//!
//! - **C1** exactly one attribute is given
//!
//! `value_float`, `value_int`, `value_string` give rank 0; their plurals rank 1. A sparse tensor is expanded where it
//! is read. ONNX `Constant`: opset 1 (`value`), 9, 11 (`sparse_value`), 12 (the others), 13, 19, 21, 23, 24, 25 (types).

use super::common::*;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Constant`.
    pub struct Constant {
        /// A tensor.
        value: Option<Tensor>,
        /// A sparse tensor, written out.
        sparse_value: Option<Tensor>,
        /// An `f32` of rank 0.
        value_float: Option<f32>,
        /// `f32` of rank 1.
        value_floats: Option<Vec<f32>>,
        /// An `i64` of rank 0.
        value_int: Option<i64>,
        /// `i64` of rank 1.
        value_ints: Option<Vec<i64>>,
        /// A string of rank 0.
        value_string: Option<String>,
        /// Strings of rank 1.
        value_strings: Option<Vec<String>>,
    }
}

impl Constant {
    /// The tensor, where exactly one attribute is given.
    pub fn tensor(&self) -> Option<Tensor> {
        let strings = |s: &[String]| s.iter().map(|s| Arc::from(s.as_str())).collect::<Vec<Arc<str>>>();
        let mut all = [
            self.value.clone(),
            self.sparse_value.clone(),
            self.value_float.map(Tensor::scalar),
            self.value_floats.as_ref().map(|v| Tensor::from_slice(&[v.len()], v)),
            self.value_int.map(Tensor::scalar),
            self.value_ints.as_ref().map(|v| Tensor::from_slice(&[v.len()], v)),
            self.value_string.as_ref().map(|v| Tensor::from_strings(&[], strings(std::slice::from_ref(v)))),
            self.value_strings.as_ref().map(|v| Tensor::from_strings(&[v.len()], strings(v))),
        ]
        .into_iter()
        .flatten();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }
}

impl Op for Constant {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let value = self.tensor();
        cx.require("C1", value.is_some(), || "exactly one attribute must give the value".into())?;
        match value {
            Some(t) => cx.output_fact(crate::infer::constant_fact(&t)),
            None => Ok(()),
        }
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let t = self.tensor().ok_or_else(|| Error::invalid("exactly one attribute must give the value"))?;
        cx.push(t);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Constant in "ai.onnx" since [1, 9, 11, 12, 13, 19 brings "f8", 21 brings "i4 u4", 23 brings "f4e2m1",
        24 brings "f8e8m0", 25 brings "i2 u2"];
    "" => "output";
    summary: "a constant tensor";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @three() == [1, 2, 3]
graph @three() -> i64[3] {
  %0 = constant {value_ints = [1, 2, 3]} : i64[3]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn constant_reads_lists_and_scalars() {
        let y = run1("Constant", attrs! { value_ints: vec![1i64, 2] }, &[]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2], &[1i64, 2]));
        assert_eq!(run1("Constant", attrs! { value_float: 1.5f32 }, &[]).unwrap(), Tensor::scalar(1.5f32));
    }

    #[test]
    fn constant_c1_rejects_none_and_two() {
        assert_eq!(violated("Constant", attrs! {}, &[]).as_deref(), Some("Constant.C1"));
        let two = attrs! { value_int: 1i64, value_float: 1.0f32 };
        assert_eq!(violated("Constant", two, &[]).as_deref(), Some("Constant.C1"));
    }
}
