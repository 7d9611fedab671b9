//! Graphs grown operator by operator: valid by construction, every operator equally often.
//!
//! A graph is kept concrete: each call is inserted with numbers for its extents and attributes (the solver sees one
//! call, as in NeuRI, ESEC/FSE 2023), and evaluated by the reference at once, so that data-dependent rules (an index in
//! range, a shape that depends on elements) hold too and the expected results come with the graph.

mod control;
mod dynamic;
mod quantised;

use crate::choices::Seeded;
use crate::choices::{Choices, pick};
use crate::form::{EXTENT, Form, NARROW, Operand, Types, extents, forms_of, is_plain, seed_of};
use crate::known::{Known, Seen};
use crate::probe::{all_calls, kind_of};
use crate::solve::{Problem, State, Wish, solve};
use crate::stated::is_stated;
use crate::values::{self, Values};
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::infer::{Inferred, infer_call};
use egret_ir::rule::Content;
use egret_ir::{
    Attr, Attrs, Cond, DType, Dim, ErrorKind, Fact, Graph, Op, OpDef, Tensor, Type, Value, ValueId, graph::Node, ops,
};
use quantised::Parameters;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Attempts to insert one operator before another one is taken.
const ATTEMPTS: usize = 8;
/// Assignments kept of a form whose conditions draws do not settle.
const POOL: u64 = 3;
/// Draws that settle nothing before a solver is asked, once a form.
const PATIENCE: u32 = 6;
/// Of so many calls with a content, one has it as an argument.
const LATE: usize = 12;
/// Forms that are drawn until one has worked before, or was not tried much.
const FORM_DRAWS: usize = 6;

/// What kind of graphs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls of one graph.
    pub nodes: usize,
    /// Operators to use by ONNX name; all where empty.
    pub only: Vec<String>,
    /// Largest value, in elements.
    pub max_elems: usize,
    /// Of 100 operands, how many read a value that is there already where one fits.
    pub reuse_percent: usize,
    /// Of 100 operands that read such a value, how many may take one that something reads already.
    pub shared_percent: usize,
    /// Of 100 new operands, how many are constants and not arguments.
    pub constant_percent: usize,
    /// Of 100 calls, how many are inserted before an argument, whose producer they become.
    pub backward_percent: usize,
    /// Element types of calls.
    pub types: Types,
    /// Of 100 calls, how many have bodies (`If`, `Loop`, `Scan`, `SequenceMap`).
    pub control_percent: usize,
    /// Of 100 calls, how many become a quantised chain: an operator between dequantised operands and a quantised result, an
    /// integer product behind dynamic quantisation, integer operators that share scales.
    pub quantised_percent: usize,
    /// Of 100 graphs, how many get symbols for extents of arguments, and a run with another shape, where they take one.
    pub dynamic_percent: usize,
    /// Whether infinities, NaN and overflow may occur.
    pub special: bool,
    /// Whether only calls are made whose results the specification states.
    pub stated: bool,
    /// Calls that are not made.
    pub known: Known,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            nodes: 5,
            only: Vec::new(),
            max_elems: 4096,
            reuse_percent: 75,
            shared_percent: 40,
            constant_percent: 25,
            backward_percent: 20,
            types: Types::Usual,
            control_percent: 0,
            dynamic_percent: 0,
            quantised_percent: 0,
            special: true,
            stated: false,
            known: Known::default(),
        }
    }
}

impl Config {
    /// Graphs of a campaign: some of everything.
    pub fn varied() -> Config {
        Config { types: Types::All, control_percent: 5, dynamic_percent: 10, quantised_percent: 5, ..Config::default() }
    }

    /// Whether there are calls that may not be made.
    fn is_choosy(&self) -> bool {
        self.stated || !self.known.causes().is_empty()
    }

    /// Whether all calls of a case may be made; they are evaluated only where some may not.
    pub(crate) fn wants_all(&self, case: &Case) -> bool {
        !self.is_choosy() || all_calls(case, |op, operands, results| self.wants(op, operands, results))
    }

    /// Whether a call with these values may be made.
    pub(crate) fn wants(&self, op: &dyn Op, operands: &[Option<&Value>], results: &[Value]) -> bool {
        (!self.stated || is_stated(op, operands, results)) && self.known.met(Seen { op, operands, results }).is_none()
    }
}

/// A graph with arguments and what the reference says of every value.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// The graph; all types are numbers, unless there are other runs.
    pub graph: Graph,
    /// Its arguments.
    pub inputs: Vec<Value>,
    /// The results that the reference gave.
    pub outputs: Vec<Value>,
    /// Runs of the same graph with other shapes; then symbols stand in the types of arguments.
    pub others: Vec<Run>,
}

/// Arguments of a graph and what the reference makes of them.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Arguments.
    pub inputs: Vec<Value>,
    /// Results.
    pub outputs: Vec<Value>,
}

