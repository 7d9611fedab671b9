//! Numbers for the symbols of a call, such that its conditions hold.
//!
//! Most calls ask for equalities between extents and for bounds, which substitution and a few draws settle in
//! microseconds. What they leave open goes to z3 (`crate::smt`), where the feature `z3` is on.

use crate::choices::{Choices, pick};
use egret_ir::{Cond, CondKind, Dim};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Draws of one symbol before another order is tried.
const DRAWS: usize = 4;
/// Orders before z3 is asked.
const ORDERS: usize = 3;

/// Values of symbols.
pub type Assignment = BTreeMap<Arc<str>, i64>;

/// What a symbol may be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Least value.
    pub lo: i64,
    /// Greatest value.
    pub hi: i64,
    /// Values to draw from; all of `lo..=hi` where empty.
    pub usual: &'static [i64],
}

impl Wish {
    fn draw(&self, choices: &mut dyn Choices) -> i64 {
        if self.usual.is_empty() || choices.chance(1, 8) {
            self.lo + choices.below((self.hi - self.lo + 1) as usize) as i64
        } else {
            (*pick(choices, self.usual)).clamp(self.lo, self.hi)
        }
    }
}

/// Which machinery found an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// Substitution and draws.
    Draws,
    /// z3.
    Solver,
}

/// Values for all symbols of `wishes` under which every condition holds, by substitution and draws alone.
pub fn drawn(conds: &[Cond], wishes: &BTreeMap<Arc<str>, Wish>, choices: &mut dyn Choices) -> Option<Assignment> {
    for _ in 0..ORDERS {
        match by_draws(conds, wishes, choices) {
            Drawn::Found(found) => return Some(found),
            Drawn::Never => return None,
            Drawn::Stuck => {}
        }
    }
    None
}

/// Values for all symbols of `wishes` under which every condition holds.
pub fn solve(conds: &[Cond], wishes: &BTreeMap<Arc<str>, Wish>, choices: &mut dyn Choices) -> Option<(Assignment, By)> {
    for _ in 0..ORDERS {
        match by_draws(conds, wishes, choices) {
            Drawn::Found(found) => return Some((found, By::Draws)),
            Drawn::Never => return None,
            Drawn::Stuck => {}
        }
    }
    by_solver(conds, wishes, choices).map(|found| (found, By::Solver))
}

#[cfg(feature = "z3")]
fn by_solver(conds: &[Cond], wishes: &BTreeMap<Arc<str>, Wish>, choices: &mut dyn Choices) -> Option<Assignment> {
    let wish = wishes.iter().map(|(n, w)| (Arc::clone(n), w.draw(choices))).collect();
    let bounds = wishes.iter().map(|(n, w)| (Arc::clone(n), (w.lo, w.hi))).collect();
    crate::smt::solve(conds, &bounds, &wish)
}

#[cfg(not(feature = "z3"))]
fn by_solver(_: &[Cond], _: &BTreeMap<Arc<str>, Wish>, _: &mut dyn Choices) -> Option<Assignment> {
    None
}

enum Drawn {
    Found(Assignment),
    /// A condition is false whatever the symbols are.
    Never,
    Stuck,
}

