//! Single values: what every operation of the loop IR means.
//!
//! A value is kept in one of three registers: `f32` (also for the narrower floats, whose values it holds exactly), `f64`,
//! and a 64-bit integer normalised to the range of its type (`u64` keeps its bits). Each operation is calculated in the
//! register and rounded to its own type, so `f16 + f16` is the `f32` sum rounded to `f16`. Transcendental functions of
//! `f32` are calculated in `f64` and rounded once: they are the yardstick for the compiled polynomials.

use super::expr::{BinOp, CmpOp, ReduceOp, UnOp};
use super::special;
use crate::{DType, num};

/// One value in its register.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `f32` and all narrower floats.
    F32(f32),
    /// `f64`.
    F64(f64),
    /// Integers and truth values; the bits of a `u64`.
    Int(i64),
}

/// The register that holds values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// An integer.
    Int,
}

/// The register of `dtype`; `None` for strings and complex numbers, which loops do not handle.
pub fn register(dtype: DType) -> Option<Register> {
    match dtype {
        DType::F64 => Some(Register::F64),
        DType::String | DType::C64 | DType::C128 => None,
        t if t.is_float() => Some(Register::F32),
        _ => Some(Register::Int),
    }
}

impl Scalar {
    /// The bits of the register, to hash and compare by.
    pub fn to_bits(self) -> u64 {
        match self {
            Scalar::F32(v) => u64::from(v.to_bits()),
            Scalar::F64(v) => v.to_bits(),
            Scalar::Int(v) => v as u64,
        }
    }

    /// The inverse of [`Scalar::to_bits`] for a value of type `dtype`.
    pub fn from_bits(dtype: DType, bits: u64) -> Scalar {
        match register(dtype) {
            Some(Register::F32) => Scalar::F32(f32::from_bits(bits as u32)),
            Some(Register::F64) => Scalar::F64(f64::from_bits(bits)),
            _ => Scalar::Int(bits as i64),
        }
    }

    /// As `f64`; the bits of a `u64` are read as signed.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::F32(v) => f64::from(v),
            Scalar::F64(v) => v,
            Scalar::Int(v) => v as f64,
        }
    }

    /// As an integer; floats are truncated.
    pub fn as_int(self) -> i64 {
        match self {
            Scalar::F32(v) => v as i64,
            Scalar::F64(v) => v as i64,
            Scalar::Int(v) => v,
        }
    }

    /// Whether it is not zero (NaN is true).
    pub fn is_true(self) -> bool {
        match self {
            Scalar::F32(v) => v != 0.0,
            Scalar::F64(v) => v != 0.0,
            Scalar::Int(v) => v != 0,
        }
    }

    /// Whether it is a NaN.
    pub fn is_nan(self) -> bool {
        match self {
            Scalar::F32(v) => v.is_nan(),
            Scalar::F64(v) => v.is_nan(),
            Scalar::Int(_) => false,
        }
    }
}

/// `v` reduced to the range of an integer type (`bool`: 0 or 1), as memory of that width would.
pub fn wrap(dtype: DType, v: i64) -> i64 {
    match dtype {
        DType::Bool => i64::from(v != 0),
        DType::I64 | DType::U64 => v,
        t => {
            let unused = 64 - t.bits() as u32;
            match t.class() {
                crate::Class::Unsigned => ((v << unused) as u64 >> unused) as i64,
                _ => (v << unused) >> unused,
            }
        }
    }
}

fn unsigned64(dtype: DType) -> bool {
    dtype == DType::U64
}

/// A float result of type `dtype` from its `f32` calculation.
fn f32_result(dtype: DType, v: f32) -> Scalar {
    Scalar::F32(num::round(dtype, v, false))
}

