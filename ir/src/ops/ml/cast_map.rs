//! The values of a map in the order of its keys, as one row of another type.
//!
//! `DENSE`: `Y: T[1, n]` of the `n` entries. `SPARSE`: `Y: T[1, max_map]`, an entry stands at its key, 0 (or `"0"`)
//! elsewhere.
//!
//! - **C1** `X` is a map from `i64` to `f32` or strings
//! - **C2** `cast_to` is `TO_FLOAT`, `TO_STRING` or `TO_INT64`
//! - **C3** `map_form` is `DENSE` or `SPARSE`, for the latter `max_map` is positive
//!
//! Floats become integers by truncation and texts with six decimals, as in ONNX Runtime. A text that is no number, and with
//! `SPARSE` a key outside `0..max_map`, is an error. ONNX `CastMap` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::dict_vectorizer::map_types;
use super::maps::entries;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `CastMap`.
    pub struct CastMap {
        /// `TO_FLOAT`, `TO_STRING` or `TO_INT64`.
        cast_to: String = "TO_FLOAT",
        /// `DENSE` or `SPARSE`.
        map_form: String = "DENSE",
        /// Entries of a sparse result.
        max_map: i64 = 1i64,
    }
}

impl CastMap {
    /// Element type of the result.
    fn to(&self) -> Option<DType> {
        match self.cast_to.as_str() {
            "TO_FLOAT" => Some(DType::F32),
            "TO_STRING" => Some(DType::String),
            "TO_INT64" => Some(DType::I64),
            _ => None,
        }
    }
}

/// A text as a number.
fn parse<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.trim().parse().map_err(|_| Error::invalid(format!("\"{text}\" is no number")))
}

/// One value as another type, rank 0.
fn cast(v: &Tensor, to: DType) -> Result<Tensor> {
    let first = || Error::invalid("a map's value is empty");
    if v.dtype() == DType::String {
        let text = v.strings()?.first().ok_or_else(first)?;
        return Ok(match to {
            DType::String => Tensor::from_strings(&[], vec![text.clone()]),
            DType::F32 => Tensor::scalar(parse::<f32>(text)?),
            _ => Tensor::scalar(parse::<i64>(text)?),
        });
    }
    let x = *v.floats()?.first().ok_or_else(first)?;
    Ok(match to {
        DType::String => Tensor::from_strings(&[], vec![format!("{x:.6}").into()]),
        DType::F32 => Tensor::scalar(x as f32),
        _ => Tensor::scalar(x as i64),
    })
}

impl Op for CastMap {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (key, value) = map_types(cx, "C1", 0)?;
        cx.require("C1", key == DType::I64 && matches!(value, DType::F32 | DType::String), || {
            format!("the map is from {key} to {value}")
        })?;
        let to = self.to();
        cx.require("C2", to.is_some(), || format!("`cast_to` is \"{}\"", self.cast_to))?;
        let sparse = self.map_form == "SPARSE";
        cx.require("C3", self.map_form == "DENSE" || (sparse && self.max_map > 0), || {
            format!("`map_form` is \"{}\", `max_map` {}", self.map_form, self.max_map)
        })?;
        let n = if sparse { Dim::int(self.max_map) } else { cx.fresh() };
        cx.output(to.unwrap_or(DType::F32), vec![Dim::ONE, n])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let items = entries(cx, 0)?;
        let to = self.to().ok_or_else(|| Error::bug("a known type"))?;
        let sparse = self.map_form == "SPARSE";
        let shape = if sparse { cx.out(0)?.1 } else { vec![1, items.len()] };
        let mut y = match to {
            DType::String if sparse => Tensor::from_strings(&shape, vec!["0".into(); len_elems(&shape)?]),
            _ => Tensor::zeros(to, &shape)?,
        };
        let mut write = TensorWriter::new(&mut y);
        for (i, (key, v)) in items.iter().enumerate() {
            let at = match key {
                _ if !sparse => i,
                Key::Int(k) if (0..self.max_map).contains(k) => *k as usize,
                other => return Err(Error::invalid(format!("key {other:?} is outside 0..{}", self.max_map))),
            };
            write.copy(at, &cast(v.tensor()?, to)?, 0)?;
        }
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

op! {
    CastMap in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "values of a map as a tensor";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn map(entries: &[(i64, Tensor)]) -> Value {
        let ty = Type::tensor(entries[0].1.dtype(), &[]);
        let entries = entries.iter().map(|(k, v)| (Key::Int(*k), v.clone().into())).collect();
        Value::Map(DType::I64, ty, entries)
    }

    fn go(a: crate::Attrs, x: Value) -> Result<Tensor> {
        run("ai.onnx.ml", "CastMap", a, &[Some(x)], 1)?[0].tensor().cloned()
    }

    #[test]
    fn cast_map_packs_densely_or_by_key() {
        let x = map(&[(1, Tensor::scalar(1.5f32)), (3, Tensor::scalar(-2.75f32))]);
        assert_eq!(go(attrs! {}, x.clone()).unwrap(), Tensor::from_slice(&[1, 2], &[1.5f32, -2.75]));
        let sparse = |to: &str| attrs! { cast_to: to, map_form: "SPARSE", max_map: 4i64 };
        assert_eq!(go(sparse("TO_INT64"), x.clone()).unwrap(), Tensor::from_slice(&[1, 4], &[0i64, 1, 0, -2]));
        let text = go(sparse("TO_STRING"), x.clone()).unwrap();
        assert_eq!(text.strings().unwrap().join(" "), "0 1.500000 0 -2.750000");
        assert!(go(attrs! { map_form: "SPARSE", max_map: 3i64 }, x).is_err());
        let word = |w: &str| map(&[(0, Tensor::from_strings(&[], vec![w.into()]))]);
        assert_eq!(go(attrs! { cast_to: "TO_INT64" }, word("12")).unwrap(), Tensor::from_slice(&[1, 1], &[12i64]));
        assert!(go(attrs! {}, word("x")).is_err());
    }

    #[test]
    fn cast_map_constraints_are_named() {
        let x = || map(&[(1, Tensor::scalar(1.5f32))]);
        let label = |a, x| go(a, x).unwrap_err().label().map(str::to_owned);
        assert_eq!(label(attrs! {}, Tensor::scalar(1i64).into()).as_deref(), Some("CastMap.C1"));
        assert_eq!(label(attrs! {}, map(&[(1, Tensor::scalar(1i64))])).as_deref(), Some("CastMap.C1"));
        assert_eq!(label(attrs! { cast_to: "X" }, x()).as_deref(), Some("CastMap.C2"));
        assert_eq!(label(attrs! { map_form: "SPARSE", max_map: 0i64 }, x()).as_deref(), Some("CastMap.C3"));
    }
}
