//! `y[…, j, …] = values[1] if j = indices[…] else values[0]`, `j < depth` along a new axis.
//!
//! - **C1** `indices` and `depth` hold numbers, `depth` one
//! - **C2** `values` is `[off, on]`
//! - **C3** `-r-1 <= axis <= r`
//! - **C4** `0 <= depth < 2^63`
//!
//! Negative indices count from the end; one outside `-depth..depth` gives `off` everywhere.
//! ONNX `OneHot`: opset 9, 11 (negative indices), 28 (types).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `OneHot`.
    pub struct OneHot {
        /// Where the new axis stands in the result.
        axis: i64 = -1,
    }
}

impl Op for OneHot {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 0, sets::NUMBERS)?;
        let depth_type = cx.require_dtype("C1", 1, sets::NUMBERS)?;
        require_one(cx, "C1", 1)?;
        let values = cx.shape(2)?;
        cx.require("C2", values.len() == 1, || format!("`values` has rank {}", values.len()))?;
        cx.require_eq("C2", &values[0], &Dim::int(2))?;
        let mut shape = cx.shape(0)?;
        let axis = cx.axis("C3", self.axis, shape.len() + 1)?;
        let depth = match cx.constant(1) {
            Some(t) if depth_type.is_float() => t.floats()?.first().map(|&v| Dim::int(v as i64)),
            _ if depth_type.is_int() => cx.values(1)?.and_then(|v| v.first().cloned()),
            _ => None,
        };
        let depth = match depth {
            Some(d) => {
                cx.require_that("C4", Cond::le(&Dim::int(0), &d))?;
                d
            }
            None => {
                let fits = cx.constant(1).is_none();
                cx.require("C4", fits, || "`depth` is beyond 64 bits".to_owned())?;
                cx.fresh()
            }
        };
        shape.insert(axis, depth);
        cx.output(cx.dtype(2)?, shape)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (_, shape) = cx.out(0)?;
        let (outer, depth, inner) = around(&shape, normal_axis(self.axis, shape.len()));
        let indices: Vec<i128> = match cx.tensor(0)? {
            t if t.dtype().is_float() => t.floats()?.into_iter().map(|v| v as i128).collect(),
            t => t.ints()?,
        };
        let d = depth as i128;
        let mut from = vec![0usize; outer * depth * inner];
        for o in 0..outer {
            for k in 0..inner {
                let i = indices[o * inner + k];
                if (-d..d).contains(&i) {
                    from[(o * depth + i.rem_euclid(d) as usize) * inner + k] = 1;
                }
            }
        }
        let y = cx.tensor(2)?.take(&shape, from)?;
        cx.push(y);
        Ok(())
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let shape = &cx.outputs[0].1;
        let axis = normal_axis(self.axis, shape.len());
        let depth = shape[axis] as i64;
        // An unsigned index beyond i64 would wrap to one that counts from the end.
        if cx.dtype(0) == DType::U64 {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let (at, values) = (l.x(0), l.x(2));
        l.result(|c, i| {
            let mut index = i.to_vec();
            let here = index.remove(axis);
            let v = c.load(at, &index);
            let v = c.cast(v, DType::I64);
            let (zero, n) = (c.idx(0), c.idx(depth));
            let (negative, from_end) = (c.lt(v, zero), c.add(v, n));
            let v = c.select(negative, from_end, v);
            let hit = c.eq(v, here);
            let (off, on) = (c.idx(0), c.idx(1));
            let (off, on) = (c.load(values, &[off]), c.load(values, &[on]));
            c.select(hit, on, off)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    OneHot in "ai.onnx" since [9, 11, 28 brings "bf16"]; "indices, depth, values" => "output";
    summary: "one value at the given index of a new axis, another elsewhere";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @one_hot([1, -1], 3, [0.0, 1.0]) == f32[2, 3] [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
graph @one_hot(%a: i64[2], %b: i64[], %c: f32[2]) -> f32[2, u1] {
  %y = one_hot %a, %b, %c : f32[2, u1]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::Tensor;

    fn hot(axis: i64, depth: Tensor, values: &[f32]) -> Result<Tensor> {
        let i = Tensor::from_slice(&[3], &[0i64, -1, 7]);
        run1("OneHot", attrs! { axis: axis }, &[i, depth, Tensor::from_slice(&[values.len()], values)])
    }

    #[test]
    fn one_hot_leaves_indices_outside_off() {
        let y = hot(-1, Tensor::scalar(2f32), &[0.0, 5.0]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[3, 2], &[5f32, 0.0, 0.0, 5.0, 0.0, 0.0]));
        assert_eq!(hot(0, Tensor::scalar(2i32), &[0.0, 5.0]).unwrap().shape(), [2, 3]);
    }

    #[test]
    fn one_hot_constraints_are_named() {
        let label = |r: Result<Tensor>| r.unwrap_err().label().unwrap().to_owned();
        assert_eq!(label(hot(0, Tensor::from_slice(&[2], &[1i64, 1]), &[0.0, 1.0])), "OneHot.C1");
        assert_eq!(label(hot(0, Tensor::scalar(2i64), &[0.0])), "OneHot.C2");
        assert_eq!(label(hot(2, Tensor::scalar(2i64), &[0.0, 1.0])), "OneHot.C3");
        assert_eq!(label(hot(0, Tensor::scalar(-1i64), &[0.0, 1.0])), "OneHot.C4");
        let huge = Tensor::from_ints(DType::U64, &[], [i128::from(u64::MAX)]);
        assert_eq!(label(hot(0, huge, &[0.0, 1.0])), "OneHot.C4");
    }
}
