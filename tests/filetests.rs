//! Runs `tests/files/<command>/*.gir`; see [`egret_ir::filetest`] for what a file may say.
//!
//! Commands beside those of `egret_ir`: `optimize` (all passes), each pass by its name, `lower` (what each call becomes),
//! `plan` (the steps of the executor, and what shares one). Everything is run by every engine.
//!
//! `BLESS=1 cargo test --test filetests` writes what a command prints into the files that have an `// expect:` line: read
//! the difference before it is committed.

use egret::ir::filetest::{Describe, Engine, Runner, Transform, check, reference, split_expected};
use egret::ir::lower::{LowerCx, Lowering};
use egret::ir::ops::OPS;
use egret::ir::plan::Planner;
use egret::passes::{DefaultPlanner, PASSES};
use egret::{Graph, Level, Model, Options, Result, Type, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn compiled(graph: &Graph, args: Vec<Value>, level: Level) -> Result<Vec<Value>> {
    let options = Options { level, threads: 2, ..Options::default() };
    // Inputs stay inputs: a test gives all of them.
    Model::from_graph(graph.clone()).compile(&Options { overridable: true, ..options })?.run(&args)
}

fn native(graph: &Graph, args: Vec<Value>) -> Result<Vec<Value>> {
    compiled(graph, args, Level::Native)
}

fn interpret(graph: &Graph, args: Vec<Value>) -> Result<Vec<Value>> {
    compiled(graph, args, Level::Interpret)
}

const ENGINES: [(&str, Engine<'static>); 3] =
    [("reference", &reference), ("native", &native), ("interpret", &interpret)];

fn optimize(graph: &Graph) -> Result<Graph> {
    DefaultPlanner.optimise(graph.clone())
}

/// The lowering of each call, one a line; loops below it.
fn lower(graph: &Graph) -> Result<String> {
    let mut out = String::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        let concrete = |v: &Option<egret::ir::ValueId>| v.and_then(|v| graph.ty(v).concrete());
        let Some(outputs) = node.outputs.iter().map(concrete).collect::<Option<Vec<_>>>() else {
            writeln!(out, "{}: extents are not known", graph.describe(n)).expect("writing to a string never fails");
            continue;
        };
        let constants = node.inputs.iter().map(|v| v.and_then(|v| graph.constant(v))).collect();
        let cx = LowerCx { inputs: node.inputs.iter().map(concrete).collect(), constants, outputs };
        let text = match node.op.lower(&cx)? {
            Lowering::Host => "host".to_owned(),
            Lowering::View => "view".to_owned(),
            Lowering::Compute(c) => format!("compute\n{}", c.compute),
            other => format!("{other:?}"),
        };
        writeln!(out, "{}: {}", node.op.def().mnemonic(), text.trim_end()).expect("writing to a string never fails");
    }
    Ok(out)
}

/// The steps of the plan for the arguments' declared types.
fn plan(graph: &Graph) -> Result<String> {
    let types: Vec<Type> = graph.inputs.iter().map(|&v| graph.ty(v).clone()).collect();
    let options = Options { threads: 1, overridable: true, ..Options::default() };
    let executable = Model::from_graph(graph.clone()).compile(&options)?;
    let Some(plan) = executable.prepare(&types)? else { return Ok(String::new()) };
    let mut out = String::new();
    for step in &plan.steps {
        let ops: Vec<String> = step.nodes().iter().map(|&n| plan.graph.nodes[n].op.def().mnemonic()).collect();
        writeln!(out, "{} {}", step.kind(), ops.join(" + ")).expect("writing to a string never fails");
    }
    writeln!(out, "arena {} bytes", plan.arena_bytes).expect("writing to a string never fails");
    Ok(out)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a readable folder").path()).collect();
    paths.sort();
    paths
}

#[test]
fn files_hold() {
    let passes: Vec<_> = PASSES.iter().map(|&(name, pass)| (name, move |g: &Graph| pass(g.clone()))).collect();
    let mut commands: Vec<(&str, Transform<'_>)> = vec![("optimize", &optimize)];
    commands.extend(passes.iter().map(|(name, pass)| (*name, pass as Transform<'_>)));
    let descriptions: [(&str, Describe<'_>); 2] = [("lower", &lower), ("plan", &plan)];
    let runner = Runner { engines: &ENGINES, commands: &commands, descriptions: &descriptions };
    let bless = env::var_os("BLESS").is_some();
    let (mut failures, mut count) = (String::new(), 0);
    for folder in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")) {
        let command = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        for path in files(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "gir")) {
            count += 1;
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let outcome = check(&text, &command, &runner);
            let printed = outcome.printed.trim();
            if bless && outcome.expected.as_ref().is_some_and(|e| e.trim() != printed) {
                let (source, _) = split_expected(&text);
                let blessed = format!("{source}// expect:\n{printed}\n");
                fs::write(&path, blessed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                continue;
            }
            if outcome.checked == 0 {
                writeln!(failures, "{}: nothing is checked", path.display()).expect("writing to a string never fails");
            }
            for f in &outcome.failures {
                writeln!(failures, "{}: {f}", path.display()).expect("writing to a string never fails");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(count >= 12, "only {count} files were found");
}

/// What the reference says of every operator's examples (see `egret_ir::filetest`), compiled code says as well.
#[test]
fn examples_of_all_operators_hold_on_every_engine() {
    let runner = Runner { engines: &ENGINES, ..Runner::default() };
    let mut failures = String::new();
    for def in OPS {
        for f in check(def.examples, "run", &runner).failures {
            writeln!(failures, "{}: {f}", def.mnemonic()).expect("writing to a string never fails");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
