//! Calls written at an opset of years ago: what Egret's importer makes of the file must be what another runtime makes of it.
//!
//! ONNX's operators have changed: attributes became operands (`axes` of `Slice`), defaults and meanings changed (`axis` of
//! `Softmax`). A call is written in the form that the operator had at an older opset, as the schemas of the `onnx` package
//! have it ([`Schemas`]), constant operands that were attributes then as such. What the call means then follows from the file
//! alone, which Egret imports and evaluates: it need not be what it meant before.

use crate::choices::Choices;
use crate::generate::{Case, name_all, operand_names};
use crate::probe::calls;
use crate::runtime::in_opset;
use anyhow::{Context, Result};
use egret_ir::eval::{Env, Limits as EvalLimits, evaluate};
use egret_ir::onnx::proto::attribute_proto::AttributeType;
use egret_ir::onnx::proto::{AttributeProto, ModelProto, NodeProto, TensorProto};
use egret_ir::onnx::{self, Limits, external::External};
use egret_ir::{Attr, DType, Tensor};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Opsets before this one are none that runtimes promise to take.
const OLDEST: i64 = 7;

/// Forms of one case that are tried.
const TRIES: usize = 6;

/// How much more often a form is tried in which attributes or operands have since changed, not element types alone.
const CHANGED: usize = 8;

/// An operand or result of a schema.
#[derive(Debug)]
struct Formal {
    /// Lower case.
    name: String,
    /// Element types, as in `tensor(float)`.
    types: Vec<String>,
    variadic: bool,
}

/// What an operator was from one version on.
#[derive(Debug)]
struct Schema {
    since: i64,
    inputs: Vec<Formal>,
    outputs: Vec<Formal>,
    /// Names of attributes with their kinds (`INTS`).
    attrs: BTreeMap<String, String>,
}

/// All versions of all operators of ONNX's own domain.
#[derive(Debug, Default)]
pub struct Schemas(BTreeMap<String, Vec<Schema>>);

impl Schemas {
    /// From the answer of a worker: `{"Slice": [{"since", "inputs": [[name, [types], variadic]], "outputs", "attrs"}]}`.
    ///
    /// # Errors
    /// When it has another form.
    pub fn from_json(json: &Json) -> Result<Schemas> {
        let text = |j: &Json| j.as_str().map(str::to_owned).context("a name is no text");
        let formals = |j: &Json| -> Result<Vec<Formal>> {
            let one = |f: &Json| -> Result<Formal> {
                let types = f[1].as_array().context("no types")?.iter().map(text).collect::<Result<_>>()?;
                Ok(Formal { name: text(&f[0])?.to_lowercase(), types, variadic: f[2].as_bool().unwrap_or(false) })
            };
            j.as_array().context("no operands")?.iter().map(one).collect()
        };
        let mut all = BTreeMap::new();
        for (op, versions) in json.as_object().context("no operators")? {
            let one = |v: &Json| -> Result<Schema> {
                let attrs = v["attrs"].as_object().context("no attributes")?;
                let attrs = attrs.iter().map(|(n, kind)| Ok((n.clone(), text(kind)?))).collect::<Result<_>>()?;
                let since = v["since"].as_i64().context("no version")?;
                Ok(Schema { since, inputs: formals(&v["inputs"])?, outputs: formals(&v["outputs"])?, attrs })
            };
            let mut list = versions.as_array().context("no versions")?.iter().map(one).collect::<Result<Vec<_>>>()?;
            list.sort_by_key(|s| s.since);
            all.insert(op.clone(), list);
        }
        Ok(Schemas(all))
    }

    /// One of the calls of a case as a case of its own, whose file is in an older form; none where no call has one.
    pub fn older(&self, case: &Case, choices: &mut dyn Choices) -> Option<Case> {
        if !case.others.is_empty() {
            return None;
        }
        let calls: Vec<Case> = calls(case).into_iter().map(|(_, call)| call).collect();
        let mut ways = Vec::new();
        for call in &calls {
            let [node] = &call.graph.nodes[..] else { continue };
            let def = node.op.def();
            if node.op.attrs().values().any(|a| matches!(a, Attr::Graph(_))) {
                continue;
            }
            let Some(versions) = self.0.get(def.name).filter(|_| def.domain == "ai.onnx") else { continue };
            for (k, schema) in versions.iter().enumerate().take(versions.len().saturating_sub(1)) {
                let (least, end) = (schema.since.max(OLDEST), versions[k + 1].since);
                if least < end {
                    let weight = if versions[k + 1..].iter().any(|v| v.differs(schema)) { CHANGED } else { 1 };
                    ways.push((weight, call, schema, least + choices.below((end - least) as usize) as i64));
                }
            }
        }
        if ways.is_empty() {
            return None;
        }
        let weights: Vec<usize> = ways.iter().map(|way| way.0).collect();
        (0..TRIES).find_map(|_| {
            let (_, call, schema, opset) = ways[choices.weighted(&weights)];
            written(call, schema, opset)
        })
    }
}

