//! Dimension terms and conditions as integer arithmetic of z3.
//!
//! Symbols are sizes (at least zero), division rounds down for every sign of the divisor, as [`Dim`] says. A term that
//! z3's integers cannot say (a real scaling by a factor that is no small fraction) has no translation.

use crate::solve::Assignment;
use egret_ir::{Cond, CondKind, Dim, DimKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use z3::ast::{Bool, Int};
use z3::{Model, Params, SatResult, Solver};

/// How much z3 may do about one question of the generator, in its own units: answers do not depend on how busy the machine is.
/// A million take about a second (z3 4.16 on one core of an EPYC 7763).
const EFFORT: u32 = 200_000;
/// What z3 does not count ends here, in milliseconds.
const BACKSTOP_MS: u32 = 20_000;

/// A term.
pub fn dim(d: &Dim) -> Option<Int> {
    Some(match d.kind() {
        DimKind::Undefined => return None,
        DimKind::Int(v) => Int::from_i64(v),
        DimKind::Sym(name) => Int::new_const(&**name),
        DimKind::Sum(terms) => Int::add(&all(terms)?),
        DimKind::Product(factors) => Int::mul(&all(factors)?),
        DimKind::FloorDiv(a, b) => floor_div(&dim(a)?, &dim(b)?),
        DimKind::Mod(a, b) => {
            let (a, b) = (dim(a)?, dim(b)?);
            Int::sub(&[a.clone(), Int::mul(&[b.clone(), floor_div(&a, &b)])])
        }
        DimKind::Min(items) => fold(items, |a, b| a.le(b))?,
        DimKind::Max(items) => fold(items, |a, b| b.le(a))?,
        DimKind::Select(c, a, b) => cond(c)?.ite(&dim(a)?, &dim(b)?),
        DimKind::ScaleFloor(a, scale) => {
            let (numerator, denominator) = fraction(scale)?;
            floor_div(&Int::mul(&[Int::from_i64(numerator), dim(a)?]), &Int::from_i64(denominator))
        }
    })
}

/// A condition.
pub fn cond(c: &Cond) -> Option<Bool> {
    Some(match c.kind() {
        CondKind::Undefined => return None,
        CondKind::False => Bool::from_bool(false),
        CondKind::True => Bool::from_bool(true),
        CondKind::Eq(a, b) => dim(a)?.eq(dim(b)?),
        CondKind::Le(a, b) => dim(a)?.le(dim(b)?),
        CondKind::Not(c) => cond(c)?.not(),
        CondKind::And(items) => Bool::and(&items.iter().map(cond).collect::<Option<Vec<_>>>()?),
        CondKind::Or(items) => Bool::or(&items.iter().map(cond).collect::<Option<Vec<_>>>()?),
    })
}

fn all(items: &[Dim]) -> Option<Vec<Int>> {
    items.iter().map(dim).collect()
}

fn fold(items: &[Dim], first: impl Fn(&Int, &Int) -> Bool) -> Option<Int> {
    let items = all(items)?;
    items.into_iter().reduce(|a, b| first(&a, &b).ite(&a, &b))
}

/// z3's `div` leaves a remainder of at least zero, which rounds down only for positive divisors.
fn floor_div(a: &Int, b: &Int) -> Int {
    let zero = Int::from_i64(0);
    b.gt(&zero).ite(&a.div(b), &a.unary_minus().div(b.unary_minus()))
}

/// The factor as a fraction of 64-bit integers, exactly.
fn fraction(scale: f64) -> Option<(i64, i64)> {
    let shift = (0..=52)
        .find(|&s| (scale * f64::from(1u32 << (s % 32)) * if s >= 32 { 4294967296.0 } else { 1.0 }).fract() == 0.0)?;
    let numerator = scale * (1u64 << shift) as f64;
    (numerator.abs() < 9.0e18).then_some((numerator as i64, 1i64 << shift))
}

/// Values within bounds that satisfy all conditions, if z3 finds some with its effort. Values nearest to `wish` are tried
/// first, so that answers are spread and not all at the lower bound.
pub fn solve(conds: &[Cond], bounds: &BTreeMap<Arc<str>, (i64, i64)>, wish: &Assignment) -> Option<Assignment> {
    let solver = stated(conds, bounds.iter().map(|(name, &(lo, hi))| (name, lo, Some(hi))), EFFORT)?;
    if solver.check() != SatResult::Sat {
        return None;
    }
    let mut model = solver.get_model()?;
    for (name, &value) in wish {
        solver.push();
        solver.assert(Int::new_const(&**name).eq(Int::from_i64(value)));
        match solver.check() {
            SatResult::Sat => model = solver.get_model()?,
            _ => solver.pop(1),
        }
    }
    values(&model, bounds.keys())
}

/// A solver that was told the conditions and for each symbol its least and greatest value.
fn stated<'a>(
    conds: &[Cond],
    bounds: impl Iterator<Item = (&'a Arc<str>, i64, Option<i64>)>,
    effort: u32,
) -> Option<Solver> {
    let solver = Solver::new();
    let mut params = Params::new();
    params.set_u32("rlimit", effort);
    params.set_u32("timeout", BACKSTOP_MS);
    solver.set_params(&params);
    for c in conds {
        solver.assert(&cond(c)?);
    }
    for (name, lo, hi) in bounds {
        let x = Int::new_const(&**name);
        solver.assert(x.ge(Int::from_i64(lo)));
        if let Some(hi) = hi {
            solver.assert(x.le(Int::from_i64(hi)));
        }
    }
    Some(solver)
}

/// What symbols are in a model; none where one is beyond 64 bits.
fn values<'a>(model: &Model, names: impl Iterator<Item = &'a Arc<str>>) -> Option<Assignment> {
    let value = |name: &Arc<str>| model.eval(&Int::new_const(&**name), true)?.as_i64();
    names.map(|name| Some((Arc::clone(name), value(name)?))).collect()
}

