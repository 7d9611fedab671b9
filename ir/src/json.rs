//! The graph as JSON: the interchange form for other tools. Ids are kept, so that reading back gives an equal graph.
//!
//! ```text
//! {"format": "egret-graph", "version": 1, "name": "f",
//!  "values": [{"name": "x", "type": "f32[n, 2]"}, {"name": "w", "type": "f32[2]", "constant": TENSOR}],
//!  "nodes": [{"op": "concat", "name": "", "attrs": {"axis": {"int": 0}}, "inputs": [0, null], "captures": [], "outputs": [1]}],
//!  "inputs": [0], "captures": [], "outputs": [1]}
//! TENSOR = {"dtype": "f32", "shape": [2], "data": [1.0, "nan"]}      elements row-major
//!        | {"dtype": "f32", "shape": [2], "extern": {"file": "w.bin", "offset": 0, "hash": "0x…"}}
//! ```
//! Types, and integer attributes that are terms, are texts as in [`text`](crate::text). A float that JSON numbers do not
//! carry exactly is a text: `"nan"`, `"inf"`, raw bits `"0x7fc00001"`. Complex elements are pairs.

use crate::attr::{Attr, Attrs};
use crate::dim::Dim;
use crate::dtype::{Class, DType};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId, ValueInfo};
use crate::ops;
use crate::tensor::Tensor;
use crate::text::{Sidecar, TensorRef, float_bits, float_text, parse_tensor, parse_type, quote};
use serde_json::{Map, Number, Value, json};
use std::sync::Arc;

/// Version of the form.
const VERSION: u64 = 1;

/// The graph as JSON, all tensors in it.
pub fn to_json(graph: &Graph) -> Value {
    write_graph(graph, &mut None)
}

/// The graph as JSON, its large tensors in a file beside it.
pub fn to_json_with(graph: &Graph, sidecar: &mut Sidecar) -> Value {
    write_graph(graph, &mut Some(sidecar))
}

/// Reads a graph; ids are in range, nothing else is checked ([`verify`](crate::verify) does).
///
/// # Errors
/// When the value is not in this form, with the path to where.
pub fn from_json(value: &Value) -> Result<Graph> {
    let outside = |_: &TensorRef| Err(Error::invalid("the content of a tensor lies in another file"));
    from_json_with(value, &outside)
}

/// As [`from_json`], with a source for tensors in other files.
///
/// # Errors
/// As [`from_json`], and those of `resolve`.
pub fn from_json_with(value: &Value, resolve: &dyn Fn(&TensorRef) -> Result<Tensor>) -> Result<Graph> {
    read_graph(value, resolve, 0)
}

fn write_graph(g: &Graph, file: &mut Option<&mut Sidecar>) -> Value {
    let ids = |ids: &[ValueId]| Value::from(ids.iter().map(|v| v.0).collect::<Vec<_>>());
    let some = |ids: &[Option<ValueId>]| Value::from(ids.iter().map(|v| v.map(|v| v.0)).collect::<Vec<_>>());
    let values: Vec<Value> = g
        .values
        .iter()
        .map(|v| {
            let mut out = json!({"name": v.name, "type": v.ty.to_string()});
            if let Some(t) = &v.constant {
                out["constant"] = write_tensor(t, file);
            }
            out
        })
        .collect();
    let nodes: Vec<Value> = g
        .nodes
        .iter()
        .map(|n| {
            let attrs: Map<String, Value> =
                n.op.attrs().iter().map(|(k, a)| (k.clone(), write_attr(a, file))).collect();
            json!({"op": n.op.def().mnemonic(), "name": n.name, "attrs": attrs, "inputs": some(&n.inputs),
                   "captures": ids(&n.captures), "outputs": some(&n.outputs)})
        })
        .collect();
    json!({"format": "egret-graph", "version": VERSION, "name": g.name, "values": values, "nodes": nodes,
           "inputs": ids(&g.inputs), "captures": ids(&g.captures), "outputs": ids(&g.outputs)})
}

fn write_attr(attr: &Attr, file: &mut Option<&mut Sidecar>) -> Value {
    let float = |v: &f32| write_float(DType::F32, u64::from(v.to_bits()));
    let int = |v: &Dim| serde_json::to_value(v).unwrap_or(Value::Null);
    match attr {
        Attr::Int(v) => json!({"int": int(v)}),
        Attr::Float(v) => json!({"float": float(v)}),
        Attr::String(v) => json!({"string": v}),
        Attr::Tensor(v) => json!({"tensor": write_tensor(v, file)}),
        Attr::Graph(v) => json!({"graph": write_graph(v, file)}),
        Attr::DType(v) => json!({"dtype": v.name()}),
        Attr::Type(v) => json!({"type": v.to_string()}),
        Attr::Ints(v) => json!({"ints": v.iter().map(int).collect::<Vec<_>>()}),
        Attr::Floats(v) => json!({"floats": v.iter().map(float).collect::<Vec<_>>()}),
        Attr::Strings(v) => json!({"strings": v}),
        Attr::Tensors(v) => json!({"tensors": v.iter().map(|t| write_tensor(t, file)).collect::<Vec<_>>()}),
    }
}