impl Schema {
    /// Whether other attributes or operands make up a call.
    fn differs(&self, other: &Schema) -> bool {
        let names = |s: &Schema| s.inputs.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        !self.attrs.keys().eq(other.attrs.keys()) || names(self) != names(other)
    }

    /// The attribute that an operand of this name was.
    fn attribute_of(&self, operand: &str) -> Option<(&String, &String)> {
        let is_operand = self.inputs.iter().any(|f| f.name == *operand);
        self.attrs.iter().find(|(n, _)| !is_operand && (n.to_lowercase() == *operand || is_renamed(n, operand)))
    }
}

/// The call as a file in the form of a schema, with what that means now.
fn written(call: &Case, schema: &Schema, opset: i64) -> Option<Case> {
    if !took(call, opset) {
        return None;
    }
    let call = settled(call, schema)?;
    let file = file_of(&call, schema, opset)?;
    let mut graph = onnx::import_bytes(file.clone().into(), None, &Limits::default()).ok()?.graph;
    name_all(&mut graph);
    let limits = EvalLimits { loop_steps: 1 << 16, ..EvalLimits::default() };
    let outputs = evaluate(&graph, call.inputs.clone(), &Env::new(limits, 0)).ok()?;
    Some(Case { graph, inputs: call.inputs, outputs, file: Some(Arc::new(file)), ..Case::default() })
}

/// The call with constants for arguments that were attributes.
fn settled(call: &Case, schema: &Schema) -> Option<Case> {
    let mut call = Case { file: None, ..call.clone() };
    let node = &call.graph.nodes[0];
    let names = operand_names(node.op.def());
    let was = |(i, v): (usize, &Option<egret_ir::ValueId>)| {
        v.filter(|_| names.get(i).is_some_and(|n| schema.attribute_of(n).is_some()))
    };
    let values: Vec<_> = node.inputs.iter().enumerate().filter_map(was).collect();
    for v in values {
        if let Some(at) = call.graph.inputs.iter().position(|a| *a == v) {
            let t = call.inputs.remove(at).tensor().ok()?.clone();
            call.graph.inputs.remove(at);
            call.graph.values[v.index()].constant = Some(t);
        }
    }
    Some(call)
}

/// Whether the operator took such a call at that opset, as far as schemas do not say.
fn took(call: &Case, opset: i64) -> bool {
    let node = &call.graph.nodes[0];
    let operand = |v: &egret_ir::ValueId| {
        let argument = call.graph.inputs.iter().position(|a| a == v).map(|k| &call.inputs[k]);
        argument.and_then(|x| x.tensor().ok()).or_else(|| call.graph.constant(*v))
    };
    let operands: Vec<&Tensor> = node.inputs.iter().flatten().filter_map(operand).collect();
    let shapes: Vec<&[usize]> = operands.iter().map(|t| t.shape()).collect();
    let attrs = node.op.attrs();
    match node.op.def().name {
        // Operands did not broadcast.
        "Max" | "Mean" | "Min" | "Sum" if opset < 8 => shapes.windows(2).all(|w| w[0] == w[1]),
        // The sign of the divisor was for integers alone.
        "Mod" if opset < 28 => attrs.contains_key("fmod") || operands.iter().all(|t| t.dtype().is_int()),
        // What an empty range gives, opset 13 says.
        "Clip" if opset < 13 => {
            let end = |k: usize| {
                node.inputs.get(k).and_then(Option::as_ref).and_then(operand)?.floats().ok()?.first().copied()
            };
            end(1).zip(end(2)).is_none_or(|(min, max)| min <= max)
        }
        // The axis is 1 where none is given.
        "Hardmax" | "LogSoftmax" | "Softmax" if opset < 13 => {
            attrs.contains_key("axis") || shapes.iter().all(|s| s.len() > 1)
        }
        _ => true,
    }
}

