//! `TensorProto` and `SparseTensorProto` to and from [`Tensor`].
//!
//! Elements come from `raw_data` (shared with the file where alignment allows), from the typed fields, or from a file
//! beside the model. Two- and four-bit kinds are packed in files (low bits first) and one a byte in memory. Sparse
//! tensors become dense within [`Limits::max_dense_bytes`]. Source: the comments of `onnx.proto`.

use super::Limits;
use super::external::External;
use super::proto::tensor_proto::DataLocation;
use super::proto::{SparseTensorProto, TensorProto};
use crate::dtype::{Class, DType};
use crate::error::{Error, Result};
use crate::num;
use crate::rule::{MAX_RANK, rank_too_high};
use crate::tensor::{self, AlignedBytes, Tensor, TensorWriter};
use bytes::Bytes;
use std::sync::Arc;

/// The element type for a `TensorProto.DataType` number.
///
/// # Errors
/// When it is 0 or no known number.
pub fn dtype_of(code: i32) -> Result<DType> {
    match (DType::from_onnx(code), code) {
        (Some(dtype), _) => Ok(dtype),
        (None, 0) => Err(Error::invalid("the element type is undefined")),
        (None, 27 | 28) => Err(Error::unsupported("element type: six-bit floats")),
        (None, _) => Err(Error::invalid(format!("{code} is no element type"))),
    }
}

/// Extents from a message's `dims`.
///
/// # Errors
/// When one is negative, or there are too many.
pub fn shape_of(dims: &[i64]) -> Result<Vec<usize>> {
    if dims.len() > MAX_RANK {
        return Err(rank_too_high(dims.len()));
    }
    dims.iter()
        .map(|&d| usize::try_from(d).map_err(|_| Error::invalid(format!("extent {d} in shape {dims:?}"))))
        .collect()
}

/// Reads a tensor; its data may lie in `external`.
///
/// # Errors
/// When type, extents and data do not fit together; the tensor's name is added as a place.
pub fn from_proto(proto: &TensorProto, external: &External, limits: &Limits) -> Result<Tensor> {
    read(proto, external, limits).map_err(|e| e.at(format!("tensor `{}`", proto.name())))
}

fn read(proto: &TensorProto, external: &External, limits: &Limits) -> Result<Tensor> {
    let dtype = dtype_of(proto.data_type())?;
    let shape = shape_of(&proto.dims)?;
    let len = tensor::len_elems(&shape)?;
    if proto.segment.is_some() {
        return Err(Error::unsupported("tensors stored in segments"));
    }
    if dtype == DType::String {
        return strings(proto, &shape, len);
    }
    let packed_bytes = (len * dtype.bits()).div_ceil(8);
    if proto.data_location() == DataLocation::External {
        return from_packed(dtype, &shape, len, external.slice(&proto.external_data, packed_bytes)?, limits);
    }
    match &proto.raw_data {
        Some(raw) if !raw.is_empty() || typed_is_empty(proto) => from_packed(dtype, &shape, len, raw.clone(), limits),
        _ => typed(proto, dtype, &shape, len, limits),
    }
}

fn strings(proto: &TensorProto, shape: &[usize], len: usize) -> Result<Tensor> {
    if proto.string_data.len() != len {
        return Err(wrong_count(DType::String, shape, proto.string_data.len(), "strings"));
    }
    let text = |b: &Bytes| {
        std::str::from_utf8(b).map(Arc::from).map_err(|e| Error::invalid(format!("a string is not UTF-8: {e}")))
    };
    Ok(Tensor::from_strings(shape, proto.string_data.iter().map(text).collect::<Result<_>>()?))
}

fn wrong_count(dtype: DType, shape: &[usize], got: usize, what: &str) -> Error {
    Error::invalid(format!("{dtype}{shape:?} with {got} {what}"))
}

fn check_dense(bytes: usize, limits: &Limits) -> Result<()> {
    if bytes > limits.max_dense_bytes {
        return Err(Error::limit(format!("{bytes} bytes for one tensor, {} allowed", limits.max_dense_bytes)));
    }
    Ok(())
}

/// Bytes as a file holds them.
fn from_packed(dtype: DType, shape: &[usize], len: usize, raw: Bytes, limits: &Limits) -> Result<Tensor> {
    if raw.len() != (len * dtype.bits()).div_ceil(8) {
        return Err(wrong_count(dtype, shape, raw.len(), "bytes"));
    }
    if dtype.bits() < 8 {
        check_dense(len, limits)?;
        return unpack(dtype, shape, len, &raw);
    }
    if dtype == DType::Bool && raw.iter().any(|&b| b > 1) {
        return Ok(Tensor::from_bools(shape, raw.iter().map(|&b| b != 0)));
    }
    Tensor::from_bytes(dtype, shape, raw)
}