impl Case {
    /// Each run as a case of its own, whose types are numbers.
    pub fn runs(&self) -> Cow<'_, [Case]> {
        if self.others.is_empty() {
            return Cow::Borrowed(std::slice::from_ref(self));
        }
        let first = Run { inputs: self.inputs.clone(), outputs: self.outputs.clone() };
        let all = std::iter::once(first).chain(self.others.iter().cloned());
        Cow::Owned(all.map(|run| dynamic::instance(&self.graph, run)).collect())
    }
}

/// An operator in the generator's hands.
struct Entry {
    def: &'static OpDef,
    /// Found when the operator is first used.
    forms: Option<Vec<Prepared>>,
    used: usize,
    failed: usize,
}

/// An operator's name with its domain, where that is not ONNX's own.
pub fn full_name(def: &OpDef) -> String {
    if def.domain == "ai.onnx" { def.name.to_owned() } else { format!("{}.{}", def.domain, def.name) }
}

/// A form with what its rule asks of open extents.
struct Prepared {
    form: Form,
    conds: Vec<Cond>,
    wishes: BTreeMap<Arc<str>, Wish>,
    problem: Problem,
    /// What the conditions say by themselves.
    start: State,
    /// Places of the extents of each operand that is a tensor.
    extents: Vec<Vec<usize>>,
    /// Type of the first result.
    result: Type,
    /// The same problem with the first result's extents as symbols; made when the form is first used backward.
    inverse: Option<Option<Inverse>>,
    /// Draws for all symbols that found numbers, and all of them.
    drawn: (u32, u32),
    /// Assignments for all symbols, from a solver; made when draws do not find any.
    pool: Option<Vec<State>>,
    /// By class of elements, calls that were valid, and calls that were tried.
    classes: BTreeMap<Values, (u32, u32)>,
    /// Attempts to use it that gave a call, and all of them.
    attempts: (u32, u32),
}

/// A problem that also speaks of the extents of the first result.
struct Inverse {
    problem: Problem,
    start: State,
    result: Vec<usize>,
}

