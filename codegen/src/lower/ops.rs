//! Single operations on register values, scalar or one vector part: the compiled counterpart of
//! [`egret_ir::loops::scalar`].

use egret_ir::DType;
use egret_ir::loops::{BinOp as IrBin, CmpOp as IrCmp, UnOp as IrUn};

use super::host::Host;
use super::math;
use crate::builder::{BinOp, Builder, CmpOp, Cvt, Elem, Ty, UnOp, Val};

/// The register element that holds values of `dtype` (`bool`: the integer its masks are made of).
pub(super) fn elem(dtype: DType) -> Elem {
    match dtype {
        DType::F64 => Elem::F64,
        DType::I64 | DType::U64 => Elem::I64,
        t if t.is_float() => Elem::F32,
        _ => Elem::I32,
    }
}

/// The type of a scalar of `dtype`.
pub(super) fn scalar_ty(dtype: DType) -> Ty {
    if dtype == DType::Bool { Ty::Bool } else { Ty::S(elem(dtype)) }
}

/// The type of a vector part of `dtype`.
pub(super) fn part_ty(dtype: DType) -> Ty {
    if dtype == DType::Bool { Ty::Mask(Elem::I32) } else { Ty::V(elem(dtype)) }
}

/// Floats of one byte, which are rounded by host functions.
pub(super) fn is_tiny_float(dtype: DType) -> bool {
    dtype.is_float() && dtype.size_bytes() == 1
}

/// Whether `op` on `dtype` works on vector parts.
pub(super) fn un_in_vectors(op: IrUn, dtype: DType) -> bool {
    use IrUn::*;
    if is_tiny_float(dtype) || elem(dtype) == Elem::I64 {
        return false;
    }
    let simple = matches!(op, Neg | Abs | Sign | Not | Sqrt | Rsqrt | Floor | Ceil | Round | Trunc | IsNan | IsInf);
    simple || elem(dtype) == Elem::F32 && matches!(op, Exp | Expm1 | Log | Log1p | Sin | Cos | Tanh | Erf | Sigmoid)
}

/// Whether `op` on `dtype` works on vector parts.
pub(super) fn bin_in_vectors(op: IrBin, dtype: DType) -> bool {
    use IrBin::*;
    if is_tiny_float(dtype) || elem(dtype) == Elem::I64 {
        return false;
    }
    matches!(op, Add | Sub | Mul | Min | Max | And | Or | Xor) || op == Div && dtype.is_float()
}

/// Wraps an integer register to a narrower type.
pub(super) fn normalize(b: &mut Builder, dtype: DType, v: Val) -> Val {
    if !dtype.is_int() || dtype.bits() >= 32 {
        return v;
    }
    let bits = dtype.bits() as u32;
    if dtype.class() == egret_ir::Class::Unsigned {
        let mask = b.const_int(b.ty(v), (1 << bits) - 1);
        b.and(v, mask)
    } else {
        let up = b.shl_imm(v, 32 - bits);
        b.sar_imm(up, 32 - bits)
    }
}

fn with_int(b: &Builder, v: Val) -> Ty {
    b.ty(v).with_elem(Elem::I32)
}

/// `f32` to the bits of an `f16`, rounded to nearest even (F. Giesen's method).
pub(super) fn to_f16_bits(b: &mut Builder, v: Val) -> Val {
    let (float, int) = (b.ty(v), with_int(b, v));
    let bits = b.bits(v, int);
    let sign_mask = b.const_int(int, i64::from(i32::MIN));
    let sign = b.and(bits, sign_mask);
    let size = b.bin(BinOp::Xor, bits, sign);
    // Infinity and NaN.
    let (inf32, nan16, inf16) = (b.const_int(int, 0x7f80_0000), b.const_int(int, 0x7e00), b.const_int(int, 0x7c00));
    let is_nan = b.cmp(CmpOp::Gt, size, inf32);
    let special = b.select(is_nan, nan16, inf16);
    // Subnormal: the addition of 1/2 lets the float unit round.
    let magic = b.const_int(int, 0x3f00_0000);
    let (x, half) = (b.bits(size, float), b.bits(magic, float));
    let sum = b.add(x, half);
    let sum = b.bits(sum, int);
    let small = b.sub(sum, magic);
    // Normal.
    let shifted = b.shr_imm(size, 13);
    let one = b.const_int(int, 1);
    let odd = b.and(shifted, one);
    let biased = b.add_imm(size, -0x3800_0000 + 0xfff);
    let rounded = b.add(biased, odd);
    let normal = b.shr_imm(rounded, 13);
    let (overflow, subnormal) = (b.const_int(int, 0x4780_0000), b.const_int(int, 0x3880_0000));
    let is_small = b.cmp(CmpOp::Lt, size, subnormal);
    let finite = b.select(is_small, small, normal);
    let is_special = b.cmp(CmpOp::Ge, size, overflow);
    let out = b.select(is_special, special, finite);
    let sign = b.shr_imm(sign, 16);
    b.or(out, sign)
}

