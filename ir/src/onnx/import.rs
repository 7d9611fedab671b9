//! A model's bytes to a typed [`Graph`]: the second half of the importer.
//!
//! Nodes become operators of the present opset: the registry's entry is looked up, its `upgrade` raises a node of an
//! older opset, its attributes are read (one that nobody reads fails the load), and its rule types the results at once,
//! since an upgrade may want to know ranks. `Constant` nodes and initialisers become constants.
//!
//! - An initialiser that is also listed as a graph input is an input with a default (IR version 4 and later). Before,
//!   every initialiser had to be listed, so that the list says nothing: it is a constant.
//! - Declared types of graph inputs are taken as they are. Those of other values are used only for what inference
//!   leaves open, and then without extents: exporters write stale ones.
//! - A main graph's outputs carry their names: where a function hands an input through, `Identity` gives the second.

use super::external::External;
use super::proto::{GraphProto, ModelProto, TensorProto, TypeProto, ValueInfoProto, type_proto};
use super::resolve::{self, Constant, Id, Opsets, RawAttr, RawGraph, RawNode, describe};
use super::types::{self, Symbols};
use super::{LATEST_IR_VERSION, LATEST_OPSET, Limits, attr, tensor};
use crate::attr::{Attr, Attrs};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::infer::{constant_fact, infer_call};
use crate::map::read_or_map;
use crate::op::{OpDef, Upgrade};
use crate::ops;
use crate::rule::Fact;
use crate::tensor::Tensor;
use crate::types::{Shape, TensorType, Type};
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// A model: its graph in the present opset, and what its file says besides.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The graph, types inferred.
    pub graph: Graph,
    /// Version of the file format.
    pub ir_version: i64,
    /// Opset versions that the file was written for, by domain (`ai.onnx` written out). The graph itself is in the
    /// newest.
    pub opsets: BTreeMap<String, i64>,
    /// Program that wrote the file, with its version.
    pub producer: String,
    /// Domain of the model, a reversed host name.
    pub domain: String,
    /// Version of the model.
    pub model_version: i64,
    /// Documentation.
    pub doc: String,
    /// Further properties by name.
    pub metadata: BTreeMap<String, String>,
}

impl Model {
    /// Makes constants of all inputs that have a default, for callers who never override one: weights that an exporter
    /// also listed as inputs can then be folded and packed.
    pub fn bind_defaults(&mut self) {
        let Graph { values, inputs, .. } = &mut self.graph;
        inputs.retain(|v| values[v.index()].constant.is_none());
    }
}

/// Reads a model file; tensors may lie in files beside it.
///
/// # Errors
/// When the file is no model, breaks a rule, uses what is not supported, or passes a limit; node and operator are named.
pub fn import_file(path: &Path, limits: &Limits) -> Result<Model> {
    let folder = path.parent().unwrap_or(Path::new("."));
    read_or_map(path)
        .and_then(|bytes| import(bytes, &External::in_folder(folder), limits))
        .map_err(|e| e.at(format!("file {}", path.display())))
}

/// Reads a model from memory; `folder` is where its external data lies, if it may have any.
///
/// # Errors
/// As [`import_file`].
pub fn import_bytes(bytes: Bytes, folder: Option<&Path>, limits: &Limits) -> Result<Model> {
    import(bytes, &folder.map_or_else(External::none, External::in_folder), limits)
}

