//! `z = x ++ y`: strings joined element by element, with broadcasting.
//!
//! - **C1** both operands hold strings
//! - **C2** their shapes broadcast
//!
//! ONNX `StringConcat`: opset 20.

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `StringConcat` has no attributes.
    pub struct StringConcat {}
}

impl Op for StringConcat {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        binary_rule(cx, &[DType::String], None)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (a, b) = (cx.tensor(0)?, cx.tensor(1)?);
        let (_, shape) = cx.out(0)?;
        let (x, y) = (a.strings()?, b.strings()?);
        let (pa, pb) = (broadcast_positions(a.shape(), &shape), broadcast_positions(b.shape(), &shape));
        let joined = pa.iter().zip(&pb).map(|(&i, &j)| Arc::from(format!("{}{}", x[i], y[j]))).collect();
        cx.push(Tensor::from_strings(&shape, joined));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[], ..Facts::POINTWISE }
    }
}

op! {
    StringConcat in "ai.onnx" since [20]; "X, Y" => "Z";
    summary: "strings joined element by element";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @string_concat(["a", "b"], ["x", "y"]) == ["ax", "by"]
graph @string_concat(%a: string[2], %b: string[2]) -> string[2] {
  %y = string_concat %a, %b : string[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn string_concat_broadcasts() {
        let s = |n: &[usize], v: &[&str]| Tensor::from_strings(n, v.iter().map(|&s| s.into()).collect());
        let y = run1("StringConcat", attrs! {}, &[s(&[2], &["a", "é"]), s(&[], &["!"])]).unwrap();
        assert_eq!(y, s(&[2], &["a!", "é!"]));
    }

    #[test]
    fn string_concat_constraints_are_named() {
        let t = |d, n: &[usize]| Type::tensor(d, n);
        let label = |a, b| violated("StringConcat", attrs! {}, &[a, b]);
        assert_eq!(label(t(DType::F32, &[]), t(DType::F32, &[])).as_deref(), Some("StringConcat.C1"));
        assert_eq!(label(t(DType::String, &[2]), t(DType::String, &[3])).as_deref(), Some("StringConcat.C2"));
    }
}
