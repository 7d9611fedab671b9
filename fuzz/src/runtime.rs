//! Other runtimes, each in a process of its own that is used again and again: a crash or a hang of one is a finding and
//! not the end of the campaign.

use crate::blackbox::BlackBox;
use crate::bounds::Silent;
use crate::check::{Failure, Kind, System, Taken, Untaken, judge};
use crate::generate::Case;
use crate::memcheck::{Memcheck, SLOWNESS, Watch};
use crate::older::Schemas;
use crate::trace::{Argument, Call, Number, Outcome as Called, Produced};
use crate::worker::{Answer, Worker};
use crate::workers;
use anyhow::{Context, Result, bail, ensure};
use egret_ir::onnx::proto::ModelProto;
use egret_ir::onnx::{self, Limits, Model, data};
use egret_ir::version::opset;
use egret_ir::{Attr, DType, Type, Value};
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The runtimes that the worker knows.
pub const RUNTIMES: &[&str] = &["onnxruntime", "onnxruntime-unoptimised", "openvino", "mnn", "torch"];

/// What a system's name begins with where the rest is a program that speaks the worker protocol.
pub const PROGRAM: &str = "worker:";

/// The runtime that is built in with the feature `tract`; its process is this program once more.
pub const TRACT: &str = "tract";

#[cfg(feature = "tract")]
fn tract() -> Result<Vec<String>> {
    let program = std::env::current_exe().context("the program does not know where it is")?;
    Ok(vec![program.display().to_string(), "worker".into(), "--runtime".into(), TRACT.into()])
}

#[cfg(not(feature = "tract"))]
fn tract() -> Result<Vec<String>> {
    bail!("this build has no tract: build with `--features tract`")
}

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
    /// Cases that it did not take.
    untaken: Untaken,
    /// Whether it loaded the model of the last case.
    loaded: bool,
    /// Cases until the next whose memory is looked at.
    until_measured: u32,
    /// Cases that the process has run.
    cases: u64,
    /// Cases of which each is looked at: memory grew lately.
    watched: u32,
    /// What the process runs in, and what that has counted.
    memcheck: Option<Memcheck>,
    watch: Option<Watch>,
}

/// One of so many cases is run again and again, to see whether memory grows with the runs.
const MEASURED: u32 = 32;

/// Runs of such a case, and bytes that each run must lose to count.
const RUNS: (u64, u64) = (64, 16 << 10);

