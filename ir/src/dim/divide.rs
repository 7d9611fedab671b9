//! Quotients, remainders and real scalings.
//!
//! `a` is divided by `b` as polynomials: `a = b*q + r` where no term of `r` can be reduced by the leading term of `b`.
//! The remainder is unique, so `floor((n + 2) / 2)` and `floor(n / 2) + 1` become one term. Common factors of `r` and
//! `b` then cancel (`floor((2*n + 1) / 4)` is `floor(n / 2)`), and nested divisions by constants merge:
//! `floor((floor(x / a) + y) / b) = floor((x + a*y) / (a*b))`.

use super::poly::{Monomial, Poly};
use super::prove;
use super::{Dim, Node, Repr};

/// `floor(a / b)`, none by zero or on overflow.
pub(super) fn floor_div_int(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// `a - b * floor(a / b)`, none by zero.
pub(super) fn modulo_int(a: i128, b: i128) -> Option<i128> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

/// A finite scale as `numerator / 2^shift` with an odd numerator (zero for zero). A negative shift multiplies.
pub(super) fn dyadic(scale: f64) -> (i128, i32) {
    let bits = scale.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).expect("eleven bits fit");
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let (mantissa, shift) = if exponent == 0 { (fraction, 1074) } else { (fraction | (1 << 52), 1075 - exponent) };
    if mantissa == 0 {
        return (0, 0);
    }
    let zeros = mantissa.trailing_zeros();
    let numerator = (mantissa >> zeros) * if scale < 0.0 { -1 } else { 1 };
    (numerator, shift - zeros.cast_signed())
}

/// `floor(value * scale)` exactly, none where it leaves `i128` or the scale is not finite.
pub(super) fn scale_int(value: i128, scale: f64) -> Option<i128> {
    if !scale.is_finite() {
        return None;
    }
    let (numerator, shift) = dyadic(scale);
    let product = value.checked_mul(numerator)?;
    match shift {
        // An arithmetic shift rounds down.
        0.. => Some(product >> shift.min(127)),
        _ => product.checked_mul(1_i128.checked_shl(shift.unsigned_abs()).filter(|p| *p > 0)?),
    }
}

pub(super) fn floor_div(a: &Dim, b: &Dim) -> Dim {
    match (&a.0, &b.0) {
        (Repr::Undefined, _) | (_, Repr::Undefined) | (_, Repr::Int(0)) => Dim::UNDEFINED,
        (Repr::Int(x), Repr::Int(y)) => floor_div_int((*x).into(), (*y).into()).map_or(Dim::UNDEFINED, Dim::from_wide),
        (_, Repr::Int(1)) => a.clone(),
        (Repr::Int(0), _) => Dim::ZERO,
        _ if a == b => Dim::ONE,
        _ if leads_negative(b) => floor_div(&-a, &-b),
        _ => floor_div_term(a, b),
    }
}

fn floor_div_term(a: &Dim, b: &Dim) -> Dim {
    if let Some(quotient) = small_quotient(a, b) {
        return Dim::int(quotient);
    }
    let Some(Division { quotient, rest, divisor, .. }) = divide(a, b) else {
        return Dim::UNDEFINED;
    };
    if rest == Dim::ZERO {
        return quotient;
    }
    if let Some(last) = small_quotient(&rest, &divisor) {
        return quotient + last;
    }
    if let Some((numerator, denominator)) = merge_nested(&rest, &divisor) {
        return quotient + floor_div(&numerator, &denominator);
    }
    if rest == *a && divisor == *b {
        return Dim::from_node(Node::FloorDiv(rest, divisor));
    }
    quotient + floor_div(&rest, &divisor)
}

pub(super) fn modulo(a: &Dim, b: &Dim) -> Dim {
    match (&a.0, &b.0) {
        (Repr::Undefined, _) | (_, Repr::Undefined) | (_, Repr::Int(0)) => Dim::UNDEFINED,
        (Repr::Int(x), Repr::Int(y)) => modulo_int((*x).into(), (*y).into()).map_or(Dim::UNDEFINED, Dim::from_wide),
        (_, Repr::Int(1)) | (Repr::Int(0), _) => Dim::ZERO,
        _ if a == b => Dim::ZERO,
        _ if leads_negative(b) => -modulo(&-a, &-b),
        _ => modulo_term(a, b),
    }
}

