//! The operations, lane by lane, as [`crate::builder`]'s documentation defines them.

use super::lanes::{Bits, Lane, VECTOR_BYTES};
use crate::builder::{BinOp, CmpOp, Cvt, Elem, Ty, UnOp};

/// The element by which lanes are read: truth values of vectors are integers, single ones bytes.
fn elem(ty: Ty) -> Elem {
    match ty {
        Ty::Bool => Elem::I8,
        Ty::S(e) | Ty::V(e) => e,
        Ty::Mask(e) => e.as_int(),
    }
}

macro_rules! float_unary {
    ($t:ty, $op:expr, $n:expr, $a:expr) => {
        $a.map($n, |v: $t| match $op {
            UnOp::Neg => -v,
            UnOp::Abs => v.abs(),
            UnOp::Sqrt => v.sqrt(),
            UnOp::Floor => v.floor(),
            UnOp::Ceil => v.ceil(),
            UnOp::Trunc => v.trunc(),
            UnOp::Nearest => v.round_ties_even(),
            UnOp::Not => v,
        })
    };
}

macro_rules! int_unary {
    ($t:ty, $op:expr, $n:expr, $a:expr) => {
        $a.map($n, |v: $t| match $op {
            UnOp::Neg => v.wrapping_neg(),
            UnOp::Abs => v.wrapping_abs(),
            UnOp::Not => !v,
            _ => v,
        })
    };
}

pub(super) fn unary(op: UnOp, ty: Ty, n: usize, a: &Bits) -> Bits {
    match elem(ty) {
        _ if ty == Ty::Bool => a.map(n, |v: i8| i8::from(v == 0)),
        Elem::F32 => float_unary!(f32, op, n, a),
        Elem::F64 => float_unary!(f64, op, n, a),
        Elem::I8 => int_unary!(i8, op, n, a),
        Elem::I16 => int_unary!(i16, op, n, a),
        Elem::I32 => int_unary!(i32, op, n, a),
        Elem::I64 => int_unary!(i64, op, n, a),
    }
}

macro_rules! float_binary {
    ($t:ty, $op:expr, $n:expr, $a:expr, $b:expr) => {
        $a.zip($b, $n, |x: $t, y: $t| match $op {
            BinOp::Add => x + y,
            BinOp::Sub => x - y,
            BinOp::Mul => x * y,
            BinOp::Div => x / y,
            BinOp::Min => {
                if x < y {
                    x
                } else {
                    y
                }
            }
            BinOp::Max => {
                if y < x {
                    x
                } else {
                    y
                }
            }
            BinOp::MinNan | BinOp::MaxNan if x.is_nan() || y.is_nan() => <$t>::NAN,
            BinOp::MinNan => {
                if x < y || x == y && x.is_sign_negative() {
                    x
                } else {
                    y
                }
            }
            BinOp::MaxNan => {
                if y < x || x == y && y.is_sign_negative() {
                    x
                } else {
                    y
                }
            }
            // The recorder refuses the others on floats.
            _ => x,
        })
    };
}

macro_rules! int_binary {
    ($t:ty, $u:ty, $op:expr, $n:expr, $a:expr, $b:expr, $count:expr) => {
        $a.zip($b, $n, |x: $t, y: $t| match $op {
            BinOp::Add => x.wrapping_add(y),
            BinOp::Sub => x.wrapping_sub(y),
            BinOp::Mul => x.wrapping_mul(y),
            BinOp::Div | BinOp::Rem | BinOp::DivU | BinOp::RemU if y == 0 => 0,
            BinOp::Div => x.wrapping_div(y),
            BinOp::Rem => x.wrapping_rem(y),
            BinOp::DivU => (x as $u / y as $u) as $t,
            BinOp::RemU => (x as $u % y as $u) as $t,
            BinOp::Min => x.min(y),
            BinOp::Max => x.max(y),
            BinOp::MinU => (x as $u).min(y as $u) as $t,
            BinOp::MaxU => (x as $u).max(y as $u) as $t,
            BinOp::And => x & y,
            BinOp::Or => x | y,
            BinOp::Xor => x ^ y,
            BinOp::Shl => x.wrapping_shl($count),
            BinOp::ShrS => x.wrapping_shr($count),
            BinOp::ShrU => (x as $u).wrapping_shr($count) as $t,
            // The recorder refuses the others on integers.
            BinOp::MinNan | BinOp::MaxNan => x,
        })
    };
}

