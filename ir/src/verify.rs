//! Does a graph hold its invariants? Every finding is collected, and [`report`] prints them inside the IR text, under
//! the lines that they speak of.
//!
//! - ids are in range; each value is defined once and before its uses (single static assignment, topological order)
//! - a constant has the type of its tensor; extents are sizes
//! - a body's captures match those of its node; a main graph has none
//! - the rule of every node accepts its operands, and what it says of the results agrees with the types in the graph
//!
//! Types agree where they can be equal for some sizes of the symbols: a graph may know more than a rule can infer, and a
//! value without a type is not wrong. Rules of a graph are asked only where its structure and its bodies are sound, lest one
//! mistake is reported again by every rule that meets it.

use crate::attr::Attr;
use crate::dim::Cond;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::infer::{constant_fact, infer_call};
use crate::rule::Fact;
use crate::text::{Anchor, Parsed, Path, Store, lines};
use crate::types::{Shape, Type};

/// What a problem speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Arguments and captures.
    Signature,
    /// A constant.
    Constant(ValueId),
    /// A node, by its position.
    Node(usize),
    /// The results of the graph.
    Results,
}

/// One broken invariant.
#[derive(Clone, Debug)]
pub struct Problem {
    /// From the main graph to the body that it is in: at each level the node, and the attribute that holds the graph.
    pub path: Vec<(usize, String)>,
    /// Where in that graph.
    pub place: Place,
    /// What is wrong.
    pub error: Error,
}

/// Generated symbols of rules asked here start above all that graphs contain, lest they meet by chance.
const FIRST_FRESH: u64 = 1 << 40;

/// All problems of a graph and its bodies, in the order of the text.
pub fn verify(graph: &Graph) -> Vec<Problem> {
    let mut v = Verifier { problems: Vec::new(), path: Path::new() };
    if !graph.captures.is_empty() {
        v.add(Place::Signature, Error::invalid("a main graph has no captures"));
    }
    v.graph(graph);
    v.problems
}

/// Fails with the [`report`] where there are problems.
///
/// # Errors
/// When an invariant does not hold.
pub fn expect_valid(graph: &Graph) -> Result<()> {
    match verify(graph) {
        problems if problems.is_empty() => Ok(()),
        problems => {
            let first = &problems[0].error;
            let all = report(graph, &problems);
            Err(Error::invalid(format!("the graph \"{}\" is not valid: {first}", graph.name)).at(all))
        }
    }
}

/// The graph as text with each problem under its line.
pub fn report(graph: &Graph, problems: &[Problem]) -> String {
    let lines = lines(graph, &mut Store::Hash);
    let mut under: Vec<Vec<&Problem>> = vec![Vec::new(); lines.len() + 1];
    for p in problems {
        let anchor = p.anchor();
        let line = lines.iter().position(|l| l.path == p.path && l.anchor == anchor).unwrap_or(lines.len());
        under[line].push(p);
    }
    let mut out = String::new();
    for (i, problems) in under.iter().enumerate() {
        let text = lines.get(i).map_or("", |l| &l.text);
        if i < lines.len() {
            out.push_str(text);
            out.push('\n');
        }
        let indent = text.len() - text.trim_start().len();
        for p in problems {
            for (k, line) in p.error.to_string().lines().enumerate() {
                out.push_str(&format!("{}{} {}\n", " ".repeat(indent), if k == 0 { "^" } else { " " }, line.trim()));
            }
        }
    }
    out
}

impl Problem {
    fn anchor(&self) -> Anchor {
        match self.place {
            Place::Signature => Anchor::Header,
            Place::Constant(v) => Anchor::Constant(v),
            Place::Node(n) => Anchor::Node(n),
            Place::Results => Anchor::Return,
        }
    }

    /// The line, from 1, of the text that graph `index` of `parsed` was read from.
    pub fn line_in(&self, parsed: &Parsed, index: usize) -> Option<usize> {
        parsed.line_of(index, &self.path, self.anchor())
    }
}

struct Verifier {
    problems: Vec<Problem>,
    path: Path,
}

