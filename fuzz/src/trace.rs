//! Records of operator calls, one JSON object a line: what went in, and the types that came out or the refusal.
//!
//! ```text
//! {"op":"Gather","attrs":{"axis":1},"inputs":[{"dtype":"f32","shape":[2,3]},{"dtype":"i64","shape":[4]}],
//!  "outputs":[{"dtype":"f32","shape":[2,4]}]}
//! {"op":"Reshape","inputs":[{"dtype":"f32","shape":[2,3]},{"dtype":"i64","shape":[1],"values":[5]}],"error":"…"}
//! ```
//! Elements are kept of small integer and float tensors of rank 0 and 1, because shapes, axes and scales travel in them.
//! An extent that depends on data is `null`. Sources: probes of the inference, graphs of models, ONNX's backend tests, and
//! scripts that use PyTorch (`workers/torch_record.py`):
//!
//! ```text
//! {"op":"torch.cat","domain":"torch","operands":["tensors.0","tensors.1"],"inputs":[…],"attrs":{},"defaults":{"dim":0},
//!  "outputs":[{"dtype":"f32","shape":[1,4]}]}
//! ```
//! Functions there take operands by name: `operands` names one for each input, `tensors.0` being the first of a list, which
//! comes last. What is known of parameters that the call leaves out is in `defaults`, and which attributes are truth values in `flags`.

use crate::blackbox::{BlackBox, Egret};
use crate::workers;
use anyhow::{Context, Result, ensure};
use egret_ir::infer::walk;
use egret_ir::onnx::{self, Limits, data};
use egret_ir::rule::Content;
use egret_ir::{Attr, Attrs, DType, Dim, Fact, Graph, Node, Value, ops};
use serde_json::{Map, Value as Json, json};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Elements that a record keeps of one tensor, at most.
const MAX_ELEMENTS: usize = 16;

/// An element.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// Of an integer tensor.
    Int(i64),
    /// Of a float tensor.
    Float(f64),
}

/// An operand.
#[derive(Clone, PartialEq, Debug)]
pub struct Argument {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<i64>,
    /// Its elements, row-major, where the record keeps them.
    pub values: Option<Vec<Number>>,
}

/// A call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Domain, `ai.onnx` written out.
    pub domain: String,
    /// ONNX name.
    pub op: String,
    /// Attributes.
    pub attrs: Attrs,
    /// Names of the operands where the operator takes them by name, `list.0` for the first of a list; empty where the
    /// place tells which is which.
    pub operands: Vec<String>,
    /// Operands; `None` is left out.
    pub inputs: Vec<Option<Argument>>,
    /// Results that the call names.
    pub n_outputs: usize,
}

/// A result's type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Produced {
    /// A tensor; an extent that depends on data is `None`.
    Tensor {
        /// Element type.
        dtype: DType,
        /// Extents.
        shape: Vec<Option<i64>>,
    },
    /// A sequence or an optional of tensors.
    Nested {
        /// The type's text, `?` for each extent.
        text: String,
        /// Extents of the tensors.
        shape: Vec<Option<i64>>,
    },
    /// A map, or something that holds a tensor of unknown rank.
    Other(String),
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Types of the results.
    Valid(Vec<Produced>),
    /// The call breaks the operator's rule.
    Invalid(String),
    /// The black box cannot say: it does not know the operator, or a limit was reached.
    Unsupported(String),
}

/// A call and what became of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The call.
    pub call: Call,
    /// Its outcome.
    pub outcome: Outcome,
    /// Attributes that the call leaves out, as they are then, where the source knows them.
    pub defaults: Attrs,
    /// Attributes that are truth values, given or not, where the source knows them.
    pub flags: Vec<String>,
}

impl Record {
    /// A call of an operator of which a declaration tells the rest.
    pub fn new(call: Call, outcome: Outcome) -> Record {
        Record { call, outcome, defaults: Attrs::new(), flags: Vec::new() }
    }

