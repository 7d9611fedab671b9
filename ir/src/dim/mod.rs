//! Dimensions: integer expressions over named symbols, kept in a normal form.
//!
//! A dynamic axis is `batch` or `floor((h + 1) / 2)`, and two shapes agree when their terms are equal. So every term
//! is normalised while it is built: a polynomial with integer coefficients over *atoms* (symbols, floor divisions,
//! remainders, minima, maxima, selections, real scalings), monomials in graded lexicographic order. [`PartialEq`]
//! compares normal forms; equal forms have equal values, and most equal values that shapes meet have equal forms
//! (`ceil(h / 2)` and `floor((h - 1) / 2) + 1`, for instance, are one term).
//!
//! **Meaning.** Terms denote mathematical integers. Symbols are sizes, hence at least zero, and simplification uses
//! that (`max(n, 0)` is `n`); an integer of unknown sign is written as the difference of two symbols. Division and
//! remainder round down (Python's `//` and `%`); by zero they are undefined. A simplified term has the value of the
//! expression it came from wherever that is defined (`floor(n*m / n)` is `m`, although the left is undefined at
//! `n = 0`).
//!
//! **Overflow.** Constants are `i64`, as ONNX's are. Folding that leaves this range, division by a constant zero, and
//! terms above [`MAX_SIZE`] nodes or [`MAX_DEPTH`] levels (a hostile model doubles a term at each node) give the
//! undefined dimension, which absorbs all arithmetic and never evaluates: the caller sees it through
//! [`Dim::is_undefined`] and no work is ever larger than the bound.
//!
//! **Cost.** A constant is stored inline and arithmetic on constants allocates nothing; a term is one shared node.
//!
//! Code map: `poly` normalises sums and products, `divide` quotients and remainders, `range` bounds, `prove` decides
//! comparisons, `cond` holds conditions, `print` and `parse` the text form.
//! Sources: graded lexicographic division as in Cox, Little and O'Shea, *Ideals, Varieties, and Algorithms*, ch. 2;
//! the floor identities in Graham, Knuth and Patashnik, *Concrete Mathematics*, ch. 3.

mod cond;
mod divide;
mod parse;
mod poly;
mod print;
mod prove;
mod range;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use cond::{Cond, CondKind};
pub use parse::ParseError;
use range::Range;

/// Largest number of nodes in a term (as a tree); beyond it the term is undefined. Shape expressions of real models
/// stay below a hundred.
pub const MAX_SIZE: u32 = 2048;

/// Deepest nesting of a term; beyond it the term is undefined, so recursion over terms is bounded.
pub const MAX_DEPTH: u32 = 64;

/// A dimension: a normalised integer expression over named symbols. See the [module](self) for its meaning.
///
/// ```
/// use egret_ir::dim::Dim;
/// let n = Dim::sym("n");
/// assert_eq!((&n * 2 + 4).floor_div(&Dim::int(2)), &n + 2);
/// assert_eq!((&n + 1).to_string(), "n + 1");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Undefined,
    Int(i64),
    Term(Arc<Term>),
}

/// A shared node with what every operation on it asks for.
struct Term {
    node: Node,
    range: Range,
    size: u32,
    depth: u32,
}

/// The operators of terms. Slices have at least two entries and are sorted.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    Sym(Arc<str>),
    FloorDiv(Dim, Dim),
    Mod(Dim, Dim),
    Min(Box<[Dim]>),
    Max(Box<[Dim]>),
    Select(Cond, Dim, Dim),
    ScaleFloor(Dim, Scale),
    /// An optional integer coefficient first, then atoms, repeated for powers.
    Product(Box<[Dim]>),
    /// Distinct monomials, the constant last.
    Sum(Box<[Dim]>),
}

/// A finite, non-zero real factor, ordered and hashed by its bits.
#[derive(Clone, Copy)]
struct Scale(f64);

