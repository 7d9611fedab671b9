//! `y = shape of data`, the extents of axes `start..end`, as `i64[k]`.
//!
//! `start` and `end` count from the end where negative and are clamped to `0..=rank`; an empty range gives `i64[0]`.
//! ONNX `Shape`: opset 1, 13, 15 (`start`, `end`), 19, 21, 23, 24, 25 (types).

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Shape`.
    pub struct ShapeOf {
        /// First axis.
        start: i64 = 0,
        /// Axis after the last.
        end: Option<i64>,
    }
}

impl ShapeOf {
    fn range(&self, rank: usize) -> std::ops::Range<usize> {
        let r = rank as i64;
        let clamp = |a: i64| (if a < 0 { a.saturating_add(r) } else { a }).clamp(0, r) as usize;
        let (start, end) = (clamp(self.start), clamp(self.end.unwrap_or(r)));
        start..end.max(start)
    }
}

impl Op for ShapeOf {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let shape = cx.shape(0)?;
        let dims = shape[self.range(shape.len())].to_vec();
        cx.output(DType::I64, vec![Dim::from(dims.len())])?;
        cx.output_values(Some(dims));
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let shape = cx.tensor(0)?.shape();
        let dims: Vec<i64> = shape[self.range(shape.len())].iter().map(|&d| d as i64).collect();
        cx.push(Tensor::from_slice(&[dims.len()], &dims));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    ShapeOf as "Shape" in "ai.onnx" since [1, 13, 15 brings "end start", 19 brings "f8", 21 brings "i4 u4",
        23 brings "f4e2m1", 24 brings "f8e8m0", 25 brings "i2 u2"];
    "data" => "shape";
    summary: "a tensor's extents as integers";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @shape([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) == [2, 3]
graph @shape(%a: f32[2, 3]) -> i64[2] {
  %y = shape %a : i64[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn shape_is_clamped_to_the_axes() {
        let x = Tensor::zeros(DType::F32, &[2, 3, 5]).unwrap();
        let y = |a| run1("Shape", a, std::slice::from_ref(&x)).unwrap().to_i64s().unwrap();
        assert_eq!(y(attrs! {}), [2, 3, 5]);
        assert_eq!(y(attrs! { start: -2i64, end: 9i64 }), [3, 5]);
        assert_eq!(y(attrs! { start: 2i64, end: 1i64 }), [0i64; 0]);
    }

    #[test]
    fn shape_of_symbols_is_known() {
        let t = Fact::of(Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(4)]));
        let y = infer1("Shape", attrs! {}, &[t]).unwrap();
        assert_eq!(y.content, Some(crate::rule::Content::Dims(vec![Dim::sym("n"), Dim::int(4)])));
    }
}
