//! `reshaped = Reshape(data, shape; allowzero)`: the same elements in the same order under another shape.
//!
//! - **C1** `shape` is `i64` of rank 1
//! - **C2** at most one element of `shape` is -1, none is below
//! - **C3** a 0 (kept extent, unless `allowzero`) stands at an axis that `data` has
//! - **C4** the number of elements stays; with -1 it divides
//! - **C5** with `allowzero`, 0 and -1 do not occur together
//!
//! ONNX `Reshape`: opset 1 (`shape` an attribute), 5 (an operand), 13, 14 (`allowzero`), 19, 21, 23, 24, 25 (types).

use super::common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Reshape`.
    pub struct Reshape {
        /// Whether 0 in `shape` means an empty axis instead of "as in `data`".
        allowzero: bool = false,
    }
}

impl Op for Reshape {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, &[DType::I64])?;
        let dtype = cx.dtype(0)?;
        let Some(want) = cx.values(1)? else {
            let shape = (0..cx.len_of(1)?).map(|_| cx.fresh()).collect();
            return cx.output(dtype, shape);
        };
        let data = cx.shape(0)?;
        let mut shape = Vec::with_capacity(want.len());
        let (mut rest, mut kept) = (None, Vec::new());
        for (i, d) in want.iter().enumerate() {
            match d.as_int() {
                Some(0) if !self.allowzero => {
                    cx.require("C3", i < data.len(), || format!("0 at axis {i}, data has rank {}", data.len()))?;
                    kept.push(i);
                    shape.push(data[i].clone());
                }
                Some(-1) => {
                    cx.require("C2", rest.is_none(), || "-1 stands twice".into())?;
                    rest = Some(i);
                    shape.push(Dim::int(1));
                }
                Some(v) if v < 0 => cx.require("C2", false, || format!("{v} is no extent"))?,
                _ => shape.push(d.clone()),
            }
        }
        let zero = want.iter().any(|d| *d == 0);
        cx.require("C5", !(self.allowzero && zero && rest.is_some()), || "0 and -1 with allowzero".into())?;
        let total: Dim = data.iter().product();
        let known: Dim = shape.iter().product();
        match rest {
            Some(i) => {
                cx.require("C4", known != 0 || total == 0, || format!("-1 cannot be found: {total} elements over 0"))?;
                shape[i] = left_over(&data, &shape, &kept);
                let all: Dim = &shape[i] * &known;
                cx.require_eq("C4", &all, &total)?;
            }
            None => cx.require_eq("C4", &known, &total)?,
        }
        cx.output(dtype, shape)?;
        let values = if data.len() <= 1 && dtype.is_int() { cx.values(0)? } else { None };
        if want.len() <= 1 {
            cx.output_values(values);
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let y = cx.tensor(0)?.reshaped(&shape)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, _cx: &LowerCx<'_>) -> Result<Lowering> {
        Ok(Lowering::View)
    }

    fn facts(&self) -> Facts {
        Facts::VIEW
    }
}

/// What -1 stands for in `shape`, where it is 1 so far: extents of `data` that are `kept` count on neither side (an empty one
/// leaves the others as they are), and other factors that stand on both sides are cancelled, so that symbols divide exactly.
fn left_over(data: &[Dim], shape: &[Dim], kept: &[usize]) -> Dim {
    let others = |of: &[Dim]| (0..of.len()).filter(|i| !kept.contains(i)).map(|i| of[i].clone()).collect::<Vec<_>>();
    let (mut above, mut below) = (others(data), Vec::new());
    for d in others(shape) {
        match above.iter().position(|a| *a == d && !d.is_int()) {
            Some(i) => {
                above.remove(i);
            }
            None => below.push(d),
        }
    }
    let (above, below): (Dim, Dim) = (above.iter().product(), below.iter().product());
    above.floor_div(&below)
}

op! {
    Reshape in "ai.onnx" since [1, 5, 13, 14 brings "allowzero", 19 brings "f8", 21 brings "i4 u4",
        23 brings "f4e2m1", 24 brings "f8e8m0", 25 brings "i2 u2"];
    "data, shape" => "reshaped";
    summary: "the same elements in the same order under another shape";
    upgrade: |cx| { cx.take("consumed_inputs"); if cx.version < 5 { cx.ints_to_input("shape", 1)?; } Ok(()) };
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @reshape([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [3, -1]) == f32[3, 2] [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
graph @reshape(%a: f32[2, 3], %b: i64[2]) -> f32[u1, u2] {
  %y = reshape %a, %b : f32[u1, u2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn shape_for(data: &[Dim], want: &[i64]) -> Result<Fact> {
        let t = Fact::of(Type::ranked(DType::F32, data.to_vec()));
        infer1("Reshape", attrs! {}, &[t, Fact::constant(Tensor::from_slice(&[want.len()], want))])
    }

    #[test]
    fn reshape_finds_minus_one_with_symbols() {
        let y = shape_for(&[Dim::sym("n"), Dim::int(4), Dim::int(6)], &[0, -1]).unwrap();
        assert_eq!(y.ty, Type::ranked(DType::F32, vec![Dim::sym("n"), Dim::int(24)]));
    }

    #[test]
    fn reshape_keeps_empty_axes_with_numbers_as_with_symbols() {
        let n = Dim::sym("n");
        for (rest, wanted) in [(vec![], 1), (vec![Dim::int(5)], 5), (vec![Dim::int(5), Dim::int(3)], 15)] {
            for first in [&n, &Dim::ZERO] {
                let data = [vec![first.clone()], rest.clone()].concat();
                let y = shape_for(&data, &[0, -1]).unwrap();
                assert_eq!(y.ty, Type::ranked(DType::F32, vec![first.clone(), Dim::int(wanted)]));
            }
        }
    }

    #[test]
    fn reshape_c4_rejects_another_count_and_c2_two_unknowns() {
        let label = |want: &[i64]| shape_for(&[Dim::int(6)], want).unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(&[4]), "Reshape.C4");
        assert_eq!(label(&[4, -1]), "Reshape.C4");
        assert_eq!(label(&[-1, -1]), "Reshape.C2");
        assert_eq!(label(&[6, 0]), "Reshape.C3");
    }
}
