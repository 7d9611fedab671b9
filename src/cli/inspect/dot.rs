//! A graph as a picture: Graphviz's language, and SVG through its program `dot`.

use super::Failure;
use anyhow::{Context, Result};
use egret::Graph;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The graph in Graphviz's language: a box for each node, an arrow for each value with its type. Constants are left
/// out; bodies are not drawn.
pub(super) fn of(graph: &Graph) -> String {
    let mut out = format!("digraph {} {{\n  node [shape=box, fontname=\"sans-serif\"];\n", quoted(&graph.name));
    let producers = graph.producers();
    for &v in &graph.inputs {
        let label = format!("{}\n{}", graph.value(v).name, graph.ty(v));
        let _ = writeln!(out, "  v{} [label={}, shape=ellipse];", v.0, quoted(&label));
    }
    for (n, node) in graph.nodes.iter().enumerate() {
        let label = match node.name.as_str() {
            "" => node.op.def().name.to_owned(),
            name => format!("{}\n{name}", node.op.def().name),
        };
        let _ = writeln!(out, "  n{n} [label={}];", quoted(&label));
        for v in node.uses() {
            let ty = quoted(&graph.ty(v).to_string());
            if let Some((p, _)) = producers[v.index()] {
                let _ = writeln!(out, "  n{p} -> n{n} [label={ty}];");
            } else if graph.inputs.contains(&v) {
                let _ = writeln!(out, "  v{} -> n{n};", v.0);
            }
        }
    }
    for (k, &v) in graph.outputs.iter().enumerate() {
        let label = format!("{}\n{}", graph.value(v).name, graph.ty(v));
        let _ = writeln!(out, "  o{k} [label={}, shape=ellipse];", quoted(&label));
        match producers[v.index()] {
            Some((p, _)) => {
                let _ = writeln!(out, "  n{p} -> o{k};");
            }
            None if graph.inputs.contains(&v) => {
                let _ = writeln!(out, "  v{} -> o{k};", v.0);
            }
            None => {}
        }
    }
    out + "}\n"
}

/// A string of Graphviz's language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Draws through the program `dot`.
pub(super) fn svg(dot: &str) -> Result<String> {
    let child = Command::new("dot").arg("-Tsvg").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(c) => c,
        Err(e) => {
            return Err(Failure::usage(format!(
                "SVG is drawn by the program `dot` of Graphviz, which does not start ({e}); --format dot needs nothing"
            )));
        }
    };
    let mut stdin = child.stdin.take().context("dot has no standard input")?;
    let text = dot.to_owned();
    // Written from a thread, so that neither side waits for the other.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("writing to dot failed"))??;
    anyhow::ensure!(output.status.success(), "dot failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_and_edge_is_drawn() {
        let model = egret::Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.onnx")).unwrap();
        let text = of(model.graph());
        assert_eq!(text.matches("shape=ellipse").count(), 2);
        for n in 0..model.graph().nodes.len() {
            assert!(text.contains(&format!("  n{n} [label=")));
        }
        assert!(text.contains("\\nf32[n, 10]"));
    }
}
