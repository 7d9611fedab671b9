//! Conditions on dimensions, in a normal form of their own.
//!
//! A comparison is moved to one side, divided by its content and split again, so both sides have positive
//! coefficients: `2*n - 3 <= 5` is `n <= 4`. Negation is pushed inward and remains only on equalities. Conjunctions and
//! disjunctions are flat, sorted and free of repetition, and know that `p` and `not p` exclude each other.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::poly::Poly;
use super::{Dim, MAX_DEPTH, MAX_SIZE, divide, prove};

/// A condition on dimensions.
///
/// ```
/// use egret_ir::dim::{Cond, Dim};
/// let n = Dim::sym("n");
/// assert_eq!(Cond::le(&(&n * 2 - 3), &Dim::int(5)).to_string(), "n <= 4");
/// assert_eq!(Cond::le(&Dim::ZERO, &n).as_bool(), Some(true));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cond(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Undefined,
    False,
    True,
    Term(Arc<Term>),
}

struct Term {
    node: Node,
    size: u32,
    depth: u32,
}

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    Eq(Dim, Dim),
    Le(Dim, Dim),
    Not(Cond),
    And(Box<[Cond]>),
    Or(Box<[Cond]>),
}

/// What a condition is, for translators and printers.
#[derive(Clone, Debug)]
pub enum CondKind<'a> {
    /// A comparison of dimensions without a value, or a condition past the size bound.
    Undefined,
    /// Never holds.
    False,
    /// Always holds.
    True,
    /// `a == b`.
    Eq(&'a Dim, &'a Dim),
    /// `a <= b`.
    Le(&'a Dim, &'a Dim),
    /// Negation, always of an equality.
    Not(&'a Cond),
    /// All of at least two conditions.
    And(&'a [Cond]),
    /// Any of at least two conditions.
    Or(&'a [Cond]),
}

impl Cond {
    /// Always holds.
    pub const TRUE: Cond = Cond(Repr::True);
    /// Never holds.
    pub const FALSE: Cond = Cond(Repr::False);
    /// Has no truth value.
    pub const UNDEFINED: Cond = Cond(Repr::Undefined);

    /// A known truth value.
    pub const fn from_bool(value: bool) -> Cond {
        if value { Cond::TRUE } else { Cond::FALSE }
    }

    /// `a == b`.
    pub fn eq(a: &Dim, b: &Dim) -> Cond {
        if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
            return Cond::from_bool(a == b);
        }
        let difference = a - b;
        if difference.is_undefined() {
            return Cond::UNDEFINED;
        }
        if let Some(value) = difference.as_int() {
            return Cond::from_bool(value == 0);
        }
        if prove::nonnegative(&(&difference - 1)) || prove::nonnegative(&(-&difference - 1)) {
            return Cond::FALSE;
        }
        let poly = Poly::of(&difference);
        let mut factor = divide::content(poly.symbolic());
        if poly.constant() % factor != 0 {
            return Cond::FALSE;
        }
        if poly.terms[0].1 < 0 {
            factor = -factor;
        }
        let (left, right) = split(&poly, factor, poly.constant() / factor);
        Cond::from_node(Node::Eq(left, right))
    }

    /// `a != b`.
    pub fn ne(a: &Dim, b: &Dim) -> Cond {
        Cond::eq(a, b).not()
    }

    /// `a <= b`.
    pub fn le(a: &Dim, b: &Dim) -> Cond {
        if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
            return Cond::from_bool(a <= b);
        }
        let difference = b - a;
        if difference.is_undefined() {
            return Cond::UNDEFINED;
        }
        if prove::nonnegative(&difference) {
            return Cond::TRUE;
        }
        if prove::nonnegative(&(-&difference - 1)) {
            return Cond::FALSE;
        }
        let poly = Poly::of(&difference);
        let factor = divide::content(poly.symbolic());
        let (right, left) = split(&poly, factor, poly.constant().div_euclid(factor));
        Cond::from_node(Node::Le(left, right))
    }

    /// `a < b`.
    pub fn lt(a: &Dim, b: &Dim) -> Cond {
        match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => Cond::from_bool(a < b),
            _ => Cond::le(&(a + 1), b),
        }
    }

    /// Both hold.
    pub fn and(&self, other: &Cond) -> Cond {
        Cond::all([self, other])
    }

    /// Either holds.
    pub fn or(&self, other: &Cond) -> Cond {
        Cond::any([self, other])
    }

    /// All hold; true of none.
    pub fn all<'a>(conds: impl IntoIterator<Item = &'a Cond>) -> Cond {
        join(conds, &Cond::TRUE, &Cond::FALSE, |kind| match kind {
            CondKind::And(items) => Some(items),
            _ => None,
        })
        .unwrap_or_else(|items| Cond::from_node(Node::And(items.into())))
    }

    /// Any holds; false of none.
    pub fn any<'a>(conds: impl IntoIterator<Item = &'a Cond>) -> Cond {
        join(conds, &Cond::FALSE, &Cond::TRUE, |kind| match kind {
            CondKind::Or(items) => Some(items),
            _ => None,
        })
        .unwrap_or_else(|items| Cond::from_node(Node::Or(items.into())))
    }

    /// Does not hold.
    pub fn not(&self) -> Cond {
        match self.kind() {
            CondKind::Undefined => Cond::UNDEFINED,
            CondKind::False => Cond::TRUE,
            CondKind::True => Cond::FALSE,
            CondKind::Eq(..) => Cond::from_node(Node::Not(self.clone())),
            CondKind::Le(a, b) => Cond::lt(b, a),
            CondKind::Not(inner) => inner.clone(),
            CondKind::And(items) => Cond::any(&items.iter().map(Cond::not).collect::<Vec<_>>()),
            CondKind::Or(items) => Cond::all(&items.iter().map(Cond::not).collect::<Vec<_>>()),
        }
    }

    /// The truth value, where it is the same for all sizes.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Repr::False => Some(false),
            Repr::True => Some(true),
            _ => None,
        }
    }

    /// Whether the condition has no truth value.
    pub fn is_undefined(&self) -> bool {
        matches!(self.0, Repr::Undefined)
    }

    /// The outermost connective and its operands.
    pub fn kind(&self) -> CondKind<'_> {
        match &self.0 {
            Repr::Undefined => CondKind::Undefined,
            Repr::False => CondKind::False,
            Repr::True => CondKind::True,
            Repr::Term(term) => match &term.node {
                Node::Eq(a, b) => CondKind::Eq(a, b),
                Node::Le(a, b) => CondKind::Le(a, b),
                Node::Not(cond) => CondKind::Not(cond),
                Node::And(items) => CondKind::And(items),
                Node::Or(items) => CondKind::Or(items),
            },
        }
    }

    /// The condition with each symbol that `with` knows replaced. Replacements are sizes: they must not be negative.
    pub fn substitute(&self, with: &dyn Fn(&str) -> Option<Dim>) -> Cond {
        let all = |items: &[Cond]| items.iter().map(|item| item.substitute(with)).collect::<Vec<_>>();
        match self.kind() {
            CondKind::Undefined | CondKind::False | CondKind::True => self.clone(),
            CondKind::Eq(a, b) => Cond::eq(&a.substitute(with), &b.substitute(with)),
            CondKind::Le(a, b) => Cond::le(&a.substitute(with), &b.substitute(with)),
            CondKind::Not(cond) => cond.substitute(with).not(),
            CondKind::And(items) => Cond::all(&all(items)),
            CondKind::Or(items) => Cond::any(&all(items)),
        }
    }

    /// The names of all symbols in the condition.
    pub fn symbols(&self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        self.collect_symbols(&mut names);
        names
    }

    pub(super) fn collect_symbols(&self, into: &mut BTreeSet<Arc<str>>) {
        match self.kind() {
            CondKind::Undefined | CondKind::False | CondKind::True => {}
            CondKind::Eq(a, b) | CondKind::Le(a, b) => {
                a.collect_symbols(into);
                b.collect_symbols(into);
            }
            CondKind::Not(cond) => cond.collect_symbols(into),
            CondKind::And(items) | CondKind::Or(items) => items.iter().for_each(|item| item.collect_symbols(into)),
        }
    }

    /// What a conjunction (`winner` is false) or a disjunction (true) of parts is, some of them unknown: `Some(winner)` where a
    /// part has that value, the other value where all have it.
    pub fn decide(parts: impl IntoIterator<Item = Option<bool>>, winner: bool) -> Option<bool> {
        let mut all_known = true;
        for part in parts {
            match part {
                Some(value) if value == winner => return Some(winner),
                Some(_) => {}
                None => all_known = false,
            }
        }
        all_known.then_some(!winner)
    }

    /// The truth value under an assignment of sizes. A conjunction is false where one part is, even if another has no
    /// value (and dually for disjunctions); otherwise a part without a value gives none.
    pub fn eval(&self, sizes: &dyn Fn(&str) -> Option<i64>) -> Option<bool> {
        match self.kind() {
            CondKind::Undefined => None,
            CondKind::False => Some(false),
            CondKind::True => Some(true),
            CondKind::Eq(a, b) => Some(a.eval_wide(sizes)? == b.eval_wide(sizes)?),
            CondKind::Le(a, b) => Some(a.eval_wide(sizes)? <= b.eval_wide(sizes)?),
            CondKind::Not(cond) => cond.eval(sizes).map(|holds| !holds),
            CondKind::And(items) => Cond::decide(items.iter().map(|c| c.eval(sizes)), false),
            CondKind::Or(items) => Cond::decide(items.iter().map(|c| c.eval(sizes)), true),
        }
    }

    pub(super) fn size(&self) -> u32 {
        match &self.0 {
            Repr::Term(term) => term.size,
            _ => 1,
        }
    }

    pub(super) fn depth(&self) -> u32 {
        match &self.0 {
            Repr::Term(term) => term.depth,
            _ => 0,
        }
    }

    fn from_node(node: Node) -> Cond {
        let (size, depth, undefined) = match &node {
            Node::Eq(a, b) | Node::Le(a, b) => {
                let size = a.size().saturating_add(b.size());
                (size, a.depth().max(b.depth()), a.is_undefined() || b.is_undefined())
            }
            Node::Not(cond) => (cond.size(), cond.depth(), cond.is_undefined()),
            Node::And(items) | Node::Or(items) => {
                let size = items.iter().fold(0_u32, |sum, item| sum.saturating_add(item.size()));
                (size, items.iter().map(Cond::depth).max().unwrap_or(0), false)
            }
        };
        if undefined || size >= MAX_SIZE || depth >= MAX_DEPTH {
            return Cond::UNDEFINED;
        }
        Cond(Repr::Term(Arc::new(Term { node, size: size + 1, depth: depth + 1 })))
    }
}

