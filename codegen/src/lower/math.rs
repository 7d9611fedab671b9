//! Elementary functions of `f32` as polynomials, for scalars and vectors alike.
//!
//! A function is the same sequence of operations for a scalar as for each lane, so a result does not depend on where in a
//! tensor the element stands. Bounds were measured against `f64` (see the tests) with FMA; without, they grow by a unit.
//! Coefficients: Cephes 2.8 (`expf`, `logf`, `tanhf`, `sinf`; S. L. Moshier, 1989) and N. Juffa's `erff`.
//!
//! | function | ulp |
//! |---|---|
//! | `exp`, `log`, `erf`, `sin`, `cos` | 2 |
//! | `expm1`, `log1p`, `sigmoid`, `tanh` | 4 |

#![expect(clippy::excessive_precision, reason = "the coefficients as they were published")]

use crate::builder::{BinOp, Builder, CmpOp, Cvt, Elem, Ty, UnOp, Val};

fn int_ty(b: &Builder, x: Val) -> Ty {
    match b.ty(x) {
        Ty::V(_) => Ty::V(Elem::I32),
        _ => Ty::S(Elem::I32),
    }
}

fn c(b: &mut Builder, like: Val, value: f64) -> Val {
    let ty = b.ty(like);
    b.const_float(ty, value)
}

fn horner(b: &mut Builder, x: Val, coefficients: &[f64]) -> Val {
    let mut sum = c(b, x, coefficients[0]);
    for &next in &coefficients[1..] {
        let next = c(b, x, next);
        sum = b.fma(sum, x, next);
    }
    sum
}

/// `2^n` for whole `n` in `-126..=127`.
fn exp2_int(b: &mut Builder, n: Val) -> Val {
    let ty = b.ty(n);
    let int = int_ty(b, n);
    let n = b.cvt(Cvt::ToSintSat, n, int);
    let biased = b.add_imm(n, 127);
    let bits = b.shl_imm(biased, 23);
    b.bits(bits, ty)
}

/// `x = n * ln 2 + r`; gives `n` and `exp(r) - 1`.
fn exp_parts(b: &mut Builder, x: Val) -> (Val, Val) {
    let log2e = c(b, x, std::f64::consts::LOG2_E);
    let n = b.mul(x, log2e);
    let n = b.un(UnOp::Nearest, n);
    let (hi, lo) = (c(b, x, -0.693359375), c(b, x, 2.12194440e-4));
    let r = b.fma(n, hi, x);
    let r = b.fma(n, lo, r);
    let p = horner(
        b,
        r,
        &[1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1],
    );
    let r2 = b.mul(r, r);
    (n, b.fma(p, r2, r))
}

/// `e^x`.
pub(super) fn exp(b: &mut Builder, x: Val) -> Val {
    // Beyond these the result is infinite or zero; NaN passes `min` and `max` as the second operand.
    let (hi, lo) = (c(b, x, 89.0), c(b, x, -104.0));
    let x = b.min(hi, x);
    let x = b.max(lo, x);
    let (n, q) = exp_parts(b, x);
    // In two steps, because 2^n itself may overflow or be subnormal.
    let half = c(b, x, 0.5);
    let n1 = b.mul(n, half);
    let n1 = b.un(UnOp::Floor, n1);
    let n2 = b.sub(n, n1);
    let (s1, s2) = (exp2_int(b, n1), exp2_int(b, n2));
    let one = c(b, x, 1.0);
    let p = b.add(q, one);
    let p = b.mul(p, s1);
    b.mul(p, s2)
}

/// `e^x - 1`.
pub(super) fn expm1(b: &mut Builder, x: Val) -> Val {
    let big = c(b, x, 87.0);
    let is_big = b.cmp(CmpOp::Gt, x, big);
    let large = exp(b, x);
    let lo = c(b, x, -40.0);
    let t = b.min(big, x);
    let t = b.max(lo, t);
    let (n, q) = exp_parts(b, t);
    let s = exp2_int(b, n);
    let one = c(b, x, 1.0);
    let rest = b.sub(s, one);
    let small = b.fma(s, q, rest);
    // The product rounds away the sign and the last bits of tiny arguments.
    let tiny = c(b, x, 1e-7);
    let size = b.abs(x);
    let is_tiny = b.cmp(CmpOp::Lt, size, tiny);
    let small = b.select(is_tiny, x, small);
    b.select(is_big, large, small)
}

