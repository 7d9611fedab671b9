//! Requirements of a structure: a conjunction that holds on every valid experiment and refuses every invalid one.
//!
//! Candidates come in tiers, simplest first. Of a tier, those that hold on all valid experiments are taken greedily by how
//! many invalid ones they refuse which nothing refuses yet. What a tier leaves goes to the next one. A candidate that was
//! taken because the experiments happened to fit is found out by the next experiments, which break it alone.

use super::bench::{Bench, Row};
use super::lift::Hints;
use super::outputs::{self, list_products, lists};
use super::structure::VarKind;
use super::term::{Cmp, Op2, Pred, Term};

/// Tiers of candidates.
const TIERS: usize = 9;
/// Valid experiments that candidates fail on first, at most.
const KILLERS: usize = 12;
/// Valid experiments that a variable and a term are compared on before a candidate is made of them.
const FIRST: usize = 8;
/// Atoms that are joined in pairs, at most.
const ATOMS: usize = 600;
/// Variables for which an expression is looked for, at most.
const DETERMINED: usize = 12;
/// Alternatives of one requirement, at most.
const ALTERNATIVES: usize = 6;
/// Experiments that clauses are made for, at most.
const CLAUSES: usize = 6;

/// The requirements (`hints` come before others of their size), and how many invalid experiments nothing refuses.
pub fn requirements(bench: &Bench<'_>, hints: &Hints, outs: &[Term], numerators: &[Term]) -> (Vec<Pred>, usize) {
    let mut chosen: Vec<Pred> = Vec::new();
    let mut left: Vec<usize> = (0..bench.invalid.len()).collect();
    let mut killers = Vec::new();
    for tier in 0..TIERS {
        if left.is_empty() {
            break;
        }
        let mut found: Vec<(Pred, Vec<usize>)> = Vec::new();
        let mut offer = |p: Pred| {
            if let Some(refused) = refused(bench, &p, &left, &mut killers) {
                found.push((p, refused));
            }
        };
        match tier {
            0 => {
                hints.preds.iter().for_each(|p| offer(p.clone()));
                bound(bench, hints, &mut offer);
            }
            1 => single(bench, &mut offer),
            2 => pairs(bench, outs, numerators, &mut offer),
            3 => hints.whole.iter().for_each(|p| offer(p.clone())),
            4 => triples(bench, &mut offer),
            5 => determined(bench, &chosen, &mut offer),
            6 => long(bench, outs, &mut offer),
            7 => joined(bench, outs, numerators, &left, &mut offer),
            _ => clauses(bench, &left, &mut offer),
        }
        take(found, &mut chosen, &mut left);
    }
    (chosen, left.len())
}

/// The experiments of `left` that the candidate refuses, if it holds on all valid ones and refuses any. Most candidates fail on
/// a valid experiment that another one failed on just before: `killers` are these, the latest first.
fn refused(bench: &Bench<'_>, p: &Pred, left: &[usize], killers: &mut Vec<usize>) -> Option<Vec<usize>> {
    if let Some(k) = killers.iter().position(|&i| !p.holds(&bench.valid[i].at)) {
        killers[..=k].rotate_right(1);
        return None;
    }
    let refuses = || left.iter().copied().filter(|&i| !p.holds(&bench.invalid[i].at)).collect::<Vec<_>>();
    // The fewer are looked at first.
    let before = (left.len() < bench.valid.len()).then(refuses);
    if before.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    if let Some(i) = bench.valid.iter().position(|r| !p.holds(&r.at)) {
        killers.insert(0, i);
        killers.truncate(KILLERS);
        return None;
    }
    let refused = before.unwrap_or_else(refuses);
    (!refused.is_empty()).then_some(refused)
}

/// A variable that must be what a relative's rule says of a result's extent: an operand has the shape of a result.
fn bound(bench: &Bench<'_>, hints: &Hints, offer: &mut dyn FnMut(Pred)) {
    for t in &hints.terms {
        equals(bench, t, offer);
        // Or what it is at least.
        let own = t.vars();
        if own.len() > 1 {
            let first: Vec<(&Row, Option<i64>)> = bench.valid.iter().take(FIRST).map(|r| (r, t.eval(&r.at))).collect();
            for a in (0..bench.vars.len()).filter(|a| !own.contains(a)) {
                if first.iter().all(|(r, least)| least.is_some_and(|l| l <= r.at[a])) {
                    offer(Pred::le(t.clone(), var(a)));
                }
            }
        }
    }
}

/// That a quotient leaves no rest.
pub fn divides(t: &Term, offer: &mut dyn FnMut(Pred)) {
    if let Term::Two(Op2::Floor, of) = t {
        offer(Pred::eq(Term::two(Op2::Mod, of.0.clone(), of.1.clone()), Term::Int(0)));
    }
}