/// `count` is the second operand of shifts.
pub(super) fn binary(op: BinOp, ty: Ty, n: usize, a: &Bits, b: &Bits, count: u32) -> Bits {
    match elem(ty) {
        Elem::F32 => float_binary!(f32, op, n, a, b),
        Elem::F64 => float_binary!(f64, op, n, a, b),
        Elem::I8 => int_binary!(i8, u8, op, n, a, b, count),
        Elem::I16 => int_binary!(i16, u16, op, n, a, b, count),
        Elem::I32 => int_binary!(i32, u32, op, n, a, b, count),
        Elem::I64 => int_binary!(i64, u64, op, n, a, b, count),
    }
}

pub(super) fn fma(ty: Ty, n: usize, a: &Bits, b: &Bits, c: &Bits, fused: bool) -> Bits {
    let mut out = Bits::ZERO;
    for i in 0..n {
        match elem(ty) {
            Elem::F64 => {
                let (a, b, c): (f64, f64, f64) = (a.lane(i), b.lane(i), c.lane(i));
                out.set(i, if fused { a.mul_add(b, c) } else { a * b + c });
            }
            _ => {
                let (a, b, c): (f32, f32, f32) = (a.lane(i), b.lane(i), c.lane(i));
                out.set(i, if fused { a.mul_add(b, c) } else { a * b + c });
            }
        }
    }
    out
}

/// The truth of a comparison in the lane's width: all ones, or a byte 1 for scalars.
pub(super) fn compare(op: CmpOp, of: Ty, n: usize, a: &Bits, b: &Bits) -> Bits {
    fn test<T: PartialOrd>(op: CmpOp, x: &T, y: &T) -> bool {
        match op {
            CmpOp::Eq => x == y,
            CmpOp::Ne => x != y,
            CmpOp::Lt | CmpOp::LtU => x < y,
            CmpOp::Le | CmpOp::LeU => x <= y,
            CmpOp::Gt => x > y,
            CmpOp::Ge => x >= y,
        }
    }
    fn all<T: Lane + PartialOrd>(op: CmpOp, of: Ty, n: usize, a: &Bits, b: &Bits) -> Bits {
        if matches!(of, Ty::S(_)) {
            return Bits::scalar(i8::from(test(op, &a.lane::<T>(0), &b.lane::<T>(0))));
        }
        let mut out = Bits::ZERO;
        let size = size_of::<T>();
        for i in 0..n {
            if test(op, &a.lane::<T>(i), &b.lane::<T>(i)) {
                out.0[i * size..(i + 1) * size].fill(0xff);
            }
        }
        out
    }
    let unsigned = matches!(op, CmpOp::LtU | CmpOp::LeU);
    match (elem(of), unsigned) {
        (Elem::F32, _) => all::<f32>(op, of, n, a, b),
        (Elem::F64, _) => all::<f64>(op, of, n, a, b),
        (Elem::I8, false) => all::<i8>(op, of, n, a, b),
        (Elem::I8, true) => all::<u8>(op, of, n, a, b),
        (Elem::I16, false) => all::<i16>(op, of, n, a, b),
        (Elem::I16, true) => all::<u16>(op, of, n, a, b),
        (Elem::I32, false) => all::<i32>(op, of, n, a, b),
        (Elem::I32, true) => all::<u32>(op, of, n, a, b),
        (Elem::I64, false) => all::<i64>(op, of, n, a, b),
        (Elem::I64, true) => all::<u64>(op, of, n, a, b),
    }
}

/// A scalar integer, sign-extended.
fn signed(e: Elem, a: &Bits) -> i64 {
    match e {
        Elem::I8 => a.lane::<i8>(0).into(),
        Elem::I16 => a.lane::<i16>(0).into(),
        Elem::I32 => a.lane::<i32>(0).into(),
        _ => a.lane(0),
    }
}

/// A scalar integer, zero-extended.
fn unsigned(e: Elem, a: &Bits) -> u64 {
    match e {
        Elem::I8 => a.lane::<u8>(0).into(),
        Elem::I16 => a.lane::<u16>(0).into(),
        Elem::I32 => a.lane::<u32>(0).into(),
        _ => a.lane(0),
    }
}

/// The low bytes of an integer of element `to`; the rest is cleared, as in every scalar.
fn low(to: Elem, v: u64) -> Bits {
    let mut out = Bits::scalar(v);
    out.0[to.size_bytes()..].fill(0);
    out
}