fn import(bytes: Bytes, external: &External, limits: &Limits) -> Result<Model> {
    let proto = ModelProto::decode(bytes).map_err(|e| Error::invalid(format!("this is no ONNX model: {e}")))?;
    if proto.graph.is_none() {
        return Err(Error::invalid("this is no ONNX model: it has no graph"));
    }
    if proto.ir_version() > LATEST_IR_VERSION {
        return Err(Error::unsupported(format!(
            "IR version {}; {LATEST_IR_VERSION} is the newest known",
            proto.ir_version()
        )));
    }
    let mut opsets = resolve::opsets(&proto.opset_import)?;
    if opsets.is_empty() && proto.ir_version() < 3 {
        opsets.insert(String::new(), 1);
    }
    let functions = proto.functions.iter().map(|f| resolve::opsets(&f.opset_import)).collect::<Result<Vec<_>>>()?;
    for versions in functions.iter().chain([&opsets]) {
        check_opset(versions)?;
    }
    let resolved = resolve::resolve(&proto, &opsets, limits)?;
    let mut importer = Importer {
        names: &resolved.names,
        external,
        limits,
        symbols: Symbols::above(dim_params(&proto)),
        tensors: HashMap::new(),
        defaults: proto.ir_version() >= 4,
    };
    let mut graph = importer.graph(&resolved.graph, &[])?;
    name_outputs(&mut graph, &resolved.graph)?;
    let written_out = |(domain, version): (String, i64)| (ops_domain(&domain).to_owned(), version);
    Ok(Model {
        graph,
        ir_version: proto.ir_version(),
        opsets: opsets.into_iter().map(written_out).collect(),
        producer: format!("{} {}", proto.producer_name(), proto.producer_version()).trim().to_owned(),
        domain: proto.domain().to_owned(),
        model_version: proto.model_version(),
        doc: proto.doc_string().to_owned(),
        metadata: proto.metadata_props.iter().map(|p| (p.key().to_owned(), p.value().to_owned())).collect(),
    })
}

fn check_opset(opsets: &Opsets) -> Result<()> {
    match opsets.get("") {
        Some(&v) if v > LATEST_OPSET => {
            Err(Error::unsupported(format!("opset {v} of ai.onnx; {LATEST_OPSET} is the newest known")))
        }
        Some(&v) if v < 1 => Err(Error::invalid(format!("opset {v} of ai.onnx"))),
        _ => Ok(()),
    }
}

/// Every name of an extent that the model's types use, bodies included.
fn dim_params(model: &ModelProto) -> Vec<&str> {
    fn of_type<'a>(ty: &'a TypeProto, out: &mut Vec<&'a str>) {
        let (shape, inner) = match &ty.value {
            Some(type_proto::Value::TensorType(t)) => (t.shape.as_ref(), None),
            Some(type_proto::Value::SequenceType(s)) => (None, s.elem_type.as_deref()),
            Some(type_proto::Value::OptionalType(o)) => (None, o.elem_type.as_deref()),
            Some(type_proto::Value::MapType(m)) => (None, m.value_type.as_deref()),
            _ => (None, None),
        };
        out.extend(shape.iter().flat_map(|s| &s.dim).filter_map(|d| match &d.value {
            Some(super::proto::tensor_shape_proto::dimension::Value::DimParam(text)) => Some(text.as_str()),
            _ => None,
        }));
        if let Some(inner) = inner {
            of_type(inner, out);
        }
    }
    fn of_graph<'a>(graph: &'a GraphProto, out: &mut Vec<&'a str>) {
        for info in graph.input.iter().chain(&graph.output) {
            if let Some(ty) = &info.r#type {
                of_type(ty, out);
            }
        }
        for attr in graph.node.iter().flat_map(|n| &n.attribute) {
            for inner in attr.g.iter().chain(&attr.graphs) {
                of_graph(inner, out);
            }
        }
    }
    let mut out = Vec::new();
    if let Some(graph) = &model.graph {
        of_graph(graph, &mut out);
    }
    for attr in model.functions.iter().flat_map(|f| &f.node).flat_map(|n| &n.attribute) {
        for inner in attr.g.iter().chain(&attr.graphs) {
            of_graph(inner, &mut out);
        }
    }
    out
}

fn ops_domain(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}

/// Lets every output of the main graph carry the name that the file gives it.
fn name_outputs(graph: &mut Graph, raw: &RawGraph<'_>) -> Result<()> {
    for i in 0..graph.outputs.len() {
        let (value, name) = (graph.outputs[i], raw.outputs[i].1.name());
        if graph.value(value).name == name {
            continue;
        }
        let copy = crate::builder::add_node(graph, "ai.onnx", "Identity", Attrs::new(), &[Some(value)], 1)?[0];
        graph.values[copy.index()].name = name.to_owned();
        graph.outputs[i] = copy;
    }
    Ok(())
}

