//! `egret check`: every stage against the reference, a difference traced to its pass or node.

use super::input::InputArgs;
use super::show::count;
use super::{BoundArgs, Failure, panic_text, say, say_json};
use anyhow::Result;
use clap::Args;
use egret::compare::{Difference, Tolerance};
use egret::{Executable, Graph, Level, Model, Options, Value};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Compare every stage of the compiler with the reference, value by value.
///
/// Stages: the graph after each pass, evaluated by the reference; then the planned graph at each level: its kernels
/// interpreted, and as machine code. The first node whose result differs
/// although its operands agree is named with its types. Exit code 1 if anything differs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret check models/digits.onnx --input image=models/seven.png
  egret check model.onnx --data test_data_set_0 --rtol 1e-4")]
pub(super) struct CheckArgs {
    /// An ONNX file.
    model: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    bounds: BoundArgs,
    /// Levels to check beside the passes: interpret, baseline-without-fma, baseline, native. Default: all but `native`,
    /// which at present is the baseline; the slow ones only for models of less than a hundred million operations.
    #[arg(long, value_name = "LEVEL", value_delimiter = ',')]
    level: Vec<Level>,
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

/// Values by name.
type Values = BTreeMap<String, Value>;

/// What a stage gave.
struct Verdict {
    stage: String,
    /// Largest error in tolerances, and how many values were compared.
    agreed: Option<(f64, usize)>,
    found: Option<String>,
}

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let tolerance = Tolerance { rtol: args.rtol, atol: args.atol, ..Tolerance::NETWORK };
    let mut model = Model::load(&args.model)?;
    let overridable = args.inputs.overrides(&model)?;
    if !overridable {
        model.bind_defaults();
    }
    let options = Options { overridable, keep_values: true, ..args.bounds.options()? };
    let reference_options = Options { level: Level::Reference, ..options.clone() };
    let reference = model.compile(&reference_options)?;
    let inputs = args.inputs.read(&model, &reference)?.values;
    let want = collect(&reference, &inputs)?;
    let mut verdicts = Vec::new();
    let mut graph = model.graph().clone();
    for (name, pass) in egret::passes::PASSES {
        let stage = format!("after {name}");
        let verdict = match guarded(|| Ok(pass(graph.clone())?)) {
            Ok(after) => {
                graph = after;
                let executable = model.with_graph(graph.clone()).compile(&reference_options)?;
                judge(stage, &graph, guarded(|| collect(&executable, &inputs)), &want, &tolerance)
            }
            Err(e) => Verdict { stage, agreed: None, found: Some(format!("the pass failed: {e:#}")) },
        };
        verdicts.push(verdict);
    }
    for level in levels(args, &model, &options, &inputs) {
        let got = guarded(|| {
            let executable = model.compile(&Options { level, ..options.clone() })?;
            collect(&executable, &inputs)
        });
        verdicts.push(judge(level.name().into(), model.graph(), got, &want, &tolerance));
    }
    report(&verdicts, args.json)
}

/// The levels that were asked for, or those that take a bearable time.
fn levels(args: &CheckArgs, model: &Model, options: &Options, inputs: &[Value]) -> Vec<Level> {
    /// Some seconds of interpretation.
    const BEARABLE: u64 = 100_000_000;
    if !args.level.is_empty() {
        return args.level.clone();
    }
    let mut levels = vec![Level::Interpret, Level::BaselineWithoutFma, Level::Baseline];
    let flops = guarded(|| {
        let executable = model.compile(&Options { level: Level::Baseline, ..options.clone() })?;
        let types: Vec<_> = inputs.iter().map(Value::ty).collect();
        Ok(executable.prepare(&types)?.map_or(0, |plan| plan.flops()))
    });
    if flops.as_ref().is_ok_and(|&n| n > BEARABLE) {
        eprintln!("interpret is left out, since the model is large: --level interpret,baseline checks it too");
        levels.remove(0);
    }
    levels
}

