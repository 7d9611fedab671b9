//! The argument structures of an operator: from its [`Declaration`] (operands, which are optional, attributes and the words
//! that they may be) and from trying which ranks and lengths have a valid call.
//!
//! For each choice of optional operands a valid call is sought among recorded calls, element types and ranks. From it: every
//! rank from 0 to [`MAX_RANK`] of every operand, every required attribute's values, then each optional attribute's values one
//! at a time, and all open integers together. Operands whose elements change the outcome get open elements, zeros and -1.
//! Calls that were found valid lead to others: with operands left out, or one or two added (`grow.rs`).

use super::bench::{Bench, Kind};
use super::declaration::{Attribute, Declaration, Wanted};
use super::grow;
use super::structure::{ArgKind, ArgSlot, AttrSlot, Slot, Structure};
use crate::blackbox::BlackBox;
use crate::choices::{Choices, Seeded, pick};
use crate::trace::{Call, Number, Outcome};
use egret_ir::{Attr, DType};
use std::collections::BTreeMap;

/// Greatest rank.
pub const MAX_RANK: usize = 5;
/// Proposals for a first valid call of one choice of operands.
const PROPOSALS: usize = 1500;
/// Proposals before recorded calls are looked at.
const RECORDED: usize = 200;
/// Assignments tried of a proposal, and of a structure of the list.
const TRIES: (usize, usize) = (12, 120);
/// Tuples of ranks, at most; beyond, ranks are varied one at a time.
const RANK_TUPLES: usize = 64;
/// First structures looked at for operands whose elements matter.
const FIRSTS: usize = 4;
/// Valid calls of other ranks that a structure's first call is made like, at most.
const NEAR: usize = 8;
/// Operands of which all choices of ranks are looked at; of more, ranks are alike, then one is varied at a time.
const MANY_OPERANDS: usize = 5;
/// Choices of required attributes that are all looked at.
const MANY_BASES: usize = 60;
/// Optional operands of which all choices are looked at; of more, none, each alone and the first ones.
const FEW_OPTIONAL: usize = 3;
/// Structures with other required attributes at one tuple of ranks, at most.
const BASES: usize = 10;

/// The structures of an operator.
#[derive(Debug, Default)]
pub struct Listing {
    /// Structures, each with numbers of its variables that are a valid call.
    pub structures: Vec<(Structure, Vec<i64>)>,
    /// Why there is none.
    pub none: Option<String>,
}

/// A lister of one operator.
struct Lister<'a> {
    of: &'a Declaration,
    system: &'a mut dyn BlackBox,
    /// Valid calls, from which other experiments start: of examples, and those found.
    valid: Vec<Call>,
    choices: Seeded,
    /// Attributes that must be given.
    required: Vec<&'a Attribute>,
    optional: Vec<&'a Attribute>,
    /// Optional attributes without which the present choice of operands has no valid call.
    needed: Vec<&'a Attribute>,
    seed: u64,
    out: Vec<(Structure, Vec<i64>)>,
    /// Ranks of the leading operand at which optional attributes were varied, for the present choice of operands.
    varied: Vec<usize>,
    /// Whether the present choice of operands has an optional one.
    optional_given: bool,
    /// Whether optional attributes are varied beside the present choice of operands.
    vary_options: bool,
    /// The attributes of its first valid call.
    first: BTreeMap<String, AttrSlot>,
}

/// Lists an operator's structures.
pub fn list(of: &Declaration, system: &mut dyn BlackBox, seed: u64) -> Listing {
    if of.has_bodies() {
        return Listing { structures: Vec::new(), none: Some("its attributes hold graphs".into()) };
    }
    let found = of.recorded.then(|| of.with_axes_found(system));
    let of = found.as_ref().unwrap_or(of);
    let valid = of.calls.iter().filter(|c| matches!(system.call(c), Outcome::Valid(_))).cloned().collect();
    let (required, optional) = of.attrs.iter().partition(|a| a.required);
    let mut lister = Lister {
        of,
        system,
        valid,
        choices: Seeded::new(seed, 7),
        required,
        optional,
        needed: Vec::new(),
        seed,
        out: Vec::new(),
        varied: Vec::new(),
        optional_given: false,
        vary_options: true,
        first: BTreeMap::new(),
    };
    let mut wanted = lister.subsets();
    // Some operands are only valid together: beside other choices those that examples show.
    let n = if of.operands.iter().any(|o| o.many) { 0 } else { of.operands.len() };
    for call in &lister.valid {
        let mut given: Vec<bool> = call.inputs.iter().map(Option::is_some).collect();
        given.resize(n.max(given.len()), false);
        if !wanted.contains(&(given.clone(), call.n_outputs)) {
            wanted.push((given, call.n_outputs));
        }
    }
    for (given, n_outputs) in wanted {
        lister.subset(&given, n_outputs);
    }
    let none = lister.out.is_empty().then(|| "no valid call was found".into());
    Listing { structures: lister.out, none }
}

