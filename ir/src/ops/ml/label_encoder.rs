//! Elements of one kind to those of another by a table.
//!
//! - **C1** one list of keys and one of values is given, equally long
//! - **C2** the keys are of the operand's element type
//!
//! Of equal keys the last one counts; NaN equals NaN. An element that is no key becomes the default of the values' kind.
//! ONNX `LabelEncoder` (ai.onnx.ml): opset 1 (`classes_strings`), 2 (lists), 4 (tensors).

use super::super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;
use crate::rule::{RuleCx, RuleResult};
use crate::tensor::Tensor;
use std::collections::HashMap;

attributes! {
    /// Attributes of `LabelEncoder`.
    pub struct LabelEncoder {
        /// Default, of the values' type.
        default_tensor: Option<Tensor>,
        /// Default of float values.
        default_float: f32 = -0.0,
        /// Default of integer values.
        default_int64: i64 = -1,
        /// Default of string values.
        default_string: String = "_Unused",
        /// Keys.
        keys_floats: Option<Vec<f32>>,
        /// Keys.
        keys_int64s: Option<Vec<i64>>,
        /// Keys.
        keys_strings: Option<Vec<String>>,
        /// Keys.
        keys_tensor: Option<Tensor>,
        /// Values.
        values_floats: Option<Vec<f32>>,
        /// Values.
        values_int64s: Option<Vec<i64>>,
        /// Values.
        values_strings: Option<Vec<String>>,
        /// Values.
        values_tensor: Option<Tensor>,
    }
}