fn modulo_term(a: &Dim, b: &Dim) -> Dim {
    if let Some(quotient) = small_quotient(a, b) {
        return a - b * quotient;
    }
    let unwrapped = b.as_int().map_or_else(|| a.clone(), |m| unwrap_remainders(a, m));
    let Some(Division { rest, divisor, factor, residue, .. }) = divide(&unwrapped, b) else {
        return Dim::UNDEFINED;
    };
    if rest == Dim::ZERO {
        return residue;
    }
    if let Some(last) = small_quotient(&rest, &divisor) {
        return factor * (&rest - &divisor * last) + residue;
    }
    if rest == *a && divisor == *b {
        return Dim::from_node(Node::Mod(rest, divisor));
    }
    factor * modulo(&rest, &divisor) + residue
}

/// Whether the greatest monomial's coefficient is negative.
fn leads_negative(b: &Dim) -> bool {
    Poly::of(b).terms.first().is_some_and(|(_, coefficient)| *coefficient < 0)
}

/// `floor(a / b)` where it is 0 or -1 for all sizes, or the same number at both ends of `a`.
fn small_quotient(a: &Dim, b: &Dim) -> Option<i64> {
    if let (Some(b), (Some(lo), Some(hi))) = (b.as_int(), a.bounds()) {
        let (first, last) = (floor_div_int(lo.into(), b.into())?, floor_div_int(hi.into(), b.into())?);
        return if first == last { i64::try_from(first).ok() } else { None };
    }
    if prove::nonnegative(a) && prove::nonnegative(&(b - a - 1)) {
        return Some(0);
    }
    (prove::nonnegative(&(-a - 1)) && prove::nonnegative(&(a + b))).then_some(-1)
}

/// `a = b*quotient + factor*rest + residue`, `b = factor*divisor`, `0 <= residue < factor`, so that
/// `floor(a / b) = quotient + floor(rest / divisor)` and `mod(a, b) = factor*mod(rest, divisor) + residue`.
struct Division {
    quotient: Dim,
    rest: Dim,
    divisor: Dim,
    factor: Dim,
    residue: Dim,
}

/// Divides by `b`, whose leading coefficient is positive. None on overflow.
fn divide(a: &Dim, b: &Dim) -> Option<Division> {
    let (mut rest, b) = (Poly::of(a), Poly::of(b));
    let (lead, lead_coefficient) = b.terms.first()?.clone();
    let mut quotient = Poly::default();
    let mut at = 0;
    // Each step cancels into lower monomials; the bound is against long division of hostile terms.
    let mut steps = 0;
    while let Some((atoms, coefficient)) = rest.terms.get(at) {
        let times = coefficient.div_euclid(lead_coefficient);
        match without(atoms, &lead) {
            Some(cofactor) if times != 0 => {
                let step = Poly::monomial(cofactor, times);
                let kept = coefficient.rem_euclid(lead_coefficient) != 0;
                rest = rest.add_scaled(&step.mul(&b)?, -1)?;
                quotient = quotient.add_scaled(&step, 1)?;
                at += usize::from(kept);
                steps += 1;
                if steps > 512 {
                    return None;
                }
            }
            _ => at += 1,
        }
    }
    let (rest, divisor, factor, residue) = match b.symbolic() {
        [] => cancel_constant(&rest, lead_coefficient),
        _ => cancel_common(&rest, &b),
    };
    Some(Division {
        quotient: quotient.close(),
        rest: rest.close(),
        divisor: divisor.close(),
        factor: factor.close(),
        residue: Dim::from_wide(residue),
    })
}