/// The bits of an `f16` (upper half zero) to `f32`; exact. `float` is the result's type.
pub(super) fn from_f16_bits(b: &mut Builder, h: Val, float: Ty) -> Val {
    let int = b.ty(h);
    let low = b.const_int(int, 0x7fff);
    let size = b.and(h, low);
    let size = b.shl_imm(size, 13);
    let exponent_mask = b.const_int(int, 0x0f80_0000);
    let exponent = b.and(size, exponent_mask);
    let base = b.add_imm(size, 0x3800_0000);
    let special = b.add_imm(base, 0x3800_0000);
    let lifted = b.add_imm(base, 1 << 23);
    let magic = b.const_int(int, 0x3880_0000);
    let (x, m) = (b.bits(lifted, float), b.bits(magic, float));
    let small = b.sub(x, m);
    let small = b.bits(small, int);
    let zero = b.zero(int);
    let is_small = b.cmp(CmpOp::Eq, exponent, zero);
    let is_special = b.cmp(CmpOp::Eq, exponent, exponent_mask);
    let out = b.select(is_special, special, base);
    let out = b.select(is_small, small, out);
    let high = b.const_int(int, 0x8000);
    let sign = b.and(h, high);
    let sign = b.shl_imm(sign, 16);
    let out = b.or(out, sign);
    b.bits(out, float)
}

/// `f32` to the bits of a `bf16`, rounded to nearest even.
pub(super) fn to_bf16_bits(b: &mut Builder, v: Val) -> Val {
    let int = with_int(b, v);
    let bits = b.bits(v, int);
    let high = b.shr_imm(bits, 16);
    let one = b.const_int(int, 1);
    let odd = b.and(high, one);
    let sum = b.add_imm(bits, 0x7fff);
    let sum = b.add(sum, odd);
    let rounded = b.shr_imm(sum, 16);
    let quiet = b.const_int(int, 0x40);
    let nan = b.or(high, quiet);
    let is_nan = b.cmp(CmpOp::Ne, v, v);
    b.select(is_nan, nan, rounded)
}

/// The bits of a `bf16` to `f32`; exact.
pub(super) fn from_bf16_bits(b: &mut Builder, h: Val, float: Ty) -> Val {
    let up = b.shl_imm(h, 16);
    b.bits(up, float)
}

/// Calls a host function on scalars.
pub(super) fn call(b: &mut Builder, table: Val, host: Host, args: &[Val], result: Elem) -> Val {
    match host.slot() {
        Some(slot) => match b.call_host(table, slot, args, Some(result)) {
            Some(v) => v,
            None => b.zero(Ty::S(result)),
        },
        None => {
            b.fail(format!("no host function for {host:?}"));
            b.zero(Ty::S(result))
        }
    }
}

/// Rounds an `f32` register to a narrower float type.
pub(super) fn round_to(b: &mut Builder, table: Val, dtype: DType, saturate: bool, v: Val) -> Val {
    let ty = b.ty(v);
    match dtype {
        DType::F16 => {
            let bits = to_f16_bits(b, v);
            from_f16_bits(b, bits, ty)
        }
        DType::BF16 => {
            let bits = to_bf16_bits(b, v);
            from_bf16_bits(b, bits, ty)
        }
        t if is_tiny_float(t) => {
            let code = call(b, table, Host::Encode(t, saturate), &[v], Elem::I32);
            call(b, table, Host::Decode(t), &[code], Elem::F32)
        }
        _ => v,
    }
}