fn write_tensor(t: &Tensor, file: &mut Option<&mut Sidecar>) -> Value {
    let mut out = json!({"dtype": t.dtype().name(), "shape": t.shape()});
    if let Some(file) = file
        && t.len() > file.inline_elems
        && t.dtype() != DType::String
    {
        let r = file.add(t);
        out["extern"] = json!({"file": r.file, "offset": r.offset, "hash": format!("{:#018x}", r.hash)});
        return out;
    }
    let bits =
        |size: usize| t.bytes().chunks_exact(size).map(|b| b.iter().rev().fold(0u64, |v, &b| v << 8 | u64::from(b)));
    let data: Vec<Value> = match t.dtype().class() {
        Class::String => t.strings().unwrap_or_default().iter().map(|s| Value::from(&**s)).collect(),
        Class::Bool => t.bytes().iter().map(|&b| Value::from(b != 0)).collect(),
        Class::Float => bits(t.dtype().size_bytes()).map(|b| write_float(t.dtype(), b)).collect(),
        Class::Complex => {
            let part = if t.dtype() == DType::C64 { DType::F32 } else { DType::F64 };
            let parts: Vec<Value> = bits(part.size_bytes()).map(|b| write_float(part, b)).collect();
            parts.chunks_exact(2).map(|p| Value::from(p.to_vec())).collect()
        }
        Class::Signed | Class::Unsigned => {
            let number = |v: i128| i64::try_from(v).map_or_else(|_| Value::from(v as u64), Value::from);
            t.ints().unwrap_or_default().into_iter().map(number).collect()
        }
    };
    out["data"] = Value::from(data);
    out
}

/// A number where reading it back gives these bits (`serde_json` may read a double one unit off), else a text.
fn write_float(dtype: DType, bits: u64) -> Value {
    let text = float_text(dtype, bits);
    let number = text.parse::<f64>().ok().and_then(Number::from_f64).filter(|n| {
        let read = serde_json::from_str::<Number>(&n.to_string()).ok();
        read.is_some_and(|n| float_bits(dtype, &n.to_string()) == Some(bits))
    });
    number.map_or(Value::from(text), Value::Number)
}

/// Bodies nest no deeper; `serde_json` itself stops at 128 levels of any kind.
const MAX_DEPTH: usize = 48;

fn get<'a>(v: &'a Value, key: &str) -> Result<&'a Value> {
    v.get(key).ok_or_else(|| Error::invalid(format!("`{key}` is missing")))
}

fn list<'a>(v: &'a Value, key: &str) -> Result<&'a [Value]> {
    get(v, key)?.as_array().map(Vec::as_slice).ok_or_else(|| Error::invalid(format!("`{key}` must be a list")))
}

fn text<'a>(v: &'a Value, key: &str) -> Result<&'a str> {
    get(v, key)?.as_str().ok_or_else(|| Error::invalid(format!("`{key}` must be a text")))
}

type Resolve<'a> = &'a dyn Fn(&TensorRef) -> Result<Tensor>;

fn read_graph(v: &Value, resolve: Resolve<'_>, depth: usize) -> Result<Graph> {
    if text(v, "format")? != "egret-graph" || get(v, "version")?.as_u64() != Some(VERSION) {
        return Err(Error::unsupported(format!("this is no `egret-graph` of version {VERSION}")));
    }
    if depth > MAX_DEPTH {
        return Err(Error::limit(format!("bodies nested deeper than {MAX_DEPTH} levels")));
    }
    let mut g = Graph::new(text(v, "name")?);
    for (i, v) in list(v, "values")?.iter().enumerate() {
        let read = || {
            let constant = v.get("constant").map(|t| read_tensor(t, resolve)).transpose()?;
            Ok(ValueInfo { name: text(v, "name")?.to_owned(), ty: parse_type(text(v, "type")?)?, constant })
        };
        g.values.push(read().map_err(|e: Error| e.at(format!("value {i}")))?);
    }
    let n = g.values.len();
    for (i, v) in list(v, "nodes")?.iter().enumerate() {
        let node = read_node(v, n, resolve, depth);
        g.nodes.push(node.map_err(|e| e.at(format!("node {i}")))?);
    }
    (g.inputs, g.captures, g.outputs) = (ids(v, "inputs", n)?, ids(v, "captures", n)?, ids(v, "outputs", n)?);
    Ok(g)
}

