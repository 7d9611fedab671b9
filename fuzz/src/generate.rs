//! Graphs grown operator by operator: valid by construction, every operator equally often.
//!
//! A graph is kept concrete: each call is inserted with numbers for its extents and attributes (the solver sees one
//! call, as in NeuRI, ESEC/FSE 2023), and evaluated by the reference at once, so that data-dependent rules (an index in
//! range, a shape that depends on elements) hold too and the expected results come with the graph.

mod blocks;
mod control;
mod domains;
mod dynamic;
mod growing;
mod prepared;
mod quantised;
mod rules;
mod shapes;

use crate::choices::{Choices, pick};
use crate::form::{Draw, Types, forms_of};
use crate::known::{Known, Seen};
use crate::probe::all_calls;
use crate::stated::is_stated;
use crate::unroll::{has_control_flow, unrolled};
use control::Place;
pub(crate) use control::open_bodies_of;
use egret_ir::eval::Limits;
use egret_ir::{Graph, Op, OpDef, Value, ops};
use growing::Growing;
pub(crate) use growing::operand_names;
use prepared::Prepared;
pub use rules::Rules;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Attempts to insert one operator before another one is taken.
const ATTEMPTS: usize = 8;

/// Graphs of a campaign with the same forms. To find forms takes far longer than to make a graph of them.
pub const GRAPHS_OF_FORMS: u64 = 4096;

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
    /// Element types and ranks of calls.
    pub types: Types,
    /// Inferred rules: operators that they speak of are called by them, others by the registry's.
    pub rules: Rules,
    /// Of 100 calls, how many have bodies (`If`, `Loop`, `Scan`, `SequenceMap`).
    pub control_percent: usize,
    /// Of 100 calls, how many become a quantised chain: an operator between dequantised operands and a quantised result, an
    /// integer product behind dynamic quantisation, integer operators that share scales.
    pub quantised_percent: usize,
    /// Of 100 calls, how many become arithmetic on the extents of a value, and what reads its result.
    pub shapes_percent: usize,
    /// Of 100 calls, how many become a block as networks have them: convolution, normalisation, activation, sum.
    pub blocks_percent: usize,
    /// Of 100 graphs, how many get symbols for extents of arguments, and a run with another shape, where they take one.
    pub dynamic_percent: usize,
    /// Of 100 graphs in which a call makes infinities or NaN of finite numbers, how many get elements for which it does not,
    /// where such are found.
    pub settled_percent: usize,
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
            types: Types::default(),
            rules: Rules::default(),
            control_percent: 0,
            dynamic_percent: 0,
            quantised_percent: 0,
            shapes_percent: 0,
            blocks_percent: 0,
            settled_percent: 50,
            special: true,
            stated: false,
            known: Known::default(),
        }
    }
}

impl Config {
    /// Graphs of a campaign: some of everything.
    pub fn varied() -> Config {
        Config {
            types: Types::all(),
            control_percent: 5,
            dynamic_percent: 10,
            quantised_percent: 5,
            shapes_percent: 5,
            blocks_percent: 3,
            ..Config::default()
        }
    }

    /// Whether there are calls that may not be made.
    fn is_choosy(&self) -> bool {
        self.stated || !self.known.causes().is_empty()
    }

