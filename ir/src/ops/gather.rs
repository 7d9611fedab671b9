//! `y[a…, i…, b…] = data[a…, indices[i…], b…]`: entries along `axis` picked by number.
//!
//! - **C1** `indices` is `i32` or `i64`
//! - **C2** `-r <= axis < r`
//!
//! Result: `data`'s shape with the extent of `axis` replaced by `indices`' shape. Negative indices count from the end;
//! one outside `-n..n` is an error. ONNX `Gather`: opset 1, 11 (negative), 13 (types).

use super::common::*;
use super::lowering::Loops;
use super::move_common::*;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::lower::IndexRange;
use crate::rule::{RuleCx, RuleResult};

attributes! {
    /// Attributes of `Gather`.
    pub struct Gather {
        /// Axis to pick along.
        axis: i64 = 0,
    }
}

impl Op for Gather {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        cx.require_dtype("C1", 1, sets::INDEX)?;
        let (dtype, data, indices) = (cx.dtype(0)?, cx.shape(0)?, cx.shape(1)?);
        let axis = cx.axis("C2", self.axis, data.len())?;
        let mut shape = data[..axis].to_vec();
        shape.extend_from_slice(&indices);
        shape.extend_from_slice(&data[axis + 1..]);
        cx.output(dtype, shape)?;
        if data.len() == 1
            && indices.len() <= 1
            && dtype.is_int()
            && let (Some(v), Some(at)) = (cx.values(0)?, cx.int_values(1)?)
        {
            let picked = at.iter().map(|&i| normal_index(i, v.len()).ok().map(|i| v[i].clone())).collect();
            cx.output_values(picked);
        }
        Ok(())
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let data = cx.tensor(0)?;
        let (outer, n, inner) = around(data.shape(), normal_axis(self.axis, data.rank()));
        let at = cx.tensor(1)?.to_i64s()?.into_iter().map(|i| normal_index(i, n)).collect::<Result<Vec<_>>>()?;
        let positions =
            (0..outer).flat_map(|o| at.iter().flat_map(move |&i| (0..inner).map(move |k| (o * n + i) * inner + k)));
        take_result(cx, positions)
    }

    fn lower(&self, cx: &LowerCx<'_>) -> Result<Lowering> {
        let (data, axis) = (cx.shape(0).to_vec(), normal_axis(self.axis, cx.shape(0).len()));
        let n_index = cx.shape(1).len();
        if data.contains(&0) {
            return Ok(Lowering::Host);
        }
        let mut l = Loops::new(cx);
        let (x, at) = (l.x(0), l.x(1));
        l.check_index(1, IndexRange::axes(&data[axis..=axis]));
        l.result(|c, i| {
            let picked = c.load(at, &i[axis..axis + n_index]);
            let mut index = i[..axis].to_vec();
            index.push(c.index_from_data(picked, data[axis]));
            index.extend_from_slice(&i[axis + n_index..]);
            c.load(x, &index)
        })
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Gather in "ai.onnx" since [1, 11, 13]; "data, indices" => "output";
    summary: "entries along one axis, picked by number";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @gather([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [2, 0]) == [[3.0, 1.0], [6.0, 4.0]]
graph @gather(%a: f32[2, 3], %b: i64[2]) -> f32[2, 2] {
  %y = gather %a, %b {axis = 1} : f32[2, 2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn gather_picks_columns_from_either_end() {
        let x = Tensor::from_slice(&[2, 3], &[1i32, 2, 3, 4, 5, 6]);
        let i = Tensor::from_slice(&[1, 2], &[0i64, -1]);
        let y = run1("Gather", attrs! { axis: 1i64 }, &[x.clone(), i]).unwrap();
        assert_eq!(y, Tensor::from_slice(&[2, 1, 2], &[1i32, 3, 4, 6]));
        assert!(run1("Gather", attrs! {}, &[x, Tensor::scalar(2i64)]).is_err());
    }

    #[test]
    fn gather_of_a_shape_is_known() {
        let dims = Fact {
            ty: Type::tensor(DType::I64, &[2]),
            content: Some(crate::rule::Content::Dims(vec![Dim::sym("n"), Dim::int(4)])),
        };
        let y = infer1("Gather", attrs! {}, &[dims, Fact::constant(Tensor::scalar(0i64))]).unwrap();
        assert_eq!(y.content, Some(crate::rule::Content::Dims(vec![Dim::sym("n")])));
    }

    #[test]
    fn gather_constraints_are_named() {
        let t = |d, s: &[usize]| Type::tensor(d, s);
        let label = |a, b| violated("Gather", attrs! { axis: a }, &[t(DType::F32, &[2]), t(b, &[])]);
        assert_eq!(label(0i64, DType::F32).as_deref(), Some("Gather.C1"));
        assert_eq!(label(1i64, DType::I64).as_deref(), Some("Gather.C2"));
    }
}
