//! The printer. It writes lines that remember what they show, so that the verifier can put its findings under them.

use super::cursor::{name, quote};
use super::sidecar::{Sidecar, TensorRef, content_hash};
use super::tensor::{content, float_text};
use crate::attr::{Attr, Attrs};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;
use crate::types::Type;
use std::collections::HashMap;

/// Without a side file, tensors of more elements are shown by their hash alone.
const INLINE_ELEMS: usize = 1024;

/// The graph as text. Tensors above 1024 elements are shown by their hash alone (such a text is for reading);
/// [`print_full`] and [`print_with`] keep all.
pub fn print(graph: &Graph) -> String {
    join(lines(graph, &mut Store::Hash))
}

/// The graph as text with every element of every tensor in it.
pub fn print_full(graph: &Graph) -> String {
    join(lines(graph, &mut Store::Inline))
}

/// The graph as text, its large tensors in a file beside it.
pub fn print_with(graph: &Graph, sidecar: &mut Sidecar) -> String {
    join(lines(graph, &mut Store::File(sidecar)))
}

/// Several graphs, an empty line between them.
pub fn print_all<'a>(graphs: impl IntoIterator<Item = &'a Graph>) -> String {
    graphs.into_iter().map(print).collect::<Vec<_>>().join("\n")
}

fn join(lines: Vec<Line>) -> String {
    lines.into_iter().map(|l| l.text + "\n").collect()
}

/// Where large tensors go.
pub(crate) enum Store<'a> {
    Hash,
    Inline,
    File(&'a mut Sidecar),
}

/// From the main graph to a body: at each level the node and the attribute that holds the graph.
pub(crate) type Path = Vec<(usize, String)>;

/// What a line shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Anchor {
    Header,
    Constant(ValueId),
    Node(usize),
    Return,
    None,
}

/// One line of text.
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) path: Path,
    pub(crate) anchor: Anchor,
}

/// The lines of a graph.
pub(crate) fn lines(graph: &Graph, store: &mut Store<'_>) -> Vec<Line> {
    let mut p = Printer { lines: Vec::new(), line: String::new(), anchor: Anchor::None, path: Vec::new(), store };
    p.graph(graph);
    p.end_line();
    p.lines
}

/// Values in order of definition, those that several things define as often.
pub(super) fn definitions(graph: &Graph) -> Vec<ValueId> {
    let is_constant = |v: &ValueId| {
        graph.values[v.index()].constant.is_some() && !graph.inputs.contains(v) && !graph.captures.contains(v)
    };
    let constants = (0..graph.values.len() as u32).map(ValueId).filter(is_constant);
    let results = graph.nodes.iter().flat_map(|n| n.defs());
    graph.inputs.iter().chain(&graph.captures).copied().chain(constants).chain(results).collect()
}

/// How each value is written where it is used, and where it is defined.
struct Names {
    used: HashMap<ValueId, String>,
    defined: HashMap<ValueId, String>,
}

impl Names {
    fn of(graph: &Graph) -> Names {
        let mut taken: HashMap<&str, ValueId> = HashMap::new();
        let mut names = Names { used: HashMap::new(), defined: HashMap::new() };
        let mut numbered = 0usize;
        let uses = graph.nodes.iter().flat_map(|n| n.uses()).chain(graph.outputs.iter().copied());
        for v in definitions(graph).into_iter().chain(uses) {
            if names.used.contains_key(&v) {
                continue;
            }
            let Some(info) = graph.values.get(v.index()) else {
                names.used.insert(v, format!("%out_of_range.{}", v.0));
                continue;
            };
            let own = &info.name;
            if !own.is_empty() && *taken.entry(own).or_insert(v) == v {
                names.used.insert(v, format!("%{}", name(own)));
                continue;
            }
            let number = format!("%{numbered}");
            numbered += 1;
            if !own.is_empty() {
                names.defined.insert(v, format!("{number}@{}", quote(own)));
            }
            names.used.insert(v, number);
        }
        names
    }

    fn of_use(&self, v: ValueId) -> &str {
        self.used.get(&v).map_or("%undefined", |s| s)
    }

