//! Inferred rules against the registry's: proved equivalent by z3, or a concrete call on which they differ.
//!
//! The registry's rule is run with symbols for the open numbers; what it returns (assumptions, extents) are terms. Both
//! rules are then statements about the same symbols. An attribute of unknown sign is the difference of two symbols,
//! because a symbol is a size. Where the registry's rule needs numbers (it cannot say its extents as terms otherwise) the
//! open attributes and elements are settled in cases, extents stay symbols, and the verdict says so.

use super::bench::{Bench, Kind};
use super::search::Rule;
use super::structure::{Structure, Var, VarKind, var_names};
use super::term::{Cmp, Pred, Term};
use crate::blackbox::{BlackBox, Egret, nested};
use crate::choices::Choices;
use crate::smt::{Decision, decide};
use crate::solve::{Assignment, definition};
use crate::trace::{Number, Outcome, Produced};
use egret_ir::infer::infer_call;
use egret_ir::rule::Content;
use egret_ir::{Attr, Attrs, Cond, Dim, ErrorKind, Fact, Type, ops};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What z3 may do about one question, in its own units.
const PATIENCE: u32 = 400_000;
/// Cases into which open numbers are split, at most.
const CASES: usize = 48;
/// Numbers up to this one are tried where an inferred rule wants another.
const OTHERS: i64 = 8;
/// Fresh assignments, of each kind.
const FRESH: usize = 24;
/// Valid ones of a structure of which no invalid one was found.
const FEW: usize = 3;

/// How a rule compares.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// For all values of all open numbers.
    Proved,
    /// For all extents, in so many cases of the other numbers.
    ProvedInCases(usize),
    /// They differ here.
    Differs {
        /// The call, by its variables.
        at: String,
        /// What differs.
        what: String,
    },
    /// Neither.
    Undecided(String),
}

/// Counts over fresh assignments.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Accepted by both.
    pub both: usize,
    /// Accepted by the inferred rule alone.
    pub only_inferred: usize,
    /// Accepted by the registry alone.
    pub only_registry: usize,
    /// Refused by both.
    pub neither: usize,
    /// Of those that both accept: all extents right.
    pub right: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, o: Counts) {
        self.both += o.both;
        self.only_inferred += o.only_inferred;
        self.only_registry += o.only_registry;
        self.neither += o.neither;
        self.right += o.right;
    }
}

/// A rule's score.
#[derive(Clone, PartialEq, Debug)]
pub struct Score {
    /// By proof.
    pub verdict: Verdict,
    /// By trial.
    pub counts: Counts,
}

/// What z3 was asked so far: rules of one operator's structures ask much the same.
#[derive(Debug, Default)]
pub struct Asked {
    implied: HashMap<(Vec<Cond>, Cond, Limits), Result<(), Option<Assignment>>>,
}

/// Least and greatest values of symbols.
type Limits = BTreeMap<Arc<str>, (i64, Option<i64>)>;

/// Scores one rule.
pub fn score(rule: &Rule, seed: u64) -> Score {
    score_beside(rule, seed, &mut Asked::default())
}

/// Scores one rule of several.
pub fn score_beside(rule: &Rule, seed: u64, asked: &mut Asked) -> Score {
    let counts = fresh(rule, seed, &mut Egret::default());
    Score { verdict: verdict(rule, asked), counts }
}

