//! Graphs grown operator by operator: valid by construction, every operator equally often.
//!
//! A graph is kept concrete: each call is inserted with numbers for its extents and attributes (the solver sees one
//! call, as in NeuRI, ESEC/FSE 2023), and evaluated by the reference at once, so that data-dependent rules (an index in
//! range, a shape that depends on elements) hold too and the expected results come with the graph.

use crate::choices::Seeded;
use crate::choices::{Choices, pick};
use crate::form::{EXTENT, Form, Operand, extents, forms_of, is_plain, seed_of};
use crate::solve::{Assignment, Wish, drawn, solve};
use crate::values::{self, Values};
use egret_ir::eval::{Env, Limits, Reference, eval_call};
use egret_ir::infer::infer_call;
use egret_ir::rule::Content;
use egret_ir::{
    Attr, Attrs, Cond, DType, Dim, ErrorKind, Fact, Graph, OpDef, Tensor, Type, Value, ValueId, graph::Node, ops,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Attempts to insert one operator before another one is taken.
const ATTEMPTS: usize = 8;
/// Assignments kept of a form whose conditions draws do not settle.
const POOL: u64 = 6;

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
    /// Of 100 new operands, how many are constants and not arguments.
    pub constant_percent: usize,
    /// Of 100 calls, how many are inserted before an argument, whose producer they become.
    pub backward_percent: usize,
    /// Whether infinities, NaN and overflow may occur.
    pub special: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            nodes: 5,
            only: Vec::new(),
            max_elems: 4096,
            reuse_percent: 75,
            constant_percent: 25,
            backward_percent: 20,
            special: true,
        }
    }
}

/// A graph with arguments and what the reference says of every value.
#[derive(Clone, Debug)]
pub struct Case {
    /// The graph; all types are numbers.
    pub graph: Graph,
    /// Its arguments.
    pub inputs: Vec<Value>,
    /// The results that the reference gave.
    pub outputs: Vec<Value>,
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
    /// Type of the first result.
    result: Type,
    /// Assignments for all symbols, from a solver; made when draws fail for the first time.
    pool: Option<Vec<Assignment>>,
}

impl Prepared {
    fn new(form: Form) -> Option<Prepared> {
        let op = form.op()?;
        if !op.facts().pure {
            return None;
        }
        let facts: Vec<Option<Fact>> = (0..form.operands.len()).map(|i| form.open_fact(i)).collect();
        let open = infer_call(&*op, &facts, &[], form.n_outputs, &mut 0).ok()?;
        let mut wishes = form.wishes();
        for (i, operand) in form.operands.iter().enumerate() {
            if let Some(Operand::Tensor { rank, .. }) = operand {
                wishes.extend(extents(i, *rank).iter().flat_map(Dim::symbols).map(|s| (s, EXTENT)));
            }
        }
        // Symbols that the rule made itself (extents that depend on data) are not ours to choose.
        let known = |c: &Cond| c.symbols().iter().all(|s| wishes.contains_key(s));
        let conds = open.assumptions.into_iter().map(|a| a.cond).filter(known).collect();
        let result = open.outputs.first()?.ty.clone();
        Some(Prepared { form, conds, wishes, result, pool: None })
    }

    /// Numbers for the symbols; those of operands that are there already are `given`.
    fn assign(&mut self, given: &Assignment, more: &[Cond], choices: &mut dyn Choices) -> Option<Assignment> {
        let with = |s: &str| given.get(s).map(|&v| Dim::int(v));
        let mut conds: Vec<Cond> = Vec::with_capacity(self.conds.len() + more.len());
        for c in self.conds.iter().chain(more) {
            let c = if given.is_empty() { c.clone() } else { c.substitute(&with) };
            match c.as_bool() {
                Some(true) => {}
                Some(false) => return None,
                None => conds.push(c),
            }
        }
        let mut found = if given.is_empty() {
            drawn(&conds, &self.wishes, choices)
        } else {
            let open = self.wishes.iter().filter(|(s, _)| !given.contains_key(*s));
            drawn(&conds, &open.map(|(s, w)| (Arc::clone(s), w.clone())).collect(), choices)
        };
        if found.is_none() && given.is_empty() && more.is_empty() {
            let (form, conds, wishes) = (&self.form, &self.conds, &self.wishes);
            let pool = self.pool.get_or_insert_with(|| {
                (0..POOL)
                    .filter_map(|i| Some(solve(conds, wishes, &mut Seeded::new(seed_of(form.def), i))?.0))
                    .collect()
            });
            found = (!pool.is_empty()).then(|| pick(choices, pool).clone());
        }
        let mut found = found?;
        found.extend(given.iter().map(|(s, v)| (Arc::clone(s), *v)));
        Some(found)
    }
}

