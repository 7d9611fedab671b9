//! Numbers for the symbols of a call, such that its conditions hold.
//!
//! The conditions of a form are compiled once ([`Problem`]): symbols become places, terms small trees over machine
//! integers. A [`State`] holds numbers for some of the places; what they decide is found at once (a condition with one
//! open symbol is an equation for it, or a check of it), so that a contradiction shows when its last symbol gets a
//! number and not at the end. Symbols that equations define are left open until the equations give them. Most calls are
//! settled so in a microsecond or two; the rest goes to z3 (`crate::smt`), where the feature `z3` is on.

use crate::choices::{Choices, pick};
use egret_ir::{Cond, CondKind, Dim, DimKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Draws of one symbol before all its values are tried.
const DRAWS: usize = 4;
/// Fresh starts before draws are given up.
const STARTS: usize = 6;
/// Numbers that are drawn without being usual ones end here; equations may give larger ones.
const DRAWN: i64 = 17;

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
            self.lo + choices.below((self.hi.min(DRAWN.max(self.lo)) - self.lo + 1) as usize) as i64
        } else {
            (*pick(choices, self.usual)).clamp(self.lo, self.hi)
        }
    }

    fn allows(&self, value: i64) -> bool {
        (self.lo..=self.hi).contains(&value)
    }
}

/// A term over places.
#[derive(Debug)]
enum Term {
    Int(i64),
    At(usize),
    Sum(Vec<Term>),
    Product(Vec<Term>),
    FloorDiv(Box<(Term, Term)>),
    Mod(Box<(Term, Term)>),
    Min(Vec<Term>),
    Max(Vec<Term>),
    Select(Box<(Test, Term, Term)>),
    ScaleFloor(Box<Term>, f64),
}

/// A condition over places.
#[derive(Debug)]
enum Test {
    Known(bool),
    Eq(Term, Term),
    Le(Term, Term),
    Not(Box<Test>),
    And(Vec<Test>),
    Or(Vec<Test>),
}

impl Term {
    fn of(d: &Dim, place: &dyn Fn(&str) -> Option<usize>) -> Option<Term> {
        let of = |d: &Dim| Term::of(d, place);
        let all = |items: &[Dim]| items.iter().map(of).collect::<Option<Vec<_>>>();
        Some(match d.kind() {
            DimKind::Undefined => return None,
            DimKind::Int(v) => Term::Int(v),
            DimKind::Sym(name) => Term::At(place(name)?),
            DimKind::Sum(items) => Term::Sum(all(items)?),
            DimKind::Product(items) => Term::Product(all(items)?),
            DimKind::FloorDiv(a, b) => Term::FloorDiv(Box::new((of(a)?, of(b)?))),
            DimKind::Mod(a, b) => Term::Mod(Box::new((of(a)?, of(b)?))),
            DimKind::Min(items) => Term::Min(all(items)?),
            DimKind::Max(items) => Term::Max(all(items)?),
            DimKind::Select(c, a, b) => Term::Select(Box::new((Test::of(c, place)?, of(a)?, of(b)?))),
            DimKind::ScaleFloor(a, scale) => Term::ScaleFloor(Box::new(of(a)?), scale),
        })
    }

    /// The value; `None` where it has none (a division by zero, an overflow).
    fn eval(&self, at: &[i64]) -> Option<i64> {
        Some(match self {
            Term::Int(v) => *v,
            Term::At(p) => at[*p],
            Term::Sum(items) => items.iter().try_fold(0i64, |sum, t| sum.checked_add(t.eval(at)?))?,
            Term::Product(items) => items.iter().try_fold(1i64, |all, t| all.checked_mul(t.eval(at)?))?,
            Term::FloorDiv(ab) => Dim::int(ab.0.eval(at)?).floor_div(&Dim::int(ab.1.eval(at)?)).as_int()?,
            Term::Mod(ab) => Dim::int(ab.0.eval(at)?).modulo(&Dim::int(ab.1.eval(at)?)).as_int()?,
            Term::Min(items) => items.iter().try_fold(i64::MAX, |m, t| Some(m.min(t.eval(at)?)))?,
            Term::Max(items) => items.iter().try_fold(i64::MIN, |m, t| Some(m.max(t.eval(at)?)))?,
            Term::Select(s) => if s.0.holds(at)? { &s.1 } else { &s.2 }.eval(at)?,
            Term::ScaleFloor(t, scale) => Dim::int(t.eval(at)?).scale_floor(*scale).as_int()?,
        })
    }

