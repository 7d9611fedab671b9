//! Values in `.pb` files, as ONNX's test data has them: `TensorProto`, `SequenceProto`, `OptionalProto`, `MapProto`.
//!
//! The file does not say which of the messages it holds, so the declared type decides; where none is known
//! ([`Type::Unknown`]), a tensor is tried and then a sequence.

use super::Limits;
use super::external::External;
use super::proto::{MapProto, OptionalProto, SequenceProto, TensorProto, optional_proto, sequence_proto};
use super::tensor;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::map::read_or_map;
use crate::types::{Shape, TensorType, Type};
use crate::value::{Key, Value};
use bytes::Bytes;
use prost::Message;
use std::path::Path;

/// Reads a file with one value of the declared type `ty`; also returns the name that the file gives it (or "").
///
/// # Errors
/// When the file cannot be read or does not hold such a value.
pub fn load(path: &Path, ty: &Type, limits: &Limits) -> Result<(String, Value)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    read_or_map(path)
        .and_then(|bytes| from_bytes(bytes, ty, &External::in_folder(folder), limits))
        .map_err(|e| e.at(format!("file {}", path.display())))
}

/// Writes a file with one value under a name.
///
/// # Errors
/// When the value has no form in ONNX (an optional of an unknown type) or the file cannot be written.
pub fn save(path: &Path, name: &str, value: &Value) -> Result<()> {
    let bytes = to_bytes(name, value)?;
    std::fs::write(path, bytes).map_err(|e| Error::invalid(format!("file {}: {e}", path.display())))
}

/// Reads one value of the declared type from a message's bytes, with its name.
///
/// # Errors
/// When the bytes hold no such message.
pub fn from_bytes(bytes: Bytes, ty: &Type, external: &External, limits: &Limits) -> Result<(String, Value)> {
    let reader = Reader { external, limits };
    match ty {
        Type::Unknown => match decode::<TensorProto>(bytes.clone()).and_then(|p| reader.named_tensor(&p)) {
            Ok(found) => Ok(found),
            Err(error) => decode::<SequenceProto>(bytes)
                .and_then(|p| reader.named_sequence(&p, &Type::Unknown))
                .map_err(|_| error),
        },
        Type::Tensor(_) => reader.named_tensor(&decode(bytes)?),
        Type::Sequence(inner) => reader.named_sequence(&decode(bytes)?, inner),
        Type::Optional(inner) => {
            let proto: OptionalProto = decode(bytes)?;
            Ok((proto.name().to_owned(), reader.optional(&proto, inner)?))
        }
        Type::Map(_, values) => {
            let proto: MapProto = decode(bytes)?;
            Ok((proto.name().to_owned(), reader.map(&proto, values)?))
        }
    }
}

/// One value as the bytes of the message that fits it.
///
/// # Errors
/// When the value has no form in ONNX.
pub fn to_bytes(name: &str, value: &Value) -> Result<Vec<u8>> {
    Ok(match value {
        Value::Tensor(t) => tensor::to_proto(t, name).encode_to_vec(),
        Value::Sequence(ty, items) => sequence_to_proto(name, ty, items)?.encode_to_vec(),
        Value::Optional(ty, inner) => optional_to_proto(name, ty, inner.as_deref())?.encode_to_vec(),
        Value::Map(key, ty, items) => map_to_proto(name, *key, ty, items)?.encode_to_vec(),
    })
}

fn decode<M: Message + Default>(bytes: Bytes) -> Result<M> {
    M::decode(bytes).map_err(|e| Error::invalid(format!("no such protobuf message: {e}")))
}