/// Grows graphs; remembers how often each operator was used.
pub struct Generator {
    config: Config,
    menu: Vec<Entry>,
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
        Generator { config, menu, bugs: Vec::new() }
    }

    /// Goes on with a generator's counts.
    pub fn resume(&mut self, uses: &BTreeMap<String, usize>) {
        for entry in &mut self.menu {
            entry.used = uses.get(&full_name(entry.def)).copied().unwrap_or(entry.used);
        }
    }

    /// How often each operator was used; operators without a form are left out.
    pub fn uses(&self) -> impl Iterator<Item = (&'static OpDef, usize)> + '_ {
        self.menu.iter().filter(|e| e.forms.as_ref().is_none_or(|f| !f.is_empty())).map(|e| (e.def, e.used))
    }

    /// As if no operator had been used yet: the next graph follows from its choices alone.
    pub fn forget_uses(&mut self) {
        for entry in &mut self.menu {
            (entry.used, entry.failed) = (0, 0);
        }
    }

    /// One graph. `None` where no operator of the menu could be used.
    pub fn generate(&mut self, choices: &mut dyn Choices) -> Option<Case> {
        let mut growing = Growing { graph: Graph::new("fuzz"), values: Vec::new(), inputs: Vec::new() };
        let mut misses = 0;
        while growing.graph.nodes.len() < self.config.nodes && misses < 40 * self.config.nodes {
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
        Some(growing.finish(choices))
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
            entry.forms = Some(forms_of(entry.def).into_iter().filter_map(Prepared::new).collect());
        }
        Some(at)
    }

    fn insert(&mut self, at: usize, growing: &mut Growing, choices: &mut dyn Choices) -> bool {
        let Some(forms) = self.menu[at].forms.as_mut().filter(|f| !f.is_empty()) else { return false };
        let backward = !growing.graph.inputs.is_empty() && choices.below(100) < self.config.backward_percent;
        for attempt in 0..ATTEMPTS {
            let k = choices.below(forms.len());
            let form = &mut forms[k];
            // Later attempts ask less of what is there.
            let early = attempt < ATTEMPTS / 2;
            let reuse = if early { self.config.reuse_percent } else { 0 };
            let tried = match (backward && early).then(|| growing.try_before(form, &self.config, choices)) {
                Some(Err(Refused::Quietly)) | None => growing.try_form(form, reuse, &self.config, choices),
                Some(done) => done,
            };
            match tried {
                Ok(()) => return true,
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
}

/// Where an operand comes from.
enum Source {
    None,
    Existing(ValueId),
    New(Tensor, bool),
}

impl Growing {
    fn try_form(
        &mut self,
        prepared: &mut Prepared,
        reuse_percent: usize,
        config: &Config,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let (mut given, mut existing) = (Assignment::new(), Vec::new());
        for (i, operand) in prepared.form.operands.iter().enumerate() {
            let found = match operand {
                Some(Operand::Tensor { dtype, rank }) if choices.below(100) < reuse_percent => {
                    self.one_of_type(*dtype, *rank, choices)
                }
                _ => None,
            };
            if let Some(Ok(t)) = found.map(|v| self.values[v.index()].tensor()) {
                for (symbol, &d) in extents(i, t.rank()).iter().flat_map(Dim::symbols).zip(t.shape()) {
                    given.insert(symbol, d as i64);
                }
            }
            existing.push(found);
        }
        let found = prepared.assign(&given, &[], choices).ok_or(Refused::Quietly)?;
        self.try_assignment(&prepared.form, &existing, &found, config, choices)
    }

    fn one_of_type(&self, dtype: DType, rank: usize, choices: &mut dyn Choices) -> Option<ValueId> {
        let fits: Vec<ValueId> = (0..self.values.len() as u32)
            .map(ValueId)
            .filter(|v| self.values[v.index()].tensor().is_ok_and(|t| t.dtype() == dtype && t.rank() == rank))
            .collect();
        (!fits.is_empty()).then(|| *pick(choices, &fits))
    }

    /// A call whose first result takes the place of an argument: what reads the argument is evaluated again.
    fn try_before(
        &mut self,
        prepared: &mut Prepared,
        config: &Config,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let wanted = prepared.result.as_tensor().filter(|_| prepared.form.n_outputs == 1).ok_or(Refused::Quietly)?;
        let dims = wanted.shape.dims().ok_or(Refused::Quietly)?.to_vec();
        let fits: Vec<usize> = (0..self.inputs.len())
            .filter(|&k| self.inputs[k].tensor().is_ok_and(|t| t.dtype() == wanted.dtype && t.rank() == dims.len()))
            .collect();
        if fits.is_empty() {
            return Err(Refused::Quietly);
        }
        let k = *pick(choices, &fits);
        let Ok(shape) = self.inputs[k].tensor().map(|t| t.shape().to_vec()) else { return Err(Refused::Quietly) };
        let equal: Vec<Cond> = dims.iter().zip(&shape).map(|(d, &n)| Cond::eq(d, &Dim::int(n as i64))).collect();
        if equal.iter().any(|c| !c.symbols().iter().all(|s| prepared.wishes.contains_key(s))) {
            return Err(Refused::Quietly);
        }
        let found = prepared.assign(&Assignment::new(), &equal, choices).ok_or(Refused::Quietly)?;
        let mut after = self.clone();
        let n = after.graph.nodes.len();
        let nothing = vec![None; prepared.form.operands.len()];
        after.try_assignment(&prepared.form, &nothing, &found, config, choices)?;
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
        after.values[v.index()] = made;
        call.outputs[0] = Some(v);
        after.graph.nodes.insert(0, call);
        after.graph.inputs.remove(k);
        after.inputs.remove(k);
        after.graph.values[v.index()].name = format!("v{}", v.index());
        after.evaluate_again(1, config)?;
        *self = after;
        Ok(())
    }

    /// Values of the calls from `first` on, made anew; refused where a type changes.
    fn evaluate_again(&mut self, first: usize, config: &Config) -> Result<(), Refused> {
        let env = Env::new(limits(config), 0);
        for node in &self.graph.nodes[first..] {
            let operands: Vec<Option<&Value>> =
                node.inputs.iter().map(|v| v.map(|v| &self.values[v.index()])).collect();
            let results = eval_call(&*node.op, &operands, &[], node.outputs.len(), &env, &Reference)
                .map_err(|_| Refused::Quietly)?;
            for (v, value) in node.outputs.iter().zip(results) {
                let Some(v) = *v else { continue };
                if value.ty() != self.values[v.index()].ty() {
                    return Err(Refused::Quietly);
                }
                self.values[v.index()] = value;
            }
        }
        Ok(())
    }

    /// The call with these numbers; its new operands get elements.
    fn try_assignment(
        &mut self,
        form: &Form,
        existing: &[Option<ValueId>],
        found: &Assignment,
        config: &Config,
        choices: &mut dyn Choices,
    ) -> Result<(), Refused> {
        let number = |d: &Dim| d.eval(&|s| found.get(s).copied());
        let attrs = settled(&form.attrs, &number).ok_or(Refused::Quietly)?;
        let op = (form.def.parse)(&attrs).map_err(|_| Refused::Quietly)?;
        let domain = op.facts().domain;
        let class = Values::draw(choices, config.special);
        for class in [class, Values::Domain, Values::Tame] {
            let mut sources = Vec::new();
            for (i, operand) in form.operands.iter().enumerate() {
                let source = match (operand, existing[i]) {
                    (None, _) => Source::None,
                    (_, Some(v)) => Source::Existing(v),
                    (Some(Operand::Tensor { dtype, rank }), None) => {
                        let size = |d: &Dim| number(d).and_then(|v| usize::try_from(v).ok());
                        let shape = extents(i, *rank).iter().map(size).collect::<Option<Vec<_>>>();
                        let shape = shape.ok_or(Refused::Quietly)?;
                        if shape.iter().product::<usize>() > config.max_elems {
                            return Err(Refused::Quietly);
                        }
                        let t = values::tensor(*dtype, &shape, class, domain, choices).map_err(|_| Refused::Quietly)?;
                        Source::New(t, choices.below(100) < config.constant_percent)
                    }
                    (Some(Operand::Content { dtype, elements, scalar }), None) => {
                        let numbers = elements.iter().map(|d| number(d).map(i128::from)).collect::<Option<Vec<_>>>();
                        let numbers = numbers.ok_or(Refused::Quietly)?;
                        let shape = if *scalar { Vec::new() } else { vec![numbers.len()] };
                        Source::New(Tensor::from_ints(*dtype, &shape, numbers), true)
                    }
                };
                sources.push(source);
            }
            match self.push(&op, sources, form.n_outputs, config) {
                Ok(()) => return Ok(()),
                Err(refused @ Refused::Bug(..)) => return Err(refused),
                Err(Refused::Quietly) => {}
            }
        }
        Err(Refused::Quietly)
    }

    fn fact(&self, v: ValueId) -> Fact {
        match self.graph.constant(v) {
            Some(t) => Fact { ty: self.graph.ty(v).clone(), content: Some(Content::Tensor(t.clone())) },
            None => Fact::of(self.graph.ty(v).clone()),
        }
    }

    /// Evaluates the call and, if all is well, adds it.
    fn push(
        &mut self,
        op: &Arc<dyn egret_ir::Op>,
        sources: Vec<Source>,
        n_outputs: usize,
        config: &Config,
    ) -> Result<(), Refused> {
        let new: Vec<Option<Value>> = sources
            .iter()
            .map(|s| match s {
                Source::None => None,
                Source::Existing(v) => Some(self.values[v.index()].clone()),
                Source::New(t, _) => Some(t.clone().into()),
            })
            .collect();
        // What is no constant must satisfy the rule by its type alone, as other compilers see it.
        let facts: Vec<Option<Fact>> = sources
            .iter()
            .map(|s| match s {
                Source::None => None,
                Source::Existing(v) => Some(self.fact(*v)),
                Source::New(t, true) => Some(Fact::constant(t.clone())),
                Source::New(t, false) => Some(Fact::of(Type::tensor(t.dtype(), t.shape()))),
            })
            .collect();
        match infer_call(&**op, &facts, &[], n_outputs, &mut 0) {
            Ok(i) if i.deferred.is_none() && i.assumptions.iter().all(|a| a.cond.as_bool() != Some(false)) => {}
            _ => return Err(Refused::Quietly),
        }
        let operands: Vec<Option<&Value>> = new.iter().map(Option::as_ref).collect();
        let results = eval_call(&**op, &operands, &[], n_outputs, &Env::new(limits(config), 0), &Reference);
        let (graph_before, n_inputs) = (self.graph.values.len(), self.graph.inputs.len());
        let results = match results {
            Ok(r) if r.iter().all(|v| is_plain(&v.ty()) && v.tensor().is_ok_and(|t| t.len() <= config.max_elems)) => r,
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
        self.add(op, sources, &results);
        Ok(())
    }

    fn add(&mut self, op: &Arc<dyn egret_ir::Op>, sources: Vec<Source>, results: &[Value]) {
        let mut inputs = Vec::new();
        for source in sources {
            inputs.push(match source {
                Source::None => None,
                Source::Existing(v) => Some(v),
                Source::New(t, constant) => {
                    let name = format!("{}{}", if constant { "c" } else { "x" }, self.graph.values.len());
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
            outputs.push(Some(self.graph.add_value(format!("v{}", self.graph.values.len()), value.ty())));
            self.values.push(value.clone());
        }
        let name = format!("n{}", self.graph.nodes.len());
        self.graph.nodes.push(Node { op: Arc::clone(op), name, inputs, captures: Vec::new(), outputs });
    }

    /// Every value that nothing reads becomes a result, now and then one that something reads too.
    fn finish(mut self, choices: &mut dyn Choices) -> Case {
        let mut read = vec![false; self.graph.values.len()];
        self.graph.nodes.iter().flat_map(Node::uses).for_each(|v| read[v.index()] = true);
        let defs: Vec<ValueId> = self.graph.nodes.iter().flat_map(Node::defs).collect();
        self.graph.outputs = defs.into_iter().filter(|v| !read[v.index()] || choices.chance(1, 12)).collect();
        let outputs = self.graph.outputs.iter().map(|v| self.values[v.index()].clone()).collect();
        Case { graph: self.graph, inputs: self.inputs, outputs }
    }
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
