//! Versions of an operator: which is the oldest that has a call.
//!
//! ONNX raises an operator's version for every element type, attribute or operand that it adds. A model that imports the
//! newest opset is refused by every runtime that has no kernel of that version yet, so a call is written in the oldest one
//! that means the same ([`OpDef::version_of`]). What each version brought stands in the operator's declaration
//! ([`OpDef::brings`]); `tests/python/missing_operators.py` compares it with the schemas of the `onnx` package.
//!
//! What is behind a value of unknown rank has no type that is known. It counts as none of the types that versions brought:
//! exporters write such graphs (an `If` that squeezes or does not) of floats and integers, which the newest opset would keep
//! from running anywhere. A narrow type behind an unknown rank is written in too old an opset, which a checker tells.

use crate::attr::{Attr, Attrs};
use crate::dtype::DType;
use crate::graph::{Graph, Node, ValueId};
use crate::op::OpDef;
use crate::types::Type;

/// Opset 13 is the oldest in which bfloat16 and the present forms of most operators exist: [`OpDef::brings`] begins behind it.
pub const LEAST_OPSET: i64 = 13;

/// The four types that `f8` stands for.
const F8: [DType; 4] = [DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ];

/// A call whose version is asked: types are those of all operands and results, `None` for one that is left out.
#[derive(Debug)]
pub struct Call<'a> {
    /// Attributes that differ from their defaults.
    pub attrs: &'a Attrs,
    /// Types of the operands.
    pub inputs: &'a [Option<&'a Type>],
    /// Types of the results.
    pub outputs: &'a [Option<&'a Type>],
}

impl OpDef {
    /// Names in a list of operands or results, without the marks of those that are optional or many.
    pub fn names(list: &'static str) -> impl Iterator<Item = &'static str> {
        list.split(',').map(|n| n.trim().trim_end_matches(['?', '*']))
    }

    /// The present version.
    pub fn newest(&self) -> i64 {
        self.since.last().copied().unwrap_or(1)
    }

    /// Whether a model may hold it: not where ONNX deprecated it before [`LEAST_OPSET`].
    pub fn is_exported(&self) -> bool {
        self.domain != "ai.onnx" || self.deprecated.is_none_or(|end| end > LEAST_OPSET)
    }

    /// The oldest version of the operator in which the call means what it does now. Of an operator that is deprecated, the
    /// last version before.
    pub fn version_of(&self, call: &Call<'_>) -> i64 {
        let end = self.deprecated.unwrap_or(i64::MAX);
        let needed = |version: i64| match self.brings.iter().find(|b| b.0 == version) {
            Some((_, words)) => words.split_whitespace().any(|word| word.split('&').all(|w| self.has(call, w))),
            None => true,
        };
        let versions = self.since.iter().copied().filter(|&v| v < end);
        versions.rev().find(|&v| needed(v)).unwrap_or(1)
    }

    /// Whether a word of [`brings`](OpDef::brings) is of the call.
    fn has(&self, call: &Call<'_>, word: &str) -> bool {
        if let Some((name, value)) = word.split_once('=') {
            let given = call.attrs.get(name).and_then(plain);
            let default = self.attrs.iter().find(|a| a.name == name).map(|a| a.default.trim_matches('"'));
            return match given {
                Some(given) => given == value,
                None => match default {
                    Some("false") => value == "0",
                    Some("true") => value == "1",
                    default => default == Some(value),
                },
            };
        }
        let mut types = call.inputs.iter().chain(call.outputs).flatten();
        if word == "seq" {
            return types.any(|ty| parts(ty).any(|t| matches!(t, Type::Sequence(_))));
        }
        if word == "optional" {
            return types.any(|ty| parts(ty).any(|t| matches!(t, Type::Optional(_))));
        }
        let dtypes: &[DType] = match (word, word.parse::<DType>()) {
            ("f8", _) => &F8,
            (_, Ok(dtype)) => &[dtype],
            _ => &[],
        };
        if !dtypes.is_empty() {
            return types.any(|ty| parts(ty).any(|t| t.as_tensor().is_some_and(|t| dtypes.contains(&t.dtype))));
        }
        let given = |list: &'static str, values: &[Option<&Type>]| {
            OpDef::names(list).zip(values).any(|(name, value)| name == word && value.is_some())
        };
        call.attrs.contains_key(word) || given(self.inputs, call.inputs) || given(self.outputs, call.outputs)
    }
}

/// The version that a node needs, bodies aside ([`OpDef::version_of`]).
pub fn version_of_node(graph: &Graph, node: &Node) -> i64 {
    let types = |of: &[Option<ValueId>]| of.iter().map(|v| v.map(|v| graph.ty(v))).collect::<Vec<_>>();
    let (attrs, inputs, outputs) = (node.op.attrs(), types(&node.inputs), types(&node.outputs));
    node.op.def().version_of(&Call { attrs: &attrs, inputs: &inputs, outputs: &outputs })
}

/// The opset of ONNX's own domain in which a graph is exported.
pub fn opset(graph: &Graph) -> i64 {
    let of_node = |node: &Node| {
        let attrs = node.op.attrs();
        let bodies = attrs.values().filter_map(|a| if let Attr::Graph(body) = a { Some(opset(body)) } else { None });
        let own = if node.op.def().domain == "ai.onnx" { version_of_node(graph, node) } else { 1 };
        bodies.fold(own, i64::max)
    };
    graph.nodes.iter().map(of_node).fold(LEAST_OPSET, i64::max)
}

