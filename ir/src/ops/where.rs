//! `y = x` where `condition`, else `y`, element by element, with broadcasting.
//!
//! - **C1** `condition` is bool; `x` and `y` have one type
//! - **C2** the three shapes broadcast
//!
//! Elements are moved bit for bit, strings and complex numbers too. Enters shape arithmetic where the condition is
//! known. ONNX `Where`: opset 9, 16 (bfloat16).

use super::common::*;
use super::lowering::Loops;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// `Where` has no attributes.
    pub struct Where {}
}

impl Op for Where {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, &[DType::Bool])?;
        let dtype = cx.same_dtype("C1", [1, 2])?;
        let shape = cx.broadcast_inputs("C2", &[0, 1, 2])?;
        let short = shape.len() <= 1 && sets::INDEX.contains(&dtype);
        cx.output(dtype, shape)?;
        if short && let (Some(c), Some(x), Some(y)) = (cx.values(0)?, cx.values(1)?, cx.values(2)?) {
            let n = [&c, &x, &y].iter().map(|v| v.len()).find(|&n| n != 1).unwrap_or(1);
            if [&c, &x, &y].iter().all(|v| v.len() == n || v.len() == 1) {
                let at = |v: &[Dim], i: usize| v[if v.len() == 1 { 0 } else { i }].clone();
                let pick = |i| {
                    let c = Cond::ne(&at(&c, i), &Dim::int(0));
                    match c.as_bool() {
                        Some(true) => at(&x, i),
                        Some(false) => at(&y, i),
                        None => Dim::select(&c, &at(&x, i), &at(&y, i)),
                    }
                };
                cx.output_values(Some((0..n).map(pick).collect()));
            }
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let (c, x, y) = (cx.tensor(0)?, cx.tensor(1)?, cx.tensor(2)?);
        let at = |t: &Tensor| broadcast_positions(t.shape(), &shape);
        let (ci, xi, yi) = (at(c), at(x), at(y));
        let c = c.ints()?;
        let mut out = Tensor::zeros(dtype, &shape)?;
        let mut write = TensorWriter::new(&mut out);
        for i in 0..ci.len() {
            if c[ci[i]] != 0 { write.copy(i, x, xi[i])? } else { write.copy(i, y, yi[i])? }
        }
        cx.push(out);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let mut l = Loops::new(cx);
        let (cond, x, y) = (l.x(0), l.x(1), l.x(2));
        l.result(|c, i| {
            let cond = c.load_broadcast(cond, i);
            let (x, y) = (c.load_broadcast(x, i), c.load_broadcast(y, i));
            c.select(cond, x, y)
        })
    }

    fn facts(&self) -> Facts {
        Facts { in_place: &[(1, 0), (2, 0)], ..Facts::POINTWISE }
    }
}

op! {
    Where in "ai.onnx" since [9, 16 brings "bf16"]; "condition, X, Y" => "output";
    summary: "elements of one or another tensor, by a condition";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @where([true, false, true], [1.0, 2.0, 3.0], [9.0, 8.0, 7.0]) == [1.0, 8.0, 3.0]
graph @where(%a: bool[3], %b: f32[3], %c: f32[3]) -> f32[3] {
  %y = where %a, %b, %c : f32[3]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn where_broadcasts_all_three() {
        let c = Tensor::from_bools(&[2, 1], [true, false]);
        let x = Tensor::from_slice(&[2], &[1i32, 2]);
        let y = run1("Where", attrs! {}, &[c, x, Tensor::scalar(9i32)]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[1i32, 2, 9, 9]));
    }

    #[test]
    fn where_chooses_terms() {
        let c = Fact::constant(Tensor::from_bools(&[2], [true, false]));
        let x = Fact { ty: Type::tensor(DType::I64, &[2]), content: None };
        let x = Fact { content: Some(crate::rule::Content::Dims(vec![Dim::sym("n"), Dim::sym("m")])), ..x };
        let y = infer1("Where", attrs! {}, &[c, x, Fact::constant(Tensor::from_slice(&[1], &[7i64]))]).unwrap();
        assert_eq!(y.content, Some(crate::rule::Content::Dims(vec![Dim::sym("n"), Dim::int(7)])));
    }

    #[test]
    fn where_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let label = |types: &[Type]| violated("Where", attrs! {}, types);
        let (b, f) = (DType::Bool, DType::F32);
        assert_eq!(label(&[t(f, &[]), t(f, &[]), t(f, &[])]).as_deref(), Some("Where.C1"));
        assert_eq!(label(&[t(b, &[]), t(b, &[]), t(f, &[])]).as_deref(), Some("Where.C1"));
        assert_eq!(label(&[t(b, &[3]), t(f, &[2]), t(f, &[])]).as_deref(), Some("Where.C2"));
    }
}
