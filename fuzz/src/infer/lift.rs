//! What rules of other structures of the operator say about a structure: candidates for its rule.
//!
//! A rule found at one rank is carried to another one by giving an axis copies: every list of variables that is longer here
//! (extents, elements, attributes with a number an axis, such with two an axis as `pads` has) gets as many copies of one
//! place as it is longer. A statement about that place is one about each copy; a product or a sum over the axes runs over
//! all copies. Where the lists are as long as there, statements are carried over as they are: they do not depend on
//! element types or settled attributes. Nothing is believed for that: a candidate must hold on all experiments of this
//! structure, and is challenged as any other.

use super::structure::{Var, VarKind};
use super::term::{Op2, Pred, Term};
use std::collections::{BTreeMap, BTreeSet};

/// Candidates, at most of each kind.
const MOST: usize = 1500;

/// Candidates from other structures.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// Requirements, about one copy each.
    pub preds: Vec<Pred>,
    /// Requirements whose products or sums run over all copies.
    pub whole: Vec<Pred>,
    /// Extents of results.
    pub terms: Vec<Term>,
}

/// What a variable belongs to: an operand's extents or elements, or an attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum List {
    Extents(usize),
    Elements(usize),
    Attr(String),
}

fn place(var: &Var) -> (List, usize) {
    match &var.kind {
        VarKind::Extent(i, a) => (List::Extents(*i), *a),
        VarKind::Element(i, k) => (List::Elements(*i), *k),
        VarKind::Attr(name, k) => (List::Attr(name.clone()), k.unwrap_or(0)),
    }
}

fn lengths(vars: &[Var]) -> BTreeMap<List, usize> {
    let mut lengths = BTreeMap::new();
    for v in vars {
        let (list, at) = place(v);
        let n = lengths.entry(list).or_insert(0);
        *n = (*n).max(at + 1);
    }
    lengths
}

/// What one rule says in one way of carrying it over: all of its statements about all copies.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Whole {
    /// Requirements, one about each copy.
    pub preds: Vec<Pred>,
    /// Requirements whose products or sums run over all copies.
    pub long: Vec<Pred>,
    /// Extents of results, in no order.
    pub terms: Vec<Term>,
}

/// Ways of carrying a rule over `theirs` to a structure with the variables `ours`.
fn ways(theirs: &[Var], ours: &[Var]) -> Vec<Vec<Vec<usize>>> {
    let mut ways: Vec<Vec<Vec<usize>>> = Vec::new();
    for back in [true, false] {
        for offset in 0..3 {
            let copies = carry(theirs, ours, back, offset);
            if !ways.contains(&copies) {
                ways.push(copies);
            }
        }
    }
    ways
}

/// How unlike two lists of variables are: lists that only one has, then how much lengths differ.
pub fn distance(theirs: &[Var], ours: &[Var]) -> (usize, usize) {
    let (from, to) = (lengths(theirs), lengths(ours));
    let alone =
        from.keys().filter(|l| !to.contains_key(l)).count() + to.keys().filter(|l| !from.contains_key(l)).count();
    (alone, from.iter().filter_map(|(l, n)| Some(n.abs_diff(*to.get(l)?))).sum())
}

/// What a rule over `theirs` says about a structure with the variables `ours`, once for each way of carrying it over.
pub fn wholes(theirs: &[Var], preds: &[&Pred], terms: &[&Term], ours: &[Var]) -> Vec<Whole> {
    let whole = |copies: Vec<Vec<usize>>| {
        let n = copies.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let mut out = Whole::default();
        let statements = |v: &mut Whole, long: bool, f: &dyn Fn(usize) -> Option<Term>| {
            for p in preds.iter().filter_map(|p| p.map(&f)) {
                if !v.preds.contains(&p) && !v.long.contains(&p) {
                    if long { &mut v.long } else { &mut v.preds }.push(p);
                }
            }
            for t in terms.iter().filter_map(|t| t.map(&f)) {
                if !v.terms.contains(&t) {
                    v.terms.push(t);
                }
            }
        };
        for copy in 0..n {
            statements(&mut out, false, &|v| one(&copies, v, copy));
        }
        if n > 1 {
            [Op2::Mul, Op2::Add].iter().for_each(|op| statements(&mut out, true, &|v| all(&copies, v, *op)));
        }
        out
    };
    ways(theirs, ours).into_iter().map(whole).collect()
}

/// One copy of a variable, or the last one where there are fewer.
fn one(copies: &[Vec<usize>], v: usize, copy: usize) -> Option<Term> {
    copies[v].get(copy).or(copies[v].last()).map(|&w| Term::Var(w))
}

/// The product or the sum of all copies.
fn all(copies: &[Vec<usize>], v: usize, op: Op2) -> Option<Term> {
    copies[v].iter().map(|&w| Term::Var(w)).reduce(|a, b| Term::two(op, a, b))
}

