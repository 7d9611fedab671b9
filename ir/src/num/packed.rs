//! Integers of few bits: range reduction, and the packing of 2-bit and 4-bit elements in ONNX tensors.
//!
//! In memory each element has a byte of its own (sign-extended for signed types). In `raw_data` and `int32_data`
//! elements fill bytes from the low bits up: two nibbles (element 0 is the low one) or four crumbs a byte; the last
//! byte is padded with zeros.
//! Source: `TensorProto` in onnx.proto, ONNX "4 bit integer types" and "2 bit integer types".

/// Packed data with fewer elements than its shape asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len_elems} elements of {bits} bits need {wanted_bytes} bytes, found {found_bytes}")]
pub struct TooShort {
    /// Elements asked for.
    pub len_elems: usize,
    /// Width of an element.
    pub bits: u32,
    /// Bytes these take.
    pub wanted_bytes: usize,
    /// Bytes given.
    pub found_bytes: usize,
}

/// Keeps the low `bits` (1 to 63) of a number and reads them as two's complement if `signed`: ONNX `Cast` between
/// integers.
pub fn wrap_int(value: i64, bits: u32, signed: bool) -> i64 {
    debug_assert!((1..64).contains(&bits), "a width below a word");
    let shift = 64 - bits;
    if signed { value << shift >> shift } else { ((value.cast_unsigned() << shift) >> shift).cast_signed() }
}

/// The nearest number that `bits` (1 to 63) hold: `QuantizeLinear`'s clipping.
pub fn saturate_int(value: i64, bits: u32, signed: bool) -> i64 {
    debug_assert!((1..64).contains(&bits), "a width below a word");
    match signed {
        true => value.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => value.clamp(0, (1_i64 << bits) - 1),
    }
}

/// The byte of a signed element whose low `bits` (1 to 8) are given.
pub fn sign_extend(code: u8, bits: u32) -> u8 {
    let shift = 8 - bits;
    ((code << shift).cast_signed() >> shift).cast_unsigned()
}

/// Packs the low `bits` (2 or 4) of each byte, first element lowest.
pub fn pack(elems: &[u8], bits: u32) -> Vec<u8> {
    debug_assert!(bits == 2 || bits == 4, "widths that ONNX packs");
    let mask = (1_u8 << bits) - 1;
    let byte = |group: &[u8]| group.iter().rev().fold(0, |packed, elem| (packed << bits) | (elem & mask));
    elems.chunks(8 / bits as usize).map(byte).collect()
}

/// The first `len_elems` elements of `bits` (2 or 4), each in a byte, sign-extended if `signed`. Bytes past the last
/// element are ignored.
pub fn unpack(bytes: &[u8], len_elems: usize, bits: u32, signed: bool) -> Result<Vec<u8>, TooShort> {
    debug_assert!(bits == 2 || bits == 4, "widths that ONNX packs");
    let a_byte = 8 / bits as usize;
    let wanted_bytes = len_elems.div_ceil(a_byte);
    if bytes.len() < wanted_bytes {
        return Err(TooShort { len_elems, bits, wanted_bytes, found_bytes: bytes.len() });
    }
    let mask = (1_u8 << bits) - 1;
    let elem = |i: usize| {
        let code = bytes[i / a_byte] >> ((i % a_byte) as u32 * bits) & mask;
        if signed { sign_extend(code, bits) } else { code }
    };
    Ok((0..len_elems).map(elem).collect())
}
