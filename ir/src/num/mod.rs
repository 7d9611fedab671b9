//! Numbers narrower than Rust's own: 8-bit and 4-bit floats, halves from doubles, integers of 2 and 4 bits.
//!
//! Every narrow float is a [`Format`]: exponent and mantissa widths, bias, greatest finite code and special codes. One
//! encoder rounds a double to nearest, ties to even, in a single step (a detour through `f32` would round twice), and
//! one decoder inverts it. Casts follow the tables of ONNX `Cast` (opset 24 and later): `saturate` maps overflow and
//! infinities to the greatest finite value; without it they become infinity, or NaN where the format has none.
//! Scale bytes of type f8e8m0 have no sign, no zero and no mantissa, so they have functions of their own
//! ([`e8m0_from_f32`]).
//!
//! What the standard leaves open is settled as in `ml_dtypes`, on which ONNX's reference is built: a NaN becomes
//! negative zero in f4e2m1, which has no NaN and always saturates; a NaN keeps its sign where the format has two.
//!
//! Sources: ONNX operators `Cast` and `QuantizeLinear`; ONNX "Float stored in 8 bits" and "Float stored in 4 bits"; OCP
//! 8-bit Floating Point Specification 1.0; OCP Microscaling Formats 1.0; Noune et al. 2022 (the `fnuz` formats).

mod packed;
mod scale;
#[cfg(test)]
mod tests;

pub use packed::{TooShort, pack, saturate_int, sign_extend, unpack, wrap_int};
pub use scale::{RoundMode, e8m0_from_f32, e8m0_from_f64, e8m0_to_f32};

use half::{bf16, f16};

use crate::dtype::DType;

/// A sign-magnitude binary float of at most 16 bits.
///
/// Codes are `sign | exponent | mantissa`. A zero exponent field is subnormal; the greatest exponent field is ordinary
/// except for the codes above `max_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Width of the mantissa field in bits.
    pub mantissa_bits: u32,
    /// Width of the exponent field in bits.
    pub exponent_bits: u32,
    /// Exponent field of 1.0.
    pub bias: i32,
    /// Code of the greatest finite value.
    pub max_code: u16,
    /// Code of infinity, where there is one.
    pub infinity: Option<u16>,
    /// Codes that are not numbers.
    pub nan: Nan,
}

/// How a format writes what is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nan {
    /// Codes above infinity (or above the greatest value) under either sign; this one is written.
    Signed(u16),
    /// The code that would be negative zero; zero has no sign.
    NegativeZero,
    /// No code; negative zero is written.
    Absent,
}

/// `float8e4m3fn`: finite up to 448, NaN, no infinity.
pub const F8E4M3FN: Format =
    Format { mantissa_bits: 3, exponent_bits: 4, bias: 7, max_code: 0x7e, infinity: None, nan: Nan::Signed(0x7f) };

/// `float8e4m3fnuz`: finite up to 240, one NaN, no infinity, no negative zero.
pub const F8E4M3FNUZ: Format =
    Format { mantissa_bits: 3, exponent_bits: 4, bias: 8, max_code: 0x7f, infinity: None, nan: Nan::NegativeZero };

/// `float8e5m2`: finite up to 57344, infinities and NaNs as in IEEE formats.
pub const F8E5M2: Format = Format {
    mantissa_bits: 2,
    exponent_bits: 5,
    bias: 15,
    max_code: 0x7b,
    infinity: Some(0x7c),
    nan: Nan::Signed(0x7e),
};

/// `float8e5m2fnuz`: finite up to 57344, one NaN, no infinity, no negative zero.
pub const F8E5M2FNUZ: Format =
    Format { mantissa_bits: 2, exponent_bits: 5, bias: 16, max_code: 0x7f, infinity: None, nan: Nan::NegativeZero };

/// `float4e2m1`: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; neither NaN nor infinity.
pub const F4E2M1: Format =
    Format { mantissa_bits: 1, exponent_bits: 2, bias: 1, max_code: 0x7, infinity: None, nan: Nan::Absent };

/// IEEE binary16.
pub const F16: Format = Format {
    mantissa_bits: 10,
    exponent_bits: 5,
    bias: 15,
    max_code: 0x7bff,
    infinity: Some(0x7c00),
    nan: Nan::Signed(0x7e00),
};

/// bfloat16.
pub const BF16: Format = Format {
    mantissa_bits: 7,
    exponent_bits: 8,
    bias: 127,
    max_code: 0x7f7f,
    infinity: Some(0x7f80),
    nan: Nan::Signed(0x7fc0),
};

