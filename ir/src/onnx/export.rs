//! A graph to an ONNX model, so that any stage can be handed to another runtime.
//!
//! The model imports the lowest opset in which all its calls mean what they mean now ([`crate::version`]), and the IR version
//! that came with it. Values without a name, or with one that is taken, get a new one; names of inputs and outputs stay.
//! Bodies refer to outer values by name, so captures vanish; where a graph returns a value that it does not make (a
//! capture), or one value twice, `Identity` stands in between, because other runtimes insist on it.

use super::import::Model;
use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataLocation;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};
use super::{attr, tensor, types};
use crate::attr::Attr;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::types::Type;
use crate::version::{LEAST_OPSET, version_of_node};
use prost::Message;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Weights above this total go to a file beside the model: protobuf ends at 2 GiB.
const MAX_INLINE_BYTES: usize = 1 << 30;

/// Tensors smaller than this stay in the model even then.
const MIN_EXTERNAL_BYTES: usize = 1 << 10;

/// Alignment of a tensor in the weights' file, a page: what `onnx.proto` recommends for memory maps.
const EXTERNAL_ALIGN_BYTES: usize = 4096;

/// Makes an ONNX model.
///
/// # Errors
/// When an attribute is a term that has no number, or weights have more than 1 GiB (use [`export_file`]).
pub fn export(model: &Model) -> Result<Vec<u8>> {
    let (proto, weight_bytes) = to_proto(model)?;
    if weight_bytes > MAX_INLINE_BYTES {
        return Err(Error::limit(format!("{weight_bytes} bytes of weights do not fit one protobuf message")));
    }
    Ok(proto.encode_to_vec())
}

/// Writes an ONNX model to a file; weights above 1 GiB together go to `<file>.data` beside it.
///
/// # Errors
/// When an attribute is a term that has no number, or a file cannot be written.
pub fn export_file(model: &Model, path: &Path) -> Result<()> {
    let wrong = |e: std::io::Error| Error::invalid(format!("file {}: {e}", path.display()));
    let (mut proto, weight_bytes) = to_proto(model)?;
    if weight_bytes > MAX_INLINE_BYTES {
        move_out(&mut proto, path, MIN_EXTERNAL_BYTES).map_err(wrong)?;
    }
    std::fs::write(path, proto.encode_to_vec()).map_err(wrong)
}

/// Moves the raw data of initialisers to `<path>.data`.
pub(super) fn move_out(proto: &mut ModelProto, path: &Path, least_bytes: usize) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".data");
    let location = name.to_string_lossy().into_owned();
    let mut file = BufWriter::new(File::create(path.with_file_name(name))?);
    let mut at = 0usize;
    for tensor in proto.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= least_bytes) else { continue };
        let offset = at.next_multiple_of(EXTERNAL_ALIGN_BYTES);
        file.write_all(&vec![0; offset - at])?;
        file.write_all(&raw)?;
        at = offset + raw.len();
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data = vec![
            entry("location", location.clone()),
            entry("offset", offset.to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::External.into());
    }
    file.flush()
}