struct Importer<'a> {
    /// Of all values, by their number in the file.
    names: &'a [String],
    external: &'a External,
    limits: &'a Limits,
    symbols: Symbols,
    /// Tensors already read, by the place of their message: a function's constants are read once for all its calls.
    tensors: HashMap<*const TensorProto, Tensor>,
    /// Whether initialised inputs are inputs.
    defaults: bool,
}

/// A graph in the making.
struct Frame<'a> {
    graph: Graph,
    /// By value.
    facts: Vec<Fact>,
    /// Values by their number in the file.
    ids: HashMap<Id, ValueId>,
    /// Types that the file declares for values inside, by name.
    declared: HashMap<&'a str, &'a TypeProto>,
}

impl Frame<'_> {
    /// Catches up with values that were added to the graph directly.
    fn learn(&mut self) {
        for info in &self.graph.values[self.facts.len()..] {
            self.facts.push(info.constant.as_ref().map_or_else(|| Fact::of(info.ty.clone()), constant_fact));
        }
    }

    fn bind(&mut self, id: Id, value: ValueId, fact: Fact) {
        self.learn();
        self.facts[value.index()] = fact;
        self.ids.insert(id, value);
    }

    fn value(&self, id: Id) -> Result<ValueId> {
        self.ids.get(&id).copied().ok_or_else(|| Error::bug(format!("value {id} is used before it is made")))
    }
}