/// Compares a rule with a black box on fresh assignments: as many valid as invalid ones where there are such, a few where the operator refuses nothing.
pub fn fresh(rule: &Rule, seed: u64, system: &mut dyn BlackBox) -> Counts {
    let mut bench = Bench::new(&rule.structure, system, seed ^ 0x005e_ed0f_f2e5);
    let mut counts = Counts::default();
    if rule.valid.len() == bench.vars.len() {
        bench.run(rule.valid.clone());
    }
    bench.seek(1, super::search::SEEK);
    let preds: Vec<Pred> = rule.requires.iter().map(|r| r.pred.clone()).collect();
    for turn in 0..60 * FRESH {
        let refuses = turn < 20 * FRESH || !bench.invalid.is_empty();
        if bench.valid.is_empty() || (bench.valid.len() > FRESH && (bench.invalid.len() >= FRESH || !refuses)) {
            break;
        }
        let from = bench.choices.below(bench.valid.len());
        let mut at = bench.mutated(from);
        if turn % 2 == 0 && bench.valid.len() <= FRESH {
            at = (0..at.len()).map(|v| bench.number(v)).collect();
            bench.repair(&mut at, &preds, None);
        }
        bench.run(at);
    }
    let valid = bench.invalid.len().clamp(FEW, FRESH);
    for row in bench.valid.iter().rev().take(valid) {
        if !rule.accepts(&row.at) {
            counts.only_registry += 1;
            continue;
        }
        counts.both += 1;
        let out = row.out.iter().flatten();
        let right = row.out.as_ref().is_some_and(|o| o.len() == rule.extents.len())
            && out.zip(rule.extents.iter().zip(&rule.data_dependent)).all(|(got, (term, depends))| match (got, term) {
                (Some(v), Some(t)) => t.eval(&row.at) == Some(*v),
                _ => *depends,
            });
        counts.right += usize::from(right);
    }
    for row in bench.invalid.iter().take(FRESH) {
        if rule.accepts(&row.at) { counts.only_inferred += 1 } else { counts.neither += 1 }
    }
    counts
}

/// The registry's rule of a structure as terms.
struct Truth {
    conds: Vec<Cond>,
    kinds: Vec<Kind>,
    extents: Vec<Dim>,
}

/// Why the registry's rule gives no terms.
enum Failed {
    /// It refuses the call.
    Refused(String),
    /// It needs numbers for something.
    Open(String),
}

impl Failed {
    fn text(self) -> String {
        match self {
            Failed::Refused(text) | Failed::Open(text) => text,
        }
    }
}

/// Runs the registry's rule on terms for the variables.
fn truth(s: &Structure, vars: &[Var], terms: &[Dim]) -> Result<Truth, Failed> {
    let unsaid = |what: &dyn std::fmt::Display| Failed::Open(what.to_string());
    let def = ops::find(&s.domain, &s.op).ok_or_else(|| unsaid(&"the registry does not know the operator"))?;
    let zeros = vec![0; vars.len()];
    let call = s.call(vars, &zeros);
    let mut attrs: Attrs = call.attrs.clone();
    let mut facts: Vec<Option<Fact>> = Vec::new();
    for (i, arg) in call.inputs.iter().enumerate() {
        let Some(a) = arg else {
            facts.push(None);
            continue;
        };
        let mut shape: Vec<Dim> = a.shape.iter().map(|&d| Dim::int(d)).collect();
        let mut elements: Option<Vec<Dim>> = a.values.as_ref().map(|v| v.iter().map(|n| Dim::int(n.int())).collect());
        let mut open = false;
        for (var, term) in vars.iter().zip(terms) {
            match var.kind {
                VarKind::Extent(k, axis) if k == i => shape[axis] = term.clone(),
                VarKind::Element(k, at) if k == i => {
                    if let Some(e) = &mut elements {
                        e[at] = term.clone();
                        open |= !term.is_int();
                    }
                }
                _ => {}
            }
        }
        let ty = Type::ranked(a.dtype, shape);
        let content = match (elements, open) {
            (None, _) => None,
            (Some(e), true) => Some(Content::Dims(e)),
            (Some(e), false) => {
                let mut a = a.clone();
                let floats = a.values.as_ref().is_some_and(|v| v.iter().any(|n| matches!(n, Number::Float(_))));
                if !floats {
                    a.values = Some(e.iter().filter_map(|d| d.as_int().map(Number::Int)).collect());
                }
                let value = crate::blackbox::value(&a).map_err(|e| unsaid(&e))?;
                Some(Content::Tensor(value.tensor().map_err(|e| unsaid(&e))?.clone()))
            }
        };
        facts.push(Some(Fact { ty, content }));
    }
    for (var, term) in vars.iter().zip(terms) {
        if let VarKind::Attr(name, k) = &var.kind {
            match (attrs.get_mut(name), k) {
                (Some(Attr::Ints(list)), Some(k)) => list[*k] = term.clone(),
                (Some(a), _) => *a = Attr::Int(term.clone()),
                (None, _) => {}
            }
        }
    }
    let refused = |e: egret_ir::Error| match e.kind() {
        ErrorKind::Invalid => Failed::Refused(e.to_string()),
        _ => unsaid(&e),
    };
    let op = (def.parse)(&attrs).map_err(refused)?;
    let got = infer_call(&*op, &facts, &[], s.n_outputs, &mut 0).map_err(refused)?;
    if let Some(what) = got.deferred {
        return Err(Failed::Open(format!("the rule waits for {what}")));
    }
    let mut conds: Vec<Cond> = got.assumptions.into_iter().map(|a| a.cond).collect();
    let (mut kinds, mut extents) = (Vec::new(), Vec::new());
    for f in &got.outputs {
        let Some((text, dims)) = nested(&f.ty) else {
            kinds.push(Kind::Other(f.ty.to_string()));
            continue;
        };
        extents.extend(dims.iter().cloned());
        kinds.push(match f.ty.as_tensor() {
            Some(t) => Kind::Tensor(t.dtype, dims.len()),
            None => Kind::Nested(text, dims.len()),
        });
    }
    // A call whose result would have a negative extent is refused.
    conds.extend(extents.iter().map(|d| Cond::le(&Dim::ZERO, d)));
    if conds.iter().any(Cond::is_undefined) {
        return Err(Failed::Open("a term of the rule is undefined".into()));
    }
    Ok(Truth { conds, kinds, extents })
}

