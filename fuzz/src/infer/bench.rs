//! Experiments on one structure: assignments drawn where they tell something, and what the black box said of each.

use super::structure::{Structure, Var, VarKind};
use super::term::{Cmp, Op2, Pred, Term};
use crate::blackbox::BlackBox;
use crate::choices::{Choices, Seeded, pick};
use crate::trace::{Call, Outcome, Produced};
use egret_ir::DType;
use std::collections::HashSet;

/// Experiments on variables that are one number in all valid experiments, at most.
const THAW: usize = 2000;
/// Experiments on pairs of variables, at most.
const PAIRS: usize = 900;
/// Variables that are one number in all valid experiments and are doubled in pairs, at most.
const FROZEN: usize = 8;
/// Experiments on variables that are equal in all valid experiments, at most.
const UNTIE: usize = 300;
/// Variables that are equal in all valid experiments and are told apart, at most.
const TIED: usize = 14;
/// Sets of variables that move together, at most.
const MOVES: usize = 64;
/// Variables that are one number in all valid experiments and are scaled together, at most.
const TOGETHER: usize = 11;
/// Greatest number drawn as a matter of course.
const USUAL: i64 = 9;

/// What all valid calls of a structure have in common: element types and ranks of the results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A tensor of this rank.
    Tensor(DType, usize),
    /// Tensors of a rank in something else, by its type's text.
    Nested(String, usize),
    /// Something else, by its type's text.
    Other(String),
}

/// One experiment.
#[derive(Clone, Debug)]
pub struct Row {
    /// Numbers of the variables.
    pub at: Vec<i64>,
    /// Extents of all results in a row where the call is valid; one that depends on data is `None`.
    pub out: Option<Vec<Option<i64>>>,
}

/// A structure under experiment.
pub struct Bench<'a> {
    /// The structure.
    pub structure: &'a Structure,
    /// Its variables.
    pub vars: Vec<Var>,
    /// Valid experiments.
    pub valid: Vec<Row>,
    /// Refused experiments.
    pub invalid: Vec<Row>,
    /// Kinds of the results.
    pub kinds: Option<Vec<Kind>>,
    /// Whether kinds of results differ between valid calls: then no rule of this form exists.
    pub kinds_vary: bool,
    /// Experiments run.
    pub runs: usize,
    /// A refusal that the black box blamed on itself.
    pub unsupported: Option<String>,
    seen: HashSet<Vec<i64>>,
    /// Sets of variables that were seen to move together: first those at one position of several operands, then those
    /// that experiments showed.
    moves: Vec<Vec<usize>>,
    /// Sets of variables that were seen to be scaled together.
    scales: Vec<Vec<usize>>,
    /// The valid experiment that the latest mutation came from.
    from: Option<usize>,
    system: &'a mut dyn BlackBox,
    /// Decisions.
    pub choices: Seeded,
}

