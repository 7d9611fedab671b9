//! Narrow float formats: codes of at most eight bits to and from `f32`. Source: ONNX, "Float stored in 8 bits" and
//! "Float stored in 4 bits"; OCP microscaling formats 1.0.

use crate::dtype::DType;

struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    has_infinity: bool,
    /// No negative zero: code 0x80 is the only NaN.
    unsigned_zero: bool,
}

fn format(dtype: DType) -> Option<Format> {
    let (exponent_bits, mantissa_bits, bias, has_infinity, unsigned_zero) = match dtype {
        DType::F8E4M3FN => (4, 3, 7, false, false),
        DType::F8E4M3FNUZ => (4, 3, 8, false, true),
        DType::F8E5M2 => (5, 2, 15, true, false),
        DType::F8E5M2FNUZ => (5, 2, 16, false, true),
        DType::F4E2M1 => (2, 1, 1, false, false),
        _ => return None,
    };
    Some(Format { exponent_bits, mantissa_bits, bias, has_infinity, unsigned_zero })
}

/// The number that a code of a narrow float type stands for; NaN for other types.
pub fn decode(dtype: DType, code: u8) -> f32 {
    if dtype == DType::F8E8M0 {
        return if code == 0xFF { f32::NAN } else { 2f64.powi(i32::from(code) - 127) as f32 };
    }
    let Some(f) = format(dtype) else { return f32::NAN };
    let sign_bit = 1u8 << (f.exponent_bits + f.mantissa_bits);
    let negative = code & sign_bit != 0;
    let magnitude = u32::from(code & (sign_bit - 1));
    let mantissa_mask = (1u32 << f.mantissa_bits) - 1;
    let (exponent, mantissa) = (magnitude >> f.mantissa_bits, magnitude & mantissa_mask);
    let top = (1u32 << f.exponent_bits) - 1;
    if f.unsigned_zero && negative && magnitude == 0 {
        return f32::NAN;
    }
    if f.has_infinity && exponent == top {
        return match (mantissa, negative) {
            (0, false) => f32::INFINITY,
            (0, true) => f32::NEG_INFINITY,
            _ => f32::NAN,
        };
    }
    if dtype == DType::F8E4M3FN && exponent == top && mantissa == mantissa_mask {
        return f32::NAN;
    }
    let scale = 0.5f32.powi(f.mantissa_bits as i32);
    let value = if exponent == 0 {
        mantissa as f32 * scale * 2f32.powi(1 - f.bias)
    } else {
        (1.0 + mantissa as f32 * scale) * 2f32.powi(exponent as i32 - f.bias)
    };
    if negative { -value } else { value }
}

/// Rounds to the nearest code, ties to even. Beyond the largest number: the largest with `saturate`, else infinity
/// or, where the format has none, NaN. `f4e2m1` always saturates.
pub fn encode(dtype: DType, x: f32, saturate: bool) -> u8 {
    if dtype == DType::F8E8M0 {
        return encode_e8m0(x, saturate);
    }
    let Some(f) = format(dtype) else { return 0 };
    let sign_bit = 1u8 << (f.exponent_bits + f.mantissa_bits);
    let nan = match dtype {
        DType::F8E4M3FN | DType::F8E5M2 => sign_bit - 1,
        DType::F4E2M1 => sign_bit - 1,
        _ => 0x80,
    };
    if x.is_nan() {
        return nan;
    }
    let sign = if x.is_sign_negative() { sign_bit } else { 0 };
    let largest = (0..sign_bit).rev().find(|&c| decode(dtype, c).is_finite()).expect("zero is finite");
    let max = decode(dtype, largest);
    let size = x.abs();
    // Halfway to the number that would follow the largest, which overflows by round-to-even.
    let step = max - decode(dtype, largest - 1);
    let overflow = max + step / 2.0;
    if size > overflow || (size == overflow && largest & 1 == 1) || (size.is_infinite()) {
        return match (saturate || dtype == DType::F4E2M1, f.has_infinity) {
            (true, _) => sign | largest,
            (false, true) => sign | (largest + 1),
            (false, false) => sign | nan,
        };
    }
    let above = (0..largest).find(|&c| decode(dtype, c) >= size).unwrap_or(largest);
    let code = if above == 0 || decode(dtype, above) == size {
        above
    } else {
        let (low, high) = (decode(dtype, above - 1), decode(dtype, above));
        match (size - low).partial_cmp(&(high - size)).expect("finite") {
            std::cmp::Ordering::Less => above - 1,
            std::cmp::Ordering::Greater => above,
            std::cmp::Ordering::Equal => above & !1,
        }
    };
    if f.unsigned_zero && code == 0 { 0 } else { sign | code }
}

fn encode_e8m0(x: f32, saturate: bool) -> u8 {
    if x.is_nan() || (x.is_infinite() && !saturate) {
        return 0xFF;
    }
    let exponent = f64::from(x.abs().max(f32::MIN_POSITIVE / 2.0)).log2().round();
    (exponent + 127.0).clamp(0.0, 254.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_code_encodes_to_itself() {
        for dtype in [DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ, DType::F8E8M0] {
            for code in 0..=255u8 {
                let v = decode(dtype, code);
                if v.is_finite() {
                    assert_eq!(encode(dtype, v, true), code, "{dtype} {code:#x} {v}");
                }
            }
        }
    }
}