impl Verifier {
    fn add(&mut self, place: Place, error: Error) {
        self.problems.push(Problem { path: self.path.clone(), place, error });
    }

    /// Checks structure, then bodies and rules node by node; whether the structure is sound, bodies included.
    fn graph(&mut self, g: &Graph) -> bool {
        let before = self.problems.len();
        self.signature(g);
        let mut defined = self.leaves(g);
        let makers = first_makers(g);
        let mut sound: Vec<bool> = Vec::with_capacity(g.nodes.len());
        for (n, node) in g.nodes.iter().enumerate() {
            let so_far = self.problems.len();
            for v in node.uses() {
                if let Some(error) = use_of(g, &defined, &makers, v) {
                    self.add(Place::Node(n), error);
                }
            }
            for v in node.defs() {
                match defined.get_mut(v.index()) {
                    None => self.add(Place::Node(n), out_of_range(g, v)),
                    Some(d) if *d => self.add(Place::Node(n), twice(g, v)),
                    Some(d) => *d = true,
                }
                self.sizes(g, v, Place::Node(n));
            }
            let bodies = self.bodies(g, n, node);
            sound.push(bodies && self.problems.len() == so_far);
        }
        for &v in &g.outputs {
            if let Some(error) = use_of(g, &defined, &makers, v) {
                self.add(Place::Results, error);
            }
        }
        let structure = self.problems.len() == before;
        if structure {
            self.types(g);
        }
        structure && sound.iter().all(|&s| s)
    }

    fn signature(&mut self, g: &Graph) {
        for &v in g.inputs.iter().chain(&g.captures) {
            self.sizes(g, v, Place::Signature);
        }
        for &v in &g.inputs {
            if let Some(info) = g.values.get(v.index())
                && let Some(t) = &info.constant
                && !may_agree(&info.ty, &Type::tensor(t.dtype(), t.shape()))
            {
                let error = format!("{} is {}, its default {}{:?}", named(g, v), info.ty, t.dtype(), t.shape());
                self.add(Place::Signature, Error::invalid(error));
            }
        }
    }

    /// Values that no node makes: arguments, captures, constants. Says which values are defined by them.
    fn leaves(&mut self, g: &Graph) -> Vec<bool> {
        let mut defined = vec![false; g.values.len()];
        for &v in g.inputs.iter().chain(&g.captures) {
            match defined.get_mut(v.index()) {
                None => self.add(Place::Signature, out_of_range(g, v)),
                Some(d) if *d => self.add(Place::Signature, twice(g, v)),
                Some(d) => *d = true,
            }
        }
        for &v in &g.captures {
            if g.values.get(v.index()).is_some_and(|v| v.constant.is_some()) {
                let error = Error::invalid(format!("{} is captured and a constant", named(g, v)));
                self.add(Place::Signature, error);
            }
        }
        for (i, info) in g.values.iter().enumerate() {
            let (v, Some(t)) = (ValueId(i as u32), &info.constant) else { continue };
            if defined[i] {
                continue;
            }
            defined[i] = true;
            let ty = Type::tensor(t.dtype(), t.shape());
            if info.ty != ty {
                self.add(Place::Constant(v), Error::invalid(format!("a constant {ty} has the type {}", info.ty)));
            }
        }
        defined
    }

    fn sizes(&mut self, g: &Graph, v: ValueId, place: Place) {
        let Some(Type::Tensor(t)) = g.values.get(v.index()).map(|v| &v.ty) else { return };
        let bad = |d: &&crate::dim::Dim| d.is_undefined() || d.as_int().is_some_and(|d| d < 0);
        if let Some(d) = t.shape.dims().and_then(|dims| dims.iter().find(bad)) {
            self.add(place, Error::invalid(format!("{} has the extent {d}", named(g, v))));
        }
    }

