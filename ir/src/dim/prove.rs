//! Comparisons that hold for all sizes, and the extrema that they simplify.
//!
//! `d >= 0` is shown by its range or, where intervals lose the relation between terms (`n - floor(n / 2)`), by
//! replacing one atom with a linear bound and asking again. Incomplete by intention; the effort is bounded.

use super::poly::Poly;
use super::{Dim, Node};

/// Questions asked for one answer. Real shape relations need one to six; more is for hostile terms.
const EFFORT: u32 = 48;

/// Sums with more terms are judged by their range only.
const MAX_TERMS: usize = 12;

/// Whether `a <= b` for all sizes; false says nothing.
pub(super) fn le(a: &Dim, b: &Dim) -> bool {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => a <= b,
        _ => nonnegative(&(b - a)),
    }
}

/// Whether `d >= 0` for all sizes; false says nothing.
pub(super) fn nonnegative(d: &Dim) -> bool {
    nonnegative_within(d, &mut { EFFORT })
}

fn nonnegative_within(d: &Dim, effort: &mut u32) -> bool {
    let (lo, hi) = d.bounds();
    if lo.is_some_and(|lo| lo >= 0) {
        return !d.is_undefined();
    }
    if hi.is_some_and(|hi| hi < 0) || d.is_undefined() || *effort == 0 {
        return false;
    }
    *effort -= 1;
    let poly = Poly::of(d);
    if poly.terms.len() > MAX_TERMS {
        return false;
    }
    poly.terms.iter().any(|(atoms, coefficient)| match (atoms.as_slice(), i64::try_from(*coefficient)) {
        ([atom], Ok(coefficient)) => by_atom(d, atom, coefficient, effort),
        _ => false,
    })
}

/// Tries `d >= 0` with `coefficient * atom`, one of its monomials, replaced by a bound.
fn by_atom(d: &Dim, atom: &Dim, coefficient: i64, effort: &mut u32) -> bool {
    let rest = || d - atom * coefficient;
    let up = coefficient > 0;
    match atom.node() {
        Some(Node::FloorDiv(x, b)) => match b.as_int() {
            // (x - b + 1) / b <= floor(x / b) <= x / b, and an integer above -1 is at least zero.
            Some(by) => {
                let bound = if up { x - (by - 1) } else { x.clone() };
                nonnegative_within(&(rest() * by + bound * coefficient + (by - 1)), effort)
            }
            // 0 <= floor(x / b) <= x for x >= 0 and b >= 1.
            None if !up && x.bounds().0.is_some_and(|lo| lo >= 0) && b.bounds().0.is_some_and(|lo| lo >= 0) => {
                nonnegative_within(&(rest() + x * coefficient), effort)
            }
            None => false,
        },
        Some(Node::Mod(x, b)) if !up && b.bounds().0.is_some_and(|lo| lo >= 0) => {
            let below = nonnegative_within(&(rest() + (b - 1) * coefficient), effort);
            below || x.bounds().0.is_some_and(|lo| lo >= 0) && nonnegative_within(&(rest() + x * coefficient), effort)
        }
        Some(Node::Min(items)) if up => {
            items.iter().all(|item| nonnegative_within(&(rest() + item * coefficient), effort))
        }
        Some(Node::Min(items)) => items.iter().any(|item| nonnegative_within(&(rest() + item * coefficient), effort)),
        Some(Node::Max(items)) if up => {
            items.iter().any(|item| nonnegative_within(&(rest() + item * coefficient), effort))
        }
        Some(Node::Max(items)) => items.iter().all(|item| nonnegative_within(&(rest() + item * coefficient), effort)),
        Some(Node::Select(_, then, else_)) => {
            nonnegative_within(&(rest() + then * coefficient), effort)
                && nonnegative_within(&(rest() + else_ * coefficient), effort)
        }
        _ => false,
    }
}

/// Which extremum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Min,
    Max,
}

/// The lesser or greater of two: nested ones flatten, and whatever another operand always beats is dropped.
pub(super) fn extremum(a: &Dim, b: &Dim, side: Side) -> Dim {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return Dim::int(if side == Side::Min { x.min(y) } else { x.max(y) });
    }
    if a.is_undefined() || b.is_undefined() {
        return Dim::UNDEFINED;
    }
    if a == b {
        return a.clone();
    }
    let beats = |x: &Dim, y: &Dim| match side {
        Side::Min => le(x, y),
        Side::Max => le(y, x),
    };
    let mut kept: Vec<Dim> = operands(a, side).to_vec();
    for item in operands(b, side) {
        if kept.iter().any(|k| beats(k, item)) {
            continue;
        }
        kept.retain(|k| !beats(item, k));
        kept.push(item.clone());
    }
    kept.sort();
    match (kept.len(), side) {
        (1, _) => kept.swap_remove(0),
        (_, Side::Min) => Dim::from_node(Node::Min(kept.into())),
        (_, Side::Max) => Dim::from_node(Node::Max(kept.into())),
    }
}

fn operands(d: &Dim, side: Side) -> &[Dim] {
    match (d.node(), side) {
        (Some(Node::Min(items)), Side::Min) | (Some(Node::Max(items)), Side::Max) => items,
        _ => std::slice::from_ref(d),
    }
}
