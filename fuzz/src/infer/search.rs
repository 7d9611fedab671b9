//! The loop: synthesise a rule from the experiments so far, choose experiments that could break it, repeat until none
//! does.

use super::bench::{Bench, Kind, Row};
use super::lift::{self, Hints, Whole};
use super::outputs;
use super::requires;
use super::structure::{Structure, Var, var_names};
use super::term::{Cmp, Pred, Term};
use crate::blackbox::BlackBox;
use crate::choices::{Choices, pick};
use crate::trace::Call;

/// Rounds of synthesis and challenge.
const ROUNDS: usize = 14;
/// Rounds after which a rule of more than so many requirements a variable is given up: it only lists what was seen.
const PATCHED: (usize, usize) = (5, 2);
/// Experiments that break one requirement alone, wanted of each.
const WITNESSES: usize = 8;
/// Corners that z3 is asked for in one round, besides one for each requirement.
#[cfg(feature = "z3")]
const CORNERS: usize = 12;
/// Experiments that the rule accepts, wanted of one challenge.
const ACCEPTED: usize = 60;
/// Known rules that are carried over as a whole, at most.
const ALIKE: usize = 8;
/// Known rules that candidates are carried over from, at most.
const CARRIED: usize = 16;
/// Rounds in which a rule that was carried over may be refuted.
const CARRIED_ROUNDS: usize = 6;
/// Tries to break a carried requirement alone.
const HUNTED: usize = 40;
/// Experiments kept with a known rule that break one requirement alone, of each.
const TOLD: usize = 4;
/// Tries to find one valid call before a structure is held to have none.
pub const SEEK: usize = 400;

/// How much a search may spend.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Valid experiments to start from.
    pub valid: usize,
    /// Assignments looked at in one challenge.
    pub challenge: usize,
    /// Structures of one operator, at most.
    pub structures: Option<usize>,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { valid: 40, challenge: 1500, structures: None }
    }
}

/// A requirement and why it is believed.
#[derive(Clone, PartialEq, Debug)]
pub struct Requirement {
    /// What must hold.
    pub pred: Pred,
    /// Experiments that broke it alone and were refused: each killed the rival that leaves it out.
    pub witnesses: usize,
    /// One of them.
    pub witness: Option<Vec<i64>>,
}

/// How a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The last challenge found nothing.
    Stands,
    /// It was still being refuted when the rounds ended, or an extent has no expression.
    Open,
}

/// An inferred rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// What it speaks of.
    pub structure: Structure,
    /// When a call is valid.
    pub requires: Vec<Requirement>,
    /// Kinds of the results.
    pub kinds: Vec<Kind>,
    /// Numbers of the variables that are a valid call.
    pub valid: Vec<i64>,
    /// Extents of all results in a row; `None` depends on data or was not found.
    pub extents: Vec<Option<Term>>,
    /// Which extents depend on data.
    pub data_dependent: Vec<bool>,
    /// How the search ended.
    pub status: Status,
    /// Experiments: valid, refused.
    pub experiments: (usize, usize),
    /// Rounds that it took.
    pub rounds: usize,
}

impl Rule {
    /// A rule that nothing is known of yet.
    fn new(bench: &Bench<'_>, preds: Vec<Pred>, extents: Vec<Option<Term>>, data_dependent: Vec<bool>) -> Rule {
        Rule {
            structure: bench.structure.clone(),
            requires: preds.into_iter().map(|pred| Requirement { pred, witnesses: 0, witness: None }).collect(),
            kinds: bench.kinds.clone().unwrap_or_default(),
            valid: bench.valid.first().map(|r| r.at.clone()).unwrap_or_default(),
            extents,
            data_dependent,
            status: Status::Open,
            experiments: (0, 0),
            rounds: 0,
        }
    }

    /// Whether every extent that does not depend on data has an expression.
    fn is_complete(&self) -> bool {
        self.extents.iter().zip(&self.data_dependent).all(|(t, d)| t.is_some() || *d)
    }

    fn statements(&self) -> (Vec<&Pred>, Vec<&Term>) {
        (self.requires.iter().map(|r| &r.pred).collect(), self.extents.iter().flatten().collect())
    }

