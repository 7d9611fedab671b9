//! Values at run time: tensors, and ONNX's sequences, optionals and maps of them.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::types::Type;

/// A key of a map.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// Any integer kind.
    Int(i64),
    /// Text.
    String(String),
}

/// A value that a graph takes, makes or passes between nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A dense tensor.
    Tensor(Tensor),
    /// A list; the type is that of its elements and stands even when it is empty.
    Sequence(Type, Vec<Value>),
    /// A value or none; the type is that of the value inside.
    Optional(Type, Option<Box<Value>>),
    /// Sorted by key; the key's element type and the values' type.
    Map(DType, Type, Vec<(Key, Value)>),
}

impl Value {
    /// The tensor.
    ///
    /// # Errors
    /// When it is none.
    pub fn tensor(&self) -> Result<&Tensor> {
        match self {
            Value::Tensor(t) => Ok(t),
            other => Err(Error::invalid(format!("a tensor is wanted, the value is {}", other.ty()))),
        }
    }

    /// The type, extents as numbers.
    pub fn ty(&self) -> Type {
        match self {
            Value::Tensor(t) => Type::tensor(t.dtype(), t.shape()),
            Value::Sequence(t, _) => Type::Sequence(Box::new(t.clone())),
            Value::Optional(t, _) => Type::Optional(Box::new(t.clone())),
            Value::Map(k, t, _) => Type::Map(*k, Box::new(t.clone())),
        }
    }

    /// Whether [`Value::ty`] is `ty`; costs nothing for tensors.
    pub fn has_type(&self, ty: &Type) -> bool {
        match (self, ty) {
            (Value::Tensor(t), Type::Tensor(want)) => {
                let fits = |dims: &[Dim]| {
                    dims.len() == t.rank()
                        && dims.iter().zip(t.shape()).all(|(d, &n)| d.as_int() == i64::try_from(n).ok())
                };
                t.dtype() == want.dtype && want.shape.dims().is_some_and(fits)
            }
            (Value::Tensor(_), _) => false,
            (other, ty) => other.ty() == *ty,
        }
    }

    /// Bytes of all elements, strings counted by their text.
    pub fn size_bytes(&self) -> usize {
        match self {
            Value::Tensor(t) if t.dtype() == DType::String => {
                t.strings().unwrap_or_default().iter().map(|s| s.len() + 16).sum()
            }
            Value::Tensor(t) => t.bytes().len(),
            Value::Sequence(_, items) => items.iter().map(Value::size_bytes).sum(),
            Value::Optional(_, v) => v.as_ref().map_or(0, |v| v.size_bytes()),
            Value::Map(_, _, items) => items.iter().map(|(_, v)| v.size_bytes() + 16).sum(),
        }
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Value {
        Value::Tensor(t)
    }
}