/// `op(a)`, all of type `dtype` ([`UnOp::IsNan`] and [`UnOp::IsInf`] give 0 or 1).
pub fn unary(op: UnOp, dtype: DType, a: Scalar) -> Scalar {
    match a {
        Scalar::Int(v) => Scalar::Int(match op {
            UnOp::Neg => wrap(dtype, v.wrapping_neg()),
            UnOp::Abs if unsigned64(dtype) => v,
            UnOp::Abs => wrap(dtype, v.wrapping_abs()),
            UnOp::Sign if unsigned64(dtype) => i64::from(v != 0),
            UnOp::Sign => v.signum(),
            UnOp::Not if dtype == DType::Bool => i64::from(v == 0),
            UnOp::Not => wrap(dtype, !v),
            UnOp::IsNan | UnOp::IsInf => 0,
            _ => v,
        }),
        Scalar::F64(v) => match op {
            UnOp::IsNan => Scalar::Int(i64::from(v.is_nan())),
            UnOp::IsInf => Scalar::Int(i64::from(v.is_infinite())),
            _ => Scalar::F64(float_unary(op, v)),
        },
        Scalar::F32(v) => match op {
            UnOp::IsNan => Scalar::Int(i64::from(v.is_nan())),
            UnOp::IsInf => Scalar::Int(i64::from(v.is_infinite())),
            // Two roundings, as the machine does it.
            UnOp::Rsqrt => f32_result(dtype, 1.0 / v.sqrt()),
            UnOp::Neg => f32_result(dtype, -v),
            UnOp::Abs => f32_result(dtype, v.abs()),
            _ => f32_result(dtype, float_unary(op, f64::from(v)) as f32),
        },
    }
}

fn float_unary(op: UnOp, v: f64) -> f64 {
    match op {
        UnOp::Neg => -v,
        UnOp::Abs => v.abs(),
        UnOp::Sign if v == 0.0 || v.is_nan() => v,
        UnOp::Sign => v.signum(),
        UnOp::Sqrt => v.sqrt(),
        UnOp::Rsqrt => 1.0 / v.sqrt(),
        UnOp::Exp => v.exp(),
        UnOp::Expm1 => v.exp_m1(),
        UnOp::Log => v.ln(),
        UnOp::Log1p => v.ln_1p(),
        UnOp::Sin => v.sin(),
        UnOp::Cos => v.cos(),
        UnOp::Tan => v.tan(),
        UnOp::Asin => v.asin(),
        UnOp::Acos => v.acos(),
        UnOp::Atan => v.atan(),
        UnOp::Sinh => v.sinh(),
        UnOp::Cosh => v.cosh(),
        UnOp::Tanh => v.tanh(),
        UnOp::Asinh => special::asinh(v),
        UnOp::Acosh => special::acosh(v),
        UnOp::Atanh => special::atanh(v),
        UnOp::Erf => special::erf(v),
        UnOp::Sigmoid => special::sigmoid(v),
        UnOp::Floor => v.floor(),
        UnOp::Ceil => v.ceil(),
        UnOp::Round => v.round_ties_even(),
        UnOp::Trunc => v.trunc(),
        UnOp::Not | UnOp::IsNan | UnOp::IsInf => v,
    }
}

/// `a op b`, all of type `dtype`.
pub fn binary(op: BinOp, dtype: DType, a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => Scalar::Int(wrap(dtype, int_binary(op, dtype, a, b))),
        (Scalar::F64(a), Scalar::F64(b)) => Scalar::F64(float_binary(op, a, b)),
        (Scalar::F32(a), Scalar::F32(b)) => {
            let v = match op {
                BinOp::Add => a + b,
                BinOp::Sub => a - b,
                BinOp::Mul => a * b,
                BinOp::Div => a / b,
                BinOp::Rem => a % b,
                BinOp::FloorMod => float_floor_mod32(a, b),
                _ => float_binary(op, f64::from(a), f64::from(b)) as f32,
            };
            f32_result(dtype, v)
        }
        // Operands of one node have one type; a mixture cannot be built.
        _ => a,
    }
}

fn float_floor_mod32(a: f32, b: f32) -> f32 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

fn float_binary(op: BinOp, a: f64, b: f64) -> f64 {
    match op {
        BinOp::Add => a + b,
        BinOp::Sub => a - b,
        BinOp::Mul => a * b,
        BinOp::Div => a / b,
        BinOp::Rem => a % b,
        BinOp::FloorDiv => (a / b).floor(),
        BinOp::FloorMod => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }
        BinOp::Pow => a.powf(b),
        BinOp::Min if b < a || b.is_nan() && !a.is_nan() => b,
        BinOp::Max if a < b || b.is_nan() && !a.is_nan() => b,
        _ => a,
    }
}