    /// Whether the rule accepts an assignment.
    pub fn accepts(&self, at: &[i64]) -> bool {
        self.requires.iter().all(|r| r.pred.holds(at))
    }
}

/// Rules found so far for one operator, with the experiments that told most. A structure of the same open numbers (other
/// element types, other settled attributes, other operands without extents) mostly has the same rule: where it answers every
/// experiment as the known one did, only a challenge is left to do. One of other ranks mostly has the rule of its nearest
/// relative, carried over as a whole.
#[derive(Debug, Default)]
pub struct Known {
    /// Recorded calls, from which experiments start.
    records: Vec<Call>,
    rules: Vec<(Rule, Vec<Var>, Vec<Row>)>,
}

impl Known {
    /// Nothing but recorded calls.
    pub fn of_records(records: Vec<Call>) -> Known {
        Known { records, ..Known::default() }
    }

    /// Rules of structures most like one with the variables `vars`, the latest first among equals.
    fn relatives(&self, vars: &[Var]) -> Vec<(&Rule, &[Var])> {
        let mut all: Vec<_> =
            self.rules.iter().rev().map(|(r, theirs, _)| (lift::distance(theirs, vars), r, theirs)).collect();
        all.sort_by_key(|(d, ..)| *d);
        all.into_iter().take(CARRIED).map(|(_, r, theirs)| (r, theirs.as_slice())).collect()
    }

    /// What these rules say about a structure with the variables `vars`.
    fn hints(&self, vars: &[Var]) -> Hints {
        let mut hints = Hints::default();
        for (rule, theirs) in self.relatives(vars) {
            let (preds, terms) = rule.statements();
            hints.add(theirs, &preds, &terms, vars);
        }
        hints
    }

    /// The same, rule by rule and way by way.
    fn wholes(&self, vars: &[Var]) -> Vec<Whole> {
        let mut out = Vec::new();
        for (rule, theirs) in self.relatives(vars).into_iter().take(ALIKE) {
            let (preds, terms) = rule.statements();
            for w in lift::wholes(theirs, &preds, &terms, vars) {
                if !out.contains(&w) {
                    out.push(w);
                }
            }
        }
        out
    }

    /// Remembers a rule that stands.
    fn add(&mut self, rule: &Rule, bench: &Bench<'_>) {
        self.rules.push((rule.clone(), bench.vars.clone(), telling(rule, bench)));
    }
}

/// The experiments of a bench that say most: some that break each requirement alone, and of the others some of each kind.
fn telling(rule: &Rule, bench: &Bench<'_>) -> Vec<Row> {
    let mut alone = vec![0; rule.requires.len()];
    let (mut rows, mut others): (Vec<Row>, Vec<&Row>) = (Vec::new(), Vec::new());
    for row in bench.invalid.iter().rev() {
        let mut broken = (0..alone.len()).filter(|&k| !rule.requires[k].pred.holds(&row.at));
        match (broken.next(), broken.next()) {
            (Some(k), None) if alone[k] < TOLD => {
                alone[k] += 1;
                rows.push(row.clone());
            }
            _ => others.push(row),
        }
    }
    let spread = |n: usize, wanted: usize| (0..wanted.min(n)).map(move |k| k * n / wanted.min(n));
    let most = 2 * bench.vars.len() + 8 * TOLD;
    rows.extend(spread(others.len(), most / 2).map(|k| others[k].clone()));
    rows.extend(spread(bench.valid.len(), most).map(|k| bench.valid[k].clone()));
    rows
}

/// Infers the rule of a structure. `None` where no valid call was found.
pub fn infer(structure: &Structure, system: &mut dyn BlackBox, seed: u64, effort: Effort) -> Option<Rule> {
    infer_beside(structure, None, system, seed, effort, &mut Known::default())
}