impl Runtime {
    /// The runtime `name` of [`RUNTIMES`] under this Python, or after [`PROGRAM`] any program with arguments, separated by
    /// spaces.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(name: &str, python: &Path) -> Result<Runtime> {
        Runtime::start_in(None, name, python, None)
    }

    /// The same with a library of custom operators, which ONNX Runtime takes.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(name: &str, python: &Path, library: Option<&Path>) -> Result<Runtime> {
        Runtime::start_in(None, name, python, library)
    }

    /// The runtime `name` in a process whose memory is watched.
    ///
    /// # Errors
    /// When it does not start, or memcheck is not there.
    pub fn start_watched(memcheck: Memcheck, name: &str, python: &Path) -> Result<Runtime> {
        Memcheck::available()?;
        Runtime::start_in(Some(memcheck), name, python, None)
    }

    fn start_in(memcheck: Option<Memcheck>, name: &str, python: &Path, library: Option<&Path>) -> Result<Runtime> {
        ensure!(
            library.is_none() || name.starts_with("onnxruntime"),
            "a library of custom operators is for ONNX Runtime, {name} takes none"
        );
        // Files in memory where there is a place for them.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let folder = folder.context("no temporary folder")?;
        let program = match name.strip_prefix(PROGRAM) {
            Some(line) => line.split_whitespace().map(str::to_owned).collect(),
            None if name == TRACT => tract()?,
            None => {
                ensure!(
                    RUNTIMES.contains(&name),
                    "`{name}` is neither `{PROGRAM}PROGRAM` nor one of the runtimes {}, {TRACT}",
                    RUNTIMES.join(", ")
                );
                let script = workers::unpack(folder.path(), "runtimes.py")?;
                let library = library.map(|l| l.display().to_string());
                [python.display().to_string(), script.display().to_string(), name.into()]
                    .into_iter()
                    .chain(library)
                    .collect()
            }
        };
        let program = memcheck.map_or(program.clone(), |m| m.around(&program, folder.path()));
        let version = String::new();
        let mut runtime = Runtime {
            name: name.into(),
            program,
            folder,
            worker: None,
            version,
            untaken: Untaken::default(),
            loaded: false,
            until_measured: 1,
            cases: 0,
            watched: 0,
            memcheck,
            watch: None,
        };
        runtime.spawn()?;
        Ok(runtime)
    }

    fn spawn(&mut self) -> Result<()> {
        let start = || format!("cannot start `{}`", self.program.join(" "));
        let mut worker = Worker::start(&self.program).with_context(start)?;
        let (start_time, _) = self.patience();
        match worker.ask("version", start_time) {
            Answer::Done(json) => self.version = json["version"].as_str().unwrap_or_default().to_owned(),
            // A program need not know this command, but one of ours that has no runtime says so here.
            Answer::Refused { error, .. } if !self.name.starts_with(PROGRAM) => {
                bail!("{} does not start: {error}", self.name)
            }
            Answer::Refused { .. } => {}
            Answer::Died(how) => bail!("{} does not start as `{}`: {how}", self.name, self.program.join(" ")),
            Answer::Silent => bail!("{} does not start in {} s", self.name, start_time.as_secs()),
        }
        let watch = |memcheck| Watch::start(memcheck, worker.id(), self.folder.path());
        self.watch = self.memcheck.map(watch).transpose()?;
        (self.worker, self.cases) = (Some(worker), 0);
        Ok(())
    }

    /// How long it may take to start, and for one command.
    fn patience(&self) -> (Duration, Duration) {
        let times = self.memcheck.map_or(1, |_| SLOWNESS);
        (TIME.0 * times, TIME.1 * times)
    }

    fn ask(&mut self, command: &str) -> Result<Answer> {
        if self.worker.is_none() {
            self.spawn()?;
        }
        let (_, patience) = self.patience();
        let worker = self.worker.as_mut().context("the process was just started")?;
        let answer = worker.ask(command, patience);
        if matches!(answer, Answer::Died(_) | Answer::Silent) {
            self.worker = None;
        }
        Ok(answer)
    }

    /// As [`Runtime::run_once`]; a process that dies or stays silent may do so of what it ran before, so the case is run again in a
    /// new one.
    fn run(&mut self, case: &Case, wanted: bool) -> Result<Outcome> {
        let fresh = self.worker.is_none() || self.cases == 0;
        let outcome = self.run_watched(case, wanted)?;
        match outcome {
            Outcome::Failed(Failure { kind: Kind::Crash | Kind::Hang, .. }) if !fresh => self.run_watched(case, wanted),
            other => Ok(other),
        }
    }

    /// As [`Runtime::run_once`]; an error in memory is a failure whatever else came of the case.
    fn run_watched(&mut self, case: &Case, wanted: bool) -> Result<Outcome> {
        let mut outcome = self.run_once(case, wanted)?;
        let Some(watch) = &mut self.watch else { return Ok(outcome) };
        match &mut outcome {
            Outcome::Failed(Failure { kind: Kind::Hang, .. }) => {}
            Outcome::Failed(Failure { kind: Kind::Crash, text, .. }) => {
                *text = watch.last_words().map_or(text.clone(), |words| format!("{text} ({words})"));
            }
            _ => {
                if let Some(text) = watch.news()? {
                    return Ok(Outcome::Failed(Failure { stage: self.name.clone(), kind: Kind::Memory, text }));
                }
            }
        }
        Ok(outcome)
    }

    /// Loads and runs; its results (none where they are not `wanted`), or a failure, or neither where the case is not
    /// supported: workers take and give tensors.
    fn run_once(&mut self, case: &Case, wanted: bool) -> Result<Outcome> {
        self.loaded = false;
        if case.inputs.iter().chain(&case.outputs).any(|v| v.tensor().is_err()) {
            return Ok(Outcome::Unsupported);
        }
        let Ok(bytes) = file(case) else { return Ok(Outcome::Unsupported) };
        let path = self.folder.path().to_path_buf();
        let model_file = path.join("model.onnx");
        std::fs::write(&model_file, &*bytes)?;
        // What the case before left.
        for stem in ["input", "output"] {
            let mut files = (0..).map(|k| path.join(format!("{stem}_{k}.pb"))).take_while(|f| f.exists());
            files.try_for_each(std::fs::remove_file)?;
        }
        for (k, (v, x)) in case.graph.inputs.iter().zip(&case.inputs).enumerate() {
            data::save(&path.join(format!("input_{k}.pb")), &case.graph.value(*v).name, x)?;
        }
        let folder = path.display();
        // A new process begins to count anew.
        if self.worker.is_none() {
            self.spawn()?;
        }
        self.cases += 1;
        let commands =
            [format!("load\t1\t{}\t{folder}", model_file.display()), "run\t1".into(), format!("save\t{folder}")];
        for command in &commands[..if wanted { 3 } else { 2 }] {
            let stage = self.name.clone();
            let fail = |kind, text| Ok(Outcome::Failed(Failure { stage, kind, text }));
            let answer = self.ask(command)?;
            self.loaded |= matches!(answer, Answer::Done(_) | Answer::Refused { loaded: true, .. });
            match answer {
                Answer::Done(_) => {}
                Answer::Refused { unsupported: true, .. } => return Ok(Outcome::Unsupported),
                Answer::Refused { error, .. } => return fail(Kind::Refused, error),
                Answer::Died(how) => return fail(Kind::Crash, how),
                Answer::Silent => return fail(Kind::Hang, format!("no answer in {} s", self.patience().1.as_secs())),
            }
        }
        let read = |k: usize| -> Result<Value> {
            Ok(data::load(&path.join(format!("output_{k}.pb")), &Type::Unknown, &Limits::default())?.1)
        };
        let wanted = if wanted { case.outputs.len() } else { 0 };
        // Of fewer results than there should be, the comparison tells.
        let there = (0..wanted).take_while(|k| path.join(format!("output_{k}.pb")).exists());
        Ok(Outcome::Results(there.map(read).collect::<Result<_>>()?))
    }
}