fn report(verdicts: &[Verdict], as_json: bool) -> Result<()> {
    if as_json {
        let one = |v: &Verdict| {
            json!({ "stage": v.stage, "agrees": v.found.is_none(), "found": v.found,
                    "error_in_tolerances": v.agreed.map(|a| a.0), "values": v.agreed.map(|a| a.1) })
        };
        say_json(&verdicts.iter().map(one).collect())?;
    } else {
        for v in verdicts {
            let text = match (&v.found, v.agreed) {
                (Some(found), _) => format!("DIFFERS\n    {}", found.replace('\n', "\n    ")),
                (None, Some((error, n))) => {
                    format!("agrees: {} compared, worst error {error:.3} of the tolerance", count(n, "value"))
                }
                (None, None) => "agrees".into(),
            };
            say(&format!("{:20} {text}\n", v.stage))?;
        }
    }
    if verdicts.iter().any(|v| v.found.is_some()) { Err(Failure::Found.into()) } else { Ok(()) }
}

/// A panic of one stage is a finding about it.
fn guarded<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(anyhow::anyhow!(panic_text(&*panic))))
}

/// Every named value of a run.
fn collect(executable: &Executable, inputs: &[Value]) -> Result<Values> {
    let mut out = Values::new();
    let outputs = executable.run_observed(inputs, true, &mut |step| {
        out.extend(step.values.iter().filter(|(n, _)| !n.is_empty()).cloned());
    })?;
    out.extend(executable.outputs().iter().map(|p| p.name.clone()).zip(outputs));
    Ok(out)
}

fn judge(stage: String, graph: &Graph, got: Result<Values>, want: &Values, tolerance: &Tolerance) -> Verdict {
    let got = match got {
        Ok(got) => got,
        Err(e) => return Verdict { stage, agreed: None, found: Some(format!("it failed: {e:#}")) },
    };
    let (mut worst, mut n, mut wrong) = (0.0f64, 0, BTreeMap::new());
    for (name, w) in want {
        let Some(g) = got.get(name) else { continue };
        n += 1;
        match tolerance.compare(g, w) {
            Ok(error) => worst = worst.max(error),
            Err(d) => {
                wrong.insert(name.as_str(), d);
            }
        }
    }
    let found = (!wrong.is_empty()).then(|| first_wrong(graph, &wrong));
    Verdict { stage, agreed: Some((worst, n)), found }
}

/// The first node in order whose result differs though no operand does.
fn first_wrong(graph: &Graph, wrong: &BTreeMap<&str, Difference>) -> String {
    let name = |v| graph.value(v).name.as_str();
    for (n, node) in graph.nodes.iter().enumerate() {
        if node.uses().any(|v| wrong.contains_key(name(v))) {
            continue;
        }
        for v in node.defs() {
            if let Some(d) = wrong.get(name(v)) {
                return format!(
                    "first at {}\nvalue \"{}\": {}\n{}\n{} in all",
                    graph.describe_with_types(n),
                    name(v),
                    graph.ty(v),
                    d.text,
                    count(wrong.len(), "value differs").replace("differss", "differ"),
                );
            }
        }
    }
    let names: BTreeSet<&str> = wrong.keys().copied().collect();
    let first = wrong.iter().next().map_or(String::new(), |(n, d)| format!("\"{n}\": {}", d.text));
    format!("{first}\nno single node explains it; values that differ: {names:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_with_agreeing_operands_is_named() {
        let model = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.onnx")).unwrap();
        let options = Options { level: Level::Reference, ..Options::default() };
        let executable = model.compile(&options).unwrap();
        let image = egret::Tensor::from_slice(&[1, 1, 8, 8], &[0.5f32; 64]);
        let want = collect(&executable, &[image.into()]).unwrap();
        let agreed = judge("same".into(), model.graph(), Ok(want.clone()), &want, &Tolerance::NETWORK);
        assert!(agreed.found.is_none());
        assert_eq!(agreed.agreed, Some((0.0, model.graph().nodes.len())));
        // As if the third node and everything behind it were wrong.
        let mut got = want.clone();
        for node in &model.graph().nodes[2..] {
            for v in node.defs() {
                let t = want[&model.graph().value(v).name].tensor().unwrap();
                let off = t.floats().unwrap().into_iter().map(|x| x + 1.0);
                let t = egret::Tensor::from_floats(t.dtype(), t.shape(), off);
                got.insert(model.graph().value(v).name.clone(), t.into());
            }
        }
        let verdict = judge("bad".into(), model.graph(), Ok(got), &want, &Tolerance::NETWORK);
        let text = verdict.found.unwrap();
        assert!(text.starts_with(&format!("first at {}", model.graph().describe_with_types(2))), "{text}");
    }
}
