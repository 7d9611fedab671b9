//! `egret inspect`: what is in a model, at each stage of the compiler.

use super::input::{InputArgs, size};
use super::show::{bytes, count, grouped, table, time};
use super::stage::Stage;
use super::{Failure, progress, say, say_json};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use egret::codegen::exec::plan::{Plan, Step};
use egret::ir::lower::{LowerCx, Lowering};
use egret::{Executable, Graph, Model, Options, Type, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Show a model's nodes, weights, arithmetic and memory.
///
/// Stages: `imported` is the file in the newest opset; the name of a pass (expand, fold…) is the graph after it;
/// `optimised` is after all passes, extents still symbols; `planned` is what runs for the extents that --dim gives (others
/// are 1) or that the inputs have: native kernels, views, host calls with their share of the time, memory. --each lists
/// what every stage changes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret inspect models/digits.onnx
  egret inspect model.onnx --stage planned --dim batch=8
  egret inspect model.onnx --each                              what each pass does
  egret inspect model.onnx --stage fold --format text          the graph after constant folding
  egret inspect model.onnx --format svg > model.svg")]
pub(super) struct InspectArgs {
    /// An ONNX file.
    model: PathBuf,
    /// Which stage of the compiler: `imported`, the name of a pass, `optimised` or `planned`.
    #[arg(long, default_value = "imported", value_parser = Stage::parse)]
    stage: Stage,
    /// A table of all stages: nodes, weights, operators that come and go.
    #[arg(long, conflicts_with_all = ["stage", "format"])]
    each: bool,
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
    /// Threads of the run that measures shares of the time. Default: the processors that this process may use.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
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
    let model = progress::during("reading", || Model::load(&args.model))?;
    if args.each {
        return each(&model, args);
    }
    let sizes = args.inputs.sizes()?;
    let model = args.stage.apply(model)?;
    let planned = match args.stage {
        Stage::Planned => Some(Planned::new(&model, args)?),
        _ => None,
    };
    let graph = planned.as_ref().map_or(model.graph(), |p| &*p.plan.graph);
    let only_graph = !args.json && args.format != Format::Table;
    let planned = planned.as_ref().filter(|_| !only_graph);
    if args.json {
        return say_json(&to_json(&model, graph, planned, &sizes));
    }
    match args.format {
        Format::Table => say(&text(&model, graph, planned, &sizes, args.summary)?),
        Format::Text => say(&egret::ir::text::print(graph)),
        Format::Json => say_json(&egret::ir::json::to_json(graph)),
        Format::Dot => say(&egret::ir::dot::to_dot(graph)),
        Format::Svg => say(&svg(&egret::ir::dot::to_dot(graph))?),
    }
}

/// What every stage changes.
fn each(model: &Model, args: &InspectArgs) -> Result<()> {
    let sizes = args.inputs.sizes()?;
    let mut rows = Vec::new();
    let mut before: Option<Totals> = None;
    for stage in Stage::all() {
        let at = stage.apply(model.clone())?;
        let (now, steps) = match stage {
            Stage::Planned => {
                let planned = Planned::new(&at, args)?;
                (Totals::of(&planned.plan.graph, &sizes), planned.kinds())
            }
            _ => (Totals::of(at.graph(), &sizes), String::new()),
        };
        let changes = before.as_ref().map_or(String::new(), |b| b.changes(&now));
        let changes = [steps, changes].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("; ");
        rows.push((stage, now.nodes, now.weights_bytes, changes));
        before = Some(now);
    }
    if args.json {
        let row = |(stage, nodes, weights, changes): &(Stage, usize, u64, String)| json!({ "stage": stage.name(), "nodes": nodes, "weights_bytes": weights, "changes": changes });
        return say_json(&rows.iter().map(row).collect());
    }
    let row = |(stage, nodes, weights, changes): &(Stage, usize, u64, String)| {
        vec![stage.name().to_owned(), grouped(*nodes as u64), bytes(*weights), changes.clone()]
    };
    say(&table(&["stage", "nodes", "weights", "what changes"], &rows.iter().map(row).collect::<Vec<_>>()))
}

/// The plan for some inputs, and where the time of a run goes.
struct Planned {
    plan: std::sync::Arc<Plan>,
    /// Time and number of steps by kind and operators of one run; or why it failed.
    run: Result<BTreeMap<(&'static str, String), (Duration, usize)>, String>,
}

impl Planned {
    /// Plans for the inputs that are given or made at random, and runs them.
    fn new(model: &Model, args: &InspectArgs) -> Result<Planned> {
        let bar = progress::spinner();
        bar.set_message("compiling");
        let mut options = Options { overridable: args.inputs.overrides(model)?, ..Options::default() };
        options.threads = args.threads.unwrap_or(options.threads).max(1);
        let executable = model.compile(&options)?;
        let inputs = args.inputs.read(model, &executable)?.values;
        let plan = executable.prepare(&inputs.iter().map(Value::ty).collect::<Vec<_>>())?;
        let plan = plan.ok_or_else(|| egret::Error::bug("the native level made no plan"))?;
        bar.set_message("running");
        let run = Planned::measure(&executable, &inputs).map_err(|e| e.to_string());
        bar.finish_and_clear();
        Ok(Planned { plan, run })
    }

    fn measure(
        executable: &Executable,
        inputs: &[Value],
    ) -> egret::Result<BTreeMap<(&'static str, String), (Duration, usize)>> {
        let mut best: Option<(Duration, _)> = None;
        // The first run touches memory for the first time.
        for _ in 0..3 {
            let mut steps: BTreeMap<(&'static str, String), (Duration, usize)> = BTreeMap::new();
            executable.run_observed(inputs, false, &mut |s| {
                let at = steps.entry((s.kind, s.ops.join("+"))).or_default();
                *at = (at.0 + s.took.own(), at.1 + 1);
            })?;
            let total = steps.values().map(|s| s.0).sum();
            if best.as_ref().is_none_or(|b| total < b.0) {
                best = Some((total, steps));
            }
        }
        Ok(best.map(|b| b.1).unwrap_or_default())
    }

    fn n(&self, kind: &str) -> usize {
        self.plan.steps.iter().filter(|s| s.kind() == kind).count()
    }

    fn kinds(&self) -> String {
        let [native, host, view] = ["native", "host", "view"].map(|k| self.n(k));
        format!("{}, {}, {}", count(native, "native kernel"), count(host, "host call"), count(view, "view"))
    }

    /// Host calls by operator: time, share of the run, number.
    fn host(&self) -> Vec<(&str, Duration, f64, usize)> {
        let Ok(run) = &self.run else { return Vec::new() };
        let total: Duration = run.values().map(|s| s.0).sum();
        let share = |d: Duration| d.as_secs_f64() / total.as_secs_f64().max(1e-12);
        let host = run.iter().filter(|(k, _)| k.0 == "host");
        let mut host: Vec<_> = host.map(|(k, (t, n))| (k.1.as_str(), *t, share(*t), *n)).collect();
        host.sort_by_key(|h| std::cmp::Reverse(h.1));
        host
    }

    fn to_text(&self, n_nodes: usize) -> String {
        let plan = &self.plan;
        let mut out = format!("{}\n", self.kinds());
        let (have, least) = (bytes(plan.arena_bytes as u64), bytes(plan.bound_bytes as u64));
        out += &format!("working memory {have} (no placement needs less than {least})\n");
        let planned = step_of(plan).len();
        if planned < n_nodes {
            let later = count(n_nodes - planned, "node");
            out += &format!("{later} planned later, when the data they depend on are known\n");
        }
        match &self.run {
            Err(e) => out += &format!("not run on these inputs: {}\n", e.lines().next().unwrap_or_default()),
            Ok(_) => {
                let host = self.host();
                let share = host.iter().map(|h| h.2).fold(0.0, |a, b| a + b);
                out += &format!("host calls take {:.1} % of the time of a run\n", share * 100.0);
                let row = |h: &(&str, Duration, f64, usize)| {
                    vec![h.3.to_string(), time(h.1), format!("{:.1}", h.2 * 100.0), h.0.to_owned()]
                };
                if !host.is_empty() {
                    let rows: Vec<_> = host.iter().map(row).collect();
                    out += &format!("\n{}", table(&["calls", "time", "%", "host call of"], &rows));
                }
            }
        }
        out
    }

    fn to_json(&self) -> serde_json::Value {
        let host = |h: &(&str, Duration, f64, usize)| json!({ "operator": h.0, "ms": h.1.as_secs_f64() * 1e3, "share": h.2, "calls": h.3 });
        json!({
            "arena_bytes": self.plan.arena_bytes, "bound_bytes": self.plan.bound_bytes,
            "native_kernels": self.n("native"), "views": self.n("view"), "host_calls": self.n("host"),
            "host_time": self.host().iter().map(host).collect::<Vec<_>>(), "not_run": self.run.as_ref().err(),
        })
    }
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
        lowering @ Lowering::Pairs(_) => Some(lowering.work()),
        Lowering::MatMul(m) => Some(m.batch.iter().map(|b| b.0 as u64).product::<u64>() * product(&[m.m, m.n, m.k])),
        Lowering::Conv(c) | Lowering::ConvLast { conv: c, .. } => {
            let at = if c.transposed { &c.input } else { &c.output };
            Some(product(&[c.n, c.groups, c.c, c.m]) * product(&c.kernel) * product(at))
        }
        Lowering::Recurrent(r) => {
            let each = product(&[r.seq, r.batch, r.directions.len(), r.gates, r.hidden]);
            Some(each * (r.input + r.hidden) as u64)
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

    /// Operators that come and go on the way to `after`.
    fn changes(&self, after: &Totals) -> String {
        let n = |t: &Totals, op: &str| t.ops.get(op).copied().unwrap_or(0) as i64;
        let ops: std::collections::BTreeSet<&str> = self.ops.keys().chain(after.ops.keys()).copied().collect();
        let changes = ops.into_iter().map(|op| (op, n(after, op) - n(self, op))).filter(|c| c.1 != 0);
        changes.map(|(op, d)| format!("{op} {d:+}")).collect::<Vec<_>>().join(", ")
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
    planned: Option<&Planned>,
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
        out += &nodes(graph, planned.map(|p| &*p.plan), sizes);
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
    if let Some(planned) = planned {
        out += &planned.to_text(graph.nodes.len());
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

fn to_json(
    model: &Model,
    graph: &Graph,
    planned: Option<&Planned>,
    sizes: &BTreeMap<String, i64>,
) -> serde_json::Value {
    let totals = Totals::of(graph, sizes);
    let value = |v: &egret::ir::ValueId| json!({ "name": graph.value(*v).name, "type": graph.ty(*v).to_string() });
    let steps = planned.map(|p| step_of(&p.plan));
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
        "plan": planned.map(Planned::to_json),
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
