//! `Z[n] = { label_c: X[n, c] }`: a map for each row of scores.
//!
//! - **C1** `X` is `f32` of rank 1 (one row) or 2
//! - **C2** exactly one of `classlabels_int64s` and `classlabels_strings` is given, one label a column, no label twice
//!
//! ONNX `ZipMap` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::maps::{keys_of, require_distinct};
use super::scores::{rows, rows_rule};
use crate::dtype::DType;
use crate::error::Result;
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `ZipMap`.
    pub struct ZipMap {
        /// Integer keys.
        classlabels_int64s: Option<Vec<i64>>,
        /// String keys.
        classlabels_strings: Option<Vec<String>>,
    }
}

/// One number.
fn scalar() -> Type {
    Type::tensor(DType::F32, &[])
}

impl Op for ZipMap {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (_, columns) = rows_rule(cx, "C1", &[DType::F32])?;
        let (key, keys) = keys_of("C2", self.classlabels_int64s.as_deref(), self.classlabels_strings.as_deref())?;
        cx.require_eq("C2", &Dim::from(keys.len()), &columns)?;
        require_distinct("C2", &keys)?;
        cx.output_type(Type::Sequence(Box::new(Type::Map(key, Box::new(scalar())))))
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (n, f, v) = rows(cx.tensor(0)?)?;
        let (key, keys) = keys_of("C2", self.classlabels_int64s.as_deref(), self.classlabels_strings.as_deref())?;
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by(|&a, &b| keys[a].cmp(&keys[b]));
        let number = |v: f64| Value::from(Tensor::scalar(v as f32));
        let map = |row: &[f64]| {
            let entries = order.iter().map(|&c| (keys[c].clone(), number(row[c]))).collect();
            Value::Map(key, scalar(), entries)
        };
        let maps = (0..n).map(|r| map(&v[r * f..(r + 1) * f])).collect();
        cx.push(Value::Sequence(Type::Map(key, Box::new(scalar())), maps));
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

op! {
    ZipMap in "ai.onnx.ml" since [1]; "X" => "Z";
    summary: "rows of scores as maps from labels";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn go(a: crate::Attrs, x: Tensor) -> Result<Value> {
        Ok(run("ai.onnx.ml", "ZipMap", a, &[Some(x.into())], 1)?.remove(0))
    }

    #[test]
    fn zip_map_sorts_by_key() {
        let x = Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]);
        let Value::Sequence(_, maps) = go(attrs! { classlabels_int64s: vec![5i64, 3] }, x).unwrap() else { panic!() };
        let number = |v: f32| Value::from(Tensor::scalar(v));
        let want = vec![(Key::Int(3), number(2.0)), (Key::Int(5), number(1.0))];
        assert_eq!(maps, [Value::Map(DType::I64, scalar(), want)]);
    }

    #[test]
    fn zip_map_constraints_are_named() {
        let x = || Tensor::from_slice(&[1, 2], &[1.0f32, 2.0]);
        let label = |a, x| go(a, x).unwrap_err().label().map(str::to_owned);
        let two = || attrs! { classlabels_int64s: vec![5i64, 3] };
        assert_eq!(label(two(), Tensor::from_slice(&[1, 2], &[1i64, 2])).as_deref(), Some("ZipMap.C1"));
        assert_eq!(label(attrs! {}, x()).as_deref(), Some("ZipMap.C2"));
        assert_eq!(label(attrs! { classlabels_int64s: vec![5i64] }, x()).as_deref(), Some("ZipMap.C2"));
        assert_eq!(label(attrs! { classlabels_int64s: vec![5i64, 5] }, x()).as_deref(), Some("ZipMap.C2"));
    }
}
