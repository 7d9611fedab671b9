//! A campaign as one HTML page without anything from outside: figures, operators, findings with pictures.

use crate::store::{Progress, Record};
use egret_ir::{Graph, ValueId};
use std::fmt::Write as _;

/// The page.
pub fn page(title: &str, progress: &Progress, operators: usize, findings: &[Record]) -> String {
    let rate = progress.graphs as f64 / progress.seconds.max(1e-9);
    let supported = progress.graphs - progress.unsupported;
    let loaded = 100.0 * (1.0 - progress.unloaded as f64 / (progress.graphs as f64).max(1.0));
    let refused: usize = findings.iter().filter(|f| f.kind == "refused").map(|f| f.seen).sum();
    let valid = 100.0 * (1.0 - refused as f64 / (supported as f64).max(1.0));
    let used = progress.uses.values().filter(|n| **n > 0).count();
    let (least, most) = (
        progress.uses.values().copied().filter(|n| *n > 0).min().unwrap_or(0),
        progress.uses.values().copied().max().unwrap_or(0),
    );
    let mut out = format!(
        "<!doctype html><meta charset=utf-8><title>{0}</title><style>body{{font:15px/1.5 system-ui;max-width:70em;margin:2em \
         auto;padding:0 1em}}table{{border-collapse:collapse}}td,th{{padding:.2em .8em;text-align:left;border-bottom:1px solid \
         #ddd}}pre{{background:#f6f6f6;padding:.8em;overflow:auto}}section{{border-top:2px solid #888;margin-top:2em}}.ops \
         span{{display:inline-block;margin:0 .8em .2em 0}}</style><h1>{0}</h1><table>",
        escaped(title)
    );
    let rows = [
        ("graphs checked", progress.graphs.to_string()),
        ("loaded by the system", format!("{loaded:.2} %")),
        ("not supported by the system", progress.unsupported.to_string()),
        ("accepted of the supported", format!("{valid:.2} %")),
        ("graphs a second", format!("{rate:.1}")),
        ("operators used", format!("{used} of {operators}")),
        ("calls of the least and the most used", format!("{least} and {most}")),
        ("findings", findings.len().to_string()),
    ];
    for (name, value) in rows {
        let _ = write!(out, "<tr><th>{name}<td>{value}");
    }
    out += "</table>";
    for f in findings {
        let _ = write!(
            out,
            "<section><h2>{} ({}), seen {} times</h2><p>{}</p>{}<pre>{}</pre>",
            escaped(&f.stage),
            f.kind,
            f.seen,
            escaped(&f.text),
            f.picture,
            escaped(&f.graph)
        );
        if let Some(folder) = f.folder.as_ref().and_then(|f| f.file_name()) {
            let name = escaped(&folder.to_string_lossy());
            let _ = write!(out, "<p><a href=\"{name}/\">{name}</a></p>");
        }
        out += "</section>";
    }
    out += "<section class=ops><h2>Calls by operator</h2>";
    for (name, n) in &progress.uses {
        let _ = write!(out, "<span>{} {n}</span>", escaped(name));
    }
    out + "</section>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Size of a box in a picture, in pixels.
const BOX: (usize, usize) = (190, 40);
/// Gap between boxes.
const GAP: (usize, usize) = (24, 34);

/// A graph as an SVG picture: calls in layers, each below what it reads. For the few calls of a reduced graph.
pub fn picture(graph: &Graph) -> String {
    // Sources lie in layer 0; a call lies one layer below its lowest operand.
    let mut layer: Vec<usize> = vec![0; graph.values.len()];
    let mut boxes: Vec<(usize, String, Vec<ValueId>, Vec<ValueId>)> = Vec::new();
    let mut read: Vec<ValueId> = graph.nodes.iter().flat_map(|n| n.uses()).collect();
    read.sort_unstable();
    read.dedup();
    for v in read.into_iter().filter(|v| graph.inputs.contains(v) || graph.constant(*v).is_some()) {
        let kind = if graph.constant(v).is_some() { "constant" } else { "argument" };
        boxes.push((0, format!("{kind}\n{}", graph.ty(v)), Vec::new(), vec![v]));
    }
    for node in &graph.nodes {
        let at = node.uses().map(|v| layer[v.index()] + 1).max().unwrap_or(0);
        node.defs().for_each(|v| layer[v.index()] = at);
        let types: Vec<String> = node.defs().map(|v| graph.ty(v).to_string()).collect();
        let text = format!("{}\n{}", node.op.def().name, types.join(", "));
        boxes.push((at, text, node.uses().collect(), node.defs().collect()));
    }
    let layers = boxes.iter().map(|b| b.0).max().unwrap_or(0) + 1;
    let mut filled = vec![0; layers];
    let mut place: Vec<Option<(usize, usize)>> = vec![None; graph.values.len()];
    let (mut lines, mut shapes) = (String::new(), String::new());
    let mut width = 0;
    for (at, text, uses, defs) in boxes {
        let (x, y) = (filled[at] * (BOX.0 + GAP.0) + 4, at * (BOX.1 + GAP.1) + 4);
        filled[at] += 1;
        width = width.max(x + BOX.0 + 4);
        for (sx, sy) in uses.iter().filter_map(|v| place[v.index()]) {
            let _ = write!(lines, "<path d=\"M{sx} {sy}L{} {y}\" stroke=\"#666\"/>", x + BOX.0 / 2);
        }
        for v in defs {
            place[v.index()] = Some((x + BOX.0 / 2, y + BOX.1));
        }
        let fill = if uses.is_empty() { "#eef" } else { "#efe" };
        let _ = write!(
            shapes,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"5\" fill=\"{fill}\" stroke=\"#666\"/>",
            BOX.0, BOX.1
        );
        for (k, line) in text.lines().enumerate() {
            let line: String = line.chars().take(28).collect();
            let _ = write!(
                shapes,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x + BOX.0 / 2,
                y + 16 + 16 * k,
                escaped(&line)
            );
        }
    }
    let height = layers * (BOX.1 + GAP.1);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"system-ui\" \
         font-size=\"12\">{lines}{shapes}</svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{DType, GraphBuilder, Type, attrs};

    #[test]
    fn pictures_and_pages_hold_every_call_and_escape_texts() {
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[2]));
        let y = b.op("Relu", attrs! {}, &[x]).unwrap();
        let z = b.op("Add", attrs! {}, &[x, y]).unwrap();
        let picture = picture(&b.finish(&[z]));
        assert!(picture.contains(">Relu<") && picture.contains(">Add<") && picture.contains(">argument<"), "{picture}");
        assert_eq!(picture.matches("<path").count(), 3);
        let record = Record {
            cause: String::new(),
            stage: "a".into(),
            kind: "wrong".into(),
            text: "1 < 2".into(),
            graph: String::new(),
            picture,
            nodes: 2,
            folder: Some("out/000-a".into()),
            seen: 2,
        };
        let page = page("a & b", &Progress { graphs: 4, ..Progress::default() }, 10, &[record]);
        assert!(page.contains("a &amp; b") && page.contains("1 &lt; 2") && page.contains("000-a/"), "{page}");
    }
}