/// Requirements that a variable is the term, or 1 or the term, of variables for which experiments do not tell at once that it
/// is not. A variable that was never seen to be anything but 1 says nothing for a term.
pub fn equals(bench: &Bench<'_>, t: &Term, offer: &mut dyn FnMut(Pred)) {
    if matches!(t, Term::Var(_) | Term::Int(_)) {
        return;
    }
    let own = t.vars();
    let first: Vec<(&Row, Option<i64>)> = bench.valid.iter().take(FIRST).map(|r| (r, t.eval(&r.at))).collect();
    for a in (0..bench.vars.len()).filter(|a| !own.contains(a)) {
        if first.iter().all(|(r, want)| Some(r.at[a]) == *want) {
            if let Term::Two(Op2::Floor, of) = t {
                offer(Pred::eq(Term::two(Op2::Mul, of.1.clone(), var(a)), of.0.clone()));
            }
            offer(Pred::eq(var(a), t.clone()));
        } else if first.iter().all(|(r, want)| r.at[a] == 1 || Some(r.at[a]) == *want)
            && bench.valid.iter().any(|r| r.at[a] != 1)
        {
            offer(Pred::Any(vec![Pred::eq(var(a), Term::Int(1)), Pred::eq(var(a), t.clone())]));
        }
    }
}

fn take(mut found: Vec<(Pred, Vec<usize>)>, chosen: &mut Vec<Pred>, left: &mut Vec<usize>) {
    loop {
        // The first of the strongest: candidates come in order of simplicity.
        let mut best: Option<usize> = None;
        for (k, (_, refused)) in found.iter().enumerate() {
            if best.is_none_or(|b| refused.len() > found[b].1.len()) {
                best = Some(k);
            }
        }
        let Some(best) = best else { return };
        let (p, gone) = found.swap_remove(best);
        let gone: std::collections::HashSet<usize> = gone.into_iter().collect();
        left.retain(|i| !gone.contains(i));
        chosen.push(p);
        for (_, refused) in &mut found {
            refused.retain(|i| !gone.contains(i));
        }
        found.retain(|(_, refused)| !refused.is_empty());
        // The order of simplicity is lost by the removal; sort by text length, which is close.
        found.sort_by_cached_key(|(p, _)| size(p));
    }
}

fn size(p: &Pred) -> usize {
    let mut n = 0;
    p.each_var(&mut |_| n += 1);
    n + if let Pred::Any(items) = p { items.len() } else { 0 }
}

fn column(rows: &[Row], v: usize) -> impl Iterator<Item = i64> + '_ {
    rows.iter().map(move |r| r.at[v])
}

fn var(v: usize) -> Term {
    Term::Var(v)
}

/// One variable: a number, a least number, equal to another.
fn single(bench: &Bench<'_>, offer: &mut dyn FnMut(Pred)) {
    let n = bench.vars.len();
    for a in 0..n {
        let least = column(&bench.valid, a).min().unwrap_or(0);
        let most = column(&bench.valid, a).max().unwrap_or(0);
        if least == most {
            offer(Pred::eq(var(a), Term::Int(least)));
            // Which of its equals it must equal, experiments cannot tell.
            continue;
        }
        if least <= 4 {
            offer(Pred::le(Term::Int(least), var(a)));
        }
        for b in a + 1..n {
            offer(Pred::eq(var(a), var(b)));
        }
    }
}

/// Two or three variables, and what the extents of results say.
fn pairs(bench: &Bench<'_>, outs: &[Term], numerators: &[Term], offer: &mut dyn FnMut(Pred)) {
    let n = bench.vars.len();
    outs.iter().for_each(|t| divides(t, offer));
    for t in numerators.iter().chain(outs) {
        if !matches!(t, Term::Var(_) | Term::Int(_)) {
            offer(Pred::le(Term::Int(0), t.clone()));
            offer(Pred::le(Term::Int(1), t.clone()));
        }
    }
    for a in 0..n {
        let most = column(&bench.valid, a).max().unwrap_or(0);
        if most <= 4 {
            offer(Pred::le(var(a), Term::Int(most)));
        }
        for c in 2..=16 {
            offer(Pred::eq(Term::two(Op2::Mod, var(a), Term::Int(c)), Term::Int(0)));
            offer(Pred::eq(Term::two(Op2::Mod, Term::Int(c), var(a)), Term::Int(0)));
        }
        for b in 0..n {
            if a == b {
                continue;
            }
            if a < b {
                let one = Term::Int(1);
                let either = [Pred::eq(var(a), one.clone()), Pred::eq(var(b), one), Pred::eq(var(a), var(b))];
                offer(Pred::Any(either.into()));
            }
            offer(Pred::Any(vec![Pred::eq(var(a), Term::Int(1)), Pred::eq(var(a), var(b))]));
            offer(Pred::eq(Term::two(Op2::Mod, var(a), var(b)), Term::Int(0)));
            for c in 1..=4 {
                offer(Pred::eq(var(a), var(b).plus(c)));
                offer(Pred::eq(var(a), Term::two(Op2::Mul, Term::Int(c + 1), var(b))));
            }
            for c in -3..=3 {
                offer(Pred::le(var(a), var(b).plus(c)));
            }
            for c in b + 1..n {
                if c != a {
                    offer(Pred::eq(var(a), Term::two(Op2::Mul, var(b), var(c))));
                }
            }
            for c in (0..n).filter(|&c| c != a && c != b) {
                for op in [Op2::Ceil, Op2::Floor] {
                    offer(Pred::eq(var(a), Term::two(op, var(b), var(c))));
                }
            }
        }
    }
}

