//! `egret run`: a model on some inputs, outputs for people.

use super::input::{Given, InputArgs};
use super::show::{bytes, count, grouped, json, time, value};
use super::{EngineArgs, Failure, image, npy, progress, say, say_json};
use anyhow::{Context, Result};
use clap::Args;
use egret::ir::onnx;
use egret::{Executable, Level, Model, Options, Tensor, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Compile a model, run it and show its outputs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret run models/digits.onnx --input image=models/seven.png
  egret run model.onnx                                    seeded random inputs
  egret run model.onnx --dim batch=4 --input x=random:7
  egret run model.onnx --input x=x.npy --output y=y.npy
  egret run model.onnx --data test_data_set_0 --want conv1_out --level reference")]
pub(super) struct RunArgs {
    /// An ONNX file.
    model: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Write an output (or a value that --want asks for): NAME=FILE.npy, NAME=FILE.pb, or NAME=FILE.png for a picture
    /// ([…, c, h, w] or [h, w], one or three channels, bytes or floats from 0 to 1). FILE.npz without NAME= takes all
    /// outputs.
    #[arg(long, short, value_name = "NAME=FILE")]
    output: Vec<String>,
    /// Show a value from the middle of the graph too, by its name.
    #[arg(long, value_name = "VALUE")]
    want: Vec<String>,
    /// Elements of each value to print.
    #[arg(long, value_name = "N", default_value_t = 8)]
    elements: usize,
    /// Print a JSON document (with --elements up to all).
    #[arg(long)]
    json: bool,
}

/// How long repeated runs may take together, to say the time of one.
const TIMING_BUDGET: Duration = Duration::from_millis(200);

pub(super) fn run(args: &RunArgs) -> Result<()> {
    let start = Instant::now();
    let model = progress::during("reading", || Model::load(&args.model))?;
    let load = start.elapsed();
    let options = Options {
        keep_values: !args.want.is_empty(),
        overridable: args.inputs.overrides(&model)?,
        ..args.engine.options()?
    };
    let start = Instant::now();
    let executable = model.compile(&options)?;
    let given = args.inputs.read(&model, &executable)?;
    let compiled = progress::during("compiling", || Compiled::new(&executable, &given, &options))?;
    let compile = start.elapsed();
    let (outputs, wanted) = progress::during("running", || run_once(&executable, &given.values, &args.want, &options))?;
    let per_run = if args.want.is_empty() { time_runs(&executable, &given.values)? } else { None };

    let mut named: Vec<(&str, &Value)> = executable.outputs().iter().map(|p| p.name.as_str()).zip(&outputs).collect();
    named.extend(args.want.iter().map(|n| (n.as_str(), &wanted[n])));
    args.output.iter().try_for_each(|spec| write(spec, &named))?;
    if args.json {
        let shown: Vec<_> = named.iter().map(|(n, v)| json!({ "name": n, "value": json(v, args.elements) })).collect();
        return say_json(&json!({
            "model": args.model, "level": options.level.name(), "threads": options.threads,
            "inputs": executable.inputs().iter().zip(&given.values).zip(&given.origins)
                .map(|((p, v), o)| json!({ "name": p.name, "type": v.ty().to_string(), "origin": o })).collect::<Vec<_>>(),
            "outputs": shown, "compiled": compiled.to_json(),
            "load_ms": ms(load), "compile_ms": ms(compile),
            "run_ms": per_run.map(|(t, _)| ms(t)), "runs": per_run.map(|(_, n)| n),
        }));
    }
    let mut out = String::new();
    for ((port, v), origin) in executable.inputs().iter().zip(&given.values).zip(&given.origins) {
        writeln!(out, "{}: {}, {origin}", port.name, v.ty())?;
    }
    let labels = model.labels().unwrap_or_default();
    for (name, v) in named {
        match classes(v, &labels) {
            Some(table) => write!(out, "\n{name}\n{table}")?,
            None => write!(out, "\n{name}: {}\n  {}\n", v.ty(), value(v, args.elements))?,
        }
    }
    writeln!(out, "\n{}", compiled.to_text(load + compile))?;
    if let Some((t, n)) = per_run {
        writeln!(out, "time per run: {} (best of {}, {})", time(t), count(n, "run"), count(options.threads, "thread"))?;
    }
    say(&out)
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// Outputs, and intermediate values by name.
fn run_once(
    exe: &Executable,
    inputs: &[Value],
    want: &[String],
    options: &Options,
) -> Result<(Vec<Value>, BTreeMap<String, Value>)> {
    if want.is_empty() {
        return Ok((exe.run(inputs)?, BTreeMap::new()));
    }
    let mut found = BTreeMap::new();
    for (port, v) in exe.inputs().iter().zip(inputs) {
        found.insert(port.name.clone(), v.clone());
    }
    for v in &exe.graph().values {
        if let Some(c) = &v.constant {
            found.insert(v.name.clone(), c.clone().into());
        }
    }
    let outputs = exe.run_observed(inputs, true, &mut |step| {
        for (name, v) in step.values.iter().filter(|(n, _)| want.contains(n)) {
            found.insert(name.clone(), v.clone());
        }
    })?;
    found.extend(exe.outputs().iter().map(|p| p.name.clone()).zip(outputs.iter().cloned()));
    let absent: Vec<&String> = want.iter().filter(|n| !found.contains_key(*n)).collect();
    if absent.is_empty() {
        found.retain(|n, _| want.contains(n));
        return Ok((outputs, found));
    }
    if let Some(name) = absent.iter().find(|n| !exe.graph().values.iter().any(|v| v.name == ***n)) {
        return Err(Failure::usage(format!("there is no value \"{name}\"; `egret inspect` lists them")));
    }
    for name in &absent {
        eprintln!("\"{name}\" is rewritten away in compiled code: shown is what the reference gives");
    }
    found.extend(egret::check::reference_values(exe.graph(), inputs, options)?);
    found.retain(|n, _| want.contains(n));
    Ok((outputs, found))
}

/// The best time of as many runs as fit the budget, and their number; nothing for slow models.
fn time_runs(exe: &Executable, inputs: &[Value]) -> Result<Option<(Duration, usize)>> {
    let (begin, mut best, mut n) = (Instant::now(), Duration::MAX, 0);
    while begin.elapsed() < TIMING_BUDGET {
        let start = Instant::now();
        exe.run(inputs)?;
        best = best.min(start.elapsed());
        n += 1;
    }
    Ok((n > 0).then_some((best, n)))
}

/// What became of the nodes.
struct Compiled {
    nodes: usize,
    parameters: u64,
    weights_bytes: u64,
    steps: Option<Steps>,
}

struct Steps {
    kernels: usize,
    host: BTreeMap<&'static str, usize>,
    arena_bytes: usize,
}

impl Compiled {
    fn new(exe: &Executable, given: &Given, options: &Options) -> Result<Compiled> {
        let plan = exe.prepare(&given.values.iter().map(Value::ty).collect::<Vec<_>>())?;
        let steps = plan.map(|plan| {
            let mut steps = Steps { kernels: 0, host: BTreeMap::new(), arena_bytes: plan.arena_bytes };
            for s in &plan.steps {
                match s.kind() {
                    "native" => steps.kernels += 1,
                    "host" => {
                        for &n in s.nodes() {
                            *steps.host.entry(plan.graph.nodes[n].op.named().name).or_default() += 1;
                        }
                    }
                    _ => {}
                }
            }
            steps
        });
        debug_assert_eq!(steps.is_none(), options.level == Level::Reference);
        let weights = || exe.graph().constants().into_iter().flatten();
        Ok(Compiled {
            nodes: exe.graph().count_nodes(),
            parameters: weights().map(|t| t.len() as u64).sum(),
            weights_bytes: weights().map(|t| t.bytes().len() as u64).sum(),
            steps,
        })
    }

    fn to_text(&self, took: Duration) -> String {
        let model = format!("{}, {} parameters", count(self.nodes, "node"), grouped(self.parameters));
        let Some(s) = &self.steps else { return format!("evaluated: {model} ({})", bytes(self.weights_bytes)) };
        let mut out = format!(
            "compiled: {model} into {} in {}, working memory {}",
            count(s.kernels, "native kernel"),
            time(took),
            bytes(s.arena_bytes as u64)
        );
        if !s.host.is_empty() {
            let list: Vec<String> =
                s.host.iter().map(|(op, n)| if *n == 1 { (*op).into() } else { format!("{op} x{n}") }).collect();
            let _ = write!(out, "\nnot native, by reference evaluation: {}", list.join(", "));
        }
        out
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "nodes": self.nodes, "parameters": self.parameters, "weights_bytes": self.weights_bytes,
            "native_kernels": self.steps.as_ref().map(|s| s.kernels),
            "host_calls": self.steps.as_ref().map(|s| &s.host),
            "arena_bytes": self.steps.as_ref().map(|s| s.arena_bytes),
        })
    }
}