    fn of_definition(&self, v: ValueId) -> &str {
        self.defined.get(&v).map_or(self.of_use(v), |s| s.as_str())
    }
}

struct Printer<'a, 'b> {
    lines: Vec<Line>,
    line: String,
    anchor: Anchor,
    path: Path,
    store: &'a mut Store<'b>,
}

impl Printer<'_, '_> {
    fn add(&mut self, text: &str) {
        self.line.push_str(text);
    }

    fn end_line(&mut self) {
        let text = std::mem::take(&mut self.line);
        self.lines.push(Line { text, path: self.path.clone(), anchor: self.anchor });
        self.anchor = Anchor::None;
    }

    fn begin_line(&mut self, indent: usize, anchor: Anchor) {
        self.end_line();
        self.anchor = anchor;
        (0..indent).for_each(|_| self.line.push_str("  "));
    }

    fn graph(&mut self, graph: &Graph) {
        if self.path.is_empty() {
            self.anchor = Anchor::Header;
        }
        self.graph_at(graph, 0);
    }

    fn graph_at(&mut self, graph: &Graph, indent: usize) {
        let names = Names::of(graph);
        let unknown = Type::Unknown;
        let ty = |v: ValueId| graph.values.get(v.index()).map_or(&unknown, |v| &v.ty);
        self.add(&format!("graph @{}(", name(&graph.name)));
        for (i, &v) in graph.inputs.iter().enumerate() {
            self.add(&format!("{}{}: {}", comma(i), names.of_definition(v), ty(v)));
            if let Some(t) = graph.values.get(v.index()).and_then(|v| v.constant.as_ref()) {
                self.add(" = ");
                self.tensor(t);
            }
        }
        self.add(")");
        if !graph.captures.is_empty() {
            self.add(" [");
            for (i, &v) in graph.captures.iter().enumerate() {
                self.add(&format!("{}{}: {}", comma(i), names.of_definition(v), ty(v)));
            }
            self.add("]");
        }
        let results: Vec<String> = graph.outputs.iter().map(|&v| ty(v).to_string()).collect();
        match results.as_slice() {
            [one] => self.add(&format!(" -> {one} {{")),
            all => self.add(&format!(" -> ({}) {{", all.join(", "))),
        }
        let in_signature = |v: ValueId| graph.inputs.contains(&v) || graph.captures.contains(&v);
        for (i, info) in graph.values.iter().enumerate() {
            let v = ValueId(i as u32);
            if let Some(t) = info.constant.as_ref().filter(|_| !in_signature(v)) {
                self.begin_line(indent + 1, Anchor::Constant(v));
                self.add(&format!("{} = constant ", names.of_definition(v)));
                self.tensor(t);
            }
        }
        for n in 0..graph.nodes.len() {
            self.node(graph, n, &names, indent + 1);
        }
        self.begin_line(indent + 1, Anchor::Return);
        self.add("return");
        for (i, &v) in graph.outputs.iter().enumerate() {
            self.add(&format!("{} {}", if i > 0 { "," } else { "" }, names.of_use(v)));
        }
        self.begin_line(indent, Anchor::None);
        self.add("}");
    }

    fn node(&mut self, graph: &Graph, n: usize, names: &Names, indent: usize) {
        let node = &graph.nodes[n];
        self.begin_line(indent, Anchor::Node(n));
        for (i, v) in node.outputs.iter().enumerate() {
            self.add(&format!("{}{}", comma(i), v.map_or("_", |v| names.of_definition(v))));
        }
        if !node.outputs.is_empty() {
            self.add(" = ");
        }
        self.add(&node.op.def().mnemonic());
        for (i, v) in node.inputs.iter().enumerate() {
            self.add(&format!("{} {}", if i > 0 { "," } else { "" }, v.map_or("_", |v| names.of_use(v))));
        }
        if !node.captures.is_empty() {
            let captures: Vec<&str> = node.captures.iter().map(|&v| names.of_use(v)).collect();
            self.add(&format!(" [{}]", captures.join(", ")));
        }
        self.attrs(&node.op.attrs(), n, indent);
        for (i, v) in node.defs().enumerate() {
            let ty = graph.values.get(v.index()).map_or_else(|| "?".into(), |v| v.ty.to_string());
            self.add(&format!("{}{ty}", if i > 0 { ", " } else { " : " }));
        }
        if !node.name.is_empty() {
            self.add(&format!(" @{}", quote(&node.name)));
        }
    }