pub(super) fn convert(kind: Cvt, from: Ty, to: Ty, n: usize, a: &Bits) -> Bits {
    let (f, t) = (elem(from), elem(to));
    match kind {
        Cvt::SignExtend => low(t, signed(f, a) as u64),
        Cvt::ZeroExtend | Cvt::Truncate => low(t, unsigned(f, a)),
        Cvt::FromSint => match (f, t) {
            (Elem::I32, Elem::F32) => a.map(n, |v: i32| v as f32),
            (Elem::I32, _) => a.map(n, |v: i32| f64::from(v)),
            (_, Elem::F32) => a.map(n, |v: i64| v as f32),
            _ => a.map(n, |v: i64| v as f64),
        },
        Cvt::FromUint => match (f, t) {
            (Elem::I32, Elem::F32) => a.map(n, |v: u32| v as f32),
            (Elem::I32, _) => a.map(n, |v: u32| f64::from(v)),
            (_, Elem::F32) => a.map(n, |v: u64| v as f32),
            _ => a.map(n, |v: u64| v as f64),
        },
        // `as` truncates, saturates and gives 0 for NaN.
        Cvt::ToSintSat => match (f, t) {
            (Elem::F32, Elem::I32) => a.map(n, |v: f32| v as i32),
            (Elem::F32, _) => a.map(n, |v: f32| v as i64),
            (_, Elem::I32) => a.map(n, |v: f64| v as i32),
            _ => a.map(n, |v: f64| v as i64),
        },
        Cvt::ToUintSat => match (f, t) {
            (Elem::F32, Elem::I32) => a.map(n, |v: f32| v as u32),
            (Elem::F32, _) => a.map(n, |v: f32| v as u64),
            (_, Elem::I32) => a.map(n, |v: f64| v as u32),
            _ => a.map(n, |v: f64| v as u64),
        },
        Cvt::Promote => a.map(1, |v: f32| f64::from(v)),
        Cvt::Demote => a.map(1, |v: f64| v as f32),
        Cvt::WidenLow | Cvt::WidenHigh => {
            let half = if kind == Cvt::WidenHigh { a.upper(n * f.size_bytes()) } else { *a };
            match f {
                Elem::F32 => widen(&half, n, |v: f32| f64::from(v)),
                _ => widen(&half, n, |v: i32| i64::from(v)),
            }
        }
        Cvt::Bits => *a,
    }
}

/// As [`Bits::map`] into wider lanes.
fn widen<T: Lane, R: Lane>(a: &Bits, n: usize, f: impl Fn(T) -> R) -> Bits {
    debug_assert!(n * size_of::<R>() <= VECTOR_BYTES);
    a.map(n, f)
}

/// Calls a function by the C convention; `None` for a signature that is not among those of the tables here.
///
/// # Safety
/// `entry` must be the address of a function of exactly this signature.
pub(super) unsafe fn call(entry: usize, args: &[(Ty, Bits)], ret: Option<Ty>) -> Option<Bits> {
    const I32: Ty = Ty::S(Elem::I32);
    const I64: Ty = Ty::S(Elem::I64);
    const F32: Ty = Ty::S(Elem::F32);
    const F64: Ty = Ty::S(Elem::F64);
    macro_rules! through {
        ($($arg:ident: $t:ty),* => $r:ty) => {{
            let [$($arg),*] = args else { return None };
            // SAFETY: the caller vouches for the signature, which the match below read off the call.
            let f = unsafe { std::mem::transmute::<usize, extern "C" fn($($t),*) -> $r>(entry) };
            Bits::scalar(f($($arg.1.lane::<$t>(0)),*))
        }};
    }
    let types: Vec<Ty> = args.iter().map(|a| a.0).collect();
    Some(match (types.as_slice(), ret?) {
        ([F32], F32) => through!(x: f32 => f32),
        ([F64], F64) => through!(x: f64 => f64),
        ([F32, F32], F32) => through!(x: f32, y: f32 => f32),
        ([F64, F64], F64) => through!(x: f64, y: f64 => f64),
        ([I64, I64], I64) => through!(x: i64, y: i64 => i64),
        ([I32], F32) => through!(x: i32 => f32),
        ([F32], I32) => through!(x: f32 => i32),
        ([F32, I64], F32) => through!(x: f32, n: i64 => f32),
        _ => return None,
    })
}