/// A table of the five most probable classes with bars, one for each row of a tensor whose last extent is the number
/// of labels.
fn classes(v: &Value, labels: &[String]) -> Option<String> {
    let t = v.tensor().ok().filter(|t| !labels.is_empty() && t.shape().last() == Some(&labels.len()))?;
    let all = t.floats().ok().filter(|_| t.dtype().is_float())?;
    let width = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (r, row) in all.chunks(labels.len()).enumerate() {
        if all.len() > labels.len() {
            let _ = writeln!(out, " {r}:");
        }
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let probable = row.iter().all(|p| (0.0..=1.0).contains(p));
        for &i in order.iter().take(5) {
            let text = if probable { format!("{:6.2} %", row[i] * 100.0) } else { format!("{:10.4}", row[i]) };
            let bar = if probable { "█".repeat((row[i] * 40.0).round() as usize) } else { String::new() };
            let _ = writeln!(out, "{}", format!("  {:width$}  {text}  {bar}", labels[i]).trim_end());
        }
    }
    Some(out)
}

/// Writes what one `--output` asks for.
fn write(spec: &str, named: &[(&str, &Value)]) -> Result<()> {
    let kind = |p: &Path| p.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((name, file)) = spec.split_once('=') else {
        let path = Path::new(spec);
        if kind(path) != "npz" {
            return Err(Failure::usage(format!("--output {spec}: wanted is NAME=FILE (.npy, .pb, .png) or FILE.npz")));
        }
        let arrays: Vec<(String, Tensor)> =
            named.iter().map(|(n, v)| Ok(((*n).to_owned(), v.tensor()?.clone()))).collect::<Result<_>>()?;
        return npy::write_npz(path, &arrays);
    };
    let found = named.iter().find(|(n, _)| *n == name);
    let (_, v) = found.ok_or_else(|| Failure::usage(format!("--output {spec}: there is no output \"{name}\"")))?;
    let path = Path::new(file);
    match kind(path).as_str() {
        "npy" => npy::write(path, v.tensor().context("only tensors have an .npy form")?),
        "pb" => Ok(onnx::data::save(path, name, v)?),
        "png" => image::write(path, v.tensor()?),
        _ => Err(Failure::usage(format!("--output {spec}: known are .npy, .npz, .pb and .png"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_sorted_by_probability() {
        let labels = ["cat".to_owned(), "horse".to_owned()];
        let v = Value::from(Tensor::from_slice(&[1, 2], &[0.25f32, 0.75]));
        let text = classes(&v, &labels).unwrap();
        let bars = ["█".repeat(30), "█".repeat(10)];
        assert_eq!(text, format!("  horse   75.00 %  {}\n  cat     25.00 %  {}\n", bars[0], bars[1]));
        assert!(classes(&v, &labels[..1]).is_none());
    }
}