fn int_binary(op: BinOp, dtype: DType, a: i64, b: i64) -> i64 {
    let (ua, ub) = (a as u64, b as u64);
    let unsigned = unsigned64(dtype);
    let width = dtype.bits() as i64;
    match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::Div | BinOp::Rem | BinOp::FloorDiv | BinOp::FloorMod if b == 0 => 0,
        BinOp::Div | BinOp::FloorDiv if unsigned => (ua / ub) as i64,
        BinOp::Rem | BinOp::FloorMod if unsigned => (ua % ub) as i64,
        BinOp::Div => a.wrapping_div(b),
        BinOp::Rem => a.wrapping_rem(b),
        BinOp::FloorDiv => {
            let (q, r) = (a.wrapping_div(b), a.wrapping_rem(b));
            if r != 0 && (r < 0) != (b < 0) { q - 1 } else { q }
        }
        BinOp::FloorMod => {
            let r = a.wrapping_rem(b);
            if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        }
        BinOp::Pow => int_pow(a, b, unsigned),
        BinOp::Min if unsigned => ua.min(ub) as i64,
        BinOp::Max if unsigned => ua.max(ub) as i64,
        BinOp::Min => a.min(b),
        BinOp::Max => a.max(b),
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl if !(0..width).contains(&b) => 0,
        BinOp::Shl => a << b,
        BinOp::Shr if !(0..width).contains(&b) => {
            if a < 0 && !unsigned {
                -1
            } else {
                0
            }
        }
        BinOp::Shr if unsigned => (ua >> b) as i64,
        BinOp::Shr => a >> b,
    }
}

/// Wrapping power by squaring; a negative exponent gives the truncated reciprocal.
fn int_pow(base: i64, exponent: i64, unsigned: bool) -> i64 {
    if exponent < 0 && !unsigned {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut left) = (1i64, base, exponent as u64);
    while left != 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    result
}

/// `a op b` for operands of type `dtype`.
pub fn compare(op: CmpOp, dtype: DType, a: Scalar, b: Scalar) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) if unsigned64(dtype) => Some((a as u64).cmp(&(b as u64))),
        (Scalar::Int(a), Scalar::Int(b)) => Some(a.cmp(&b)),
        _ => a.as_f64().partial_cmp(&b.as_f64()),
    };
    match op {
        CmpOp::Eq => order == Some(Equal),
        CmpOp::Ne => order != Some(Equal),
        CmpOp::Lt => order == Some(Less),
        CmpOp::Le => matches!(order, Some(Less | Equal)),
        CmpOp::Gt => order == Some(Greater),
        CmpOp::Ge => matches!(order, Some(Greater | Equal)),
    }
}

/// Conversion of a value of type `from`. Float to integer truncates and saturates to the target's range (NaN gives 0),
/// integer to integer wraps, anything to `bool` asks whether it differs from zero, and to a narrow float rounds to
/// nearest even (`saturate`: overflow gives the largest finite value).
pub fn cast(from: DType, to: DType, saturate: bool, a: Scalar) -> Scalar {
    if to == DType::Bool {
        return Scalar::Int(i64::from(a.is_true()));
    }
    match register(to) {
        Some(Register::F32) => {
            let v = match a {
                Scalar::F32(v) => v,
                Scalar::F64(v) => v as f32,
                Scalar::Int(v) if unsigned64(from) => v as u64 as f32,
                Scalar::Int(v) => v as f32,
            };
            Scalar::F32(num::round(to, v, saturate))
        }
        Some(Register::F64) => Scalar::F64(match a {
            Scalar::Int(v) if unsigned64(from) => v as u64 as f64,
            a => a.as_f64(),
        }),
        _ => match a {
            Scalar::Int(v) => Scalar::Int(wrap(to, v)),
            a if unsigned64(to) => Scalar::Int(a.as_f64() as u64 as i64),
            a => {
                let (lo, hi) = to.int_range().unwrap_or((i64::MIN.into(), i64::MAX.into()));
                Scalar::Int((a.as_f64() as i64).clamp(lo as i64, hi as i64))
            }
        },
    }
}