    /// As a JSON object.
    pub fn json(&self) -> Json {
        let Call { domain, op, attrs, operands, inputs, n_outputs } = &self.call;
        let inputs: Vec<Json> = inputs.iter().map(|a| a.as_ref().map_or(Json::Null, argument_json)).collect();
        let mut out = json!({ "op": op, "inputs": inputs });
        if domain != "ai.onnx" {
            out["domain"] = json!(domain);
        }
        if !operands.is_empty() {
            out["operands"] = json!(operands);
        }
        for (key, list) in [("attrs", attrs), ("defaults", &self.defaults)] {
            if !list.is_empty() {
                out[key] = list.iter().map(|(k, v)| (k.clone(), attr_json(v))).collect::<Map<_, _>>().into();
            }
        }
        if !self.flags.is_empty() {
            out["flags"] = json!(self.flags);
        }
        match &self.outcome {
            Outcome::Valid(types) => out["outputs"] = types.iter().map(produced_json).collect(),
            Outcome::Invalid(e) => out["error"] = json!(e),
            Outcome::Unsupported(e) => out["unsupported"] = json!(e),
        }
        if !matches!(&self.outcome, Outcome::Valid(types) if types.len() == *n_outputs) && *n_outputs != 1 {
            out["n_outputs"] = json!(n_outputs);
        }
        out
    }

    /// Reads the JSON object.
    ///
    /// # Errors
    /// When it is no record.
    pub fn from_json(json: &Json) -> Result<Record> {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        let inputs = json["inputs"].as_array().context("a record has no inputs")?;
        let inputs =
            inputs.iter().map(|a| (!a.is_null()).then(|| argument(a)).transpose()).collect::<Result<Vec<_>>>()?;
        let attrs_of = |key: &str| -> Result<Attrs> {
            let attrs = json[key].as_object().into_iter().flatten();
            attrs.map(|(k, v)| Ok((k.clone(), attr(v)?))).collect()
        };
        let words = |key: &str| -> Result<Vec<String>> {
            let list = json[key].as_array().into_iter().flatten();
            list.map(|w| w.as_str().map(str::to_owned).with_context(|| format!("`{key}` holds {w}"))).collect()
        };
        let operands = words("operands")?;
        if !operands.is_empty() {
            ensure!(operands.len() == inputs.len(), "{} operands have {} names", inputs.len(), operands.len());
            let mut list = operands.iter().skip_while(|n| !n.contains('.')).enumerate();
            let of = |n: &str| n.split('.').next().unwrap_or_default().to_owned();
            let first = operands.iter().find(|n| n.contains('.')).map(|n| of(n)).unwrap_or_default();
            ensure!(
                list.all(|(k, n)| *n == format!("{first}.{k}")),
                "one list of operands, the last ones, can be open"
            );
        }
        let outcome = match (&json["outputs"], text("error"), text("unsupported")) {
            (Json::Array(types), ..) => Outcome::Valid(types.iter().map(produced_of).collect::<Result<_>>()?),
            (_, Some(e), _) => Outcome::Invalid(e),
            (_, _, Some(e)) => Outcome::Unsupported(e),
            _ => anyhow::bail!("a record has neither outputs nor an error"),
        };
        let n = if let Outcome::Valid(types) = &outcome { types.len() } else { 1 };
        let n_outputs = json["n_outputs"].as_u64().map_or(n, |n| n as usize);
        let domain = text("domain").unwrap_or_else(|| "ai.onnx".into());
        let op = text("op").context("a record names no operator")?;
        let call = Call { domain, op, attrs: attrs_of("attrs")?, operands, inputs, n_outputs };
        Ok(Record { call, outcome, defaults: attrs_of("defaults")?, flags: words("flags")? })
    }
}

fn argument_json(a: &Argument) -> Json {
    let mut out = json!({ "dtype": a.dtype.name(), "shape": a.shape });
    if let Some(values) = &a.values {
        out["values"] = values.iter().map(|v| number_json(*v)).collect();
    }
    out
}

fn number_json(v: Number) -> Json {
    match v {
        Number::Int(v) => json!(v),
        Number::Float(v) if v.is_finite() => json!(v),
        Number::Float(v) => json!(v.to_string()),
    }
}

fn number(json: &Json) -> Result<Number> {
    if let Some(v) = json.as_i64() {
        return Ok(Number::Int(v));
    }
    let float = json.as_f64().or_else(|| json.as_str()?.parse().ok());
    float.map(Number::Float).with_context(|| format!("{json} is no number"))
}

fn ints(json: &Json) -> Result<Vec<i64>> {
    let list = json.as_array().with_context(|| format!("{json} is no list"))?;
    list.iter().map(|v| v.as_i64().with_context(|| format!("{v} is no integer"))).collect()
}

