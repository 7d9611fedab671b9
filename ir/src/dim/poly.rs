//! Sums and products: polynomials over atoms, and the arithmetic operators of [`Dim`].
//!
//! A polynomial is a list of monomials (sorted atoms, repeated for powers) with non-zero coefficients, in descending
//! graded lexicographic order: higher degree first, then by atoms. That order is compatible with multiplication,
//! which is what makes division in `divide` well defined, and it prints constants last.
//! Coefficients are `i128` while a polynomial is open and must fit `i64` when it closes into a [`Dim`].

use std::cmp::Ordering;
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::{Dim, MAX_SIZE, Node, Repr};

/// Sorted atoms; the empty monomial is one.
pub(super) type Monomial = Vec<Dim>;

/// Distinct monomials with non-zero coefficients, greatest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Poly {
    pub(super) terms: Vec<(Monomial, i128)>,
}

/// Order of monomials from the greatest: higher degree first, then by atoms.
fn monomial_order(a: &[Dim], b: &[Dim]) -> Ordering {
    b.len().cmp(&a.len()).then_with(|| a.cmp(b))
}

/// Whether `Repr::Term` is neither sum nor product.
fn split_monomial(d: &Dim) -> (Monomial, i128) {
    match &d.0 {
        Repr::Int(value) => (Vec::new(), (*value).into()),
        _ => match d.node() {
            Some(Node::Product(factors)) => match factors[0].as_int() {
                Some(coefficient) => (factors[1..].to_vec(), coefficient.into()),
                None => (factors.to_vec(), 1),
            },
            _ => (vec![d.clone()], 1),
        },
    }
}

impl Poly {
    /// The polynomial of a defined dimension.
    pub(super) fn of(d: &Dim) -> Poly {
        let terms = match d.node() {
            Some(Node::Sum(terms)) => terms.iter().map(split_monomial).collect(),
            _ if *d == Dim::ZERO => Vec::new(),
            _ => vec![split_monomial(d)],
        };
        Poly { terms }
    }

    /// One monomial with a coefficient.
    pub(super) fn monomial(atoms: Monomial, coefficient: i128) -> Poly {
        Poly { terms: if coefficient == 0 { Vec::new() } else { vec![(atoms, coefficient)] } }
    }

    /// Sorts, joins equal monomials and drops zeros. None on overflow.
    fn collect(mut terms: Vec<(Monomial, i128)>) -> Option<Poly> {
        terms.sort_by(|a, b| monomial_order(&a.0, &b.0));
        let mut joined: Vec<(Monomial, i128)> = Vec::with_capacity(terms.len());
        for (atoms, coefficient) in terms {
            match joined.last_mut() {
                Some(last) if last.0 == atoms => last.1 = last.1.checked_add(coefficient)?,
                _ => joined.push((atoms, coefficient)),
            }
        }
        joined.retain(|(_, coefficient)| *coefficient != 0);
        Some(Poly { terms: joined })
    }

    /// `self + factor * other`, none on overflow.
    pub(super) fn add_scaled(&self, other: &Poly, factor: i128) -> Option<Poly> {
        let mut sum = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut a, mut b) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) => monomial_order(&x.0, &y.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Some(Poly { terms: sum }),
            };
            let mut coefficient = 0_i128;
            let mut atoms = None;
            if order.is_le()
                && let Some((m, c)) = a.next()
            {
                coefficient = *c;
                atoms = Some(m);
            }
            if order.is_ge()
                && let Some((m, c)) = b.next()
            {
                coefficient = coefficient.checked_add(c.checked_mul(factor)?)?;
                atoms = Some(m);
            }
            if let Some(atoms) = atoms
                && coefficient != 0
            {
                sum.push((atoms.clone(), coefficient));
            }
        }
    }

    /// The product, none on overflow or past the size bound.
    pub(super) fn mul(&self, other: &Poly) -> Option<Poly> {
        if self.terms.len().checked_mul(other.terms.len())? > MAX_SIZE as usize {
            return None;
        }
        let mut terms = Vec::with_capacity(self.terms.len() * other.terms.len());
        for (m, c) in &self.terms {
            for (n, d) in &other.terms {
                let mut atoms = [m.as_slice(), n.as_slice()].concat();
                if !m.is_empty() && !n.is_empty() {
                    atoms.sort();
                }
                terms.push((atoms, c.checked_mul(*d)?));
            }
        }
        Poly::collect(terms)
    }

    /// The coefficient of the empty monomial.
    pub(super) fn constant(&self) -> i128 {
        match self.terms.last() {
            Some((atoms, coefficient)) if atoms.is_empty() => *coefficient,
            _ => 0,
        }
    }

    /// The monomials with atoms.
    pub(super) fn symbolic(&self) -> &[(Monomial, i128)] {
        match self.terms.split_last() {
            Some(((atoms, _), rest)) if atoms.is_empty() => rest,
            _ => &self.terms,
        }
    }

    /// Replaces the constant.
    pub(super) fn with_constant(&self, constant: i128) -> Poly {
        let mut terms = self.symbolic().to_vec();
        if constant != 0 {
            terms.push((Vec::new(), constant));
        }
        Poly { terms }
    }

    /// Closes the polynomial; undefined where a coefficient leaves `i64`.
    pub(super) fn close(self) -> Dim {
        if self.symbolic().is_empty() {
            return Dim::from_wide(self.constant());
        }
        let mut monomials: Vec<Dim> = Vec::with_capacity(self.terms.len());
        for (atoms, coefficient) in self.terms {
            // -2^63 has no negative, which printing and conditions need.
            let Some(coefficient) = i64::try_from(coefficient).ok().filter(|c| *c != i64::MIN) else {
                return Dim::UNDEFINED;
            };
            monomials.push(close_monomial(atoms, coefficient));
        }
        match monomials.len() {
            1 => monomials.swap_remove(0),
            _ => Dim::from_node(Node::Sum(monomials.into())),
        }
    }
}