/// Infers the rule of a structure with the help of rules of the same operator, and adds it to them. `start` are numbers of its
/// variables that may make a valid call.
pub fn infer_beside(
    structure: &Structure,
    start: Option<&[i64]>,
    system: &mut dyn BlackBox,
    seed: u64,
    effort: Effort,
    known: &mut Known,
) -> Option<Rule> {
    let mut bench = Bench::new(structure, system, seed);
    if let Some(start) = start {
        bench.run(start.to_vec());
    }
    if let Some(rule) = repeated(&mut bench, effort, known) {
        return Some(rule);
    }
    bench.recall(&known.records);
    bench.seek(1, SEEK);
    if bench.valid.is_empty() {
        return None;
    }
    if let Some(rule) = carried(&mut bench, effort, known) {
        known.add(&rule, &bench);
        return Some(rule);
    }
    let rule = searched(&mut bench, effort, known);
    if rule.status == Status::Stands {
        known.add(&rule, &bench);
    }
    Some(rule)
}

/// Synthesis and challenge until nothing is refuted.
fn searched(bench: &mut Bench<'_>, effort: Effort, known: &Known) -> Rule {
    bench.walk(4 * effort.valid);
    bench.vary_each(3);
    bench.seek(effort.valid, 10 * effort.valid);
    bench.vary_each(6);
    bench.untie();
    bench.thaw();
    bench.thaw_together();
    bench.vary_pairs();
    bench.thaw_pairs();
    if bench.can_scale() {
        bench.seek(bench.valid.len() + effort.valid, 4 * effort.valid);
    }
    let hints = known.hints(&bench.vars);
    let mut rule = synthesise(bench, &hints);
    let mut rounds = 0;
    for round in 1..=ROUNDS {
        rounds = round;
        if bench.kinds_vary {
            break;
        }
        let refuted = challenge(bench, &mut rule, effort);
        let complete = rule.is_complete();
        if refuted == 0 && complete {
            #[cfg(feature = "z3")]
            if unseen(bench, &mut rule) + corners(bench, &mut rule) > 0 {
                rule = synthesise(bench, &hints);
                continue;
            }
            rule.status = Status::Stands;
            break;
        }
        if !complete {
            bench.focus(60 * bench.vars.len().min(12));
        }
        rule = synthesise(bench, &hints);
        let patched = round >= PATCHED.0 && rule.requires.len() > PATCHED.1 * (4 + bench.vars.len());
        if !complete && round > 4 || patched {
            break;
        }
    }
    rule.rounds = rounds;
    rule.experiments = (bench.valid.len(), bench.invalid.len());
    rule
}

/// The rule of a known structure whose experiments all come out the same here, once it has stood a challenge of its own.
/// Whatever was run stays on the bench.
fn repeated(bench: &mut Bench<'_>, effort: Effort, known: &Known) -> Option<Rule> {
    let vars = bench.vars.clone();
    for (rule, _, rows) in known.rules.iter().rev().filter(|(_, v, _)| *v == vars) {
        if !rows.iter().all(|row| bench.answers(row)) || bench.valid.is_empty() {
            continue;
        }
        let mut rule = Rule {
            structure: bench.structure.clone(),
            kinds: bench.kinds.clone().unwrap_or_default(),
            valid: bench.valid[0].at.clone(),
            rounds: 1,
            ..rule.clone()
        };
        if challenge(bench, &mut rule, Effort { challenge: effort.challenge / 8, ..effort }) == 0 && !bench.kinds_vary {
            rule.experiments = (bench.valid.len(), bench.invalid.len());
            return Some(rule);
        }
    }
    None
}

/// The rule of a relative, carried over as a whole, if it explains all experiments and stands a challenge.
fn carried(bench: &mut Bench<'_>, effort: Effort, known: &Known) -> Option<Rule> {
    let wholes = known.wholes(&bench.vars);
    if wholes.is_empty() {
        return None;
    }
    bench.walk(2 * effort.valid);
    bench.vary_each(2);
    bench.seek(effort.valid, 4 * effort.valid);
    bench.untie();
    let mut thawed = false;
    for round in 1..=CARRIED_ROUNDS {
        if bench.kinds_vary {
            return None;
        }
        let mut rule = wholes.iter().find_map(|w| explained(bench, w))?;
        // A variable that never moved is believed to be settled where a requirement says so.
        let settled = |v: usize| rule.requires.iter().any(|r| is_number(&r.pred, v));
        if !thawed && (0..bench.vars.len()).any(|v| bench.is_frozen(v) && !settled(v)) {
            thawed = true;
            bench.thaw();
            rule = wholes.iter().find_map(|w| explained(bench, w))?;
        }
        if challenge(bench, &mut rule, Effort { challenge: effort.challenge / 2, ..effort }) > 0 {
            continue;
        }
        if hunt(bench, &mut rule) > 0 {
            continue;
        }
        rule.status = Status::Stands;
        rule.rounds = round;
        rule.experiments = (bench.valid.len(), bench.invalid.len());
        return Some(rule);
    }
    None
}