/// The file of a call in the form of a schema.
fn file_of(call: &Case, schema: &Schema, opset: i64) -> Option<Vec<u8>> {
    let mut proto = in_opset(call, opset).ok()?;
    let node = &call.graph.nodes[0];
    let def = node.op.def();
    let names = operand_names(def);
    let dtypes = |values: &[Option<egret_ir::ValueId>]| -> Vec<Option<DType>> {
        values.iter().map(|v| v.and_then(|v| call.graph.ty(v).as_tensor().map(|t| t.dtype))).collect()
    };
    let (operands, results) = (dtypes(&node.inputs), dtypes(&node.outputs));
    let ModelProto { graph: Some(graph), .. } = &mut proto else { return None };
    let [written] = &mut graph.node[..] else { return None };
    let constant = |name: &str| graph.initializer.iter().find(|t| t.name() == name);
    let mut inputs: Vec<String> = Vec::new();
    let mut made = Vec::new();
    for (i, value) in written.input.iter().enumerate() {
        let name = names.get(i.min(names.len() - 1))?;
        let attr = schema.attribute_of(name);
        let there = schema.inputs.iter().position(|f| f.name == *name);
        let place = match (there, attr) {
            (Some(at), _) => at,
            (None, Some((attr, kind))) => {
                if !value.is_empty() {
                    made.push(attribute(attr, kind, constant(value)?)?);
                }
                continue;
            }
            (None, None) => inputs.len(),
        };
        let formal = schema.inputs.get(place).or_else(|| schema.inputs.last().filter(|f| f.variadic));
        let at = if formal.is_some_and(|f| f.variadic) { inputs.len() } else { place };
        if value.is_empty() {
            continue;
        }
        if !allows(formal?, operands.get(i).copied().flatten()?) || inputs.len() > at {
            return None;
        }
        inputs.resize(at, String::new());
        inputs.push(value.clone());
    }
    for (k, dtype) in results.iter().enumerate() {
        let formal = schema.outputs.get(k).or_else(|| schema.outputs.last().filter(|f| f.variadic))?;
        if let Some(dtype) = dtype
            && !allows(formal, *dtype)
        {
            return None;
        }
    }
    let known = |a: &AttributeProto| schema.attrs.get(a.name()).is_some_and(|kind| a.r#type().as_str_name() == kind);
    if !written.attribute.iter().all(known) {
        return None;
    }
    written.input = inputs;
    written.attribute.extend(made);
    let NodeProto { input, .. } = written;
    let read = input.clone();
    graph.initializer.retain(|t| read.iter().any(|n| n == t.name()));
    graph.value_info.clear();
    Some(onnx::encode(&proto))
}

/// Whether the operand had this other name when it was an attribute: that of `Pad`.
fn is_renamed(attr: &str, operand: &str) -> bool {
    (attr, operand) == ("value", "constant_value")
}

fn allows(formal: &Formal, dtype: DType) -> bool {
    let name = match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
        DType::U16 => "uint16",
        DType::U32 => "uint32",
        DType::U64 => "uint64",
        DType::Bool => "bool",
        DType::String => "string",
        // Types that came with the newest opsets.
        _ => return false,
    };
    formal.types.iter().any(|t| t.strip_prefix("tensor(").and_then(|t| t.strip_suffix(')')) == Some(name))
}

