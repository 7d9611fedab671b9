//! Values at run time as text: `[[1.0, 2.0]]` or `f32[1, 2] [[1.0, 2.0]]`, `seq [a, b]`, `none`, `some(a)`,
//! `map {1: a}`. Where the type is known, brackets alone say the shape.

use super::cursor::{Cursor, quote};
use super::tensor::{no_files, print_tensor, typed, untyped};
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;
use crate::types::Type;
use crate::value::{Key, Value};

/// Reads values separated by commas, one for each type. Text after the last is given back.
///
/// # Errors
/// When a value does not read as its type, with line and column.
pub fn parse_values<'a>(text: &'a str, types: &[Type]) -> Result<(Vec<Value>, &'a str)> {
    let mut c = Cursor::new(text);
    let mut out = Vec::with_capacity(types.len());
    for (i, ty) in types.iter().enumerate() {
        if i > 0 {
            c.want(",")?;
        }
        out.push(value(&mut c, ty)?);
    }
    c.space();
    Ok((out, c.rest()))
}

fn value(c: &mut Cursor<'_>, ty: &Type) -> Result<Value> {
    c.space();
    match ty {
        Type::Sequence(inner) => {
            c.take_word("seq");
            c.want("[")?;
            let items = c.nested(|c| c.list("]", |c| value(c, inner)))?;
            Ok(Value::Sequence((**inner).clone(), items))
        }
        Type::Optional(inner) => {
            if c.take_word("none") {
                return Ok(Value::Optional((**inner).clone(), None));
            }
            if !c.take_word("some") {
                return Err(c.unexpected("`none` or `some`"));
            }
            c.want("(")?;
            let v = c.nested(|c| value(c, inner))?;
            c.want(")")?;
            Ok(Value::Optional((**inner).clone(), Some(Box::new(v))))
        }
        Type::Map(key, inner) => {
            c.take_word("map");
            c.want("{")?;
            let mut items = c.nested(|c| {
                c.list("}", |c| {
                    let k = map_key(c, *key)?;
                    c.want(":")?;
                    Ok((k, value(c, inner)?))
                })
            })?;
            items.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(Value::Map(*key, (**inner).clone(), items))
        }
        Type::Tensor(t) => {
            let tensor = if starts_with_type(c) {
                typed(c, &no_files)?
            } else {
                let read = untyped(c, t.dtype)?;
                // `[]` says nothing of the other extents: the type does.
                match t.shape.to_sizes() {
                    Some(sizes) if read.is_empty() && sizes.contains(&0) => Tensor::zeros(t.dtype, &sizes)?,
                    _ => read,
                }
            };
            Ok(Value::Tensor(tensor))
        }
        Type::Unknown => Ok(Value::Tensor(typed(c, &no_files)?)),
    }
}

fn starts_with_type(c: &mut Cursor<'_>) -> bool {
    let word = c.peek_word();
    word.parse::<DType>().is_ok() && c.rest()[word.len()..].starts_with('[')
}

fn map_key(c: &mut Cursor<'_>, key: DType) -> Result<Key> {
    c.space();
    if key == DType::String {
        return c.string().map(Key::String);
    }
    let word = c.number()?;
    word.parse().map(Key::Int).map_err(|_| c.error_at(c.at - word.len(), format!("`{word}` is no key")))
}

/// The value as text, types written out; [`parse_values`] reads it.
pub fn print_value(value: &Value) -> String {
    match value {
        Value::Tensor(t) => print_tensor(t),
        Value::Sequence(_, items) => {
            let items: Vec<String> = items.iter().map(print_value).collect();
            format!("seq [{}]", items.join(", "))
        }
        Value::Optional(_, None) => "none".to_owned(),
        Value::Optional(_, Some(v)) => format!("some({})", print_value(v)),
        Value::Map(_, _, items) => {
            let items: Vec<String> = items
                .iter()
                .map(|(k, v)| {
                    let k = match k {
                        Key::Int(k) => k.to_string(),
                        Key::String(k) => quote(k),
                    };
                    format!("{k}: {}", print_value(v))
                })
                .collect();
            format!("map {{{}}}", items.join(", "))
        }
    }
}
