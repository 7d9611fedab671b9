//! Other runtimes, each in a process of its own that is used again and again: a crash or a hang of one is a finding and
//! not the end of the campaign.

use crate::check::{Failure, Kind, System, judge};
use crate::generate::Case;
use crate::worker::{Answer, Worker};
use anyhow::{Context, Result, bail, ensure};
use egret_ir::onnx::{self, Limits, Model, data};
use egret_ir::{Type, Value};
use std::path::Path;
use std::time::Duration;

/// The worker's program, written to a temporary file so that an installed `egret` carries it along.
const WORKER: &str = include_str!("../workers/runtimes.py");

/// The runtimes that the worker knows.
pub const RUNTIMES: &[&str] = &["onnxruntime", "onnxruntime-unoptimised", "openvino", "mnn"];

/// What a system's name begins with where the rest is a program that speaks the worker protocol.
pub const PROGRAM: &str = "worker:";

/// How long a runtime may take to start, and for one command.
const TIME: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Another runtime, in its own process.
pub struct Runtime {
    name: String,
    /// Program and arguments.
    program: Vec<String>,
    folder: tempfile::TempDir,
    worker: Option<Worker>,
    /// Version, once it was started; empty where the program does not say.
    pub version: String,
    /// Cases that it did not support.
    pub unsupported: usize,
}

impl Runtime {
    /// The runtime `name` of [`RUNTIMES`] under this Python, or after [`PROGRAM`] any program with arguments, separated by
    /// spaces.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(name: &str, python: &Path) -> Result<Runtime> {
        // Files in memory where there is a place for them.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let folder = folder.context("no temporary folder")?;
        let program = match name.strip_prefix(PROGRAM) {
            Some(line) => line.split_whitespace().map(str::to_owned).collect(),
            None => {
                ensure!(
                    RUNTIMES.contains(&name),
                    "`{name}` is neither `{PROGRAM}PROGRAM` nor one of the runtimes {}",
                    RUNTIMES.join(", ")
                );
                let script = folder.path().join("runtimes.py");
                std::fs::write(&script, WORKER)?;
                vec![python.display().to_string(), script.display().to_string(), name.into()]
            }
        };
        let version = String::new();
        let mut runtime = Runtime { name: name.into(), program, folder, worker: None, version, unsupported: 0 };
        runtime.spawn()?;
        Ok(runtime)
    }

    fn spawn(&mut self) -> Result<()> {
        let start = || format!("cannot start `{}`", self.program.join(" "));
        let mut worker = Worker::start(&self.program).with_context(start)?;
        match worker.ask("version", TIME.0) {
            Answer::Done(json) => self.version = json["version"].as_str().unwrap_or_default().to_owned(),
            // A program need not know this command, but one of ours that has no runtime says so here.
            Answer::Refused { error, .. } if !self.name.starts_with(PROGRAM) => {
                bail!("{} does not start: {error}", self.name)
            }
            Answer::Refused { .. } => {}
            Answer::Died(how) => bail!("{} does not start as `{}`: {how}", self.name, self.program.join(" ")),
            Answer::Silent => bail!("{} does not start in {} s", self.name, TIME.0.as_secs()),
        }
        self.worker = Some(worker);
        Ok(())
    }

    fn ask(&mut self, command: &str) -> Result<Answer> {
        if self.worker.is_none() {
            self.spawn()?;
        }
        let worker = self.worker.as_mut().context("the process was just started")?;
        let answer = worker.ask(command, TIME.1);
        if matches!(answer, Answer::Died(_) | Answer::Silent) {
            self.worker = None;
        }
        Ok(answer)
    }

    /// Loads and runs; its results, or a failure, or neither where the case is not supported.
    fn run(&mut self, case: &Case) -> Result<Outcome> {
        let Ok(bytes) = onnx::export(&model(case)) else { return Ok(Outcome::Unsupported) };
        let path = self.folder.path().to_path_buf();
        let model_file = path.join("model.onnx");
        std::fs::write(&model_file, bytes)?;
        for k in 0.. {
            let stale = path.join(format!("input_{k}.pb"));
            if k >= case.inputs.len() {
                if !stale.exists() {
                    break;
                }
                std::fs::remove_file(stale)?;
                continue;
            }
            data::save(&stale, &case.graph.value(case.graph.inputs[k]).name, &case.inputs[k])?;
        }
        let folder = path.display();
        for command in
            [format!("load\t1\t{}\t{folder}", model_file.display()), "run\t1".into(), format!("save\t{folder}")]
        {
            let stage = self.name.clone();
            let fail = |kind, text| Ok(Outcome::Failed(Failure { stage, kind, text }));
            match self.ask(&command)? {
                Answer::Done(_) => {}
                Answer::Refused { unsupported: true, .. } => return Ok(Outcome::Unsupported),
                Answer::Refused { error, .. } => return fail(Kind::Refused, error),
                Answer::Died(how) => return fail(Kind::Crash, how),
                Answer::Silent => return fail(Kind::Hang, format!("no answer in {} s", TIME.1.as_secs())),
            }
        }
        let read = |k: usize| -> Result<Value> {
            Ok(data::load(&path.join(format!("output_{k}.pb")), &Type::Unknown, &Limits::default())?.1)
        };
        Ok(Outcome::Results((0..case.outputs.len()).map(read).collect::<Result<_>>()?))
    }
}

enum Outcome {
    Results(Vec<Value>),
    Failed(Failure),
    Unsupported,
}

/// A case as a model file.
pub fn model(case: &Case) -> Model {
    Model { graph: case.graph.clone(), ir_version: 10, producer: "egret fuzz".into(), ..Model::default() }
}

impl System for Runtime {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&mut self, case: &Case) -> Result<Option<Failure>> {
        Ok(match self.run(case)? {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Results(got) => {
                judge(case, &got).map(|text| Failure { stage: self.name.clone(), kind: Kind::Wrong, text })
            }
            Outcome::Unsupported => {
                self.unsupported += 1;
                None
            }
        })
    }
}