/// A constant operand as the attribute that it was.
fn attribute(name: &str, kind: &str, t: &TensorProto) -> Option<AttributeProto> {
    let t = onnx::tensor::from_proto(t, &External::none(), &Limits::default()).ok()?;
    let kind = AttributeType::from_str_name(kind)?;
    let mut a = AttributeProto { name: Some(name.to_owned()), r#type: Some(kind.into()), ..AttributeProto::default() };
    let floats = |t: &Tensor| t.floats().ok().map(|x| x.into_iter().map(|x| x as f32).collect::<Vec<f32>>());
    match kind {
        AttributeType::Ints => a.ints = t.to_i64s().ok()?,
        AttributeType::Floats => a.floats = floats(&t)?,
        AttributeType::Int => a.i = Some(one(t.to_i64s().ok()?)?),
        AttributeType::Float => a.f = Some(one(floats(&t)?)?),
        _ => return None,
    }
    Some(a)
}

fn one<T: Copy>(list: Vec<T>) -> Option<T> {
    if let [x] = list[..] { Some(x) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use egret_ir::{GraphBuilder, Type, Value, attrs};
    use serde_json::json;

    fn schemas() -> Schemas {
        let data = json!(["data", ["tensor(float)"], false]);
        let index = |n: &str| json!([n, ["tensor(int64)"], false]);
        let result = json!([["output", ["tensor(float)"], false]]);
        Schemas::from_json(&json!({
            "Slice": [
                { "since": 13, "inputs": [data, index("starts"), index("ends"), index("axes"), index("steps")],
                  "outputs": result, "attrs": {} },
                { "since": 1, "inputs": [data], "outputs": result,
                  "attrs": { "starts": "INTS", "ends": "INTS", "axes": "INTS" } },
            ],
            "Softmax": [
                { "since": 13, "inputs": [["input", ["tensor(float)"], false]], "outputs": result, "attrs": { "axis": "INT" } },
                { "since": 1, "inputs": [["input", ["tensor(float)"], false]], "outputs": result, "attrs": { "axis": "INT" } },
            ],
        }))
        .unwrap()
    }

    /// Further arguments are a one each.
    fn case(build: impl FnOnce(&mut GraphBuilder, egret_ir::ValueId) -> egret_ir::ValueId) -> Case {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3, 2]));
        let y = build(&mut b, x);
        let graph = b.finish(&[y]);
        let x = Tensor::from_slice(&[2, 3, 2], &(0..12).map(|i| i as f32 / 8.0).collect::<Vec<_>>());
        let ones = std::iter::repeat_n(Value::from(Tensor::from_slice(&[1], &[1i64])), graph.inputs.len() - 1);
        let inputs: Vec<Value> = std::iter::once(Value::from(x)).chain(ones).collect();
        let outputs = evaluate(&graph, inputs.clone(), &Env::default()).unwrap();
        Case { graph, inputs, outputs, ..Case::default() }
    }

    #[test]
    fn operands_become_the_attributes_that_they_were() {
        let case = case(|b, x| {
            let (starts, ends, axes) = (b.ints(&[1]), b.ints(&[3]), b.ints(&[1]));
            b.op("Slice", attrs! {}, &[x, starts, ends, axes]).unwrap()
        });
        let old = (0..).find_map(|i| schemas().older(&case, &mut Seeded::new(1, i))).unwrap();
        let proto = onnx::decode(old.file.as_ref().unwrap()).unwrap();
        let graph = proto.graph.as_ref().unwrap();
        assert!((OLDEST..13).contains(&proto.opset_import[0].version()));
        assert_eq!((graph.node[0].input.len(), graph.initializer.len()), (1, 0));
        let names: Vec<&str> = graph.node[0].attribute.iter().map(|a| a.name()).collect();
        assert_eq!(names, ["starts", "ends", "axes"]);
        assert_eq!(format!("{:?}", old.outputs), format!("{:?}", case.outputs));
    }

    #[test]
    fn arguments_become_attributes_too() {
        let mut case = case(|b, x| {
            let starts = b.input("starts", Type::tensor(DType::I64, &[1]));
            let (ends, axes) = (b.ints(&[3]), b.ints(&[1]));
            b.op("Slice", attrs! {}, &[x, starts, ends, axes]).unwrap()
        });
        let old = (0..).find_map(|i| schemas().older(&case, &mut Seeded::new(1, i))).unwrap();
        assert_eq!((old.graph.inputs.len(), old.inputs.len()), (1, 1));
        assert_eq!(old.outputs[0].tensor().unwrap().shape(), [2, 2, 2]);
        case.inputs.truncate(1);
        assert_eq!(old.inputs, case.inputs);
    }

    #[test]
    fn a_call_means_what_it_meant_at_its_opset() {
        let case = case(|b, x| b.op("Softmax", attrs! { axis: 1i64 }, &[x]).unwrap());
        let old = (0..).find_map(|i| schemas().older(&case, &mut Seeded::new(1, i))).unwrap();
        // Over both of the last axes then.
        let sum = |case: &Case| case.outputs[0].tensor().unwrap().floats().unwrap()[..6].iter().sum::<f64>();
        assert!((sum(&old) - 1.0).abs() < 1e-5 && (sum(&case) - 2.0).abs() < 1e-5);
    }

    #[test]
    fn what_had_no_form_then_has_none() {
        let by_steps = case(|b, x| {
            let (starts, ends, axes, steps) = (b.ints(&[0]), b.ints(&[3]), b.ints(&[1]), b.ints(&[2]));
            b.op("Slice", attrs! {}, &[x, starts, ends, axes, steps]).unwrap()
        });
        assert!((0..20).all(|i| schemas().older(&by_steps, &mut Seeded::new(1, i)).is_none()));
        let unknown = case(|b, x| b.op("Relu", attrs! {}, &[x]).unwrap());
        assert!(schemas().older(&unknown, &mut Seeded::new(1, 0)).is_none());
    }
}
