//! A form that is ready to be drawn: what its rule asks of open extents, compiled, and what was learnt in drawing it.

use crate::choices::{Choices, Seeded, pick};
use crate::form::{EXTENT, Form, NARROW, Operand, extents, seed_of};
use crate::solve::{Problem, State, Wish, solve};
use crate::values::Values;
use egret_ir::infer::Inferred;
use egret_ir::{Cond, DType, Dim, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Assignments kept of a form whose conditions draws do not settle.
const POOL: u64 = 3;
/// Draws that settle nothing before a solver is asked, once a form.
const PATIENCE: u32 = 6;

/// A form with what its rule asks of open extents.
pub(super) struct Prepared {
    pub(super) form: Form,
    pub(super) conds: Vec<Cond>,
    pub(super) wishes: BTreeMap<Arc<str>, Wish>,
    pub(super) problem: Problem,
    /// What the conditions say by themselves.
    pub(super) start: State,
    /// Places of the extents of each operand that is a tensor.
    pub(super) extents: Vec<Vec<usize>>,
    /// Type of the first result.
    pub(super) result: Type,
    /// The same problem with the first result's extents as symbols; made when the form is first used backward.
    pub(super) inverse: Option<Option<Inverse>>,
    /// Draws for all symbols that found numbers, and all of them.
    pub(super) drawn: (u32, u32),
    /// Assignments for all symbols, from a solver; made when draws do not find any.
    pub(super) pool: Option<Vec<State>>,
    /// By class of elements, calls that were valid, and calls that were tried.
    pub(super) classes: BTreeMap<Values, (u32, u32)>,
    /// Attempts to use it that gave a call, and all of them.
    pub(super) attempts: (u32, u32),
}

/// A problem that also speaks of the extents of the first result.
pub(super) struct Inverse {
    pub(super) problem: Problem,
    pub(super) start: State,
    pub(super) result: Vec<usize>,
}

impl Prepared {
    pub(super) fn new((form, open): (Form, Inferred)) -> Option<Prepared> {
        if !form.op()?.facts().pure {
            return None;
        }
        let mut wishes = form.wishes();
        for (i, operand) in form.operands.iter().enumerate() {
            if let Some(Operand::Tensor { rank, .. }) = operand {
                let wish = if *rank > 2 { NARROW } else { EXTENT };
                wishes.extend(extents(i, *rank).iter().flat_map(Dim::symbols).map(|s| (s, wish.clone())));
            }
        }
        // Symbols that the rule made itself (extents that depend on data) are not ours to choose.
        let known = |c: &Cond| c.symbols().iter().all(|s| wishes.contains_key(s));
        let conds: Vec<Cond> = open.assumptions.into_iter().map(|a| a.cond).filter(known).collect();
        let result = open.outputs.first()?.ty.clone();
        let problem = Problem::new(&conds, &wishes)?;
        let start = problem.start()?;
        let place = |d: &Dim| problem.place(d.as_sym()?);
        let of = |(i, operand): (usize, &Option<Operand>)| match operand {
            Some(Operand::Tensor { rank, .. }) => extents(i, *rank).iter().filter_map(place).collect(),
            _ => Vec::new(),
        };
        let extents = form.operands.iter().enumerate().map(of).collect();
        let (inverse, drawn, pool, classes, attempts) = (None, (0, 0), None, BTreeMap::new(), (0, 0));
        Some(Prepared { form, conds, wishes, problem, start, extents, result, inverse, drawn, pool, classes, attempts })
    }

    /// Numbers for all symbols that have none in `state`.
    pub(super) fn settle(&mut self, state: &State, choices: &mut dyn Choices) -> Option<State> {
        let found = self.problem.draw(state, choices);
        if *state != self.start {
            return found;
        }
        let counts = &mut self.drawn;
        (counts.0, counts.1) = (counts.0 + u32::from(found.is_some()), counts.1 + 1);
        if found.is_some() || counts.0 > 0 || counts.1 < PATIENCE {
            return found;
        }
        let (form, conds, wishes, problem) = (&self.form, &self.conds, &self.wishes, &self.problem);
        let pool = self.pool.get_or_insert_with(|| {
            let one = |i| {
                let (found, _) = solve(conds, wishes, &mut Seeded::new(seed_of(form.def.domain, form.def.name), i))?;
                problem.state_of(&found)
            };
            // A form that one long search does not settle is given up.
            match one(0) {
                Some(first) => std::iter::once(first).chain((1..POOL).filter_map(one)).collect(),
                None => Vec::new(),
            }
        });
        (!pool.is_empty()).then(|| pick(choices, pool).clone())
    }

    /// The problem with symbols for the extents of the first result, where those follow from the operands' extents.
    pub(super) fn inverse(&mut self) -> Option<&Inverse> {
        let (conds, wishes, result) = (&self.conds, &self.wishes, &self.result);
        let make = || {
            let dims = result.as_tensor()?.shape.dims()?;
            let names: Vec<Arc<str>> = (0..dims.len()).map(|k| format!("y_{k}").into()).collect();
            let (mut conds, mut wishes) = (conds.clone(), wishes.clone());
            for (d, name) in dims.iter().zip(&names) {
                conds.push(Cond::eq(d, &Dim::sym(name)));
                wishes.insert(Arc::clone(name), EXTENT);
            }
            let problem = Problem::new(&conds, &wishes)?;
            let start = problem.start()?;
            let result = names.iter().map(|n| problem.place(n)).collect::<Option<_>>()?;
            Some(Inverse { problem, start, result })
        };
        self.inverse.get_or_insert_with(make).as_ref()
    }

    /// Whether the result is of another element type than the first operand.
    fn converts(&self) -> bool {
        let first = self.form.operands.first().and_then(Option::as_ref);
        self.result.as_tensor().zip(first).is_some_and(|(y, x)| y.dtype != x.dtype())
    }

    /// Classes of elements to try: one that is drawn, then those that are more often in an operator's domain; what has never
    /// worked here is seldom tried.
    pub(super) fn classes(&self, choices: &mut dyn Choices, special: bool) -> Vec<Values> {
        let mut list =
            vec![Values::draw(choices, special, self.converts()), Values::Domain, Values::Index, Values::Tame];
        list.dedup();
        let hopeless = |c: &Values| self.classes.get(c).is_some_and(|&(good, tried)| good == 0 && tried >= HOPELESS);
        if list.iter().all(hopeless) {
            // Now and then, and where nothing works, all the same.
            return list;
        }
        list.retain(|c| !hopeless(c) || choices.chance(1, 16));
        list
    }

    /// Whether an operand may be a value of these types.
    pub(super) fn reads(&self, present: &Present) -> bool {
        self.form.operands.iter().any(|o| match o {
            Some(Operand::Tensor { dtype, rank }) => present[*dtype as usize] >> rank & 1 == 1,
            _ => false,
        })
    }

    /// Whether it never worked.
    pub(super) fn is_hopeless(&self) -> bool {
        self.attempts.0 == 0 && self.attempts.1 >= HOPELESS
    }

    pub(super) fn tried(&mut self, class: Values, good: bool) {
        let counts = self.classes.entry(class).or_default();
        counts.0 += u32::from(good);
        counts.1 += 1;
    }
}

/// By element type, a bit for each rank.
pub(super) type Present = [u32; DType::ALL.len()];

/// Calls with elements of one class, all of them refused, before the class is seldom tried.
pub(super) const HOPELESS: u32 = 12;