    /// On one line, or one a line where bodies are among them.
    fn attrs(&mut self, attrs: &Attrs, n: usize, indent: usize) {
        if attrs.is_empty() {
            return;
        }
        let bodies = attrs.values().any(|a| matches!(a, Attr::Graph(_)));
        self.add(" {");
        for (i, (key, attr)) in attrs.iter().enumerate() {
            if bodies {
                self.add(if i > 0 { "," } else { "" });
            } else {
                self.add(comma(i));
            }
            match attr {
                Attr::Graph(body) => {
                    self.begin_line(indent + 1, Anchor::Header);
                    self.add(&format!("{} = ", name(key)));
                    // The line that ends when the body begins belongs to the node outside; its own lines to the body.
                    self.path.push((n, key.clone()));
                    self.graph_at(body, indent + 1);
                    self.end_body();
                }
                attr => {
                    if bodies {
                        self.begin_line(indent + 1, Anchor::None);
                    }
                    self.add(&format!("{} = ", name(key)));
                    self.attr(attr);
                }
            }
        }
        if bodies {
            self.begin_line(indent, Anchor::None);
        }
        self.add("}");
    }

    /// The closing line of a body stays open for what follows it and belongs to the outer graph.
    fn end_body(&mut self) {
        self.path.pop();
    }

    fn attr(&mut self, attr: &Attr) {
        let floats = |v: &f32| float_attr(*v);
        match attr {
            Attr::Int(v) => self.add(&int_attr(v)),
            Attr::Float(v) => self.add(&float_attr(*v)),
            Attr::String(s) => self.add(&quote(s)),
            Attr::Tensor(t) => self.tensor(t),
            Attr::Graph(g) => self.graph_at(g, 0),
            Attr::DType(t) => self.add(t.name()),
            Attr::Type(t) => self.add(&format!("type {t}")),
            Attr::Ints(v) => self.add(&bracketed("", v.iter().map(int_attr).collect())),
            Attr::Floats(v) => self.add(&bracketed("floats ", v.iter().map(floats).collect())),
            Attr::Strings(v) => self.add(&bracketed("strings ", v.iter().map(|s| quote(s)).collect())),
            Attr::Tensors(v) => {
                self.add(if v.is_empty() { "tensors [" } else { "[" });
                for (i, t) in v.iter().enumerate() {
                    self.add(comma(i));
                    self.tensor(t);
                }
                self.add("]");
            }
        }
    }

    fn tensor(&mut self, t: &Tensor) {
        self.add(&format!("{} ", Type::tensor(t.dtype(), t.shape())));
        let outside = match &mut *self.store {
            _ if t.dtype() == DType::String => None,
            Store::Inline => None,
            Store::Hash if t.len() > INLINE_ELEMS => {
                let hash = content_hash(t.bytes());
                Some(TensorRef { file: String::new(), offset: 0, hash, dtype: t.dtype(), shape: t.shape().to_vec() })
            }
            Store::Hash => None,
            Store::File(file) => (t.len() > file.inline_elems).then(|| file.add(t)),
        };
        match outside {
            Some(r) => self.add(&format!("extern({}, {}, {:#018x})", quote(&r.file), r.offset, r.hash)),
            None => content(&mut self.line, t),
        }
    }
}

fn comma(i: usize) -> &'static str {
    if i > 0 { ", " } else { "" }
}

/// A list; an empty one of what are not integers says what it lacks.
fn bracketed(kind: &str, items: Vec<String>) -> String {
    format!("{}[{}]", if items.is_empty() { kind } else { "" }, items.join(", "))
}

fn int_attr(v: &Dim) -> String {
    match v.as_int() {
        Some(v) => v.to_string(),
        None => format!("({v})"),
    }
}

/// As in tensors; raw bits are marked, since an attribute's text alone says its kind.
fn float_attr(v: f32) -> String {
    let text = float_text(DType::F32, u64::from(v.to_bits()));
    if text.starts_with("0x") { format!("float({text})") } else { text }
}
