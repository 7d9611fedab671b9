//! `Y[0, i] = X[vocabulary_i]`, 0 (or the empty string) where the map has no such key.
//!
//! - **C1** `X` is a map of tensors
//! - **C2** exactly one of `int64_vocabulary` and `string_vocabulary` is given, of the type of the map's keys
//!
//! Keys outside the vocabulary are left out. The specification speaks of a result of one axis; ONNX Runtime and the models
//! written for it have one row, `[1, n]`, and so has this. ONNX `DictVectorizer` (ai.onnx.ml): opset 1.

use super::super::common::*;
use super::maps::{entries, keys_of};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;

attributes! {
    /// Attributes of `DictVectorizer`.
    pub struct DictVectorizer {
        /// Integer keys in the order of the result.
        int64_vocabulary: Option<Vec<i64>>,
        /// String keys in the order of the result.
        string_vocabulary: Option<Vec<String>>,
    }
}

impl DictVectorizer {
    fn keys(&self) -> Result<(DType, Vec<Key>)> {
        keys_of("C2", self.int64_vocabulary.as_deref(), self.string_vocabulary.as_deref())
    }
}

/// Key type and element type of the values of a map operand.
pub fn map_types(cx: &RuleCx<'_>, label: &'static str, input: usize) -> RuleResult<(DType, DType)> {
    match cx.ty(input)? {
        Type::Map(key, value) => match value.as_tensor() {
            Some(t) => Ok((*key, t.dtype)),
            None => Err(Stop::Deferred("the type of a map's values")),
        },
        other => Err(Error::violation(label, format!("operand {input} must be a map, it is {other}")).into()),
    }
}

impl Op for DictVectorizer {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (key, value) = map_types(cx, "C1", 0)?;
        let (want, keys) = self.keys()?;
        cx.require("C2", key == want, || format!("keys are {key}, the vocabulary is of {want}"))?;
        cx.output(value, vec![Dim::ONE, Dim::from(keys.len())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let (dtype, shape) = cx.out(0)?;
        let items = entries(cx, 0)?;
        let mut y = Tensor::zeros(dtype, &shape)?;
        let mut write = TensorWriter::new(&mut y);
        for (i, key) in self.keys()?.1.iter().enumerate() {
            if let Ok(at) = items.binary_search_by(|(k, _)| k.cmp(key)) {
                write.copy(i, items[at].1.tensor()?, 0)?;
            }
        }
        cx.push(y);
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts { accuracy: Accuracy::Exact, ..Facts::default() }
    }
}

op! {
    DictVectorizer in "ai.onnx.ml" since [1]; "X" => "Y";
    summary: "values of a map in the order of a vocabulary";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    fn map(entries: &[(&str, i64)]) -> Value {
        let entries = entries.iter().map(|&(k, v)| (Key::String(k.into()), Tensor::scalar(v).into())).collect();
        Value::Map(DType::String, Type::tensor(DType::I64, &[]), entries)
    }

    fn words(v: &[&str]) -> Attr {
        Attr::Strings(v.iter().map(|&s| s.to_owned()).collect())
    }

    #[test]
    fn dict_vectorizer_fills_with_zeros_and_leaves_strangers_out() {
        let x = map(&[("a", 4), ("c", 8), ("q", 3)]);
        let a = attrs! { string_vocabulary: words(&["a", "c", "b", "z"]) };
        let y = run("ai.onnx.ml", "DictVectorizer", a, &[Some(x)], 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[1, 4], &[4i64, 8, 0, 0]).into());
    }

    #[test]
    fn dict_vectorizer_constraints_are_named() {
        let label =
            |a, x| run("ai.onnx.ml", "DictVectorizer", a, &[Some(x)], 1).unwrap_err().label().map(str::to_owned);
        let a = attrs! { string_vocabulary: words(&["a"]) };
        assert_eq!(label(a, Tensor::scalar(1i64).into()).as_deref(), Some("DictVectorizer.C1"));
        assert_eq!(label(attrs! {}, map(&[("a", 1)])).as_deref(), Some("DictVectorizer.C2"));
        let ints = attrs! { int64_vocabulary: vec![1i64] };
        assert_eq!(label(ints, map(&[("a", 1)])).as_deref(), Some("DictVectorizer.C2"));
    }
}
