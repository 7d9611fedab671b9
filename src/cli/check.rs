//! `egret check`: every stage against the reference, a difference traced to its stage and node.

mod ort;

use super::input::InputArgs;
use super::show::count;
use super::{BoundArgs, Failure, dataset, progress, say, say_json};
use anyhow::Result;
use clap::Args;
use egret::check::{Finding, Settings, Stage};
use egret::compare::Tolerance;
use egret::{Level, Model, Options};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Compare every stage of the compiler with the reference, value by value.
///
/// Stages: the graph after each pass and specialised for the inputs' extents, evaluated by the reference; each call's
/// lowering by itself, interpreted; machine code without fusion; then the plan as it runs at each level of execution.
/// The first node whose result differs although its operands agree is named with its types, with --ort also where the
/// reference differs from ONNX Runtime. Exit code 1 if anything differs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret check models/digits.onnx --input image=models/seven.png
  egret check model.onnx --data test_data_set_0 --rtol 1e-4
  egret check model.onnx --ort                       as well against ONNX Runtime, by Python's package
  egret check target/onnx-cases/node                 every case, on its first test_data_set_*

ONNX Runtime is run by the first Python that has `onnxruntime` and `onnx`: $EGRET_PYTHON, .venv/bin/python (which
`cargo xtask setup` makes), python3.")]
pub(super) struct CheckArgs {
    /// An ONNX file; or folders of cases (as for `egret conform`), of which each is checked on its own data and gets one
    /// line.
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    bounds: BoundArgs,
    /// Levels of execution to check beside the passes and lowerings. Default: all; `interpret` only where that takes
    /// seconds.
    #[arg(long, value_name = "LEVEL", value_delimiter = ',')]
    level: Vec<Level>,
    /// Compare the reference with ONNX Runtime too.
    #[arg(long)]
    ort: bool,
    /// Relative tolerance.
    #[arg(long, default_value_t = Tolerance::NETWORK.rtol)]
    rtol: f64,
    /// Absolute tolerance, in units of a value's largest element where that is above 1.
    #[arg(long, default_value_t = Tolerance::NETWORK.atol)]
    atol: f64,
    /// Print a JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    // A panic of a stage is reported as its finding.
    std::panic::set_hook(Box::new(|_| {}));
    match args.models.as_slice() {
        [model] if !model.is_dir() => report(&check(model, &args.inputs, args)?, args.json),
        folders => many(folders, args),
    }
}

/// Every stage of one model.
fn check(path: &Path, given: &InputArgs, args: &CheckArgs) -> Result<Vec<Stage>> {
    let mut model = Model::load(path)?;
    let overridable = given.overrides(&model)?;
    if !overridable {
        model.bind_defaults();
    }
    let options = Options { overridable, ..args.bounds.options()? };
    let ports = model.compile(&Options { level: Level::Reference, ..options.clone() })?;
    let inputs = given.read(&model, &ports)?.values;
    let tolerance = Tolerance { rtol: args.rtol, atol: args.atol, ..Tolerance::NETWORK };
    let bar = progress::spinner();
    let said = |stage: &str| bar.set_message(format!("{}: {stage}", path.display()));
    let mut settings = Settings { tolerance, options, progress: Some(&said), ..Settings::default() };
    if !args.level.is_empty() {
        settings.levels = &args.level;
        settings.interpreted_flops = u64::MAX;
    }
    let mut stages = egret::check::check(model.graph(), &inputs, &settings)?;
    if args.ort {
        said("ONNX Runtime");
        let got = ort::values(path, &ports, &inputs)?;
        let want = egret::check::reference_values(model.graph(), &inputs, &settings.options)?;
        stages.insert(0, Stage::compare("ort | reference", model.graph(), &inputs, &got, &want, &tolerance));
    }
    bar.finish_and_clear();
    Ok(stages)
}

/// One line a case, then the sums.
fn many(folders: &[PathBuf], args: &CheckArgs) -> Result<()> {
    let cases = dataset::find(folders, &[])?;
    if cases.is_empty() {
        return Err(Failure::usage("no case was found: a case is a folder with model.onnx and test_data_set_*"));
    }
    let (mut n_failed, mut all) = (0, Vec::new());
    for case in &cases {
        let given = args.inputs.with_data(dataset::sets(&case.folder).into_iter().next());
        let done = check(&case.folder.join("model.onnx"), &given, args);
        let wrong = match &done {
            Ok(stages) => stages.iter().find_map(|s| Some((s.name.as_str(), s.finding.as_ref()?.to_string()))),
            Err(e) => Some(("not checked", format!("{e:#}"))),
        };
        n_failed += usize::from(wrong.is_some());
        if args.json {
            let stages = done.as_ref().map_or(Vec::new(), |stages| stages.iter().map(to_json).collect());
            all.push(json!({ "name": case.name, "agrees": wrong.is_none(), "stages": stages,
                             "error": done.as_ref().err().map(|e| format!("{e:#}")) }));
            continue;
        }
        let text = match (&wrong, &done) {
            (Some((stage, text)), _) => format!("{stage}: DIFFERS\n    {}", text.replace('\n', "\n    ")),
            (None, Ok(stages)) => {
                let n = stages.iter().map(|s| s.compared).sum();
                let worst = stages.iter().map(|s| s.error).fold(0.0, f64::max);
                format!(
                    "{} agree, {}, worst error {worst:.3} of the tolerance",
                    count(stages.len(), "stage"),
                    count(n, "value")
                )
            }
            (None, Err(_)) => String::new(),
        };
        say(&format!("{}: {text}\n", case.name))?;
    }
    match args.json {
        true => say_json(&all.into())?,
        false => say(&format!("{} passed, {n_failed} failed\n", cases.len() - n_failed))?,
    }
    if n_failed > 0 { Err(Failure::Found.into()) } else { Ok(()) }
}

fn report(stages: &[Stage], as_json: bool) -> Result<()> {
    if as_json {
        say_json(&stages.iter().map(to_json).collect())?;
    } else {
        let width = stages.iter().map(|s| s.name.len()).max().unwrap_or(0);
        for s in stages {
            let left_out = if s.left_out > 0 { format!(", {} left out", s.left_out) } else { String::new() };
            let text = match &s.finding {
                Some(found) => format!("DIFFERS\n    {}", found.to_string().replace('\n', "\n    ")),
                None => format!(
                    "agrees: {} compared{left_out}, worst error {:.3} of the tolerance",
                    count(s.compared, "value"),
                    s.error
                ),
            };
            say(&format!("{:width$}  {text}\n", s.name))?;
        }
    }
    if stages.iter().any(|s| s.finding.is_some()) { Err(Failure::Found.into()) } else { Ok(()) }
}

fn to_json(s: &Stage) -> serde_json::Value {
    fn finding(f: &Finding) -> serde_json::Value {
        json!({ "node": f.node, "operator": f.operator, "value": f.value, "text": f.text, "differing": f.n_wrong,
                "inside": f.inside.as_deref().map(finding) })
    }
    json!({ "stage": s.name, "agrees": s.finding.is_none(), "values": s.compared, "left_out": s.left_out,
            "error_in_tolerances": s.error, "finding": s.finding.as_ref().map(finding) })
}
