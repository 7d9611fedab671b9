//! The distinct elements of a tensor (or slices along `axis`), with the index of each one's first occurrence, the number
//! in the result of each of the operand's, and how often each occurs.
//!
//! - **C1** the elements have an order (no complex numbers)
//! - **C2** `-r <= axis < r`
//!
//! Sorted in ascending order (slices by their elements, NaN last), or by first occurrence. NaN equals NaN.
//! The results' extents depend on data. ONNX `Unique`: opset 11, 28 (types).

use super::common::*;
use super::move_common::*;
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use std::cmp::Ordering;

attributes! {
    /// Attributes of `Unique`.
    pub struct Unique {
        /// Axis of the slices; left out, the operand is taken as one row.
        axis: Option<i64>,
        /// Whether the result is in ascending order, not in that of first occurrence.
        sorted: bool = true,
    }
}

impl Op for Unique {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let dtype = cx.dtype(0)?;
        cx.require("C1", dtype.class() != Class::Complex, || format!("{dtype} elements have no order"))?;
        let mut shape = cx.shape(0)?;
        let n = cx.fresh();
        let all = match self.axis {
            Some(axis) => {
                let axis = cx.axis("C2", axis, shape.len())?;
                std::mem::replace(&mut shape[axis], n.clone())
            }
            None => {
                let all = shape.iter().product();
                shape = vec![n.clone()];
                all
            }
        };
        cx.output(dtype, shape)?;
        cx.output(DType::I64, vec![n.clone()])?;
        cx.output(DType::I64, vec![all])?;
        cx.output(DType::I64, vec![n])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let axis = self.axis.map_or(0, |a| normal_axis(a, x.rank()));
        let mut shape = if self.axis.is_some() { x.shape().to_vec() } else { vec![x.len()] };
        let (outer, n, inner) = around(&shape, axis);
        let order = order_of(x)?;
        let place = |o: usize, i: usize, k: usize| (o * n + i) * inner + k;
        let compare = |a: usize, b: usize| {
            (0..outer)
                .flat_map(|o| (0..inner).map(move |k| (o, k)))
                .map(|(o, k)| order(place(o, a, k), place(o, b, k)))
                .find(|c| *c != Ordering::Equal)
                .unwrap_or(Ordering::Equal)
        };
        let mut by: Vec<usize> = (0..n).collect();
        by.sort_by(|&a, &b| compare(a, b).then(a.cmp(&b)));
        // Runs of equal slices; the first of each is its first occurrence.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for i in by {
            match groups.last_mut() {
                Some(g) if compare(g[0], i) == Ordering::Equal => g.push(i),
                _ => groups.push(vec![i]),
            }
        }
        if !self.sorted {
            groups.sort_by_key(|g| g[0]);
        }
        let mut inverse = vec![0i64; n];
        for (g, members) in groups.iter().enumerate() {
            members.iter().for_each(|&i| inverse[i] = g as i64);
        }
        shape[axis] = groups.len();
        let firsts: Vec<usize> = groups.iter().map(|g| g[0]).collect();
        let positions =
            (0..outer).flat_map(|o| firsts.iter().flat_map(move |&i| (o * n + i) * inner..(o * n + i + 1) * inner));
        let y = x.take(&shape, positions)?;
        let list = |v: &[i64]| Tensor::from_slice(&[v.len()], v);
        let indices: Vec<i64> = firsts.iter().map(|&i| i as i64).collect();
        let counts: Vec<i64> = groups.iter().map(|g| g.len() as i64).collect();
        cx.push(y);
        cx.push(list(&indices));
        cx.push(list(&inverse));
        cx.push(list(&counts));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::MOVES
    }
}

op! {
    Unique in "ai.onnx" since [11, 28 brings "bf16"]; "X" => "Y, indices?, inverse_indices?, counts?";
    summary: "distinct elements or slices, and where they occur";
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @unique([2.0, 1.0, 1.0, 3.0]) == f32[3] [1.0, 2.0, 3.0], i64[3] [1, 0, 3], [1, 0, 0, 2], i64[3] [2, 1, 1]
graph @unique(%a: f32[4]) -> (f32[u1], i64[u1], i64[4], i64[u1]) {
  %y, %z, %u, %v = unique %a : f32[u1], i64[u1], i64[4], i64[u1]
  return %y, %z, %u, %v
}
"#;

#[cfg(test)]
mod tests {
    use super::super::common::testing::*;
    use super::*;

    #[test]
    fn unique_sorts_or_keeps_the_order() {
        let x = Tensor::from_slice(&[6], &[2f32, 1.0, 1.0, 3.0, 4.0, 3.0]);
        let y = run("ai.onnx", "Unique", attrs! { sorted: 0i64 }, &[Some(x.clone().into())], 4).unwrap();
        let ints = |v: &Value| v.tensor().unwrap().to_i64s().unwrap();
        assert_eq!(y[0].tensor().unwrap().floats().unwrap(), [2.0, 1.0, 3.0, 4.0]);
        assert_eq!(
            (ints(&y[1]), ints(&y[2]), ints(&y[3])),
            (vec![0, 1, 3, 4], vec![0, 1, 1, 2, 3, 2], vec![1, 2, 2, 1])
        );
        assert_eq!(run1("Unique", attrs! {}, &[x]).unwrap().floats().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn unique_of_rows_and_of_nothing() {
        let x = Tensor::from_slice(&[3, 1], &[5i32, 4, 5]);
        assert_eq!(run1("Unique", attrs! { axis: 0i64 }, &[x]).unwrap(), Tensor::from_slice(&[2, 1], &[4i32, 5]));
        assert!(run1("Unique", attrs! {}, &[Tensor::zeros(DType::F32, &[0]).unwrap()]).unwrap().is_empty());
    }

    #[test]
    fn unique_constraints_are_named() {
        let label = |a, d| violated("Unique", a, &[Type::tensor(d, &[2])]);
        assert_eq!(label(attrs! {}, DType::C64).as_deref(), Some("Unique.C1"));
        assert_eq!(label(attrs! { axis: 1i64 }, DType::F32).as_deref(), Some("Unique.C2"));
    }
}