/// Three variables and lists.
fn triples(bench: &Bench<'_>, offer: &mut dyn FnMut(Pred)) {
    let n = bench.vars.len();
    let lists = lists(bench);
    let products = list_products(bench);
    for (k, a) in products.iter().enumerate() {
        for b in &products[k + 1..] {
            offer(Pred::eq(a.clone(), b.clone()));
        }
        for b in products.iter().filter(|b| *b != a) {
            offer(Pred::eq(Term::two(Op2::Mod, a.clone(), b.clone()), Term::Int(0)));
        }
        for b in 0..n {
            offer(Pred::eq(a.clone(), var(b)));
            offer(Pred::eq(Term::two(Op2::Mod, a.clone(), var(b)), Term::Int(0)));
            offer(Pred::eq(Term::two(Op2::Mod, var(b), a.clone()), Term::Int(0)));
        }
    }
    for list in lists.iter().filter(|l| l.len() > 1) {
        let sum = Term::sum(list.iter().map(|&v| var(v)));
        for b in (0..n).filter(|b| !list.contains(b)) {
            offer(Pred::eq(sum.clone(), var(b)));
            offer(Pred::le(sum.clone(), var(b)));
        }
    }
    for a in 0..n {
        for b in 0..n {
            for c in b..n {
                if a == b || a == c {
                    continue;
                }
                let (sum, product) = (Term::two(Op2::Add, var(b), var(c)), Term::two(Op2::Mul, var(b), var(c)));
                offer(Pred::eq(var(a), sum.clone()));
                offer(Pred::eq(Term::two(Op2::Mod, var(a), product.clone()), Term::Int(0)));
                offer(Pred::le(var(a), sum.clone()));
                offer(Pred::le(sum, var(a)));
                offer(Pred::le(var(a), product.clone()));
                offer(Pred::le(product, var(a)));
            }
            if a < b {
                for c in -1..=2 {
                    offer(Pred::le(Term::Int(c), Term::two(Op2::Add, var(a), var(b))));
                }
            }
        }
    }
}

/// Variables that follow from others, and for which no requirement says so yet: what they follow by, and of a quotient that it is
/// one of something that is there.
fn determined(bench: &Bench<'_>, chosen: &[Pred], offer: &mut dyn FnMut(Pred)) {
    let said = |v: usize| {
        let is = |t: &Term| *t == var(v);
        chosen.iter().any(|p| matches!(p, Pred::Cmp(Cmp::Eq, a, b) if is(a) || is(b)))
    };
    for v in (0..bench.vars.len()).filter(|&v| !said(v)).take(DETERMINED) {
        let Some(found) = outputs::determined(bench, v) else { continue };
        equals(bench, &found.term, offer);
        offer(Pred::eq(var(v), found.term));
        if let Some(above) = found.numerator {
            offer(Pred::le(Term::Int(0), above.clone()));
            offer(Pred::le(Term::Int(1), above));
        }
    }
}

/// Polynomial equalities, four variables, bounds and either-or with small numbers.
fn long(bench: &Bench<'_>, outs: &[Term], offer: &mut dyn FnMut(Pred)) {
    let n = bench.vars.len();
    for a in 0..n {
        let most = column(&bench.valid, a).max().unwrap_or(0);
        offer(Pred::le(var(a), Term::Int(most)));
        for b in 0..n {
            for c in 0..=4 {
                offer(Pred::Any(vec![Pred::eq(var(a), Term::Int(c)), Pred::eq(var(b), Term::Int(c))]));
                if a != b {
                    offer(Pred::Any(vec![Pred::eq(var(a), Term::Int(c)), Pred::le(Term::Int(1), var(b))]));
                    offer(Pred::Any(vec![Pred::eq(var(a), var(b)), Pred::eq(var(a), Term::Int(c))]));
                }
            }
        }
        for t in outs.iter().filter(|t| !t.vars().contains(&a)) {
            for c in -1..=1 {
                offer(Pred::le(t.clone().plus(c), var(a)));
                offer(Pred::le(var(a), t.clone().plus(c)));
                offer(Pred::eq(var(a), t.clone().plus(c)));
            }
            offer(Pred::Any(vec![Pred::eq(var(a), Term::Int(1)), Pred::eq(var(a), t.clone())]));
            let two = [Pred::eq(var(a), Term::Int(1)), Pred::eq(t.clone(), Term::Int(1)), Pred::eq(var(a), t.clone())];
            offer(Pred::Any(two.into()));
        }
    }
    // Pairwise sums, as padded extents are.
    let sums: Vec<(usize, usize, Term)> =
        (0..n).flat_map(|a| (a..n).map(move |b| (a, b, Term::two(Op2::Add, var(a), var(b))))).collect();
    if sums.len() <= 120 {
        for (a, b, s) in &sums {
            for (c, d, t) in &sums {
                if a != c && b != d && a != d && b != c {
                    offer(Pred::le(s.clone(), t.clone()));
                    offer(Pred::eq(s.clone(), t.clone()));
                }
            }
        }
    }
}

