//! `TypeProto` to and from [`Type`].
//!
//! Extents in files are numbers, names, or whatever an exporter wrote: `?`, `-1`, `floor(height/2 - 1/2)`. A name is a
//! symbol of the whole model, arithmetic becomes a term ([`Dim::from_dim_param`]), and what says "unknown", negative
//! numbers included, is a new symbol each time.

use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{TensorShapeProto, TypeProto, type_proto};
use super::tensor::dtype_of;
use crate::dim::Dim;
use crate::error::{Error, Result};
use crate::rule::{MAX_RANK, rank_too_high};
use crate::types::{Shape, TensorType, Type};

/// Makes the symbols for extents that a model leaves open: `u1`, `u2`…, as inference does.
#[derive(Debug, Default)]
pub struct Symbols {
    /// The number of the last symbol made.
    pub last: u64,
}

impl Symbols {
    /// Starts above every `u<number>` in the texts that the model uses itself.
    pub fn above<'a>(texts: impl IntoIterator<Item = &'a str>) -> Symbols {
        let number = |s: &str| s.strip_prefix('u')?.parse::<u64>().ok();
        let dims = texts.into_iter().filter(|t| t.contains('u')).map(Dim::from_dim_param);
        let last = dims.filter_map(|d| d.symbols().iter().filter_map(|s| number(s)).max()).max().unwrap_or(0);
        Symbols { last: last.min(u64::MAX / 2) }
    }

    /// The extent that a text stands for.
    pub fn dim(&mut self, text: &str) -> Dim {
        let text = text.trim();
        if matches!(text, "" | "?" | "None" | "none" | "*" | "unknown" | "dynamic") {
            return self.fresh();
        }
        let dim = Dim::from_dim_param(text);
        if dim.as_int().is_some_and(|n| n < 0) { self.fresh() } else { dim }
    }

    /// A symbol that stands nowhere else in the model.
    pub fn fresh(&mut self) -> Dim {
        self.last += 1;
        Dim::sym(&format!("u{}", self.last))
    }
}

/// Reads a type; what the message leaves out is unknown.
///
/// # Errors
/// When an element type is wrong or the kind of value is not supported (sparse as run-time values, opaque).
pub fn from_proto(proto: &TypeProto, symbols: &mut Symbols) -> Result<Type> {
    use type_proto::Value;
    let inner = |t: &Option<Box<TypeProto>>, symbols: &mut Symbols| match t {
        Some(t) => from_proto(t, symbols).map(Box::new),
        None => Ok(Box::new(Type::Unknown)),
    };
    Ok(match &proto.value {
        None => Type::Unknown,
        Some(Value::TensorType(t)) if t.elem_type() == 0 => Type::Unknown,
        Some(Value::TensorType(t)) => {
            let shape = match &t.shape {
                Some(shape) if shape.dim.len() > MAX_RANK => return Err(rank_too_high(shape.dim.len())),
                Some(shape) => Shape::Ranked(shape.dim.iter().map(|d| dim_from_proto(d, symbols)).collect()),
                None => Shape::Unranked,
            };
            Type::Tensor(TensorType { dtype: dtype_of(t.elem_type())?, shape })
        }
        Some(Value::SequenceType(s)) => Type::Sequence(inner(&s.elem_type, symbols)?),
        Some(Value::OptionalType(o)) => Type::Optional(inner(&o.elem_type, symbols)?),
        Some(Value::MapType(m)) => Type::Map(dtype_of(m.key_type())?, inner(&m.value_type, symbols)?),
        Some(Value::SparseTensorType(_)) => return Err(Error::unsupported("sparse tensors as run-time values")),
        Some(Value::OpaqueType(o)) => {
            return Err(Error::unsupported(format!("values of the opaque type `{}`", o.name())));
        }
    })
}

fn dim_from_proto(dim: &Dimension, symbols: &mut Symbols) -> Dim {
    match &dim.value {
        Some(dimension::Value::DimValue(n)) if *n >= 0 => Dim::int(*n),
        Some(dimension::Value::DimParam(text)) => symbols.dim(text),
        Some(dimension::Value::DimValue(_)) | None => symbols.fresh(),
    }
}

/// Writes a type; `None` where nothing is known.
pub fn to_proto(ty: &Type) -> Option<TypeProto> {
    use type_proto::Value;
    let inner = |t: &Type| to_proto(t).map(Box::new);
    let value = match ty {
        Type::Unknown => return None,
        Type::Tensor(t) => Value::TensorType(type_proto::Tensor {
            elem_type: Some(t.dtype.onnx()),
            shape: t.shape.dims().map(|dims| TensorShapeProto { dim: dims.iter().map(dim_to_proto).collect() }),
        }),
        Type::Sequence(t) => Value::SequenceType(Box::new(type_proto::Sequence { elem_type: inner(t) })),
        Type::Optional(t) => Value::OptionalType(Box::new(type_proto::Optional { elem_type: inner(t) })),
        Type::Map(key, t) => {
            Value::MapType(Box::new(type_proto::Map { key_type: Some(key.onnx()), value_type: inner(t) }))
        }
    };
    Some(TypeProto { value: Some(value), denotation: None })
}

fn dim_to_proto(dim: &Dim) -> Dimension {
    let value = match dim.as_int() {
        Some(n) => dimension::Value::DimValue(n),
        None => dimension::Value::DimParam(dim.to_string()),
    };
    Dimension { value: Some(value), denotation: None }
}

#[cfg(test)]
mod tests {
    use super::super::testing::info;
    use super::*;
    use crate::dtype::DType;

    fn read(dims: &str, symbols: &mut Symbols) -> String {
        from_proto(info("x", DType::F32, dims).r#type.as_ref().unwrap(), symbols).unwrap().to_string()
    }

    #[test]
    fn names_are_shared_and_unknowns_are_not() {
        let mut symbols = Symbols::default();
        assert_eq!(read("batch 3 batch", &mut symbols), "f32[batch, 3, batch]");
        assert_eq!(read("batch seq", &mut symbols), "f32[batch, seq]");
        let unknown = read("? ? -1", &mut symbols);
        let mut names: Vec<_> = unknown[4..unknown.len() - 1].split(", ").collect();
        names.dedup();
        assert_eq!(names.len(), 3, "{unknown}");
    }

    #[test]
    fn arithmetic_and_odd_names_have_a_meaning() {
        let mut symbols = Symbols::above(["u7", "batch"]);
        let half = symbols.dim("floor(height/2 - 1/2)");
        assert_eq!(half, symbols.dim("floor(height/2 - 1/2)"));
        assert_eq!(half.eval(&|_| Some(8)), Some(3));
        assert_eq!(symbols.dim("7").as_int(), Some(7));
        assert_eq!(symbols.dim("-2"), Dim::sym("u8"));
        assert_ne!(symbols.dim("a.b"), symbols.dim("a_b"));
    }

    #[test]
    fn types_survive_the_round_trip() {
        let tensor = Type::ranked(DType::F16, vec![Dim::int(2), Dim::sym("n")]);
        let any = Type::Tensor(TensorType { dtype: DType::I64, shape: Shape::Unranked });
        for ty in [
            tensor.clone(),
            any.clone(),
            Type::Sequence(Box::new(tensor.clone())),
            Type::Optional(Box::new(Type::Sequence(Box::new(any.clone())))),
            Type::Map(DType::String, Box::new(tensor)),
        ] {
            assert_eq!(from_proto(&to_proto(&ty).unwrap(), &mut Symbols::default()).unwrap(), ty);
        }
        assert_eq!(to_proto(&Type::Unknown), None);
    }
}
