//! Expressions for the extents of results: the simplest that fits all valid experiments.
//!
//! Tried in order: a variable, a number, two variables, more; polynomials (their coefficients are solved for exactly,
//! modulo a prime); quotients of a polynomial by a stride, rounded down or up, as windows have them; products of lists;
//! ranges with clamped ends; products of windows. What fits no such expression may do so where operands have elements.

use super::bench::{Bench, Row};
use super::structure::VarKind;
use super::term::{OPS2, Op2, Pred, Term};
use super::windows::by_role;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;
/// Greatest coefficient that a polynomial of extents has.
const COEFFICIENT: i64 = 64;
/// Rows that are solved for; the solution is checked on all.
const SOLVED: usize = 400;

/// An extent's expression, with what else was learnt on the way: terms that validity may depend on.
#[derive(Clone, Debug)]
pub struct Found {
    /// The expression.
    pub term: Term,
    /// The numerator of a quotient.
    pub numerator: Option<Term>,
}

/// The simplest expression for the column `j` of the results. Extents that depend on data have none.
/// `hints` are tried before what is enumerated.
pub fn extent(bench: &Bench<'_>, j: usize, hints: &[Term]) -> Option<Found> {
    let want: Vec<i64> = bench.valid.iter().map(|r| r.out.as_ref()?[j]).collect::<Option<_>>()?;
    column(bench, &bench.valid, &want, &[], hints).or_else(|| apart_where_empty(bench, &want, hints))
}

/// The simplest expression of other variables for a variable that no valid experiments differ in alone: an extent of an
/// operand that the windows of another one give, and the like. None for variables that are a number or equal another one.
pub fn determined(bench: &Bench<'_>, v: usize) -> Option<Found> {
    let want: Vec<i64> = bench.valid.iter().map(|r| r.at[v]).collect();
    if bench.is_frozen(v) {
        return None;
    }
    let others = |r: &Row| {
        let mut at = r.at.clone();
        at[v] = 0;
        at
    };
    let mut seen = HashSet::new();
    if !bench.valid.iter().all(|r| seen.insert(others(r))) {
        return None;
    }
    let equal = |w: &usize| bench.valid.iter().zip(&want).all(|(r, x)| r.at[*w] == *x);
    let without: Vec<usize> = (0..bench.vars.len()).filter(equal).collect();
    column(bench, &bench.valid, &want, &without, &[]).filter(|f| !matches!(f.term, Term::Int(_) | Term::Var(_)))
}