/// An element type's name.
///
/// # Errors
/// When it is none.
pub fn dtype(json: &Json) -> Result<DType> {
    let name = json.as_str().with_context(|| format!("{json} is no element type"))?;
    name.parse().map_err(|_| anyhow::anyhow!("`{name}` is no element type"))
}

fn argument(json: &Json) -> Result<Argument> {
    let values = json["values"].as_array().map(|v| v.iter().map(number).collect::<Result<_>>()).transpose()?;
    Ok(Argument { dtype: dtype(&json["dtype"])?, shape: ints(&json["shape"])?, values })
}

fn produced_json(p: &Produced) -> Json {
    match p {
        Produced::Tensor { dtype, shape } => json!({ "dtype": dtype.name(), "shape": shape }),
        Produced::Nested { text, shape } => json!({ "type": text, "shape": shape }),
        Produced::Other(text) => json!({ "type": text }),
    }
}

fn produced_of(json: &Json) -> Result<Produced> {
    let shape = json["shape"].as_array().map(|s| s.iter().map(Json::as_i64).collect());
    Ok(match (json["type"].as_str().map(str::to_owned), shape) {
        (Some(text), Some(shape)) => Produced::Nested { text, shape },
        (Some(text), None) => Produced::Other(text),
        (None, shape) => {
            Produced::Tensor { dtype: dtype(&json["dtype"])?, shape: shape.context("a result has no shape")? }
        }
    })
}

/// An attribute as JSON: numbers, texts and lists as themselves, an element type as `{"dtype": name}`, what else there is
/// as text.
pub fn attr_json(a: &Attr) -> Json {
    let int = |d: &Dim| d.as_int().map_or_else(|| json!(d.to_string()), |v| json!(v));
    let float = |v: &f32| number_json(Number::Float(f64::from(*v)));
    match a {
        Attr::Int(d) => int(d),
        Attr::Ints(list) => list.iter().map(int).collect(),
        Attr::Float(v) => float(v),
        Attr::Floats(list) if list.is_empty() => json!({ "floats": [] }),
        Attr::Floats(list) => list.iter().map(float).collect(),
        Attr::String(s) => json!(s),
        Attr::Strings(list) => json!({ "strings": list }),
        Attr::DType(d) => json!({ "dtype": d.name() }),
        Attr::Tensor(t) => json!({ "tensor": t.dtype().name(), "shape": t.shape(),
                                   "values": t.floats().unwrap_or_default() }),
        Attr::Tensors(_) | Attr::Type(_) | Attr::Graph(_) => json!({ "other": a.kind() }),
    }
}

/// Reads what [`attr_json`] wrote.
///
/// # Errors
/// When it is no attribute of a kind that records keep.
pub fn attr(json: &Json) -> Result<Attr> {
    Ok(match json {
        Json::Number(_) => match number(json)? {
            Number::Int(v) => Attr::from(v),
            Number::Float(v) => Attr::Float(v as f32),
        },
        Json::String(s) => Attr::String(s.clone()),
        Json::Array(list) if list.iter().any(Json::is_f64) => {
            Attr::Floats(list.iter().map(|v| number(v).map(|v| v.float() as f32)).collect::<Result<_>>()?)
        }
        Json::Array(_) => Attr::from(ints(json)?),
        Json::Object(o) if o.contains_key("dtype") => Attr::DType(dtype(&json["dtype"])?),
        Json::Object(o) if o.contains_key("floats") => Attr::Floats(Vec::new()),
        Json::Object(_) if json["strings"].is_array() => {
            let list = json["strings"].as_array().into_iter().flatten();
            Attr::Strings(list.filter_map(|s| s.as_str().map(str::to_owned)).collect())
        }
        Json::Object(_) if json["tensor"].is_string() => {
            let shape = ints(&json["shape"])?;
            let values = json["values"].as_array().context("a tensor has no elements")?;
            let values = values.iter().map(number).collect::<Result<Vec<_>>>()?;
            let a = Argument { dtype: dtype(&json["tensor"])?, shape, values: Some(values) };
            Attr::Tensor(crate::blackbox::value(&a)?.tensor()?.clone())
        }
        other => anyhow::bail!("{other} is no attribute that a record keeps"),
    })
}

