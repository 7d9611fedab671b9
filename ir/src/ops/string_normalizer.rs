//! Strings without stop words, in another case where asked.
//!
//! - **C1** the operand is `string[c]` or `string[1, c]`
//! - **C2** `case_change_action` is `NONE`, `LOWER` or `UPPER`
//!
//! Case follows Unicode, whatever `locale` says. Without `is_case_sensitive`, stop words are compared in lower case. When
//! nothing is left the result is one empty string. The result's extent depends on data.
//! ONNX `StringNormalizer`: opset 10.

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `StringNormalizer`.
    pub struct StringNormalizer {
        /// What happens to the case: `NONE`, `LOWER` or `UPPER`.
        case_change_action: String = "NONE",
        /// Whether stop words are compared as they stand.
        is_case_sensitive: bool = false,
        /// Not used: Unicode's case mapping is the same everywhere.
        locale: Option<String>,
        /// Words taken out.
        stopwords: Vec<String> = Vec::new(),
    }
}

impl Op for StringNormalizer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::String])?;
        let mut shape = cx.shape(0)?;
        let r = shape.len();
        cx.require("C1", r == 1 || r == 2, || format!("the operand has rank {r}"))?;
        if r == 2 {
            cx.require_eq("C1", &shape[0], &Dim::int(1))?;
        }
        let action = self.case_change_action.as_str();
        cx.require("C2", ["NONE", "LOWER", "UPPER"].contains(&action), || format!("action `{action}`"))?;
        shape[r - 1] = cx.fresh();
        cx.output(DType::String, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let stop = |s: &str| match self.is_case_sensitive {
            true => self.stopwords.iter().any(|w| w == s),
            false => self.stopwords.iter().any(|w| w.to_lowercase() == s.to_lowercase()),
        };
        let mut kept: Vec<Arc<str>> = x
            .strings()?
            .iter()
            .filter(|s| !stop(s))
            .map(|s| match self.case_change_action.as_str() {
                "LOWER" => Arc::from(s.to_lowercase()),
                "UPPER" => Arc::from(s.to_uppercase()),
                _ => s.clone(),
            })
            .collect();
        if kept.is_empty() {
            kept.push("".into());
        }
        let shape = if x.rank() == 2 { vec![1, kept.len()] } else { vec![kept.len()] };
        cx.push(Tensor::from_strings(&shape, kept));
        Ok(())
    }
}

op! {
    StringNormalizer in "ai.onnx" since [10]; "X" => "Y";
    summary: "strings without stop words, in another case";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @string_normalizer(["Monday", "the", "DAY"]) == string[2] ["monday", "day"]
graph @string_normalizer(%a: string[3]) -> string[u1] {
  %y = string_normalizer %a {case_change_action = "LOWER", stopwords = ["the"]} : string[u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn string_normalizer_drops_and_lowers() {
        let s = |v: &[&str]| Tensor::from_strings(&[v.len()], v.iter().map(|&s| s.into()).collect());
        let stop = Attr::Strings(vec!["monday".into()]);
        let a = |action: &str| attrs! { stopwords: stop.clone(), case_change_action: action };
        let go = |x: &[&str], action| run1("StringNormalizer", a(action), &[s(x)]).unwrap();
        assert_eq!(go(&["Monday", "TUE"], "LOWER"), s(&["tue"]));
        assert_eq!(go(&["monday"], "NONE"), s(&[""]));
    }

    #[test]
    fn string_normalizer_constraints_are_named() {
        let label = |a, n: &[usize]| violated("StringNormalizer", a, &[Type::tensor(DType::String, n)]);
        assert_eq!(label(attrs! {}, &[2, 2]).as_deref(), Some("StringNormalizer.C1"));
        assert_eq!(label(attrs! { case_change_action: "X" }, &[2]).as_deref(), Some("StringNormalizer.C2"));
    }
}