impl Importer<'_> {
    /// Builds a graph; `captures` are the outer values that it must take, with what is known of them.
    fn graph(&mut self, raw: &RawGraph<'_>, captures: &[(Id, Fact)]) -> Result<Graph> {
        let declared = raw.proto.value_info.iter().chain(&raw.proto.output);
        let declared = declared.filter_map(|i| Some((i.name(), i.r#type.as_ref()?))).collect();
        let mut frame = Frame { graph: Graph::new(raw.proto.name()), facts: Vec::new(), ids: HashMap::new(), declared };
        for (id, fact) in captures {
            let value = frame.graph.add_capture(&self.names[*id], fact.ty.clone());
            frame.bind(*id, value, fact.clone());
        }
        self.inputs(raw, &mut frame)?;
        for node in &raw.nodes {
            self.node(node, &mut frame).map_err(|e| e.at(describe(node.proto, &node.path)))?;
        }
        for (id, info) in &raw.outputs {
            let value = frame.value(*id)?;
            self.check_output(info, value, &mut frame).map_err(|e| e.at(format!("graph output `{}`", info.name())))?;
            frame.graph.outputs.push(value);
        }
        Ok(frame.graph)
    }

    fn inputs(&mut self, raw: &RawGraph<'_>, frame: &mut Frame<'_>) -> Result<()> {
        let mut constants: HashMap<Id, Constant<'_>> = raw.constants.iter().copied().collect();
        for (id, info) in &raw.inputs {
            let default = constants.get(id).copied();
            if default.is_some() && !self.defaults {
                continue;
            }
            constants.remove(id);
            let place = |e: Error| e.at(format!("graph input `{}`", info.name()));
            let mut ty = match &info.r#type {
                Some(ty) => types::from_proto(ty, &mut self.symbols).map_err(place)?,
                None => Type::Unknown,
            };
            let default = default.map(|c| self.constant(c)).transpose().map_err(place)?;
            if let Some(tensor) = &default {
                ty = of_default(ty, tensor).map_err(place)?;
            }
            let value = frame.graph.add_input(info.name(), ty.clone());
            frame.graph.values[value.index()].constant = default;
            frame.bind(*id, value, Fact::of(ty));
        }
        for (id, constant) in &raw.constants {
            if constants.contains_key(id) {
                let tensor = self.constant(*constant)?;
                let fact = constant_fact(&tensor);
                let value = frame.graph.add_constant(&self.names[*id], tensor);
                frame.bind(*id, value, fact);
            }
        }
        Ok(())
    }

    fn constant(&mut self, constant: Constant<'_>) -> Result<Tensor> {
        match constant {
            Constant::Dense(proto) => self.tensor(proto),
            Constant::Sparse(proto) => tensor::from_sparse(proto, self.external, self.limits),
        }
    }

    fn tensor(&mut self, proto: &TensorProto) -> Result<Tensor> {
        if let Some(tensor) = self.tensors.get(&std::ptr::from_ref(proto)) {
            return Ok(tensor.clone());
        }
        let tensor = tensor::from_proto(proto, self.external, self.limits)?;
        self.tensors.insert(proto, tensor.clone());
        Ok(tensor)
    }

    fn check_output(&mut self, info: &ValueInfoProto, value: ValueId, frame: &mut Frame<'_>) -> Result<()> {
        let Some(declared) = &info.r#type else { return Ok(()) };
        let declared = types::from_proto(declared, &mut self.symbols)?;
        match (&frame.facts[value.index()].ty, &declared) {
            (Type::Tensor(have), Type::Tensor(want)) if have.dtype != want.dtype => {
                Err(Error::invalid(format!("the model declares {want}, its nodes give {have}")))
            }
            _ => Ok(()),
        }
    }

    fn node(&mut self, raw: &RawNode<'_>, frame: &mut Frame<'_>) -> Result<()> {
        if raw.domain.is_empty() && raw.proto.op_type() == "Constant" {
            return self.constant_node(raw, frame);
        }
        self.limits.check_time()?;
        let def = find(raw)?;
        let (captures, captured) = captures(raw, frame)?;
        let mut attrs = Attrs::new();
        for (name, attr) in &raw.attrs {
            let attr = self.attr(attr, &captured).map_err(|e| e.at(format!("attribute `{name}`")))?;
            attrs.insert((*name).to_owned(), attr);
        }
        let inputs =
            raw.inputs.iter().map(|id| id.map(|id| frame.value(id)).transpose()).collect::<Result<Vec<_>>>()?;
        let mut outputs = Vec::with_capacity(raw.outputs.len());
        for id in &raw.outputs {
            outputs.push(id.map(|id| {
                let value = frame.graph.add_value(&self.names[id], Type::Unknown);
                frame.bind(id, value, Fact::default());
                value
            }));
        }
        let (domain, op_type) = (def.domain.to_owned(), def.name.to_owned());
        let mut call =
            Upgrade { graph: &mut frame.graph, version: raw.version, op_type, domain, attrs, inputs, outputs };
        let newest = def.newest();
        if let Some(upgrade) = def.upgrade
            && raw.version < newest
        {
            upgrade(&mut call).map_err(|e| e.of_op(def.name).at(format!("raising it from opset {}", raw.version)))?;
        }
        let Upgrade { op_type, domain, attrs, inputs, mut outputs, .. } = call;
        frame.learn();
        let def = if op_type == def.name && domain == def.domain {
            def
        } else {
            ops::find(&domain, &op_type)
                .ok_or_else(|| Error::bug(format!("{} is raised to the unknown {domain}::{op_type}", def.name)))?
        };
        while outputs.last().is_some_and(Option::is_none) {
            outputs.pop();
        }
        let op = (def.parse)(&attrs).map_err(|e| e.of_op(def.name))?;
        let facts: Vec<Option<Fact>> = inputs.iter().map(|v| v.map(|v| frame.facts[v.index()].clone())).collect();
        let known: Vec<Fact> = captured.into_iter().map(|(_, fact)| fact).collect();
        let inferred = infer_call(&*op, &facts, &known, outputs.len(), &mut self.symbols.last)
            .map_err(|e| e.at(operands(&facts)))?;
        for (value, fact) in outputs.iter().zip(inferred.outputs) {
            if let Some(value) = value {
                self.make(*value, fact, frame)?;
            }
        }
        frame.graph.nodes.push(Node {
            op,
            name: format!("{}{}", raw.path, raw.proto.name()),
            inputs,
            captures,
            outputs,
        });
        Ok(())
    }

    /// Notes what is known of a node's result.
    fn make(&mut self, value: ValueId, mut fact: Fact, frame: &mut Frame<'_>) -> Result<()> {
        let info = &mut frame.graph.values[value.index()];
        if fact.ty == Type::Unknown
            && let Some(declared) = frame.declared.get(info.name.as_str())
        {
            fact.ty = without_extents(types::from_proto(declared, &mut self.symbols)?, &mut self.symbols);
        }
        info.ty = fact.ty.clone();
        frame.facts[value.index()] = fact;
        Ok(())
    }

    fn attr(&mut self, attr: &RawAttr<'_>, captured: &[(Id, Fact)]) -> Result<Attr> {
        match attr {
            RawAttr::Plain(proto) => match &proto.t {
                Some(t) if proto.r#type == Some(super::proto::attribute_proto::AttributeType::Tensor.into()) => {
                    self.tensor(t).map(Attr::Tensor)
                }
                _ => attr::from_proto(proto, self.external, self.limits, &mut self.symbols),
            },
            RawAttr::Graph(graph) => Ok(Attr::Graph(Arc::new(self.graph(graph, captured)?))),
            RawAttr::Graphs(_) => Err(Error::unsupported("attributes that list graphs")),
        }
    }

    /// `Constant`, whose one attribute has one of eight names.
    fn constant_node(&mut self, raw: &RawNode<'_>, frame: &mut Frame<'_>) -> Result<()> {
        let ([(name, attr)], [Some(id)], []) = (&raw.attrs[..], &raw.outputs[..], &raw.inputs[..]) else {
            return Err(Error::invalid("Constant takes one attribute and no operand, and has one result"));
        };
        if !attr.graphs().is_empty() {
            return Err(Error::invalid("Constant of a graph"));
        }
        let strings = |v: &[String]| v.iter().map(|s| Arc::from(s.as_str())).collect::<Vec<Arc<str>>>();
        let integers = |v: &[crate::dim::Dim]| v.iter().map(crate::dim::Dim::as_int).collect::<Option<Vec<i64>>>();
        let attr = self.attr(attr, &[]).map_err(|e| e.at(format!("attribute `{name}`")))?;
        let tensor = match (*name, &attr) {
            ("value" | "sparse_value", Attr::Tensor(t)) => Some(t.clone()),
            ("value_float", Attr::Float(v)) => Some(Tensor::scalar(*v)),
            ("value_int", Attr::Int(v)) => v.as_int().map(Tensor::scalar),
            ("value_string", Attr::String(v)) => Some(Tensor::from_strings(&[], strings(std::slice::from_ref(v)))),
            ("value_floats", Attr::Floats(v)) => Some(Tensor::from_slice(&[v.len()], v)),
            ("value_ints", Attr::Ints(v)) => integers(v).map(|v| Tensor::from_slice(&[v.len()], &v)),
            ("value_strings", Attr::Strings(v)) => Some(Tensor::from_strings(&[v.len()], strings(v))),
            _ => None,
        };
        let tensor =
            tensor.ok_or_else(|| Error::invalid(format!("attribute `{name}` ({}) of Constant", attr.kind())))?;
        let fact = constant_fact(&tensor);
        let value = frame.graph.add_constant(&self.names[*id], tensor);
        frame.bind(*id, value, fact);
        Ok(())
    }
}