/// The calls of a graph, for arguments of which `args` says types and elements, in order; those with open extents,
/// values that are no tensors, or bodies are left out.
///
/// # Errors
/// When the graph does not type.
pub fn calls_of(graph: &Graph, args: &[Fact]) -> egret_ir::Result<Vec<Call>> {
    let facts = walk(graph, args, &[], &mut 0)?.facts;
    Ok(graph.nodes.iter().filter_map(|node| call_of(node, &facts)).collect())
}

fn call_of(node: &Node, facts: &[Fact]) -> Option<Call> {
    let def = node.op.def();
    if !node.op.bodies().is_empty() {
        return None;
    }
    let input = |v: egret_ir::ValueId| -> Option<Argument> {
        let fact = &facts[v.index()];
        let (dtype, shape) = fact.ty.concrete()?;
        let small = shape.len() <= 1 && shape.iter().product::<usize>() <= MAX_ELEMENTS;
        let values = match &fact.content {
            Some(Content::Dims(dims)) if small => {
                dims.iter().map(|d| d.as_int().map(Number::Int)).collect::<Option<_>>()
            }
            Some(Content::Tensor(t)) if small && dtype.is_int() => {
                t.to_i64s().ok().map(|v| v.into_iter().map(Number::Int).collect())
            }
            Some(Content::Tensor(t)) if small && dtype.is_float() => {
                t.floats().ok().map(|v| v.into_iter().map(Number::Float).collect())
            }
            _ => None,
        };
        Some(Argument { dtype, shape: shape.iter().map(|&d| d as i64).collect(), values })
    };
    let mut inputs = Vec::new();
    for v in &node.inputs {
        inputs.push(match v {
            Some(v) => Some(input(*v)?),
            None => None,
        });
    }
    Some(Call {
        domain: def.domain.into(),
        op: def.name.into(),
        attrs: node.op.attrs(),
        operands: Vec::new(),
        inputs,
        n_outputs: node.outputs.len(),
    })
}