    /// Whether all calls of a case may be made, those of bodies too; they are evaluated only where some may not.
    pub(crate) fn wants_all(&self, case: &Case) -> bool {
        let each = |run: &Case| all_calls(run, |op, operands, results| self.wants(op, operands, results));
        let inside = |run: &Case| !has_control_flow(&run.graph) || unrolled(run).is_none_or(|(flat, _)| each(&flat));
        !self.is_choosy() || case.runs().iter().all(|run| each(run) && inside(run))
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
    /// The bytes of a model file that means the same, where it is such a file that a runtime is to load.
    pub file: Option<Arc<Vec<u8>>>,
    /// The least opset of ONNX's own domain in which it is written, where that is more than its calls need: what calls beside
    /// them needed.
    pub opset: Option<i64>,
}

/// Gives a name to each value and call that has none, as files need them.
pub(crate) fn name_all(graph: &mut Graph) {
    for (k, value) in graph.values.iter_mut().enumerate().filter(|(_, v)| v.name.is_empty()) {
        value.name = format!("v{k}");
    }
    for (k, node) in graph.nodes.iter_mut().enumerate().filter(|(_, n)| n.name.is_empty()) {
        node.name = format!("n{k}");
    }
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

/// Grows graphs; remembers how often each operator was used.
pub struct Generator {
    config: Config,
    menu: Vec<Entry>,
    /// Where the forms are from.
    draw: Draw,
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
            .filter(|d| d.is_exported() && d.arity().1 != Some(0) && !d.attrs.iter().any(|a| a.wanted == "a graph"))
            .map(|def| Entry { def, forms: None, used: 0, failed: 0 })
            .collect();
        Generator { config, menu, draw: Draw::default(), forbidden: BTreeSet::new(), bugs: Vec::new() }
    }

    /// Goes on with a generator's counts.
    pub fn resume(&mut self, uses: &BTreeMap<String, usize>) {
        for entry in &mut self.menu {
            entry.used = uses.get(&full_name(entry.def)).copied().unwrap_or(entry.used);
        }
    }

    /// Before graph `i` of a campaign: the forms of operators are those of its seed, and others every [`GRAPHS_OF_FORMS`] graphs.
    pub fn begin(&mut self, seed: u64, i: u64) {
        let draw = Draw { seed, turn: i / GRAPHS_OF_FORMS };
        if draw != self.draw {
            self.draw = draw;
            // Who has none will have none.
            self.menu
                .iter_mut()
                .filter(|e| e.forms.as_ref().is_some_and(|f| !f.is_empty()))
                .for_each(|e| e.forms = None);
        }
    }

    /// Calls of these [kinds](crate::probe::kind_of) are made no more.
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
            let mut drawn = |percent: usize| percent > 0 && choices.below(100) < percent;
            let inserted = if drawn(self.config.control_percent) {
                let room = self.config.nodes - growing.graph.count_nodes();
                self.insert_control(&mut growing, Place { level: 0, room }, choices)
            } else if drawn(self.config.quantised_percent) {
                self.insert_quantised(&mut growing, choices)
            } else if drawn(self.config.shapes_percent) {
                self.insert_shapes(&mut growing, choices)
            } else if drawn(self.config.blocks_percent) {
                self.insert_block(&mut growing, choices)
            } else {
                let at = self.least_used(choices)?;
                let inserted = self.insert(at, &mut growing, choices);
                let entry = &mut self.menu[at];
                *if inserted { &mut entry.used } else { &mut entry.failed } += 1;
                inserted
            };
            misses += usize::from(!inserted);
        }
        if growing.graph.nodes.is_empty() {
            return None;
        }
        let mut case = growing.finish(choices);
        if choices.below(100) < self.config.settled_percent
            && let Some(settled) = domains::settled(&case, &self.config, choices)
        {
            case = settled;
        }
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
            let (def, types, rules) = (entry.def, &self.config.types, &self.config.rules);
            let found = |draw| {
                let forms = rules.forms_of(def, types, draw).unwrap_or_else(|| forms_of(def, types, draw));
                forms.into_iter().filter_map(Prepared::new).collect::<Vec<_>>()
            };
            let forms = found(self.draw);
            // Another draw may find what this one does not.
            let other = forms.is_empty() && self.draw != Draw::default();
            entry.forms = Some(if other { found(Draw::default()) } else { forms });
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

impl Generator {
    /// Tries to change the graph in one of `attempts` ways; a way that fails leaves it as it is.
    fn attempted(
        &mut self,
        growing: &mut Growing,
        attempts: usize,
        mut way: impl FnMut(&mut Generator, &mut Growing) -> Result<(), Refused>,
    ) -> bool {
        for _ in 0..attempts {
            let mut after = growing.clone();
            match way(self, &mut after) {
                Ok(()) => {
                    *growing = after;
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

/// What bounds the calls of a graph.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    config: &'a Config,
    forbidden: &'a BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::{FromBytes, Seeded};
    use egret_ir::eval::{Env, evaluate};
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