/// `op(a)`.
pub(super) fn un(b: &mut Builder, table: Val, op: IrUn, dtype: DType, a: Val) -> Val {
    let ty = b.ty(a);
    let is_float = dtype.is_float();
    let v = match op {
        IrUn::Neg => b.neg(a),
        IrUn::Abs if dtype.class() == egret_ir::Class::Unsigned => a,
        IrUn::Abs => b.abs(a),
        IrUn::Not => b.not(a),
        IrUn::Sign => sign(b, dtype, a),
        IrUn::IsNan => return b.cmp(CmpOp::Ne, a, a),
        IrUn::IsInf => {
            let size = b.abs(a);
            let infinity = b.const_float(ty, f64::INFINITY);
            return b.cmp(CmpOp::Eq, size, infinity);
        }
        IrUn::Sqrt => b.sqrt(a),
        IrUn::Rsqrt => {
            let root = b.sqrt(a);
            let one = b.const_float(ty, 1.0);
            b.div(one, root)
        }
        IrUn::Floor => b.un(UnOp::Floor, a),
        IrUn::Ceil => b.un(UnOp::Ceil, a),
        IrUn::Round => b.un(UnOp::Nearest, a),
        IrUn::Trunc => b.un(UnOp::Trunc, a),
        _ if elem(dtype) == Elem::F64 => call(b, table, Host::Unary(op, true), &[a], Elem::F64),
        IrUn::Exp => math::exp(b, a),
        IrUn::Expm1 => math::expm1(b, a),
        IrUn::Log => math::log(b, a),
        IrUn::Log1p => math::log1p(b, a),
        IrUn::Tanh => math::tanh(b, a),
        IrUn::Erf => math::erf(b, a),
        IrUn::Sigmoid => math::sigmoid(b, a),
        IrUn::Sin | IrUn::Cos => trig(b, table, op, a),
        _ => call(b, table, Host::Unary(op, false), &[a], Elem::F32),
    };
    if is_float { round_to(b, table, dtype, false, v) } else { normalize(b, dtype, v) }
}

fn sign(b: &mut Builder, dtype: DType, a: Val) -> Val {
    let ty = b.ty(a);
    let zero = b.zero(ty);
    let (one, minus) = if dtype.is_float() {
        (b.const_float(ty, 1.0), b.const_float(ty, -1.0))
    } else {
        (b.const_int(ty, 1), b.const_int(ty, -1))
    };
    if dtype.class() == egret_ir::Class::Unsigned {
        let some = b.cmp(CmpOp::Ne, a, zero);
        return b.select(some, one, zero);
    }
    let (above, below) = (b.cmp(CmpOp::Gt, a, zero), b.cmp(CmpOp::Lt, a, zero));
    let v = b.select(below, minus, a);
    b.select(above, one, v)
}

/// Sine or cosine; arguments too large to be reduced here go to the host function, lane by lane.
fn trig(b: &mut Builder, table: Val, op: IrUn, a: Val) -> Val {
    let ty = b.ty(a);
    let size = b.abs(a);
    let limit = b.const_float(Ty::S(Elem::F32), math::TRIG_LIMIT);
    let largest = match ty {
        Ty::V(_) => b.hreduce(crate::builder::Reduce::MaxNan, size),
        _ => size,
    };
    let fits = b.cmp(CmpOp::Le, largest, limit);
    let out = b.if_else(
        fits,
        |b| vec![math::sin_cos(b, a, op == IrUn::Cos)],
        |b| {
            let host = Host::Unary(op, false);
            match ty {
                Ty::V(_) => {
                    let mut v = a;
                    for lane in 0..b.lanes_of(Elem::F32) {
                        let x = b.extract(a, lane);
                        let y = call(b, table, host, &[x], Elem::F32);
                        v = b.insert(v, lane, y);
                    }
                    vec![v]
                }
                _ => vec![call(b, table, host, &[a], Elem::F32)],
            }
        },
    );
    out[0]
}

/// `x op y` by the host's 64-bit integer functions.
fn int_host(b: &mut Builder, table: Val, op: IrBin, dtype: DType, x: Val, y: Val) -> Val {
    if elem(dtype) == Elem::I64 {
        let variant = if dtype == DType::U64 { 3 } else { 2 };
        return call(b, table, Host::Binary(op, variant), &[x, y], Elem::I64);
    }
    let wide = if dtype == DType::U32 { Cvt::ZeroExtend } else { Cvt::SignExtend };
    let (x, y) = (b.cvt(wide, x, Ty::S(Elem::I64)), b.cvt(wide, y, Ty::S(Elem::I64)));
    let v = call(b, table, Host::Binary(op, 2), &[x, y], Elem::I64);
    b.cvt(Cvt::Truncate, v, Ty::S(Elem::I32))
}

