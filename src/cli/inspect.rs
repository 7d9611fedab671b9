//! `egret inspect`: what is in a model, at each stage of the compiler.

use super::input::{InputArgs, size};
use super::show::{bytes, count, grouped, table};
use super::{Failure, say, say_json};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use egret::codegen::exec::plan::{Plan, Step};
use egret::ir::lower::{LowerCx, Lowering};
use egret::ir::plan::Planner;
use egret::{Graph, Model, Options, Type, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Show a model's nodes, weights, arithmetic and memory.
///
/// Stages: `imported` is the file in the newest opset; `optimised` is after the graph passes, extents still symbols;
/// `planned` is what runs for the extents that --dim gives (others are 1): native kernels, views, host calls, memory.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret inspect models/digits.onnx
  egret inspect model.onnx --stage planned --dim batch=8
  egret inspect model.onnx --format svg > model.svg")]
pub(super) struct InspectArgs {
    /// An ONNX file.
    model: PathBuf,
    /// Which stage of the compiler.
    #[arg(long, value_enum, default_value_t = Stage::Imported)]
    stage: Stage,
    /// How to show it. `svg` needs the program `dot` of Graphviz.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    inputs: InputArgs,
    /// The table with its sums as a JSON document.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Only the sums, not every node.
    #[arg(long)]
    summary: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Stage {
    Imported,
    Optimised,
    Planned,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Nodes with sums.
    Table,
    /// The graph in Egret's own text form; large weights by their hash.
    Text,
    /// The graph as JSON, as `egret_ir::json` reads it.
    Json,
    Dot,
    Svg,
}

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let mut model = Model::load(&args.model)?;
    let sizes = args.inputs.sizes()?;
    if args.stage != Stage::Imported {
        model.bind_defaults();
    }
    let plan = if args.stage == Stage::Planned { Some(planned(&model, &sizes)?) } else { None };
    let graph: Graph = match (&plan, args.stage) {
        (Some(plan), _) => (*plan.graph).clone(),
        (None, Stage::Optimised) => egret::passes::DefaultPlanner.optimise(model.graph().clone())?,
        _ => model.graph().clone(),
    };
    if args.json {
        return say_json(&to_json(&model, &graph, plan.as_deref(), &sizes));
    }
    match args.format {
        Format::Table => say(&text(&model, &graph, plan.as_deref(), &sizes, args.summary)?),
        Format::Text => say(&egret::ir::text::print(&graph)),
        Format::Json => say_json(&egret::ir::json::to_json(&graph)),
        Format::Dot => say(&egret::ir::dot::to_dot(&graph)),
        Format::Svg => say(&svg(&egret::ir::dot::to_dot(&graph))?),
    }
}

/// The plan for declared types with sizes for their symbols.
fn planned(model: &Model, sizes: &BTreeMap<String, i64>) -> Result<std::sync::Arc<Plan>> {
    let executable = model.compile(&Options::default())?;
    let types: Vec<Type> = executable.inputs().iter().map(|p| sized(&p.ty, sizes)).collect();
    if let Some(port) =
        executable.inputs().iter().zip(&types).find(|(_, t)| t.as_tensor().is_some() && t.concrete().is_none())
    {
        return Err(Failure::usage(format!("the input \"{}\": {} has no declared rank", port.0.name, port.1)));
    }
    let plan = executable.prepare(&types)?;
    plan.ok_or_else(|| egret::Error::bug("the native level made no plan").into())
}

/// A type with numbers for its symbols.
fn sized(ty: &Type, sizes: &BTreeMap<String, i64>) -> Type {
    ty.map_dims(&|d| size(d, sizes).map_or_else(|_| d.clone(), egret::ir::Dim::from))
}

/// Multiply-adds of a contraction, from how it is lowered.
fn macs(graph: &Graph, n: usize, sizes: &BTreeMap<String, i64>) -> Option<u64> {
    let node = &graph.nodes[n];
    let concrete = |v: egret::ir::ValueId| sized(graph.ty(v), sizes).concrete();
    let cx = LowerCx {
        inputs: node.inputs.iter().map(|v| v.and_then(concrete)).collect(),
        constants: node.inputs.iter().map(|v| v.and_then(|v| graph.constant(v))).collect(),
        outputs: node.outputs.iter().map(|v| v.and_then(concrete)).collect::<Option<_>>()?,
    };
    if cx.inputs.iter().zip(&node.inputs).any(|(t, v)| t.is_none() && v.is_some()) {
        return None;
    }
    let product = |v: &[usize]| v.iter().map(|&x| x as u64).product::<u64>();
    match node.op.lower(&cx).ok()? {
        Lowering::MatMul(m) => Some(m.batch.iter().map(|b| b.0 as u64).product::<u64>() * product(&[m.m, m.n, m.k])),
        Lowering::Conv(c) => {
            let at = if c.transposed { &c.input } else { &c.output };
            Some(product(&[c.n, c.groups, c.c, c.m]) * product(&c.kernel) * product(at))
        }
        _ => None,
    }
}

/// Sums over a graph.
struct Totals {
    nodes: usize,
    ops: BTreeMap<&'static str, usize>,
    parameters: u64,
    weights_bytes: u64,
    macs: u64,
}

impl Totals {
    fn of(graph: &Graph, sizes: &BTreeMap<String, i64>) -> Totals {
        let mut t = Totals {
            nodes: graph.count_nodes(),
            ops: BTreeMap::new(),
            parameters: 0,
            weights_bytes: 0,
            macs: (0..graph.nodes.len()).filter_map(|n| macs(graph, n, sizes)).sum(),
        };
        t.add(graph);
        t
    }

    fn add(&mut self, graph: &Graph) {
        for c in graph.values.iter().filter_map(|v| v.constant.as_ref()) {
            self.parameters += c.len() as u64;
            self.weights_bytes += c.bytes().len() as u64;
        }
        for node in &graph.nodes {
            *self.ops.entry(node.op.def().name).or_default() += 1;
            node.op.bodies().into_iter().for_each(|b| self.add(b));
        }
    }
}

fn step_of(plan: &Plan) -> BTreeMap<usize, (usize, &Step)> {
    let each = plan.steps.iter().enumerate();
    each.flat_map(|(i, s)| s.nodes().iter().map(move |&n| (n, (i, s)))).collect()
}

fn text(
    model: &Model,
    graph: &Graph,
    plan: Option<&Plan>,
    sizes: &BTreeMap<String, i64>,
    summary: bool,
) -> Result<String> {
    let totals = Totals::of(graph, sizes);
    let mut out = String::new();
    let opsets: Vec<String> = model.file().opsets.iter().map(|(d, v)| format!("{d} {v}")).collect();
    writeln!(
        out,
        "{}: written for {}, by {}",
        graph.name,
        opsets.join(", "),
        or(&model.file().producer, "an unnamed program")
    )?;
    for (what, ports) in [("input", &graph.inputs), ("output", &graph.outputs)] {
        for &v in ports {
            let default = if what == "input" && graph.value(v).constant.is_some() { " (has a default)" } else { "" };
            writeln!(out, "  {what} {}: {}{default}", graph.value(v).name, graph.ty(v))?;
        }
    }
    out.push('\n');
    if !summary {
        out += &nodes(graph, plan, sizes);
        out.push('\n');
    }
    let mut ops: Vec<_> = totals.ops.iter().collect();
    ops.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let ops: Vec<String> = ops.into_iter().map(|(op, n)| format!("{op} {n}")).collect();
    writeln!(out, "{}: {}", count(totals.nodes, "node"), ops.join(", "))?;
    writeln!(out, "{} parameters, {}", grouped(totals.parameters), bytes(totals.weights_bytes))?;
    if totals.macs > 0 {
        let at: Vec<String> = sizes.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let at = if at.is_empty() { "symbols as 1".to_owned() } else { at.join(", ") };
        writeln!(out, "{} multiply-adds in contractions ({at})", grouped(totals.macs))?;
    }
    if let Some(plan) = plan {
        let n = |kind| plan.steps.iter().filter(|s| s.kind() == kind).count();
        writeln!(
            out,
            "{}, {}, {}",
            count(n("native"), "native kernel"),
            count(n("host"), "host call"),
            count(n("view"), "view")
        )?;
        let (have, least) = (bytes(plan.arena_bytes as u64), bytes(plan.bound_bytes as u64));
        writeln!(out, "working memory {have} (no placement needs less than {least})")?;
        let planned = step_of(plan).len();
        if planned < graph.nodes.len() {
            writeln!(
                out,
                "{} planned later, when the data they depend on are known",
                count(graph.nodes.len() - planned, "node")
            )?;
        }
    }
    Ok(out)
}

fn or<'a>(text: &'a str, else_: &'a str) -> &'a str {
    if text.is_empty() { else_ } else { text }
}

fn nodes(graph: &Graph, plan: Option<&Plan>, sizes: &BTreeMap<String, i64>) -> String {
    let steps = plan.map(step_of);
    let row = |n: usize| {
        let node = &graph.nodes[n];
        let types: Vec<String> = node.defs().map(|v| graph.ty(v).to_string()).collect();
        let name = or(&node.name, node.defs().next().map_or("", |v| &graph.value(v).name));
        let macs = macs(graph, n, sizes).map_or(String::new(), grouped);
        let mut row = vec![n.to_string(), node.op.def().name.to_owned(), types.join(", "), macs];
        if let Some(steps) = &steps {
            row.push(match steps.get(&n) {
                Some((i, s)) => format!("{} {i}", s.kind()),
                None => "later".into(),
            });
        }
        row.push(name.to_owned());
        row
    };
    let mut head = vec!["", "operator", "results", "multiply-adds"];
    if steps.is_some() {
        head.push("step");
    }
    head.push("name");
    table(&head, &(0..graph.nodes.len()).map(row).collect::<Vec<_>>())
}

fn to_json(model: &Model, graph: &Graph, plan: Option<&Plan>, sizes: &BTreeMap<String, i64>) -> serde_json::Value {
    let totals = Totals::of(graph, sizes);
    let value = |v: &egret::ir::ValueId| json!({ "name": graph.value(*v).name, "type": graph.ty(*v).to_string() });
    let steps = plan.map(step_of);
    let node = |n: usize| {
        let node = &graph.nodes[n];
        let attrs: BTreeMap<String, String> = node.op.attrs().iter().map(|(k, a)| (k.clone(), attribute(a))).collect();
        json!({
            "operator": node.op.def().name, "domain": node.op.def().domain, "name": node.name, "attributes": attrs,
            "inputs": node.inputs.iter().map(|v| v.as_ref().map(value)).collect::<Vec<_>>(),
            "outputs": node.outputs.iter().map(|v| v.as_ref().map(value)).collect::<Vec<_>>(),
            "multiply_adds": macs(graph, n, sizes),
            "step": steps.as_ref().and_then(|s| s.get(&n)).map(|(i, s)| json!({ "kind": s.kind(), "number": i })),
        })
    };
    json!({
        "name": graph.name, "opsets": model.file().opsets, "producer": model.file().producer,
        "metadata": model.metadata(),
        "inputs": graph.inputs.iter().map(value).collect::<Vec<_>>(),
        "outputs": graph.outputs.iter().map(value).collect::<Vec<_>>(),
        "nodes": (0..graph.nodes.len()).map(node).collect::<Vec<_>>(),
        "operators": totals.ops, "parameters": totals.parameters, "weights_bytes": totals.weights_bytes,
        "multiply_adds": totals.macs,
        "memory": plan.map(|p| json!({ "arena_bytes": p.arena_bytes, "bound_bytes": p.bound_bytes })),
    })
}

/// An attribute in a few words.
fn attribute(a: &egret::ir::Attr) -> String {
    let text = match a {
        egret::ir::Attr::Tensor(t) => Value::Tensor(t.clone()).ty().to_string(),
        egret::ir::Attr::Graph(g) => format!("graph of {} nodes", g.count_nodes()),
        other => format!("{other:?}"),
    };
    text.chars().take(200).collect()
}

/// Draws through the program `dot`.
fn svg(dot: &str) -> Result<String> {
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
