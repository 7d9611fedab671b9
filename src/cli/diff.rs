//! `egret diff`: two models, first their structure, then their outputs on the same inputs.

use super::input::InputArgs;
use super::show::count;
use super::{EngineArgs, Failure, progress, say, say_json};
use anyhow::Result;
use clap::Args;
use egret::compare::Tolerance;
use egret::{Graph, Model, Options};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Compare two models: interface, operators, weights, and outputs on the same inputs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret diff before.onnx after.onnx
  egret diff before.onnx after.onnx --data test_data_set_0 --rtol 1e-5 --structure-may-differ")]
pub(super) struct DiffArgs {
    /// An ONNX file.
    a: PathBuf,
    /// Another one.
    b: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Relative tolerance.
    #[arg(long, default_value_t = Tolerance::NETWORK.rtol)]
    rtol: f64,
    /// Absolute tolerance, in units of an output's largest element where that is above 1.
    #[arg(long, default_value_t = Tolerance::NETWORK.atol)]
    atol: f64,
    /// Only the outputs decide the exit code.
    #[arg(long)]
    structure_may_differ: bool,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DiffArgs) -> Result<()> {
    let (a, b) = (Model::load(&args.a)?, Model::load(&args.b)?);
    let structure = structure(a.graph(), b.graph());
    let outputs = progress::during("comparing", || outputs(&a, &b, args))?;
    let differs = outputs.iter().any(|o| o.1.is_err());
    if args.json {
        let one = |(name, o): &(String, Result<f64, String>)| match o {
            Ok(error) => json!({ "name": name, "agrees": true, "error_in_tolerances": error }),
            Err(why) => json!({ "name": name, "agrees": false, "why": why }),
        };
        say_json(&json!({ "structure": structure, "outputs": outputs.iter().map(one).collect::<Vec<_>>() }))?;
    } else {
        let mut out = match structure.len() {
            0 => "structure: the same\n".to_owned(),
            n => format!("structure: {}\n", count(n, "difference")),
        };
        structure.iter().for_each(|line| out += &format!("  {line}\n"));
        for (name, o) in &outputs {
            out += &match o {
                Ok(error) => format!("output {name}: agrees, worst error {error:.3} of the tolerance\n"),
                Err(why) => format!("output {name}: DIFFERS, {why}\n"),
            };
        }
        say(&out)?;
    }
    let structural = !structure.is_empty() && !args.structure_may_differ;
    if differs || structural { Err(Failure::Found.into()) } else { Ok(()) }
}

/// What differs, in lines.
fn structure(a: &Graph, b: &Graph) -> Vec<String> {
    let mut out = Vec::new();
    for (what, x, y) in [("input", &a.inputs, &b.inputs), ("output", &a.outputs, &b.outputs)] {
        let text = |g: &Graph, ids: &[egret::ir::ValueId], k: usize| {
            ids.get(k).map_or("none".to_owned(), |&v| format!("{}: {}", g.value(v).name, g.ty(v)))
        };
        for k in 0..x.len().max(y.len()) {
            let (s, t) = (text(a, x, k), text(b, y, k));
            if s != t {
                out.push(format!("{what} {k}: {s} | {t}"));
            }
        }
    }
    let (x, y) = (operators(a), operators(b));
    for op in x.keys().chain(y.keys().filter(|k| !x.contains_key(*k))) {
        let n = |m: &BTreeMap<&str, usize>| m.get(op).copied().unwrap_or(0);
        if n(&x) != n(&y) {
            out.push(format!("operator {op}: {} | {}", n(&x), n(&y)));
        }
    }
    let (x, y) = (constants(a), constants(b));
    for (name, t) in &x {
        if let Some(u) = y.get(name)
            && t != u
        {
            let what = if (t.dtype(), t.shape()) == (u.dtype(), u.shape()) { "other values" } else { "another type" };
            out.push(format!("constant {name}: {what}"));
        }
    }
    out
}

fn operators(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let mut out = BTreeMap::new();
    for node in &graph.nodes {
        *out.entry(node.op.def().name).or_default() += 1;
        for body in node.op.bodies() {
            operators(body).into_iter().for_each(|(op, n)| *out.entry(op).or_default() += n);
        }
    }
    out
}

fn constants(graph: &Graph) -> BTreeMap<&str, &egret::Tensor> {
    let named = graph.values.iter().filter(|v| !v.name.is_empty());
    named.filter_map(|v| Some((v.name.as_str(), v.constant.as_ref()?))).collect()
}

/// Each output by name with its error in tolerances, or how it differs.
fn outputs(a: &Model, b: &Model, args: &DiffArgs) -> Result<Vec<(String, Result<f64, String>)>> {
    let tolerance = Tolerance { rtol: args.rtol, atol: args.atol, ..Tolerance::NETWORK };
    let overridable = args.inputs.overrides(a)?;
    let options = Options { overridable, ..args.engine.options()? };
    let (x, y) = (a.compile(&options)?, b.compile(&options)?);
    let given = args.inputs.read(a, &x)?.values;
    let named: Vec<_> = x.inputs().iter().map(|p| p.name.as_str()).zip(given.iter().cloned()).collect();
    let same_names = x.inputs().iter().all(|p| y.inputs().iter().any(|q| q.name == p.name));
    // Inputs go by name where the names are the same, else by position.
    let for_b = if same_names { y.order(&named)? } else { given.clone() };
    let (got_a, got_b) = (x.run(&given)?, y.run(&for_b)?);
    let mut out = Vec::new();
    for (k, (port, v)) in x.outputs().iter().zip(&got_a).enumerate() {
        let at = y.outputs().iter().position(|q| q.name == port.name).unwrap_or(k);
        let verdict = match got_b.get(at) {
            Some(w) => tolerance.compare(w, v).map_err(|d| d.text),
            None => Err("the second model has no such output".into()),
        };
        out.push((port.name.clone(), verdict));
    }
    Ok(out)
}