    fn visit(&self, see: &mut dyn FnMut(usize)) {
        match self {
            Term::Int(_) => {}
            Term::At(p) => see(*p),
            Term::Sum(items) | Term::Product(items) | Term::Min(items) | Term::Max(items) => {
                items.iter().for_each(|t| t.visit(see));
            }
            Term::FloorDiv(ab) | Term::Mod(ab) => {
                ab.0.visit(see);
                ab.1.visit(see);
            }
            Term::Select(s) => {
                s.0.visit(see);
                s.1.visit(see);
                s.2.visit(see);
            }
            Term::ScaleFloor(t, _) => t.visit(see),
        }
    }

    fn mentions(&self, place: usize) -> bool {
        let mut found = false;
        self.visit(&mut |p| found |= p == place);
        found
    }

    /// Whether the term is a polynomial of degree 0 or 1 in the symbol.
    fn is_linear_in(&self, place: usize) -> bool {
        match self {
            Term::Int(_) | Term::At(_) => true,
            Term::Sum(items) => items.iter().all(|t| t.is_linear_in(place)),
            Term::Product(items) => {
                items.iter().filter(|t| t.mentions(place)).count() <= 1 && items.iter().all(|t| t.is_linear_in(place))
            }
            other => !other.mentions(place),
        }
    }
}

impl Test {
    fn of(c: &Cond, place: &dyn Fn(&str) -> Option<usize>) -> Option<Test> {
        let term = |d: &Dim| Term::of(d, place);
        let all = |items: &[Cond]| items.iter().map(|c| Test::of(c, place)).collect::<Option<Vec<_>>>();
        Some(match c.kind() {
            CondKind::Undefined => return None,
            CondKind::False => Test::Known(false),
            CondKind::True => Test::Known(true),
            CondKind::Eq(a, b) => Test::Eq(term(a)?, term(b)?),
            CondKind::Le(a, b) => Test::Le(term(a)?, term(b)?),
            CondKind::Not(c) => Test::Not(Box::new(Test::of(c, place)?)),
            CondKind::And(items) => Test::And(all(items)?),
            CondKind::Or(items) => Test::Or(all(items)?),
        })
    }

    /// The truth value; `None` where a term that decides it has no value.
    fn holds(&self, at: &[i64]) -> Option<bool> {
        Some(match self {
            Test::Known(b) => *b,
            Test::Eq(a, b) => a.eval(at)? == b.eval(at)?,
            Test::Le(a, b) => a.eval(at)? <= b.eval(at)?,
            Test::Not(t) => !t.holds(at)?,
            Test::And(items) => Cond::decide(items.iter().map(|t| t.holds(at)), false)?,
            Test::Or(items) => Cond::decide(items.iter().map(|t| t.holds(at)), true)?,
        })
    }

    fn visit(&self, see: &mut dyn FnMut(usize)) {
        match self {
            Test::Known(_) => {}
            Test::Eq(a, b) | Test::Le(a, b) => {
                a.visit(see);
                b.visit(see);
            }
            Test::Not(t) => t.visit(see),
            Test::And(items) | Test::Or(items) => items.iter().for_each(|t| t.visit(see)),
        }
    }
}

/// One condition with its symbols.
#[derive(Debug)]
struct Stated {
    test: Test,
    places: Vec<usize>,
    /// Of the symbols, those that the condition gives once all others are known: it is an equality, linear in them.
    gives: Vec<usize>,
}

/// Conditions on symbols, and what each symbol may be.
#[derive(Debug)]
pub struct Problem {
    names: Vec<Arc<str>>,
    wishes: Vec<Wish>,
    stated: Vec<Stated>,
    /// By symbol, the conditions that speak of it.
    of: Vec<Vec<usize>>,
    /// Symbols that stand alone on one side of an equality: drawn last.
    defined: Vec<bool>,
}

/// Numbers for some symbols of a problem, which contradict no condition by themselves.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    at: Vec<i64>,
    known: Vec<bool>,
    /// By condition, how many of its symbols have no number yet.
    open: Vec<u32>,
}

