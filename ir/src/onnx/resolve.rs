//! From protobuf graphs to graphs without names: the first half of the importer.
//!
//! What ONNX says with names is settled here, without knowing any operator: values get numbers, sub-graphs find the
//! outer values that they capture, nodes are sorted, model-local functions are inlined with their attribute references
//! replaced, and every node learns its domain and opset version. `import` then builds the typed graph.
//!
//! A function's body joins the nodes of its caller; its inner values are named `caller/inner`. A graph passed to a
//! function as an attribute keeps the scope of the caller, as a closure does.
//!
//! Everything that a hostile file could multiply is counted: see [`Limits`]. Source: onnx/docs/IR.md.

use super::Limits;
use super::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    TensorProto, ValueInfoProto,
};
use crate::error::{Error, Result};
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The number of a value, unique in the model.
pub(super) type Id = usize;

/// Opset versions by domain; the default domain is "".
pub(super) type Opsets = BTreeMap<String, i64>;

/// The model's graph and the names of all values by number.
pub(super) struct Resolved<'a> {
    pub(super) graph: Rc<RawGraph<'a>>,
    pub(super) names: Vec<String>,
}

/// A graph whose nodes are sorted and whose values are numbers.
pub(super) struct RawGraph<'a> {
    pub(super) proto: &'a GraphProto,
    pub(super) inputs: Vec<(Id, &'a ValueInfoProto)>,
    /// Initialisers; those of an input are its default value.
    pub(super) constants: Vec<(Id, Constant<'a>)>,
    pub(super) nodes: Vec<RawNode<'a>>,
    pub(super) outputs: Vec<(Id, &'a ValueInfoProto)>,
    /// Values of outer graphs that this graph or one inside it uses, in order of their numbers.
    pub(super) captures: Vec<Id>,
    /// Nodes of this graph and of those inside it.
    n_nodes: usize,
}

/// The data of an initialiser.
#[derive(Clone, Copy)]
pub(super) enum Constant<'a> {
    Dense(&'a TensorProto),
    Sparse(&'a SparseTensorProto),
}

/// A node whose values are numbers; `None` is an optional input or output that is left out.
pub(super) struct RawNode<'a> {
    pub(super) proto: &'a NodeProto,
    pub(super) domain: &'a str,
    pub(super) version: i64,
    pub(super) inputs: Vec<Option<Id>>,
    pub(super) outputs: Vec<Option<Id>>,
    pub(super) attrs: Vec<(&'a str, RawAttr<'a>)>,
    /// The functions that it was inlined from, outermost first, each followed by `/`.
    pub(super) path: Rc<str>,
}

/// An attribute, graphs resolved.
#[derive(Clone)]
pub(super) enum RawAttr<'a> {
    Plain(&'a AttributeProto),
    Graph(Rc<RawGraph<'a>>),
    Graphs(Vec<Rc<RawGraph<'a>>>),
}

/// The standard domain under its one name: `ai.onnx` is "".
pub(super) fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Opset versions that a model or function imports.
///
/// # Errors
/// When a domain is imported in two versions.
pub(super) fn opsets(imports: &[OperatorSetIdProto]) -> Result<Opsets> {
    let mut out = Opsets::new();
    for import in imports {
        let (domain, version) = (plain_domain(import.domain()), import.version());
        match out.insert(domain.to_owned(), version) {
            Some(other) if other != version => {
                return Err(Error::invalid(format!("opset `{domain}` is imported in versions {other} and {version}")));
            }
            _ => {}
        }
    }
    Ok(out)
}

/// How a node is called in messages.
pub(super) fn describe(node: &NodeProto, path: &str) -> String {
    let (name, op) = (node.name(), node.op_type());
    match (name.is_empty(), node.output.iter().find(|o| !o.is_empty())) {
        (false, _) => format!("node `{path}{name}` ({op})"),
        (true, Some(output)) => format!("node of `{path}{output}` ({op})"),
        (true, None) => format!("unnamed node ({op})"),
    }
}

/// Resolves a model's graph.
///
/// # Errors
/// When names are undefined, defined twice or circular, a function is called wrongly, or a limit is reached.
pub(super) fn resolve<'a>(model: &'a ModelProto, opsets: &Opsets, limits: &Limits) -> Result<Resolved<'a>> {
    let graph = model.graph.as_ref().ok_or_else(|| Error::invalid("the model has no graph"))?;
    let mut functions = HashMap::new();
    for function in &model.functions {
        let key = (plain_domain(function.domain()), function.name(), function.overload());
        if functions.insert(key, function).is_some() {
            return Err(Error::invalid(format!("function `{}` of domain `{}` is defined twice", key.1, key.0)));
        }
    }
    let mut resolver = Resolver { functions, limits, names: Vec::new(), sizes: HashMap::new(), n_nodes: 0, work: 0 };
    let context = Context { opsets, attrs: None, path: "".into(), depth: 0, bodies: 0 };
    let graph = resolver.graph(graph, None, &context)?;
    Ok(Resolved { graph, names: resolver.names })
}

/// The values that a name can mean: those of this body, then those of the graphs around it.
struct Scope<'s> {
    values: HashMap<&'s str, Option<Id>>,
    outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    fn find(&self, name: &str) -> Option<Option<Id>> {
        self.values.get(name).copied().or_else(|| self.outer?.find(name))
    }
}

type AttrEnv<'a> = HashMap<&'a str, RawAttr<'a>>;

/// What holds for all nodes of a body.
struct Context<'c, 'a> {
    opsets: &'c Opsets,
    /// Inside a function: what its attribute references mean.
    attrs: Option<&'c AttrEnv<'a>>,
    path: Rc<str>,
    /// Functions and graphs around it.
    depth: usize,
    /// Sub-graphs around it.
    bodies: usize,
}

struct Resolver<'a, 'l> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>,
    limits: &'l Limits,
    names: Vec<String>,
    /// Of functions: nodes after inlining, at least.
    sizes: HashMap<*const FunctionProto, usize>,
    n_nodes: usize,
    work: usize,
}

