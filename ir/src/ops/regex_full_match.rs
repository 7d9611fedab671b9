//! `Y[i…]`: whether the whole string `X[i…]` matches `pattern`.
//!
//! - **C1** `X` holds strings
//! - **C2** `pattern` is a regular expression in RE2's syntax
//!
//! The crate `regex` follows RE2 (time linear in the text, no back references); RE2's `\C`, a single byte, has no place
//! in it and is refused. ONNX `RegexFullMatch`: opset 20.

use super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use regex::Regex;

attributes! {
    /// Attributes of `RegexFullMatch`.
    pub struct RegexFullMatch {
        /// The expression.
        pattern: Option<String>,
    }
}

impl RegexFullMatch {
    /// The expression bound to both ends of the text.
    fn regex(&self) -> Result<Regex> {
        let pattern = self.pattern.as_deref().unwrap_or_default();
        let refuse = |e: regex::Error| Error::violation("C2", format!("pattern \"{pattern}\": {e}"));
        // Alone first: "a)|(b" is no expression, though it would be one in brackets.
        Regex::new(pattern).map_err(refuse)?;
        // The line break ends a comment that the pattern may end with under (?x), and is ignored there.
        Regex::new(&format!(r"\A(?:{pattern})\z"))
            .or_else(|_| Regex::new(&format!("\\A(?:{pattern}\n)\\z")))
            .map_err(refuse)
    }
}

impl Op for RegexFullMatch {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::String])?;
        self.regex()?;
        cx.output(DType::Bool, cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let regex = self.regex()?;
        let y = Tensor::from_bools(x.shape(), x.strings()?.iter().map(|s| regex.is_match(s)));
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

op! {
    RegexFullMatch in "ai.onnx" since [20]; "X" => "Y";
    summary: "whether whole strings match a regular expression";
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn regex_full_match_wants_the_whole_string() {
        let x = Tensor::from_strings(&[4], ["ab", "xab", "b\n", ""].map(Arc::from).to_vec());
        let hits =
            |p: &str| run1("RegexFullMatch", attrs! { pattern: p }, std::slice::from_ref(&x)).unwrap().bools().unwrap();
        assert_eq!(hits("a|ab"), [true, false, false, false]);
        assert_eq!(hits(".*b"), [true, true, false, false]);
        assert_eq!(hits("(?x) a b # both"), [true, false, false, false]);
        assert_eq!(hits(""), [false, false, false, true]);
    }

    #[test]
    fn regex_full_match_constraints_are_named() {
        let bad = |p: &str, d| violated("RegexFullMatch", attrs! { pattern: p }, &[Type::tensor(d, &[1])]);
        assert_eq!(bad("a", DType::I64).as_deref(), Some("RegexFullMatch.C1"));
        assert_eq!(bad("a)|(b", DType::String).as_deref(), Some("RegexFullMatch.C2"));
        assert_eq!(bad("(", DType::String).as_deref(), Some("RegexFullMatch.C2"));
    }
}