impl Format {
    /// The format of a sign-magnitude float type of at most 16 bits.
    pub const fn of(dtype: DType) -> Option<Format> {
        match dtype {
            DType::F8E4M3FN => Some(F8E4M3FN),
            DType::F8E4M3FNUZ => Some(F8E4M3FNUZ),
            DType::F8E5M2 => Some(F8E5M2),
            DType::F8E5M2FNUZ => Some(F8E5M2FNUZ),
            DType::F4E2M1 => Some(F4E2M1),
            DType::F16 => Some(F16),
            DType::BF16 => Some(BF16),
            _ => None,
        }
    }

    /// The sign bit of a code.
    const fn sign(&self) -> u16 {
        1 << (self.mantissa_bits + self.exponent_bits)
    }

    /// The code nearest to `x`, ties to even. Past the greatest value (after rounding) and at infinities the result is
    /// the greatest finite code if `saturate`, else infinity or NaN; a format with neither always saturates.
    pub fn from_f64(&self, x: f64, saturate: bool) -> u16 {
        self.encode(x.is_sign_negative(), x.abs(), saturate)
    }

    /// [`Format::from_f64`] for a single; keeps the sign of a NaN.
    pub fn from_f32(&self, x: f32, saturate: bool) -> u16 {
        self.encode(x.is_sign_negative(), f64::from(x.abs()), saturate)
    }

    fn encode(&self, negative: bool, magnitude: f64, saturate: bool) -> u16 {
        let sign = if negative { self.sign() } else { 0 };
        if magnitude.is_nan() {
            return match self.nan {
                Nan::Signed(code) => sign | code,
                Nan::NegativeZero | Nan::Absent => self.sign(),
            };
        }
        let code = if magnitude.is_finite() { self.rounded(magnitude) } else { u16::MAX };
        if code <= self.max_code {
            // Where negative zero is NaN, a negative number that rounds to zero is plain zero.
            return if code == 0 && self.nan == Nan::NegativeZero { 0 } else { sign | code };
        }
        match (saturate, self.infinity, self.nan) {
            (false, Some(infinity), _) => sign | infinity,
            (false, None, Nan::Signed(nan)) => sign | nan,
            (false, None, Nan::NegativeZero) => self.sign(),
            (true, ..) | (false, None, Nan::Absent) => sign | self.max_code,
        }
    }

    /// The code of a finite magnitude if exponents had no end; `u16::MAX` for all past the code space.
    ///
    /// The mantissa counts units of the last place, and codes of one sign are consecutive in value, so a carry out of
    /// the mantissa moves to the next exponent by itself.
    fn rounded(&self, magnitude: f64) -> u16 {
        let least = 1 - self.bias;
        // Doubles below 2^-1022 have a zero field; they are far below every format's least exponent.
        let field = i32::try_from(magnitude.to_bits() >> 52).expect("eleven bits fit");
        let exponent = (field - 1023).max(least);
        let unit = exponent - self.mantissa_bits.cast_signed();
        if exponent - least > 1 << self.exponent_bits {
            return u16::MAX;
        }
        // Exact: a power of two, and results below the normal doubles round to zero anyway.
        let units = (magnitude * power_of_two(-unit)).round_ties_even();
        // `units` is at most 2^(mantissa_bits + 1), the exponent at most 2^exponent_bits: 17 bits.
        let code = units as u32 + ((exponent - least).cast_unsigned() << self.mantissa_bits);
        u16::try_from(code).unwrap_or(u16::MAX)
    }

    /// The value of a code, exactly; bits above the format's width are ignored.
    pub fn to_f32(&self, code: u16) -> f32 {
        let negative = code & self.sign() != 0;
        let magnitude = code & (self.sign() - 1);
        let signed = |x: f32| if negative { -x } else { x };
        if self.nan == Nan::NegativeZero && negative && magnitude == 0 {
            return f32::NAN;
        }
        if Some(magnitude) == self.infinity {
            return signed(f32::INFINITY);
        }
        if magnitude > self.max_code {
            return signed(f32::NAN);
        }
        let field = i32::from(magnitude >> self.mantissa_bits);
        let fraction = magnitude & ((1 << self.mantissa_bits) - 1);
        let units = if field == 0 { fraction } else { fraction | (1 << self.mantissa_bits) };
        let unit = field.max(1) - self.bias - self.mantissa_bits.cast_signed();
        // In doubles, since 2^unit may be below the normal singles; the product fits a single exactly.
        signed((f64::from(units) * power_of_two(unit)) as f32)
    }