/// The simplest expression for the numbers `want` of the experiments `rows` that does not mention the variables `without`.
fn column(bench: &Bench<'_>, rows: &[Row], want: &[i64], without: &[usize], hints: &[Term]) -> Option<Found> {
    let plain = |term: Term| Some(Found { term, numerator: None });
    let mentions = |t: &Term| {
        let mut any = false;
        if !without.is_empty() {
            t.each_var(&mut |v| any |= without.contains(&v));
        }
        any
    };
    let fits = |t: &Term| rows.iter().zip(want).all(|(r, &w)| t.eval(&r.at) == Some(w)) && !mentions(t);
    let n = bench.vars.len();
    let first = *want.first()?;
    let constant = want.iter().all(|&w| w == first);
    // A number fits few rows by chance.
    if constant && (rows.len() > 8 || n == 0) {
        return plain(Term::Int(first));
    }
    if let Some(v) = (0..n).find(|&v| fits(&Term::Var(v))) {
        return plain(Term::Var(v));
    }
    if let Some(t) = hints.iter().find(|t| fits(t)) {
        return Some(Found { numerator: numerator(t), term: t.clone() });
    }
    if let Some(t) = hints.iter().filter_map(quotient).find_map(|(p, s)| windowed(p, s, n, &fits)) {
        return Some(Found { numerator: numerator(&t), term: t });
    }
    for v in 0..n {
        for c in 1..=8 {
            for t in [
                Term::Var(v).plus(c),
                Term::Var(v).plus(-c),
                Term::two(Op2::Mul, Term::Var(v), Term::Int(c + 1)),
                Term::two(Op2::Floor, Term::Var(v), Term::Int(c + 1)),
                Term::two(Op2::Ceil, Term::Var(v), Term::Int(c + 1)),
                Term::two(Op2::Floor, Term::Var(v), Term::Int(c + 1)).plus(1),
                Term::two(Op2::Floor, Term::Int(c + 1), Term::Var(v)),
            ] {
                if fits(&t) {
                    return plain(t);
                }
            }
        }
    }
    for a in 0..n {
        for b in 0..n {
            for &op in OPS2 {
                let t = Term::two(op, Term::Var(a), Term::Var(b));
                if a != b && fits(&t) {
                    return plain(t);
                }
            }
        }
    }
    if constant {
        return plain(Term::Int(first));
    }
    if let Some(t) =
        products(bench, &fits).or_else(|| broadcast(n, rows, want, without, &fits)).or_else(|| range(bench, &fits))
    {
        return plain(t);
    }
    if let Some(t) = rest(n, &fits).or_else(|| squared(n, &fits)) {
        return plain(t);
    }
    let (sure, maybe) = relevant(n, rows, want, without);
    // Fewer variables need fewer experiments; variables that may matter come in one by one.
    let mut sizes = vec![maybe.len().min(8usize.saturating_sub(sure.len())), 0, 1, 2, 3];
    sizes.dedup();
    for k in sizes.into_iter().filter(|&k| k <= maybe.len() && sure.len() + k <= 9) {
        let vars: Vec<usize> = sure.iter().chain(&maybe[..k]).copied().collect();
        if let Some(found) = polynomial(&vars, rows, want, &fits) {
            return plain(found);
        }
        if let Some(found) = windows(&vars, rows, want, &fits) {
            return Some(found);
        }
    }
    scaled(n, &fits).and_then(plain).or_else(|| by_role(bench, &fits))
}

/// An expression where some operand has elements, and a variable or a number where it has none: what is empty has rules of its
/// own, or nobody thought of it.
fn apart_where_empty(bench: &Bench<'_>, want: &[i64], hints: &[Term]) -> Option<Found> {
    let all: Vec<usize> = (0..bench.vars.len()).collect();
    let extents = lists(bench).into_iter().filter(|l| matches!(bench.vars[l[0]].kind, VarKind::Extent(..)));
    let whole = extents.filter(|l| l.len() > 1).map(|l| Term::product(l.into_iter().map(Term::Var)));
    for size in all.iter().map(|&v| Term::Var(v)).chain(whole) {
        let (mut empty, mut full) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (r, w) in bench.valid.iter().zip(want) {
            let side = if size.eval(&r.at) == Some(0) { &mut empty } else { &mut full };
            side.0.push(r.clone());
            side.1.push(*w);
        }
        if empty.0.len() < 2 || full.0.len() <= 8 {
            continue;
        }
        let there = |t: &Term| empty.0.iter().zip(&empty.1).all(|(r, w)| t.eval(&r.at) == Some(*w));
        let number = std::iter::once(Term::Int(empty.1[0]));
        let Some(then) = number.chain(all.iter().map(|&v| Term::Var(v))).find(there) else { continue };
        if let Some(found) = column(bench, &full.0, &full.1, &[], hints) {
            let nothing = Pred::eq(size, Term::Int(0));
            let term = Term::Select(Box::new(nothing), Arc::new((then, found.term)));
            return Some(Found { term, ..found });
        }
    }
    None
}

/// A variable, one of `hints`, or a number for the column `j` of the results, if one fits.
pub fn plain_extent(bench: &Bench<'_>, j: usize, hints: &[Term]) -> Option<Term> {
    let rows = &bench.valid;
    let want: Vec<i64> = rows.iter().map(|r| r.out.as_ref()?[j]).collect::<Option<_>>()?;
    let first = *want.first()?;
    let fits = |t: &Term| rows.iter().zip(&want).all(|(r, &w)| t.eval(&r.at) == Some(w));
    let number = Term::Int(first);
    if rows.len() > 8 && fits(&number) {
        return Some(number);
    }
    let vars = (0..bench.vars.len()).map(Term::Var);
    vars.chain(hints.iter().cloned()).chain([number]).find(fits)
}