/// What a dimension is, for translators (SMT, code) and printers.
#[derive(Clone, Debug)]
pub enum DimKind<'a> {
    /// Overflow, division by zero, or a term past the size bound: no value.
    Undefined,
    /// A number.
    Int(i64),
    /// A named size, at least zero.
    Sym(&'a Arc<str>),
    /// Sum of at least two monomials, a constant last.
    Sum(&'a [Dim]),
    /// Product of at least two factors, an integer coefficient first.
    Product(&'a [Dim]),
    /// `floor(a / b)`.
    FloorDiv(&'a Dim, &'a Dim),
    /// `a - b * floor(a / b)`: zero, or of the divisor's sign.
    Mod(&'a Dim, &'a Dim),
    /// Least of at least two terms.
    Min(&'a [Dim]),
    /// Greatest of at least two terms.
    Max(&'a [Dim]),
    /// The first term where the condition holds, else the second.
    Select(&'a Cond, &'a Dim, &'a Dim),
    /// `floor(a * scale)`, the product taken exactly.
    ScaleFloor(&'a Dim, f64),
}

impl Dim {
    /// Zero.
    pub const ZERO: Dim = Dim(Repr::Int(0));
    /// One.
    pub const ONE: Dim = Dim(Repr::Int(1));
    /// The dimension without a value: what overflow and division by zero give.
    pub const UNDEFINED: Dim = Dim(Repr::Undefined);

    /// A number.
    pub const fn int(value: i64) -> Dim {
        Dim(Repr::Int(value))
    }

    /// The symbol `name`: a size, at least zero. Any text is a name; what is no identifier is quoted in print.
    pub fn sym(name: &str) -> Dim {
        Dim::from_node(Node::Sym(Arc::from(name)))
    }

    /// The number, where this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self.0 {
            Repr::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Whether this is a number.
    pub fn is_int(&self) -> bool {
        self.as_int().is_some()
    }

    /// Whether this dimension has no value (overflow, division by zero, size bound).
    pub fn is_undefined(&self) -> bool {
        matches!(self.0, Repr::Undefined)
    }

    /// The symbol's name, where this is a bare symbol.
    pub fn as_sym(&self) -> Option<&str> {
        match self.node() {
            Some(Node::Sym(name)) => Some(name),
            _ => None,
        }
    }

    /// The outermost operator and its operands.
    pub fn kind(&self) -> DimKind<'_> {
        let term = match &self.0 {
            Repr::Undefined => return DimKind::Undefined,
            Repr::Int(value) => return DimKind::Int(*value),
            Repr::Term(term) => term,
        };
        match &term.node {
            Node::Sym(name) => DimKind::Sym(name),
            Node::FloorDiv(a, b) => DimKind::FloorDiv(a, b),
            Node::Mod(a, b) => DimKind::Mod(a, b),
            Node::Min(items) => DimKind::Min(items),
            Node::Max(items) => DimKind::Max(items),
            Node::Select(cond, then, else_) => DimKind::Select(cond, then, else_),
            Node::ScaleFloor(a, scale) => DimKind::ScaleFloor(a, scale.0),
            Node::Product(factors) => DimKind::Product(factors),
            Node::Sum(terms) => DimKind::Sum(terms),
        }
    }

    /// `floor(self / divisor)`.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        divide::floor_div(self, divisor)
    }

    /// `ceil(self / divisor)`.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        match divisor.as_int() {
            // floor((a + b - 1) / b), for positive b, is the form that prints as `ceil`.
            Some(b) if b > 0 && !self.is_int() => divide::floor_div(&(self + (b - 1)), divisor),
            _ => -divide::floor_div(&-self, divisor),
        }
    }

    /// `self - divisor * floor(self / divisor)`: zero, or of the divisor's sign.
    pub fn modulo(&self, divisor: &Dim) -> Dim {
        divide::modulo(self, divisor)
    }

    /// The lesser of two dimensions. With an owned receiver at hand write `Dim::min(&a, &b)`.
    pub fn min(&self, other: &Dim) -> Dim {
        prove::extremum(self, other, prove::Side::Min)
    }

    /// The greater of two dimensions. With an owned receiver at hand write `Dim::max(&a, &b)`.
    pub fn max(&self, other: &Dim) -> Dim {
        prove::extremum(self, other, prove::Side::Max)
    }

    /// `then` where `cond` holds, else `else_`. Only the chosen branch need have a value.
    pub fn select(cond: &Cond, then: &Dim, else_: &Dim) -> Dim {
        match cond.as_bool() {
            Some(true) => return then.clone(),
            Some(false) => return else_.clone(),
            None if cond.is_undefined() => return Dim::UNDEFINED,
            None if then == else_ => return then.clone(),
            None => {}
        }
        let negated = cond.not();
        if negated < *cond {
            return Dim::from_node(Node::Select(negated, else_.clone(), then.clone()));
        }
        Dim::from_node(Node::Select(cond.clone(), then.clone(), else_.clone()))
    }

    /// `floor(self * scale)` with the product taken exactly: Resize's output size. A scale that is no finite number
    /// gives the undefined dimension; a scale that is a small fraction (0.5, 1.5, 2) becomes a [`Dim::floor_div`].
    pub fn scale_floor(&self, scale: f64) -> Dim {
        if !scale.is_finite() || self.is_undefined() {
            return Dim::UNDEFINED;
        }
        if scale == 0.0 {
            return Dim::ZERO;
        }
        let (numerator, shift) = divide::dyadic(scale);
        match (self.as_int(), i64::try_from(numerator)) {
            (Some(value), _) => divide::scale_int(value.into(), scale).map_or(Dim::UNDEFINED, Dim::from_wide),
            (None, Ok(numerator)) if shift <= 0 && numerator.unsigned_abs() < 1 << 20 && shift > -40 => {
                self * numerator * (1_i64 << -shift)
            }
            (None, Ok(numerator)) if (0..=16).contains(&shift) && numerator.unsigned_abs() < 1 << 20 => {
                (self * numerator).floor_div(&Dim::int(1 << shift))
            }
            _ => Dim::from_node(Node::ScaleFloor(self.clone(), Scale(scale))),
        }
    }

    /// The term with each symbol that `with` knows replaced. Replacements are sizes: they must not be negative.
    pub fn substitute(&self, with: &dyn Fn(&str) -> Option<Dim>) -> Dim {
        let again = |d: &Dim| d.substitute(with);
        match self.kind() {
            DimKind::Undefined | DimKind::Int(_) => self.clone(),
            DimKind::Sym(name) => with(name).unwrap_or_else(|| self.clone()),
            DimKind::Sum(terms) => terms.iter().map(again).sum(),
            DimKind::Product(factors) => factors.iter().map(again).product(),
            DimKind::FloorDiv(a, b) => again(a).floor_div(&again(b)),
            DimKind::Mod(a, b) => again(a).modulo(&again(b)),
            DimKind::Min(items) => fold(items, again, Dim::min),
            DimKind::Max(items) => fold(items, again, Dim::max),
            DimKind::Select(cond, then, else_) => Dim::select(&cond.substitute(with), &again(then), &again(else_)),
            DimKind::ScaleFloor(a, scale) => again(a).scale_floor(scale),
        }
    }

    /// The names of all symbols in the term.
    pub fn symbols(&self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        self.collect_symbols(&mut names);
        names
    }

    fn collect_symbols(&self, into: &mut BTreeSet<Arc<str>>) {
        match self.kind() {
            DimKind::Undefined | DimKind::Int(_) => {}
            DimKind::Sym(name) => {
                into.insert(name.clone());
            }
            DimKind::Sum(items) | DimKind::Product(items) | DimKind::Min(items) | DimKind::Max(items) => {
                items.iter().for_each(|item| item.collect_symbols(into));
            }
            DimKind::FloorDiv(a, b) | DimKind::Mod(a, b) => {
                a.collect_symbols(into);
                b.collect_symbols(into);
            }
            DimKind::Select(cond, then, else_) => {
                cond.collect_symbols(into);
                then.collect_symbols(into);
                else_.collect_symbols(into);
            }
            DimKind::ScaleFloor(a, _) => a.collect_symbols(into),
        }
    }

    /// The value under an assignment of sizes, or none where a symbol is not assigned, a division is by zero or the
    /// value leaves `i64`.
    pub fn eval(&self, sizes: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        i64::try_from(self.eval_wide(sizes)?).ok()
    }

    fn eval_wide(&self, sizes: &dyn Fn(&str) -> Option<i64>) -> Option<i128> {
        let of = |d: &Dim| d.eval_wide(sizes);
        match self.kind() {
            DimKind::Undefined => None,
            DimKind::Int(value) => Some(value.into()),
            DimKind::Sym(name) => sizes(name).map(i128::from),
            DimKind::Sum(terms) => terms.iter().try_fold(0_i128, |sum, term| sum.checked_add(of(term)?)),
            DimKind::Product(factors) => factors.iter().try_fold(1_i128, |all, factor| all.checked_mul(of(factor)?)),
            DimKind::FloorDiv(a, b) => divide::floor_div_int(of(a)?, of(b)?),
            DimKind::Mod(a, b) => divide::modulo_int(of(a)?, of(b)?),
            DimKind::Min(items) => items.iter().map(of).collect::<Option<Vec<_>>>()?.into_iter().min(),
            DimKind::Max(items) => items.iter().map(of).collect::<Option<Vec<_>>>()?.into_iter().max(),
            DimKind::Select(cond, then, else_) => of(if cond.eval(sizes)? { then } else { else_ }),
            DimKind::ScaleFloor(a, scale) => divide::scale_int(of(a)?, scale),
        }
    }

    /// Least and greatest value over all sizes of the symbols, none where not bounded (or not known to be). A bound
    /// past `i64` is given as the nearest `i64` that still bounds, or none.
    pub fn bounds(&self) -> (Option<i64>, Option<i64>) {
        let range = self.range();
        (range.lo, range.hi)
    }

    /// Whether `self <= other` for all sizes of the symbols. False says nothing.
    pub fn always_le(&self, other: &Dim) -> bool {
        prove::le(self, other)
    }

    fn range(&self) -> Range {
        match &self.0 {
            Repr::Undefined => Range::ALL,
            Repr::Int(value) => Range { lo: Some(*value), hi: Some(*value) },
            Repr::Term(term) => term.range,
        }
    }

    fn size(&self) -> u32 {
        match &self.0 {
            Repr::Term(term) => term.size,
            _ => 1,
        }
    }

    fn depth(&self) -> u32 {
        match &self.0 {
            Repr::Term(term) => term.depth,
            _ => 0,
        }
    }

    fn node(&self) -> Option<&Node> {
        match &self.0 {
            Repr::Term(term) => Some(&term.node),
            _ => None,
        }
    }

    fn from_wide(value: i128) -> Dim {
        i64::try_from(value).map_or(Dim::UNDEFINED, Dim::int)
    }

    /// A term of a node whose operands are normalised; undefined where an operand is or a bound is passed.
    fn from_node(node: Node) -> Dim {
        let (mut size, mut depth, mut undefined) = (1_u32, 0_u32, false);
        let mut see = |d: &Dim| {
            size = size.saturating_add(d.size());
            depth = depth.max(d.depth());
            undefined |= d.is_undefined();
        };
        match &node {
            Node::Sym(_) => {}
            Node::FloorDiv(a, b) | Node::Mod(a, b) => {
                see(a);
                see(b);
            }
            Node::Min(items) | Node::Max(items) | Node::Product(items) | Node::Sum(items) => {
                items.iter().for_each(see);
            }
            Node::Select(cond, then, else_) => {
                // A branch without a value may be the one that is never taken, but it cannot be printed or solved.
                see(then);
                see(else_);
                size = size.saturating_add(cond.size());
                depth = depth.max(cond.depth());
            }
            Node::ScaleFloor(a, _) => see(a),
        }
        if undefined || size > MAX_SIZE || depth >= MAX_DEPTH {
            return Dim::UNDEFINED;
        }
        let range = range::of_node(&node);
        Dim(Repr::Term(Arc::new(Term { node, range, size, depth: depth + 1 })))
    }
}

/// Folds mapped items with a binary constructor.
fn fold(items: &[Dim], map: impl Fn(&Dim) -> Dim, join: impl Fn(&Dim, &Dim) -> Dim) -> Dim {
    let mut mapped = items.iter().map(map);
    let first = mapped.next().expect("n-ary terms have at least two operands");
    mapped.fold(first, |acc, item| join(&acc, &item))
}

impl Ord for Dim {
    /// An order of terms for sorted containers: numbers by value, then terms by structure.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }

    /// The term [`Dim::min`]: on owned receivers the trait's method is found before the inherent one, and must not
    /// mean the lesser by structure.
    fn min(self, other: Self) -> Self {
        Dim::min(&self, &other)
    }

    /// The term [`Dim::max`], for the same reason.
    fn max(self, other: Self) -> Self {
        Dim::max(&self, &other)
    }
}

impl PartialOrd for Dim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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

impl PartialEq for Scale {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Scale {}

impl Hash for Scale {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Ord for Scale {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Scale {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Dim {
    fn default() -> Self {
        Dim::ZERO
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Dim::int(value)
    }
}

impl From<usize> for Dim {
    /// A size past `i64` is undefined.
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or(Dim::UNDEFINED, Dim::int)
    }
}

impl PartialEq<i64> for Dim {
    fn eq(&self, other: &i64) -> bool {
        self.as_int() == Some(*other)
    }
}
