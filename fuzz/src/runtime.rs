//! Other runtimes, each in a process of its own that is used again and again: a crash or a hang of one is a finding and
//! not the end of the campaign.

use crate::check::{Failure, Kind, System, judge};
use crate::generate::Case;
use anyhow::{Context, Result, bail, ensure};
use egret_ir::onnx::{self, Limits, Model, data};
use egret_ir::{Type, Value};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The worker's program, written to a temporary file so that an installed `egret` carries it along.
const WORKER: &str = include_str!("../workers/runtimes.py");

/// The runtimes that the worker knows.
pub const RUNTIMES: &[&str] = &["onnxruntime", "onnxruntime-unoptimised", "openvino"];

/// How long a runtime may take to start, and for one command.
const TIME: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Another runtime, in its own process.
pub struct Runtime {
    name: String,
    python: PathBuf,
    folder: tempfile::TempDir,
    process: Option<Process>,
    /// Version, once it was started.
    pub version: String,
    /// Cases that it did not support.
    pub unsupported: usize,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Answer {
    Done(Json),
    Refused { error: String, unsupported: bool },
    Died(String),
    Silent,
}

impl Runtime {
    /// The runtime `name` of [`RUNTIMES`] under this Python.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(name: &str, python: &Path) -> Result<Runtime> {
        ensure!(RUNTIMES.contains(&name), "`{name}` is none of the runtimes {}", RUNTIMES.join(", "));
        // Files in memory where there is a place for them.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let folder = folder.context("no temporary folder")?;
        std::fs::write(folder.path().join("runtimes.py"), WORKER)?;
        let mut runtime = Runtime {
            name: name.into(),
            python: python.into(),
            folder,
            process: None,
            version: String::new(),
            unsupported: 0,
        };
        runtime.spawn()?;
        Ok(runtime)
    }

    fn spawn(&mut self) -> Result<()> {
        let mut child = Command::new(&self.python)
            .arg(self.folder.path().join("runtimes.py"))
            .arg(&self.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.python.display()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else { bail!("no pipes") };
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // An end of either side ends the thread.
                if !line.is_ok_and(|line| send.send(line).is_ok()) {
                    break;
                }
            }
        });
        let mut process = Process { child, stdin, lines };
        match wait(&mut process, TIME.0) {
            Answer::Done(json) => self.version = json["version"].as_str().unwrap_or_default().to_owned(),
            Answer::Refused { error, .. } => bail!("{} does not start: {error}", self.name),
            Answer::Died(how) => bail!("{} does not start under {}: {how}", self.name, self.python.display()),
            Answer::Silent => bail!("{} does not start in {} s", self.name, TIME.0.as_secs()),
        }
        self.process = Some(process);
        Ok(())
    }

    fn ask(&mut self, command: &str) -> Result<Answer> {
        if self.process.is_none() {
            self.spawn()?;
        }
        let process = self.process.as_mut().context("the process was just started")?;
        let sent = writeln!(process.stdin, "{command}").and_then(|()| process.stdin.flush());
        let answer = match sent {
            Ok(()) => wait(process, TIME.1),
            Err(e) => Answer::Died(e.to_string()),
        };
        if matches!(answer, Answer::Died(_) | Answer::Silent) {
            self.process = None;
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

fn wait(process: &mut Process, time: Duration) -> Answer {
    match process.lines.recv_timeout(time) {
        Ok(line) => match serde_json::from_str::<Json>(&line) {
            Ok(json) if json["ok"] == true => Answer::Done(json),
            Ok(json) => Answer::Refused {
                error: json["error"].as_str().unwrap_or_default().to_owned(),
                unsupported: json["unsupported"] == true,
            },
            Err(e) => Answer::Died(format!("an answer that is no JSON: {e}")),
        },
        Err(RecvTimeoutError::Timeout) => Answer::Silent,
        Err(RecvTimeoutError::Disconnected) => {
            let how = process.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
            Answer::Died(format!("the process ended: {how}"))
        }
    }
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