/// A window's numerator and stride, of a quotient with a number added or not.
fn quotient(t: &Term) -> Option<(&Term, &Term)> {
    match t {
        Term::Two(Op2::Floor | Op2::Ceil, ab) => Some((&ab.0, &ab.1)),
        Term::Two(Op2::Add, ab) if matches!(ab.1, Term::Int(_)) => quotient(&ab.0),
        _ => None,
    }
}

/// Other windows of the same numerator and stride: rounded up, and with a last window that starts behind one or two variables
/// left out.
fn windowed(p: &Term, stride: &Term, n: usize, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    let fewer = Term::two(Op2::Ceil, p.clone(), stride.clone());
    let all = fewer.clone().plus(1);
    if fits(&all) {
        return Some(all);
    }
    let vars: Vec<usize> = p.vars();
    let mut edges: Vec<Term> = (0..n).map(Term::Var).collect();
    for (i, &a) in vars.iter().enumerate() {
        edges.extend(vars[i + 1..].iter().map(|&b| Term::two(Op2::Add, Term::Var(a), Term::Var(b))));
    }
    edges.into_iter().find_map(|edge| last_left_out(edge, &fewer, &all, stride, fits))
}

/// `all` windows, or `fewer` where the last would start behind `edge`.
fn last_left_out(edge: Term, fewer: &Term, all: &Term, stride: &Term, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    let behind = Pred::le(edge, Term::two(Op2::Mul, fewer.clone(), stride.clone()));
    let t = Term::Select(Box::new(behind), Arc::new((fewer.clone(), all.clone())));
    fits(&t).then_some(t)
}

/// The numerator of the first quotient in a term.
fn numerator(t: &Term) -> Option<Term> {
    match t {
        Term::Two(Op2::Floor | Op2::Ceil, ab) => Some(ab.0.clone()),
        Term::Two(_, ab) => numerator(&ab.0).or_else(|| numerator(&ab.1)),
        Term::Select(_, ab) => numerator(&ab.0).or_else(|| numerator(&ab.1)),
        Term::Int(_) | Term::Var(_) => None,
    }
}

/// Products of whole lists, their beginnings and ends, and quotients of such.
fn products(bench: &Bench<'_>, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    let pool = list_products(bench);
    if let Some(t) = pool.iter().find(|t| fits(t)) {
        return Some(t.clone());
    }
    for a in &pool {
        for b in &pool {
            let t = Term::two(Op2::Floor, a.clone(), b.clone());
            if a != b && fits(&t) {
                return Some(t);
            }
            let t = Term::two(Op2::Mul, a.clone(), b.clone());
            if fits(&t) {
                return Some(t);
            }
        }
        for v in 0..bench.vars.len() {
            for t in [Term::two(Op2::Floor, a.clone(), Term::Var(v)), Term::two(Op2::Floor, Term::Var(v), a.clone())] {
                if fits(&t) {
                    return Some(t);
                }
            }
        }
    }
    None
}

/// The lists of variables: extents of one operand, elements of one attribute.
pub fn lists(bench: &Bench<'_>) -> Vec<Vec<usize>> {
    let mut lists: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (v, var) in bench.vars.iter().enumerate() {
        lists.entry(var.list()).or_default().push(v);
    }
    lists.into_values().collect()
}

/// Products of runs of a list's variables, two or more of them.
pub fn list_products(bench: &Bench<'_>) -> Vec<Term> {
    let mut out = Vec::new();
    for list in lists(bench) {
        for from in 0..list.len() {
            for to in from + 2..=list.len() {
                out.push(Term::product(list[from..to].iter().map(|&v| Term::Var(v))));
            }
        }
    }
    for filled in filled_lists(bench) {
        if !out.contains(&filled) && filled.vars().len() > 1 {
            out.push(filled);
        }
    }
    out
}