/// Names of inlined values and paths are cut to this length, so that nested functions with long names stay linear.
const MAX_INLINED_NAME_BYTES: usize = 256;

impl<'a> Resolver<'a, '_> {
    fn define(&mut self, name: &str, path: &str) -> Id {
        let mut full = format!("{path}{name}");
        if !path.is_empty() {
            cut(&mut full);
        }
        self.names.push(full);
        self.names.len() - 1
    }

    /// Counts a node and the names around it.
    fn count(&mut self, node: &NodeProto) -> Result<()> {
        self.n_nodes += 1;
        self.count_work(node.input.len() + node.output.len() + node.attribute.len())?;
        self.limits.check_time()?;
        self.check_nodes(0)
    }

    /// Whether so many nodes more may follow.
    fn check_nodes(&self, more: usize) -> Result<()> {
        if self.n_nodes.saturating_add(more) > self.limits.max_nodes {
            return Err(Error::limit(format!(
                "more than {} nodes after functions are inlined (`max_nodes` of the import limits)",
                self.limits.max_nodes
            )));
        }
        Ok(())
    }

    /// Nodes that a call of `function` brings at least, so that a tower of functions that each call the one below twice is
    /// refused before it is built. Functions in a circle count nothing: they end at the limit of depth.
    fn size_of(&mut self, function: &'a FunctionProto, depth: usize) -> usize {
        let key = std::ptr::from_ref(function);
        if let Some(&size) = self.sizes.get(&key) {
            return size;
        }
        self.sizes.insert(key, 0);
        let mut size = 0usize;
        for node in &function.node {
            let called = self.functions.get(&(plain_domain(node.domain()), node.op_type(), node.overload())).copied();
            let inside = match called {
                Some(called) if depth < self.limits.max_depth => self.size_of(called, depth + 1),
                _ => 0,
            };
            size = size.saturating_add(inside).saturating_add(1);
        }
        self.sizes.insert(key, size);
        size
    }

    /// Counts names, 64 a node on average: a short function with very many inputs must not be called without end.
    fn count_work(&mut self, names: usize) -> Result<()> {
        self.work += names;
        if self.work / 64 > self.limits.max_nodes {
            return Err(Error::limit(format!("more than {} names", self.limits.max_nodes.saturating_mul(64))));
        }
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize> {
        if depth >= self.limits.max_depth {
            return Err(Error::limit(format!("graphs and functions nest more than {} deep", self.limits.max_depth)));
        }
        Ok(depth + 1)
    }

    fn graph(
        &mut self,
        proto: &'a GraphProto,
        outer: Option<&Scope<'_>>,
        cx: &Context<'_, 'a>,
    ) -> Result<Rc<RawGraph<'a>>> {
        self.graph_here(proto, outer, cx).map_err(|e| match (outer, proto.name()) {
            (Some(_), name) => e.at(format!("sub-graph `{name}`")),
            (None, _) => e,
        })
    }

    fn graph_here(
        &mut self,
        proto: &'a GraphProto,
        outer: Option<&Scope<'_>>,
        cx: &Context<'_, 'a>,
    ) -> Result<Rc<RawGraph<'a>>> {
        let bodies = cx.bodies + usize::from(outer.is_some());
        if bodies > self.limits.max_body_depth {
            return Err(Error::limit(format!("sub-graphs nest more than {} deep", self.limits.max_body_depth)));
        }
        let cx = Context { path: cx.path.clone(), depth: self.deeper(cx.depth)?, bodies, ..*cx };
        let (first_id, nodes_before) = (self.names.len(), self.n_nodes);
        self.count_work(proto.input.len() + proto.output.len() + proto.initializer.len())?;
        let mut scope = Scope { values: HashMap::new(), outer };
        let mut inputs = Vec::with_capacity(proto.input.len());
        for info in &proto.input {
            let id = self.define(info.name(), &cx.path);
            if info.name().is_empty() || scope.values.insert(info.name(), Some(id)).is_some() {
                return Err(twice_or_unnamed(info.name(), "graph input"));
            }
            inputs.push((id, info));
        }
        let dense = proto.initializer.iter().map(|t| (t.name(), Constant::Dense(t)));
        let sparse =
            proto.sparse_initializer.iter().map(|t| (t.values.as_ref().map_or("", |v| v.name()), Constant::Sparse(t)));
        let mut constants = Vec::with_capacity(proto.initializer.len());
        let mut initialised = BTreeSet::new();
        for (name, constant) in dense.chain(sparse) {
            let id = match scope.values.get(name) {
                Some(Some(id)) => *id,
                _ => self.define(name, &cx.path),
            };
            if name.is_empty() || !initialised.insert(id) {
                return Err(twice_or_unnamed(name, "initialiser"));
            }
            scope.values.insert(name, Some(id));
            constants.push((id, constant));
        }
        let nodes = self.body(&proto.node, &mut scope, &cx)?;
        let mut outputs = Vec::with_capacity(proto.output.len());
        for info in &proto.output {
            match scope.find(info.name()) {
                Some(Some(id)) => outputs.push((id, info)),
                _ => return Err(Error::invalid(format!("graph output `{}` is made by no node", info.name()))),
            }
        }
        let mut captures = BTreeSet::new();
        let used = nodes.iter().flat_map(|n| n.inputs.iter().flatten().copied());
        captures.extend(used.chain(outputs.iter().map(|(id, _)| *id)).filter(|&id| id < first_id));
        for (_, attr) in nodes.iter().flat_map(|n| &n.attrs) {
            for inner in attr.graphs() {
                captures.extend(inner.captures.iter().copied().filter(|&id| id < first_id));
            }
        }
        let captures = captures.into_iter().collect();
        let n_nodes = self.n_nodes - nodes_before;
        Ok(Rc::new(RawGraph { proto, inputs, constants, nodes, outputs, captures, n_nodes }))
    }

    fn body<'s>(
        &mut self,
        nodes: &'a [NodeProto],
        scope: &mut Scope<'s>,
        cx: &Context<'_, 'a>,
    ) -> Result<Vec<RawNode<'a>>>
    where
        'a: 's,
    {
        let mut out = Vec::with_capacity(nodes.len());
        for i in sorted(nodes)? {
            let node = &nodes[i];
            let place = |e: Error| e.at(describe(node, &cx.path));
            self.count(node).map_err(place)?;
            self.node(node, scope, cx, &mut out).map_err(place)?;
        }
        Ok(out)
    }

    fn node<'s>(
        &mut self,
        node: &'a NodeProto,
        scope: &mut Scope<'s>,
        cx: &Context<'_, 'a>,
        out: &mut Vec<RawNode<'a>>,
    ) -> Result<()>
    where
        'a: 's,
    {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match (name.is_empty(), scope.find(name)) {
                (true, _) => None,
                (false, Some(id)) => id,
                (false, None) => return Err(Error::invalid(format!("input `{name}` is defined nowhere"))),
            });
        }
        let mut attrs: Vec<(&'a str, RawAttr<'a>)> = Vec::with_capacity(node.attribute.len());
        for attr in &node.attribute {
            if attrs.iter().any(|(name, _)| *name == attr.name()) {
                return Err(Error::invalid(format!("attribute `{}` is given twice", attr.name())));
            }
            if let Some(value) = self.attr(attr, scope, cx).map_err(|e| e.at(format!("attribute `{}`", attr.name())))? {
                attrs.push((attr.name(), value));
            }
        }
        let domain = plain_domain(node.domain());
        let outputs = match self.functions.get(&(domain, node.op_type(), node.overload())) {
            Some(&function) => self.call(function, node, &inputs, attrs, cx, out)?,
            None => {
                let outputs: Vec<Option<Id>> =
                    node.output.iter().map(|n| (!n.is_empty()).then(|| self.define(n, &cx.path))).collect();
                let version = match (cx.opsets.get(domain), domain) {
                    (Some(&version), _) => version,
                    (None, "") => return Err(Error::invalid("the model imports no version of the standard operators")),
                    // Exporters forget to import the domains of contributed operators; these have one version.
                    (None, _) => 1,
                };
                out.push(RawNode {
                    proto: node,
                    domain,
                    version,
                    inputs,
                    outputs: outputs.clone(),
                    attrs,
                    path: cx.path.clone(),
                });
                outputs
            }
        };
        for (name, id) in node.output.iter().zip(outputs) {
            if !name.is_empty() && scope.values.insert(name, id).is_some() {
                return Err(Error::invalid(format!("value `{name}` is defined twice")));
            }
        }
        Ok(())
    }

    /// The attribute with references replaced; `None` where it refers to one that the caller leaves out.
    fn attr(
        &mut self,
        attr: &'a AttributeProto,
        scope: &Scope<'_>,
        cx: &Context<'_, 'a>,
    ) -> Result<Option<RawAttr<'a>>> {
        if !attr.ref_attr_name().is_empty() {
            let env = cx.attrs.ok_or_else(|| Error::invalid("an attribute reference outside a function"))?;
            let found = env.get(attr.ref_attr_name()).cloned();
            if let Some(found) = &found {
                self.n_nodes += found.graphs().iter().map(|g| g.n_nodes).sum::<usize>();
                self.check_nodes(0)?;
            }
            return Ok(found);
        }
        Ok(Some(match (&attr.g, attr.graphs.is_empty()) {
            (Some(graph), _) => RawAttr::Graph(self.graph(graph, Some(scope), cx)?),
            (None, false) => {
                RawAttr::Graphs(attr.graphs.iter().map(|g| self.graph(g, Some(scope), cx)).collect::<Result<_>>()?)
            }
            (None, true) => RawAttr::Plain(attr),
        }))
    }

    /// Inlines a call: the body's nodes go to `out`, the numbers of the outputs come back.
    fn call(
        &mut self,
        function: &'a FunctionProto,
        node: &'a NodeProto,
        inputs: &[Option<Id>],
        attrs: Vec<(&'a str, RawAttr<'a>)>,
        cx: &Context<'_, 'a>,
        out: &mut Vec<RawNode<'a>>,
    ) -> Result<Vec<Option<Id>>> {
        let depth = self.deeper(cx.depth)?;
        let size = self.size_of(function, 0);
        self.check_nodes(size)?;
        if inputs.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(Error::invalid(format!(
                "{} inputs and {} outputs for function `{}`, which has {} and {}",
                inputs.len(),
                node.output.len(),
                function.name(),
                function.input.len(),
                function.output.len()
            )));
        }
        self.count_work(function.input.len() + function.output.len() + function.attribute_proto.len())?;
        let opsets = match self::opsets(&function.opset_import)? {
            own if own.is_empty() => cx.opsets.clone(),
            own => own,
        };
        let mut scope = Scope { values: HashMap::new(), outer: None };
        for (i, name) in function.input.iter().enumerate() {
            if scope.values.insert(name, inputs.get(i).copied().flatten()).is_some() {
                return Err(twice_or_unnamed(name, "function input"));
            }
        }
        let mut env = AttrEnv::new();
        for default in &function.attribute_proto {
            if let Some(value) = self.attr(default, &scope, &Context { attrs: None, path: cx.path.clone(), ..*cx })? {
                env.insert(default.name(), value);
            }
        }
        for (name, value) in attrs {
            if !env.contains_key(name) && !function.attribute.iter().any(|a| a == name) {
                return Err(Error::invalid(format!("function `{}` has no attribute `{name}`", function.name())));
            }
            env.insert(name, value);
        }
        let step = if node.name().is_empty() { function.name() } else { node.name() };
        let mut path = format!("{}{step}", cx.path);
        cut(&mut path);
        path.push('/');
        let inner = Context { opsets: &opsets, attrs: Some(&env), path: path.into(), depth, bodies: cx.bodies };
        let first_id = self.names.len();
        let body = self
            .body(&function.node, &mut scope, &inner)
            .map_err(|e| e.at(format!("function `{}`", function.name())))?;
        out.extend(body);
        let mut outputs = Vec::with_capacity(node.output.len());
        for (name, outer_name) in function.output.iter().zip(&node.output) {
            let Some(id) = scope.find(name) else {
                return Err(Error::invalid(format!(
                    "output `{name}` of function `{}` is made by no node",
                    function.name()
                )));
            };
            if let Some(id) = id.filter(|&id| id >= first_id)
                && !outer_name.is_empty()
            {
                self.names[id] = format!("{}{outer_name}", cx.path);
            }
            outputs.push(id);
        }
        Ok(outputs)
    }
}

