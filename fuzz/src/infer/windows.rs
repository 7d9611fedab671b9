//! Windows by the roles of their parts: `floor((x + 2 p - d (k - 1) - 1) / s) + 1` for attributes in the roles of kernel size,
//! stride, padding and dilation, one attribute in several roles where need be, and products of two of them, one for each of the
//! last two axes of an operand or of a list.

use super::bench::Bench;
use super::outputs::Found;
use super::structure::VarKind;
use super::term::{Op2, Term};
use std::collections::BTreeMap;

/// Attributes that roles are dealt to, at most.
const ATTRS: usize = 5;

/// Attributes in the roles of kernel size, stride, padding and dilation, by number.
type Roles = (usize, Option<usize>, Option<usize>, Option<usize>);

/// A window's extent, or a product of two, that fits all experiments.
pub fn by_role(bench: &Bench<'_>, fits: &dyn Fn(&Term) -> bool) -> Option<Found> {
    let (lists, attrs) = places(bench);
    if attrs.is_empty() || attrs.len() > ATTRS {
        return None;
    }
    let all = roles(attrs.len());
    for list in &lists {
        for (back, &x) in list.iter().rev().enumerate() {
            for r in &all {
                let Some(above) = numerator(x, back, *r, &attrs) else { continue };
                let term = extent(&above, back, *r, &attrs);
                if fits(&term) {
                    return Some(Found { term, numerator: Some(above) });
                }
            }
        }
    }
    for list in lists.iter().filter(|l| l.len() > 1) {
        for r in &all {
            let of = |back: usize| {
                let above = numerator(list[list.len() - 1 - back], back, *r, &attrs)?;
                Some((extent(&above, back, *r, &attrs), above))
            };
            let (Some((rows, above)), Some((columns, _))) = (of(1), of(0)) else { continue };
            let term = Term::two(Op2::Mul, rows, columns);
            if fits(&term) {
                return Some(Found { term, numerator: Some(above) });
            }
        }
    }
    None
}

/// Lists of extents: of operands, and attributes of two integers or more; and all attributes.
fn places(bench: &Bench<'_>) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let mut operands: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut attrs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (v, var) in bench.vars.iter().enumerate() {
        match &var.kind {
            VarKind::Extent(i, _) => operands.entry(*i).or_default().push(v),
            VarKind::Attr(name, _) => attrs.entry(name).or_default().push(v),
            VarKind::Element(..) => {}
        }
    }
    let attrs: Vec<Vec<usize>> = attrs.into_values().collect();
    let lists = operands.into_values().chain(attrs.iter().filter(|a| a.len() > 1).cloned()).collect();
    (lists, attrs)
}

fn roles(n: usize) -> Vec<Roles> {
    let maybe = || std::iter::once(None).chain((0..n).map(Some));
    let mut out = Vec::new();
    for kernel in 0..n {
        for stride in maybe() {
            for padding in maybe() {
                for dilation in maybe() {
                    out.push((kernel, stride, padding, dilation));
                }
            }
        }
    }
    out
}

/// The number of an attribute for the axis that is `back` places before the last.
fn number(attr: &[usize], back: usize) -> Option<Term> {
    if attr.len() == 1 { Some(Term::Var(attr[0])) } else { attr.iter().rev().nth(back).map(|&v| Term::Var(v)) }
}

/// `x + 2 p - d (k - 1) - 1`; none where `x` is itself in one of the roles.
fn numerator(x: usize, back: usize, (k, s, p, d): Roles, attrs: &[Vec<usize>]) -> Option<Term> {
    if [Some(k), s, p, d].into_iter().flatten().any(|a| attrs[a].contains(&x)) {
        return None;
    }
    let mut t = Term::Var(x);
    if let Some(p) = p {
        t = Term::two(Op2::Add, t, Term::two(Op2::Mul, Term::Int(2), number(&attrs[p], back)?));
    }
    let kernel = number(&attrs[k], back)?;
    match d {
        None => Some(Term::two(Op2::Sub, t, kernel)),
        Some(d) => {
            let reach = Term::two(Op2::Mul, number(&attrs[d], back)?, kernel.plus(-1));
            Some(Term::two(Op2::Sub, t, reach).plus(-1))
        }
    }
}

fn extent(above: &Term, back: usize, (_, s, ..): Roles, attrs: &[Vec<usize>]) -> Term {
    match s.and_then(|s| number(&attrs[s], back)) {
        Some(stride) => Term::two(Op2::Floor, above.clone(), stride).plus(1),
        None => above.clone().plus(1),
    }
}