/// Products of the elements of an operand, where 0 stands for an extent of another operand at that place and -1 for
/// nothing.
fn filled_lists(bench: &Bench<'_>) -> Vec<Term> {
    use super::structure::{ArgKind, ArgSlot, Slot};
    let place = |kind: VarKind| bench.vars.iter().position(|v| v.kind == kind).map(Term::Var);
    let mut out = Vec::new();
    for (i, arg) in bench.structure.args.iter().enumerate() {
        let Some(ArgSlot { kind: ArgKind::Content { slots, .. }, .. }) = arg else { continue };
        if !slots.contains(&Slot::Pin(0)) {
            continue;
        }
        for other in (0..bench.structure.args.len()).filter(|o| *o != i) {
            let factor = |k: usize| match slots[k] {
                Slot::Free => place(VarKind::Element(i, k)),
                Slot::Pin(0) => place(VarKind::Extent(other, k)),
                Slot::Pin(-1) => Some(Term::Int(1)),
                Slot::Pin(v) => Some(Term::Int(v)),
                Slot::PinFloat(_) => None,
            };
            let factors: Option<Vec<Term>> = (0..slots.len()).map(factor).collect();
            out.extend(factors.map(|f| Term::product(f.into_iter().filter(|t| *t != Term::Int(1)))));
        }
    }
    out
}

/// What several broadcast to: of the variables that are 1 or the extent wherever they are, as few as make it.
fn broadcast(n: usize, rows: &[Row], want: &[i64], without: &[usize], fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    let agrees = |v: &usize| rows.iter().zip(want).all(|(r, &w)| r.at[*v] == 1 || r.at[*v] == w);
    let mut vars: Vec<usize> = (0..n).filter(|v| !without.contains(v)).filter(agrees).collect();
    let chain = |vars: &[usize]| {
        let last = vars.iter().map(|&v| Term::Var(v)).reduce(|a, b| Term::two(Op2::Bcast, a, b));
        last.filter(|t| fits(t))
    };
    chain(&vars)?;
    for k in (0..vars.len()).rev() {
        let without: Vec<usize> = vars.iter().copied().filter(|&v| v != vars[k]).collect();
        if chain(&without).is_some() {
            vars = without;
        }
    }
    chain(&vars)
}

/// `max(0, ceil((end - start) / step))` with ends counted from either side and clamped.
fn range(bench: &Bench<'_>, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    use super::structure::{ArgKind, ArgSlot, Slot};
    // Every number that a call states beside extents may be an end or a step.
    let mut ends: Vec<Term> = Vec::new();
    let mut extents = Vec::new();
    for (v, var) in bench.vars.iter().enumerate() {
        match var.kind {
            VarKind::Extent(..) => extents.push(Term::Var(v)),
            _ => ends.push(Term::Var(v)),
        }
    }
    for arg in bench.structure.args.iter().flatten() {
        if let ArgSlot { kind: ArgKind::Content { slots, .. }, .. } = arg {
            for s in slots {
                if let Slot::Pin(v) = s
                    && !ends.contains(&Term::Int(*v))
                {
                    ends.push(Term::Int(*v));
                }
            }
        }
    }
    if ends.len() > 16 || ends.is_empty() {
        return None;
    }
    let mut steps = ends.clone();
    if !steps.contains(&Term::Int(1)) {
        steps.insert(0, Term::Int(1));
    }
    for d in &extents {
        let place = |v: &Term, down: bool| {
            let at = match v {
                Term::Int(c) if *c < 0 => Term::two(Op2::Add, d.clone(), Term::Int(*c)),
                _ => v.clone(),
            };
            let (lo, hi) = if down { (-1, d.clone().plus(-1)) } else { (0, d.clone()) };
            Term::two(Op2::Max, Term::two(Op2::Min, at, hi), Term::Int(lo))
        };
        for start in &ends {
            for end in &ends {
                for down in [false, true] {
                    let (s, e) = (place(start, down), place(end, down));
                    let span = if down { Term::two(Op2::Sub, s, e) } else { Term::two(Op2::Sub, e, s) };
                    let span = Term::two(Op2::Max, span, Term::Int(0));
                    for step in &steps {
                        let t = match step {
                            Term::Int(1) if !down => span.clone(),
                            Term::Int(-1) if down => span.clone(),
                            Term::Int(c) if (*c < 0) == down && *c != 0 => {
                                Term::two(Op2::Ceil, span.clone(), Term::Int(c.abs()))
                            }
                            Term::Var(_) if !down => Term::two(Op2::Ceil, span.clone(), step.clone()),
                            _ => continue,
                        };
                        if fits(&t) {
                            return Some(t);
                        }
                    }
                }
            }
        }
    }
    None
}