/// `x op y`.
pub(super) fn bin(b: &mut Builder, table: Val, op: IrBin, dtype: DType, x: Val, y: Val) -> Val {
    use IrBin::*;
    if dtype == DType::Bool {
        return match op {
            And | Min | Mul => b.and(x, y),
            Or | Max => b.or(x, y),
            _ => b.bin(BinOp::Xor, x, y),
        };
    }
    if dtype.is_float() {
        let v = match op {
            Add => b.add(x, y),
            Sub => b.sub(x, y),
            Mul => b.mul(x, y),
            Div => b.div(x, y),
            Min | Max => float_min_max(b, op == Max, x, y),
            _ => {
                let double = elem(dtype) == Elem::F64;
                call(b, table, Host::Binary(op, usize::from(double)), &[x, y], elem(dtype))
            }
        };
        return if matches!(op, Min | Max) { v } else { round_to(b, table, dtype, false, v) };
    }
    let unsigned = matches!(dtype, DType::U32 | DType::U64);
    let v = match op {
        Add => b.add(x, y),
        Sub => b.sub(x, y),
        Mul => b.mul(x, y),
        Min => b.bin(if unsigned { BinOp::MinU } else { BinOp::Min }, x, y),
        Max => b.bin(if unsigned { BinOp::MaxU } else { BinOp::Max }, x, y),
        And => b.and(x, y),
        Or => b.or(x, y),
        Xor => b.xor(x, y),
        Div => b.bin(if unsigned { BinOp::DivU } else { BinOp::Div }, x, y),
        Rem => b.bin(if unsigned { BinOp::RemU } else { BinOp::Rem }, x, y),
        FloorDiv | FloorMod => floor_division(b, table, op, dtype, x, y),
        Pow => int_host(b, table, op, dtype, x, y),
        Shl | Shr => shift(b, op, dtype, x, y),
    };
    normalize(b, dtype, v)
}

fn float_min_max(b: &mut Builder, max: bool, x: Val, y: Val) -> Val {
    // The machine's operation gives its second operand when either is NaN: `x` here, so only a NaN in `y` is left.
    let v = if max { b.max(y, x) } else { b.min(y, x) };
    let ty = b.ty(y);
    let known = b.const_value(y).map(|bits| match ty.elem() {
        Some(Elem::F32) => f32::from_bits(bits as u32).is_nan(),
        _ => f64::from_bits(bits).is_nan(),
    });
    if known == Some(false) {
        return v;
    }
    let is_nan = b.cmp(CmpOp::Ne, y, y);
    b.select(is_nan, y, v)
}

fn floor_division(b: &mut Builder, table: Val, op: IrBin, dtype: DType, x: Val, y: Val) -> Val {
    let divide = op == IrBin::FloorDiv;
    if dtype.class() == egret_ir::Class::Unsigned {
        return b.bin(if divide { BinOp::DivU } else { BinOp::RemU }, x, y);
    }
    let size = elem(dtype).size_bytes() as u32 * 8;
    let known = b.const_value(y).map(|bits| ((bits << (64 - size)) as i64) >> (64 - size));
    match known {
        Some(c) if c > 0 && (c as u64).is_power_of_two() => {
            if divide {
                b.sar_imm(x, c.trailing_zeros())
            } else {
                let mask = b.const_int(b.ty(x), c - 1);
                b.and(x, mask)
            }
        }
        Some(c) if c > 0 => {
            let q = b.bin(BinOp::Div, x, y);
            let back = b.mul(q, y);
            let r = b.sub(x, back);
            // -1 where the truncated quotient was rounded up, else 0.
            let low = b.sar_imm(r, size - 1);
            if divide {
                b.add(q, low)
            } else {
                let fix = b.and(low, y);
                b.add(r, fix)
            }
        }
        _ => int_host(b, table, op, dtype, x, y),
    }
}

fn shift(b: &mut Builder, op: IrBin, dtype: DType, x: Val, y: Val) -> Val {
    let ty = b.ty(x);
    let width = dtype.bits() as i64;
    let (limit, last) = (b.const_int(ty, width), b.const_int(ty, width - 1));
    // Negative counts are large unsigned ones.
    let fits = b.cmp(CmpOp::LtU, y, limit);
    let count = b.bin(BinOp::MinU, y, last);
    let zero = b.zero(ty);
    let signed = dtype.class() == egret_ir::Class::Signed;
    if op == IrBin::Shl {
        let v = b.bin(BinOp::Shl, x, count);
        b.select(fits, v, zero)
    } else if signed {
        b.bin(BinOp::ShrS, x, count)
    } else {
        let v = b.bin(BinOp::ShrU, x, count);
        b.select(fits, v, zero)
    }
}