/// Whether a requirement says that the variable is a number.
fn is_number(p: &Pred, v: usize) -> bool {
    matches!(p, Pred::Cmp(Cmp::Eq, Term::Var(w), Term::Int(_)) if *w == v)
}

/// A rule of the statements of `whole` that hold on all experiments, if it refuses all that were refused and has all extents.
fn explained(bench: &Bench<'_>, whole: &Whole) -> Option<Rule> {
    let holds = |p: &&Pred| bench.valid.iter().all(|r| p.holds(&r.at));
    let mut preds: Vec<Pred> = whole.preds.iter().filter(holds).cloned().collect();
    let mut left: Vec<&Row> = bench.invalid.iter().filter(|r| preds.iter().all(|p| p.holds(&r.at))).collect();
    // An operand that the relative lacks may have the shape of a result.
    let mut more: Vec<Pred> = whole.long.clone();
    for t in &whole.terms {
        requires::equals(bench, t, &mut |p| more.push(p));
        requires::divides(t, &mut |p| more.push(p));
    }
    for p in more.iter().filter(holds) {
        let n = left.len();
        left.retain(|r| p.holds(&r.at));
        if left.len() < n {
            preds.push(p.clone());
        }
    }
    if !left.is_empty() {
        return None;
    }
    let data_dependent = data_dependent(bench);
    let extents: Vec<Option<Term>> = (0..data_dependent.len())
        .map(|j| if data_dependent[j] { None } else { outputs::plain_extent(bench, j, &whole.terms) })
        .collect();
    let rule = Rule::new(bench, preds, extents, data_dependent);
    rule.is_complete().then_some(rule)
}

/// Experiments that break a requirement alone which none broke yet: its variables are set to small numbers, the others are
/// made to fit. Returns how many experiments the rule was wrong about. A requirement for which there is none stays: it was
/// needed where it comes from.
fn hunt(bench: &mut Bench<'_>, rule: &mut Rule) -> usize {
    let mut wrong = 0;
    let preds: Vec<Pred> = rule.requires.iter().map(|r| r.pred.clone()).collect();
    for k in 0..preds.len() {
        let vars = mentioned(&preds[k]);
        for _ in 0..HUNTED {
            if rule.requires[k].witnesses > 0 || vars.is_empty() {
                break;
            }
            let from = bench.choices.below(bench.valid.len());
            let mut at = bench.valid[from].at.clone();
            let v = *pick(&mut bench.choices, &vars);
            at[v] = (*pick(&mut bench.choices, &[0, -1, 1, 2, 3])).max(bench.vars[v].least());
            bench.repair(&mut at, &preds, Some(k));
            let alone = preds.iter().enumerate().all(|(i, p)| p.holds(&at) != (i == k));
            if !alone || bench.knows(&at) {
                continue;
            }
            match bench.run(at.clone()) {
                Some(true) => wrong += 1,
                Some(false) => {
                    rule.requires[k].witnesses += 1;
                    rule.requires[k].witness = Some(at);
                }
                None => {}
            }
        }
    }
    wrong
}

/// Which extents of results depend on data.
fn data_dependent(bench: &Bench<'_>) -> Vec<bool> {
    let n = bench.valid.first().and_then(|r| r.out.as_ref()).map_or(0, Vec::len);
    let depends =
        |j: usize| bench.valid.iter().any(|r| r.out.as_ref().is_some_and(|o| o.get(j).is_none_or(Option::is_none)));
    (0..n).map(depends).collect()
}