fn id(v: &Value, n: usize) -> Result<ValueId> {
    match v.as_u64().and_then(|v| u32::try_from(v).ok()) {
        Some(v) if (v as usize) < n => Ok(ValueId(v)),
        _ => Err(Error::invalid(format!("{v} is no id of the {n} values"))),
    }
}

fn ids(v: &Value, key: &str, n: usize) -> Result<Vec<ValueId>> {
    list(v, key)?.iter().map(|v| id(v, n)).collect()
}

fn optional_ids(v: &Value, key: &str, n: usize) -> Result<Vec<Option<ValueId>>> {
    list(v, key)?.iter().map(|v| if v.is_null() { Ok(None) } else { id(v, n).map(Some) }).collect()
}

fn read_node(v: &Value, n: usize, resolve: Resolve<'_>, depth: usize) -> Result<Node> {
    let word = text(v, "op")?;
    let def = ops::find_mnemonic(word).ok_or_else(|| Error::unsupported(format!("there is no operator `{word}`")))?;
    let given = get(v, "attrs")?.as_object().ok_or_else(|| Error::invalid("`attrs` must be an object"))?;
    let mut attrs = Attrs::new();
    for (key, attr) in given {
        let attr = read_attr(attr, resolve, depth).map_err(|e| e.at(format!("attribute `{key}`")))?;
        attrs.insert(key.clone(), attr);
    }
    Ok(Node {
        op: (def.parse)(&attrs).map_err(|e| e.of_op(def.name))?,
        name: text(v, "name")?.to_owned(),
        inputs: optional_ids(v, "inputs", n)?,
        captures: ids(v, "captures", n)?,
        outputs: optional_ids(v, "outputs", n)?,
    })
}

fn read_attr(v: &Value, resolve: Resolve<'_>, depth: usize) -> Result<Attr> {
    let (kind, value) = match v.as_object().map(|o| (o.len(), o.iter().next())) {
        Some((1, Some(entry))) => entry,
        _ => return Err(Error::invalid("an attribute is an object of its kind and value")),
    };
    let items = || value.as_array().ok_or_else(|| Error::invalid(format!("`{kind}` must be a list")));
    let string = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| Error::invalid(format!("{v} is no text")));
    let int = |v: &Value| -> Result<Dim> {
        serde_json::from_value(v.clone()).map_err(|e| Error::invalid(format!("{v} is no integer: {e}")))
    };
    let float = |v: &Value| -> Result<f32> {
        let bits = float_bits(DType::F32, &scalar_text(v)?);
        bits.map(|b| f32::from_bits(b as u32)).ok_or_else(|| Error::invalid(format!("{v} is no float")))
    };
    Ok(match kind.as_str() {
        "int" => Attr::Int(int(value)?),
        "float" => Attr::Float(float(value)?),
        "string" => Attr::String(string(value)?),
        "tensor" => Attr::Tensor(read_tensor(value, resolve)?),
        "graph" => Attr::Graph(Arc::new(read_graph(value, resolve, depth + 1)?)),
        "dtype" => Attr::DType(read_dtype(&string(value)?)?),
        "type" => Attr::Type(parse_type(&string(value)?)?),
        "ints" => Attr::Ints(items()?.iter().map(int).collect::<Result<_>>()?),
        "floats" => Attr::Floats(items()?.iter().map(float).collect::<Result<_>>()?),
        "strings" => Attr::Strings(items()?.iter().map(string).collect::<Result<_>>()?),
        "tensors" => Attr::Tensors(items()?.iter().map(|t| read_tensor(t, resolve)).collect::<Result<_>>()?),
        other => return Err(Error::invalid(format!("`{other}` is no kind of attribute"))),
    })
}

fn read_dtype(name: &str) -> Result<DType> {
    name.parse().map_err(|e: crate::dtype::UnknownDType| Error::invalid(e.to_string()))
}

/// A number, a truth value, or a float's text, as the text form writes it.
fn scalar_text(v: &Value) -> Result<String> {
    match v {
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::String(s) if s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => Ok(s.clone()),
        _ => Err(Error::invalid(format!("{v} is no number"))),
    }
}