impl Hints {
    /// Adds what a rule over `theirs` says about a structure with the variables `ours`.
    pub fn add(&mut self, theirs: &[Var], preds: &[&Pred], terms: &[&Term], ours: &[Var]) {
        let mut seen_preds: BTreeSet<Pred> = self.preds.iter().chain(&self.whole).cloned().collect();
        let mut seen_terms: BTreeSet<Term> = self.terms.iter().cloned().collect();
        for copies in ways(theirs, ours) {
            let n = copies.iter().map(Vec::len).max().unwrap_or(1).max(1);
            for p in preds {
                for p in (0..n).filter_map(|copy| p.map(&|v| one(&copies, v, copy))) {
                    if self.preds.len() < MOST && seen_preds.insert(p.clone()) {
                        self.preds.push(p);
                    }
                }
                for p in [Op2::Mul, Op2::Add].into_iter().filter_map(|op| p.map(&|v| all(&copies, v, op))) {
                    if self.whole.len() < MOST && seen_preds.insert(p.clone()) {
                        self.whole.push(p);
                    }
                }
            }
            for t in terms {
                let each = (0..n).map(|copy| t.map(&|v| one(&copies, v, copy)));
                let whole = [Op2::Mul, Op2::Add].map(|op| t.map(&|v| all(&copies, v, op)));
                for t in each.chain(whole).flatten() {
                    if self.terms.len() < MOST && seen_terms.insert(t.clone()) {
                        self.terms.push(t);
                    }
                }
            }
        }
    }
}

/// The variables of `ours` that stand for each of `theirs`: one place of every list that is longer in `ours` has copies, the
/// one at `offset` from the back or the front, in each half of a list that is longer by twice as much as the others. Of a
/// list that is shorter the places at the other end have none.
fn carry(theirs: &[Var], ours: &[Var], back: bool, offset: usize) -> Vec<Vec<usize>> {
    let (from, to) = (lengths(theirs), lengths(ours));
    let longer = |list: &List| Some(to.get(list)?.saturating_sub(*from.get(list)?));
    let step = from.keys().filter_map(longer).filter(|by| *by > 0).min().unwrap_or(0);
    let index: BTreeMap<(List, usize), usize> = ours.iter().enumerate().map(|(k, v)| (place(v), k)).collect();
    theirs
        .iter()
        .map(|v| {
            let (list, at) = place(v);
            let (Some(by), Some(&len)) = (longer(&list), from.get(&list)) else { return Vec::new() };
            let less = len.saturating_sub(to.get(&list).copied().unwrap_or(0));
            if less > 0 {
                let at = if back { at.checked_sub(less) } else { Some(at) };
                return at.and_then(|at| index.get(&(list, at)).copied()).into_iter().collect();
            }
            // A list of two numbers an axis is two lists.
            let halves = by > 0 && by == 2 * step && len.is_multiple_of(2);
            let (len, by) = if halves { (len / 2, step) } else { (len, by) };
            let (half, at) = if halves { (at / len, at % len) } else { (0, at) };
            let start = half * (len + by);
            let copied = if back { len.saturating_sub(1 + offset) } else { offset.min(len - 1) };
            let range = match at.cmp(&copied) {
                std::cmp::Ordering::Less => at..at + 1,
                std::cmp::Ordering::Equal => at..at + by + 1,
                std::cmp::Ordering::Greater => at + by..at + by + 1,
            };
            range.filter_map(|k| index.get(&(list.clone(), start + k)).copied()).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::term::Parser;
    use super::*;

    fn vars(list: &[(&str, VarKind)]) -> Vec<Var> {
        list.iter().map(|(n, k)| Var::new((*n).to_owned(), k.clone())).collect()
    }

    fn names(vars: &[Var]) -> Vec<String> {
        vars.iter().map(|v| v.name.clone()).collect()
    }

    fn window(axes: usize) -> Vec<Var> {
        let mut list: Vec<(String, VarKind)> = Vec::new();
        list.extend((0..axes).map(|a| (format!("X[{a}]"), VarKind::Extent(0, a))));
        list.extend((0..2 * axes).map(|a| (format!("pads[{a}]"), VarKind::Attr("pads".into(), Some(a)))));
        list.push(("group".into(), VarKind::Attr("group".into(), None)));
        vars(&list.iter().map(|(n, k)| (&**n, k.clone())).collect::<Vec<_>>())
    }

    #[test]
    fn a_statement_about_an_axis_is_one_about_each() {
        let (one, two) = (window(1), window(2));
        let p = Parser::pred("group <= X[0] + pads[0] + pads[1]", &names(&one)).unwrap();
        let mut hints = Hints::default();
        hints.add(&one, &[&p], &[], &two);
        let texts: Vec<String> = hints.preds.iter().map(|p| p.text(&names(&two))).collect();
        assert!(texts.contains(&"group <= X[0] + pads[0] + pads[2]".into()), "{texts:?}");
        assert!(texts.contains(&"group <= X[1] + pads[1] + pads[3]".into()), "{texts:?}");
    }

    #[test]
    fn a_product_runs_over_all_copies() {
        let extents = |n: usize| {
            let list: Vec<(String, VarKind)> = (0..n).map(|a| (format!("X[{a}]"), VarKind::Extent(0, a))).collect();
            vars(&list.iter().map(|(n, k)| (&**n, k.clone())).collect::<Vec<_>>())
        };
        let (two, four) = (extents(2), extents(4));
        let t = Parser::term("X[0] * X[1]", &names(&two)).unwrap();
        let mut hints = Hints::default();
        hints.add(&two, &[], &[&t], &four);
        assert!(hints.terms.iter().any(|t| t.vars().len() == 4));
    }

    #[test]
    fn shorter_lists_keep_one_end() {
        let p = Parser::pred("X[0] == group", &names(&window(2))).unwrap();
        let mut hints = Hints::default();
        hints.add(&window(2), &[&p], &[], &window(1));
        let texts: Vec<String> = hints.preds.iter().map(|p| p.text(&names(&window(1)))).collect();
        assert_eq!(texts, ["X[0] == group"]);
    }
}
