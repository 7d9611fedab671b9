//! Types of values: tensors with symbolic shapes, and ONNX's sequences, optionals and maps of them.

use crate::dim::Dim;
use crate::dtype::DType;
use std::fmt;

/// The extents of a tensor, as far as they are known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// One term an axis.
    Ranked(Vec<Dim>),
    /// Not even the number of axes is known.
    Unranked,
}

impl Shape {
    /// The extents, where the rank is known.
    pub fn dims(&self) -> Option<&[Dim]> {
        match self {
            Shape::Ranked(dims) => Some(dims),
            Shape::Unranked => None,
        }
    }

    /// The extents as numbers, where all are.
    pub fn to_sizes(&self) -> Option<Vec<usize>> {
        self.dims()?.iter().map(|d| d.as_int().and_then(|v| usize::try_from(v).ok())).collect()
    }

    /// A shape of numbers.
    pub fn of_sizes(sizes: &[usize]) -> Shape {
        Shape::Ranked(sizes.iter().map(|&n| Dim::from(n)).collect())
    }
}

/// Element type and shape.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TensorType {
    /// Type of every element.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
}

/// The type of a value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Type {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// A dense tensor.
    Tensor(TensorType),
    /// A list of values of one type.
    Sequence(Box<Type>),
    /// A value or none.
    Optional(Box<Type>),
    /// From keys (integers or strings) to values.
    Map(DType, Box<Type>),
}

impl Type {
    /// A tensor of numbers of known extents.
    pub fn tensor(dtype: DType, sizes: &[usize]) -> Type {
        Type::Tensor(TensorType { dtype, shape: Shape::of_sizes(sizes) })
    }

    /// A tensor with symbolic extents.
    pub fn ranked(dtype: DType, dims: Vec<Dim>) -> Type {
        Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) })
    }

    /// The tensor type, if it is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Type::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// Element type and extents as numbers, if it is a tensor whose extents all are.
    pub fn concrete(&self) -> Option<(DType, Vec<usize>)> {
        let t = self.as_tensor()?;
        Some((t.dtype, t.shape.to_sizes()?))
    }

    /// Applies `with` to every extent.
    pub fn map_dims(&self, with: &dyn Fn(&Dim) -> Dim) -> Type {
        match self {
            Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) }) => {
                Type::ranked(*dtype, dims.iter().map(with).collect())
            }
            Type::Sequence(t) => Type::Sequence(Box::new(t.map_dims(with))),
            Type::Optional(t) => Type::Optional(Box::new(t.map_dims(with))),
            Type::Map(k, t) => Type::Map(*k, Box::new(t.map_dims(with))),
            other => other.clone(),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shape {
            Shape::Unranked => write!(f, "{}[...]", self.dtype),
            Shape::Ranked(dims) => {
                write!(f, "{}[", self.dtype)?;
                for (i, d) in dims.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{d}")?;
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Unknown => f.write_str("?"),
            Type::Tensor(t) => t.fmt(f),
            Type::Sequence(t) => write!(f, "seq<{t}>"),
            Type::Optional(t) => write!(f, "optional<{t}>"),
            Type::Map(k, t) => write!(f, "map<{k}, {t}>"),
        }
    }
}