fn unpack(dtype: DType, shape: &[usize], len: usize, packed: &[u8]) -> Result<Tensor> {
    let elements = num::unpack(packed, len, dtype.bits() as u32, dtype.class() == Class::Signed)
        .map_err(|e| Error::bug(format!("{dtype}{shape:?}: {e}")))?;
    Tensor::from_bytes(dtype, shape, elements.into())
}

fn typed_is_empty(proto: &TensorProto) -> bool {
    proto.float_data.is_empty()
        && proto.int32_data.is_empty()
        && proto.int64_data.is_empty()
        && proto.double_data.is_empty()
        && proto.uint64_data.is_empty()
}

fn typed(proto: &TensorProto, dtype: DType, shape: &[usize], len: usize, limits: &Limits) -> Result<Tensor> {
    check_dense(len.saturating_mul(dtype.size_bytes()), limits)?;
    let (got, bytes): (usize, Vec<u8>) = match dtype {
        DType::F32 | DType::C64 => (proto.float_data.len(), bytemuck::cast_slice(&proto.float_data).to_vec()),
        DType::F64 | DType::C128 => (proto.double_data.len(), bytemuck::cast_slice(&proto.double_data).to_vec()),
        DType::I64 => (proto.int64_data.len(), bytemuck::cast_slice(&proto.int64_data).to_vec()),
        DType::U64 => (proto.uint64_data.len(), bytemuck::cast_slice(&proto.uint64_data).to_vec()),
        DType::U32 => {
            let values = proto.uint64_data.iter().map(|&v| u32::try_from(v).map_err(|_| beyond(dtype, v)));
            (
                proto.uint64_data.len(),
                values.collect::<Result<Vec<_>>>()?.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        }
        _ => {
            let size = dtype.size_bytes();
            let mut bytes = Vec::with_capacity(proto.int32_data.len().saturating_mul(size));
            for &v in &proto.int32_data {
                let v = if dtype == DType::Bool { i32::from(v != 0) } else { narrow(dtype, v)? };
                bytes.extend_from_slice(&v.to_le_bytes()[..size]);
            }
            (proto.int32_data.len(), bytes)
        }
    };
    let want = match dtype.class() {
        Class::Complex => len * 2,
        _ if dtype.bits() < 8 => (len * dtype.bits()).div_ceil(8),
        _ => len,
    };
    if got != want {
        return Err(wrong_count(dtype, shape, got, "values"));
    }
    if dtype.bits() < 8 {
        return unpack(dtype, shape, len, &bytes);
    }
    Tensor::from_aligned(dtype, shape, AlignedBytes::copy_of(&bytes))
}

fn beyond(dtype: DType, v: impl std::fmt::Display) -> Error {
    Error::invalid(format!("value {v} is beyond the range of {dtype}"))
}

/// An `int32_data` entry as the bits of an element (for packed kinds: of a byte full of them).
fn narrow(dtype: DType, v: i32) -> Result<i32> {
    let (lo, hi) = match dtype.class() {
        Class::Signed if dtype.bits() >= 8 => dtype.int_range().expect("a signed kind has a range"),
        // Bit patterns; some writers sign-extend them.
        _ => (-(1i128 << (dtype.size_bytes() * 8 - 1)), (1i128 << (dtype.size_bytes() * 8)) - 1),
    };
    if (lo..=hi).contains(&i128::from(v)) { Ok(v) } else { Err(beyond(dtype, v)) }
}

/// Reads a sparse tensor as a dense one.
///
/// # Errors
/// When indices are out of range or unsorted, values and indices differ in number, or the dense form is over the limit.
pub fn from_sparse(proto: &SparseTensorProto, external: &External, limits: &Limits) -> Result<Tensor> {
    let name = proto.values.as_ref().map_or("", |v| v.name()).to_owned();
    read_sparse(proto, external, limits).map_err(|e| e.at(format!("sparse tensor `{name}`")))
}

fn read_sparse(proto: &SparseTensorProto, external: &External, limits: &Limits) -> Result<Tensor> {
    let missing = |what: &str| Error::invalid(format!("a sparse tensor without {what}"));
    let values = from_proto(proto.values.as_ref().ok_or_else(|| missing("values"))?, external, limits)?;
    let shape = shape_of(&proto.dims)?;
    let len = tensor::len_elems(&shape)?;
    check_dense(len.saturating_mul(values.dtype().size_bytes().max(16)), limits)?;
    let indices = match &proto.indices {
        Some(indices) => from_proto(indices, external, limits)?,
        None if values.is_empty() => Tensor::from_slice::<i64>(&[0], &[]),
        None => return Err(missing("indices")),
    };
    let positions = match *indices.shape() {
        [n] if n == values.len() => indices.to_i64s()?,
        [n, rank] if n == values.len() && rank == shape.len() && rank > 0 => {
            let flat = indices.to_i64s()?;
            flat.chunks(rank).map(|index| linear(index, &shape)).collect::<Result<_>>()?
        }
        ref other => {
            return Err(Error::invalid(format!("indices of shape {other:?} for {} values of {shape:?}", values.len())));
        }
    };
    let mut dense = Tensor::zeros(values.dtype(), &shape)?;
    let mut write = TensorWriter::new(&mut dense);
    let mut previous = -1;
    for (i, &at) in positions.iter().enumerate() {
        if at <= previous || at as usize >= len {
            return Err(Error::invalid(format!("index {at} after {previous} in a sparse tensor of {len} elements")));
        }
        previous = at;
        write.copy(at as usize, &values, i)?;
    }
    Ok(dense)
}

fn linear(index: &[i64], shape: &[usize]) -> Result<i64> {
    index.iter().zip(shape).try_fold(0i64, |at, (&i, &n)| match usize::try_from(i) {
        Ok(i) if i < n => Ok(at * n as i64 + i as i64),
        _ => Err(Error::invalid(format!("index {index:?} outside a tensor of shape {shape:?}"))),
    })
}

/// Writes a tensor under a name, elements in `raw_data` (strings in `string_data`).
pub fn to_proto(tensor: &Tensor, name: &str) -> TensorProto {
    let mut out = TensorProto {
        name: (!name.is_empty()).then(|| name.to_owned()),
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: Some(tensor.dtype().onnx()),
        ..TensorProto::default()
    };
    match (tensor.strings(), tensor.dtype()) {
        (Ok(strings), _) => out.string_data = strings.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect(),
        (_, dtype) if dtype.bits() < 8 => out.raw_data = Some(num::pack(tensor.bytes(), dtype.bits() as u32).into()),
        _ => out.raw_data = Some(Bytes::copy_from_slice(tensor.bytes())),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::proto::StringStringEntryProto;
    use super::*;

    fn load(proto: &TensorProto) -> Result<Tensor> {
        from_proto(proto, &External::none(), &Limits::default())
    }

    fn proto(dtype: DType, dims: &[i64]) -> TensorProto {
        TensorProto { data_type: Some(dtype.onnx()), dims: dims.to_vec(), ..TensorProto::default() }
    }

    #[test]
    fn every_element_type_survives_the_round_trip() {
        for &dtype in DType::ALL {
            let bytes: Vec<u8> = match dtype {
                DType::String => vec![],
                DType::Bool => vec![1, 0, 1],
                _ if dtype.bits() < 8 => {
                    let i = Tensor::from_ints(if dtype.is_int() { dtype } else { DType::U4 }, &[3], [3, 13, 2]);
                    i.bytes().to_vec()
                }
                _ => (0..dtype.size_bytes() * 3).map(|i| (i as u8).wrapping_mul(37)).collect(),
            };
            let tensor = match dtype {
                DType::String => Tensor::from_strings(&[3], vec!["a".into(), "".into(), "ß".into()]),
                _ => Tensor::from_bytes(dtype, &[3], bytes.into()).unwrap(),
            };
            let file = to_proto(&tensor, "t");
            if dtype.bits() < 8 && dtype != DType::String {
                assert_eq!(file.raw_data.as_ref().unwrap().len(), (3 * dtype.bits()).div_ceil(8));
            }
            assert_eq!(load(&file).unwrap(), tensor, "{dtype}");
        }
    }

    #[test]
    fn packed_kinds_take_low_bits_first() {
        let mut four = proto(DType::I4, &[3]);
        four.raw_data = Some(vec![0x8f, 0x07].into());
        assert_eq!(load(&four).unwrap().ints().unwrap(), [-1, -8, 7]);
        let mut two = proto(DType::U2, &[5]);
        two.int32_data = vec![0b11_10_01_00, 0b10];
        assert_eq!(load(&two).unwrap().ints().unwrap(), [0, 1, 2, 3, 2]);
    }

    #[test]
    fn typed_fields_are_read_and_counted() {
        let mut half = proto(DType::F16, &[2]);
        half.int32_data = vec![0x3c00, 0xbc00];
        assert_eq!(load(&half).unwrap().floats().unwrap(), [1.0, -1.0]);
        let mut bytes = proto(DType::I8, &[2]);
        bytes.int32_data = vec![-128, 127];
        assert_eq!(load(&bytes).unwrap().ints().unwrap(), [-128, 127]);
        bytes.int32_data[1] = 128;
        assert!(load(&bytes).unwrap_err().message().contains("beyond the range of i8"));
        bytes.int32_data.pop();
        assert!(load(&bytes).unwrap_err().message().contains("with 1 values"));
        let mut complex = proto(DType::C64, &[1]);
        complex.float_data = vec![1.0, 2.0];
        assert_eq!(load(&complex).unwrap().complexes().unwrap(), [(1.0, 2.0)]);
        let mut unsigned = proto(DType::U32, &[1]);
        unsigned.uint64_data = vec![u64::from(u32::MAX)];
        assert_eq!(load(&unsigned).unwrap().ints().unwrap(), [i128::from(u32::MAX)]);
        let mut truth = proto(DType::Bool, &[2]);
        truth.raw_data = Some(vec![2, 0].into());
        assert_eq!(load(&truth).unwrap().bytes(), [1, 0]);
    }

    #[test]
    fn hostile_extents_are_refused_before_memory_is_taken() {
        assert!(load(&proto(DType::F32, &[-1])).is_err());
        assert!(load(&proto(DType::F32, &[i64::MAX, i64::MAX])).is_err());
        assert!(load(&proto(DType::F32, &[1 << 40])).is_err());
        assert!(load(&proto(DType::I4, &[1 << 40])).is_err());
        assert!(load(&proto(DType::String, &[1 << 40])).is_err());
        assert!(load(&TensorProto { dims: vec![1], ..TensorProto::default() }).is_err());
        assert!(load(&proto(DType::F32, &[0, i64::MAX])).is_err());
        assert!(load(&proto(DType::F32, &[0, 1 << 40])).unwrap().is_empty());
    }

    #[test]
    fn sparse_becomes_dense() {
        let values = to_proto(&Tensor::from_slice(&[2], &[5.0f32, 7.0]), "w");
        let of = |indices: &Tensor, dims: &[i64]| SparseTensorProto {
            values: Some(values.clone()),
            indices: Some(to_proto(indices, "")),
            dims: dims.to_vec(),
        };
        let load = |p: &SparseTensorProto| from_sparse(p, &External::none(), &Limits::default());
        let dense = Tensor::from_slice(&[2, 3], &[0.0f32, 5.0, 0.0, 0.0, 0.0, 7.0]);
        assert_eq!(load(&of(&Tensor::from_slice(&[2], &[1i64, 5]), &[2, 3])).unwrap(), dense);
        assert_eq!(load(&of(&Tensor::from_slice(&[2, 2], &[0i64, 1, 1, 2]), &[2, 3])).unwrap(), dense);
        for wrong in [[5i64, 1], [1, 6], [-1, 2], [1, 1]] {
            assert!(load(&of(&Tensor::from_slice(&[2], &wrong), &[2, 3])).is_err());
        }
        let big = load(&of(&Tensor::from_slice(&[2], &[1i64, 5]), &[1 << 40])).unwrap_err();
        assert_eq!(big.kind(), crate::error::ErrorKind::Limit);
    }

    #[test]
    fn external_data_is_read_from_beside_the_model() {
        let folder = std::env::temp_dir().join(format!("egret-tensor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("w"), [0u8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
        let entry = |k: &str, v: &str| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
        let mut file = proto(DType::I32, &[2]);
        file.data_location = Some(DataLocation::External.into());
        file.external_data = vec![entry("location", "w"), entry("offset", "4")];
        let tensor = from_proto(&file, &External::in_folder(&folder), &Limits::default()).unwrap();
        assert_eq!(tensor.ints().unwrap(), [1, 2]);
        file.external_data.push(entry("length", "4"));
        assert!(from_proto(&file, &External::in_folder(&folder), &Limits::default()).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
