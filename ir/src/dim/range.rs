//! Bounds of terms by interval arithmetic, stored with every node.
//!
//! Symbols are in `[0, ∞)`. Arithmetic runs in `i128` with a stand-in for infinity far outside `i64`; results are
//! clamped outward, so a bound may be loose but never wrong.

use super::{Dim, Node, divide};

/// Least and greatest value; none is unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) lo: Option<i64>,
    pub(super) hi: Option<i64>,
}

/// Infinity in `i128`: above every product of an `i64` sum, below overflow.
const INFINITY: i128 = 1 << 100;

impl Range {
    pub(super) const ALL: Range = Range { lo: None, hi: None };
    const SIZE: Range = Range { lo: Some(0), hi: None };

    /// The range of `[lo, hi]`, each end moved outward to what `i64` holds.
    fn outward(lo: i128, hi: i128) -> Range {
        let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
        Range {
            lo: (lo >= least).then(|| i64::try_from(lo.min(most)).unwrap_or(i64::MAX)),
            hi: (hi <= most).then(|| i64::try_from(hi.max(least)).unwrap_or(i64::MIN)),
        }
    }

    fn ends(self) -> (i128, i128) {
        (self.lo.map_or(-INFINITY, i128::from), self.hi.map_or(INFINITY, i128::from))
    }

    fn mul(self, other: Range) -> Range {
        let ((a, b), (c, d)) = (self.ends(), other.ends());
        let corners = [times(a, c), times(a, d), times(b, c), times(b, d)];
        let lo = corners.into_iter().fold(corners[0], i128::min);
        let hi = corners.into_iter().fold(corners[0], i128::max);
        Range::outward(lo, hi)
    }
}

/// Product of ends: zero times infinity is zero, since infinity stands for arbitrarily large finite values.
fn times(a: i128, b: i128) -> i128 {
    if a == 0 || b == 0 {
        return 0;
    }
    if a.abs() >= INFINITY || b.abs() >= INFINITY {
        return a.signum() * b.signum() * INFINITY;
    }
    // Both ends came from `i64`, so the product stays below 2^126.
    (a * b).clamp(-INFINITY, INFINITY)
}

/// The range of a node from those of its operands.
pub(super) fn of_node(node: &Node) -> Range {
    match node {
        Node::Sym(_) => Range::SIZE,
        Node::Sum(terms) => {
            // At most MAX_SIZE terms: far from overflow.
            let (lo, hi) = terms.iter().map(|t| t.range().ends()).fold((0, 0), |(l, h), (a, b)| (l + a, h + b));
            Range::outward(lo, hi)
        }
        Node::Product(factors) => {
            factors.iter().map(Dim::range).reduce(Range::mul).expect("products have at least two factors")
        }
        Node::FloorDiv(a, b) => of_floor_div(a.range(), b.range()),
        Node::Mod(a, b) => of_mod(a.range(), b.range()),
        Node::Min(items) => {
            let (lo, hi) = hull_with(items, i128::min);
            Range::outward(lo, hi)
        }
        Node::Max(items) => {
            let (lo, hi) = hull_with(items, i128::max);
            Range::outward(lo, hi)
        }
        Node::Select(_, then, else_) => {
            let ((a, b), (c, d)) = (then.range().ends(), else_.range().ends());
            Range::outward(a.min(c), b.max(d))
        }
        Node::ScaleFloor(a, scale) => {
            let at = |end: Option<i64>| end.and_then(|v| divide::scale_int(v.into(), scale.0));
            let range = a.range();
            let (lo, hi) = if scale.0 > 0.0 { (range.lo, range.hi) } else { (range.hi, range.lo) };
            // An end that overflows is unbounded outward; inward of i64 it still clamps.
            Range::outward(at(lo).unwrap_or(-INFINITY), at(hi).unwrap_or(INFINITY))
        }
    }
}

fn hull_with(items: &[Dim], join: fn(i128, i128) -> i128) -> (i128, i128) {
    let ends = items.iter().map(|item| item.range().ends());
    ends.reduce(|(a, b), (c, d)| (join(a, c), join(b, d))).expect("extrema have at least two operands")
}

/// A divisor that may be zero is taken as at least one, since the quotient has no value at zero.
fn of_floor_div(a: Range, b: Range) -> Range {
    let (least, most) = match (b.lo, b.ends().1) {
        (Some(lo), hi) if lo >= 0 => (i128::from(lo).max(1), hi.max(1)),
        _ => return Range::ALL,
    };
    let (lo, hi) = a.ends();
    let quotient = |x: i128, y: i128| match (x.abs() >= INFINITY, y >= INFINITY) {
        (true, _) => x,
        (false, true) => {
            if x < 0 {
                -1
            } else {
                0
            }
        }
        (false, false) => x.div_euclid(y),
    };
    Range::outward(quotient(lo, if lo < 0 { least } else { most }), quotient(hi, if hi < 0 { most } else { least }))
}

fn of_mod(a: Range, b: Range) -> Range {
    if b.lo.is_none_or(|lo| lo < 0) {
        return Range::ALL;
    }
    let below = b.ends().1 - 1;
    let hi = if a.lo.is_some_and(|lo| lo >= 0) { below.min(a.ends().1) } else { below };
    Range::outward(0, hi.max(0))
}
