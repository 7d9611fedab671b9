//! Each string cut at a delimiter: the pieces along a new last axis (short rows filled with empty strings), and their
//! number for each string.
//!
//! - **C1** the operand holds strings
//! - **C2** `maxsplit` is not negative
//!
//! Without a delimiter (or an empty one) pieces are separated by any run of white space, and none is empty. After
//! `maxsplit` cuts the rest stays one piece. The new extent depends on data. ONNX `StringSplit`: opset 20.

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `StringSplit`.
    pub struct StringSplit {
        /// What stands between pieces.
        delimiter: Option<String>,
        /// Largest number of cuts; left out, no bound.
        maxsplit: Option<i64>,
    }
}

/// Pieces between runs of white space, at most `cuts` cuts; the rest keeps its inner and loses its outer white space.
fn words(s: &str, cuts: usize) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = s.trim();
    while !rest.is_empty() {
        match rest.split_once(char::is_whitespace) {
            Some((word, after)) if out.len() < cuts => {
                out.push(word);
                rest = after.trim_start();
            }
            _ => {
                out.push(rest);
                break;
            }
        }
    }
    out
}

impl Op for StringSplit {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::String])?;
        cx.require("C2", self.maxsplit.is_none_or(|m| m >= 0), || "`maxsplit` is negative".into())?;
        let shape = cx.shape(0)?;
        let mut pieces = shape.clone();
        pieces.push(cx.fresh());
        cx.output(DType::String, pieces)?;
        cx.output(DType::I64, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let cuts = self.maxsplit.map_or(usize::MAX - 1, |m| m.max(0) as usize);
        let rows: Vec<Vec<&str>> = x
            .strings()?
            .iter()
            .map(|s| match self.delimiter.as_deref() {
                None | Some("") => words(s, cuts),
                Some(_) if s.is_empty() => Vec::new(),
                Some(d) => s.splitn(cuts.saturating_add(1), d).collect(),
            })
            .collect();
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut shape = x.shape().to_vec();
        shape.push(width);
        check_size(cx, DType::U64, &shape)?;
        let counts: Vec<i64> = rows.iter().map(|r| r.len() as i64).collect();
        let empty: Arc<str> = "".into();
        let all = rows.iter().flat_map(|r| (0..width).map(|i| r.get(i).map_or(empty.clone(), |&s| s.into()))).collect();
        let shape_of_x = x.shape().to_vec();
        cx.push(Tensor::from_strings(&shape, all));
        cx.push(Tensor::from_slice(&shape_of_x, &counts));
        Ok(())
    }
}

op! {
    StringSplit in "ai.onnx" since [20]; "X" => "Y, Z";
    summary: "strings cut at a delimiter";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @string_split(["a b", "c"]) == string[2, 2] [["a", "b"], ["c", ""]], [2, 1]
graph @string_split(%a: string[2]) -> (string[2, u1], i64[2]) {
  %y, %z = string_split %a {delimiter = " "} : string[2, u1], i64[2]
  return %y, %z
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn words_keep_the_rest_together() {
        assert_eq!(words("  a  b c ", 1), ["a", "b c"]);
        assert_eq!(words(" ", 5), [""; 0]);
    }

    #[test]
    fn string_split_fills_short_rows() {
        let s = |n: &[usize], v: &[&str]| Tensor::from_strings(n, v.iter().map(|&s| s.into()).collect());
        let x = s(&[2], &["a,b", "c"]);
        let y = run("ai.onnx", "StringSplit", attrs! { delimiter: "," }, &[Some(x.into())], 2).unwrap();
        assert_eq!(y[0], s(&[2, 2], &["a", "b", "c", ""]).into());
        assert_eq!(y[1], Tensor::from_slice(&[2], &[2i64, 1]).into());
    }

    #[test]
    fn string_split_constraints_are_named() {
        let label = |a, d| violated("StringSplit", a, &[Type::tensor(d, &[1])]);
        assert_eq!(label(attrs! {}, DType::F32).as_deref(), Some("StringSplit.C1"));
        assert_eq!(label(attrs! { maxsplit: -1i64 }, DType::String).as_deref(), Some("StringSplit.C2"));
    }
}