fn synthesise(bench: &Bench<'_>, hints: &Hints) -> Rule {
    let data_dependent = data_dependent(bench);
    let mut numerators = Vec::new();
    let mut extents: Vec<Option<Term>> = Vec::new();
    let mut columns: Vec<(Vec<Option<i64>>, usize)> = Vec::new();
    for j in 0..data_dependent.len() {
        // Results of one shape are the rule, not the exception.
        let column: Vec<Option<i64>> = bench.valid.iter().map(|r| r.out.as_ref().and_then(|o| o[j])).collect();
        if let Some((_, same)) = columns.iter().find(|(c, _)| *c == column) {
            extents.push(extents[*same].clone());
            continue;
        }
        columns.push((column, j));
        let found = if data_dependent[j] { None } else { outputs::extent(bench, j, &hints.terms) };
        if let Some(t) = found.as_ref().and_then(|f| f.numerator.clone()) {
            numerators.push(t);
        }
        extents.push(found.map(|f| f.term));
    }
    let terms: Vec<Term> = extents.iter().flatten().cloned().collect();
    let (preds, _) = requires::requirements(bench, hints, &terms, &numerators);
    Rule::new(bench, preds, extents, data_dependent)
}

/// Runs assignments that the rule accepts, or that break one requirement alone; how many it was wrong about.
fn challenge(bench: &mut Bench<'_>, rule: &mut Rule, effort: Effort) -> usize {
    let mut wrong = 0;
    let mut accepted = 0;
    let preds: Vec<Pred> = rule.requires.iter().map(|r| r.pred.clone()).collect();
    // An experiment that the rule accepts speaks for all of it; more requirements and more numbers want more of them.
    let enough = ACCEPTED + 4 * bench.vars.len();
    for turn in 0..effort.challenge {
        if wrong >= 12 || bench.kinds_vary {
            break;
        }
        if turn % 32 == 31 && accepted >= enough && rule.requires.iter().all(|r| r.witnesses >= WITNESSES) {
            break;
        }
        let from = bench.choices.below(bench.valid.len());
        let mut at = bench.mutated(from);
        match turn % 4 {
            0 | 1 => {}
            2 => {
                // All numbers new, then made to fit.
                at = (0..at.len()).map(|v| bench.number(v)).collect();
                bench.repair(&mut at, &preds, None);
            }
            _ => {
                let k = bench.choices.below(preds.len().max(1));
                bench.repair(&mut at, &preds, Some(k));
            }
        }
        if bench.knows(&at) {
            continue;
        }
        let mut broken = rule.requires.iter().enumerate().filter(|(_, r)| !r.pred.holds(&at)).map(|(i, _)| i);
        match (broken.next(), broken.next()) {
            (Some(_), Some(_)) => continue,
            (Some(k), None) if rule.requires[k].witnesses >= 2 * WITNESSES => continue,
            (None, _) if accepted >= 2 * enough => continue,
            (first, _) => {
                accepted += usize::from(first.is_none());
                match (bench.run(at.clone()), first) {
                    (Some(true), Some(_)) => wrong += 1,
                    (Some(false), None) => wrong += 1,
                    (Some(false), Some(k)) => {
                        rule.requires[k].witnesses += 1;
                        rule.requires[k].witness.get_or_insert(at);
                    }
                    (Some(true), None) => wrong += usize::from(!extents_right(bench, rule)),
                    (None, _) => {}
                }
            }
        }
    }
    wrong
}

/// Whether the rule gives the extents of the latest valid experiment.
fn extents_right(bench: &Bench<'_>, rule: &Rule) -> bool {
    let Some(row) = bench.valid.last() else { return true };
    let Some(out) = &row.out else { return true };
    out.len() == rule.extents.len()
        && out.iter().zip(&rule.extents).zip(&rule.data_dependent).all(|((got, term), depends)| match (got, term) {
            (Some(got), Some(t)) => t.eval(&row.at) == Some(*got),
            (None, _) => *depends,
            (Some(_), None) => *depends,
        })
}

