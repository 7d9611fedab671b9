//! Strings to integers or integers to strings by a table.
//!
//! - **C1** the operand is `string` or `i64`
//! - **C2** the two columns of the table are equally long
//!
//! ONNX `CategoryMapper` (ai.onnx.ml): opset 1.

use super::super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `CategoryMapper`.
    pub struct CategoryMapper {
        /// The integers.
        cats_int64s: Vec<i64> = Vec::new(),
        /// The strings.
        cats_strings: Vec<String> = Vec::new(),
        /// For a string that is not in the table.
        default_int64: i64 = -1,
        /// For an integer that is not in the table.
        default_string: String = "_Unused",
    }
}

impl Op for CategoryMapper {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.require_dtype("C1", 0, &[DType::String, DType::I64])?;
        cx.require("C2", self.cats_int64s.len() == self.cats_strings.len(), || "the columns differ in length".into())?;
        cx.output(if dtype == DType::I64 { DType::String } else { DType::I64 }, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let y = if x.dtype() == DType::I64 {
            let of = |v: i64| self.cats_int64s.iter().position(|&c| c == v);
            let text = |v| Arc::from(of(v).map_or(self.default_string.as_str(), |i| self.cats_strings[i].as_str()));
            Tensor::from_strings(x.shape(), x.to_i64s()?.into_iter().map(text).collect())
        } else {
            let of = |s: &str| self.cats_strings.iter().position(|c| c == s);
            let v: Vec<i64> =
                x.strings()?.iter().map(|s| of(s).map_or(self.default_int64, |i| self.cats_int64s[i])).collect();
            Tensor::from_slice(x.shape(), &v)
        };
        cx.push(y);
        Ok(())
    }
}

op! {
    CategoryMapper in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "strings to integers or back by a table";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_category_mapper(["cat", "dog", "cow"]) == [1, 2, -1]
graph @ml_category_mapper(%a: string[3]) -> i64[3] {
  %y = ml.category_mapper %a {cats_int64s = [1, 2], cats_strings = ["cat", "dog"]} : i64[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn category_mapper_goes_both_ways() {
        let a = || attrs! { cats_int64s: vec![4i64], cats_strings: Attr::Strings(vec!["d".into()]) };
        let go = |x: Tensor| run("ai.onnx.ml", "CategoryMapper", a(), &[Some(x.into())], 1).unwrap().remove(0);
        let s = |v: &[&str]| Tensor::from_strings(&[v.len()], v.iter().map(|&s| s.into()).collect());
        assert_eq!(go(s(&["d", "e"])), Tensor::from_slice(&[2], &[4i64, -1]).into());
        assert_eq!(go(Tensor::from_slice(&[2], &[4i64, 5])), s(&["d", "_Unused"]).into());
    }
}