/// What a reduction of nothing gives.
pub fn identity(op: ReduceOp, dtype: DType) -> Scalar {
    let float = match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Prod => 1.0,
        ReduceOp::Max | ReduceOp::ArgMax { .. } => f64::NEG_INFINITY,
        ReduceOp::Min | ReduceOp::ArgMin { .. } => f64::INFINITY,
        ReduceOp::Any => 0.0,
        ReduceOp::All => 1.0,
    };
    match register(dtype) {
        Some(Register::F32) => Scalar::F32(float as f32),
        Some(Register::F64) => Scalar::F64(float),
        _ => {
            let (lo, hi) = dtype.int_range().unwrap_or((0, 1));
            Scalar::Int(match op {
                ReduceOp::Max | ReduceOp::ArgMax { .. } => lo as i64,
                ReduceOp::Min | ReduceOp::ArgMin { .. } => hi as u64 as i64,
                _ => float as i64,
            })
        }
    }
}

/// Whether `new` takes the place of `best` in an `ArgMax` or `ArgMin` of type `dtype`: better, or equally good with
/// `last`; a NaN is better than everything else.
pub fn arg_takes(op: ReduceOp, dtype: DType, best: Scalar, new: Scalar) -> bool {
    let (cmp, last) = match op {
        ReduceOp::ArgMin { last } => (CmpOp::Lt, last),
        ReduceOp::ArgMax { last } => (CmpOp::Gt, last),
        _ => return false,
    };
    match (best.is_nan(), new.is_nan()) {
        (true, new_nan) => new_nan && last,
        (false, true) => true,
        _ => compare(cmp, dtype, new, best) || last && compare(CmpOp::Eq, dtype, new, best),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_integers_wrap() {
        let add = |t, a, b| binary(BinOp::Add, t, Scalar::Int(a), Scalar::Int(b));
        assert_eq!(add(DType::I8, 127, 1), Scalar::Int(-128));
        assert_eq!(add(DType::U8, 255, 1), Scalar::Int(0));
        assert_eq!(add(DType::U4, 15, 2), Scalar::Int(1));
        assert_eq!(unary(UnOp::Neg, DType::I32, Scalar::Int(i64::from(i32::MIN))), Scalar::Int(i64::from(i32::MIN)));
    }

    #[test]
    fn min_and_max_keep_nan() {
        for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
            for op in [BinOp::Min, BinOp::Max] {
                assert!(binary(op, DType::F32, Scalar::F32(a), Scalar::F32(b)).is_nan());
            }
        }
    }

    #[test]
    fn division_rounds_as_named() {
        let op = |op, a, b| binary(op, DType::I32, Scalar::Int(a), Scalar::Int(b)).as_int();
        assert_eq!((op(BinOp::Div, -7, 2), op(BinOp::Rem, -7, 2)), (-3, -1));
        assert_eq!((op(BinOp::FloorDiv, -7, 2), op(BinOp::FloorMod, -7, 2)), (-4, 1));
        assert_eq!(op(BinOp::Div, 1, 0), 0);
    }

    #[test]
    fn casts_saturate_from_float_and_wrap_from_int() {
        assert_eq!(cast(DType::F32, DType::I8, false, Scalar::F32(300.0)), Scalar::Int(127));
        assert_eq!(cast(DType::F32, DType::U8, false, Scalar::F32(-1.0)), Scalar::Int(0));
        assert_eq!(cast(DType::I32, DType::I8, false, Scalar::Int(300)), Scalar::Int(44));
        assert_eq!(cast(DType::F32, DType::I32, false, Scalar::F32(f32::NAN)), Scalar::Int(0));
        assert_eq!(cast(DType::U64, DType::F64, false, Scalar::Int(-1)), Scalar::F64(u64::MAX as f64));
    }

    #[test]
    fn arg_reductions_prefer_nan() {
        let op = ReduceOp::ArgMax { last: false };
        assert!(arg_takes(op, DType::F32, Scalar::F32(1.0), Scalar::F32(f32::NAN)));
        assert!(!arg_takes(op, DType::F32, Scalar::F32(f32::NAN), Scalar::F32(9.0)));
        assert!(!arg_takes(op, DType::F32, Scalar::F32(1.0), Scalar::F32(1.0)));
        assert!(arg_takes(ReduceOp::ArgMax { last: true }, DType::F32, Scalar::F32(1.0), Scalar::F32(1.0)));
    }
}