/// `poly / factor` with the given constant as a difference of two dimensions with positive coefficients.
fn split(poly: &Poly, factor: i128, constant: i128) -> (Dim, Dim) {
    let symbolic = poly.symbolic().iter().map(|(atoms, coefficient)| (atoms.clone(), coefficient / factor));
    let with_constant = symbolic.chain((constant != 0).then(|| (Vec::new(), constant)));
    let (plus, minus): (Vec<_>, Vec<_>) = with_constant.partition(|(_, coefficient)| *coefficient > 0);
    let minus = minus.into_iter().map(|(atoms, coefficient)| (atoms, -coefficient)).collect();
    (Poly { terms: plus }.close(), Poly { terms: minus }.close())
}

/// Flattens, sorts and folds the operands of a connective; the remaining two or more are the error case.
fn join<'a>(
    conds: impl IntoIterator<Item = &'a Cond>,
    neutral: &Cond,
    absorbing: &Cond,
    same: impl Fn(CondKind<'a>) -> Option<&'a [Cond]>,
) -> Result<Cond, Vec<Cond>> {
    let mut kept = BTreeSet::new();
    for cond in conds {
        match same(cond.kind()) {
            Some(items) => kept.extend(items.iter().cloned()),
            None if cond == absorbing => return Ok(absorbing.clone()),
            None if cond == neutral => {}
            None => {
                kept.insert(cond.clone());
            }
        }
    }
    // Negating is for leaves: that a compound and its negation exclude each other is rare and costs the square.
    let leaf = |c: &Cond| matches!(c.kind(), CondKind::Eq(..) | CondKind::Le(..));
    if kept.iter().any(|cond| leaf(cond) && kept.contains(&cond.not())) {
        return Ok(absorbing.clone());
    }
    match kept.len() {
        0 => Ok(neutral.clone()),
        1 => Ok(kept.pop_first().expect("one is left")),
        _ => Err(kept.into_iter().collect()),
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.size == other.size && self.node == other.node)
    }
}

impl Eq for Term {}

impl Hash for Term {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
    }
}

impl Ord for Term {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) { Ordering::Equal } else { self.node.cmp(&other.node) }
    }
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<bool> for Cond {
    fn from(value: bool) -> Self {
        Cond::from_bool(value)
    }
}
