//! `AttributeProto` to and from [`Attr`]. Graphs are the importer's and exporter's own business.

use super::Limits;
use super::external::External;
use super::proto::AttributeProto;
use super::proto::attribute_proto::AttributeType as Kind;
use super::tensor;
use super::types::{self, Symbols};
use crate::attr::Attr;
use crate::dim::Dim;
use crate::error::{Error, Result};
use bytes::Bytes;

/// Reads an attribute that is no graph.
pub(super) fn from_proto(
    proto: &AttributeProto,
    external: &External,
    limits: &Limits,
    symbols: &mut Symbols,
) -> Result<Attr> {
    let missing = || Error::invalid("the value is missing");
    let tensor = |t| tensor::from_proto(t, external, limits);
    let sparse = |t| tensor::from_sparse(t, external, limits);
    Ok(match kind(proto)? {
        // A writer of proto3 leaves zeros out, so these three may be absent.
        Kind::Float => Attr::Float(proto.f()),
        Kind::Int => Attr::Int(Dim::int(proto.i())),
        Kind::String => Attr::String(text(proto.s.as_ref().unwrap_or(&Bytes::new()))?),
        Kind::Tensor => Attr::Tensor(tensor(proto.t.as_ref().ok_or_else(missing)?)?),
        Kind::SparseTensor => Attr::Tensor(sparse(proto.sparse_tensor.as_ref().ok_or_else(missing)?)?),
        Kind::TypeProto => Attr::Type(types::from_proto(proto.tp.as_ref().ok_or_else(missing)?, symbols)?),
        Kind::Floats => Attr::Floats(proto.floats.clone()),
        Kind::Ints => Attr::Ints(proto.ints.iter().map(|&v| Dim::int(v)).collect()),
        Kind::Strings => Attr::Strings(proto.strings.iter().map(text).collect::<Result<_>>()?),
        Kind::Tensors => Attr::Tensors(proto.tensors.iter().map(tensor).collect::<Result<_>>()?),
        Kind::SparseTensors => Attr::Tensors(proto.sparse_tensors.iter().map(sparse).collect::<Result<_>>()?),
        Kind::Graph | Kind::Graphs => return Err(missing()),
        Kind::TypeProtos => return Err(Error::unsupported("attributes that list types")),
        Kind::Undefined => return Err(Error::invalid("its kind is undefined")),
    })
}

fn text(bytes: &Bytes) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|e| Error::invalid(format!("it is not UTF-8: {e}")))
}

/// The stated kind; files before IR version 2 state none, and then the field in use tells.
fn kind(proto: &AttributeProto) -> Result<Kind> {
    match proto.r#type {
        Some(code) if code != 0 => {
            return Kind::try_from(code).map_err(|_| Error::invalid(format!("{code} is no kind of attribute")));
        }
        _ => {}
    }
    Ok(match proto {
        p if p.f.is_some() => Kind::Float,
        p if p.i.is_some() => Kind::Int,
        p if p.s.is_some() => Kind::String,
        p if p.t.is_some() => Kind::Tensor,
        p if p.sparse_tensor.is_some() => Kind::SparseTensor,
        p if p.tp.is_some() => Kind::TypeProto,
        p if !p.floats.is_empty() => Kind::Floats,
        p if !p.strings.is_empty() => Kind::Strings,
        p if !p.tensors.is_empty() => Kind::Tensors,
        // An empty list of an unstated kind reads as a list of anything.
        _ => Kind::Ints,
    })
}

/// Writes an attribute that is no graph.
pub(super) fn to_proto(name: &str, attr: &Attr) -> Result<AttributeProto> {
    let number = |d: &Dim| {
        d.as_int().ok_or_else(|| Error::invalid(format!("attribute `{name}` is the term {d}, ONNX wants a number")))
    };
    let bytes = |s: &String| Bytes::copy_from_slice(s.as_bytes());
    let mut out = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match attr {
        Attr::Int(v) => {
            out.i = Some(number(v)?);
            Kind::Int
        }
        Attr::DType(v) => {
            out.i = Some(v.onnx().into());
            Kind::Int
        }
        Attr::Float(v) => {
            out.f = Some(*v);
            Kind::Float
        }
        Attr::String(v) => {
            out.s = Some(bytes(v));
            Kind::String
        }
        Attr::Tensor(v) => {
            out.t = Some(tensor::to_proto(v, ""));
            Kind::Tensor
        }
        Attr::Type(v) => {
            out.tp = types::to_proto(v);
            Kind::TypeProto
        }
        Attr::Ints(v) => {
            out.ints = v.iter().map(number).collect::<Result<_>>()?;
            Kind::Ints
        }
        Attr::Floats(v) => {
            out.floats = v.clone();
            Kind::Floats
        }
        Attr::Strings(v) => {
            out.strings = v.iter().map(bytes).collect();
            Kind::Strings
        }
        Attr::Tensors(v) => {
            out.tensors = v.iter().map(|t| tensor::to_proto(t, "")).collect();
            Kind::Tensors
        }
        Attr::Graph(_) => return Err(Error::bug("graphs are written by the exporter")),
    };
    out.r#type = Some(kind.into());
    Ok(out)
}