    /// The greatest finite value.
    pub fn max(&self) -> f32 {
        self.to_f32(self.max_code)
    }
}

/// `2^exponent` for `-1022 <= exponent <= 1023`.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::from((exponent + 1023).cast_unsigned()) << 52)
}

/// One byte formats by name: `from_f32(x, saturate)` and `to_f32(code)`.
macro_rules! bytes {
    ($($(#[$doc:meta])* $from:ident $to:ident $format:ident;)*) => { $(
        $(#[$doc])*
        pub fn $from(x: f32, saturate: bool) -> u8 {
            // The format's codes are at most eight bits wide.
            $format.from_f32(x, saturate) as u8
        }

        /// The value of a code, exactly.
        pub fn $to(code: u8) -> f32 {
            $format.to_f32(code.into())
        }
    )* };
}

bytes! {
    /// Rounds to `float8e4m3fn`.
    f8e4m3fn_from_f32 f8e4m3fn_to_f32 F8E4M3FN;
    /// Rounds to `float8e4m3fnuz`.
    f8e4m3fnuz_from_f32 f8e4m3fnuz_to_f32 F8E4M3FNUZ;
    /// Rounds to `float8e5m2`.
    f8e5m2_from_f32 f8e5m2_to_f32 F8E5M2;
    /// Rounds to `float8e5m2fnuz`.
    f8e5m2fnuz_from_f32 f8e5m2fnuz_to_f32 F8E5M2FNUZ;
    /// Rounds to `float4e2m1`, in the low nibble; saturates in any case.
    f4e2m1_from_f32 f4e2m1_to_f32 F4E2M1;
}

/// The number that a code of an 8-bit or 4-bit float type stands for; NaN for other types.
pub fn decode(dtype: DType, code: u8) -> f32 {
    match (dtype, Format::of(dtype)) {
        (DType::F8E8M0, _) => e8m0_to_f32(code),
        (_, Some(format)) if dtype.bits() <= 8 => format.to_f32(code.into()),
        _ => f32::NAN,
    }
}

/// The code of an 8-bit or 4-bit float type for a number, by the rules of [`Format::from_f64`]; `f8e8m0` rounds up,
/// as `Cast` does unless told otherwise. Zero for other types.
pub fn encode(dtype: DType, x: impl Into<f64>, saturate: bool) -> u8 {
    let x = x.into();
    match (dtype, Format::of(dtype)) {
        (DType::F8E8M0, _) => e8m0_from_f64(x, saturate, RoundMode::Up),
        // The format's codes are at most eight bits wide.
        (_, Some(format)) if dtype.bits() <= 8 => format.from_f64(x, saturate) as u8,
        _ => 0,
    }
}

/// The number that the code of a float type of at most 32 bits stands for; NaN for other types.
pub fn to_f32(dtype: DType, code: u32) -> f32 {
    match dtype {
        DType::F32 => f32::from_bits(code),
        // A code is as wide as its type.
        DType::F16 => f16::from_bits(code as u16).to_f32(),
        DType::BF16 => bf16::from_bits(code as u16).to_f32(),
        _ => decode(dtype, code as u8),
    }
}

/// The code of a float type of at most 32 bits for a number, to nearest, ties to even ([`encode`] for the narrow ones);
/// zero for other types.
pub fn from_f32(dtype: DType, x: f32, saturate: bool) -> u32 {
    match dtype {
        DType::F32 => x.to_bits(),
        DType::F16 => f16::from_f32(x).to_bits().into(),
        DType::BF16 => bf16::from_f32(x).to_bits().into(),
        _ => encode(dtype, x, saturate).into(),
    }
}

/// `x` rounded to a float type; as it is for `f32` and wider.
pub fn round(dtype: DType, x: f32, saturate: bool) -> f32 {
    match dtype {
        DType::F32 | DType::F64 => x,
        _ => to_f32(dtype, from_f32(dtype, x, saturate)),
    }
}

/// Rounds a double to binary16 once, ties to even; past 65504 (after rounding) it is infinity.
pub fn f16_from_f64(x: f64) -> f16 {
    f16::from_bits(F16.from_f64(x, false))
}

/// Rounds a double to bfloat16 once, ties to even; past the greatest value (after rounding) it is infinity.
pub fn bf16_from_f64(x: f64) -> bf16 {
    bf16::from_bits(BF16.from_f64(x, false))
}