impl Runtime {
    /// Whether memory grows with each run of the case that is loaded; of some cases only, and not of a program that does not
    /// know the command.
    fn growth(&mut self) -> Result<Option<Failure>> {
        self.until_measured = self.until_measured.saturating_sub(1);
        // Memcheck keeps blocks that are free, to tell who reads them.
        if self.memcheck.is_some() || self.until_measured > 0 && self.watched == 0 {
            return Ok(None);
        }
        (self.until_measured, self.watched) = (MEASURED, self.watched.saturating_sub(1));
        let mut resident = |runs: u64| -> Result<Option<u64>> {
            if !matches!(self.ask(&format!("run\t{runs}"))?, Answer::Done(_)) {
                return Ok(None);
            }
            match self.ask("rss")? {
                Answer::Done(json) => Ok(json["kb"].as_u64()),
                _ => Ok(None),
            }
        };
        // What a runtime sets aside once is no growth: it must grow in each of three rounds.
        let (runs, least) = RUNS;
        let mut grown = u64::MAX;
        let Some(mut before) = resident(runs)? else { return Ok(None) };
        for _ in 0..3 {
            let Some(now) = resident(runs)? else { return Ok(None) };
            grown = grown.min(now.saturating_sub(before));
            before = now;
            if grown * 1024 < runs * least {
                return Ok(None);
            }
        }
        // Smaller cases are looked at too.
        self.watched = 8 * MEASURED;
        let text = format!("each run takes {} KiB more memory", grown / runs);
        Ok(Some(Failure { stage: self.name.clone(), kind: Kind::Grows, text }))
    }
}

enum Outcome {
    Results(Vec<Value>),
    Failed(Failure),
    Unsupported,
}

/// The bytes of a case's model file.
///
/// # Errors
/// When the graph cannot be exported.
pub fn file(case: &Case) -> egret_ir::Result<Arc<Vec<u8>>> {
    match &case.file {
        Some(file) => Ok(Arc::clone(file)),
        None => match case.opset.filter(|o| *o > opset(&case.graph)) {
            Some(opset) => in_opset(case, opset).map(|proto| Arc::new(onnx::encode(&proto))),
            None => onnx::export(&model(case)).map(Arc::new),
        },
    }
}

/// A case as a model.
pub fn model(case: &Case) -> Model {
    Model { graph: case.graph.clone(), ir_version: 10, producer: "egret fuzz".into(), ..Model::default() }
}