impl Lister<'_> {
    /// Which operands are given, and how many results are named.
    fn subsets(&self) -> Vec<(Vec<bool>, usize)> {
        let declared = &self.of.operands;
        let optional: Vec<usize> = (0..declared.len()).filter(|&i| declared[i].optional).collect();
        let many = declared.last().is_some_and(|o| o.many);
        let fixed = declared.len() - usize::from(many);
        let mut given: Vec<Vec<bool>> = Vec::new();
        let mut push = |g: Vec<bool>| {
            if !given.contains(&g) {
                given.push(g);
            }
        };
        let with = |on: &dyn Fn(usize) -> bool| (0..fixed).map(|i| !declared[i].optional || on(i)).collect();
        if optional.len() <= FEW_OPTIONAL {
            for mask in 0..1usize << optional.len() {
                push(with(&|i| optional.iter().position(|&o| o == i).is_some_and(|k| mask >> k & 1 == 1)));
            }
        } else {
            push(with(&|_| false));
            optional.iter().for_each(|&o| push(with(&|i| i == o)));
            optional.iter().for_each(|&o| push(with(&|i| i <= o)));
        }
        if many {
            let base: Vec<Vec<bool>> = std::mem::take(&mut given);
            for b in base {
                for extra in 0..=3 {
                    given.push([b.clone(), vec![true; extra]].concat());
                }
            }
        }
        let (least, most) = self.of.results;
        let mut outs = vec![least.max(1)];
        match most {
            Some(m) => outs.extend((m > least.max(1)).then_some(m)),
            None => outs.extend([2, 3]),
        }
        given.into_iter().flat_map(|g| outs.iter().map(move |&n| (g.clone(), n))).collect()
    }

    /// Whether optional attributes are varied beside this choice of operands: where operands are optional in many ways, only
    /// beside none and all of them.
    fn varies_options(&self, given: &[bool]) -> bool {
        let optional: Vec<bool> = (0..given.len()).filter(|&i| self.is_optional(i)).map(|i| given[i]).collect();
        optional.len() <= FEW_OPTIONAL || optional.iter().all(|g| *g == optional[0])
    }

    fn is_optional(&self, i: usize) -> bool {
        self.of.operands.get(i).is_some_and(|o| o.optional)
    }

    /// Numbers that make a valid call of the structure, and whether there are such.
    fn start(&mut self, s: &Structure, tries: usize) -> Option<Vec<i64>> {
        let mut bench = Bench::new(s, self.system, self.seed);
        bench.recall(&self.valid);
        if bench.valid.is_empty() {
            bench.resemble(&self.valid[self.valid.len().saturating_sub(NEAR)..]);
        }
        bench.seek(1, tries);
        let small = |k: &Kind| !matches!(k, Kind::Tensor(_, rank) | Kind::Nested(_, rank) if *rank > MAX_RANK);
        let fits = bench.kinds.iter().flatten().all(small);
        bench.valid.first().filter(|_| fits).map(|row| row.at.clone())
    }

    fn is_valid(&mut self, s: &Structure, tries: usize) -> bool {
        self.start(s, tries).is_some()
    }

    /// Remembers a valid call.
    fn remember(&mut self, s: &Structure, at: &[i64]) {
        let call = s.call(&s.vars(), at);
        if !self.valid.contains(&call) {
            self.valid.push(call);
        }
    }

    fn structure(&self, args: Vec<Option<ArgSlot>>, attrs: BTreeMap<String, AttrSlot>, n_outputs: usize) -> Structure {
        Structure {
            domain: self.of.domain.clone(),
            op: self.of.op.clone(),
            names: self.of.operand_names(args.len()),
            by_name: self.of.by_name,
            args,
            attrs,
            n_outputs,
        }
    }

    fn subset(&mut self, given: &[bool], n_outputs: usize) {
        let Some((mut first, matters)) = self.first_with_elements(given, n_outputs) else { return };
        // Some calls need an attribute that is optional by declaration.
        self.needed.clear();
        for k in 0..self.optional.len() {
            let doc = self.optional[k];
            let Some(slot) = first.attrs.remove(&doc.name) else { continue };
            if !self.is_valid(&first, 6 * TRIES.0) {
                first.attrs.insert(doc.name.clone(), slot);
                self.needed.push(doc);
            }
        }
        self.first = first.attrs.clone();
        self.varied.clear();
        self.vary_options = self.varies_options(given);
        self.optional_given = given.iter().enumerate().any(|(i, g)| *g && self.is_optional(i));
        for args in self.arguments(&first, &matters) {
            self.at_ranks(args, n_outputs);
        }
    }

    /// Some structure with a valid call, and the operands whose elements matter. Beside some ranks no elements do (a scalar
    /// has no axes), so a few structures are looked at where operands of integers may yet matter.
    fn first_with_elements(&mut self, given: &[bool], n_outputs: usize) -> Option<(Structure, Vec<bool>)> {
        let mut best: Option<(Structure, Vec<bool>)> = None;
        let count = |m: &[bool]| m.iter().filter(|m| **m).count();
        for _ in 0..FIRSTS {
            let Some(mut first) = self.first_valid(given, n_outputs) else { break };
            let matters: Vec<bool> = (0..first.args.len()).map(|i| self.elements_matter(&mut first, i)).collect();
            let may = |(i, a): (usize, &Option<ArgSlot>)| {
                i > 0 && !matters[i] && a.as_ref().is_some_and(|a| matches!(a.dtype, DType::I64 | DType::I32))
            };
            let done = !first.args.iter().enumerate().any(may);
            if best.as_ref().is_none_or(|(_, m)| count(&matters) > count(m)) {
                best = Some((first, matters));
            }
            if done {
                break;
            }
        }
        best
    }

    /// Some structure with a valid call.
    fn first_valid(&mut self, given: &[bool], n_outputs: usize) -> Option<Structure> {
        for turn in 0..PROPOSALS {
            // What is seldom drawn may have been recorded.
            if turn == RECORDED
                && let Some(s) = self.recorded(given, n_outputs).or_else(|| self.grown(given, n_outputs))
            {
                return Some(s);
            }
            let (main, rank, habit) = {
                let c = &mut self.choices;
                let rank = if c.chance(2, 3) { 1 + c.below(4) } else { c.below(MAX_RANK + 1) };
                let main = if turn < 40 || c.chance(1, 2) { DType::F32 } else { *pick(c, MAIN_TYPES) };
                (main, rank, c.weighted(&[4, 3, 3]))
            };
            let names = self.of.operand_names(given.len());
            let mut args = Vec::new();
            for (i, &g) in given.iter().enumerate() {
                if !g {
                    args.push(None);
                    continue;
                }
                let c = &mut self.choices;
                let dtype = match c.weighted(if turn < 20 { &[1, 0, 0, 0] } else { &[10, 5, 1, 2] }) {
                    0 => main,
                    1 => DType::I64,
                    2 => DType::Bool,
                    _ => *pick(c, MAIN_TYPES),
                };
                let rank_i = match (habit, i) {
                    (_, 0) | (0, _) => rank,
                    (1, _) => 1,
                    _ => c.below(MAX_RANK + 1),
                };
                let index = matches!(dtype, DType::I64 | DType::I32);
                let kind = if (index || dtype == DType::F32) && c.chance(1, if index { 2 } else { 4 }) {
                    let scalar = c.chance(1, 3);
                    let spatial = rank.saturating_sub(2);
                    let len = if scalar { 1 } else { *pick(c, &[rank, 1, 2, rank * 2, spatial, 3]) };
                    let axis = names[i].contains("ax");
                    let slots = (0..len)
                        .map(|k| match (index, axis) {
                            (true, false) => Slot::Free,
                            (true, true) => Slot::Pin(if c.chance(1, 2) { k as i64 } else { c.below(3) as i64 - 1 }),
                            (false, _) => Slot::PinFloat(*pick(c, &[1.0, 2.0, 0.5])),
                        })
                        .collect();
                    ArgKind::Content { scalar, slots }
                } else {
                    ArgKind::Tensor(rank_i)
                };
                args.push(Some(ArgSlot { dtype, kind }));
            }
            let mut attrs = BTreeMap::new();
            for k in 0..self.required.len() {
                let options = self.alternatives(self.required[k], rank);
                if !options.is_empty() {
                    let a = pick(&mut self.choices, &options).clone();
                    attrs.insert(self.required[k].name.clone(), a);
                }
            }
            for k in 0..self.optional.len() {
                if turn > 60 && self.choices.chance(1, 6) {
                    let options = self.alternatives(self.optional[k], rank);
                    if !options.is_empty() {
                        let a = pick(&mut self.choices, &options).clone();
                        attrs.insert(self.optional[k].name.clone(), a);
                    }
                }
            }
            let s = self.structure(args, attrs, n_outputs);
            if let Some(at) = self.start(&s, TRIES.0) {
                self.remember(&s, &at);
                return Some(s);
            }
        }
        None
    }

    /// The structure of a recorded call of these operands.
    fn recorded(&mut self, given: &[bool], n_outputs: usize) -> Option<Structure> {
        let has = |c: &Call, i: usize| c.inputs.get(i).is_some_and(Option::is_some);
        let n = |c: &Call| c.inputs.len().max(given.len());
        let takes =
            |c: &&Call| c.n_outputs == n_outputs && (0..n(c)).all(|i| given.get(i).is_some_and(|g| *g) == has(c, i));
        let calls: Vec<Call> = self.valid.iter().filter(takes).cloned().collect();
        calls.iter().find_map(|c| self.structure_of(c))
    }

    /// The structure of a call of these operands that a valid call of others leads to.
    fn grown(&mut self, given: &[bool], n_outputs: usize) -> Option<Structure> {
        let call = grow::call_of(&self.valid, given, n_outputs, self.system)?;
        self.valid.push(call.clone());
        self.structure_of(&call)
    }

    /// The structure of a call, if it is small.
    fn structure_of(&mut self, call: &Call) -> Option<Structure> {
        let open = |name: &str| self.of.attrs.iter().any(|a| a.name == name && a.open);
        let s = Structure::of_call(call, self.of.operand_names(call.inputs.len()), open);
        self.is_valid(&s, 1).then_some(s)
    }

    /// Whether the elements of operand `i`, a short integer or float one, change what comes out. The operand becomes one
    /// with elements if they do, else one without.
    fn elements_matter(&mut self, s: &mut Structure, i: usize) -> bool {
        let Some(Some(arg)) = s.args.get(i).cloned() else { return false };
        let float = arg.dtype == DType::F32;
        let was = match &arg.kind {
            ArgKind::Tensor(rank) => *rank,
            ArgKind::Content { scalar, .. } => usize::from(!*scalar),
        };
        let mut bench = Bench::new(s, self.system, self.seed);
        bench.seek(6, 40 * TRIES.0);
        // Elements may matter only beside certain elements of other operands, which are zeros where a call leaves them open.
        let bare = bench.valid.iter().map(|r| s.call(&bench.vars, &r.at));
        let calls: Vec<Call> = bare.flat_map(|c| [filled(&c, i, 1), filled(&c, i, 9), Some(c)]).flatten().collect();
        let mut len = 0;
        let mut matters = false;
        for base in calls.iter().filter(|_| was <= 1 && (float || matches!(arg.dtype, DType::I64 | DType::I32))) {
            let Some(Some(a)) = base.inputs.get(i) else { continue };
            let n: i64 = a.shape.iter().product();
            if n == 0 || n > 10 {
                continue;
            }
            let outcomes: Vec<Outcome> = (0..6)
                .map(|turn| {
                    let mut call = base.clone();
                    if let Some(Some(a)) = call.inputs.get_mut(i) {
                        a.values = Some((0..n).map(|k| probe_number(float, turn, k)).collect());
                    }
                    self.system.call(&call)
                })
                .collect();
            if outcomes.iter().any(|o| same_kind(o, &outcomes[0]) == Some(false)) {
                (matters, len) = (true, n as usize);
                break;
            }
        }
        let kind = match (&arg.kind, matters) {
            (ArgKind::Content { .. }, true) => arg.kind.clone(),
            (ArgKind::Tensor(rank), true) => ArgKind::Content {
                scalar: *rank == 0,
                slots: (0..len).map(|k| first_slot(float, &s.names[i], k)).collect(),
            },
            (_, false) => ArgKind::Tensor(was),
        };
        s.args[i] = Some(ArgSlot { dtype: arg.dtype, kind });
        matters
    }

    /// Operands of every rank, and of every length where elements matter.
    fn arguments(&mut self, first: &Structure, matters: &[bool]) -> Vec<Vec<Option<ArgSlot>>> {
        let options: Vec<Vec<Option<ArgSlot>>> = first
            .args
            .iter()
            .enumerate()
            .map(|(i, arg)| match arg {
                None => vec![None],
                Some(ArgSlot { dtype, kind: ArgKind::Content { slots, .. } }) if matters[i] => {
                    let float = matches!(slots.first(), Some(Slot::PinFloat(_)));
                    let slot = |k: usize| first_slot(float, &first.names[i], k);
                    let arg = |scalar: bool, n: usize| {
                        let kind = ArgKind::Content { scalar, slots: (0..n).map(slot).collect() };
                        Some(ArgSlot { dtype: *dtype, kind })
                    };
                    let lists = (0..=MAX_RANK).chain([6, 8, 10]).map(|n| arg(false, n));
                    std::iter::once(arg(true, 1)).chain(lists).collect()
                }
                Some(ArgSlot { dtype, .. }) => {
                    (0..=MAX_RANK).map(|r| Some(ArgSlot { dtype: *dtype, kind: ArgKind::Tensor(r) })).collect()
                }
            })
            .collect();
        let total: usize = options.iter().map(Vec::len).fold(1, usize::saturating_mul);
        let mut out: Vec<Vec<Option<ArgSlot>>> = Vec::new();
        if total <= RANK_TUPLES {
            out.push(Vec::new());
            for list in &options {
                out = out.iter().flat_map(|o| list.iter().map(|a| [o.clone(), vec![a.clone()]].concat())).collect();
            }
            return out;
        }
        // All ranks alike where they are in the first call; then each operand in turn.
        let rank_of = |a: &Option<ArgSlot>| match a {
            Some(ArgSlot { kind: ArgKind::Tensor(r), .. }) => Some(*r),
            _ => None,
        };
        let lead = first.args.iter().position(|a| rank_of(a).is_some());
        for r in 0..=MAX_RANK {
            let shifted: Vec<Vec<Option<ArgSlot>>> = first
                .args
                .iter()
                .enumerate()
                .map(|(i, a)| match (a, lead) {
                    (Some(ArgSlot { dtype, kind: ArgKind::Tensor(own) }), Some(lead)) => {
                        let same = rank_of(&first.args[lead]) == Some(*own);
                        let delta = *own as i64 - rank_of(&first.args[lead]).unwrap_or(0) as i64;
                        let moved = (r as i64 + delta).clamp(0, MAX_RANK as i64) as usize;
                        let ranks = if i == lead || same { vec![r] } else { vec![*own, moved] };
                        ranks.into_iter().map(|r| Some(ArgSlot { dtype: *dtype, kind: ArgKind::Tensor(r) })).collect()
                    }
                    _ => options[i].clone(),
                })
                .collect();
            let size: usize = shifted.iter().map(Vec::len).fold(1, usize::saturating_mul);
            if size <= 2 * RANK_TUPLES && first.args.iter().flatten().count() <= MANY_OPERANDS {
                let mut list = vec![Vec::new()];
                for o in &shifted {
                    list = list.iter().flat_map(|l| o.iter().map(|a| [l.clone(), vec![a.clone()]].concat())).collect();
                }
                out.extend(list);
            } else {
                // Lengths alike in all lists.
                for n in 0..9 {
                    let at = |o: &Vec<Option<ArgSlot>>| o[n.min(o.len() - 1)].clone();
                    out.push(shifted.iter().map(at).collect());
                }
            }
        }
        for i in 0..options.len() {
            for a in &options[i] {
                let mut args = first.args.clone();
                args[i] = a.clone();
                out.push(args);
            }
        }
        let mut unique = Vec::new();
        out.into_iter().for_each(|a| {
            if !unique.contains(&a) {
                unique.push(a);
            }
        });
        unique
    }

    /// Values of the attributes that must be given: all choices of them, or where these are many those that differ in one place
    /// from the ones of the first valid call.
    fn bases(&self, rank: usize) -> Vec<BTreeMap<String, AttrSlot>> {
        let needed = self.required.iter().chain(&self.needed);
        let options: Vec<(&str, Vec<AttrSlot>)> =
            needed.map(|doc| (&*doc.name, self.alternatives(doc, rank))).collect();
        let with = |base: &BTreeMap<String, AttrSlot>, name: &str, slot: &AttrSlot| {
            let mut base = base.clone();
            base.insert(name.to_owned(), slot.clone());
            base
        };
        if options.iter().map(|(_, list)| list.len()).fold(1, usize::saturating_mul) <= MANY_BASES {
            return options.iter().fold(vec![BTreeMap::new()], |bases, (name, list)| {
                bases.iter().flat_map(|b| list.iter().map(|slot| with(b, name, slot))).collect()
            });
        }
        let mut bases = vec![self.first.clone()];
        for (name, list) in &options {
            bases.extend(list.iter().map(|slot| with(&self.first, name, slot)));
        }
        bases
    }

    /// Structures of these operands: required attributes, then optional ones.
    fn at_ranks(&mut self, args: Vec<Option<ArgSlot>>, n_outputs: usize) {
        let rank = args.iter().flatten().find_map(|a| match a.kind {
            ArgKind::Tensor(r) => Some(r),
            ArgKind::Content { .. } => None,
        });
        let rank = rank.unwrap_or(1);
        let bases = self.bases(rank);
        let mut primary: Option<Structure> = None;
        let mut kept = 0;
        for attrs in bases {
            let s = self.structure(args.clone(), attrs, n_outputs);
            if kept < BASES && self.keep(&s, TRIES.1) {
                kept += 1;
                primary.get_or_insert(s);
            }
        }
        let Some(primary) = primary else { return };
        // The rest once for each rank of the leading operand.
        if !self.varied.contains(&rank) {
            self.varied.push(rank);
            self.pins(&primary);
            if self.vary_options {
                self.options(&primary, rank);
            }
        } else if primary.args.iter().flatten().any(|a| matches!(a.kind, ArgKind::Content { .. }))
            && !self.optional_given
        {
            self.pins(&primary);
        }
    }

    /// Lists a structure if it has a valid call; whether it has.
    fn keep(&mut self, s: &Structure, tries: usize) -> bool {
        let Some(at) = self.start(s, tries) else { return false };
        if !self.out.iter().any(|(known, _)| known == s) {
            self.out.push((s.clone(), at));
        }
        true
    }

    /// Elements that are 0 or -1, one at a time; axes other than the first ones.
    fn pins(&mut self, s: &Structure) {
        for (i, arg) in s.args.iter().enumerate() {
            let Some(ArgSlot { kind: ArgKind::Content { slots, .. }, .. }) = arg else { continue };
            let n = slots.len();
            let mut variants: Vec<Vec<Slot>> = Vec::new();
            if slots.contains(&Slot::Free) {
                for k in 0..n {
                    for v in [0, -1] {
                        let mut pinned = slots.clone();
                        pinned[k] = Slot::Pin(v);
                        variants.push(pinned);
                    }
                }
                if n >= 2 {
                    let mut pinned = slots.clone();
                    (pinned[0], pinned[n - 1]) = (Slot::Pin(0), Slot::Pin(-1));
                    variants.push(pinned);
                }
            } else if matches!(slots.first(), Some(Slot::Pin(_))) {
                for first in -(MAX_RANK as i64)..MAX_RANK as i64 {
                    variants.push((0..n).map(|k| Slot::Pin(first + k as i64)).collect());
                }
                variants.push((0..n).rev().map(|k| Slot::Pin(k as i64)).collect());
            }
            for slots in variants {
                let mut s = s.clone();
                if let Some(Some(ArgSlot { kind: ArgKind::Content { slots: old, .. }, .. })) = s.args.get_mut(i) {
                    *old = slots;
                }
                self.keep(&s, TRIES.1);
            }
        }
    }

    /// Each optional attribute's values, one at a time; then all open ones together, and the words on top of that.
    fn options(&mut self, primary: &Structure, rank: usize) {
        let mut open: Vec<(String, AttrSlot)> = Vec::new();
        let mut closed: Vec<(String, AttrSlot)> = Vec::new();
        for k in 0..self.optional.len() {
            let doc = self.optional[k];
            for slot in self.alternatives(doc, rank) {
                if primary.attrs.contains_key(&doc.name) {
                    continue;
                }
                let mut s = primary.clone();
                s.attrs.insert(doc.name.clone(), slot.clone());
                if !self.keep(&s, TRIES.1) {
                    continue;
                }
                let name = doc.name.clone();
                match slot {
                    AttrSlot::Fixed(_) => closed.push((name, slot)),
                    _ if open.iter().any(|(n, _)| *n == name) => {}
                    _ => open.push((name, slot)),
                }
            }
        }
        if open.is_empty() {
            return;
        }
        let mut all = primary.clone();
        all.attrs.extend(open.iter().cloned());
        if open.len() > 1 {
            self.keep(&all, 2 * TRIES.1);
        }
        for (name, slot) in closed {
            let mut s = all.clone();
            s.attrs.insert(name, slot);
            self.keep(&s, 2 * TRIES.1);
        }
    }

    /// What an attribute may be beside operands of this rank.
    fn alternatives(&self, doc: &Attribute, rank: usize) -> Vec<AttrSlot> {
        let fixed = |a: Attr| AttrSlot::Fixed(a);
        let mut out: Vec<AttrSlot> = doc.wanted.iter().flat_map(|w| self.alternatives_of(doc, *w, rank)).collect();
        for a in self.of.calls.iter().filter_map(|c| c.attrs.get(&doc.name)) {
            // Numbers of a required attribute are often bound to others, and not to be guessed.
            let settled = doc.required && !doc.open || !matches!(a, Attr::Int(_) | Attr::Ints(_) | Attr::Float(_));
            if settled && !out.contains(&fixed(a.clone())) {
                out.push(fixed(a.clone()));
            }
        }
        out
    }

    /// The same of one kind.
    fn alternatives_of(&self, doc: &Attribute, wanted: Wanted, rank: usize) -> Vec<AttrSlot> {
        let r = rank as i64;
        let fixed = |a: Attr| AttrSlot::Fixed(a);
        match wanted {
            Wanted::Int if doc.open => vec![AttrSlot::Int],
            Wanted::Int if doc.axis => (-r..=r).map(|v| fixed(Attr::from(v))).collect(),
            Wanted::Int => [0, 1, 2, 3, -1].map(|v| fixed(Attr::from(v))).into(),
            Wanted::Flag => [0, 1].map(|v| fixed(Attr::from(v))).into(),
            Wanted::Float => vec![fixed(Attr::Float(0.5))],
            Wanted::Text if doc.name == "equation" => {
                EQUATIONS.iter().map(|w| fixed(Attr::String((*w).to_owned()))).collect()
            }
            Wanted::Text => doc.words.iter().map(|w| fixed(Attr::String(w.clone()))).collect(),
            Wanted::DType => [DType::F32, DType::I64, DType::F16].map(|d| fixed(Attr::DType(d))).into(),
            Wanted::Ints if doc.open => {
                let s = rank.saturating_sub(2);
                let mut lens = vec![s, 2 * s, rank, 2 * rank, 1, 2];
                lens.retain(|n| *n > 0);
                let mut unique = Vec::new();
                lens.into_iter().for_each(|n| {
                    if !unique.contains(&n) {
                        unique.push(n);
                    }
                });
                unique.into_iter().map(AttrSlot::Ints).collect()
            }
            Wanted::Ints => {
                let all: Vec<i64> = (0..r).collect();
                let turned: Vec<i64> = (0..r).map(|i| (i + 1) % r.max(1)).collect();
                let lists = [vec![0], vec![-1], vec![r - 1], vec![0, 1], vec![r - 1, 0], vec![1], vec![2, 3]];
                let mut lists: Vec<Vec<i64>> = lists.into();
                lists.extend([all.clone(), all.iter().rev().copied().collect(), turned, Vec::new()]);
                if r >= 2 {
                    let mut swapped = all;
                    swapped.swap(rank - 1, rank - 2);
                    lists.push(swapped);
                }
                let mut unique: Vec<AttrSlot> = Vec::new();
                for l in lists {
                    let a = fixed(Attr::from(l));
                    if !unique.contains(&a) {
                        unique.push(a);
                    }
                }
                unique
            }
            Wanted::Graph | Wanted::Other => Vec::new(),
        }
    }
}