impl Prepared {
    fn new((form, open): (Form, Inferred)) -> Option<Prepared> {
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
    fn settle(&mut self, state: &State, choices: &mut dyn Choices) -> Option<State> {
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
                let (found, _) = solve(conds, wishes, &mut Seeded::new(seed_of(form.def), i))?;
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
    fn inverse(&mut self) -> Option<&Inverse> {
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

    /// Classes of elements to try: one that is drawn, then those that are more often in an operator's domain; what has never
    /// worked here is seldom tried.
    fn classes(&self, choices: &mut dyn Choices, special: bool) -> Vec<Values> {
        let mut list = vec![Values::draw(choices, special), Values::Domain, Values::Index, Values::Tame];
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
    fn reads(&self, present: &Present) -> bool {
        self.form.operands.iter().any(|o| match o {
            Some(Operand::Tensor { dtype, rank }) => present[*dtype as usize] >> rank & 1 == 1,
            _ => false,
        })
    }

    /// Whether it never worked.
    fn is_hopeless(&self) -> bool {
        self.attempts.0 == 0 && self.attempts.1 >= HOPELESS
    }

    fn tried(&mut self, class: Values, good: bool) {
        let counts = self.classes.entry(class).or_default();
        counts.0 += u32::from(good);
        counts.1 += 1;
    }
}

/// By element type, a bit for each rank.
type Present = [u32; DType::ALL.len()];

/// Calls with elements of one class, all of them refused, before the class is seldom tried.
const HOPELESS: u32 = 12;

/// Grows graphs; remembers how often each operator was used.
pub struct Generator {
    config: Config,
    menu: Vec<Entry>,
    /// Kinds of calls that are not made ([`kind_of`]).
    forbidden: BTreeSet<String>,
    /// Calls that the reference refused although their rule accepted them for reasons that are Egret's own.
    pub bugs: Vec<(Graph, Vec<Value>, String)>,
}

impl Generator {
    /// A generator over the operators that compare well: no random ones, no bodies, plain tensors only.
    pub fn new(config: Config) -> Generator {
        let wanted = |d: &&'static OpDef| config.only.is_empty() || config.only.iter().any(|n| n == d.name);
        let menu = ops::OPS
            .iter()
            .copied()
            .filter(wanted)
            .filter(|d| d.arity().1 != Some(0) && !d.attrs.iter().any(|a| a.wanted == "a graph"))
            .map(|def| Entry { def, forms: None, used: 0, failed: 0 })
            .collect();
        Generator { config, menu, forbidden: BTreeSet::new(), bugs: Vec::new() }
    }

    /// Goes on with a generator's counts.
    pub fn resume(&mut self, uses: &BTreeMap<String, usize>) {
        for entry in &mut self.menu {
            entry.used = uses.get(&full_name(entry.def)).copied().unwrap_or(entry.used);
        }
    }

    /// Calls of these kinds ([`kind_of`]) are made no more.
    pub fn forbid(&mut self, kinds: impl IntoIterator<Item = String>) {
        self.forbidden.extend(kinds);
    }

    /// How often each operator was used; operators without a form are left out.
    pub fn uses(&self) -> impl Iterator<Item = (&'static OpDef, usize)> + '_ {
        self.menu.iter().filter(|e| e.forms.as_ref().is_none_or(|f| !f.is_empty())).map(|e| (e.def, e.used))
    }

    /// As if no operator had been used yet: the next graph follows from its choices alone.
    pub fn forget_uses(&mut self) {
        for entry in &mut self.menu {
            (entry.used, entry.failed) = (0, 0);
            for form in entry.forms.iter_mut().flatten() {
                (form.drawn, form.attempts) = ((0, 0), (0, 0));
                form.classes.clear();
            }
        }
    }

    /// One graph. `None` where no operator of the menu could be used.
    pub fn generate(&mut self, choices: &mut dyn Choices) -> Option<Case> {
        let mut growing = Growing::new("fuzz");
        let mut misses = 0;
        while growing.graph.count_nodes() < self.config.nodes && misses < 40 * self.config.nodes {
            if self.config.control_percent > 0 && choices.below(100) < self.config.control_percent {
                let room = self.config.nodes - growing.graph.count_nodes();
                misses += usize::from(!self.insert_control(&mut growing, 0, room, choices));
                continue;
            }
            if self.config.quantised_percent > 0 && choices.below(100) < self.config.quantised_percent {
                misses += usize::from(!self.insert_quantised(&mut growing, choices));
                continue;
            }
            let at = self.least_used(choices)?;
            if self.insert(at, &mut growing, choices) {
                self.menu[at].used += 1;
            } else {
                self.menu[at].failed += 1;
                misses += 1;
            }
        }
        if growing.graph.nodes.is_empty() {
            return None;
        }
        let case = growing.finish(choices);
        if self.config.dynamic_percent > 0 && choices.below(100) < self.config.dynamic_percent {
            match dynamic::opened(&case, &self.config, choices) {
                dynamic::Opened::Case(open) => return Some(open),
                dynamic::Opened::Bug(graph, inputs, e) => self.bugs.push((graph, inputs, e.to_string())),
                dynamic::Opened::No => {}
            }
        }
        Some(case)
    }

    /// An operator among those used least; one that fails often is tried less.
    fn least_used(&mut self, choices: &mut dyn Choices) -> Option<usize> {
        let able = |e: &Entry| e.forms.as_ref().is_none_or(|f| !f.is_empty());
        let cost = |e: &Entry| e.used + e.failed / 16;
        let least = self.menu.iter().filter(|e| able(e)).map(cost).min()?;
        let list: Vec<usize> =
            (0..self.menu.len()).filter(|&i| able(&self.menu[i]) && cost(&self.menu[i]) <= least + 1).collect();
        let at = *pick(choices, &list);
        let entry = &mut self.menu[at];
        if entry.forms.is_none() {
            entry.forms = Some(forms_of(entry.def, self.config.types).into_iter().filter_map(Prepared::new).collect());
        }
        Some(at)
    }

    fn bounds(&self) -> Bounds<'_> {
        Bounds { config: &self.config, forbidden: &self.forbidden }
    }

    fn insert(&mut self, at: usize, growing: &mut Growing, choices: &mut dyn Choices) -> bool {
        let Some(forms) = self.menu[at].forms.as_mut().filter(|f| !f.is_empty()) else { return false };
        let backward = !growing.graph.inputs.is_empty() && choices.below(100) < self.config.backward_percent;
        for attempt in 0..ATTEMPTS {
            // Later attempts ask less of what is there.
            let early = attempt < ATTEMPTS / 2;
            let reuse = if early { self.config.reuse_percent } else { 0 };
            let k = growing.form_that_fits(forms, reuse > 0, choices);
            let form = &mut forms[k];
            let bounds = Bounds { config: &self.config, forbidden: &self.forbidden };
            let tried = match (backward && early).then(|| growing.try_before(form, bounds, choices)) {
                Some(Err(Refused::Quietly)) | None => growing.try_form(form, reuse, bounds, choices),
                Some(done) => done,
            };
            form.attempts.1 += 1;
            match tried {
                Ok(()) => {
                    form.attempts.0 += 1;
                    return true;
                }
                Err(Refused::Bug(graph, inputs, text)) => self.bugs.push((*graph, inputs, text)),
                Err(Refused::Quietly) => {}
            }
        }
        false
    }
}

enum Refused {
    Quietly,
    /// The reference blamed itself.
    Bug(Box<Graph>, Vec<Value>, String),
}

/// What one call may take.
fn limits(config: &Config) -> Limits {
    Limits { value_bytes: config.max_elems * 8, loop_steps: 1 << 16, ..Limits::default() }
}

#[derive(Clone)]
struct Growing {
    graph: Graph,
    /// By value.
    values: Vec<Value>,
    inputs: Vec<Value>,
    /// In front of all names, so that those of a body are not those of the graph around it.
    prefix: String,
    /// Of quantised values, by what.
    parameters: BTreeMap<ValueId, Parameters>,
}

/// Scales of quantised tensors.
const SCALES: (f64, f64) = (1.0 / 64.0, 2.0);

/// Whether an operator quantises, or computes with quantised tensors.
fn quantises(def: &OpDef) -> bool {
    def.name.starts_with('Q') || ["Quantize", "quantize", "Integer"].iter().any(|w| def.name.contains(w))
}

/// The names of an operator's operands, lower case.
fn operand_names(def: &OpDef) -> Vec<String> {
    def.inputs.split(',').map(|n| n.trim().to_lowercase()).collect()
}

/// An operand before it has elements.
enum Planned {
    None,
    Existing(ValueId),
    /// Element type, extents, whether it is a constant.
    New(DType, Vec<usize>, bool),
    Content(Tensor),
}

/// Where an operand comes from.
enum Source {
    None,
    Existing(ValueId),
    New(Tensor, bool),
}

/// What bounds the calls of a graph.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    config: &'a Config,
    forbidden: &'a BTreeSet<String>,
}

impl Growing {
    fn new(name: &str) -> Growing {
        Growing {
            graph: Graph::new(name),
            values: Vec::new(),
            inputs: Vec::new(),
            prefix: String::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// The name of the next value: what it is, and a number.
    fn name(&self, kind: &str) -> String {
        format!("{}{kind}{}", self.prefix, self.graph.values.len())
    }

    /// One of the forms; if wanted, one with an operand that is there already, where there is such a form. Forms that never
    /// worked are drawn less.
    fn form_that_fits(&self, forms: &[Prepared], wanted: bool, choices: &mut dyn Choices) -> usize {
        if wanted {
            let present = self.present();
            let fits = |p: &Prepared| p.reads(&present) && !p.is_hopeless();
            let n = forms.iter().filter(|p| fits(p)).count();
            if n > 0 && !choices.chance(1, 8) {
                let nth = choices.below(n);
                if let Some((at, _)) = forms.iter().enumerate().filter(|(_, p)| fits(p)).nth(nth) {
                    return at;
                }
            }
        }
        let mut at = choices.below(forms.len());
        for _ in 0..FORM_DRAWS {
            if !forms[at].is_hopeless() || choices.chance(1, 16) {
                break;
            }
            at = choices.below(forms.len());
        }
        at
    }

    /// By element type, a bit for each rank of which there is a value.
    fn present(&self) -> Present {
        let mut present = [0; DType::ALL.len()];
        for t in self.values.iter().filter_map(|v| v.tensor().ok()) {
            present[t.dtype() as usize] |= 1 << t.rank().min(31);
        }
        present
    }

    fn try_form(
        &mut self,
        prepared: &mut Prepared,
        reuse_percent: usize,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let n = prepared.form.operands.len();
        // A scale of a quantised tensor is seldom what another call gave.
        let def = prepared.form.def;
        let names = if quantises(def) { operand_names(def) } else { Vec::new() };
        let own = |i: usize| names.get(i).is_some_and(|n| n.contains("scale"));
        let (mut state, mut existing) = (prepared.start.clone(), vec![None; n]);
        let first = choices.below(n.max(1));
        for i in (first..n).chain(0..first) {
            if let Some(Operand::Tensor { dtype, rank }) = prepared.form.operands[i]
                && !own(i)
                && existing[i].is_none()
                && choices.below(100) < reuse_percent
            {
                let fits: Vec<ValueId> = self.candidates(dtype, rank, bounds, choices);
                // One that contradicts what is settled is left, and a few others are tried.
                for _ in 0..fits.len().min(3) {
                    let v = *pick(choices, &fits);
                    let mut next = state.clone();
                    if prepared.problem.set(&mut next, self.extents_of(v, &prepared.extents[i])) {
                        (state, existing[i]) = (next, Some(v));
                        self.take_parameters(prepared, &names, i, v, &mut state, &mut existing);
                        break;
                    }
                }
            }
        }
        let state = prepared.settle(&state, choices).ok_or(Refused::Quietly)?;
        // What became of the same type as a value by other ways may be that value.
        for i in 0..n {
            if let (Some(Operand::Tensor { dtype, rank }), None) = (&prepared.form.operands[i], existing[i])
                && !own(i)
                && choices.below(100) < reuse_percent
            {
                let same =
                    |v: &ValueId| self.extents_of(*v, &prepared.extents[i]).all(|(p, d)| state.get(p) == Some(d));
                let fits: Vec<ValueId> = self.of_type(*dtype, *rank).filter(same).collect();
                existing[i] = (!fits.is_empty()).then(|| *pick(choices, &fits));
            }
        }
        self.try_numbers(prepared, &existing, &state, bounds, choices)
    }

    /// The scale and zero point of a quantised operand are those that it was quantised by, where the form takes them.
    fn take_parameters(
        &self,
        prepared: &Prepared,
        names: &[String],
        i: usize,
        v: ValueId,
        state: &mut State,
        existing: &mut [Option<ValueId>],
    ) {
        for j in 0..names.len().min(existing.len()) {
            let Some(p) = self.parameter_for(names, i, j, v) else { continue };
            let fits = match (&prepared.form.operands[j], self.values[p.index()].tensor()) {
                (Some(Operand::Tensor { dtype, rank }), Ok(t)) => t.dtype() == *dtype && t.rank() == *rank,
                _ => false,
            };
            let mut next = state.clone();
            if fits && prepared.problem.set(&mut next, self.extents_of(p, &prepared.extents[j])) {
                (*state, existing[j]) = (next, Some(p));
            }
        }
    }

    /// The values of a type.
    fn of_type(&self, dtype: DType, rank: usize) -> impl Iterator<Item = ValueId> + '_ {
        let fits =
            move |v: &ValueId| self.values[v.index()].tensor().is_ok_and(|t| t.dtype() == dtype && t.rank() == rank);
        (0..self.values.len() as u32).map(ValueId).filter(fits)
    }

    /// Values of a type that a new call may read: those that nothing reads first, as graphs should hang together.
    fn candidates(&self, dtype: DType, rank: usize, bounds: Bounds<'_>, choices: &mut dyn Choices) -> Vec<ValueId> {
        let all: Vec<ValueId> = self.of_type(dtype, rank).collect();
        if choices.below(100) < bounds.config.shared_percent {
            return all;
        }
        let read = |v: &ValueId| self.graph.nodes.iter().any(|n| n.uses().any(|u| u == *v));
        let unread: Vec<ValueId> = all.iter().copied().filter(|v| !read(v)).collect();
        if unread.is_empty() { all } else { unread }
    }

    /// Places with the extents of a value.
    fn extents_of<'a>(&'a self, v: ValueId, places: &'a [usize]) -> impl Iterator<Item = (usize, i64)> + 'a {
        let shape = self.values[v.index()].tensor().map_or(&[][..], Tensor::shape);
        places.iter().copied().zip(shape.iter().map(|&d| d as i64))
    }

    /// A call whose first result takes the place of an argument: what reads the argument is evaluated again.
    fn try_before(
        &mut self,
        prepared: &mut Prepared,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let wanted = prepared.result.as_tensor().filter(|_| prepared.form.n_outputs == 1).ok_or(Refused::Quietly)?;
        let (dtype, rank) = (wanted.dtype, wanted.shape.dims().ok_or(Refused::Quietly)?.len());
        let fits: Vec<usize> = (0..self.inputs.len())
            .filter(|&k| self.inputs[k].tensor().is_ok_and(|t| t.dtype() == dtype && t.rank() == rank))
            .collect();
        if fits.is_empty() {
            return Err(Refused::Quietly);
        }
        let k = *pick(choices, &fits);
        let inverse = prepared.inverse().ok_or(Refused::Quietly)?;
        let mut state = inverse.start.clone();
        if !inverse.problem.set(&mut state, self.extents_of(self.graph.inputs[k], &inverse.result)) {
            return Err(Refused::Quietly);
        }
        let found = inverse.problem.draw(&state, choices).ok_or(Refused::Quietly)?;
        let found = inverse.problem.assignment(&found);
        let state = prepared.problem.state_of(&found).ok_or(Refused::Quietly)?;
        let mut after = self.clone();
        let n = after.graph.nodes.len();
        let nothing = vec![None; prepared.form.operands.len()];
        after.try_numbers(prepared, &nothing, &state, bounds, choices)?;
        let v = after.graph.inputs[k];
        // The new call is the last; it goes to the front and makes the argument.
        let mut call = after.graph.nodes.remove(n);
        // The value that the call was given is the last one; the argument stands for it.
        let (Some(made), Some(_)) = (after.values.pop(), after.graph.values.pop()) else {
            return Err(Refused::Quietly);
        };
        if made.ty() != after.values[v.index()].ty() {
            return Err(Refused::Quietly);
        }
        if let Some(parameters) = after.parameters.remove(&ValueId(after.values.len() as u32)) {
            after.parameters.insert(v, parameters);
        }
        after.values[v.index()] = made;
        call.outputs[0] = Some(v);
        after.graph.nodes.insert(0, call);
        after.graph.inputs.remove(k);
        after.inputs.remove(k);
        after.graph.values[v.index()].name = format!("{}v{}", after.prefix, v.index());
        after.evaluate_again(v, bounds)?;
        *self = after;
        Ok(())
    }

    /// Values of the calls that depend on `changed`, made anew; refused where a type changes.
    fn evaluate_again(&mut self, changed: ValueId, bounds: Bounds<'_>) -> Result<(), Refused> {
        let env = Env::new(limits(bounds.config), 0);
        let mut new = vec![false; self.values.len()];
        new[changed.index()] = true;
        for node in &self.graph.nodes {
            if !node.uses().any(|v| new[v.index()]) {
                continue;
            }
            let operands: Vec<Option<&Value>> =
                node.inputs.iter().map(|v| v.map(|v| &self.values[v.index()])).collect();
            let captures: Vec<Value> = node.captures.iter().map(|v| self.values[v.index()].clone()).collect();
            let results = eval_call(&*node.op, &operands, &captures, node.outputs.len(), &env, &Reference)
                .map_err(|_| Refused::Quietly)?;
            if !bounds.config.wants(&*node.op, &operands, &results) {
                return Err(Refused::Quietly);
            }
            for (v, value) in node.outputs.iter().zip(results) {
                let Some(v) = *v else { continue };
                if value.ty() != self.values[v.index()].ty() {
                    return Err(Refused::Quietly);
                }
                self.values[v.index()] = value;
                new[v.index()] = true;
            }
        }
        Ok(())
    }

    /// The call with these numbers; its new operands get elements.
    fn try_numbers(
        &mut self,
        prepared: &mut Prepared,
        existing: &[Option<ValueId>],
        state: &State,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let problem = &prepared.problem;
        let number = |d: &Dim| match d.as_int() {
            Some(v) => Some(v),
            None => d.eval(&|s| problem.place(s).and_then(|p| state.get(p))),
        };
        let attrs = settled(&prepared.form.attrs, &number).ok_or(Refused::Quietly)?;
        let op = (prepared.form.def.parse)(&attrs).map_err(|_| Refused::Quietly)?;
        let domain = op.facts().domain;
        // Shapes, and the elements of contents.
        let mut operands = Vec::with_capacity(existing.len());
        for (i, operand) in prepared.form.operands.iter().enumerate() {
            operands.push(match (operand, existing[i]) {
                (None, _) => Planned::None,
                (_, Some(v)) => Planned::Existing(v),
                (Some(Operand::Tensor { dtype, .. }), None) => {
                    let size = |p: &usize| state.get(*p).and_then(|v| usize::try_from(v).ok());
                    let shape = prepared.extents[i].iter().map(size).collect::<Option<Vec<_>>>();
                    let shape = shape.ok_or(Refused::Quietly)?;
                    if shape.iter().product::<usize>() > bounds.config.max_elems {
                        return Err(Refused::Quietly);
                    }
                    Planned::New(*dtype, shape, choices.below(100) < bounds.config.constant_percent)
                }
                (Some(Operand::Content { dtype, elements, scalar }), None) => {
                    let numbers = elements.iter().map(|d| number(d).map(i128::from)).collect::<Option<Vec<_>>>();
                    let numbers = numbers.ok_or(Refused::Quietly)?;
                    let shape = if *scalar { Vec::new() } else { vec![numbers.len()] };
                    Planned::Content(Tensor::from_ints(*dtype, &shape, numbers))
                }
            });
        }
        // What the call's types alone forbid, no elements mend.
        let facts: Vec<Option<Fact>> = operands
            .iter()
            .map(|o| match o {
                Planned::None => None,
                Planned::Existing(v) => Some(self.fact(*v)),
                Planned::New(dtype, shape, _) => Some(Fact::of(Type::tensor(*dtype, shape))),
                Planned::Content(t) => Some(Fact::constant(t.clone())),
            })
            .collect();
        let n_outputs = prepared.form.n_outputs;
        let open = match infer_call(&*op, &facts, &[], n_outputs, &mut 0) {
            Ok(i) => i,
            Err(_) => return Err(Refused::Quietly),
        };
        // Now and then the rule does not see what its results' extents follow from.
        let told_late = self.told_late(&*op, &facts, &operands, n_outputs, choices);
        // Elements of constants are known to the rule, those of arguments are not.
        let constants = operands.iter().any(|o| matches!(o, Planned::New(_, _, true)));
        if open.deferred.is_some() && !constants {
            return Err(Refused::Quietly);
        }
        let most = bounds.config.max_elems;
        let large = |f: &Fact| {
            f.ty.concrete().is_some_and(|(_, shape)| {
                // An extent beside an empty one counts too.
                shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1))).is_none_or(|n| n > most)
            })
        };
        if open.outputs.iter().any(large) {
            return Err(Refused::Quietly);
        }
        if !bounds.forbidden.is_empty() {
            let types = operands.iter().map(|o| match o {
                Planned::None => None,
                Planned::Existing(v) => self.values[v.index()].tensor().ok().map(|t| (t.dtype(), t.shape())),
                Planned::New(dtype, shape, _) => Some((*dtype, &shape[..])),
                Planned::Content(t) => Some((t.dtype(), t.shape())),
            });
            if bounds.forbidden.contains(&kind_of(&*op, types, n_outputs)) {
                return Err(Refused::Quietly);
            }
        }
        // An index that fits every axis of the first tensor.
        let shape_of = |o: &Planned| match o {
            Planned::New(_, shape, _) => shape.iter().copied().filter(|&d| d > 0).min(),
            Planned::Existing(v) => {
                self.values[v.index()].tensor().ok().and_then(|t| t.shape().iter().copied().filter(|&d| d > 0).min())
            }
            _ => None,
        };
        let least = operands.first().and_then(shape_of).unwrap_or(1);
        let fresh = operands.iter().any(|o| matches!(o, Planned::New(..)));
        for class in prepared.classes(choices, bounds.config.special) {
            let domain = if class == Values::Index { (0.0, least as f64) } else { domain };
            let names = operand_names(op.def());
            let mut sources = Vec::with_capacity(operands.len());
            for (i, o) in operands.iter().enumerate() {
                sources.push(match o {
                    Planned::None => Source::None,
                    Planned::Existing(v) => Source::Existing(*v),
                    Planned::New(dtype, shape, constant) => {
                        let (class, domain) = match names.get(i) {
                            // A scale of 0 or less quantises nothing.
                            Some(name) if dtype.is_float() && quantises(op.def()) && name.contains("scale") => {
                                (Values::Domain, SCALES)
                            }
                            _ => (class, domain),
                        };
                        let t = values::tensor(*dtype, shape, class, domain, choices).map_err(|_| Refused::Quietly)?;
                        Source::New(t, *constant)
                    }
                    Planned::Content(t) => Source::New(t.clone(), Some(i) != told_late),
                });
            }
            let done = self.push(&op, sources, n_outputs, open.deferred.is_some(), bounds, choices);
            if fresh && !matches!(done, Err(Refused::Bug(..))) {
                prepared.tried(class, done.is_ok());
            }
            match done {
                Err(Refused::Quietly) if fresh => {}
                done => return done,
            }
        }
        Err(Refused::Quietly)
    }

    /// A content that may be an argument and no constant, seldom: the rule can do without its elements.
    fn told_late(
        &self,
        op: &dyn egret_ir::Op,
        facts: &[Option<Fact>],
        operands: &[Planned],
        n_outputs: usize,
        choices: &mut dyn Choices,
    ) -> Option<usize> {
        let at = operands.iter().position(|o| matches!(o, Planned::Content(_)))?;
        if !choices.chance(1, LATE) {
            return None;
        }
        let mut facts = facts.to_vec();
        let fact = facts[at].as_mut()?;
        fact.content = None;
        let open = infer_call(op, &facts, &[], n_outputs, &mut 0).ok()?;
        (open.deferred.is_none() && open.outputs.iter().all(|f| is_plain(&f.ty))).then_some(at)
    }

    fn fact(&self, v: ValueId) -> Fact {
        match self.graph.constant(v) {
            Some(t) => Fact { ty: self.graph.ty(v).clone(), content: Some(Content::Tensor(t.clone())) },
            None => Fact::of(self.graph.ty(v).clone()),
        }
    }

    /// Evaluates the call and, if all is well, adds it; with `by_constants` its rule is asked again for the elements of
    /// constants.
    fn push(
        &mut self,
        op: &Arc<dyn egret_ir::Op>,
        sources: Vec<Source>,
        n_outputs: usize,
        by_constants: bool,
        bounds: Bounds<'_>,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let new: Vec<Option<Value>> = sources
            .iter()
            .map(|s| match s {
                Source::None => None,
                Source::Existing(v) => Some(self.values[v.index()].clone()),
                Source::New(t, _) => Some(t.clone().into()),
            })
            .collect();
        if by_constants {
            let facts: Vec<Option<Fact>> = sources
                .iter()
                .map(|s| match s {
                    Source::None => None,
                    Source::Existing(v) => Some(self.fact(*v)),
                    Source::New(t, true) => Some(Fact::constant(t.clone())),
                    Source::New(t, false) => Some(Fact::of(Type::tensor(t.dtype(), t.shape()))),
                })
                .collect();
            if !infer_call(&**op, &facts, &[], n_outputs, &mut 0).is_ok_and(|i| i.deferred.is_none()) {
                return Err(Refused::Quietly);
            }
        }
        let operands: Vec<Option<&Value>> = new.iter().map(Option::as_ref).collect();
        let env = Env::new(limits(bounds.config), 0);
        let evaluated = || eval_call(&**op, &operands, &[], n_outputs, &env, &Reference);
        let results = catch_unwind(AssertUnwindSafe(evaluated))
            .unwrap_or_else(|_| Err(egret_ir::Error::bug("the reference panics")));
        let (graph_before, n_inputs) = (self.graph.values.len(), self.graph.inputs.len());
        let results = match results {
            Ok(r)
                if r.iter()
                    .all(|v| is_plain(&v.ty()) && v.tensor().is_ok_and(|t| t.len() <= bounds.config.max_elems)) =>
            {
                r
            }
            Ok(_) => return Err(Refused::Quietly),
            Err(e) if e.kind() == ErrorKind::Bug => {
                self.add(op, sources, &[]);
                let refused =
                    Refused::Bug(Box::new(self.graph.clone()), self.inputs.clone(), format!("{}: {e}", op.def().name));
                self.graph.nodes.pop();
                self.graph.values.truncate(graph_before);
                self.graph.inputs.truncate(n_inputs);
                self.values.truncate(graph_before);
                self.inputs.truncate(n_inputs);
                return Err(refused);
            }
            Err(_) => return Err(Refused::Quietly),
        };
        if !bounds.config.wants(&**op, &operands, &results) {
            return Err(Refused::Quietly);
        }
        // Outside of the domain alone nothing is shown; other elements are drawn, or other operands read, mostly.
        let (lo, hi) = op.facts().domain;
        if (lo.is_finite() || hi.is_finite())
            && results.iter().any(is_nan_alone)
            && !operands.iter().flatten().any(|v| is_nan_alone(v))
            && !choices.chance(1, 8)
        {
            return Err(Refused::Quietly);
        }
        self.add(op, sources, &results);
        if quantises(op.def()) {
            self.note_parameters();
        }
        Ok(())
    }

    fn add(&mut self, op: &Arc<dyn egret_ir::Op>, sources: Vec<Source>, results: &[Value]) {
        let mut inputs = Vec::new();
        for source in sources {
            inputs.push(match source {
                Source::None => None,
                Source::Existing(v) => Some(v),
                Source::New(t, constant) => {
                    let name = self.name(if constant { "c" } else { "x" });
                    let v = if constant {
                        self.graph.add_constant(name, t.clone())
                    } else {
                        self.inputs.push(t.clone().into());
                        self.graph.add_input(name, Type::tensor(t.dtype(), t.shape()))
                    };
                    self.values.push(t.into());
                    Some(v)
                }
            });
        }
        let mut outputs = Vec::new();
        for value in results {
            outputs.push(Some(self.graph.add_value(self.name("v"), value.ty())));
            self.values.push(value.clone());
        }
        let name = format!("{}n{}", self.prefix, self.graph.nodes.len());
        self.graph.nodes.push(Node { op: Arc::clone(op), name, inputs, captures: Vec::new(), outputs });
    }

    /// Every value that nothing reads becomes a result, now and then one that something reads too.
    fn finish(mut self, choices: &mut dyn Choices) -> Case {
        let mut read = vec![false; self.graph.values.len()];
        self.graph.nodes.iter().flat_map(Node::uses).for_each(|v| read[v.index()] = true);
        // Sequences are read by calls that take tensors out of them.
        let tensor = |v: &ValueId| is_plain(&self.values[v.index()].ty());
        let defs: Vec<ValueId> = self.graph.nodes.iter().flat_map(Node::defs).filter(tensor).collect();
        self.graph.outputs = defs.into_iter().filter(|v| !read[v.index()] || choices.chance(1, 12)).collect();
        let outputs = self.graph.outputs.iter().map(|v| self.values[v.index()].clone()).collect();
        Case { graph: self.graph, inputs: self.inputs, outputs, others: Vec::new() }
    }
}

/// Whether it has elements and all of them are NaN.
fn is_nan_alone(v: &Value) -> bool {
    let Ok(t) = v.tensor() else { return false };
    if !t.dtype().is_float() || t.is_empty() {
        return false;
    }
    let nan = |t: &Tensor| t.floats().is_ok_and(|x| x.iter().all(|x| x.is_nan()));
    // The first element decides most.
    t.take(&[], vec![t.position(&vec![0; t.rank()])]).is_ok_and(|first| nan(&first)) && nan(t)
}

/// Attributes with numbers for symbols.
fn settled(attrs: &Attrs, number: &dyn Fn(&Dim) -> Option<i64>) -> Option<Attrs> {
    let one = |a: &Attr| -> Option<Attr> {
        Some(match a {
            Attr::Int(d) => Attr::Int(Dim::int(number(d)?)),
            Attr::Ints(ds) => Attr::Ints(ds.iter().map(|d| number(d).map(Dim::int)).collect::<Option<_>>()?),
            other => other.clone(),
        })
    };
    attrs.iter().map(|(k, a)| Some((k.clone(), one(a)?))).collect::<Option<BTreeMap<_, _>>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::{FromBytes, Seeded};
    use egret_ir::eval::evaluate;
    use egret_ir::verify::verify;

    #[test]
    fn graphs_are_valid_and_evaluate_to_their_outputs() {
        let mut generator = Generator::new(Config::default());
        for i in 0..60 {
            let case = generator.generate(&mut Seeded::new(7, i)).unwrap();
            assert!(verify(&case.graph).is_empty(), "{}", egret_ir::text::print(&case.graph));
            let got = evaluate(&case.graph, case.inputs.clone(), &Env::default()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{:?}", case.outputs));
        }
        assert!(generator.bugs.is_empty(), "{:?}", generator.bugs.iter().map(|b| &b.2).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_gives_the_same_graph() {
        let text = || {
            let case = Generator::new(Config::default()).generate(&mut Seeded::new(1, 2)).unwrap();
            egret_ir::text::print(&case.graph)
        };
        assert_eq!(text(), text());
    }

    #[test]
    fn bytes_drive_the_same_generator() {
        let mut generator = Generator::new(Config { only: vec!["Add".into(), "Relu".into()], ..Config::default() });
        let case = generator.generate(&mut FromBytes::new(&[1, 7, 33, 200, 12, 9, 0, 255, 3])).unwrap();
        assert_eq!(case.graph.nodes.len(), 5);
    }
}