/// A variable's term: a symbol, or the difference of two where it may be negative.
fn term_of(var: &Var, signed: bool) -> Dim {
    if signed && var.least() < 0 {
        Dim::sym(&format!("{}+", var.name)) - Dim::sym(&format!("{}-", var.name))
    } else {
        Dim::sym(&var.name)
    }
}

fn verdict(rule: &Rule, asked: &mut Asked) -> Verdict {
    let vars = rule.structure.vars();
    match prove(rule, &vars, &BTreeMap::new(), asked) {
        Ok(()) => Verdict::Proved,
        Err(Stop::Differs(at, what)) => Verdict::Differs { at, what },
        Err(Stop::Unknown(why)) => match at_settled(rule, &vars, asked) {
            Some(cases) => Verdict::ProvedInCases(cases),
            None => in_cases(rule, &vars, why, asked),
        },
    }
}

/// Where the inferred rule wants variables to be certain numbers: whether the two rules are equivalent there, and the
/// registry refuses other small numbers for each of them. In how many cases.
fn at_settled(rule: &Rule, vars: &[Var], asked: &mut Asked) -> Option<usize> {
    let number = |p: &Pred| match p {
        Pred::Cmp(Cmp::Eq, Term::Var(v), Term::Int(n)) => Some((*v, *n)),
        _ => None,
    };
    let settled: BTreeMap<usize, i64> = rule.requires.iter().filter_map(|r| number(&r.pred)).collect();
    if settled.is_empty() || prove(rule, vars, &settled, asked).is_err() {
        return None;
    }
    let mut cases = 1;
    for (&v, &n) in &settled {
        for other in (vars[v].least().max(-2)..=OTHERS).filter(|o| *o != n) {
            let term = |w: usize| if w == v { Dim::int(other) } else { term_of(&vars[w], true) };
            let terms: Vec<Dim> = (0..vars.len()).map(term).collect();
            match truth(&rule.structure, vars, &terms) {
                Err(Failed::Refused(_)) => {}
                Ok(t) if decide(&t.conds, &bounds(vars), PATIENCE) == Decision::Unsat => {}
                _ => return None,
            }
            cases += 1;
        }
    }
    Some(cases)
}

enum Stop {
    Differs(String, String),
    Unknown(String),
}