fn by_draws(conds: &[Cond], wishes: &BTreeMap<Arc<str>, Wish>, choices: &mut dyn Choices) -> Drawn {
    let mut open: Vec<Cond> = conds.iter().filter(|c| c.as_bool() != Some(true)).cloned().collect();
    if open.iter().any(|c| c.as_bool() == Some(false) || c.is_undefined()) {
        return Drawn::Never;
    }
    // Symbols that equalities define, latest first: each definition speaks of symbols that are settled after it.
    let mut defined: Vec<(Arc<str>, Dim)> = Vec::new();
    while let Some((name, term)) = open.iter().find_map(definition) {
        let with = |s: &str| (s == &*name).then(|| term.clone());
        open = open.iter().map(|c| c.substitute(&with)).filter(|c| c.as_bool() != Some(true)).collect();
        if open.iter().any(|c| c.as_bool() == Some(false)) {
            return Drawn::Stuck;
        }
        defined.push((name, term));
    }
    let mut found = Assignment::new();
    loop {
        let symbols: BTreeSet<Arc<str>> = open.iter().flat_map(Cond::symbols).collect();
        let symbols: Vec<_> = symbols.into_iter().collect();
        if symbols.is_empty() {
            break;
        }
        let name = pick(choices, &symbols);
        let Some(wish) = wishes.get(name) else { return Drawn::Stuck };
        // Conditions speak of equal extents more often than of different ones.
        let known: Vec<i64> = found.values().copied().filter(|v| (wish.lo..=wish.hi).contains(v)).collect();
        let step = (0..DRAWS).find_map(|_| {
            let value =
                if !known.is_empty() && choices.chance(1, 2) { *pick(choices, &known) } else { wish.draw(choices) };
            let with = |s: &str| (s == &**name).then_some(Dim::int(value));
            let next: Vec<Cond> =
                open.iter().map(|c| c.substitute(&with)).filter(|c| c.as_bool() != Some(true)).collect();
            let fine = next.iter().all(|c| c.as_bool() != Some(false) && !c.is_undefined());
            fine.then_some((value, next))
        });
        let Some((value, next)) = step else { return Drawn::Stuck };
        found.insert(Arc::clone(name), value);
        open = next;
    }
    for (name, wish) in wishes {
        if !found.contains_key(name) && !defined.iter().any(|(n, _)| n == name) {
            found.insert(Arc::clone(name), wish.draw(choices));
        }
    }
    for (name, term) in defined.iter().rev() {
        let value = term.eval(&|s| found.get(s).copied());
        match (value, wishes.get(name)) {
            (Some(v), Some(w)) if (w.lo..=w.hi).contains(&v) => found.insert(Arc::clone(name), v),
            _ => return Drawn::Stuck,
        };
    }
    // Terms that no substitution settled are checked once more with numbers.
    if conds.iter().all(|c| c.eval(&|s| found.get(s).copied()) == Some(true)) {
        Drawn::Found(found)
    } else {
        Drawn::Stuck
    }
}

/// A bare symbol that an equality defines by other symbols.
pub(crate) fn definition(c: &Cond) -> Option<(Arc<str>, Dim)> {
    match c.kind() {
        CondKind::Eq(a, b) => [(a, b), (b, a)].into_iter().find_map(|(a, b)| {
            let name: Arc<str> = Arc::from(a.as_sym()?);
            (!b.symbols().contains(&name)).then(|| (name, b.clone()))
        }),
        CondKind::And(items) => items.iter().find_map(definition),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;

    fn wishes(names: &[&str]) -> BTreeMap<Arc<str>, Wish> {
        names.iter().map(|&n| (Arc::from(n), Wish { lo: 0, hi: 40, usual: &[1, 2, 3, 4, 8] })).collect()
    }

    #[test]
    fn equal_extents_need_no_solver() {
        let d = Dim::sym;
        let conds = [Cond::eq(&d("a"), &d("b")), Cond::eq(&d("b"), &(d("c") * 2)), Cond::le(&Dim::ONE, &d("c"))];
        for i in 0..100 {
            let (found, by) = solve(&conds, &wishes(&["a", "b", "c", "d"]), &mut Seeded::new(1, i)).unwrap();
            assert!(conds.iter().all(|c| c.eval(&|s| found.get(s).copied()) == Some(true)));
            assert_eq!(by, By::Draws);
            assert_eq!(found.len(), 4);
        }
    }

    #[cfg(feature = "z3")]
    #[test]
    fn what_draws_do_not_find_the_solver_does() {
        let (a, b) = (Dim::sym("a"), Dim::sym("b"));
        let conds = [Cond::eq(&(&a * &b), &Dim::int(37 * 31))];
        let (found, by) = solve(&conds, &wishes(&["a", "b"]), &mut Seeded::new(1, 0)).unwrap();
        assert_eq!(found["a"] * found["b"], 37 * 31);
        assert_eq!(by, By::Solver);
    }

    #[test]
    fn contradictions_are_given_up() {
        let a = Dim::sym("a");
        assert!(solve(&[Cond::le(&(&a + 1), &a)], &wishes(&["a"]), &mut Seeded::new(1, 0)).is_none());
    }
}
