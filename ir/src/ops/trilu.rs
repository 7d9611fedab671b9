//! The upper (`j >= i + k`) or lower (`j <= i + k`) triangle of each matrix of the last two axes, 0 elsewhere.
//!
//! - **C1** the operand has rank 2 or more
//! - **C2** `k` is one `i64`; left out 0
//!
//! ONNX `Trilu`: opset 14.

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Trilu`.
    pub struct Trilu {
        /// Whether the upper triangle is kept.
        upper: bool = true,
    }
}

impl Op for Trilu {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (dtype, shape) = (cx.dtype(0)?, cx.shape(0)?);
        cx.require("C1", shape.len() >= 2, || format!("the operand has rank {}", shape.len()))?;
        if cx.has(1) {
            cx.require_dtype("C2", 1, &[DType::I64])?;
            require_one(cx, "C2", 1)?;
        }
        cx.output(dtype, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let k = i128::from(cx.tensor_opt(1)?.map(one_int).transpose()?.unwrap_or(0));
        let x = cx.tensor(0)?;
        let (rows, cols) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let mut y = Tensor::zeros(dtype, &shape)?;
        let mut write = TensorWriter::new(&mut y);
        for at in 0..x.len() {
            let (i, j) = ((at / cols % rows) as i128, (at % cols) as i128);
            if (self.upper && j >= i + k) || (!self.upper && j <= i + k) {
                write.copy(at, x, at)?;
            }
        }
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let mut l = Loops::new(cx);
        let x = l.x(0);
        let k = cx.has(1).then(|| l.x(1));
        let k_rank = cx.shape(1).len();
        l.result(|c, i| {
            let [.., row, col] = i else { return c.zero(cx.dtype(0)) };
            let k = match k {
                None => c.idx(0),
                Some(k) => {
                    let at = vec![c.idx(0); k_rank];
                    let v = c.load(k, &at);
                    // Far beyond any matrix, so that the sum below does not wrap.
                    let (lo, hi) = (c.idx(-(1 << 50)), c.idx(1 << 50));
                    let v = c.max(v, lo);
                    c.min(v, hi)
                }
            };
            let diagonal = c.add(*row, k);
            let keep = if self.upper { c.ge(*col, diagonal) } else { c.le(*col, diagonal) };
            let (v, zero) = (c.load(x, i), c.zero(cx.dtype(0)));
            c.select(keep, v, zero)
        })
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(0, 0)], ..Facts::MOVES }
    }
}

op! {
    Trilu in "ai.onnx" since [14]; "input, k?" => "output";
    summary: "the upper or lower triangle of matrices";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @trilu([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], 0) == [[1.0, 0.0, 0.0], [4.0, 5.0, 0.0], [7.0, 8.0, 9.0]]
graph @trilu(%a: f32[3, 3], %b: i64[]) -> f32[3, 3] {
  %y = trilu %a, %b {upper = 0} : f32[3, 3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn trilu_keeps_a_triangle() {
        let x = Tensor::from_slice(&[2, 3], &[1i32, 2, 3, 4, 5, 6]);
        let y = run1("Trilu", attrs! {}, &[x.clone(), Tensor::scalar(1i64)]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[0i32, 2, 3, 0, 0, 6]));
        let y = run1("Trilu", attrs! { upper: 0i64 }, &[x, Tensor::scalar(i64::MAX)]).unwrap();
        assert_eq!(y.ints().unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn trilu_constraints_are_named() {
        let f = Type::tensor(DType::F32, &[2]);
        assert_eq!(violated("Trilu", attrs! {}, std::slice::from_ref(&f)).as_deref(), Some("Trilu.C1"));
        let types = [Type::tensor(DType::F32, &[2, 2]), f];
        assert_eq!(violated("Trilu", attrs! {}, &types).as_deref(), Some("Trilu.C2"));
    }
}