/// Settles attributes and elements in cases.
fn in_cases(rule: &Rule, vars: &[Var], why: String, asked: &mut Asked) -> Verdict {
    let open: Vec<usize> = (0..vars.len()).filter(|&v| !matches!(vars[v].kind, VarKind::Extent(..))).collect();
    if open.is_empty() {
        return Verdict::Undecided(why);
    }
    let numbers = |v: usize| if vars[v].least() < 0 { vec![1, 2, 0, 3] } else { vec![1, 2, 3, 5] };
    let total = 4usize.saturating_pow(open.len().min(16) as u32);
    let n = total.min(CASES);
    for case in 0..n {
        // All cases where they are few, else some spread over all.
        let mut rest = if total <= CASES { case } else { case.wrapping_mul(0x9E37_79B1) >> 3 };
        let mut fixed = BTreeMap::new();
        for &v in &open {
            let list = numbers(v);
            fixed.insert(v, list[rest % list.len()]);
            rest /= list.len();
        }
        match prove(rule, vars, &fixed, asked) {
            Ok(()) => {}
            Err(Stop::Differs(at, what)) => return Verdict::Differs { at, what },
            Err(Stop::Unknown(e)) => return Verdict::Undecided(format!("{why}; {e}")),
        }
    }
    Verdict::ProvedInCases(n)
}

fn prove(rule: &Rule, vars: &[Var], fixed: &BTreeMap<usize, i64>, asked: &mut Asked) -> Result<(), Stop> {
    let settled = |v: usize, signed: bool| match fixed.get(&v) {
        Some(n) => Dim::int(*n),
        None => term_of(&vars[v], signed),
    };
    let mut terms: Vec<Dim> = (0..vars.len()).map(|v| settled(v, true)).collect();
    let inferred = |terms: &[Dim]| rule.requires.iter().flat_map(|r| r.pred.conds(terms)).collect::<Vec<_>>();
    let mut theirs = match truth(&rule.structure, vars, &terms) {
        Ok(t) => t,
        Err(e) if fixed.is_empty() => return Err(Stop::Unknown(e.text())),
        Err(Failed::Open(e)) => return Err(Stop::Unknown(e)),
        // With numbers, a refusal says that no extents are valid.
        Err(Failed::Refused(e)) => {
            let mine = inferred(&terms);
            return match decide(&mine, &bounds(vars), PATIENCE) {
                Decision::Unsat => Ok(()),
                Decision::Sat(model) => confirm(rule, vars, fixed, &model, &terms, e),
                Decision::Unknown => Err(Stop::Unknown(e)),
            };
        }
    };
    let mut mine = inferred(&terms);
    // An attribute that both rules want to be no less than 0 is a size from here on.
    let sized = |conds: &[Cond], t: &Dim| {
        conds.iter().any(|c| *c == Cond::le(&Dim::ZERO, t) || *c == Cond::le(&Dim::ONE, t) || is_number(c, t))
    };
    let both: Vec<bool> = terms.iter().map(|t| sized(&theirs.conds, t) && sized(&mine, t)).collect();
    if both.iter().zip(vars).any(|(b, v)| *b && v.least() < 0) {
        terms = (0..vars.len()).map(|v| settled(v, !both[v])).collect();
        theirs = truth(&rule.structure, vars, &terms).map_err(|e| Stop::Unknown(e.text()))?;
        // A bound that became true by the change of symbols still stands for elements.
        mine = inferred(&terms);
    }
    if theirs.kinds != rule.kinds {
        return Err(Stop::Differs(String::new(), format!("results {:?} and {:?}", theirs.kinds, rule.kinds)));
    }
    let domain = bounds(vars);
    for (given, wanted, what) in [(&theirs.conds, &mine, "the registry accepts"), (&mine, &theirs.conds, "it accepts")]
    {
        for c in wanted {
            if let Err(e) = asked.implied(given, c, &domain) {
                return match e {
                    Some(model) => confirm(rule, vars, fixed, &model, &terms, format!("{what} what breaks {c}")),
                    None => Err(Stop::Unknown(format!("z3 does not decide {c}"))),
                };
            }
        }
    }
    let names: Vec<Arc<str>> = terms.iter().flat_map(Dim::symbols).collect();
    for (j, want) in theirs.extents.iter().enumerate() {
        let by_data = want.symbols().iter().any(|s| !names.contains(s));
        let Some(t) = &rule.extents[j] else {
            if by_data && rule.data_dependent[j] {
                continue;
            }
            return Err(Stop::Unknown(format!("extent {j} was not found; it is {want}")));
        };
        if by_data {
            return Err(Stop::Unknown(format!("extent {j} has no term in the registry's rule")));
        }
        let have = t.dim(&terms);
        if let Err(e) = asked.implied(&theirs.conds, &Cond::eq(&have, want), &domain) {
            return match e {
                Some(model) => confirm(rule, vars, fixed, &model, &terms, format!("extent {j} is {want}, not {have}")),
                None => Err(Stop::Unknown(format!("z3 does not decide {have} == {want}"))),
            };
        }
    }
    Ok(())
}