struct Reader<'a> {
    external: &'a External,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn tensor(&self, proto: &TensorProto) -> Result<Value> {
        tensor::from_proto(proto, self.external, self.limits).map(Value::Tensor)
    }

    fn named_tensor(&self, proto: &TensorProto) -> Result<(String, Value)> {
        Ok((proto.name().to_owned(), self.tensor(proto)?))
    }

    fn named_sequence(&self, proto: &SequenceProto, inner: &Type) -> Result<(String, Value)> {
        Ok((proto.name().to_owned(), self.sequence(proto, inner)?))
    }

    fn sequence(&self, proto: &SequenceProto, inner: &Type) -> Result<Value> {
        let items = self.items(proto, inner)?;
        Ok(Value::Sequence(common_type(inner, &items)?, items))
    }

    fn items(&self, proto: &SequenceProto, inner: &Type) -> Result<Vec<Value>> {
        use sequence_proto::DataType as Kind;
        let unknown = Type::Unknown;
        let inside = match inner {
            Type::Sequence(t) | Type::Optional(t) | Type::Map(_, t) => t.as_ref(),
            _ => &unknown,
        };
        let kind = Kind::try_from(proto.elem_type.unwrap_or(0));
        let sparse = |p| tensor::from_sparse(p, self.external, self.limits).map(Value::Tensor);
        match kind {
            Ok(Kind::Tensor) => proto.tensor_values.iter().map(|p| self.tensor(p)).collect(),
            Ok(Kind::SparseTensor) => proto.sparse_tensor_values.iter().map(sparse).collect(),
            Ok(Kind::Sequence) => proto.sequence_values.iter().map(|p| self.sequence(p, inside)).collect(),
            Ok(Kind::Map) => proto.map_values.iter().map(|p| self.map(p, inside)).collect(),
            Ok(Kind::Optional) => proto.optional_values.iter().map(|p| self.optional(p, inside)).collect(),
            Ok(Kind::Undefined) if proto.tensor_values.is_empty() => Ok(Vec::new()),
            Ok(Kind::Undefined) | Err(_) => {
                Err(Error::invalid(format!("{} is no kind of sequence element", proto.elem_type.unwrap_or(0))))
            }
        }
    }

    fn optional(&self, proto: &OptionalProto, inner: &Type) -> Result<Value> {
        let unknown = Type::Unknown;
        let inside = match inner {
            Type::Sequence(t) | Type::Optional(t) | Type::Map(_, t) => t.as_ref(),
            _ => &unknown,
        };
        let value = if let Some(p) = &proto.tensor_value {
            Some(self.tensor(p)?)
        } else if let Some(p) = &proto.sparse_tensor_value {
            Some(Value::Tensor(tensor::from_sparse(p, self.external, self.limits)?))
        } else if let Some(p) = &proto.sequence_value {
            Some(self.sequence(p, inside)?)
        } else if let Some(p) = &proto.map_value {
            Some(self.map(p, inside)?)
        } else if let Some(p) = &proto.optional_value {
            Some(self.optional(p, inside)?)
        } else {
            None
        };
        let ty = match (&value, inner) {
            (Some(v), Type::Unknown) => v.ty(),
            _ => inner.clone(),
        };
        Ok(Value::Optional(ty, value.map(Box::new)))
    }

    fn map(&self, proto: &MapProto, inner: &Type) -> Result<Value> {
        let key = tensor::dtype_of(proto.key_type())?;
        let keys: Vec<Key> = if key == DType::String {
            let text = |b: &Bytes| String::from_utf8(b.to_vec()).map(Key::String);
            proto
                .string_keys
                .iter()
                .map(text)
                .collect::<Result<_, _>>()
                .map_err(|_| Error::invalid("a key is not UTF-8"))?
        } else if key.is_int() {
            proto.keys.iter().map(|&k| Key::Int(k)).collect()
        } else {
            return Err(Error::invalid(format!("a map with {key} as keys")));
        };
        let values = match &proto.values {
            Some(values) => self.items(values, inner)?,
            None => Vec::new(),
        };
        if keys.len() != values.len() {
            return Err(Error::invalid(format!("a map with {} keys and {} values", keys.len(), values.len())));
        }
        let ty = common_type(inner, &values)?;
        let mut entries: Vec<(Key, Value)> = keys.into_iter().zip(values).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        match entries.windows(2).find(|w| w[0].0 == w[1].0) {
            Some(twice) => Err(Error::invalid(format!("a map with key {:?} twice", twice[0].0))),
            None => Ok(Value::Map(key, ty, entries)),
        }
    }
}

/// The declared element type, or the one that all elements share: their type where all are equal, else tensors of any
/// shape.
fn common_type(declared: &Type, items: &[Value]) -> Result<Type> {
    if *declared != Type::Unknown {
        return Ok(declared.clone());
    }
    let mut types = items.iter().map(Value::ty);
    let Some(first) = types.next() else { return Ok(Type::Unknown) };
    types.try_fold(first, |common, ty| match (&common, &ty) {
        (a, b) if a == b => Ok(common),
        (Type::Tensor(a), Type::Tensor(b)) if a.dtype == b.dtype => {
            Ok(Type::Tensor(TensorType { dtype: a.dtype, shape: Shape::Unranked }))
        }
        (a, b) => Err(Error::invalid(format!("elements of one sequence have the types {a} and {b}"))),
    })
}