/// A type and all that it is made of.
fn parts(ty: &Type) -> impl Iterator<Item = &Type> {
    std::iter::successors(Some(ty), |ty| match ty {
        Type::Sequence(t) | Type::Optional(t) | Type::Map(_, t) => Some(t),
        Type::Tensor(_) | Type::Unknown => None,
    })
}

/// An attribute's value as `name=value` writes it.
fn plain(attr: &Attr) -> Option<String> {
    match attr {
        Attr::Int(v) => v.as_int().map(|v| v.to_string()),
        Attr::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attrs;
    use crate::ops::{OPS, find};

    fn version(name: &str, attrs: &Attrs, inputs: &[DType], outputs: &[DType]) -> i64 {
        let def = find("ai.onnx", name).unwrap();
        let types = |of: &[DType]| of.iter().map(|&d| Type::tensor(d, &[2])).collect::<Vec<_>>();
        let (inputs, outputs) = (types(inputs), types(outputs));
        let (inputs, outputs): (Vec<_>, Vec<_>) =
            (inputs.iter().map(Some).collect(), outputs.iter().map(Some).collect());
        def.version_of(&Call { attrs, inputs: &inputs, outputs: &outputs })
    }

    #[test]
    fn a_call_has_the_oldest_version_that_has_its_types_attributes_and_operands() {
        use DType::{BF16, F8E5M2, F32, I8, I64, U4};
        assert_eq!(version("Relu", &attrs! {}, &[F32], &[F32]), 13);
        assert_eq!(version("Relu", &attrs! {}, &[I8], &[I8]), 14);
        assert_eq!(version("Sin", &attrs! {}, &[F32], &[F32]), 7);
        assert_eq!(version("Sin", &attrs! {}, &[BF16], &[BF16]), 22);
        assert_eq!(version("Cast", &attrs! { to: DType::F8E5M2 }, &[F32], &[F8E5M2]), 19);
        assert_eq!(version("Cast", &attrs! { to: DType::U4 }, &[F8E5M2], &[U4]), 21);
        assert_eq!(version("ReduceSumSquare", &attrs! {}, &[F32], &[F32]), 13);
        assert_eq!(version("ReduceSumSquare", &attrs! {}, &[F32, I64], &[F32]), 18);
        assert_eq!(version("Pad", &attrs! { mode: "wrap" }, &[F32, I64], &[F32]), 19);
        assert_eq!(version("Pad", &attrs! { mode: "edge" }, &[F32, I64], &[F32]), 13);
        assert_eq!(version("ScatterND", &attrs! { reduction: "add" }, &[F32, I64, F32], &[F32]), 16);
        assert_eq!(version("ScatterND", &attrs! { reduction: "max" }, &[F32, I64, F32], &[F32]), 18);
        assert_eq!(version("Mod", &attrs! {}, &[F32, F32], &[F32]), 28);
        assert_eq!(version("Mod", &attrs! { fmod: 1 }, &[F32, F32], &[F32]), 13);
        assert_eq!(version("Mod", &attrs! {}, &[I8, I8], &[I8]), 13);
        assert_eq!(version("BatchNormalization", &attrs! {}, &[F32; 5], &[F32]), 15, "what changed meaning is needed");
    }

    #[test]
    fn a_graph_has_the_opset_of_its_newest_call() {
        let mut b = crate::GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let y = b.op("Relu", attrs! {}, &[x]).unwrap();
        let z = b.op("Mod", attrs! {}, &[y, x]).unwrap();
        let graph = b.finish(&[z]);
        assert_eq!(opset(&graph), 28);
    }

    #[test]
    fn what_is_not_known_lifts_no_graph() {
        let (attrs, unknown) = (attrs! {}, [Some(&Type::Unknown)]);
        let call = Call { attrs: &attrs, inputs: &unknown, outputs: &unknown };
        assert_eq!(find("ai.onnx", "Identity").unwrap().version_of(&call), 13);
    }

    #[test]
    fn what_is_deprecated_has_its_last_version() {
        let call = Call { attrs: &attrs! {}, inputs: &[], outputs: &[] };
        assert_eq!(find("ai.onnx.ml", "TreeEnsembleRegressor").unwrap().version_of(&call), 3);
        assert_eq!(find("ai.onnx", "Scatter").unwrap().version_of(&call), 9);
    }

    #[test]
    fn what_a_version_brings_is_known() {
        for def in OPS {
            for (version, words) in def.brings {
                assert!(def.since.contains(version) && *version > LEAST_OPSET, "{def:?} {version}");
                for word in words.split_whitespace().flat_map(|w| w.split('&')) {
                    let name = word.split_once('=').map_or(word, |w| w.0);
                    let known = matches!(word, "f8" | "seq" | "optional")
                        || word.parse::<DType>().is_ok()
                        || def.attrs.iter().any(|a| a.name == name)
                        || OpDef::names(def.inputs).chain(OpDef::names(def.outputs)).any(|n| n == name);
                    assert!(known, "{def:?} {version} brings `{word}`, which it has not");
                }
            }
        }
    }
}