fn close_monomial(mut atoms: Monomial, coefficient: i64) -> Dim {
    match (atoms.len(), coefficient) {
        (0, _) => Dim::int(coefficient),
        (1, 1) => atoms.swap_remove(0),
        (_, 1) => Dim::from_node(Node::Product(atoms.into())),
        _ => {
            atoms.insert(0, Dim::int(coefficient));
            Dim::from_node(Node::Product(atoms.into()))
        }
    }
}

fn add(a: &Dim, b: &Dim) -> Dim {
    match (&a.0, &b.0) {
        (Repr::Int(x), Repr::Int(y)) => x.checked_add(*y).map_or(Dim::UNDEFINED, Dim::int),
        (Repr::Undefined, _) | (_, Repr::Undefined) => Dim::UNDEFINED,
        (Repr::Int(0), _) => b.clone(),
        (_, Repr::Int(0)) => a.clone(),
        _ => Poly::of(a).add_scaled(&Poly::of(b), 1).map_or(Dim::UNDEFINED, Poly::close),
    }
}

fn sub(a: &Dim, b: &Dim) -> Dim {
    match (&a.0, &b.0) {
        (Repr::Int(x), Repr::Int(y)) => x.checked_sub(*y).map_or(Dim::UNDEFINED, Dim::int),
        (Repr::Undefined, _) | (_, Repr::Undefined) => Dim::UNDEFINED,
        (_, Repr::Int(0)) => a.clone(),
        _ if a == b => Dim::ZERO,
        _ => Poly::of(a).add_scaled(&Poly::of(b), -1).map_or(Dim::UNDEFINED, Poly::close),
    }
}

fn mul(a: &Dim, b: &Dim) -> Dim {
    match (&a.0, &b.0) {
        (Repr::Int(x), Repr::Int(y)) => x.checked_mul(*y).map_or(Dim::UNDEFINED, Dim::int),
        (Repr::Undefined, _) | (_, Repr::Undefined) => Dim::UNDEFINED,
        (Repr::Int(1), _) => b.clone(),
        (_, Repr::Int(1)) => a.clone(),
        _ => Poly::of(a).mul(&Poly::of(b)).map_or(Dim::UNDEFINED, Poly::close),
    }
}

macro_rules! arithmetic {
    ($($Op:ident $op:ident $OpAssign:ident $op_assign:ident;)*) => { $(
        impl $Op<&Dim> for &Dim {
            type Output = Dim;
            fn $op(self, other: &Dim) -> Dim {
                $op(self, other)
            }
        }
        impl $Op<Dim> for &Dim {
            type Output = Dim;
            fn $op(self, other: Dim) -> Dim {
                $op(self, &other)
            }
        }
        impl $Op<&Dim> for Dim {
            type Output = Dim;
            fn $op(self, other: &Dim) -> Dim {
                $op(&self, other)
            }
        }
        impl $Op<Dim> for Dim {
            type Output = Dim;
            fn $op(self, other: Dim) -> Dim {
                $op(&self, &other)
            }
        }
        impl $Op<i64> for &Dim {
            type Output = Dim;
            fn $op(self, other: i64) -> Dim {
                $op(self, &Dim::int(other))
            }
        }
        impl $Op<i64> for Dim {
            type Output = Dim;
            fn $op(self, other: i64) -> Dim {
                $op(&self, &Dim::int(other))
            }
        }
        impl $Op<&Dim> for i64 {
            type Output = Dim;
            fn $op(self, other: &Dim) -> Dim {
                $op(&Dim::int(self), other)
            }
        }
        impl $Op<Dim> for i64 {
            type Output = Dim;
            fn $op(self, other: Dim) -> Dim {
                $op(&Dim::int(self), &other)
            }
        }
        impl $OpAssign<&Dim> for Dim {
            fn $op_assign(&mut self, other: &Dim) {
                *self = $op(self, other);
            }
        }
        impl $OpAssign<Dim> for Dim {
            fn $op_assign(&mut self, other: Dim) {
                *self = $op(self, &other);
            }
        }
        impl $OpAssign<i64> for Dim {
            fn $op_assign(&mut self, other: i64) {
                *self = $op(self, &Dim::int(other));
            }
        }
    )* };
}

arithmetic! {
    Add add AddAssign add_assign;
    Sub sub SubAssign sub_assign;
    Mul mul MulAssign mul_assign;
}

impl Neg for &Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        mul(&Dim::int(-1), self)
    }
}

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        -&self
    }
}

impl Sum for Dim {
    fn sum<I: Iterator<Item = Dim>>(items: I) -> Dim {
        items.fold(Dim::ZERO, |acc, item| add(&acc, &item))
    }
}

impl<'a> Sum<&'a Dim> for Dim {
    fn sum<I: Iterator<Item = &'a Dim>>(items: I) -> Dim {
        items.fold(Dim::ZERO, |acc, item| add(&acc, item))
    }
}

impl Product for Dim {
    fn product<I: Iterator<Item = Dim>>(items: I) -> Dim {
        items.fold(Dim::ONE, |acc, item| mul(&acc, &item))
    }
}

impl<'a> Product<&'a Dim> for Dim {
    fn product<I: Iterator<Item = &'a Dim>>(items: I) -> Dim {
        items.fold(Dim::ONE, |acc, item| mul(&acc, item))
    }
}