/// The message, and how many bytes of weights it holds.
fn to_proto(model: &Model) -> Result<(ModelProto, usize)> {
    let mut exporter = Exporter {
        taken: HashSet::new(),
        graphs: HashSet::new(),
        opsets: BTreeMap::new(),
        weight_bytes: 0,
        ir_version: 3,
    };
    let graph = exporter.graph(&model.graph, None)?;
    let standard = exporter.opsets.entry(String::new()).or_insert(1);
    *standard = (*standard).max(LEAST_OPSET);
    let ir_version = exporter.ir_version.max(ir_version_of(*standard));
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    let entry = |(k, v): (&String, &String)| StringStringEntryProto { key: Some(k.clone()), value: Some(v.clone()) };
    let proto = ModelProto {
        ir_version: Some(ir_version),
        opset_import: exporter
            .opsets
            .into_iter()
            .map(|(domain, version)| OperatorSetIdProto { domain: Some(domain), version: Some(version) })
            .collect(),
        producer_name: Some("egret".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        domain: text(&model.domain),
        model_version: Some(model.model_version),
        doc_string: text(&model.doc),
        graph: Some(graph),
        metadata_props: model.metadata.iter().map(entry).collect(),
        ..ModelProto::default()
    };
    Ok((proto, exporter.weight_bytes))
}

/// The IR version that was published with an opset (`onnx.helper.VERSION_TABLE`).
fn ir_version_of(opset: i64) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

/// The wished name if nothing has it yet, else with a number.
fn unique(taken: &mut HashSet<String>, wish: &str) -> String {
    let mut name = wish.to_owned();
    let mut n = taken.len();
    while !taken.insert(name.clone()) {
        name = format!("{wish}_{n}");
        n += 1;
    }
    name
}

struct Exporter {
    /// Names of values in use anywhere in the model.
    taken: HashSet<String>,
    /// Names of graphs, of which ONNX wants each to be unique (IR.md, "Names Within a Graph").
    graphs: HashSet<String>,
    opsets: BTreeMap<String, i64>,
    weight_bytes: usize,
    ir_version: i64,
}

impl Exporter {
    /// A name that no other value has.
    fn name(&mut self, wish: &str) -> String {
        unique(&mut self.taken, if wish.is_empty() { "v" } else { wish })
    }

    /// Writes a graph; for a body, `captured` are the outer names of its captures.
    fn graph(&mut self, graph: &Graph, captured: Option<&[String]>) -> Result<GraphProto> {
        let mut names: Vec<Option<String>> = vec![None; graph.values.len()];
        for (value, name) in graph.captures.iter().zip(captured.unwrap_or_default()) {
            names[value.index()] = Some(name.clone());
        }
        // The names that callers see come first, so that nothing else takes them.
        let made: HashSet<ValueId> = graph.nodes.iter().flat_map(Node::defs).collect();
        for &value in graph.inputs.iter().chain(graph.outputs.iter().filter(|v| made.contains(v))) {
            if names[value.index()].is_none() {
                names[value.index()] = Some(self.name(&graph.value(value).name));
            }
        }
        for (info, name) in graph.values.iter().zip(&mut names) {
            if name.is_none() {
                *name = Some(self.name(&info.name));
            }
        }
        let names: Vec<String> = names.into_iter().flatten().collect();
        let of = |v: ValueId| names[v.index()].as_str();
        let mut out = GraphProto {
            name: Some(unique(&mut self.graphs, if graph.name.is_empty() { "graph" } else { &graph.name })),
            input: graph.inputs.iter().map(|&v| info(of(v), graph.ty(v))).collect(),
            ..GraphProto::default()
        };
        let used: HashSet<ValueId> = graph.nodes.iter().flat_map(Node::uses).chain(graph.outputs.clone()).collect();
        for (i, value) in graph.values.iter().enumerate() {
            let id = ValueId(i as u32);
            self.note_type(&value.ty);
            let Some(constant) = &value.constant else { continue };
            if used.contains(&id) || graph.inputs.contains(&id) {
                self.weight_bytes += constant.bytes().len();
                out.initializer.push(tensor::to_proto(constant, of(id)));
            }
        }
        for (n, node) in graph.nodes.iter().enumerate() {
            out.node.push(self.node(graph, node, &names).map_err(|e| e.at(graph.describe(n)))?);
            for value in node.defs().filter(|v| !graph.outputs.contains(v)) {
                out.value_info.extend(known(of(value), graph.ty(value)));
            }
        }
        let mut returned = HashSet::new();
        for &value in &graph.outputs {
            let own = made.contains(&value) || graph.inputs.contains(&value);
            let mut name = of(value).to_owned();
            if !own || !returned.insert(value) {
                let copy = self.name(&name);
                out.node.push(identity(&name, &copy));
                name = copy;
            }
            out.output.push(info(&name, graph.ty(value)));
        }
        Ok(out)
    }

    fn node(&mut self, graph: &Graph, node: &Node, names: &[String]) -> Result<NodeProto> {
        let def = node.op.def();
        let domain = if def.domain == "ai.onnx" { "" } else { def.domain };
        if !def.is_exported() {
            return Err(Error::unsupported(format!(
                "`{}` in a model: ONNX deprecated it before opset {LEAST_OPSET}",
                def.name
            )));
        }
        let version = self.opsets.entry(domain.to_owned()).or_insert(1);
        *version = (*version).max(version_of_node(graph, node));
        let list = |values: &[Option<ValueId>]| -> Vec<String> {
            values.iter().map(|v| v.map_or(String::new(), |v| names[v.index()].clone())).collect()
        };
        let captured: Vec<String> = node.captures.iter().map(|v| names[v.index()].clone()).collect();
        let mut attribute = Vec::new();
        for (name, value) in node.op.attrs() {
            attribute.push(match &value {
                Attr::Graph(body) => AttributeProto {
                    name: Some(name),
                    r#type: Some(AttributeType::Graph.into()),
                    g: Some(self.graph(body, Some(&captured))?),
                    ..AttributeProto::default()
                },
                other => attr::to_proto(&name, other)?,
            });
        }
        Ok(NodeProto {
            name: (!node.name.is_empty()).then(|| node.name.clone()),
            op_type: Some(def.name.to_owned()),
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            input: list(&node.inputs),
            output: list(&node.outputs),
            attribute,
            ..NodeProto::default()
        })
    }

    /// Raises the IR version to the one that brought the element type of a tensor.
    fn note_type(&mut self, ty: &Type) {
        let Some(tensor) = ty.as_tensor() else { return };
        let since = match tensor.dtype {
            DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ => 9,
            DType::I4 | DType::U4 => 10,
            DType::F4E2M1 => 11,
            DType::F8E8M0 => 12,
            DType::I2 | DType::U2 => 13,
            _ => 3,
        };
        self.ir_version = self.ir_version.max(since);
    }
}

fn identity(from: &str, to: &str) -> NodeProto {
    NodeProto {
        op_type: Some("Identity".into()),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..NodeProto::default()
    }
}

fn info(name: &str, ty: &Type) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), r#type: types::to_proto(ty), ..ValueInfoProto::default() }
}

fn known(name: &str, ty: &Type) -> Option<ValueInfoProto> {
    (*ty != Type::Unknown).then(|| info(name, ty))
}