/// Natural logarithm.
pub(super) fn log(b: &mut Builder, x: Val) -> Val {
    let (ty, int) = (b.ty(x), int_ty(b, x));
    // Subnormal numbers are scaled into the normal range.
    let (least, scale) = (c(b, x, f64::from(f32::MIN_POSITIVE)), c(b, x, 8388608.0));
    let is_small = b.cmp(CmpOp::Lt, x, least);
    let scaled = b.mul(x, scale);
    let v = b.select(is_small, scaled, x);
    let bits = b.bits(v, int);
    // Mantissa in [sqrt(1/2), sqrt(2)).
    let offset = b.const_int(int, 0x3f35_04f3);
    let shifted = b.sub(bits, offset);
    let e = b.sar_imm(shifted, 23);
    let whole = b.shl_imm(e, 23);
    let m = b.sub(bits, whole);
    let m = b.bits(m, ty);
    let e = b.cvt(Cvt::FromSint, e, ty);
    let (shift, zero) = (c(b, x, -23.0), c(b, x, 0.0));
    let adjust = b.select(is_small, shift, zero);
    let e = b.add(e, adjust);
    let one = c(b, x, 1.0);
    let f = b.sub(m, one);
    let z = b.mul(f, f);
    let p = horner(
        b,
        f,
        &[
            7.0376836292e-2,
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        ],
    );
    let y = b.mul(f, z);
    let y = b.mul(y, p);
    let (ln2_lo, ln2_hi) = (c(b, x, -2.12194440e-4), c(b, x, 0.693359375));
    let y = b.fma(e, ln2_lo, y);
    let minus_half = c(b, x, -0.5);
    let y = b.fma(z, minus_half, y);
    let y = b.add(f, y);
    let y = b.fma(e, ln2_hi, y);
    let infinity = c(b, x, f64::INFINITY);
    let above = b.cmp(CmpOp::Lt, x, infinity);
    // Infinity and NaN are their own logarithms.
    let y = b.select(above, y, x);
    let minus_infinity = c(b, x, f64::NEG_INFINITY);
    let is_zero = b.cmp(CmpOp::Eq, x, zero);
    let y = b.select(is_zero, minus_infinity, y);
    let nan = c(b, x, f64::NAN);
    let negative = b.cmp(CmpOp::Lt, x, zero);
    b.select(negative, nan, y)
}

/// `log(1 + x)`.
pub(super) fn log1p(b: &mut Builder, x: Val) -> Val {
    let one = c(b, x, 1.0);
    let u = b.add(x, one);
    let l = log(b, u);
    // The rounding error of 1 + x is made good by the factor x / (u - 1).
    let d = b.sub(u, one);
    let ratio = b.div(x, d);
    let y = b.mul(l, ratio);
    let exact = b.cmp(CmpOp::Eq, u, one);
    let y = b.select(exact, x, y);
    let infinity = c(b, x, f64::INFINITY);
    let zero = c(b, x, 0.0);
    let positive = b.cmp(CmpOp::Gt, u, zero);
    let finite = b.cmp(CmpOp::Lt, u, infinity);
    let usual = b.and(positive, finite);
    b.select(usual, y, l)
}

/// `1 / (1 + exp(-x))`; below -88 the result is zero, an absolute error under 2^-126.
pub(super) fn sigmoid(b: &mut Builder, x: Val) -> Val {
    let minus = b.neg(x);
    let e = exp(b, minus);
    let one = c(b, x, 1.0);
    let d = b.add(e, one);
    b.div(one, d)
}

/// Hyperbolic tangent.
pub(super) fn tanh(b: &mut Builder, x: Val) -> Val {
    let z = b.mul(x, x);
    let p =
        horner(b, z, &[-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1]);
    let xz = b.mul(x, z);
    let small = b.fma(p, xz, x);
    let size = b.abs(x);
    let twice = b.add(size, size);
    let e = exp(b, twice);
    let (one, two) = (c(b, x, 1.0), c(b, x, 2.0));
    let d = b.add(e, one);
    let q = b.div(two, d);
    let large = b.sub(one, q);
    let large = copy_sign(b, large, x);
    let limit = c(b, x, 0.625);
    let is_small = b.cmp(CmpOp::Lt, size, limit);
    b.select(is_small, small, large)
}