fn name_of(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

fn sequence_to_proto(name: &str, ty: &Type, items: &[Value]) -> Result<SequenceProto> {
    use sequence_proto::DataType as Kind;
    let mut out = SequenceProto { name: name_of(name), ..SequenceProto::default() };
    let mut kind = match ty {
        Type::Sequence(_) => Kind::Sequence,
        Type::Optional(_) => Kind::Optional,
        Type::Map(..) => Kind::Map,
        Type::Tensor(_) => Kind::Tensor,
        Type::Unknown => Kind::Undefined,
    };
    for item in items {
        kind = match item {
            Value::Tensor(t) => {
                out.tensor_values.push(tensor::to_proto(t, ""));
                Kind::Tensor
            }
            Value::Sequence(t, inner) => {
                out.sequence_values.push(sequence_to_proto("", t, inner)?);
                Kind::Sequence
            }
            Value::Optional(t, inner) => {
                out.optional_values.push(optional_to_proto("", t, inner.as_deref())?);
                Kind::Optional
            }
            Value::Map(key, t, entries) => {
                out.map_values.push(map_to_proto("", *key, t, entries)?);
                Kind::Map
            }
        };
    }
    out.elem_type = Some(kind.into());
    Ok(out)
}

fn optional_to_proto(name: &str, ty: &Type, value: Option<&Value>) -> Result<OptionalProto> {
    use optional_proto::DataType as Kind;
    let mut out = OptionalProto { name: name_of(name), ..OptionalProto::default() };
    let mut kind = match ty {
        Type::Sequence(_) => Kind::Sequence,
        Type::Optional(_) => Kind::Optional,
        Type::Map(..) => Kind::Map,
        Type::Tensor(_) => Kind::Tensor,
        Type::Unknown => Kind::Undefined,
    };
    match value {
        None => {}
        Some(Value::Tensor(t)) => {
            out.tensor_value = Some(tensor::to_proto(t, ""));
            kind = Kind::Tensor;
        }
        Some(Value::Sequence(t, items)) => {
            out.sequence_value = Some(sequence_to_proto("", t, items)?);
            kind = Kind::Sequence;
        }
        Some(Value::Map(key, t, entries)) => {
            out.map_value = Some(map_to_proto("", *key, t, entries)?);
            kind = Kind::Map;
        }
        Some(Value::Optional(t, inner)) => {
            out.optional_value = Some(Box::new(optional_to_proto("", t, inner.as_deref())?));
            kind = Kind::Optional;
        }
    }
    out.elem_type = Some(kind.into());
    Ok(out)
}

fn map_to_proto(name: &str, key: DType, ty: &Type, entries: &[(Key, Value)]) -> Result<MapProto> {
    let mut out = MapProto { name: name_of(name), key_type: Some(key.onnx()), ..MapProto::default() };
    let mut values = Vec::with_capacity(entries.len());
    for (k, v) in entries {
        match k {
            Key::Int(k) => out.keys.push(*k),
            Key::String(k) => out.string_keys.push(Bytes::copy_from_slice(k.as_bytes())),
        }
        values.push(v.clone());
    }
    out.values = Some(sequence_to_proto("", ty, &values)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn round_trip(value: &Value, ty: &Type) -> Value {
        let bytes = to_bytes("x", value).unwrap();
        let (name, back) = from_bytes(bytes.into(), ty, &External::none(), &Limits::default()).unwrap();
        assert_eq!(name, "x");
        back
    }

    #[test]
    fn every_kind_of_value_survives_the_round_trip() {
        let a = Value::Tensor(Tensor::from_slice(&[2], &[1.0f32, 2.0]));
        let b = Value::Tensor(Tensor::from_slice(&[1], &[3.0f32]));
        let any = Type::Tensor(TensorType { dtype: DType::F32, shape: Shape::Unranked });
        let sequence = Value::Sequence(any.clone(), vec![a.clone(), b]);
        let values = [
            a.clone(),
            sequence.clone(),
            Value::Sequence(any.clone(), vec![]),
            Value::Optional(any.clone(), None),
            Value::Optional(any.clone(), Some(Box::new(a.clone()))),
            Value::Optional(sequence.ty(), Some(Box::new(sequence.clone()))),
            Value::Map(DType::I64, any.clone(), vec![(Key::Int(-1), a.clone()), (Key::Int(4), a.clone())]),
            Value::Map(DType::String, any, vec![(Key::String("k".into()), a)]),
        ];
        for value in &values {
            assert_eq!(&round_trip(value, &value.ty()), value);
        }
        assert_eq!(round_trip(&values[0], &Type::Unknown), values[0]);
        assert_eq!(round_trip(&sequence, &Type::Unknown), sequence);
    }

    #[test]
    fn wrong_bytes_are_an_error() {
        let load = |bytes: &'static [u8], ty: &Type| {
            from_bytes(Bytes::from_static(bytes), ty, &External::none(), &Limits::default())
        };
        assert!(load(b"\xff\xff\xff", &Type::Unknown).is_err());
        assert!(load(b"", &Type::tensor(DType::F32, &[])).is_err());
        let map = MapProto { key_type: Some(DType::I64.onnx()), keys: vec![1], ..MapProto::default() };
        let ty = Type::Map(DType::I64, Box::new(Type::Unknown));
        let bytes = map.encode_to_vec().into();
        let error = from_bytes(bytes, &ty, &External::none(), &Limits::default()).unwrap_err();
        assert!(error.message().contains("1 keys and 0 values"));
    }
}