/// Requirements that no experiment broke alone: z3 finds an assignment that does, which is run, or proves that the others
/// imply it, and it is dropped. Returns how many experiments the rule was wrong about.
#[cfg(feature = "z3")]
fn unseen(bench: &mut Bench<'_>, rule: &mut Rule) -> usize {
    let mut wrong = 0;
    let mut k = 0;
    while k < rule.requires.len() {
        if rule.requires[k].witnesses > 0 {
            k += 1;
            continue;
        }
        let preds: Vec<&Pred> = rule.requires.iter().map(|r| &r.pred).collect();
        match super::score::breaks_alone(&bench.vars, &preds, k) {
            super::score::Alone::Never => {
                rule.requires.remove(k);
                continue;
            }
            super::score::Alone::At(at) => {
                let valid = bench.run(at.clone());
                if valid == Some(true) {
                    wrong += 1;
                } else {
                    rule.requires[k].witnesses += 1;
                    rule.requires[k].witness = Some(at);
                }
            }
            super::score::Alone::Unknown => {
                // Without it the rule says the same of all experiments, and is simpler.
                let broken = |at: &[i64]| rule.requires.iter().filter(|r| !r.pred.holds(at)).count();
                let needed = |r: &&Row| !rule.requires[k].pred.holds(&r.at) && broken(&r.at) == 1;
                if !bench.invalid.iter().any(|r| needed(&r)) {
                    rule.requires.remove(k);
                    continue;
                }
            }
            super::score::Alone::Large => {}
        }
        k += 1;
    }
    wrong
}

/// Calls in corners that drawing seldom meets: a few variables at a bound, the others as z3 finds them, all requirements
/// satisfied or one broken. Returns how many the rule was wrong about.
#[cfg(feature = "z3")]
fn corners(bench: &mut Bench<'_>, rule: &mut Rule) -> usize {
    let n = bench.vars.len();
    if n == 0 || rule.requires.is_empty() {
        return 0;
    }
    let mut wrong = 0;
    let preds: Vec<Pred> = rule.requires.iter().map(|r| r.pred.clone()).collect();
    let preds: Vec<&Pred> = preds.iter().collect();
    for turn in 0..CORNERS + preds.len() {
        let broken = turn.checked_sub(CORNERS);
        let settled: Vec<(usize, i64)> = (0..1 + bench.choices.below(3))
            .map(|_| {
                let v = bench.choices.below(n);
                let least = bench.vars[v].least().max(-1);
                (v, least + bench.choices.below(3) as i64)
            })
            .collect();
        let Some(at) = super::score::sample(&bench.vars, &preds, broken, &settled) else { continue };
        if bench.knows(&at) {
            continue;
        }
        let accepts = rule.accepts(&at);
        match bench.run(at) {
            Some(valid) if valid != accepts => wrong += 1,
            Some(true) => wrong += usize::from(!extents_right(bench, rule)),
            _ => {}
        }
    }
    wrong
}

/// Texts of a rule's requirements and results, for people.
pub fn render(rule: &Rule) -> String {
    let vars: Vec<Var> = rule.structure.vars();
    let names = var_names(&vars);
    let mut out = format!("{}\n", rule.structure.text());
    for r in &rule.requires {
        let example = r.witness.as_ref().map_or(String::new(), |w| {
            let shown: Vec<String> = mentioned(&r.pred).iter().map(|&v| format!("{} = {}", names[v], w[v])).collect();
            format!(", e.g. {}", shown.join(", "))
        });
        out.push_str(&format!("  requires {:<44} {} refused{example}\n", r.pred.text(&names), r.witnesses));
    }
    let mut at = 0;
    for (k, kind) in rule.kinds.iter().enumerate() {
        match kind {
            Kind::Other(text) => out.push_str(&format!("  result {k}: {text}\n")),
            Kind::Nested(_, rank) | Kind::Tensor(_, rank) => {
                let dims: Vec<String> = (at..at + rank)
                    .map(|j| match (rule.extents.get(j), rule.data_dependent.get(j)) {
                        (Some(Some(t)), _) => t.text(&names),
                        (_, Some(true)) => "by data".into(),
                        _ => "not found".into(),
                    })
                    .collect();
                at += rank;
                let dims = dims.join(", ");
                out.push_str(&match kind {
                    Kind::Tensor(dtype, _) => format!("  result {k}: {dtype}[{dims}]\n"),
                    Kind::Nested(text, _) | Kind::Other(text) => format!("  result {k}: {text} of [{dims}]\n"),
                });
            }
        }
    }
    let status = match rule.status {
        Status::Stands => "stands",
        Status::Open => "open",
    };
    let (valid, invalid) = rule.experiments;
    out.push_str(&format!("  {status} after {valid} valid and {invalid} refused calls, {} rounds\n", rule.rounds));
    out
}