/// Whether a condition says that the term is a number that is a size.
fn is_number(c: &Cond, t: &Dim) -> bool {
    (0..=9).any(|n| *c == Cond::eq(t, &Dim::int(n)))
}

fn bounds(vars: &[Var]) -> Limits {
    let elements = vars.iter().filter(|v| matches!(v.kind, VarKind::Element(..)));
    elements.map(|v| (Arc::from(&*v.name), (1, None))).collect()
}

impl Asked {
    /// [`implied`], asked once.
    fn implied(&mut self, given: &[Cond], c: &Cond, bounds: &Limits) -> Result<(), Option<Assignment>> {
        if c.as_bool() == Some(true) || given.contains(c) {
            return Ok(());
        }
        let key = (given.to_vec(), c.clone(), bounds.clone());
        self.implied.entry(key).or_insert_with(|| implied(given, c, bounds)).clone()
    }
}

/// Whether the conditions imply `c`; a counterexample, or none where z3 does not know.
fn implied(given: &[Cond], c: &Cond, bounds: &Limits) -> Result<(), Option<Assignment>> {
    // Symbols that equalities define are replaced first: normal forms then decide most of it.
    let (mut open, mut goal) = (given.to_vec(), c.clone());
    for _ in 0..32 {
        let Some((name, term)) = open.iter().find_map(definition) else { break };
        if term.bounds().0.is_none_or(|lo| lo < 0) {
            break;
        }
        let with = |s: &str| (s == &*name).then(|| term.clone());
        open = open.iter().map(|c| c.substitute(&with)).filter(|c| c.as_bool() != Some(true)).collect();
        goal = goal.substitute(&with);
        if goal.as_bool() == Some(true) || open.contains(&goal) {
            return Ok(());
        }
    }
    let mut all = given.to_vec();
    all.push(c.not());
    match decide(&all, bounds, PATIENCE) {
        Decision::Unsat => return Ok(()),
        Decision::Sat(model) => return Err(Some(model)),
        Decision::Unknown => {}
    }
    // The same in small numbers: a counterexample is mostly small.
    let mut small: Limits = all.iter().flat_map(Cond::symbols).map(|s| (s, (0, Some(12)))).collect();
    bounds.iter().for_each(|(n, (lo, _))| {
        if let Some(b) = small.get_mut(n) {
            b.0 = *lo;
        }
    });
    match decide(&all, &small, PATIENCE) {
        Decision::Sat(model) => Err(Some(model)),
        _ => Err(None),
    }
}

/// A counterexample of z3, run: the two rules differ there, or the counterexample is void.
fn confirm(
    rule: &Rule,
    vars: &[Var],
    fixed: &BTreeMap<usize, i64>,
    model: &Assignment,
    terms: &[Dim],
    what: String,
) -> Result<(), Stop> {
    let value =
        |v: usize| fixed.get(&v).copied().or_else(|| terms[v].eval(&|s| Some(model.get(s).copied().unwrap_or(1))));
    let Some(at) = (0..vars.len()).map(value).collect::<Option<Vec<i64>>>() else {
        return Err(Stop::Unknown(format!("{what} (z3's numbers are too large)")));
    };
    match differs(rule, vars, &at) {
        Some(how) => {
            let names = var_names(vars);
            let shown: Vec<String> = names.iter().zip(&at).map(|(n, v)| format!("{n} = {v}")).collect();
            Err(Stop::Differs(shown.join(", "), how))
        }
        None => Err(Stop::Unknown(format!("{what} (a counterexample of z3 is none)"))),
    }
}

