//! The graph as a drawing for Graphviz: nodes by operator with their attributes, edges with types, bodies as boxes.
//!
//! Written by hand rather than by `petgraph::dot`: bodies are clusters, and arguments, constants and results have shapes
//! of their own.

use crate::attr::Attr;
use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;
use std::fmt::Write;

/// Characters of a label's line.
const MAX_LABEL: usize = 60;

/// The text for `dot -Tsvg`.
pub fn to_dot(graph: &Graph) -> String {
    let mut out = String::from("digraph {\n  rankdir = TB;\n  node [fontname = \"monospace\", fontsize = 10];\n");
    out.push_str("  edge [fontname = \"monospace\", fontsize = 8];\n");
    let mut w = Writer { out, clusters: 0 };
    w.graph(graph, "g", None, 1);
    w.out.push_str("}\n");
    w.out
}

struct Writer {
    out: String,
    clusters: usize,
}

impl Writer {
    fn line(&mut self, indent: usize, text: &str) {
        writeln!(self.out, "{}{text}", "  ".repeat(indent)).expect("writing to a string never fails");
    }

    /// `id` begins the names of the graph's nodes; `outer` are the names of what the captures stand for.
    fn graph(&mut self, g: &Graph, id: &str, outer: Option<&[String]>, indent: usize) {
        let mut sources: Vec<Option<String>> = vec![None; g.values.len()];
        for (k, &v) in g.inputs.iter().enumerate() {
            let name = format!("{id}_in{k}");
            let label = format!("{}\n{}", g.value(v).name, g.ty(v));
            self.line(indent, &format!("{name} [shape = ellipse, label = {}];", label_of(&label)));
            sources[v.index()] = Some(name);
        }
        for (&v, name) in g.captures.iter().zip(outer.unwrap_or_default()) {
            sources[v.index()] = Some(name.clone());
        }
        for (i, constant) in g.constants().into_iter().enumerate() {
            if let Some(t) = constant
                && sources[i].is_none()
            {
                let name = format!("{id}_const{i}");
                let label = format!("{}\n{}", g.values[i].name, short(t));
                self.line(indent, &format!("{name} [shape = note, label = {}];", label_of(&label)));
                sources[i] = Some(name);
            }
        }
        for (n, node) in g.nodes.iter().enumerate() {
            let name = format!("{id}_n{n}");
            let attrs = node.op.attrs();
            let mut label = node.op.def().name.to_owned();
            for (key, attr) in &attrs {
                if !matches!(attr, Attr::Graph(_)) {
                    label.push_str(&format!("\n{key} = {}", attr_text(attr)));
                }
            }
            if !node.name.is_empty() {
                label.push_str(&format!("\n{}", node.name));
            }
            self.line(indent, &format!("{name} [shape = box, label = {}];", label_of(&label)));
            for v in node.inputs.iter().flatten() {
                self.edge(g, &sources, *v, &name, indent);
            }
            let captured: Vec<String> =
                node.captures.iter().map(|v| sources[v.index()].clone().unwrap_or_else(|| name.clone())).collect();
            for (key, attr) in &attrs {
                let Attr::Graph(body) = attr else { continue };
                let inner = format!("{id}_c{}", self.clusters);
                self.line(indent, &format!("subgraph cluster_{} {{", self.clusters));
                self.clusters += 1;
                self.line(indent + 1, &format!("label = {};", label_of(&format!("{key} of {name}"))));
                self.line(indent + 1, &format!("{inner}_begin [shape = point];"));
                self.graph(body, &inner, Some(&captured), indent + 1);
                self.line(indent, "}");
                self.line(indent, &format!("{name} -> {inner}_begin [style = dashed];"));
            }
            for v in node.defs() {
                sources[v.index()] = Some(name.clone());
            }
        }
        for (k, &v) in g.outputs.iter().enumerate() {
            let name = format!("{id}_out{k}");
            let label = if g.value(v).name.is_empty() { format!("result {k}") } else { g.value(v).name.clone() };
            self.line(indent, &format!("{name} [shape = ellipse, style = bold, label = {}];", label_of(&label)));
            self.edge(g, &sources, v, &name, indent);
        }
    }

    fn edge(&mut self, g: &Graph, sources: &[Option<String>], v: ValueId, to: &str, indent: usize) {
        if let Some(from) = &sources[v.index()] {
            self.line(indent, &format!("{from} -> {to} [label = {}];", label_of(&g.ty(v).to_string())));
        }
    }
}

fn short(t: &Tensor) -> String {
    if t.len() <= 8 { crate::text::print_tensor(t) } else { format!("{}{:?}", t.dtype(), t.shape()) }
}

fn attr_text(attr: &Attr) -> String {
    match attr {
        Attr::Int(v) => v.to_string(),
        Attr::Float(v) => format!("{v:?}"),
        Attr::String(v) => v.clone(),
        Attr::Tensor(v) => short(v),
        Attr::Graph(v) => v.name.clone(),
        Attr::DType(v) => v.to_string(),
        Attr::Type(v) => v.to_string(),
        Attr::Ints(v) => format!("{v:?}"),
        Attr::Floats(v) => format!("{v:?}"),
        Attr::Strings(v) => format!("{v:?}"),
        Attr::Tensors(v) => v.iter().map(short).collect::<Vec<_>>().join(", "),
    }
}

/// A quoted label, long lines cut.
fn label_of(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .filter(|l| !l.is_empty())
        .map(|l| {
            let cut: String = l.chars().take(MAX_LABEL).collect();
            if cut.len() < l.len() { cut + "…" } else { cut }
        })
        .map(|l| l.replace('\\', "\\\\").replace('"', "\\\""))
        .collect();
    format!("\"{}\"", lines.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse;

    #[test]
    fn nodes_edges_and_types_are_drawn() {
        let text = "graph @f(%x: f32[n, 4]) -> f32[n + 1, 4] {\n %w = constant f32[1, 4] [[1.0, 2.0, 3.0, 4.0]]\n \
                    %0 = concat %x, %w {axis = 0} : f32[n + 1, 4] @\"a\\\"b\"\n return %0\n}";
        let dot = to_dot(&parse(text).unwrap()[0]);
        assert!(dot.contains(r#"g_n0 [shape = box, label = "Concat\naxis = 0\na\"b"];"#), "{dot}");
        assert!(dot.contains(r#"g_in0 -> g_n0 [label = "f32[n, 4]"];"#), "{dot}");
        assert!(dot.contains(r#"g_n0 -> g_out0 [label = "f32[n + 1, 4]"];"#), "{dot}");
        assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    }
}