/// The call with all elements of its other short lists of integers being `value`; none where it has no such list.
fn filled(call: &Call, i: usize, value: i64) -> Option<Call> {
    let mut call = call.clone();
    let mut any = false;
    for (_, a) in call.inputs.iter_mut().enumerate().filter(|(k, _)| *k != i) {
        let Some(a) = a else { continue };
        let n: i64 = a.shape.iter().product();
        if a.values.is_none()
            && a.shape.len() <= 1
            && (1..=10).contains(&n)
            && matches!(a.dtype, DType::I64 | DType::I32)
        {
            a.values = Some(vec![Number::Int(value); n as usize]);
            any = true;
        }
    }
    any.then_some(call)
}

/// What an element is at first: open, or a small number where it names an axis or is a float.
fn first_slot(float: bool, name: &str, k: usize) -> Slot {
    match (float, name.contains("ax")) {
        (true, _) => Slot::PinFloat([1.0, 2.0, 0.5, 1.5, 3.0][k % 5]),
        (_, true) => Slot::Pin(k as i64),
        _ => Slot::Free,
    }
}

/// Elements that probes give an operand: all equal, counting up, and of both signs.
fn probe_number(float: bool, turn: i64, k: i64) -> Number {
    if float {
        return Number::Float([1.0, 2.0, 0.5, -1.0, 0.0, 3.0][turn as usize % 6]);
    }
    Number::Int(match turn {
        0 => 0,
        1 => 1,
        2 => k,
        3 => 2,
        4 => -1 - k,
        _ => 3 + 4 * k,
    })
}