/// How the rules differ on numbers.
fn differs(rule: &Rule, vars: &[Var], at: &[i64]) -> Option<String> {
    let outcome = Egret::default().call(&rule.structure.call(vars, at));
    match (outcome, rule.accepts(at)) {
        (Outcome::Valid(types), true) => {
            let got: Vec<Option<i64>> = types
                .iter()
                .filter_map(|t| match t {
                    Produced::Tensor { shape, .. } | Produced::Nested { shape, .. } => Some(shape.clone()),
                    Produced::Other(_) => None,
                })
                .flatten()
                .collect();
            let have: Vec<Option<i64>> = rule.extents.iter().map(|t| t.as_ref().and_then(|t| t.eval(at))).collect();
            (got != have).then(|| format!("extents are {got:?}, the inferred rule says {have:?}"))
        }
        (Outcome::Valid(_), false) => Some("the registry accepts it, the inferred rule refuses it".into()),
        (Outcome::Invalid(e), true) => Some(format!("the inferred rule accepts it, the registry says: {e}")),
        _ => None,
    }
}

/// An assignment of small numbers that satisfies all requirements but `broken`, with some variables settled.
pub fn sample(vars: &[Var], preds: &[&Pred], broken: Option<usize>, settled: &[(usize, i64)]) -> Option<Vec<i64>> {
    let terms: Vec<Dim> = vars.iter().map(|v| term_of(v, true)).collect();
    let cond = |(i, p): (usize, &&Pred)| match p.conds(&terms) {
        conds if Some(i) == broken => vec![Cond::all(&conds).not()],
        conds => conds,
    };
    let mut conds: Vec<Cond> = preds.iter().enumerate().flat_map(cond).collect();
    conds.extend(settled.iter().map(|(v, n)| Cond::eq(&terms[*v], &Dim::int(*n))));
    if conds.iter().any(|c| c.as_bool() == Some(false)) {
        return None;
    }
    let mut limits = bounds(vars);
    for s in terms.iter().flat_map(Dim::symbols) {
        let lo = limits.get(&s).map_or(0, |b| b.0);
        limits.insert(s, (lo, Some(12)));
    }
    match decide(&conds, &limits, PATIENCE / 8) {
        Decision::Sat(model) => {
            let value = |t: &Dim| t.eval(&|s| model.get(s).copied());
            terms.iter().map(value).collect()
        }
        _ => None,
    }
}

/// Whether an assignment breaks requirement `k` and no other.
pub enum Alone {
    /// None does: the others imply it.
    Never,
    /// This one.
    At(Vec<i64>),
    /// z3 does not know.
    Unknown,
    /// One with large numbers does.
    Large,
}

/// Asks z3 for an assignment that breaks requirement `k` alone.
pub fn breaks_alone(vars: &[Var], preds: &[&Pred], k: usize) -> Alone {
    let terms: Vec<Dim> = vars.iter().map(|v| term_of(v, true)).collect();
    let others = preds.iter().enumerate().filter(|(i, _)| *i != k);
    let mut conds: Vec<Cond> = others.flat_map(|(_, p)| p.conds(&terms)).collect();
    conds.push(Cond::all(&preds[k].conds(&terms)).not());
    if conds.iter().any(|c| c.as_bool() == Some(false)) {
        return Alone::Never;
    }
    let mut limits = bounds(vars);
    match decide(&conds, &limits, PATIENCE / 4) {
        Decision::Unsat => return Alone::Never,
        Decision::Unknown => return Alone::Unknown,
        Decision::Sat(_) => {}
    }
    // Small numbers, so that the call can be run.
    for most in [20, 100, 1000] {
        for s in conds.iter().flat_map(Cond::symbols) {
            let lo = limits.get(&s).map_or(0, |b| b.0);
            limits.insert(s, (lo, Some(most)));
        }
        if let Decision::Sat(model) = decide(&conds, &limits, PATIENCE / 4) {
            let value = |t: &Dim| t.eval(&|s| Some(model.get(s).copied().unwrap_or(1)));
            return terms.iter().map(value).collect::<Option<Vec<_>>>().map_or(Alone::Large, Alone::At);
        }
    }
    Alone::Large
}