/// Either-or of two simple candidates, neither of which always holds.
fn joined(bench: &Bench<'_>, outs: &[Term], numerators: &[Term], left: &[usize], offer: &mut dyn FnMut(Pred)) {
    let n = bench.vars.len();
    let mut atoms: Vec<Pred> = Vec::new();
    for a in 0..n {
        for c in -1..=3 {
            atoms.push(Pred::eq(var(a), Term::Int(c)));
            atoms.push(Pred::le(Term::Int(c), var(a)));
            atoms.push(Pred::le(var(a), Term::Int(c)));
        }
        for b in 0..n {
            if a < b {
                atoms.push(Pred::eq(var(a), var(b)));
            }
            if a != b {
                atoms.push(Pred::le(var(a), var(b)));
                let attr = |v: usize| matches!(bench.vars[v].kind, VarKind::Attr(..));
                if attr(a) || attr(b) {
                    atoms.push(Pred::le(var(a).plus(1), var(b)));
                }
            }
        }
    }
    for t in outs.iter().chain(numerators) {
        if !matches!(t, Term::Var(_) | Term::Int(_)) {
            atoms.extend((0..=1).map(|c| Pred::le(Term::Int(c), t.clone())));
        }
    }
    // An atom is of use that some experiment which is left breaks.
    atoms.retain(|p| left.iter().any(|&i| !p.holds(&bench.invalid[i].at)));
    atoms.truncate(ATOMS);
    let words = bench.valid.len().div_ceil(64);
    let bits: Vec<Vec<u64>> = atoms
        .iter()
        .map(|p| {
            let mut w = vec![0u64; words];
            for (i, r) in bench.valid.iter().enumerate() {
                w[i / 64] |= u64::from(p.holds(&r.at)) << (i % 64);
            }
            w
        })
        .collect();
    let mut full = vec![u64::MAX; words];
    if !bench.valid.len().is_multiple_of(64)
        && let Some(last) = full.last_mut()
    {
        *last = (1u64 << (bench.valid.len() % 64)) - 1;
    }
    for a in 0..atoms.len() {
        for b in a + 1..atoms.len() {
            if (0..words).all(|w| bits[a][w] | bits[b][w] == full[w]) {
                offer(Pred::Any(vec![atoms[a].clone(), atoms[b].clone()]));
            }
        }
    }
}

/// Either-or of several: for an experiment that nothing refuses, as few simple alternatives as cover all valid ones and not it.
/// That an index must be in range where there is an index at all has this form.
fn clauses(bench: &Bench<'_>, left: &[usize], offer: &mut dyn FnMut(Pred)) {
    let n = bench.vars.len();
    let mut atoms: Vec<Pred> = Vec::new();
    for a in 0..n {
        atoms.extend((0..=1).map(|c| Pred::eq(var(a), Term::Int(c))));
        atoms.push(Pred::le(Term::Int(1), var(a)));
        atoms.extend((a + 1..n).map(|b| Pred::eq(var(a), var(b))));
    }
    for &i in left.iter().take(CLAUSES) {
        let mut usable: Vec<&Pred> = atoms.iter().filter(|p| !p.holds(&bench.invalid[i].at)).collect();
        let mut open: Vec<&Row> = bench.valid.iter().collect();
        let mut clause: Vec<Pred> = Vec::new();
        while !open.is_empty() && clause.len() < ALTERNATIVES {
            let covers = |p: &Pred| open.iter().filter(|r| p.holds(&r.at)).count();
            // The simplest of the strongest.
            let Some(best) = (0..usable.len()).rev().max_by_key(|&k| covers(usable[k])) else { break };
            let p = usable.swap_remove(best);
            open.retain(|r| !p.holds(&r.at));
            clause.push(p.clone());
        }
        if open.is_empty() {
            clause.sort();
            offer(Pred::Any(clause));
        }
    }
}
