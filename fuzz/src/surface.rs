//! What must hold of every input from outside, however wrong: it is refused with an error that blames the input or names what
//! is missing, or it is accepted and then means something definite. A panic, a hang, or an error that blames Egret itself
//! ([`ErrorKind::Bug`]) is a finding.
//!
//! Each function returns the finding as text, so that a test, a reducer and a libFuzzer target (which panics with it) can use
//! the same one.

use egret_ir::onnx::{self, Limits};
use egret_ir::{Attr, Error, ErrorKind, Graph, ValueId};

/// Small enough that no input which is accepted makes libFuzzer's own limits (2 GiB, 20 minutes) the finding.
fn limits() -> Limits {
    Limits { max_nodes: 1 << 12, max_depth: 16, max_body_depth: 4, max_dense_bytes: 64 << 20 }
}

/// Any bytes as an ONNX model: what loads is exported, and the export loads again as the same nodes.
///
/// Types are not compared: extents that a model leaves open get fresh symbols with each import.
///
/// # Errors
/// The finding. That a model cannot be exported because something is unsupported or over a limit is none.
pub fn import(bytes: &[u8]) -> Result<(), String> {
    let model = match onnx::import_bytes(bytes.to_vec().into(), None, &limits()) {
        Ok(model) => model,
        Err(error) => return blameless(&error, "importing"),
    };
    let exported = match onnx::export(&model) {
        Ok(exported) => exported,
        Err(error) => return blameless(&error, "exporting"),
    };
    // An exporter may spell a node by several, so reading back may need more than the first import was allowed.
    let again = onnx::import_bytes(exported.into(), None, &Limits::default())
        .map_err(|error| format!("the export does not load: {error:?}"))?;
    let (before, after) = (outline(&model.graph), outline(&again.graph));
    if before != after {
        return Err(format!("the export loads as something else; exported:\n{before}read back:\n{after}"));
    }
    Ok(())
}

/// Operators with their attributes and which operands are there, one node a line, bodies below their node. `Identity` is left
/// out: it is how an exporter spells a result that no node makes, or two results that are one value.
fn outline(graph: &Graph) -> String {
    let mut text = format!("{} -> {} {{\n", graph.inputs.len(), graph.outputs.len());
    for node in graph.nodes.iter().filter(|node| node.op.def().name != "Identity") {
        let presence = |values: &[Option<ValueId>]| -> String {
            values.iter().map(|value| if value.is_some() { 'x' } else { '_' }).collect()
        };
        let (operands, results) = (presence(&node.inputs), presence(&node.outputs));
        text += &format!("{results} = {} {operands}", node.op.def().name);
        for (name, attr) in node.op.attrs() {
            if !matches!(attr, Attr::Graph(_)) {
                text += &format!(" {name}={attr:?}");
            }
        }
        text.push('\n');
        for body in node.op.bodies() {
            text += &outline(body);
        }
    }
    text + "}\n"
}

/// An error of any kind but [`ErrorKind::Bug`] is a legitimate answer.
fn blameless(error: &Error, doing: &str) -> Result<(), String> {
    if error.kind() == ErrorKind::Bug { Err(format!("{doing}: {error:?}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::onnx::Model;
    use egret_ir::{DType, GraphBuilder, Tensor, Type, attrs};

    fn small_model() -> Vec<u8> {
        let mut b = GraphBuilder::new("small");
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
        let w = b.constant(Tensor::from_slice(&[3], &[1.0f32, -2.0, 3.0]));
        let sum = b.op("Add", attrs! {}, &[x, w]).unwrap();
        let y = b.op("Relu", attrs! {}, &[sum]).unwrap();
        let z = b.op("Concat", attrs! { axis: 1i64 }, &[y, x]).unwrap();
        let graph = b.finish(&[z]);
        onnx::export(&Model { graph, ir_version: 10, ..Model::default() }).unwrap()
    }

    #[test]
    fn a_valid_model_reads_back_the_same() {
        let bytes = small_model();
        assert!(onnx::import_bytes(bytes.clone().into(), None, &limits()).is_ok());
        assert_eq!(import(&bytes), Ok(()));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_answered() {
        let bytes = small_model();
        for n in 0..bytes.len() {
            assert_eq!(import(&bytes[..n]), Ok(()), "the first {n} bytes");
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[n] ^ 1, bytes[n].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[n] = value;
                assert_eq!(import(&changed), Ok(()), "byte {n} set to {value}");
            }
        }
    }

    #[test]
    fn an_error_that_blames_egret_is_a_finding() {
        assert_eq!(blameless(&Error::invalid("a cycle"), "importing"), Ok(()));
        assert!(blameless(&Error::bug("a value without a type"), "importing").is_err());
    }
}
