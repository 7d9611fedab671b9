//! `egret convert`: ONNX in, ONNX out.

use super::stage::Stage;
use super::{Failure, progress, say, say_json};
use anyhow::Result;
use clap::Args;
use egret::Model;
use serde_json::json;
use std::path::PathBuf;

/// Read a model and write it again as ONNX.
///
/// The written model is in the newest opset, with the types of all values, functions inlined. With --stage optimised it
/// is what the compiler makes of it, so that another runtime can run it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret convert old.onnx new.onnx
  egret convert model.onnx optimised.onnx --stage optimised")]
pub(super) struct ConvertArgs {
    /// An ONNX file.
    from: PathBuf,
    /// Where to write; ends with .onnx.
    to: PathBuf,
    /// Which stage of the compiler to write: `imported`, the name of a pass (after it), or `optimised`.
    #[arg(long, default_value = "imported", value_parser = Stage::parse)]
    stage: Stage,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ConvertArgs) -> Result<()> {
    if args.to.extension().is_none_or(|e| e != "onnx") {
        return Err(Failure::usage(format!("{}: only .onnx is written", args.to.display())));
    }
    let model = progress::during("reading", || Model::load(&args.from))?;
    let model = match args.stage {
        Stage::Planned => {
            return Err(Failure::usage("a plan has no ONNX form; --stage optimised is what it is made of"));
        }
        stage => stage.apply(model)?,
    };
    progress::during("writing", || model.save(&args.to))?;
    let n_nodes = model.graph().count_nodes();
    if args.json {
        return say_json(&json!({ "from": args.from, "to": args.to, "stage": args.stage.name(), "nodes": n_nodes }));
    }
    say(&format!("{}: {n_nodes} nodes\n", args.to.display()))
}