/// The model file of a case with another opset of ONNX's own domain than it needs.
///
/// # Errors
/// When a call cannot be written.
pub fn in_opset(case: &Case, opset: i64) -> egret_ir::Result<ModelProto> {
    let mut proto = onnx::decode(&onnx::export(&model(case))?)?;
    for import in proto.opset_import.iter_mut().filter(|i| i.domain().is_empty()) {
        import.version = Some(opset);
    }
    Ok(proto)
}

/// Elements of one operand of a probe, at most.
const PROBE: i64 = 1 << 18;

impl BlackBox for Runtime {
    fn name(&self) -> &str {
        &self.name
    }

    fn call(&mut self, call: &Call) -> Called {
        let asked = match call_json(call) {
            Ok(json) => self.ask(&format!("call\t{json}")),
            Err(why) => return Called::Unsupported(why.to_string()),
        };
        match asked {
            Ok(Answer::Done(json)) => results(&json).map_or_else(|e| Called::Unsupported(e.to_string()), Called::Valid),
            Ok(Answer::Refused { error, unsupported: true, .. }) => Called::Unsupported(error),
            Ok(Answer::Refused { error, .. }) => Called::Invalid(error),
            Ok(Answer::Died(how)) => Called::Unsupported(how),
            Ok(Answer::Silent) => Called::Unsupported(format!("no answer in {} s", self.patience().1.as_secs())),
            Err(e) => Called::Unsupported(format!("{e:#}")),
        }
    }
}

/// A call as the worker reads it.
fn call_json(call: &Call) -> Result<Json> {
    let operand = |a: &Argument| -> Result<Json> {
        let n = a.shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d)).unwrap_or(i64::MAX);
        ensure!(n <= PROBE, "an operand is larger than a probe may be");
        let number = |v: &Number| match *v {
            Number::Int(v) => json!(v),
            Number::Float(v) => json!(v),
        };
        let values: Option<Vec<Json>> = a.values.as_ref().map(|v| v.iter().map(number).collect());
        Ok(json!({ "dtype": a.dtype.onnx(), "shape": a.shape, "values": values }))
    };
    let inputs: Vec<Json> =
        call.inputs.iter().map(|a| a.as_ref().map_or(Ok(Json::Null), operand)).collect::<Result<_>>()?;
    let mut attrs = serde_json::Map::new();
    for (name, a) in &call.attrs {
        let int = |d: &egret_ir::Dim| d.as_int().context("an attribute is no number");
        let value = match a {
            Attr::Int(d) => json!(["INT", int(d)?]),
            Attr::Ints(list) => json!(["INTS", list.iter().map(int).collect::<Result<Vec<_>>>()?]),
            Attr::Float(v) => json!(["FLOAT", v]),
            Attr::Floats(v) => json!(["FLOATS", v]),
            Attr::String(v) => json!(["STRING", v]),
            Attr::Strings(v) => json!(["STRINGS", v]),
            Attr::DType(d) => json!(["INT", d.onnx()]),
            other => bail!("an attribute is {}", other.kind()),
        };
        attrs.insert(name.clone(), value);
    }
    let domain = if call.domain == "ai.onnx" { "" } else { &call.domain };
    Ok(json!({ "op": call.op, "domain": domain, "attrs": attrs, "operands": call.operands, "inputs": inputs,
               "n_outputs": call.n_outputs }))
}

/// Types of results in the worker's answer.
fn results(json: &Json) -> Result<Vec<Produced>> {
    let list = json["outputs"].as_array().context("the answer has no results")?;
    let result = |r: &Json| -> Result<Produced> {
        if let Some(text) = r["other"].as_str() {
            return Ok(Produced::Other(text.to_owned()));
        }
        let code = r["dtype"].as_i64().and_then(|c| DType::from_onnx(i32::try_from(c).ok()?));
        let shape = r["shape"].as_array().context("a result has no shape")?.iter().map(Json::as_i64).collect();
        Ok(Produced::Tensor { dtype: code.context("a result has no element type")?, shape })
    };
    list.iter().map(result).collect()
}

impl System for Runtime {
    fn name(&self) -> &str {
        &self.name
    }

    fn untaken(&self) -> Untaken {
        self.untaken
    }

    fn is_partial(&self) -> bool {
        true
    }