impl State {
    /// The number of a symbol, where it has one.
    pub fn get(&self, place: usize) -> Option<i64> {
        self.known[place].then(|| self.at[place])
    }
}

impl Problem {
    /// Compiles conditions. `None` where one has no value or never holds, or speaks of a symbol without a wish.
    pub fn new(conds: &[Cond], wishes: &BTreeMap<Arc<str>, Wish>) -> Option<Problem> {
        let names: Vec<Arc<str>> = wishes.keys().cloned().collect();
        let place = |name: &str| names.binary_search_by(|n| (**n).cmp(name)).ok();
        let mut flat = Vec::new();
        conds.iter().for_each(|c| flatten(c, &mut flat));
        let (mut stated, mut of, mut defined) = (Vec::new(), vec![Vec::new(); names.len()], vec![false; names.len()]);
        for c in flat {
            let test = Test::of(c, &place)?;
            match test {
                Test::Known(true) => continue,
                Test::Known(false) => return None,
                _ => {}
            }
            let mut places = Vec::new();
            test.visit(&mut |p| places.push(p));
            places.sort_unstable();
            places.dedup();
            let mut gives = Vec::new();
            if let Test::Eq(a, b) = &test {
                gives.extend(places.iter().copied().filter(|&p| a.is_linear_in(p) && b.is_linear_in(p)));
                for (one, other) in [(a, b), (b, a)] {
                    if let Term::At(p) = one
                        && !other.mentions(*p)
                        // Of two bare symbols one is enough.
                        && !matches!(other, Term::At(q) if defined[*q])
                    {
                        defined[*p] = true;
                    }
                }
            }
            places.iter().for_each(|&p| of[p].push(stated.len()));
            stated.push(Stated { test, places, gives });
        }
        let wishes = wishes.values().cloned().collect();
        Some(Problem { names, wishes, stated, of, defined })
    }