fn read_tensor(v: &Value, resolve: Resolve<'_>) -> Result<Tensor> {
    let dtype = read_dtype(text(v, "dtype")?)?;
    let size = |d: &Value| d.as_u64().and_then(|d| usize::try_from(d).ok());
    let shape: Option<Vec<usize>> = list(v, "shape")?.iter().map(size).collect();
    let shape = shape.ok_or_else(|| Error::invalid("`shape` must be sizes"))?;
    if let Some(r) = v.get("extern") {
        let number = |key: &str| get(r, key)?.as_u64().ok_or_else(|| Error::invalid(format!("`{key}` is no number")));
        let hash = text(r, "hash")?;
        let digits = hash.strip_prefix("0x").and_then(|h| u64::from_str_radix(h, 16).ok());
        let hash = digits.ok_or_else(|| Error::invalid(format!("`{hash}` is no hash")))?;
        let (file, offset) = (text(r, "file")?.to_owned(), number("offset")?);
        let t = resolve(&TensorRef { file, offset, hash, dtype, shape: shape.clone() })?;
        if t.dtype() != dtype || t.shape() != shape {
            return Err(Error::invalid(format!("the file gave {}{:?}", t.dtype(), t.shape())));
        }
        return Ok(t);
    }
    let data = list(v, "data")?;
    let element = |v: &Value| match (dtype.class(), v) {
        (Class::String, Value::String(s)) => Ok(quote(s)),
        (Class::Complex, Value::Array(parts)) if parts.len() == 2 => {
            Ok(format!("({}, {})", scalar_text(&parts[0])?, scalar_text(&parts[1])?))
        }
        (Class::String | Class::Complex, _) => Err(Error::invalid(format!("{v} is no {dtype}"))),
        _ => scalar_text(v),
    };
    let elements: Vec<String> = data.iter().map(element).collect::<Result<_>>()?;
    parse_tensor(&format!("{dtype}[{}] [{}]", data.len(), elements.join(", ")))?.reshaped(&shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse;

    const TEXT: &str = r#"
graph @f(%x: f32[n, 2], %d: i64[1] = i64[1] [-1]) -> f32[n + 1, 2] {
  %w = constant f32[1, 2] [[nan, 0x7fc00001]]
  %h = constant f64[3] [0.1, -0.0, 2.2250738585072011e-308]
  %c = constant c64[1] [(1.5, -inf)]
  %s = constant string[2] ["a\"]", "\n"]
  %u = constant u64[1] [18446744073709551615]
  %0 = concat %x, %w {axis = 0} : f32[n + 1, 2] @"join"
  return %0
}"#;

    #[test]
    fn json_text_reads_back_equal() {
        let g = parse(TEXT).unwrap().remove(0);
        let text = to_json(&g).to_string();
        assert_eq!(from_json(&serde_json::from_str(&text).unwrap()).unwrap(), g);
        assert!(text.contains(r#""data":["nan","0x7fc00001"]"#), "{text}");
    }

    #[test]
    fn every_attribute_kind_reads_back() {
        let all = [
            Attr::Int(Dim::sym("n") + 1),
            Attr::Float(0.1),
            Attr::Floats(vec![f32::INFINITY, -0.0]),
            Attr::Ints(vec![]),
            Attr::Strings(vec!["a".into()]),
            Attr::DType(DType::F16),
            Attr::Type(parse_type("seq<f32[...]>").unwrap()),
            Attr::Tensors(vec![Tensor::scalar(1i32)]),
            Attr::Graph(Arc::new(Graph::new("body"))),
        ];
        let no_file = |_: &TensorRef| Err(Error::invalid("no file"));
        for attr in all {
            let text = write_attr(&attr, &mut None).to_string();
            assert_eq!(read_attr(&serde_json::from_str(&text).unwrap(), &no_file, 0).unwrap(), attr);
        }
    }

    #[test]
    fn large_tensors_go_to_the_file() {
        let mut g = Graph::new("g");
        let w = Tensor::from_slice(&[100], &(0..100).collect::<Vec<i32>>());
        let v = g.add_constant("w", w.clone());
        g.outputs = vec![v];
        let mut file = Sidecar::new("w.bin");
        let json = to_json_with(&g, &mut file);
        assert!(from_json(&json).is_err());
        let mut bytes = Vec::new();
        file.write(&mut bytes).unwrap();
        let bytes = bytes::Bytes::from(bytes);
        assert_eq!(from_json_with(&json, &|r| r.read(&bytes)).unwrap(), g);
    }

    #[test]
    fn wrong_json_is_refused_with_its_place() {
        let g = to_json(&parse(TEXT).unwrap()[0]);
        let broken = |path: &str, value: Value| {
            let mut g = g.clone();
            *g.pointer_mut(path).unwrap() = value;
            from_json(&g).unwrap_err().to_string()
        };
        assert_eq!(broken("/nodes/0/inputs/0", json!(99)), "99 is no id of the 8 values\n  at node 0");
        assert!(broken("/nodes/0/op", json!("conquer")).contains("no operator `conquer`"));
        assert!(broken("/values/2/constant/data/0", json!("] 1")).contains("value 2"));
        assert!(broken("/version", json!(7)).contains("version 1"));
    }
}