/// `floor(a v / b)` and `ceil(a v / b)` for small numbers.
fn scaled(n: usize, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    for v in 0..n {
        for b in 2..=8 {
            for a in 2..=16 {
                let above = Term::two(Op2::Mul, Term::Var(v), Term::Int(a));
                for op in [Op2::Floor, Op2::Ceil] {
                    let t = Term::two(op, above.clone(), Term::Int(b));
                    if fits(&t) {
                        return Some(t);
                    }
                }
            }
        }
    }
    None
}

/// Variables that the column surely depends on, and those that it may, likeliest first: two valid experiments differ in one
/// variable (or in two) and in the column. Variables `without` are not looked at.
fn relevant(n: usize, rows: &[Row], want: &[i64], without: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut votes = vec![0usize; n];
    let vars: Vec<usize> = (0..n).filter(|v| !without.contains(v)).collect();
    let rows = &rows[..rows.len().min(400)];
    for (i, a) in rows.iter().enumerate() {
        for (k, b) in rows[..i].iter().enumerate() {
            if want[i] == want[k] {
                continue;
            }
            let mut differ = vars.iter().copied().filter(|&v| a.at[v] != b.at[v]);
            let (first, second, third) = (differ.next(), differ.next(), differ.next());
            if let (Some(v), None) = (first, second) {
                votes[v] += 1000;
            } else if let (Some(v), Some(w), None) = (first, second, third)
                && votes[v] < 1000
                && votes[w] < 1000
            {
                votes[v] += 1;
                votes[w] += 1;
            }
        }
    }
    let sure: Vec<usize> = (0..n).filter(|&v| votes[v] >= 1000).collect();
    // Variables that only move together are told apart by nothing else; those that never moved alone come second.
    let mut maybe: Vec<usize> = (0..n).filter(|&v| votes[v] > 0 && votes[v] < 1000).collect();
    maybe.sort_by_key(|&v| std::cmp::Reverse(votes[v]));
    (sure, maybe)
}

/// What pieces of equal size leave: `v - k ceil(v / c)`.
fn rest(n: usize, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    for v in 0..n {
        for c in 2..=6 {
            for k in 1..=c {
                for op in [Op2::Ceil, Op2::Floor] {
                    let piece = Term::two(op, Term::Var(v), Term::Int(c));
                    let pieces = if k == 1 { piece } else { Term::two(Op2::Mul, Term::Int(k), piece) };
                    let t = Term::two(Op2::Sub, Term::Var(v), pieces);
                    if fits(&t) {
                        return Some(t);
                    }
                }
            }
        }
    }
    None
}

/// `a b c` and `floor(a / (b c))`, as blocks of two axes give, and `floor(a b / c)`, as heads that share do.
fn squared(n: usize, fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    for a in 0..n {
        for b in 0..n {
            for c in 0..n {
                let product = |x: usize, y: usize| Term::two(Op2::Mul, Term::Var(x), Term::Var(y));
                let mut tried = Vec::new();
                if b <= c {
                    tried.push(Term::two(Op2::Mul, Term::Var(a), product(b, c)));
                    tried.push(Term::two(Op2::Floor, Term::Var(a), product(b, c)));
                }
                if a <= b && c != a && c != b {
                    tried.push(Term::two(Op2::Floor, product(a, b), Term::Var(c)));
                }
                if let Some(t) = tried.into_iter().find(|t| fits(t)) {
                    return Some(t);
                }
            }
        }
    }
    None
}