    fn bodies(&mut self, g: &Graph, n: usize, node: &Node) -> bool {
        let mut sound = true;
        let bodies = !node.op.bodies().is_empty();
        if !bodies && !node.captures.is_empty() {
            self.add(Place::Node(n), Error::invalid("a node without bodies has no captures"));
        }
        if !bodies {
            return true;
        }
        for (key, attr) in node.op.attrs() {
            let Attr::Graph(body) = attr else { continue };
            if body.captures.len() != node.captures.len() {
                let (has, given) = (body.captures.len(), node.captures.len());
                let error = Error::invalid(format!("`{key}` has {has} captures, the node gives {given}"));
                self.add(Place::Node(n), error);
                sound = false;
            }
            for (&inner, &outer) in body.captures.iter().zip(&node.captures) {
                let types = (body.values.get(inner.index()), g.values.get(outer.index()));
                if let (Some(inner), Some(outer)) = types
                    && !may_agree(&inner.ty, &outer.ty)
                {
                    let error = format!("`{key}` captures a value as {}, it is {}", inner.ty, outer.ty);
                    self.add(Place::Node(n), Error::invalid(error));
                }
            }
            self.path.push((n, key));
            sound &= self.graph(&body);
            self.path.pop();
        }
        sound
    }

    /// Asks every rule; the structure is sound.
    fn types(&mut self, g: &Graph) {
        let mut facts: Vec<Fact> = g.values.iter().map(|v| Fact::of(v.ty.clone())).collect();
        for (fact, constant) in facts.iter_mut().zip(g.constants()) {
            if let Some(t) = constant {
                *fact = constant_fact(t);
            }
        }
        let mut fresh = FIRST_FRESH;
        for (n, node) in g.nodes.iter().enumerate() {
            let inputs: Vec<Option<Fact>> = node.inputs.iter().map(|v| v.map(|v| facts[v.index()].clone())).collect();
            let captures: Vec<Fact> = node.captures.iter().map(|v| facts[v.index()].clone()).collect();
            let said = match infer_call(&*node.op, &inputs, &captures, node.outputs.len(), &mut fresh) {
                Ok(said) => said.outputs,
                Err(e) => {
                    self.add(Place::Node(n), e.at(g.describe_with_types(n)));
                    continue;
                }
            };
            for (v, said) in node.outputs.iter().zip(said) {
                let Some(v) = v else { continue };
                let have = g.ty(*v);
                if !may_agree(have, &said.ty) {
                    let error =
                        format!("{} is {have}, the rule of {} says {}", named(g, *v), node.op.def().name, said.ty);
                    self.add(Place::Node(n), Error::invalid(error));
                    continue;
                }
                facts[v.index()].content = said.content;
                if *have == Type::Unknown {
                    facts[v.index()].ty = said.ty;
                }
            }
        }
    }
}

/// Whether two types can be one for some sizes of the symbols.
pub fn may_agree(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Unknown, _) | (_, Type::Unknown) => true,
        (Type::Tensor(a), Type::Tensor(b)) => {
            a.dtype == b.dtype
                && match (&a.shape, &b.shape) {
                    (Shape::Ranked(x), Shape::Ranked(y)) => {
                        x.len() == y.len() && x.iter().zip(y).all(|(x, y)| Cond::eq(x, y).as_bool() != Some(false))
                    }
                    _ => true,
                }
        }
        (Type::Sequence(a), Type::Sequence(b)) | (Type::Optional(a), Type::Optional(b)) => may_agree(a, b),
        (Type::Map(j, a), Type::Map(k, b)) => j == k && may_agree(a, b),
        _ => false,
    }
}

/// The first node that makes each value.
fn first_makers(g: &Graph) -> Vec<Option<usize>> {
    let mut out = vec![None; g.values.len()];
    for (n, node) in g.nodes.iter().enumerate() {
        for v in node.defs() {
            if let Some(slot) = out.get_mut(v.index()) {
                slot.get_or_insert(n);
            }
        }
    }
    out
}

fn use_of(g: &Graph, defined: &[bool], makers: &[Option<usize>], v: ValueId) -> Option<Error> {
    match defined.get(v.index()) {
        Some(true) => None,
        None => Some(out_of_range(g, v)),
        Some(false) => Some(match makers[v.index()] {
            Some(n) => Error::invalid(format!("{} is used before it is made by {}", named(g, v), g_describe(g, n))),
            None => Error::invalid(format!("{} is used and nothing defines it", named(g, v))),
        }),
    }
}