    fn takes(&mut self, case: &Case) -> Result<Taken> {
        // Only tensors travel: of a call on a sequence it cannot be asked.
        if case.inputs.iter().any(|v| v.tensor().is_err()) {
            return Ok(Taken::Yes);
        }
        Ok(match self.run(case, false)? {
            Outcome::Results(_) => Taken::Yes,
            Outcome::Unsupported => Taken::No,
            Outcome::Failed(failure) => Taken::Failed(failure),
        })
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn memcheck(&self) -> Option<Memcheck> {
        self.memcheck
    }

    fn schemas(&mut self) -> Result<Option<Schemas>> {
        match self.ask("schemas")? {
            Answer::Done(json) => Schemas::from_json(&json["schemas"]).map(Some),
            _ => Ok(None),
        }
    }

    fn check(&mut self, case: &Case) -> Result<Option<Failure>> {
        for (run, judged) in each_run(case).iter().zip(case.runs().iter()) {
            let outcome = self.run(run, true)?;
            self.untaken.unloaded += u64::from(!self.loaded);
            match outcome {
                Outcome::Failed(failure) => return Ok(Some(failure)),
                Outcome::Results(got) => {
                    if let Some(text) = judge(judged, &got, Silent::Open) {
                        return Ok(Some(Failure { stage: self.name.clone(), kind: Kind::Wrong, text }));
                    }
                    if let Some(failure) = self.growth()? {
                        return Ok(Some(failure));
                    }
                }
                Outcome::Unsupported => {
                    self.untaken.unsupported += 1;
                    break;
                }
            }
        }
        Ok(None)
    }
}

/// The runs of a case, with the symbols of its graph.
fn each_run(case: &Case) -> Cow<'_, [Case]> {
    if case.others.is_empty() {
        return Cow::Borrowed(std::slice::from_ref(case));
    }
    let others = case.others.iter().map(|run| Case {
        graph: case.graph.clone(),
        inputs: run.inputs.clone(),
        outputs: run.outputs.clone(),
        opset: case.opset,
        ..Case::default()
    });
    Cow::Owned(std::iter::once(case.clone()).chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_ir::{GraphBuilder, attrs};

    /// What comes of one case, so many times, in a program that answers everything; the shell runs `also` at each command, which
    /// is in `line`, before it answers, and `kb` is what the program says that it holds.
    fn checked(times: usize, also: &str) -> Vec<Option<Failure>> {
        let script = format!(
            r#"n=0; kb=0; while IFS= read -r line; do
                 case "$line" in
                   save*) cp "$(echo "$line" | cut -f2)/input_0.pb" "$(echo "$line" | cut -f2)/output_0.pb";;
                 esac
                 {also}
                 echo "{{\"ok\":true,\"kb\":$kb}}"
               done"#
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("worker.sh");
        std::fs::write(&file, script).unwrap();
        let mut runtime = Runtime::start(&format!("{PROGRAM}sh {}", file.display()), Path::new("")).unwrap();
        let mut b = GraphBuilder::new("t");
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let y = b.op("Identity", attrs! {}, &[x]).unwrap();
        let value = Value::from(egret_ir::Tensor::from_slice(&[1], &[1.0f32]));
        let (inputs, outputs) = (vec![value.clone()], vec![value]);
        let case = Case { graph: b.finish(&[y]), inputs, outputs, ..Case::default() };
        (0..times).map(|_| runtime.check(&case).unwrap()).collect()
    }

    /// A program that says that it holds so many KiB more with each run.
    fn grows(kib: usize) -> Option<Failure> {
        let also = format!(r#"case "$line" in run*) n=$((n + $(echo "$line" | cut -f2)));; esac; kb=$((n * {kib}))"#);
        checked(1, &also).remove(0)
    }

    #[test]
    fn a_crash_counts_if_a_new_process_shows_it_too() {
        let at_load = |n: usize| format!(r#"case "$line" in load*) n=$((n + 1)); [ $n -lt {n} ] || exit 3;; esac"#);
        // What a process ran before, a new one did not.
        assert!(checked(6, &at_load(2)).iter().all(Option::is_none));
        let kinds: Vec<_> = checked(2, &at_load(1)).into_iter().map(|found| found.map(|f| f.kind)).collect();
        assert_eq!(kinds, [Some(Kind::Crash); 2]);
    }

    #[test]
    fn memory_that_grows_with_each_run_is_told() {
        let found = grows(20).unwrap();
        assert_eq!((found.kind, &*found.text), (Kind::Grows, "each run takes 20 KiB more memory"));
        assert!(grows(1).is_none());
    }
}