/// Monomials of degree 2 at most over `vars`.
fn monomials(vars: &[usize]) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new()];
    out.extend(vars.iter().map(|&v| vec![v]));
    for (i, &a) in vars.iter().enumerate() {
        out.extend(vars[i..].iter().map(|&b| vec![a, b]));
    }
    out
}

fn polynomial(vars: &[usize], rows: &[Row], want: &[i64], fits: &dyn Fn(&Term) -> bool) -> Option<Term> {
    let picked: Vec<(&[i64], i64)> = rows.iter().zip(want).map(|(r, &w)| (&*r.at, w)).take(SOLVED).collect();
    let t = solve(&monomials(vars), &picked)?;
    fits(&t).then_some(t)
}

/// `floor(p / s) + c` and `ceil(p / s) + c`, where `p` is read off the experiments with `s = 1`; also with a last window
/// that starts behind the input left out.
fn windows(vars: &[usize], rows: &[Row], want: &[i64], fits: &dyn Fn(&Term) -> bool) -> Option<Found> {
    for &s in vars {
        let others: Vec<usize> = vars.iter().copied().filter(|&v| v != s).collect();
        let unit: Vec<(&[i64], i64)> =
            rows.iter().zip(want).filter(|(r, _)| r.at[s] == 1).map(|(r, &w)| (&*r.at, w)).take(SOLVED).collect();
        let basis = monomials(&others);
        if unit.len() < 6 {
            continue;
        }
        let whole = solve(&basis, &unit);
        if let Some(p) = &whole {
            for c in [1, 0, 2, -1] {
                for op in [Op2::Floor, Op2::Ceil] {
                    let above = shifted(p, -c);
                    let t = Term::two(op, above.clone(), Term::Var(s)).plus(c);
                    if fits(&t) {
                        return Some(Found { term: t, numerator: Some(above) });
                    }
                }
            }
        }
        // Where a last window may be left out, most of the experiments follow one polynomial.
        let Some(p) = whole.or_else(|| mostly(&basis, &unit)) else { continue };
        let above = shifted(&p, -1);
        let all = Term::two(Op2::Ceil, above.clone(), Term::Var(s)).plus(1);
        let fewer = Term::two(Op2::Ceil, above.clone(), Term::Var(s));
        let mut edges: Vec<Term> = others.iter().map(|&v| Term::Var(v)).collect();
        for (i, &a) in others.iter().enumerate() {
            edges.extend(others[i + 1..].iter().map(|&b| Term::two(Op2::Add, Term::Var(a), Term::Var(b))));
        }
        if let Some(t) = edges.into_iter().find_map(|e| last_left_out(e, &fewer, &all, &Term::Var(s), fits)) {
            return Some(Found { term: t, numerator: Some(above) });
        }
    }
    None
}

/// `p + c`, folded into a constant that `p` ends with.
fn shifted(p: &Term, c: i64) -> Term {
    if let Term::Two(op @ (Op2::Add | Op2::Sub), ab) = p
        && let Term::Int(v) = ab.1
    {
        return ab.0.clone().plus(if *op == Op2::Add { v } else { -v } + c);
    }
    p.clone().plus(c)
}

/// A polynomial that most rows follow: solved on rows taken here and there, and counted.
fn mostly(basis: &[Vec<usize>], rows: &[(&[i64], i64)]) -> Option<Term> {
    let size = basis.len() + 6;
    if rows.len() < size {
        return None;
    }
    for turn in 0..40usize {
        // Rows in an order that differs with the turn; the same always.
        let picked: Vec<_> = (0..size).map(|k| rows[(k * (2 * turn + 1) * 7 + turn * 13) % rows.len()]).collect();
        if let Some(t) = solve(basis, &picked)
            && rows.iter().filter(|(at, w)| t.eval(at) == Some(*w)).count() * 3 > rows.len() * 2
        {
            return Some(t);
        }
    }
    None
}