fn out_of_range(g: &Graph, v: ValueId) -> Error {
    Error::invalid(format!("value {} is out of range, there are {}", v.0, g.values.len()))
}

fn twice(g: &Graph, v: ValueId) -> Error {
    Error::invalid(format!("{} is defined twice", named(g, v)))
}

fn named(g: &Graph, v: ValueId) -> String {
    match g.values.get(v.index()).map(|v| v.name.as_str()) {
        Some(name) if !name.is_empty() => format!("\"{name}\""),
        _ => format!("value {}", v.0),
    }
}

/// As [`Graph::describe`], for a graph whose ids may be out of range.
fn g_describe(g: &Graph, n: usize) -> String {
    let node = &g.nodes[n];
    match node.name.as_str() {
        "" => format!("node {n} ({})", node.op.def().name),
        name => format!("node \"{name}\" ({})", node.op.def().name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse;
    use crate::{DType, GraphBuilder, attrs};

    fn one(text: &str) -> Graph {
        parse(text).unwrap().remove(0)
    }

    fn messages(g: &Graph) -> Vec<String> {
        verify(g).iter().map(|p| p.error.message().to_owned()).collect()
    }

    fn chain() -> Graph {
        let mut b = GraphBuilder::new("chain");
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let y = b.op("Relu", attrs! {}, &[x]).unwrap();
        let z = b.op("Relu", attrs! {}, &[y]).unwrap();
        b.finish(&[z])
    }

    #[test]
    fn a_built_graph_is_valid() {
        assert!(verify(&chain()).is_empty());
        expect_valid(&chain()).unwrap();
    }

    #[test]
    fn order_double_definitions_and_ids_are_found_all_at_once() {
        let mut g = chain();
        g.nodes.swap(0, 1);
        assert_eq!(messages(&g), ["value 1 is used before it is made by node 1 (Relu)"]);
        let mut g = chain();
        g.nodes[1].outputs = vec![Some(ValueId(1))];
        g.nodes[0].inputs = vec![Some(ValueId(9))];
        let all = [
            "value 9 is out of range, there are 3",
            "value 1 is defined twice",
            "value 2 is used and nothing defines it",
        ];
        assert_eq!(messages(&g), all);
        assert_eq!(report(&g, &verify(&g)).matches('^').count(), 3);
    }

    #[test]
    fn types_that_cannot_agree_with_the_rule_are_reported_under_their_line() {
        let g = one("graph @f(%x: f32[n, 2]) -> f32[n, 3] {\n %0 = relu %x : f32[n, 3]\n return %0\n}");
        let text = report(&g, &verify(&g));
        let want = "graph @f(%x: f32[n, 2]) -> f32[n, 3] {\n  %0 = relu %x : f32[n, 3]\n  ^ value 1 is f32[n, 3], the rule \
                    of Relu says f32[n, 2]\n  return %0\n}\n";
        assert_eq!(text, want);
    }

    #[test]
    fn violated_constraints_keep_their_label() {
        let g = one("graph @f(%x: f32[2, 3]) -> f32[2, 3] {\n %0 = concat %x {axis = 2} : f32[2, 3]\n return %0\n}");
        assert_eq!(verify(&g)[0].error.label(), Some("Concat.C3"));
        assert!(expect_valid(&g).unwrap_err().to_string().contains("^ Concat.C3"));
    }

    #[test]
    fn main_graphs_have_no_captures_and_extents_are_sizes() {
        let g = one("graph @f(%x: f32[-1]) [%c: f32[2]] -> f32[2] {\n return %c\n}");
        assert_eq!(messages(&g), ["a main graph has no captures", "\"x\" has the extent -1"]);
    }

    #[test]
    fn a_constant_has_the_type_of_its_tensor() {
        let mut g = one("graph @f() -> f32[2] {\n %c = constant f32[2] [1.0, 2.0]\n return %c\n}");
        assert!(verify(&g).is_empty());
        g.values[0].ty = Type::tensor(DType::F32, &[3]);
        assert_eq!(messages(&g), ["a constant f32[2] has the type f32[3]"]);
    }
}
