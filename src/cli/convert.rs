//! `egret convert`: ONNX in, ONNX out.

use super::{Failure, say};
use anyhow::Result;
use clap::{Args, ValueEnum};
use egret::Model;
use egret::ir::plan::Planner;
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
    /// Which stage of the compiler to write.
    #[arg(long, value_enum, default_value_t = Stage::Imported)]
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Stage {
    /// As read.
    Imported,
    /// After the passes.
    Optimised,
}

pub(super) fn run(args: &ConvertArgs) -> Result<()> {
    if args.to.extension().is_none_or(|e| e != "onnx") {
        return Err(Failure::usage(format!("{}: only .onnx is written", args.to.display())));
    }
    let mut model = Model::load(&args.from)?;
    if args.stage == Stage::Optimised {
        model.bind_defaults();
        model = model.with_graph(egret::passes::DefaultPlanner.optimise(model.graph().clone())?);
    }
    model.save(&args.to)?;
    say(&format!("{}: {} nodes\n", args.to.display(), model.graph().count_nodes()))
}
