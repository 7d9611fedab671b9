//! Elements in memory: floats of at most 32 bits to and from the `f32` that carries them (by [`num`]), integers to and
//! from `i64`.

use super::scalar::{Register, Scalar, register, wrap};
use crate::{DType, num};

/// Whether loops handle elements of this type.
pub fn is_supported(dtype: DType) -> bool {
    register(dtype).is_some()
}

/// The element at the start of `bytes` (little endian).
pub fn read(dtype: DType, bytes: &[u8]) -> Scalar {
    let mut raw = [0; 8];
    let size = dtype.size_bytes().min(8);
    raw[..size].copy_from_slice(&bytes[..size]);
    let bits = u64::from_le_bytes(raw);
    match register(dtype) {
        Some(Register::F64) => Scalar::F64(f64::from_bits(bits)),
        // Registers of `f32` carry types of at most 32 bits.
        Some(Register::F32) => Scalar::F32(num::to_f32(dtype, bits as u32)),
        _ => Scalar::Int(wrap(dtype, bits as i64)),
    }
}

/// Writes an element of type `dtype`, already rounded to it, to the start of `bytes`.
pub fn write(dtype: DType, value: Scalar, bytes: &mut [u8]) {
    let bits = match value {
        Scalar::F64(v) => v.to_bits(),
        Scalar::F32(v) => num::from_f32(dtype, v, false).into(),
        Scalar::Int(v) => v as u64,
    };
    let size = dtype.size_bytes().min(8);
    bytes[..size].copy_from_slice(&bits.to_le_bytes()[..size]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_survive_memory() {
        for &t in DType::ALL {
            if !is_supported(t) {
                continue;
            }
            let v = match register(t) {
                Some(Register::F32) if t == DType::F8E8M0 => Scalar::F32(2.0),
                Some(Register::F32) => Scalar::F32(1.5),
                Some(Register::F64) => Scalar::F64(1.5),
                _ => Scalar::Int(1),
            };
            let mut bytes = [0; 8];
            write(t, v, &mut bytes);
            assert_eq!(read(t, &bytes), v, "{t}");
        }
        let mut bytes = [0; 8];
        write(DType::I8, Scalar::Int(-3), &mut bytes);
        assert_eq!(read(DType::I8, &bytes), Scalar::Int(-3));
    }
}