/// `atoms` less `part`, none where it does not contain it.
fn without(atoms: &[Dim], part: &[Dim]) -> Option<Monomial> {
    let mut left = atoms.to_vec();
    for atom in part {
        let at = left.iter().position(|a| a == atom)?;
        left.remove(at);
    }
    Some(left)
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

/// The greatest common divisor of coefficients; zero of none.
pub(super) fn content(terms: &[(Monomial, i128)]) -> i128 {
    terms.iter().fold(0, |g, (_, coefficient)| gcd(g, *coefficient))
}

fn divide_exactly(terms: &[(Monomial, i128)], by: i128) -> Poly {
    Poly { terms: terms.iter().map(|(atoms, coefficient)| (atoms.clone(), coefficient / by)).collect() }
}

/// Rest, divisor, factor and residue for a constant divisor: the constant of the rest need not be a multiple.
fn cancel_constant(rest: &Poly, divisor: i128) -> (Poly, Poly, Poly, i128) {
    let factor = gcd(content(rest.symbolic()), divisor);
    let constant = rest.constant();
    let reduced = divide_exactly(rest.symbolic(), factor).with_constant(constant.div_euclid(factor));
    let of = |value| Poly::monomial(Vec::new(), value);
    (reduced, of(divisor / factor), of(factor), constant.rem_euclid(factor))
}

/// Rest, divisor, factor and residue for a divisor with symbols: whatever divides all monomials of both.
fn cancel_common(rest: &Poly, divisor: &Poly) -> (Poly, Poly, Poly, i128) {
    let factor = gcd(content(&rest.terms), content(&divisor.terms));
    let mut monomials = rest.terms.iter().chain(&divisor.terms).map(|(atoms, _)| atoms);
    let mut common = if rest.terms.is_empty() { Vec::new() } else { monomials.next().cloned().unwrap_or_default() };
    for atoms in monomials {
        let mut left = atoms.clone();
        common.retain(|atom| left.iter().position(|a| a == atom).map(|at| left.remove(at)).is_some());
    }
    let reduce = |poly: &Poly| {
        let terms = divide_exactly(&poly.terms, factor).terms;
        let strip = |(atoms, c): (Monomial, i128)| (without(&atoms, &common).unwrap_or(atoms), c);
        // Taking one factor out of every monomial keeps their order.
        Poly { terms: terms.into_iter().map(strip).collect() }
    };
    (reduce(rest), reduce(divisor), Poly::monomial(common.clone(), factor), 0)
}

/// The merged numerator and denominator where exactly one monomial of `rest` is a bare division by a constant.
fn merge_nested(rest: &Dim, divisor: &Dim) -> Option<(Dim, Dim)> {
    let outer = divisor.as_int()?;
    let poly = Poly::of(rest);
    let mut found = None;
    for (atoms, coefficient) in &poly.terms {
        if let ([atom], 1) = (atoms.as_slice(), coefficient)
            && let Some(Node::FloorDiv(x, inner)) = atom.node()
            && let Some(inner) = inner.as_int()
        {
            if found.is_some() {
                return None;
            }
            found = Some((atom, x, inner));
        }
    }
    let (atom, x, inner) = found?;
    let merged = x + (rest - atom) * inner;
    let denominator = outer.checked_mul(inner)?;
    (!merged.is_undefined()).then(|| (merged, Dim::int(denominator)))
}

/// Congruent to `a` modulo the constant `m`: `c*mod(x, k)` is `c*x` where `m` divides `c*k`.
fn unwrap_remainders(a: &Dim, m: i64) -> Dim {
    let poly = Poly::of(a);
    let mut unwrapped = Dim::ZERO;
    for (atoms, coefficient) in poly.terms {
        let mut coefficient_and_rest = Dim::from_wide(coefficient);
        for atom in &atoms {
            coefficient_and_rest *= match atom.node() {
                Some(Node::Mod(x, k))
                    if k.as_int().is_some_and(|k| (coefficient * i128::from(k)) % i128::from(m) == 0) =>
                {
                    x
                }
                _ => atom,
            };
        }
        unwrapped += coefficient_and_rest;
    }
    if unwrapped.is_undefined() { a.clone() } else { unwrapped }
}
