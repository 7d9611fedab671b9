//! `egret ops`: what is supported, from the registry.

use super::show::table;
use super::{Failure, say, say_json};
use anyhow::Result;
use clap::Args;
use egret::ir::OpDef;
use egret::ir::ops::OPS;
use serde_json::json;

/// List the operators that are known, or describe one.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret ops
  egret ops Conv
  egret ops --domain ai.onnx.ml --json")]
pub(super) struct OpsArgs {
    /// One operator, by its ONNX name.
    name: Option<String>,
    /// Only operators of this domain.
    #[arg(long)]
    domain: Option<String>,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &OpsArgs) -> Result<()> {
    let chosen = |d: &&OpDef| {
        args.domain.as_deref().is_none_or(|x| x == d.domain)
            && args.name.as_deref().is_none_or(|n| n.eq_ignore_ascii_case(d.name))
    };
    let ops: Vec<&OpDef> = OPS.iter().copied().filter(chosen).collect();
    if ops.is_empty() {
        return Err(Failure::usage("there is no such operator; `egret ops` lists all"));
    }
    if args.json {
        return say_json(&ops.iter().map(|d| to_json(d)).collect());
    }
    if args.name.is_some() {
        return say(&ops.iter().map(|d| describe(d)).collect::<Vec<_>>().join("\n"));
    }
    let row = |d: &&OpDef| {
        let since: Vec<String> = d.since.iter().map(i64::to_string).collect();
        vec![d.domain.to_owned(), d.name.to_owned(), since.join(" "), d.summary.to_owned()]
    };
    let text = table(&["domain", "operator", "opsets", "what"], &ops.iter().map(row).collect::<Vec<_>>());
    say(&format!("{text}\n{} operators\n", ops.len()))
}

fn describe(d: &OpDef) -> String {
    let mut out = format!("{} ({}): {}\n  ({}) -> ({})\n", d.name, d.domain, d.summary, d.inputs, d.outputs);
    out += &format!("  since opset {:?}\n", d.since);
    for a in d.attrs {
        let default = if a.default.is_empty() { String::new() } else { format!(" = {}", a.default) };
        out += &format!("  {}: {}{default}  {}\n", a.name, a.wanted, a.doc.trim());
    }
    if !d.examples.trim().is_empty() {
        out += &format!("\n{}\n", d.examples.trim());
    }
    out
}

fn to_json(d: &OpDef) -> serde_json::Value {
    let attr = |a: &egret::ir::attr::AttrDoc| json!({ "name": a.name, "type": a.wanted, "default": a.default, "doc": a.doc.trim() });
    json!({
        "domain": d.domain, "name": d.name, "since": d.since, "inputs": d.inputs, "outputs": d.outputs,
        "summary": d.summary, "mnemonic": d.mnemonic(), "attributes": d.attrs.iter().map(attr).collect::<Vec<_>>(),
    })
}
