//! Short ways to write protobuf models in tests.

use super::proto::attribute_proto::AttributeType;
use super::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use crate::dtype::DType;
use tensor_shape_proto::{Dimension, dimension};

/// `node("Add", "a b", "c")`: names are separated by spaces, `_` is an omitted one.
pub(super) fn node(op: &str, inputs: &str, outputs: &str) -> NodeProto {
    let names = |text: &str| text.split_whitespace().map(|n| if n == "_" { "" } else { n }.to_owned()).collect();
    NodeProto { op_type: Some(op.into()), input: names(inputs), output: names(outputs), ..NodeProto::default() }
}

impl NodeProto {
    pub(super) fn with(mut self, attr: AttributeProto) -> NodeProto {
        self.attribute.push(attr);
        self
    }

    pub(super) fn named(mut self, name: &str) -> NodeProto {
        self.name = Some(name.into());
        self
    }

    pub(super) fn of_domain(mut self, domain: &str) -> NodeProto {
        self.domain = Some(domain.into());
        self
    }
}

fn attr(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind.into()), ..AttributeProto::default() }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attr(name, AttributeType::Int) }
}

pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attr(name, AttributeType::Ints) }
}

pub(super) fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(graph), ..attr(name, AttributeType::Graph) }
}

/// An attribute that refers to the function's attribute `outer`.
pub(super) fn reference(name: &str, outer: &str) -> AttributeProto {
    AttributeProto { ref_attr_name: Some(outer.into()), ..attr(name, AttributeType::Int) }
}

/// `info("x", DType::F32, "n 3")`: extents are separated by spaces; numbers are extents, anything else names.
pub(super) fn info(name: &str, dtype: DType, dims: &str) -> ValueInfoProto {
    let dim = |text: &str| Dimension {
        value: Some(match text.parse() {
            Ok(n) => dimension::Value::DimValue(n),
            Err(_) => dimension::Value::DimParam(text.into()),
        }),
        denotation: None,
    };
    let shape = TensorShapeProto { dim: dims.split_whitespace().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(dtype.onnx()), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..ValueInfoProto::default() }
}

/// A value about which nothing but its name is said.
pub(super) fn bare(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
}

pub(super) fn graph(inputs: &[ValueInfoProto], nodes: Vec<NodeProto>, outputs: &[ValueInfoProto]) -> GraphProto {
    GraphProto {
        name: Some("g".into()),
        node: nodes,
        input: inputs.to_vec(),
        output: outputs.to_vec(),
        ..GraphProto::default()
    }
}

pub(super) fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
}

pub(super) fn function(name: &str, inputs: &str, outputs: &str, attrs: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    FunctionProto {
        name: Some(name.into()),
        domain: Some("local".into()),
        input: names(inputs),
        output: names(outputs),
        attribute: names(attrs),
        node: nodes,
        opset_import: vec![opset("", 17), opset("local", 1)],
        ..FunctionProto::default()
    }
}

pub(super) fn model(graph: GraphProto, functions: Vec<FunctionProto>) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 17), opset("local", 1)],
        graph: Some(graph),
        functions,
        ..ModelProto::default()
    }
}
