//! Cases as IR text for an operator's `EXAMPLES`: `cargo run --example examples -p egret-ir -- FOLDER [NAME…]`.
//!
//! `FOLDER` holds cases as `tests/python/examples.py` and `tests/python/backend_cases.py` write them. The results in the
//! text are those of the case's files: `==` where the reference gives the same bits, `~=` where it is near. Cases that
//! it gets wrong are said on standard error and not printed. Above each case stands its operator's mnemonic: `# concat`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example reports on its output")]

use egret_ir::filetest::{Runner, check, reference};
use egret_ir::onnx::{self, data, import_file};
use egret_ir::text::{print_full, print_value};
use egret_ir::{Error, Graph, Result, Value, ValueId};
use std::path::{Path, PathBuf};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = args.first() else {
        println!("usage: examples FOLDER [NAME…]");
        return;
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut cases: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.join("model.onnx").is_file()).collect();
    cases.sort();
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if args.len() > 1 && !args[1..].contains(&name) {
            continue;
        }
        match text(&case, &name) {
            Ok(text) => println!("{text}"),
            Err(e) => eprintln!("{name}: {}", e.to_string().lines().next().unwrap_or_default()),
        }
    }
}

fn values(case: &Path, graph: &Graph, ports: &[ValueId], stem: &str) -> Result<Vec<String>> {
    let load = |(k, &v): (usize, &ValueId)| -> Result<String> {
        let path = case.join("test_data_set_0").join(format!("{stem}_{k}.pb"));
        let (_, value) = data::load(&path, graph.ty(v), &onnx::Limits::default())?;
        Ok(short(&value, graph, v))
    };
    ports.iter().enumerate().map(load).collect()
}

/// The value's elements; its type too where the graph does not say it.
fn short(value: &Value, graph: &Graph, v: ValueId) -> String {
    let text = print_value(value);
    match text.strip_prefix(&format!("{} ", graph.ty(v))) {
        Some(elements) => elements.to_owned(),
        None => text,
    }
}

fn text(case: &Path, name: &str) -> Result<String> {
    let model = import_file(&case.join("model.onnx"), &onnx::Limits::default())?;
    let mut graph = model.graph;
    graph.name = name.trim_start_matches("test_").to_owned();
    graph.nodes.iter_mut().for_each(|n| n.name.clear());
    let last = graph.nodes.last().ok_or_else(|| Error::invalid("it has no node"))?;
    let mnemonic = last.op.def().mnemonic();
    let args = values(case, &graph, &graph.inputs, "input")?.join(", ");
    let results = values(case, &graph, &graph.outputs, "output")?.join(", ");
    let graph_text = print_full(&graph);
    let mut failures = Vec::new();
    for sign in ["==", "~="] {
        let text = format!("// run: @{}({args}) {sign} {results}\n{graph_text}", graph.name);
        let out = check(&text, "run", &Runner { engines: &[("reference", &reference)], ..Runner::default() });
        if out.failures.is_empty() {
            return Ok(format!("# {mnemonic}\n{}", text.trim_end()));
        }
        failures = out.failures;
    }
    Err(Error::invalid(failures.join("; ").replace('\n', " ")))
}
