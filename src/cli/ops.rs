//! `egret ops`: what is supported, from the registry.

use super::show::table;
use super::{Failure, say, say_json};
use anyhow::Result;
use clap::Args;
use egret::ir::OpDef;
use egret::ir::ops::OPS;
use egret::ir::support::{self, Support};
use serde_json::json;

/// List the operators that are known and how each is run, or describe one.
///
/// `native` operators become machine code, `expanded` ones are defined by others, `host` ones run by their reference
/// evaluation inside of a plan. The types are those that the rule takes for the first operand.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret ops
  egret ops Conv
  egret ops --domain ai.onnx.ml --json
  egret ops --markdown > ir/OPS.md")]
pub(super) struct OpsArgs {
    /// One operator, by its ONNX name.
    name: Option<String>,
    /// Only operators of this domain.
    #[arg(long)]
    domain: Option<String>,
    /// The table of all operators in Markdown.
    #[arg(long, conflicts_with_all = ["name", "domain", "json"])]
    markdown: bool,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &OpsArgs) -> Result<()> {
    if args.markdown {
        return say(&support::markdown());
    }
    let chosen = |d: &&'static OpDef| {
        args.domain.as_deref().is_none_or(|x| x == d.domain)
            && args.name.as_deref().is_none_or(|n| n.eq_ignore_ascii_case(d.name))
    };
    let ops: Vec<&'static OpDef> = OPS.iter().copied().filter(chosen).collect();
    if ops.is_empty() {
        let near = args.name.as_deref().map_or(Vec::new(), near);
        let hint =
            if near.is_empty() { "`egret ops` lists all".to_owned() } else { format!("near are {}", near.join(", ")) };
        return Err(Failure::usage(format!("there is no such operator; {hint}")));
    }
    if args.json {
        return say_json(&ops.iter().map(|d| to_json(d)).collect());
    }
    if args.name.is_some() {
        return say(&ops.iter().map(|d| describe(d)).collect::<Vec<_>>().join("\n"));
    }
    let row = |d: &&'static OpDef| {
        let since: Vec<String> = d.since.iter().map(i64::to_string).collect();
        let how = Support::of(d);
        let cells = [d.domain, d.name, &since.join(" "), how.how(), &support::dtypes_text(&how.dtypes), d.summary];
        cells.map(str::to_owned).to_vec()
    };
    let head = ["domain", "operator", "opsets", "how", "types", "what"];
    let text = table(&head, &ops.iter().map(row).collect::<Vec<_>>());
    say(&format!("{text}\n{} operators\n", ops.len()))
}

/// Names that hold the word, or that it holds.
fn near(word: &str) -> Vec<&'static str> {
    let word = word.to_lowercase();
    let names = OPS.iter().map(|d| d.name);
    names.filter(|n| n.to_lowercase().contains(&word) || word.contains(&n.to_lowercase())).take(8).collect()
}

fn describe(d: &'static OpDef) -> String {
    let mut out = format!("{} ({}): {}\n  ({}) -> ({})\n", d.name, d.domain, d.summary, d.inputs, d.outputs);
    let support = Support::of(d);
    let since: Vec<String> = d.since.iter().map(i64::to_string).collect();
    out += &format!("  opsets {}\n", since.join(", "));
    out += &format!("  {}; types {}\n", support.how(), support::dtypes_text(&support.dtypes));
    for a in d.attrs {
        let default = if a.default.is_empty() { String::new() } else { format!(" = {}", a.default) };
        out += &format!("  {}: {}{default}  {}\n", a.name, a.wanted, a.doc.trim());
    }
    if !d.examples.trim().is_empty() {
        out += &format!("\n{}\n", d.examples.trim());
    }
    out
}

fn to_json(d: &'static OpDef) -> serde_json::Value {
    let attr = |a: &egret::ir::attr::AttrDoc| json!({ "name": a.name, "type": a.wanted, "default": a.default, "doc": a.doc.trim() });
    let support = Support::of(d);
    json!({
        "domain": d.domain, "name": d.name, "since": d.since, "brings": d.brings, "inputs": d.inputs, "outputs": d.outputs,
        "how": support.how(), "types": support.dtypes.iter().map(|t| t.name()).collect::<Vec<_>>(),
        "summary": d.summary, "mnemonic": d.mnemonic(), "attributes": d.attrs.iter().map(attr).collect::<Vec<_>>(),
    })
}