impl<'a> RawAttr<'a> {
    pub(super) fn graphs(&self) -> &[Rc<RawGraph<'a>>] {
        match self {
            RawAttr::Plain(_) => &[],
            RawAttr::Graph(graph) => std::slice::from_ref(graph),
            RawAttr::Graphs(graphs) => graphs,
        }
    }
}

fn twice_or_unnamed(name: &str, what: &str) -> Error {
    if name.is_empty() {
        Error::invalid(format!("{what} without a name"))
    } else {
        Error::invalid(format!("{what} `{name}` is listed twice"))
    }
}

fn cut(name: &mut String) {
    if name.len() > MAX_INLINED_NAME_BYTES {
        let end = (0..=MAX_INLINED_NAME_BYTES).rev().find(|&i| name.is_char_boundary(i)).unwrap_or(0);
        name.truncate(end);
    }
}

/// Names that a node reads: its inputs, and what the graphs inside it take from outside.
fn reads<'a>(node: &'a NodeProto, out: &mut BTreeSet<&'a str>) {
    out.extend(node.input.iter().filter(|n| !n.is_empty()).map(String::as_str));
    for graph in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        let mut inside = BTreeSet::new();
        for node in &graph.node {
            reads(node, &mut inside);
        }
        inside.extend(graph.output.iter().map(|o| o.name()));
        let own = graph.input.iter().map(|i| i.name());
        let own = own.chain(graph.initializer.iter().map(|t| t.name()));
        let own = own.chain(graph.sparse_initializer.iter().filter_map(|t| Some(t.values.as_ref()?.name())));
        for name in own.chain(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str))) {
            inside.remove(name);
        }
        out.append(&mut inside);
    }
}