/// The polynomial with small coefficients through all rows, with as few and as simple monomials as elimination from the
/// left leaves.
pub fn solve(basis: &[Vec<usize>], rows: &[(&[i64], i64)]) -> Option<Term> {
    let n = basis.len();
    let value = |m: &[usize], at: &[i64]| m.iter().fold(1, |p, &v| times(p, residue(at[v])));
    let mut matrix: Vec<Vec<u64>> = rows
        .iter()
        .map(|(at, w)| {
            let mut row: Vec<u64> = basis.iter().map(|m| value(m, at)).collect();
            row.push(residue(*w));
            row
        })
        .collect();
    let (mut rank, mut pivots) = (0, Vec::new());
    for col in 0..n {
        let Some(p) = (rank..matrix.len()).find(|&r| matrix[r][col] != 0) else { continue };
        matrix.swap(rank, p);
        let inverse = power(matrix[rank][col], PRIME - 2);
        matrix[rank][col..].iter_mut().for_each(|x| *x = times(*x, inverse));
        let pivot = matrix[rank].clone();
        for (r, row) in matrix.iter_mut().enumerate() {
            if r != rank && row[col] != 0 {
                // Left of the pivot's column its row is zero.
                let f = PRIME - row[col];
                row[col..].iter_mut().zip(&pivot[col..]).for_each(|(x, &p)| *x = plus(*x, times(f, p)));
            }
        }
        pivots.push(col);
        rank += 1;
    }
    if matrix[rank..].iter().any(|row| row[n] != 0) || rows.len() < rank + 3 {
        return None;
    }
    let mut terms: Vec<(Term, i64)> = Vec::new();
    for (row, &col) in matrix.iter().zip(&pivots) {
        // Below the prime, so both fit.
        let c = if row[n] > PRIME / 2 { row[n] as i64 - PRIME as i64 } else { row[n] as i64 };
        if c.abs() > COEFFICIENT {
            return None;
        }
        if c != 0 {
            terms.push((Term::product(basis[col].iter().map(|&v| Term::Var(v))), c));
        }
    }
    // Positive terms first, the constant last.
    terms.sort_by_key(|(t, c)| (matches!(t, Term::Int(_)), *c < 0));
    let mut sum: Option<Term> = None;
    for (t, c) in terms {
        let size = match (&t, c.abs()) {
            (Term::Int(_), c) => Term::Int(c),
            (_, 1) => t,
            (_, c) => Term::two(Op2::Mul, Term::Int(c), t),
        };
        sum = Some(match (sum, c < 0) {
            (None, false) => size,
            (None, true) => Term::two(Op2::Sub, Term::Int(0), size),
            (Some(s), false) => Term::two(Op2::Add, s, size),
            (Some(s), true) => Term::two(Op2::Sub, s, size),
        });
    }
    Some(sum.unwrap_or(Term::Int(0)))
}

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        exponent >>= 1;
    }
    result
}

/// The number modulo [`PRIME`].
fn residue(v: i64) -> u64 {
    v.rem_euclid(PRIME as i64) as u64
}

/// `a b` modulo the prime: what is above its 61 bits counts once more below.
fn times(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    plus((wide & u128::from(PRIME)) as u64, (wide >> 61) as u64)
}

/// `a + b` modulo the prime, of two numbers that are at most the prime.
fn plus(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_solved_for_exactly() {
        let rows: Vec<Vec<i64>> = (0..60).map(|i| vec![i % 7, i % 5 - 2, i % 3 + 1]).collect();
        let want = |a: &[i64]| a[0] * a[2] - 3 * a[1] + 2;
        let pairs: Vec<(&[i64], i64)> = rows.iter().map(|r| (&**r, want(r))).collect();
        let t = solve(&monomials(&[0, 1, 2]), &pairs).unwrap();
        let names = ["a", "b", "c"].map(String::from);
        assert_eq!(t.text(&names), "a * c - 3 * b + 2");
        let crooked: Vec<(&[i64], i64)> = rows.iter().map(|r| (&**r, want(r) / 2)).collect();
        assert!(solve(&monomials(&[0, 1, 2]), &crooked).is_none());
    }
}