impl<'a> Bench<'a> {
    /// A bench without experiments.
    pub fn new(structure: &'a Structure, system: &'a mut dyn BlackBox, seed: u64) -> Bench<'a> {
        Bench {
            moves: aligned(&structure.vars()),
            from: None,
            scales: Vec::new(),
            vars: structure.vars(),
            structure,
            valid: Vec::new(),
            invalid: Vec::new(),
            kinds: None,
            kinds_vary: false,
            runs: 0,
            unsupported: None,
            seen: HashSet::new(),
            system,
            choices: Seeded::new(seed, 1),
        }
    }

    /// Runs one assignment unless it was run before; whether it is valid.
    pub fn run(&mut self, at: Vec<i64>) -> Option<bool> {
        if !self.seen.insert(at.clone()) {
            return None;
        }
        self.runs += 1;
        match self.system.call(&self.structure.call(&self.vars, &at)) {
            Outcome::Valid(types) => {
                let (kinds, out) = split(types);
                match &self.kinds {
                    None => self.kinds = Some(kinds),
                    Some(k) if *k != kinds => {
                        self.kinds_vary = true;
                        return None;
                    }
                    Some(_) => {}
                }
                self.learn(&at);
                self.valid.push(Row { at, out: Some(out) });
                Some(true)
            }
            Outcome::Invalid(_) => {
                self.invalid.push(Row { at, out: None });
                Some(false)
            }
            Outcome::Unsupported(e) => {
                self.unsupported = Some(e);
                None
            }
        }
    }

    /// Whether the black box answers an experiment of another bench with the same variables as it did there.
    pub fn answers(&mut self, row: &Row) -> bool {
        self.from = None;
        match self.run(row.at.clone()) {
            Some(true) => self.valid.last().is_some_and(|r| r.out == row.out),
            Some(false) => row.out.is_none(),
            None => {
                let seen = self.valid.iter().chain(&self.invalid).find(|r| r.at == row.at);
                seen.is_some_and(|r| r.out == row.out)
            }
        }
    }

    /// Remembers variables that moved together.
    fn learn(&mut self, at: &[i64]) {
        let Some(base) = self.from.take().and_then(|f| self.valid.get(f)) else { return };
        let moved: Vec<usize> = (0..at.len()).filter(|&v| base.at[v] != at[v]).collect();
        let one = |rows: &[i64]| moved.iter().all(|&v| rows[v] == rows[moved[0]]);
        if (2..=5).contains(&moved.len())
            && one(at)
            && one(&base.at)
            && self.moves.len() < MOVES
            && !self.moves.contains(&moved)
        {
            self.moves.push(moved);
        }
    }

    /// Runs the assignments of recorded calls of the structure's form.
    pub fn recall(&mut self, records: &[Call]) {
        for call in records {
            if let Some(at) = self.structure.assignment(&self.vars, call) {
                self.run(at);
            }
        }
    }

    /// Runs what is most like recorded calls of other structures, until one is valid; then the same with another number at
    /// one axis of all operands.
    pub fn resemble(&mut self, records: &[Call]) {
        let like: Vec<Vec<i64>> = records.iter().rev().map(|c| self.structure.like(&self.vars, c)).collect();
        let mut moved: Vec<Vec<i64>> = Vec::new();
        for set in aligned(&self.vars) {
            for at in &like {
                moved.extend((1..=3).map(|new| {
                    let mut at = at.clone();
                    set.iter().for_each(|&v| at[v] = new);
                    at
                }));
            }
        }
        for at in like.into_iter().chain(moved) {
            if self.run(at) == Some(true) {
                return;
            }
        }
    }

    /// A walk through valid assignments towards such with many distinct numbers: ties that need not be are seen to break.
    pub fn walk(&mut self, steps: usize) {
        let distinct = |at: &[i64]| at.iter().collect::<HashSet<_>>().len();
        let Some(mut here) = self.valid.len().checked_sub(1) else { return };
        for _ in 0..steps {
            let at = self.mutated(here);
            let far = at.iter().any(|&v| v > 4 * USUAL);
            let better = distinct(&at) >= distinct(&self.valid[here].at);
            if !far && better && self.run(at) == Some(true) {
                here = self.valid.len() - 1;
            }
        }
    }

    /// Whether the assignment was run.
    pub fn knows(&self, at: &[i64]) -> bool {
        self.seen.contains(at)
    }

    /// Draws until so many valid assignments are known or the tries are used up. Assignments of few distinct numbers come
    /// first: what must agree then does.
    pub fn seek(&mut self, wanted: usize, tries: usize) {
        for turn in 0..tries {
            if self.valid.len() >= wanted || self.kinds_vary {
                return;
            }
            let at = if !self.valid.is_empty() && turn % 2 == 0 {
                let from = self.choices.below(self.valid.len());
                self.mutated(from)
            } else {
                self.fresh(turn)
            };
            self.run(at);
        }
    }

    /// An assignment of few distinct numbers.
    fn fresh(&mut self, turn: usize) -> Vec<i64> {
        let c = &mut self.choices;
        let pool: Vec<i64> = match turn % 8 {
            0 => vec![1],
            1 | 2 => vec![1 + c.below(4) as i64],
            3 | 4 => (0..2).map(|_| c.below(5) as i64).collect(),
            5 => (0..3).map(|_| c.below(7) as i64).collect(),
            6 => vec![1, 2 + c.below(3) as i64],
            _ => (0..=USUAL).collect(),
        };
        let mut last: Option<(String, i64)> = None;
        let vars = self.vars.clone();
        vars.iter()
            .map(|v| match &v.kind {
                VarKind::Attr(name, _) if v.least() < 0 => {
                    // Elements of a list are mostly equal.
                    let value = match &last {
                        Some((n, value)) if n == name && c.chance(3, 4) => *value,
                        _ if turn == 0 => 1,
                        _ => *pick(c, &[1, 1, 1, 0, 0, 2, 2, 3, -1]),
                    };
                    last = Some((name.clone(), value));
                    value
                }
                _ => (*pick(c, &pool)).max(v.least()),
            })
            .collect()
    }

    /// A number for a variable.
    pub fn number(&mut self, v: usize) -> i64 {
        let c = &mut self.choices;
        match self.vars[v].kind {
            VarKind::Attr(..) if self.vars[v].least() < 0 => *pick(c, &[0, 1, 1, 2, 2, 3, 4, 5, 6, 7, -1, -2]),
            _ => {
                let least = self.vars[v].least();
                let top = if c.chance(1, 12) { 4 * USUAL } else { USUAL };
                least + c.below((top - least) as usize + 1) as i64
            }
        }
    }

    /// A valid assignment with a few numbers changed: one, one with all that equal it, two that balance in a product or a
    /// sum, or several.
    pub fn mutated(&mut self, from: usize) -> Vec<i64> {
        let mut at = self.valid[from].at.clone();
        let n = at.len();
        if n == 0 {
            return at;
        }
        self.from = Some(from);
        let v = self.choices.below(n);
        let least: Vec<i64> = self.vars.iter().map(Var::least).collect();
        match self.choices.below(if self.scales.is_empty() { 14 } else { 16 }) {
            0..=2 => at[v] = self.number(v),
            10..=12 if !self.moves.is_empty() => {
                let set = pick(&mut self.choices, &self.moves).clone();
                let new = self.number(set[0]);
                set.iter().for_each(|&w| at[w] = new);
            }
            13 => {
                let equal: Vec<usize> = (0..n).filter(|&w| w != v && at[w] == at[v]).collect();
                let new = self.number(v);
                at[v] = new;
                for _ in 0..1 + self.choices.below(2) {
                    if !equal.is_empty() {
                        at[*pick(&mut self.choices, &equal)] = new;
                    }
                }
            }
            14.. => {
                let set = pick(&mut self.choices, &self.scales).clone();
                let f = *pick(&mut self.choices, &[2, 3, 5]);
                let down = self.choices.chance(1, 2) && set.iter().all(|&w| at[w] % f == 0);
                set.iter().for_each(|&w| at[w] = if down { at[w] / f } else { at[w].saturating_mul(f) });
            }
            3 => at[v] += *pick(&mut self.choices, &[-1, 1, 2]),
            4..=5 => {
                let (old, new) = (at[v], self.number(v));
                let half = self.choices.chance(1, 2);
                for w in 0..n {
                    if at[w] == old && (w == v || !half || self.choices.chance(1, 2)) {
                        at[w] = new;
                    }
                }
            }
            6 => {
                let w = self.choices.below(n);
                let f = *pick(&mut self.choices, &[2, 3]);
                match (at[v] % f == 0, self.choices.chance(1, 2)) {
                    (true, true) => (at[v], at[w]) = (at[v] / f, at[w].saturating_mul(f)),
                    (true, false) => {
                        at[v] /= f;
                        at[w] = if at[w] % f == 0 { at[w] / f } else { at[w] };
                    }
                    (false, _) => (at[v], at[w]) = (at[v].saturating_mul(f), at[w].saturating_mul(f)),
                }
            }
            7 => {
                let w = self.choices.below(n);
                let d = *pick(&mut self.choices, &[-1, 1, 2]);
                let back = self.choices.chance(1, 2);
                if w != v {
                    at[v] += d;
                    at[w] += if back { -d } else { d };
                }
            }
            8 => {
                let w = self.choices.below(n);
                at.swap(v, w);
            }
            _ => {
                for _ in 0..2 + self.choices.below(3) {
                    let w = self.choices.below(n);
                    at[w] = self.number(w);
                }
            }
        }
        for (value, &least) in at.iter_mut().zip(&least) {
            *value = (*value).max(least).min(1 << 20);
        }
        at
    }

    /// Every variable of some valid assignments is given other numbers, alone and together with what equals it.
    pub fn vary_each(&mut self, of: usize) {
        for k in 0..of {
            if self.valid.is_empty() {
                return;
            }
            let from = if k == 0 { 0 } else { self.choices.below(self.valid.len()) };
            let at = self.valid[from].at.clone();
            for v in 0..at.len() {
                let mut numbers = vec![self.number(v), at[v] + 1, at[v] - 1];
                if k < 4 {
                    numbers.extend([0, 1, 2]);
                    if self.vars[v].least() < 0 {
                        numbers.push(-1);
                    }
                }
                for value in numbers {
                    if value < self.vars[v].least() {
                        continue;
                    }
                    let mut alone = at.clone();
                    alone[v] = value;
                    self.from = Some(from);
                    if self.run(alone) == Some(false) {
                        let together = at.iter().map(|&w| if w == at[v] { value } else { w });
                        let together: Vec<i64> =
                            together.zip(&self.vars).map(|(value, var)| value.max(var.least())).collect();
                        self.run(together);
                    }
                }
            }
        }
    }

    /// A variable that is one number in all valid experiments is given others, together with a second one that is scaled
    /// or moved by as much: it may be a factor or a term that was never seen to matter.
    pub fn thaw(&mut self) {
        let n = self.vars.len();
        let most = self.runs + THAW;
        for v in 0..n {
            if !self.is_frozen(v) {
                continue;
            }
            let old = self.valid[0].at[v];
            for new in [old + 1, old + 2, old - 1] {
                if new < self.vars[v].least() || !self.is_frozen(v) || self.runs > most {
                    continue;
                }
                // Where the others are divisible, what must be so is.
                let mut bases: Vec<usize> = (0..self.valid.len()).collect();
                let score = |at: &[i64]| at.iter().filter(|&&x| new != 0 && x % new == 0).count();
                bases.sort_by_key(|&b| std::cmp::Reverse(score(&self.valid[b].at)));
                for b in bases.into_iter().take(4) {
                    let base = self.valid[b].at.clone();
                    for w in (0..n).filter(|&w| w != v) {
                        let moved = [
                            base[w].saturating_mul(new.max(0)),
                            if new != 0 && base[w] % new == 0 { base[w] / new } else { base[w] },
                            base[w] + new - old,
                            base[w] - new + old,
                            new,
                        ];
                        for value in moved {
                            let mut at = base.clone();
                            (at[v], at[w]) = (new, value.max(self.vars[w].least()).min(1 << 20));
                            self.from = None;
                            self.run(at);
                        }
                    }
                }
            }
        }
    }

    /// Every two variables of a valid experiment are scaled or moved together: what balances is seen to.
    pub fn vary_pairs(&mut self) {
        const DOUBLE: fn(i64) -> i64 = |x| x.saturating_mul(2);
        const HALF: fn(i64) -> i64 = |x| if x % 2 == 0 { x / 2 } else { x };
        const UP: fn(i64) -> i64 = |x| x + 1;
        const DOWN: fn(i64) -> i64 = |x| x - 1;
        let most = self.runs + PAIRS;
        let Some(from) = self.widest().first().copied() else { return };
        for v in 0..self.vars.len() {
            for w in v + 1..self.vars.len() {
                for (f, g) in [(DOUBLE, DOUBLE), (DOUBLE, HALF), (HALF, DOUBLE), (UP, UP), (UP, DOWN), (DOWN, UP)] {
                    let mut at = self.valid[from].at.clone();
                    let (a, b) = (f(at[v]), g(at[w]));
                    let moves = a != at[v] && b != at[w] && a >= self.vars[v].least() && b >= self.vars[w].least();
                    (at[v], at[w]) = (a, b);
                    if self.runs >= most {
                        return;
                    }
                    if moves {
                        self.from = Some(from);
                        self.run(at);
                    }
                }
            }
        }
    }

    /// Valid experiments of small numbers, those first in which most are greater than 1.
    fn widest(&self) -> Vec<usize> {
        let small = |r: &Row| r.at.iter().all(|&x| x <= 4 * USUAL);
        let mut all: Vec<usize> = (0..self.valid.len()).filter(|&k| small(&self.valid[k])).collect();
        all.sort_by_key(|&k| std::cmp::Reverse(self.valid[k].at.iter().filter(|&&x| x > 1).count()));
        all
    }

    /// Two variables that are one number each in all valid experiments are doubled together, while a third one gives way.
    pub fn thaw_pairs(&mut self) {
        let most = self.runs + THAW;
        let n = self.vars.len();
        loop {
            let frozen: Vec<usize> =
                (0..n).filter(|&v| self.is_frozen(v) && self.valid[0].at[v] > 0).take(FROZEN).collect();
            let pairs = frozen.iter().enumerate().flat_map(|(i, &a)| frozen[i + 1..].iter().map(move |&b| (a, b)));
            let bases: Vec<usize> = self.widest().into_iter().take(2).collect();
            let mut found = false;
            'pairs: for (a, b) in pairs.collect::<Vec<_>>() {
                for &base in &bases {
                    for w in (0..n).filter(|w| ![a, b].contains(w)) {
                        let old = self.valid[base].at[w];
                        for new in [old - 1, old + 1, old.saturating_mul(2), old / 2] {
                            if self.runs >= most {
                                return;
                            }
                            let mut at = self.valid[base].at.clone();
                            (at[a], at[b], at[w]) = (at[a] * 2, at[b] * 2, new.max(self.vars[w].least()));
                            self.from = Some(base);
                            if self.run(at) == Some(true) {
                                found = true;
                                break 'pairs;
                            }
                        }
                    }
                }
            }
            if !found {
                return;
            }
        }
    }

    /// Whether a variable is one number in all valid experiments.
    pub fn is_frozen(&self, v: usize) -> bool {
        self.valid.iter().all(|r| r.at[v] == self.valid[0].at[v])
    }

    /// Of variables that are equal in all valid experiments, two or three are moved and the others stay: what must agree is
    /// told from what happened to. Variables that are equal in pairs only were moved alone before.
    pub fn untie(&mut self) {
        let most = self.runs + UNTIE;
        while let Some(found) = self.tied().into_iter().find_map(|class| self.moves_alone(&class, most)) {
            if !found {
                return;
            }
        }
    }

    /// Variables that are equal in all valid experiments, three or more of them.
    fn tied(&self) -> Vec<Vec<usize>> {
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for v in 0..self.vars.len() {
            let equal = |w: usize| self.valid.iter().all(|r| r.at[v] == r.at[w]);
            match classes.iter_mut().find(|c| equal(c[0])) {
                Some(class) => class.push(v),
                None => classes.push(vec![v]),
            }
        }
        classes.retain(|c| (3..=TIED).contains(&c.len()));
        classes
    }

    /// Whether some of a class were moved without the others, or the experiments are used up; none where no few of them move.
    fn moves_alone(&mut self, class: &[usize], most: usize) -> Option<bool> {
        let mut sets: Vec<Vec<usize>> = Vec::new();
        for (i, &a) in class.iter().enumerate() {
            sets.extend(class[i + 1..].iter().map(|&b| vec![a, b]));
        }
        if class.len() > 3 {
            for (i, &a) in class.iter().enumerate() {
                for (k, &b) in class.iter().enumerate().skip(i + 1) {
                    sets.extend(class[k + 1..].iter().map(|&c| vec![a, b, c]));
                }
            }
        }
        let last = self.valid.len().checked_sub(1)?;
        for set in sets {
            for base in [0, last] {
                let old = self.valid[base].at[set[0]];
                for new in [old + 1, old - 1] {
                    if set.iter().any(|&v| new < self.vars[v].least()) {
                        continue;
                    }
                    if self.runs >= most {
                        return Some(false);
                    }
                    let mut at = self.valid[base].at.clone();
                    set.iter().for_each(|&v| at[v] = new);
                    self.from = Some(base);
                    if self.run(at) == Some(true) {
                        return Some(true);
                    }
                }
            }
        }
        None
    }

    /// Variables that are one number in all valid experiments are scaled together, every few of them: extents that are
    /// multiples of one size move no other way.
    pub fn thaw_together(&mut self) {
        let frozen: Vec<usize> =
            (0..self.vars.len()).filter(|&v| self.is_frozen(v) && self.valid[0].at[v] > 0).collect();
        if !(2..=TOGETHER).contains(&frozen.len()) {
            return;
        }
        let mut sets: Vec<u32> = (1..1u32 << frozen.len()).filter(|s| (2..=6).contains(&s.count_ones())).collect();
        sets.sort_by_key(|s| s.count_ones());
        for set in sets {
            let set: Vec<usize> = (0..frozen.len()).filter(|k| set >> k & 1 == 1).map(|k| frozen[k]).collect();
            // What a smaller set already moves is not looked at again.
            if self.scales.iter().any(|s| s.iter().any(|v| set.contains(v))) {
                continue;
            }
            let mut at = self.valid[0].at.clone();
            set.iter().for_each(|&v| at[v] = at[v].saturating_mul(2));
            self.from = None;
            if self.run(at) == Some(true) {
                self.scales.push(set);
            }
        }
    }

    /// Whether variables were seen to be scaled together.
    pub fn can_scale(&self) -> bool {
        !self.scales.is_empty()
    }

    /// Attributes of valid experiments are set to 1, one at a time: what is a quotient by them is then none.
    pub fn focus(&mut self, steps: usize) {
        let attrs: Vec<usize> =
            (0..self.vars.len()).filter(|&v| !matches!(self.vars[v].kind, VarKind::Extent(..))).collect();
        for turn in 0..steps {
            if attrs.is_empty() || self.valid.is_empty() {
                return;
            }
            let from = self.choices.below(self.valid.len());
            let mut at = self.mutated(from);
            at[attrs[turn % attrs.len()]] = 1;
            self.run(at);
        }
    }

    /// Assigns what equalities say of a bare variable, in the order given; requirement `but` may stay broken.
    pub fn repair(&mut self, at: &mut [i64], requires: &[Pred], but: Option<usize>) {
        for _ in 0..2 {
            for (k, p) in requires.iter().enumerate() {
                if Some(k) == but || p.holds(at) {
                    continue;
                }
                match p {
                    Pred::Cmp(Cmp::Eq, a, b) => self.settle(at, a, b),
                    Pred::Cmp(Cmp::Le, a, b) => self.settle(at, b, a),
                    Pred::Any(items) => {
                        let item = pick(&mut self.choices, items).clone();
                        if let Pred::Cmp(_, a, b) = &item {
                            self.settle(at, a, b);
                        }
                    }
                    Pred::Cmp(Cmp::Ne, ..) => {}
                }
            }
        }
    }

    /// Makes `a == b` hold by a new number for a variable of one side.
    fn settle(&mut self, at: &mut [i64], a: &Term, b: &Term) {
        for (a, b) in if self.choices.chance(1, 2) { [(a, b), (b, a)] } else { [(b, a), (a, b)] } {
            let Some(want) = b.eval(at) else { continue };
            if let Term::Var(v) = a
                && !b.vars().contains(v)
                && want >= self.vars[*v].least()
            {
                at[*v] = want;
                return;
            }
            // A sum or product: one of its variables takes the rest.
            let vars = a.vars();
            if vars.is_empty() {
                continue;
            }
            let v = *pick(&mut self.choices, &vars);
            if b.vars().contains(&v) {
                continue;
            }
            let old = at[v];
            // A remainder of 0: a multiple of the divisor.
            if let (Term::Two(Op2::Mod, of), 0) = (a, want)
                && !of.1.vars().contains(&v)
                && let Some(d) = of.1.eval(at)
            {
                at[v] = d.saturating_mul(self.choices.below(3) as i64).max(self.vars[v].least()).min(1 << 20);
                return;
            }
            at[v] = 1;
            let share = a.eval(at).filter(|r| *r != 0 && want % r == 0).map(|r| want / r);
            at[v] = 0;
            let rest = a.eval(at).and_then(|r| want.checked_sub(r));
            let guesses = [share, rest].into_iter().flatten().filter(|g| g.abs() < 1 << 20);
            for value in guesses.chain([0, 1, 2, 3, 4, 5, 6, 8, 9, 12, want]) {
                at[v] = value;
                if value >= self.vars[v].least() && a.eval(at) == Some(want) {
                    return;
                }
            }
            at[v] = old;
        }
    }
}

/// Variables at one axis of several operands, counted from the front and from the back.
fn aligned(vars: &[Var]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = Vec::new();
    let rank = |i: usize| vars.iter().filter(|v| matches!(v.kind, VarKind::Extent(k, _) if k == i)).count();
    for back in [false, true] {
        for position in 0..6 {
            let at = |v: &Var| match v.kind {
                VarKind::Extent(i, a) => (if back { rank(i) - 1 - a } else { a }) == position,
                _ => false,
            };
            let set: Vec<usize> = (0..vars.len()).filter(|&v| at(&vars[v])).collect();
            if set.len() > 1 && !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    sets
}

fn split(types: Vec<Produced>) -> (Vec<Kind>, Vec<Option<i64>>) {
    let (mut kinds, mut out) = (Vec::new(), Vec::new());
    for t in types {
        match t {
            Produced::Tensor { dtype, shape } => {
                kinds.push(Kind::Tensor(dtype, shape.len()));
                out.extend(shape);
            }
            Produced::Nested { text, shape } => {
                kinds.push(Kind::Nested(text, shape.len()));
                out.extend(shape);
            }
            Produced::Other(text) => kinds.push(Kind::Other(text)),
        }
    }
    (kinds, out)
}