/// The order in which nodes can run: the file's where it is one.
fn sorted(nodes: &[NodeProto]) -> Result<Vec<usize>> {
    let mut makers = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if makers.insert(name.as_str(), i).is_some() {
                return Err(Error::invalid(format!("value `{name}` is defined twice")).at(describe(node, "")));
            }
        }
    }
    let mut edges = Vec::new();
    let mut names = BTreeSet::new();
    for (i, node) in nodes.iter().enumerate() {
        names.clear();
        reads(node, &mut names);
        edges.extend(names.iter().filter_map(|name| Some((*makers.get(name)?, i))));
    }
    if edges.iter().all(|(from, to)| from < to) {
        return Ok((0..nodes.len()).collect());
    }
    let mut graph = DiGraph::<(), ()>::with_capacity(nodes.len(), edges.len());
    for _ in nodes {
        graph.add_node(());
    }
    for (from, to) in edges {
        graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
    }
    match toposort(&graph, None) {
        Ok(order) => Ok(order.into_iter().map(NodeIndex::index).collect()),
        Err(cycle) => {
            let circle = tarjan_scc(&graph).into_iter().find(|c| c.contains(&cycle.node_id())).unwrap_or_default();
            let names: Vec<String> = circle.iter().rev().take(8).map(|i| describe(&nodes[i.index()], "")).collect();
            let more = if circle.len() > 8 { " and others" } else { "" };
            Err(Error::invalid(format!("nodes depend on each other in a circle: {}{more}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn run(model: &ModelProto) -> Result<Resolved<'_>> {
        resolve(model, &opsets(&model.opset_import)?, &Limits { max_nodes: 100, ..Limits::default() })
    }

    /// One line a node: `Op in1,in2 -> out`.
    fn text(resolved: &Resolved<'_>, graph: &RawGraph<'_>) -> Vec<String> {
        let names = |ids: &[Option<Id>]| {
            ids.iter().map(|id| id.map_or("_", |id| &resolved.names[id])).collect::<Vec<_>>().join(",")
        };
        graph
            .nodes
            .iter()
            .map(|n| format!("{} {} -> {}", n.proto.op_type(), names(&n.inputs), names(&n.outputs)))
            .collect()
    }

    fn error(model: &ModelProto) -> String {
        run(model).err().expect("the model must be refused").to_string()
    }

    #[test]
    fn unsorted_nodes_are_sorted_and_circles_named() {
        let nodes = vec![node("Neg", "b", "c"), node("Abs", "a", "b")];
        let m = model(graph(&[bare("a")], nodes, &[bare("c")]), vec![]);
        let r = run(&m).unwrap();
        assert_eq!(text(&r, &r.graph), ["Abs a -> b", "Neg b -> c"]);
        let circle = vec![node("Neg", "b", "c").named("n1"), node("Abs", "c", "b").named("n2")];
        let message = error(&model(graph(&[], circle, &[bare("c")]), vec![]));
        assert!(message.contains("circle") && message.contains("`n1` (Neg)") && message.contains("`n2` (Abs)"));
        assert!(error(&model(graph(&[], vec![node("Neg", "x", "x")], &[]), vec![])).contains("circle"));
    }

    #[test]
    fn undefined_and_doubled_names_are_errors() {
        let message = error(&model(graph(&[], vec![node("Neg", "x", "y")], &[]), vec![]));
        assert!(message.contains("input `x` is defined nowhere") && message.contains("node of `y` (Neg)"), "{message}");
        let twice = vec![node("Neg", "a", "y"), node("Abs", "a", "y")];
        assert!(error(&model(graph(&[bare("a")], twice, &[]), vec![])).contains("`y` is defined twice"));
        let again = vec![node("Neg", "a", "a")];
        assert!(run(&model(graph(&[bare("a")], again, &[]), vec![])).is_err());
        assert!(error(&model(graph(&[], vec![], &[bare("z")]), vec![])).contains("`z` is made by no node"));
        assert!(error(&ModelProto::default()).contains("no graph"));
    }

    #[test]
    fn sub_graphs_capture_outer_values_and_order_by_them() {
        let inner = graph(&[], vec![node("Add", "late x", "s")], &[bare("s")]);
        let middle = graph(&[], vec![node("If", "x", "m").with(body("then_branch", inner))], &[bare("m")]);
        let nodes = vec![node("If", "x", "y").with(body("then_branch", middle)), node("Neg", "x", "late")];
        let m = model(graph(&[bare("x")], nodes, &[bare("y")]), vec![]);
        let r = run(&m).unwrap();
        assert_eq!(text(&r, &r.graph), ["Neg x -> late", "If x -> y"]);
        let middle = &r.graph.nodes[1].attrs[0].1.graphs()[0];
        let names: Vec<_> = middle.captures.iter().map(|&id| r.names[id].as_str()).collect();
        assert_eq!(names, ["x", "late"]);
        assert_eq!(middle.nodes[0].attrs[0].1.graphs()[0].captures, middle.captures);
    }

    #[test]
    fn functions_are_inlined_with_attributes_and_missing_inputs() {
        let inner = function(
            "Leak",
            "x bias",
            "y",
            "slope",
            vec![
                node("LeakyRelu", "x", "t").with(reference("alpha", "slope")),
                node("Clip", "t bias _", "y").with(reference("absent", "other")),
            ],
        );
        let mut inner = inner;
        inner.attribute.push("other".into());
        let outer = function(
            "Twice",
            "x",
            "z",
            "",
            vec![
                node("Leak", "x", "y").named("a").of_domain("local").with(int("slope", 3)),
                node("Leak", "y x", "z").named("b").of_domain("local").with(int("slope", 4)),
            ],
        );
        let call = node("Twice", "in", "out").named("call").of_domain("local");
        let m = model(graph(&[bare("in")], vec![call], &[bare("out")]), vec![inner, outer]);
        let r = run(&m).unwrap();
        assert_eq!(
            text(&r, &r.graph),
            [
                "LeakyRelu in -> call/a/t",
                "Clip call/a/t,_,_ -> call/y",
                "LeakyRelu call/y -> call/b/t",
                "Clip call/b/t,in,_ -> out",
            ]
        );
        let RawAttr::Plain(alpha) = &r.graph.nodes[2].attrs[0].1 else { panic!("a plain attribute") };
        assert_eq!((r.graph.nodes[2].attrs[0].0, alpha.i()), ("alpha", 4));
        assert!(r.graph.nodes[1].attrs.is_empty());
    }

    #[test]
    fn a_graph_given_to_a_function_keeps_the_scope_of_the_caller() {
        let f = function(
            "Choose",
            "c",
            "y",
            "branch",
            vec![node("Not", "c", "x"), node("If", "x", "y").with(reference("then_branch", "branch"))],
        );
        let branch = graph(&[], vec![node("Neg", "x", "r")], &[bare("r")]);
        let call = node("Choose", "c", "out").of_domain("local").with(body("branch", branch));
        let m = model(graph(&[bare("c"), bare("x")], vec![call], &[bare("out")]), vec![f]);
        let r = run(&m).unwrap();
        let branch = &r.graph.nodes[1].attrs[0].1.graphs()[0];
        assert_eq!(branch.captures, [r.graph.inputs[1].0]);
    }

    #[test]
    fn wrong_calls_are_errors() {
        let f = || vec![function("F", "x", "y", "a", vec![node("Neg", "x", "y")])];
        let call = |n: NodeProto| error(&model(graph(&[bare("x")], vec![n.of_domain("local")], &[]), f()));
        assert!(call(node("F", "x x", "y")).contains("2 inputs and 1 outputs"));
        assert!(call(node("F", "x", "y").with(int("b", 1))).contains("no attribute `b`"));
        let message =
            error(&model(graph(&[bare("x")], vec![node("Neg", "x", "y").with(reference("a", "b"))], &[]), vec![]));
        assert!(message.contains("reference outside a function"));
    }

    #[test]
    fn recursion_and_multiplication_end_at_the_limits() {
        let own = function("F", "x", "y", "", vec![node("F", "x", "y").of_domain("local")]);
        let call = || graph(&[bare("x")], vec![node("F", "x", "y").of_domain("local")], &[]);
        assert!(error(&model(call(), vec![own])).contains("nest more than 64 deep"));
        let mut functions = vec![function("F0", "x", "y", "", vec![node("Neg", "x", "y")])];
        for i in 1..40 {
            let inner = format!("F{}", i - 1);
            let twice = vec![node(&inner, "x", "t").of_domain("local"), node(&inner, "t", "y").of_domain("local")];
            let name = if i == 39 { "F".to_owned() } else { format!("F{i}") };
            functions.push(function(&name, "x", "y", "", twice));
        }
        assert!(error(&model(call(), functions)).contains("more than 100 nodes"));
        let names: Vec<String> = (0..60).map(|i| format!("T{i}")).collect();
        let tower = |i: usize| {
            let below = if i == 0 { "Neg" } else { names[i - 1].as_str() };
            let domain = if i == 0 { "" } else { "local" };
            let calls = vec![node(below, "x", "t").of_domain(domain), node(below, "t", "y").of_domain(domain)];
            function(&names[i], "x", "y", "", calls)
        };
        let top = graph(&[bare("x")], vec![node("T59", "x", "y").of_domain("local")], &[]);
        let m = model(top, (0..60).map(tower).collect());
        // Refused before a million nodes are made: a deadline that has passed would end it otherwise.
        let mut resolver_limits = Limits::default();
        let refused = resolve(&m, &opsets(&m.opset_import).unwrap(), &resolver_limits).err().unwrap().to_string();
        assert!(refused.contains("max_nodes"), "{refused}");
        resolver_limits.deadline = Some(std::time::Instant::now());
        let late = resolve(&m, &opsets(&m.opset_import).unwrap(), &resolver_limits).err().unwrap().to_string();
        assert!(late.contains("deadline"), "{late}");
        let mut deep = graph(&[], vec![], &[]);
        for _ in 0..70 {
            deep = graph(&[], vec![node("If", "", "").with(body("then_branch", deep))], &[]);
        }
        assert!(error(&model(deep, vec![])).contains("nest more than 12 deep"));
    }
}