fn mentioned(p: &Pred) -> Vec<usize> {
    let mut vars = Vec::new();
    p.each_var(&mut |v| vars.push(v));
    vars.sort_unstable();
    vars.dedup();
    vars
}

#[cfg(all(test, feature = "z3"))]
mod tests {
    use super::super::declaration::Declaration;
    use super::super::score::{Verdict, score};
    use super::super::structure::{ArgKind, ArgSlot, AttrSlot};
    use super::*;
    use crate::blackbox::Egret;
    use egret_ir::{Attr, DType, ops};
    use std::collections::BTreeMap;

    fn structure(op: &str, ranks: &[usize], attrs: &[(&str, AttrSlot)]) -> Structure {
        let def = ops::find("ai.onnx", op).unwrap();
        let tensor = |&r: &usize| Some(ArgSlot { dtype: DType::F32, kind: ArgKind::Tensor(r) });
        Structure {
            domain: "ai.onnx".into(),
            op: op.into(),
            names: Declaration::of_def(def).operand_names(ranks.len()),
            by_name: false,
            args: ranks.iter().map(tensor).collect(),
            attrs: attrs.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect::<BTreeMap<_, _>>(),
            n_outputs: 1,
        }
    }

    fn learnt(s: &Structure) -> Rule {
        let rule = infer(s, &mut Egret::default(), 0, Effort::default()).expect("a valid call is found");
        assert_eq!(rule.status, Status::Stands, "{}", render(&rule));
        assert_eq!(score(&rule, 1).verdict, Verdict::Proved, "{}", render(&rule));
        rule
    }

    #[test]
    fn broadcasting_is_learnt() {
        let rule = learnt(&structure("Add", &[2, 1], &[]));
        let text = render(&rule);
        assert!(text.contains("requires A[1] == 1 or B[0] == 1 or A[1] == B[0]"), "{text}");
        assert!(text.contains("result 0: f32[A[0], broadcast("), "{text}");
    }

    #[test]
    fn windows_are_learnt() {
        let lists = [("strides", AttrSlot::Ints(1)), ("dilations", AttrSlot::Ints(1)), ("pads", AttrSlot::Ints(2))];
        let rule = learnt(&structure("Conv", &[3, 3], &lists));
        let text = render(&rule);
        assert!(text.contains("// strides[0] + 1"), "{text}");
    }

    #[test]
    fn an_axis_decides_what_must_agree() {
        let rule = learnt(&structure("Concat", &[2, 2, 2], &[("axis", AttrSlot::Fixed(Attr::from(-2)))]));
        assert_eq!(rule.requires.len(), 2, "{}", render(&rule));
    }

    #[test]
    fn an_operand_shaped_as_the_result_is_learnt_beside_a_relative() {
        let mut without = structure("Conv", &[3, 3], &[]);
        (without.domain, without.op) = ("com.microsoft".into(), "FusedConv".into());
        let mut with = without.clone();
        with.names = ["X", "W", "B", "Z"].map(String::from).into();
        with.args.extend([None, Some(ArgSlot { dtype: DType::F32, kind: ArgKind::Tensor(3) })]);
        let mut known = Known::default();
        for s in [&without, &with] {
            let rule = infer_beside(s, None, &mut Egret::default(), 0, Effort::default(), &mut known).unwrap();
            assert_eq!(rule.status, Status::Stands, "{}", render(&rule));
            assert_eq!(score(&rule, 1).verdict, Verdict::Proved, "{}", render(&rule));
        }
    }

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        let rule = learnt(&structure("MatMul", &[3, 2], &[]));
        let line = super::super::rulefile::json(&rule).to_string();
        let again = super::super::rulefile::read(&line).unwrap();
        assert_eq!(render(&again[0]), render(&rule));
    }

    #[test]
    fn a_wrong_rule_is_told_from_a_right_one() {
        let mut rule = learnt(&structure("MatMul", &[2, 2], &[]));
        rule.requires.clear();
        assert!(matches!(score(&rule, 1).verdict, Verdict::Differs { .. }));
    }
}