/// Whether two outcomes are of one kind and types; none where the black box could not say.
fn same_kind(a: &Outcome, b: &Outcome) -> Option<bool> {
    use Outcome::{Invalid, Unsupported, Valid};
    match (a, b) {
        (Unsupported(_), _) | (_, Unsupported(_)) => None,
        (Valid(a), Valid(b)) => Some(a == b),
        (Invalid(_), Invalid(_)) => Some(true),
        _ => Some(false),
    }
}

/// Element types that a first call is tried with, the most usual several times.
const MAIN_TYPES: &[DType] = &[
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::I64,
    DType::I32,
    DType::U8,
    DType::Bool,
    DType::F16,
    DType::I8,
    DType::U32,
    DType::String,
];

/// Einstein sums of every kind: products, batches, traces, permutations, outer and inner products, ellipses.
const EQUATIONS: &[&str] = &[
    "ij,jk->ik",
    "bij,bjk->bik",
    "ij,jk",
    "ii->i",
    "ii",
    "ij->ji",
    "ij->i",
    "i,i->",
    "i,j->ij",
    "...ij,...jk->...ik",
    "bhid,bhjd->bhij",
    "abc,abd,cd->ab",
    "ij,j->i",
    "...i->...",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blackbox::Egret;
    use egret_ir::ops;

    #[test]
    fn structures_come_with_a_valid_call() {
        for name in ["MatMulNBits", "MaxRoiPool"] {
            let of = Declaration::of_def(ops::OPS.iter().find(|d| d.name == name).unwrap());
            let listing = list(&of, &mut Egret::default(), 0);
            assert!(!listing.structures.is_empty(), "{name}: {:?}", listing.none);
            for (s, at) in &listing.structures {
                let outcome = Egret::default().call(&s.call(&s.vars(), at));
                assert!(matches!(outcome, Outcome::Valid(_)), "{} {at:?}: {outcome:?}", s.text());
            }
        }
    }
}