/// The one list that is given, as a tensor of rank 1.
fn list(
    floats: &Option<Vec<f32>>,
    ints: &Option<Vec<i64>>,
    strings: &Option<Vec<String>>,
    tensor: &Option<Tensor>,
) -> Option<Tensor> {
    let text = |v: &[String]| v.iter().map(|s| Arc::from(s.as_str())).collect::<Vec<Arc<str>>>();
    let mut all = [
        tensor.clone(),
        floats.as_ref().map(|v| Tensor::from_slice(&[v.len()], v)),
        ints.as_ref().map(|v| Tensor::from_slice(&[v.len()], v)),
        strings.as_ref().map(|v| Tensor::from_strings(&[v.len()], text(v))),
    ]
    .into_iter()
    .flatten();
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// What a table is looked up by.
#[derive(PartialEq, Eq, Hash)]
enum Look {
    Text(Arc<str>),
    Int(i128),
    Float(u64),
}

fn looks(t: &Tensor) -> Result<Vec<Look>> {
    Ok(match t.dtype().class() {
        Class::String => t.strings()?.iter().cloned().map(Look::Text).collect(),
        Class::Float => {
            // One pattern for all NaN, one for both zeros.
            let bits = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { (v + 0.0).to_bits() };
            t.floats()?.into_iter().map(|v| Look::Float(bits(v))).collect()
        }
        _ => t.ints()?.into_iter().map(Look::Int).collect(),
    })
}

impl LabelEncoder {
    fn keys(&self) -> Option<Tensor> {
        list(&self.keys_floats, &self.keys_int64s, &self.keys_strings, &self.keys_tensor)
    }

    fn values(&self) -> Option<Tensor> {
        list(&self.values_floats, &self.values_int64s, &self.values_strings, &self.values_tensor)
    }

    fn default(&self, dtype: DType) -> Result<Tensor> {
        Ok(match &self.default_tensor {
            Some(t) if t.dtype() == dtype && t.len() == 1 => t.clone(),
            Some(t) => return Err(Error::invalid(format!("`default_tensor` is {t:?}, the values are {dtype}"))),
            None => match dtype.class() {
                Class::String => Tensor::from_strings(&[], vec![self.default_string.as_str().into()]),
                Class::Float => Tensor::from_floats(dtype, &[], [f64::from(self.default_float)]),
                Class::Complex => return Err(Error::unsupported("complex values")),
                _ => Tensor::from_ints(dtype, &[], [i128::from(self.default_int64)]),
            },
        })
    }
}

impl Op for LabelEncoder {
    op_basics!();

    fn rule(&self, cx: &mut RuleCx<'_>) -> RuleResult {
        let (Some(keys), Some(values)) = (self.keys(), self.values()) else {
            return cx.require("C1", false, || "one list of keys and one of values must be given".into());
        };
        cx.require("C1", keys.len() == values.len(), || format!("{} keys, {} values", keys.len(), values.len()))?;
        let dtype = cx.dtype(0)?;
        cx.require("C2", dtype == keys.dtype(), || format!("the keys are {}, the operand {dtype}", keys.dtype()))?;
        cx.output(values.dtype(), cx.shape(0)?)
    }

    fn eval(&self, cx: &mut EvalCx<'_>) -> Result<()> {
        let x = cx.tensor(0)?;
        let missing = || Error::invalid("one list of keys and one of values must be given");
        let (keys, values) = (self.keys().ok_or_else(missing)?, self.values().ok_or_else(missing)?);
        let mut table = HashMap::new();
        for (i, k) in looks(&keys)?.into_iter().enumerate() {
            table.insert(k, i);
        }
        let default = self.default(values.dtype())?;
        let mut y = Tensor::zeros(values.dtype(), x.shape())?;
        let mut write = TensorWriter::new(&mut y);
        for (at, k) in looks(x)?.iter().enumerate() {
            match table.get(k) {
                Some(&i) => write.copy(at, &values, i)?,
                None => write.copy(at, &default, 0)?,
            }
        }
        cx.push(y);
        Ok(())
    }
}

/// Opset 1: the position in `classes_strings`, or the class at a position.
fn upgrade(cx: &mut Upgrade<'_>) -> Result<()> {
    if cx.version >= 2 {
        return Ok(());
    }
    let Some(classes @ Attr::Strings(_)) = cx.take("classes_strings") else {
        return Err(Error::invalid("LabelEncoder of opset 1 needs `classes_strings`"));
    };
    let n = if let Attr::Strings(s) = &classes { s.len() as i64 } else { 0 };
    let numbers = Attr::from((0..n).collect::<Vec<i64>>());
    let Type::Tensor(t) = cx.ty(0) else {
        return Err(Error::unsupported("LabelEncoder of opset 1 on an operand of unknown type"));
    };
    let (keys, values) =
        if t.dtype == DType::String { ("keys_strings", "values_int64s") } else { ("keys_int64s", "values_strings") };
    let (a, b) = if t.dtype == DType::String { (classes, numbers) } else { (numbers, classes) };
    cx.attrs.insert(keys.into(), a);
    cx.attrs.insert(values.into(), b);
    Ok(())
}

op! {
    LabelEncoder in "ai.onnx.ml" since [1, 2, 4]; "X" => "Y";
    summary: "elements of one kind to another by a table";
    upgrade: upgrade;
    examples: EXAMPLES;
}

/// Documentation, golden test and fuzz seed.
pub const EXAMPLES: &str = r#"
// run: @ml_label_encoder(["b", "z"]) == [2, -1]
graph @ml_label_encoder(%a: string[2]) -> i64[2] {
  %y = ml.label_encoder %a {keys_strings = ["a", "b"], values_int64s = [1, 2]} : i64[2]
  return %y
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::common::testing::*;

    #[test]
    fn label_encoder_finds_nan_and_falls_back() {
        let a = attrs! { keys_floats: Attr::Floats(vec![f32::NAN, 1.0]), values_int64s: vec![5i64, 6] };
        let x = Tensor::from_slice(&[3], &[1f32, f32::NAN, 2.0]);
        let y = run("ai.onnx.ml", "LabelEncoder", a, &[Some(x.into())], 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[3], &[6i64, 5, -1]).into());
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let a = attrs! { keys_int64s: vec![1i64, 1], values_int64s: vec![5i64, 6] };
        let x = Tensor::from_slice(&[1], &[1i64]);
        let y = run("ai.onnx.ml", "LabelEncoder", a, &[Some(x.into())], 1).unwrap();
        assert_eq!(y[0], Tensor::from_slice(&[1], &[6i64]).into());
    }

    #[test]
    fn label_encoder_constraints_are_named() {
        let x = Value::from(Tensor::from_slice(&[1], &[1i64]));
        let label = |a| run("ai.onnx.ml", "LabelEncoder", a, &[Some(x.clone())], 1).unwrap_err();
        assert_eq!(label(attrs! {}).label(), Some("LabelEncoder.C1"));
        let floats = attrs! { keys_floats: Attr::Floats(vec![1.0]), values_int64s: vec![5i64] };
        assert_eq!(label(floats).label(), Some("LabelEncoder.C2"));
        let fewer = attrs! { keys_int64s: vec![1i64, 2], values_int64s: vec![5i64] };
        assert_eq!(label(fewer).label(), Some("LabelEncoder.C1"));
    }
}