/// The error function.
pub(super) fn erf(b: &mut Builder, x: Val) -> Val {
    let t = b.abs(x);
    let s = b.mul(x, x);
    let cs = |b: &mut Builder, v| c(b, x, v);
    let (c0, c1) = (cs(b, -1.72853470e-5), cs(b, 3.83197126e-4));
    let r = b.fma(c0, t, c1);
    let (c2, c3) = (cs(b, -3.88396438e-3), cs(b, 2.42546219e-2));
    let u = b.fma(c2, t, c3);
    let mut r = b.fma(r, s, u);
    for v in [-1.06777877e-1, -6.34846687e-1, -1.28717512e-1] {
        let v = cs(b, v);
        r = b.fma(r, t, v);
    }
    let minus_t = b.neg(t);
    let r = b.fma(r, t, minus_t);
    let e = exp(b, r);
    let one = cs(b, 1.0);
    let large = b.sub(one, e);
    // The polynomial leaves its domain far out, where the result is 1 (and s, r overflow).
    let far = cs(b, 4.0);
    let is_far = b.cmp(CmpOp::Gt, t, far);
    let large = b.select(is_far, one, large);
    let large = copy_sign(b, large, x);
    let p =
        horner(b, s, &[-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1]);
    let small = b.fma(p, x, x);
    let limit = cs(b, 0.927734375);
    // Written so that NaN takes the branch which passes it on.
    let is_large = b.cmp(CmpOp::Gt, t, limit);
    b.select(is_large, large, small)
}

/// `magnitude` (not negative) with the sign of `sign`.
fn copy_sign(b: &mut Builder, magnitude: Val, sign: Val) -> Val {
    let (ty, int) = (b.ty(magnitude), int_ty(b, magnitude));
    let mask = b.const_int(int, i64::from(i32::MIN));
    let bits = b.bits(sign, int);
    let bit = b.and(bits, mask);
    let m = b.bits(magnitude, int);
    let joined = b.or(m, bit);
    b.bits(joined, ty)
}

/// Arguments above this are not reduced here: beyond it `n * (pi/2)` loses the last bits.
pub(super) const TRIG_LIMIT: f64 = 71476.0;

/// Sine (`cosine` false) or cosine, for arguments up to [`TRIG_LIMIT`].
pub(super) fn sin_cos(b: &mut Builder, x: Val, cosine: bool) -> Val {
    let (ty, int) = (b.ty(x), int_ty(b, x));
    let two_over_pi = c(b, x, std::f64::consts::FRAC_2_PI);
    let n = b.mul(x, two_over_pi);
    let n = b.un(UnOp::Nearest, n);
    // pi/2 in parts. Products with those of 8 bits are exact: `n` has at most 16.
    let parts: &[f64] = if b.target().fused {
        &[-1.57079637050628662109375, 4.37113900018624283e-8, 1.71512451e-15]
    } else {
        &[
            -1.5703125,
            -0.0004825592041015625,
            -1.2665987014770508e-6,
            -9.89530235528946e-10,
            -2.5579538487363607e-12,
            -5.390302858158119e-15,
        ]
    };
    let mut r = x;
    for &part in parts {
        let part = c(b, x, part);
        r = b.fma(n, part, r);
    }
    let quadrant = b.cvt(Cvt::ToSintSat, n, int);
    let quadrant = if cosine { b.add_imm(quadrant, 1) } else { quadrant };
    let z = b.mul(r, r);
    let ps = horner(b, z, &[-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]);
    let rz = b.mul(r, z);
    let s = b.fma(ps, rz, r);
    let pc = horner(b, z, &[2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]);
    let (one, minus_half) = (c(b, x, 1.0), c(b, x, -0.5));
    let z2 = b.mul(z, z);
    let h = b.fma(z, minus_half, one);
    let cosine_value = b.fma(pc, z2, h);
    let bit = b.const_int(int, 1);
    let odd = b.and(quadrant, bit);
    let zero = b.zero(int);
    let is_odd = b.cmp(CmpOp::Ne, odd, zero);
    let y = b.select(is_odd, cosine_value, s);
    // Quadrants 2 and 3 are negative.
    let two = b.const_int(int, 2);
    let sign = b.and(quadrant, two);
    let sign = b.shl_imm(sign, 30);
    let bits = b.bits(y, int);
    let bits = b.bin(BinOp::Xor, bits, sign);
    b.bits(bits, ty)
}