/// What z3 says of a conjunction.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// These values satisfy it.
    Sat(Assignment),
    /// Nothing does.
    Unsat,
    /// No answer with that effort, or a term has no translation.
    Unknown,
}

/// Whether all conditions can hold, for symbols within `bounds`: a symbol's least value and, where there is one, its
/// greatest. Symbols that are not listed are sizes. `effort` is what z3 may do, in its own units.
pub fn decide(conds: &[Cond], bounds: &BTreeMap<Arc<str>, (i64, Option<i64>)>, effort: u32) -> Decision {
    // Where a divisor is 0 the terms that it divides have no translation, and the condition that it is not is false.
    if conds.iter().any(|c| c.as_bool() == Some(false)) {
        return Decision::Unsat;
    }
    let mut names: BTreeMap<Arc<str>, (i64, Option<i64>)> =
        conds.iter().flat_map(Cond::symbols).map(|s| (s, (0, None))).collect();
    names.extend(bounds.iter().map(|(n, b)| (Arc::clone(n), *b)));
    let Some(solver) = stated(conds, names.iter().map(|(n, &(lo, hi))| (n, lo, hi)), effort) else {
        return Decision::Unknown;
    };
    match solver.check() {
        SatResult::Unsat => Decision::Unsat,
        SatResult::Unknown => Decision::Unknown,
        SatResult::Sat => {
            let model = solver.get_model().and_then(|model| values(&model, names.keys()));
            model.map_or(Decision::Unknown, Decision::Sat)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(names: &[&str], lo: i64, hi: i64) -> BTreeMap<Arc<str>, (i64, i64)> {
        names.iter().map(|&n| (Arc::from(n), (lo, hi))).collect()
    }

    #[test]
    fn an_answer_satisfies_windows_and_products() {
        let (h, s, k) = (Dim::sym("h"), Dim::sym("s"), Dim::sym("k"));
        let windows = (&h - &k).floor_div(&s) + 1;
        let conds = [Cond::eq(&windows, &Dim::int(5)), Cond::le(&Dim::ONE, &s), Cond::eq(&(&h * &k), &Dim::int(33))];
        let found = solve(&conds, &bounds(&["h", "s", "k"], 1, 40), &Assignment::new()).unwrap();
        let at = |name: &str| found.get(name).copied();
        assert!(conds.iter().all(|c| c.eval(&at) == Some(true)), "{found:?}");
    }

    #[test]
    fn wishes_are_granted_where_they_can_be() {
        let (a, b) = (Dim::sym("a"), Dim::sym("b"));
        let wish: Assignment = [("a", 3), ("b", 9)].map(|(n, v)| (Arc::from(n), v)).into();
        let found = solve(&[Cond::eq(&(&a + &b), &Dim::int(7))], &bounds(&["a", "b"], 0, 10), &wish).unwrap();
        assert_eq!((found["a"], found["b"]), (3, 4));
    }

    #[test]
    fn contradictions_have_no_answer() {
        let a = Dim::sym("a");
        let conds = [Cond::eq(&(&a * 2), &(Dim::sym("b") * 2 + 1))];
        assert_eq!(solve(&conds, &bounds(&["a", "b"], 0, 10), &Assignment::new()), None);
    }

    #[test]
    fn division_rounds_down_for_both_signs_of_the_divisor() {
        for (a, b) in [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-6, -3)] {
            let solver = Solver::new();
            let got = floor_div(&Int::from_i64(a), &Int::from_i64(b));
            let want = Dim::int(a).floor_div(&Dim::int(b)).as_int().unwrap();
            solver.assert(got.eq(Int::from_i64(want)).not());
            assert_eq!(solver.check(), SatResult::Unsat, "{a} / {b}");
        }
    }

    #[test]
    fn scales_are_exact_fractions() {
        assert_eq!(fraction(0.75), Some((3, 4)));
        assert_eq!(fraction(2.0), Some((2, 1)));
        let (n, d) = fraction(1.1).unwrap();
        assert_eq!(n as f64 / d as f64, 1.1);
    }
}