/// `x op y` as a truth value or mask.
pub(super) fn cmp(b: &mut Builder, op: IrCmp, dtype: DType, x: Val, y: Val) -> Val {
    if dtype == DType::Bool {
        let not = |b: &mut Builder, v| b.not(v);
        return match op {
            IrCmp::Ne => b.xor(x, y),
            IrCmp::Eq => {
                let v = b.xor(x, y);
                not(b, v)
            }
            IrCmp::Lt => {
                let v = not(b, x);
                b.and(v, y)
            }
            IrCmp::Gt => {
                let v = not(b, y);
                b.and(v, x)
            }
            IrCmp::Le => {
                let v = not(b, x);
                b.or(v, y)
            }
            IrCmp::Ge => {
                let v = not(b, y);
                b.or(v, x)
            }
        };
    }
    let unsigned = matches!(dtype, DType::U32 | DType::U64);
    match op {
        IrCmp::Eq => b.cmp(CmpOp::Eq, x, y),
        IrCmp::Ne => b.cmp(CmpOp::Ne, x, y),
        IrCmp::Lt if unsigned => b.cmp(CmpOp::LtU, x, y),
        IrCmp::Le if unsigned => b.cmp(CmpOp::LeU, x, y),
        IrCmp::Gt if unsigned => b.cmp(CmpOp::LtU, y, x),
        IrCmp::Ge if unsigned => b.cmp(CmpOp::LeU, y, x),
        IrCmp::Lt => b.cmp(CmpOp::Lt, x, y),
        IrCmp::Le => b.cmp(CmpOp::Le, x, y),
        IrCmp::Gt => b.cmp(CmpOp::Gt, x, y),
        IrCmp::Ge => b.cmp(CmpOp::Ge, x, y),
    }
}

/// Whether a conversion works on vector parts of the same number.
pub(super) fn cast_in_vectors(from: DType, to: DType) -> bool {
    let narrow = |t: DType| elem(t).size_bytes() == 4 && !is_tiny_float(t);
    narrow(from) && narrow(to)
}

/// A scalar, or a part of a vector of 32-bit elements, as another type.
pub(super) fn cast(b: &mut Builder, table: Val, from: DType, to: DType, saturate: bool, v: Val) -> Val {
    let vector = matches!(b.ty(v), Ty::V(_) | Ty::Mask(_));
    let ty_of = |t: DType| if vector { part_ty(t) } else { scalar_ty(t) };
    if from == DType::Bool {
        let int = if vector {
            let bits = b.bits(v, Ty::V(Elem::I32));
            let one = b.vi32(1);
            b.and(bits, one)
        } else {
            b.cvt(Cvt::ZeroExtend, v, Ty::S(Elem::I32))
        };
        return if to == DType::Bool { v } else { cast(b, table, DType::I32, to, saturate, int) };
    }
    if to == DType::Bool {
        let zero = b.zero(b.ty(v));
        return b.cmp(CmpOp::Ne, v, zero);
    }
    let (source, target) = (elem(from), elem(to));
    let unsigned = matches!(from, DType::U32 | DType::U64);
    match (source, target) {
        (Elem::F32 | Elem::F64, Elem::F32 | Elem::F64) => {
            let v = match (source, target) {
                (Elem::F32, Elem::F64) => b.cvt(Cvt::Promote, v, ty_of(to)),
                (Elem::F64, Elem::F32) => b.cvt(Cvt::Demote, v, ty_of(to)),
                _ => v,
            };
            if to == from { v } else { round_to(b, table, to, saturate, v) }
        }
        (_, Elem::F32 | Elem::F64) => {
            let v = b.cvt(if unsigned { Cvt::FromUint } else { Cvt::FromSint }, v, ty_of(to));
            round_to(b, table, to, saturate, v)
        }
        (Elem::F32 | Elem::F64, _) => {
            let kind = if matches!(to, DType::U32 | DType::U64) { Cvt::ToUintSat } else { Cvt::ToSintSat };
            let v = b.cvt(kind, v, ty_of(to));
            match to.int_range() {
                Some((lo, hi)) if to.bits() < 32 => {
                    let (lo, hi) = (b.const_int(b.ty(v), lo as i64), b.const_int(b.ty(v), hi as i64));
                    let v = b.max(v, lo);
                    b.min(v, hi)
                }
                _ => v,
            }
        }
        (Elem::I64, Elem::I32) => {
            let v = b.cvt(Cvt::Truncate, v, Ty::S(Elem::I32));
            normalize(b, to, v)
        }
        (Elem::I32, Elem::I64) => b.cvt(if unsigned { Cvt::ZeroExtend } else { Cvt::SignExtend }, v, Ty::S(Elem::I64)),
        _ => normalize(b, to, v),
    }
}