    /// The place of a symbol.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|n| (**n).cmp(name)).ok()
    }

    /// Nothing settled but what conditions say by themselves. `None` where they contradict each other.
    pub fn start(&self) -> Option<State> {
        let open = self.stated.iter().map(|s| s.places.len() as u32).collect();
        let mut state = State { at: vec![0; self.names.len()], known: vec![false; self.names.len()], open };
        let single = (0..self.stated.len()).filter(|&k| state.open[k] == 1).collect();
        self.follow(&mut state, single).then_some(state)
    }

    /// Gives symbols numbers, and others what follows. The state is of no use after `false`.
    pub fn set(&self, state: &mut State, values: impl IntoIterator<Item = (usize, i64)>) -> bool {
        for (p, v) in values {
            match state.get(p) {
                Some(have) if have == v => {}
                Some(_) => return false,
                None if !self.wishes[p].allows(v) => return false,
                None => {
                    let mut now = Vec::new();
                    if !self.put(state, p, v, &mut now) || !self.follow(state, now) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Puts a number; conditions that have one open symbol now are added to `now`. False where a condition is violated.
    fn put(&self, state: &mut State, p: usize, v: i64, now: &mut Vec<usize>) -> bool {
        (state.at[p], state.known[p]) = (v, true);
        for &k in &self.of[p] {
            state.open[k] -= 1;
            match state.open[k] {
                0 if self.stated[k].test.holds(&state.at) != Some(true) => return false,
                1 => now.push(k),
                _ => {}
            }
        }
        true
    }

    /// Solves conditions with one open symbol, and what comes of that.
    fn follow(&self, state: &mut State, mut now: Vec<usize>) -> bool {
        while let Some(k) = now.pop() {
            let stated = &self.stated[k];
            let Some(&p) = stated.places.iter().find(|&&p| !state.known[p]) else { continue };
            if !stated.gives.contains(&p) {
                continue;
            }
            let Test::Eq(a, b) = &stated.test else { continue };
            // a - b is c0 + c1 p.
            let mut difference = |v: i64| {
                state.at[p] = v;
                a.eval(&state.at)?.checked_sub(b.eval(&state.at)?)
            };
            let (Some(c0), Some(c1)) = (difference(0), difference(1)) else { return false };
            let c1 = c1 - c0;
            if c1 == 0 {
                // Whatever it is, nothing changes.
                if c0 != 0 {
                    return false;
                }
                continue;
            }
            let v = -c0 / c1;
            if c0 % c1 != 0 || !self.wishes[p].allows(v) || !self.put(state, p, v, &mut now) {
                return false;
            }
        }
        true
    }

    /// Numbers for all symbols that have none yet, by draws. `None` where draws find none.
    pub fn draw(&self, from: &State, choices: &mut dyn Choices) -> Option<State> {
        (0..STARTS).find_map(|_| {
            let mut state = from.clone();
            self.try_draw(&mut state, choices).then_some(state)
        })
    }

    fn try_draw(&self, state: &mut State, choices: &mut dyn Choices) -> bool {
        let mut left: Vec<usize> = (0..self.names.len()).collect();
        loop {
            left.retain(|&p| !state.known[p]);
            let free = left.iter().filter(|&&p| !self.defined[p]).count();
            let Some(nth) = (!left.is_empty()).then(|| choices.below(if free > 0 { free } else { left.len() })) else {
                return true;
            };
            let among = |p: &&usize| free == 0 || !self.defined[**p];
            let Some(&p) = left.iter().filter(among).nth(nth) else { return false };
            if !self.draw_one(state, p, choices) {
                return false;
            }
        }
    }

    fn draw_one(&self, state: &mut State, p: usize, choices: &mut dyn Choices) -> bool {
        let wish = &self.wishes[p];
        let last: Vec<usize> = self.of[p].iter().copied().filter(|&k| state.open[k] == 1).collect();
        let (lo, span) = (wish.lo, (wish.hi - wish.lo + 1) as usize);
        let mut offset = None;
        for turn in 0..DRAWS + span {
            let v = if turn < DRAWS {
                self.proposal(state, p, choices)
            } else {
                // All of them once, from a place that is drawn.
                let offset = *offset.get_or_insert_with(|| choices.below(span));
                lo + ((offset + turn) % span) as i64
            };
            state.at[p] = v;
            if last.iter().any(|&k| self.stated[k].test.holds(&state.at) != Some(true)) {
                continue;
            }
            let before = state.clone();
            let mut now = Vec::new();
            if self.put(state, p, v, &mut now) && self.follow(state, now) {
                return true;
            }
            *state = before;
            // Trying all values is for what can be told from them alone.
            if turn >= DRAWS {
                return false;
            }
        }
        false
    }

    /// A value for a symbol: what an equation of products divides by, an equal of another symbol, or what is wished.
    fn proposal(&self, state: &State, p: usize, choices: &mut dyn Choices) -> i64 {
        let wish = &self.wishes[p];
        match choices.below(4) {
            0 | 1 => {
                if let Some(whole) = self.of[p].iter().find_map(|&k| self.whole(state, &self.stated[k].test, p)) {
                    let fits = |d: &i64| wish.allows(*d) && *d > 0 && whole % d == 0;
                    let divisors: Vec<i64> = (1..=whole.min(wish.hi)).filter(fits).collect();
                    if !divisors.is_empty() {
                        return *pick(choices, &divisors);
                    }
                }
                let equal = |q: &usize| state.known[*q] && wish.allows(state.at[*q]);
                let known = (0..self.names.len()).filter(equal).count();
                if known > 0 {
                    let nth = choices.below(known);
                    if let Some(q) = (0..self.names.len()).filter(equal).nth(nth) {
                        return state.at[q];
                    }
                }
                wish.draw(choices)
            }
            _ => wish.draw(choices),
        }
    }

    /// What a number for the symbol should divide: the known side of an equality of products, less known factors; or the
    /// dividend where the remainder by the symbol is to be 0.
    fn whole(&self, state: &State, test: &Test, p: usize) -> Option<i64> {
        let Test::Eq(a, b) = test else { return None };
        let known = |t: &Term| {
            let mut all = true;
            t.visit(&mut |q| all &= state.known[q]);
            all.then(|| t.eval(&state.at)).flatten()
        };
        let share = |product: &Term, whole: i64| -> Option<i64> {
            match product {
                Term::At(q) if *q == p => Some(whole),
                Term::Product(items) if items.iter().any(|t| matches!(t, Term::At(q) if *q == p)) => {
                    let rest: i64 = items.iter().filter_map(known).try_fold(1i64, |all, v| all.checked_mul(v))?;
                    (rest > 0 && whole % rest == 0).then(|| whole / rest)
                }
                _ => None,
            }
        };
        let found = match (a, b) {
            (Term::Mod(ab), Term::Int(0)) | (Term::Int(0), Term::Mod(ab)) => share(&ab.1, known(&ab.0)?),
            _ => match (known(a), known(b)) {
                (Some(whole), None) => share(b, whole),
                (None, Some(whole)) => share(a, whole),
                _ => None,
            },
        };
        found.filter(|w| *w > 0)
    }

    /// The numbers of a state that has them all, by name.
    pub fn assignment(&self, state: &State) -> Assignment {
        self.names.iter().cloned().zip(state.at.iter().copied()).collect()
    }

    /// A state of an assignment.
    pub fn state_of(&self, found: &Assignment) -> Option<State> {
        let mut state = self.start()?;
        let values = self.names.iter().enumerate().map(|(p, n)| Some((p, *found.get(n)?)));
        self.set(&mut state, values.collect::<Option<Vec<_>>>()?).then_some(state)
    }
}

/// Conjunctions taken apart.
fn flatten<'a>(c: &'a Cond, out: &mut Vec<&'a Cond>) {
    match c.kind() {
        CondKind::And(items) => items.iter().for_each(|c| flatten(c, out)),
        _ => out.push(c),
    }
}

/// Which machinery found an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// Equations and draws.
    Draws,
    /// z3.
    Solver,
}

/// Values for all symbols of `wishes` under which every condition holds.
pub fn solve(conds: &[Cond], wishes: &BTreeMap<Arc<str>, Wish>, choices: &mut dyn Choices) -> Option<(Assignment, By)> {
    let problem = Problem::new(conds, wishes)?;
    match problem.draw(&problem.start()?, choices) {
        Some(state) => Some((problem.assignment(&state), By::Draws)),
        None => by_solver(conds, wishes, choices).map(|found| (found, By::Solver)),
    }
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

#[cfg(feature = "z3")]
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

    #[test]
    fn factors_of_a_known_product_are_drawn() {
        let d = Dim::sym;
        let conds = [Cond::eq(&(d("a") * &d("b") * &d("c")), &(d("m") * &d("n")))];
        let problem = Problem::new(&conds, &wishes(&["a", "b", "c", "m", "n"])).unwrap();
        let start = problem.start().unwrap();
        let found = (0..100).filter(|&i| problem.draw(&start, &mut Seeded::new(2, i)).is_some()).count();
        assert!(found >= 90, "{found}");
    }

    #[test]
    fn numbers_that_are_given_stay_and_contradictions_show_at_once() {
        let d = Dim::sym;
        let conds = [Cond::eq(&d("a"), &d("b")), Cond::eq(&(d("b") * 3 - 1), &d("c"))];
        let problem = Problem::new(&conds, &wishes(&["a", "b", "c"])).unwrap();
        let places: Vec<usize> = ["a", "b", "c"].iter().map(|n| problem.place(n).unwrap()).collect();
        let mut state = problem.start().unwrap();
        assert!(problem.set(&mut state, [(places[0], 4)]));
        assert_eq!(places.iter().map(|&p| state.get(p)).collect::<Vec<_>>(), [Some(4), Some(4), Some(11)]);
        assert!(!problem.set(&mut state, [(places[2], 12)]));
        assert!(!problem.set(&mut problem.start().unwrap(), [(places[2], 12)]));
    }

    #[cfg(feature = "z3")]
    #[test]
    fn what_draws_do_not_find_the_solver_does() {
        let (a, b) = (Dim::sym("a"), Dim::sym("b"));
        let conds = [Cond::eq(&(&a * &a * &a + &b * &b), &Dim::int(37 * 37 * 37 + 31 * 31))];
        let (found, by) = solve(&conds, &wishes(&["a", "b"]), &mut Seeded::new(1, 0)).unwrap();
        assert_eq!((found["a"], found["b"]), (37, 31));
        assert_eq!(by, By::Solver);
    }

    #[test]
    fn contradictions_are_given_up() {
        let a = Dim::sym("a");
        assert!(solve(&[Cond::le(&(&a + 1), &a)], &wishes(&["a"]), &mut Seeded::new(1, 0)).is_none());
    }
}