/// The calls in an operator's own examples.
pub fn calls_of_examples(def: &egret_ir::OpDef) -> Vec<Call> {
    let graphs = egret_ir::text::parse(def.examples).unwrap_or_default();
    let args = |g: &Graph| g.inputs.iter().map(|&v| Fact::of(g.ty(v).clone())).collect::<Vec<_>>();
    let calls = graphs.iter().flat_map(|g| {
        let nodes = g.nodes.iter().filter(|n| n.op.def().name == def.name);
        let typed = calls_of(g, &args(g)).unwrap_or_default();
        // Attributes are of use even where types are open.
        let bare = nodes.map(|n| Call {
            domain: def.domain.into(),
            op: def.name.into(),
            attrs: n.op.attrs(),
            operands: Vec::new(),
            inputs: Vec::new(),
            n_outputs: n.outputs.len(),
        });
        typed.into_iter().filter(|c| c.op == def.name).chain(bare.collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    calls.collect()
}

/// The calls in an operator's own examples, first those of runs that the examples show: they state elements of arguments,
/// and numbers for open extents.
pub fn calls_shown(def: &egret_ir::OpDef) -> Vec<Call> {
    let graphs = egret_ir::text::parse(def.examples).unwrap_or_default();
    let mut calls: Vec<Call> = Vec::new();
    for line in def.examples.lines().filter_map(|l| l.trim().strip_prefix("// run: @")) {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let Some(graph) = graphs.iter().find(|g| g.name == name.trim_matches('"')) else { continue };
        let types: Vec<_> = graph.inputs.iter().map(|&v| graph.ty(v).clone()).collect();
        let Ok((args, _)) = egret_ir::text::parse_values(rest, &types) else { continue };
        let args: Vec<Fact> = args.into_iter().map(fact_of_value).collect();
        let of = |c: &Call| (&*c.domain, &*c.op) == (def.domain, def.name);
        calls.extend(calls_of(graph, &args).unwrap_or_default().into_iter().filter(of));
    }
    calls.extend(calls_of_examples(def));
    calls
}

/// What a record says of an argument: its type, and its elements where they are few.
fn fact_of_value(value: Value) -> Fact {
    match value {
        Value::Tensor(t) if t.len() <= MAX_ELEMENTS => Fact::constant(t),
        other => Fact::of(other.ty()),
    }
}

/// The calls of a model, run in a black box: `path` is an ONNX file, or the folder of a backend test (whose first data set
/// gives the arguments).
///
/// # Errors
/// When it cannot be read.
pub fn trace_model(path: &Path, system: &mut dyn BlackBox) -> Result<Vec<Record>> {
    let file = if path.is_dir() { path.join("model.onnx") } else { path.to_path_buf() };
    let model = onnx::import_file(&file, &Limits::default()).with_context(|| file.display().to_string())?;
    let graph = &model.graph;
    let mut args = Vec::new();
    for (k, &v) in graph.inputs.iter().enumerate() {
        let data = file.with_file_name("test_data_set_0").join(format!("input_{k}.pb"));
        let value = data.exists().then(|| data::load(&data, graph.ty(v), &Limits::default())).transpose()?;
        args.push(match value {
            Some((_, value)) => fact_of_value(value),
            None => Fact::of(graph.ty(v).clone()),
        });
    }
    let calls = calls_of(graph, &args)?;
    Ok(calls.into_iter().map(|call| recorded(call, system)).collect())
}

/// Runs a Python script that uses PyTorch with arguments of its own and writes its calls of PyTorch's functions to `out`, at
/// most so many different ones of each. The script's output and its exit are its own; standard error ends with what was
/// recorded and what records cannot hold.
///
/// # Errors
/// When Python does not start, or what was written is no file of records: then there is no PyTorch.
pub fn trace_script(
    python: &Path,
    script: &Path,
    args: &[impl AsRef<OsStr>],
    out: &Path,
    most: usize,
) -> Result<ExitStatus> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(python);
    command.arg(workers::unpack(folder.path(), "torch_record.py")?);
    command.arg(out).arg(most.to_string()).arg(script).args(args);
    let status = command.status().with_context(|| {
        format!("cannot start {} (`cargo xtask runtime torch torch` makes a Python with PyTorch)", python.display())
    })?;
    let at = || out.display().to_string();
    read(&std::fs::read_to_string(out).with_context(at)?).with_context(at)?;
    Ok(status)
}

/// Records of the operator's own examples.
pub fn trace_examples() -> Vec<Record> {
    let mut egret = Egret::default();
    let calls = ops::OPS.iter().flat_map(|def| calls_of_examples(def)).filter(|c| !c.inputs.is_empty());
    calls.map(|call| recorded(call, &mut egret)).collect()
}

fn recorded(call: Call, system: &mut dyn BlackBox) -> Record {
    let outcome = system.call(&call);
    Record::new(call, outcome)
}

/// All records of a file's text.
///
/// # Errors
/// At the first line that is no record, with its number.
pub fn read(text: &str) -> Result<Vec<Record>> {
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    lines
        .map(|(n, line)| {
            let json: Json = serde_json::from_str(line).with_context(|| format!("line {}", n + 1))?;
            Record::from_json(&json).with_context(|| format!("line {}", n + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        let records = trace_examples();
        assert!(records.len() > 100, "{}", records.len());
        for r in records {
            let line = r.json().to_string();
            let again = Record::from_json(&serde_json::from_str(&line).unwrap());
            // Attributes that are graphs or types are not kept.
            if !line.contains("\"other\"") {
                assert_eq!(again.unwrap().json(), r.json(), "{line}");
            }
        }
    }

    #[test]
    fn records_of_functions_that_take_operands_by_name_are_read() {
        let line = r#"{"op":"torch.cat","domain":"torch","operands":["tensors.0","tensors.1"],"attrs":{"dim":1},
            "inputs":[{"dtype":"f32","shape":[1,2]},{"dtype":"i64","shape":[2],"values":[3,-1]}],
            "defaults":{"mode":"constant","p":2.5},"flags":["keepdim"],"outputs":[{"dtype":"f32","shape":[1,4]}]}"#;
        let json: Json = serde_json::from_str(line).unwrap();
        let record = Record::from_json(&json).unwrap();
        assert_eq!(record.call.operands, ["tensors.0", "tensors.1"]);
        assert_eq!(record.defaults.len(), 2);
        assert_eq!(record.json(), json);
        let one = line.replace(r#","tensors.1""#, "");
        let refused = Record::from_json(&serde_json::from_str(&one).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("2 operands have 1 names"), "{refused}");
    }

    #[test]
    fn most_examples_are_valid_by_their_types() {
        // Those whose elements decide, and which are arguments of the example, are refused: the record has no elements.
        let records = trace_examples();
        let valid = records.iter().filter(|r| matches!(r.outcome, Outcome::Valid(_))).count();
        assert!(valid * 10 > records.len() * 9, "{valid} of {}", records.len());
    }
}
