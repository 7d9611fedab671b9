//! `y = Concat(x_0, …, x_{n-1}; axis)`: tensors joined along one axis.
//!
//! | value | type |
//! |---|---|
//! | `x_i` | `T[d_0, …, a_i, …, d_{r-1}]`, `n >= 1`, any `T` |
//! | `y` | `T[d_0, …, Σ a_i, …, d_{r-1}]` |
//!
//! - **C1** all inputs have one element type
//! - **C2** all inputs have one rank `r >= 1`
//! - **C3** `-r <= axis < r`
//! - **C4** inputs agree in every extent except that of `axis`
//!
//! Pieces may be empty. Elements are moved bit for bit. ONNX `Concat`: opset 1 (`axis` defaults to 1), 4 (required),
//! 11 (negative), 13 (bfloat16).

use super::common::*;
use super::lowering::{Loops, TensorId};
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `Concat`.
    pub struct Concat {
        /// Axis to join along, `-r..r`.
        axis: i64,
    }
}

impl Op for Concat {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let n = cx.n_inputs();
        cx.require("C2", n >= 1, || "no operand is given".into())?;
        let dtype = cx.same_dtype("C1", 0..n)?;
        let mut shape = cx.shape(0)?;
        let rank = shape.len();
        cx.require("C2", rank >= 1, || "operands must have rank 1 or more".into())?;
        let axis = cx.axis("C3", self.axis, rank)?;
        for i in 1..n {
            let piece = cx.shape(i)?;
            cx.require("C2", piece.len() == rank, || {
                format!("operand {i} has rank {}, operand 0 {rank}", piece.len())
            })?;
            for d in (0..rank).filter(|&d| d != axis) {
                cx.require_eq("C4", &shape[d], &piece[d])?;
            }
            shape[axis] = &shape[axis] + &piece[axis];
        }
        cx.output(dtype, shape)?;
        if rank == 1 && dtype.is_int() {
            let pieces = (0..n).map(|i| cx.values(i)).collect::<RuleResult<Option<Vec<_>>>>()?;
            cx.output_values(pieces.map(|p| p.concat()));
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let axis = normal_axis(self.axis, shape.len());
        let mut y = Tensor::zeros(dtype, &shape)?;
        let mut start = 0;
        let mut write = TensorWriter::new(&mut y);
        for i in 0..cx.n_inputs() {
            let piece = cx.tensor(i)?;
            for (from, mut index) in indices(piece.shape()).enumerate() {
                index[axis] += start;
                write.copy(position(&shape, &index), piece, from)?;
            }
            start += piece.shape()[axis];
        }
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let axis = normal_axis(self.axis, cx.shape(0).len());
        let mut l = Loops::new(cx);
        let xs: Vec<TensorId> = (0..cx.inputs.len()).map(|i| l.x(i)).collect();
        let y = l.c.concat(&xs, axis);
        l.done(&[y])
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

/// Opset 1 to 3: `axis` defaults to 1.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version < 4 {
        cx.attrs.entry("axis".into()).or_insert(Attr::from(1i64));
    }
    if cx.inputs.is_empty() { Err(Error::invalid("Concat without operands")) } else { Ok(()) }
}

op! {
    Concat in "ai.onnx" since [1, 4, 11, 13]; "inputs*" => "concat_result";
    summary: "tensors joined along one axis";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @pair([[1, 2]], [[3]]) == [[1, 2, 3]]
graph @pair(%a: f32[1, 2], %b: f32[1, 1]) -> f32[1, 3] {
  %0 = concat %a, %b {axis = -1} : f32[1, 3]
  return %0
}
// infer: f32[n + m, 4]
graph @symbolic(%a: f32[n, 4], %b: f32[m, 4]) -> f32[n + m, 4] {
  %0 = concat %a, %b {axis = 0} : f32[n + m, 4]
  return %0
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::DType;

    fn f(shape: &[usize]) -> Type {
        Type::tensor(DType::F32, shape)
    }

    #[test]
    fn concat_joins_columns_and_empty_pieces() {
        let a = Tensor::from_slice(&[2, 1], &[1i32, 2]);
        let b = Tensor::from_slice(&[2, 2], &[3i32, 4, 5, 6]);
        let e = Tensor::from_slice::<i32>(&[2, 0], &[]);
        let y = run1("Concat", attrs! { axis: -1i64 }, &[a, e, b]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[1i32, 3, 4, 2, 5, 6]));
    }

    #[test]
    fn concat_adds_symbols() {
        let t = |n: &str| Fact::of(Type::ranked(DType::F32, vec![Dim::sym(n), Dim::int(4)]));
        let y = infer1("Concat", attrs! { axis: 0i64 }, &[t("n"), t("m")]).unwrap();
        assert_eq!(y.ty, Type::ranked(DType::F32, vec![Dim::sym("n") + Dim::sym("m"), Dim::int(4)]));
    }

    #[test]
    fn concat_constraints_are_named() {
        let bad = |axis: i64, types: &[Type]| violated("Concat", attrs! { axis: axis }, types);
        assert_eq!(bad(0, &[f(&[1]), Type::tensor(DType::F64, &[1])]).as_deref(), Some("Concat.C1"));
        assert_eq!(bad(0, &[f(&[1]), f(&[1, 1])]).as_deref(), Some("Concat.C2"));
        assert_eq!(bad(1, &[f(&[1])]).as_deref(), Some("Concat.C3"));
        assert_eq!(bad(1, &[f(&[2, 1]), f(&[3, 1])]).as_deref(), Some("Concat.C4"));
    }
}
