//! Element types: everything that ONNX's `TensorProto.DataType` names.
//!
//! Two- and four-bit kinds are *stored* one element a byte in memory (a tensor is then indexable like any other) and
//! are packed only where they meet a file. Source: onnx.proto, `TensorProto.DataType`.

use std::fmt;
use std::str::FromStr;

/// How the numbers of an element type behave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// IEEE-like floating point, narrow formats included.
    Float,
    /// Two's-complement integers.
    Signed,
    /// Unsigned integers.
    Unsigned,
    /// `false` and `true`, stored as 0 and 1.
    Bool,
    /// UTF-8 text.
    String,
    /// A pair of floats, real part first.
    Complex,
}

macro_rules! dtypes {
    ($( $(#[$doc:meta])* $variant:ident = $onnx:literal, $name:literal, $bytes:literal, $bits:literal, $class:ident; )*) => {
        /// The type of a tensor's elements.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum DType { $( $(#[$doc])* $variant, )* }

        impl DType {
            /// Every element type, in declaration order.
            pub const ALL: &'static [DType] = &[$(DType::$variant),*];

            /// The name in IR text: `f32`, `i64`, `f8e4m3fn`…
            pub const fn name(self) -> &'static str { match self { $(DType::$variant => $name),* } }

            /// The number in ONNX's `TensorProto.DataType`.
            pub const fn onnx(self) -> i32 { match self { $(DType::$variant => $onnx),* } }

            /// Bytes that one element takes in memory; 0 for strings, which live apart.
            pub const fn size_bytes(self) -> usize { match self { $(DType::$variant => $bytes),* } }

            /// Bits that one element takes in a packed file; 0 for strings.
            pub const fn bits(self) -> usize { match self { $(DType::$variant => $bits),* } }

            /// How its numbers behave.
            pub const fn class(self) -> Class { match self { $(DType::$variant => Class::$class),* } }

            /// The inverse of [`DType::onnx`].
            pub const fn from_onnx(code: i32) -> Option<DType> {
                match code { $($onnx => Some(DType::$variant),)* _ => None }
            }
        }

        impl FromStr for DType {
            type Err = UnknownDType;
            fn from_str(text: &str) -> Result<DType, UnknownDType> {
                match text { $($name => Ok(DType::$variant),)* _ => Err(UnknownDType(text.to_owned())) }
            }
        }
    };
}

dtypes! {
    /// IEEE binary32.
    F32 = 1, "f32", 4, 32, Float;
    /// IEEE binary64.
    F64 = 11, "f64", 8, 64, Float;
    /// IEEE binary16.
    F16 = 10, "f16", 2, 16, Float;
    /// bfloat16: binary32 with 16 bits of mantissa cut off.
    BF16 = 16, "bf16", 2, 16, Float;
    /// 4 exponent and 3 mantissa bits, finite and NaN only.
    F8E4M3FN = 17, "f8e4m3fn", 1, 8, Float;
    /// As `f8e4m3fn`, with one zero and one NaN (0x80).
    F8E4M3FNUZ = 18, "f8e4m3fnuz", 1, 8, Float;
    /// 5 exponent and 2 mantissa bits, IEEE-like with infinities.
    F8E5M2 = 19, "f8e5m2", 1, 8, Float;
    /// As `f8e5m2`, with one zero, no infinities and one NaN (0x80).
    F8E5M2FNUZ = 20, "f8e5m2fnuz", 1, 8, Float;
    /// An exponent alone (a power of two, no sign, no zero): block scales of the microscaling formats.
    F8E8M0 = 24, "f8e8m0", 1, 8, Float;
    /// 2 exponent and 1 mantissa bits.
    F4E2M1 = 23, "f4e2m1", 1, 4, Float;
    /// Signed, 2 bits.
    I2 = 26, "i2", 1, 2, Signed;
    /// Signed, 4 bits.
    I4 = 22, "i4", 1, 4, Signed;
    /// Signed, 8 bits.
    I8 = 3, "i8", 1, 8, Signed;
    /// Signed, 16 bits.
    I16 = 5, "i16", 2, 16, Signed;
    /// Signed, 32 bits.
    I32 = 6, "i32", 4, 32, Signed;
    /// Signed, 64 bits.
    I64 = 7, "i64", 8, 64, Signed;
    /// Unsigned, 2 bits.
    U2 = 25, "u2", 1, 2, Unsigned;
    /// Unsigned, 4 bits.
    U4 = 21, "u4", 1, 4, Unsigned;
    /// Unsigned, 8 bits.
    U8 = 2, "u8", 1, 8, Unsigned;
    /// Unsigned, 16 bits.
    U16 = 4, "u16", 2, 16, Unsigned;
    /// Unsigned, 32 bits.
    U32 = 12, "u32", 4, 32, Unsigned;
    /// Unsigned, 64 bits.
    U64 = 13, "u64", 8, 64, Unsigned;
    /// A truth value, one byte.
    Bool = 9, "bool", 1, 8, Bool;
    /// UTF-8 text.
    String = 8, "string", 0, 0, String;
    /// Two `f32`: real, imaginary.
    C64 = 14, "c64", 8, 64, Complex;
    /// Two `f64`: real, imaginary.
    C128 = 15, "c128", 16, 128, Complex;
}

impl DType {
    /// Whether it is a floating-point kind.
    pub fn is_float(self) -> bool {
        self.class() == Class::Float
    }

    /// Whether it is an integer kind (bool is none).
    pub fn is_int(self) -> bool {
        matches!(self.class(), Class::Signed | Class::Unsigned)
    }

    /// Whether arithmetic is defined on it: a float or an integer kind.
    pub fn is_number(self) -> bool {
        self.is_float() || self.is_int()
    }

    /// Smallest and largest value of an integer kind.
    pub fn int_range(self) -> Option<(i128, i128)> {
        let bits = self.bits() as u32;
        match self.class() {
            Class::Signed => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
            Class::Unsigned => Some((0, (1i128 << bits) - 1)),
            _ => None,
        }
    }

    /// Unit roundoff of a floating kind: half the distance from 1 to the next number above it.
    pub fn unit_roundoff(self) -> Option<f64> {
        let mantissa_bits = match self {
            DType::F64 => 53,
            DType::F32 => 24,
            DType::F16 => 11,
            DType::BF16 => 8,
            DType::F8E4M3FN | DType::F8E4M3FNUZ => 4,
            DType::F8E5M2 | DType::F8E5M2FNUZ => 3,
            DType::F4E2M1 => 2,
            DType::F8E8M0 => 1,
            _ => return None,
        };
        Some(0.5f64.powi(mantissa_bits))
    }
}

/// A text that names no element type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no element type")]
pub struct UnknownDType(pub String);

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_onnx_codes_round_trip() {
        for &t in DType::ALL {
            assert_eq!(t.name().parse(), Ok(t));
            assert_eq!(DType::from_onnx(t.onnx()), Some(t));
        }
        assert_eq!(DType::from_onnx(0), None);
    }

    #[test]
    fn ranges_follow_width() {
        assert_eq!(DType::I4.int_range(), Some((-8, 7)));
        assert_eq!(DType::U64.int_range(), Some((0, u64::MAX as i128)));
        assert_eq!(DType::F32.int_range(), None);
    }
}