/// The outer values that a node's bodies use, all bodies together, and what is known of them.
fn captures(raw: &RawNode<'_>, frame: &Frame<'_>) -> Result<(Vec<ValueId>, Vec<(Id, Fact)>)> {
    let mut ids: Vec<Id> =
        raw.attrs.iter().flat_map(|(_, a)| a.graphs()).flat_map(|g| g.captures.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let values = ids.iter().map(|&id| frame.value(id)).collect::<Result<Vec<_>>>()?;
    let known = ids.into_iter().zip(&values).map(|(id, v)| (id, frame.facts[v.index()].clone())).collect();
    Ok((values, known))
}

fn operands(facts: &[Option<Fact>]) -> String {
    let types: Vec<String> = facts.iter().map(|f| f.as_ref().map_or("none".into(), |f| f.ty.to_string())).collect();
    format!("operands ({})", types.join(", "))
}

/// The registry's entry for a node.
fn find(raw: &RawNode<'_>) -> Result<&'static OpDef> {
    let (domain, name, version) = (ops_domain(raw.domain), raw.proto.op_type(), raw.version);
    let Some(def) = ops::find(domain, name) else {
        return Err(Error::unsupported(format!(
            "operator `{name}` of domain {domain}, opset {version}: the model defines no such function, and {}",
            nearest(domain, name)
        )));
    };
    match def.since.first() {
        Some(&first) if version < first => Err(Error::invalid(format!(
            "operator `{name}` exists since opset {first} of {domain}, the model imports {version}"
        ))),
        _ => Ok(def),
    }
}

/// What the registry has instead of an operator that it lacks.
fn nearest(domain: &str, name: &str) -> String {
    let elsewhere: Vec<&str> = ops::OPS.iter().filter(|d| d.name == name).map(|d| d.domain).collect();
    if !elsewhere.is_empty() {
        return format!("it is known only in {}", elsewhere.join(", "));
    }
    let here: Vec<&str> = ops::OPS.iter().filter(|d| d.domain == domain).map(|d| d.name).collect();
    if here.is_empty() {
        return "no operator of that domain is known".to_owned();
    }
    match here.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => format!("it is spelt `{known}`"),
        None => format!("it is not among the {} known there (`egret ops` lists them)", here.len()),
    }
}

/// An input's type where its default is given: the default must fit, and says what the file leaves open.
fn of_default(declared: Type, tensor: &Tensor) -> Result<Type> {
    let own = Type::tensor(tensor.dtype(), tensor.shape());
    let fits = match &declared {
        Type::Unknown => return Ok(own),
        Type::Tensor(t) => {
            t.dtype == tensor.dtype()
                && t.shape.dims().is_none_or(|dims| {
                    dims.len() == tensor.rank()
                        && dims.iter().zip(tensor.shape()).all(|(d, &n)| d.as_int().is_none_or(|d| d == n as i64))
                })
        }
        _ => false,
    };
    if fits { Ok(declared) } else { Err(Error::invalid(format!("declared {declared}, its default is {own}"))) }
}

/// Element type and rank alone.
fn without_extents(ty: Type, symbols: &mut Symbols) -> Type {
    match ty {
        Type::Tensor(TensorType { dtype, shape: Shape::Ranked(dims) }) => {
            Type::ranked(dtype, dims.iter().map(|_| symbols.fresh()).collect())
        }
        Type::Tensor(t) => Type::Tensor(t),
        Type::Sequence(t) => Type::Sequence(Box::new(without_extents(*t, symbols))),
        Type::Optional(t) => Type::Optional(Box::new(without_extents(*t, symbols))),
        Type::Map(key, t) => Type::Map(key, Box::new(without_extents(*t, symbols))),
        Type::Unknown => Type::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, body, graph, info, model, node};
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn a_body_takes_outer_values_as_captures_in_the_order_of_the_node() {
        let branch = graph(&[], vec![node("Relu", "w", "r"), node("Add", "r x", "s")], &[bare("s")]);
        let choose = node("If", "c", "y").with(body("then_branch", branch));
        let inputs = [info("c", DType::Bool, ""), info("x", DType::F32, "n"), info("w", DType::F32, "1")];
        let proto = model(graph(&inputs, vec![choose], &[bare("y")]), vec![]);
        let limits = Limits::default();
        let resolved = resolve::resolve(&proto, &Opsets::from([(String::new(), 17)]), &limits).unwrap();
        let mut importer = Importer {
            names: &resolved.names,
            external: &External::none(),
            limits: &limits,
            symbols: Symbols::default(),
            tensors: HashMap::new(),
            defaults: true,
        };
        let raw = &resolved.graph;
        let mut frame =
            Frame { graph: Graph::new(""), facts: Vec::new(), ids: HashMap::new(), declared: HashMap::new() };
        importer.inputs(raw, &mut frame).unwrap();
        let (values, known) = captures(&raw.nodes[0], &frame).unwrap();
        assert_eq!(values, frame.graph.inputs[1..]);
        let Attr::Graph(branch) = importer.attr(&raw.nodes[0].attrs[0].1, &known).unwrap() else {
            panic!("a graph is wanted")
        };
        let names: Vec<&str> = branch.captures.iter().map(|&v| branch.value(v).name.as_str()).collect();
        assert_eq!(names, ["x", "w"]);
        assert_eq!(branch.ty(branch.outputs[0]).to_string(), "f32[n]");
    }
}
