//! What the operators on maps share: keys from attributes, entries of operands.

use super::super::common::*;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::eval::EvalCx;

/// Element type of keys and the keys that exactly one of two attributes lists.
///
/// # Errors
/// A violation of `label` where both or neither is given.
pub fn keys_of(label: &str, ints: Option<&[i64]>, strings: Option<&[String]>) -> Result<(DType, Vec<Key>)> {
    match (ints, strings) {
        (Some(v), None | Some([])) => Ok((DType::I64, v.iter().map(|&k| Key::Int(k)).collect())),
        (None | Some([]), Some(v)) => Ok((DType::String, v.iter().map(|k| Key::String(k.clone())).collect())),
        _ => Err(Error::violation(label, "one list of keys is wanted, of integers or of strings")),
    }
}

/// Refuses a key that stands twice.
///
/// # Errors
/// A violation of `label`.
pub fn require_distinct(label: &str, keys: &[Key]) -> Result<()> {
    let mut sorted: Vec<&Key> = keys.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(Error::violation(label, format!("{:?} stands twice", w[0]))),
        None => Ok(()),
    }
}

/// The entries of a map operand, sorted by key.
///
/// # Errors
/// When it is no map.
pub fn entries<'a>(cx: &EvalCx<'a>, i: usize) -> Result<&'a [(Key, Value)]> {
    match cx.value(i)? {
        Value::Map(_, _, entries) => Ok(entries),
        other => Err(Error::invalid(format!("operand {i} must be a map, it is {}", other.ty()))),
    }
}
