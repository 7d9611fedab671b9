//! `y[:, j]` = the index of the `j`-th element that is not zero, in row-major order: `i64[r, n]`.
//!
//! - **C1** the operand holds numbers, truth values, strings (the empty one is zero) or complex numbers
//!
//! `n` depends on data. ONNX `NonZero`: opset 9, 13 (types).

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::library::{self, Library};
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `NonZero` has no attributes.
    pub struct NonZero {}
}

impl Op for NonZero {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, DType::ALL)?;
        let rank = cx.rank(0)?;
        let n = cx.fresh();
        cx.output(DType::I64, vec![Dim::from(rank), n])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let on: Vec<bool> = match x.dtype().class() {
            Class::Float => x.floats()?.into_iter().map(|v| v != 0.0).collect(),
            Class::Complex => x.complexes()?.into_iter().map(|v| v != (0.0, 0.0)).collect(),
            Class::String => x.strings()?.iter().map(|s| !s.is_empty()).collect(),
            _ => x.ints()?.into_iter().map(|v| v != 0).collect(),
        };
        let n = on.iter().filter(|&&b| b).count();
        check_size(cx, DType::I64, &[x.rank(), n])?;
        let mut y = vec![0i64; x.rank() * n];
        let mut j = 0;
        each_index(x.shape(), |at, index| {
            if on[at] {
                index.iter().enumerate().for_each(|(a, &i)| y[a * n + j] = i as i64);
                j += 1;
            }
            Ok(())
        })?;
        cx.push(Tensor::from_slice(&[x.rank(), n], &y));
        Ok(())
    }

    fn lower_found(&self, cx: &LowerCx<'_>) -> Result<Option<Library>> {
        let dtype = cx.dtype(0);
        Ok(library::is_number(dtype).then(|| Library::NonZero { dtype, shape: cx.shape(0).to_vec() }))
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    NonZero in "ai.onnx" since [9, 13]; "X" => "Y";
    summary: "indices of the elements that are not zero";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @non_zero([[1.0, 0.0], [0.0, 2.0]]) == i64[2, 2] [[0, 1], [0, 1]]
graph @non_zero(%a: f32[2, 2]) -> i64[2, u1] {
  %y = non_zero %a : i64[2, u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn non_zero_lists_indices_by_axis() {
        let x = Tensor::from_slice(&[2, 2], &[1f32, 0.0, f32::NAN, 1.0]);
        let y = run1("NonZero", attrs! {}, &[x]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[0i64, 1, 1, 0, 0, 1]));
        assert_eq!(run1("NonZero", attrs! {}, &[Tensor::scalar(3i32)]).unwrap().shape(), [0, 1]);
    }
}
