//! Egret against its own reference: the graph as an ONNX file holds it, after each pass, and kernels at each level, with and
//! without fusion.

use crate::bounds::{Bound, Silent, bounds, difference, may_refuse};
use crate::choices::Seeded;
use crate::generate::Case;
use crate::memcheck::{self, Memcheck};
use crate::older::Schemas;
use crate::runtime::model;
use crate::worker::SANITIZER;
use egret_codegen::exec::{ExecOptions, Executable};
use egret_codegen::isa::{Effort, IsaLevel};
use egret_ir::eval::{Env, Limits, evaluate};
use egret_ir::onnx;
use egret_ir::{DType, Error, ErrorKind, Graph, Value};
use egret_passes::{DefaultPlanner, PASSES};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Trials behind a first comparison, behind one that settles most, and behind the one that decides: a jump that a few of a
/// hundred trials meet is to be met.
const TRIALS: [usize; 3] = [2, 48, DECIDING];
const DECIDING: usize = 512;

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The process or thread died.
    Crash,
    /// It did not answer in time.
    Hang,
    /// It refused a valid graph.
    Refused,
    /// Its results differ by more than the bounds allow.
    Wrong,
    /// It takes more memory with each run.
    Grows,
    /// It touches memory that is not its own, or that nobody wrote: memcheck says so.
    Memory,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 6] = [Kind::Crash, Kind::Hang, Kind::Refused, Kind::Wrong, Kind::Grows, Kind::Memory];

    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Crash => "crash",
            Kind::Hang => "hang",
            Kind::Refused => "refused",
            Kind::Wrong => "wrong",
            Kind::Grows => "grows",
            Kind::Memory => "memory",
        }
    }
}

/// The system whose stage it is, as `egret fuzz run --system` calls it: stages of Egret are called `egret: …`, other systems
/// have one.
pub fn system_of(stage: &str) -> &str {
    if stage.starts_with("egret:") { "egret" } else { stage }
}

/// Whose word counts at a stage where the specification is silent.
pub(crate) fn silent_at(stage: &str) -> Silent {
    if system_of(stage).starts_with("egret") { Silent::Reference } else { Silent::Open }
}

/// A failure of one system at one stage.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was tested, and where in it: `egret: after fold`, `onnxruntime`.
    pub stage: String,
    /// What went wrong.
    pub kind: Kind,
    /// In words.
    pub text: String,
}

impl Failure {
    /// Failures with one key have, as far as can be told without debugging, one cause: the same stage and kind, and the same line
    /// of the runtime's source where the message has one, or the same call whose types do not fit, or the same place in the
    /// program where memcheck or a sanitizer tells it, in whatever graph; else the same operators, and for messages the same
    /// words, numbers and names left out.
    pub fn cause(&self, graph: &Graph) -> String {
        if self.kind == Kind::Refused
            && let Some(line) = source_line(&self.text)
        {
            return format!("{} | {} | {line}", self.stage, self.kind.name());
        }
        if self.kind == Kind::Crash
            && let Some((_, summary)) = self.text.split_once(SANITIZER)
        {
            return format!("{} | {} | {}", self.stage, self.kind.name(), summary.trim());
        }
        let (place, is_one) = memcheck::place(&self.text);
        if self.kind == Kind::Memory && is_one {
            return format!("{} | {} | {place}", self.stage, self.kind.name());
        }
        let words = |text: &str| {
            let words = text.split(|c: char| !c.is_alphabetic()).filter(|w| w.len() > 2);
            words.take(12).collect::<Vec<_>>().join(" ")
        };
        if self.kind == Kind::Refused
            && let Some((op, why)) = inference_error(&self.text)
        {
            return format!("{} | {} | {op} | {}", self.stage, self.kind.name(), words(why));
        }
        let mut ops: Vec<&str> = graph.nodes.iter().map(|n| n.op.def().name).collect();
        ops.sort_unstable();
        ops.dedup();
        let words = match self.kind {
            Kind::Wrong | Kind::Hang | Kind::Grows => String::new(),
            Kind::Memory => place,
            _ => words(&WHEN.iter().fold(self.text.clone(), |text, when| text.replace(when, ""))),
        };
        format!("{} | {} | {} | {words}", self.stage, self.kind.name(), ops.join(","))
    }
}

/// What messages say of when it happened: the same cause shows at either time.
const WHEN: [&str; 2] = ["Exception during initialization", "Non-zero status code returned while running"];

/// The line of a source file that a message names: `matmul_helper.cc:144`. Headers hold checks that everything shares.
fn source_line(text: &str) -> Option<&str> {
    let at = text.find(".cc:")?;
    let start = text[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
    let end = text[at + 4..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| at + 4 + n);
    (start < at && end > at + 4).then(|| &text[start..end])
}

/// The operator and the reason in ONNX's message that a node's types or extents do not fit, which passes that insert nodes
/// provoke around many operators: `Node (n_q) Op (QuantizeLinear) [TypeInferenceError] types differ`.
fn inference_error(text: &str) -> Option<(&str, &str)> {
    // Of a message about a body the call in it.
    let (before, why) = text.rsplit_once("InferenceError] ")?;
    let op = before.rsplit_once("Op (")?.1.split_once(')')?.0;
    Some((op, why))
}

/// What a system does with a call by itself.
#[derive(Clone, Debug)]
pub enum Taken {
    /// It runs it.
    Yes,
    /// It says that it does not implement it.
    No,
    /// It refuses it for another reason, or dies of it.
    Failed(Failure),
}

/// Counts of cases that a system did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untaken {
    /// Cases that it said it does not support.
    pub unsupported: u64,
    /// Cases whose model it did not load, for whatever reason.
    pub unloaded: u64,
}

/// Something that runs graphs and is under test.
pub trait System {
    /// Its name.
    fn name(&self) -> &str;

    /// Runs the case and compares; the first failure. A case that it does not support is no failure.
    ///
    /// # Errors
    /// When it cannot be started at all.
    fn check(&mut self, case: &Case) -> anyhow::Result<Option<Failure>>;

    /// How many cases it did not take so far.
    fn untaken(&self) -> Untaken {
        Untaken::default()
    }

    /// Whether it may lack operators or element types, so that it is worth asking.
    fn is_partial(&self) -> bool {
        false
    }

    /// Whether it takes the call that a case consists of, its results aside.
    ///
    /// # Errors
    /// When it cannot be started at all.
    fn takes(&mut self, _: &Case) -> anyhow::Result<Taken> {
        Ok(Taken::Yes)
    }

    /// What watches its memory; each case takes far longer then.
    fn memcheck(&self) -> Option<Memcheck> {
        None
    }

    /// The forms that operators had in older opsets; none where it does not take such files.
    ///
    /// # Errors
    /// When it cannot be started at all.
    fn schemas(&mut self) -> anyhow::Result<Option<Schemas>> {
        Ok(None)
    }

    /// Its version; empty where it has none of its own.
    fn version(&self) -> &str {
        ""
    }
}

/// Bounds from so many trials.
fn with_trials(case: &Case, trials: usize, silent: Silent) -> Vec<Bound> {
    bounds(case, trials, silent, &mut Seeded::new(0x5eed, trials as u64))
}

/// The error that each element of each result may have, NaN where nobody can be blamed for it.
pub(crate) fn allowed(case: &Case, silent: Silent) -> Vec<Vec<f64>> {
    let one =
        |b: Bound| b.error.into_iter().zip(b.unsure).map(|(e, unsure)| if unsure { f64::NAN } else { e }).collect();
    with_trials(case, DECIDING, silent).into_iter().map(one).collect()
}

/// How a system fails of a case; a refusal counts where it does not hang on rounding errors.
///
/// # Errors
/// As [`System::check`].
pub fn failure(system: &mut dyn System, case: &Case) -> anyhow::Result<Option<Failure>> {
    let excused = |run: &Case| may_refuse(run, TRIALS[1], &mut Seeded::new(0x5eed, 0));
    Ok(system.check(case)?.filter(|f| f.kind != Kind::Refused || !case.runs().iter().any(excused)))
}

/// Compares results with a case's, sparingly at first; a difference is looked at with many trials before it counts.
pub(crate) fn judge(case: &Case, got: &[Value], silent: Silent) -> Option<String> {
    let same = case.outputs.len() == got.len()
        && case.outputs.iter().zip(got).all(|(a, b)| match (a.tensor(), b.tensor()) {
            (Ok(a), Ok(b)) if a.dtype() == DType::String => a == b,
            (Ok(a), Ok(b)) => a.dtype() == b.dtype() && a.shape() == b.shape() && a.bytes() == b.bytes(),
            _ => false,
        });
    if same {
        return None;
    }
    let mut text = None;
    for trials in TRIALS {
        text = Some(difference(case, got, &with_trials(case, trials, silent))?);
    }
    text
}

/// Egret, in this process.
#[derive(Default)]
pub struct Egret {
    /// Whether only native code of the fused graph is checked, no pass and no other code.
    pub native_only: bool,
}

/// What runs the optimised graph, and the stage's name.
struct Code {
    stage: &'static str,
    fuse: bool,
    level: IsaLevel,
    threads: usize,
}

const NATIVE: &str = "egret: native";

/// From the plainest to what users run, so that the first which fails says where: lowering, fusion, machine code, FMA, widths of
/// vectors, threads.
fn codes() -> Vec<Code> {
    let native = IsaLevel::default();
    let code = |stage, fuse, level, threads| Code { stage, fuse, level, threads };
    let narrower = IsaLevel::here().into_iter().filter(|level| *level != native).map(|level| match level {
        IsaLevel::Avx2 => code("egret: native at 256 bits", true, level, 1),
        _ => code("egret: native at 128 bits", true, level, 1),
    });
    let mut all = vec![
        code("egret: interpreted without fusion", false, IsaLevel::Interpret, 1),
        code("egret: interpreted", true, IsaLevel::Interpret, 1),
        code("egret: native without FMA", true, IsaLevel::BaselineWithoutFma, 1),
        code("egret: native without fusion", false, native, 1),
    ];
    all.extend(narrower);
    all.extend([code(NATIVE, true, native, 1), code("egret: native in two threads", true, native, 2)]);
    all
}

/// Time of one run of code.
const TIME: Duration = Duration::from_secs(10);

impl System for Egret {
    fn name(&self) -> &str {
        if self.native_only { "egret-native" } else { "egret" }
    }

    fn check(&mut self, case: &Case) -> anyhow::Result<Option<Failure>> {
        let runs = case.runs();
        if !self.native_only {
            if let Some(failure) = exported(case, &runs) {
                return Ok(Some(failure));
            }
            let mut graph = case.graph.clone();
            for (name, pass) in PASSES {
                let stage = format!("egret: after {name}");
                let done = guarded(|| {
                    let after = pass(graph.clone())?;
                    let got = runs.iter().map(|run| evaluate(&after, run.inputs.clone(), &Env::default()));
                    let got = got.collect::<Result<Vec<_>, _>>()?;
                    Ok((after, got))
                });
                match done {
                    Ok((after, got)) => {
                        if let Some(text) =
                            runs.iter().zip(&got).find_map(|(run, got)| judge(run, got, Silent::Reference))
                        {
                            return Ok(Some(Failure { stage, kind: Kind::Wrong, text }));
                        }
                        graph = after;
                    }
                    Err(failed) => return Ok(Some(failed.at(stage))),
                }
            }
        }
        for code in codes() {
            // Graphs of one node have nothing to fuse.
            let alike = !code.fuse && case.graph.nodes.len() < 2;
            if self.native_only && code.stage != NATIVE || alike {
                continue;
            }
            let done = guarded(|| {
                let limits = Limits { deadline: Instant::now().checked_add(TIME), ..Limits::default() };
                // Both of the compiler's efforts are met, the quick one wherever only one code is made.
                let effort = if code.stage == NATIVE && !self.native_only { Effort::Speed } else { Effort::Quick };
                let Code { fuse, level, threads, .. } = code;
                // Each kernel is shared between the threads, however little it does.
                let parallel_cost = if threads > 1 { 0.0 } else { ExecOptions::default().parallel_cost };
                // So are layouts, however few channels there are.
                let layout_everywhere = threads > 1 || code.stage != NATIVE && fuse;
                let options = ExecOptions {
                    threads,
                    parallel_cost,
                    fuse,
                    layout_everywhere,
                    level,
                    limits,
                    effort,
                    ..ExecOptions::default()
                };
                let executable = Executable::new(Arc::new(case.graph.clone()), Arc::new(DefaultPlanner), options)?;
                // The first shape once more, by the plan that is kept.
                let again = runs.first().filter(|_| runs.len() > 1);
                runs.iter().chain(again).map(|run| executable.run(run.inputs.clone())).collect::<Result<Vec<_>, _>>()
            });
            let stage = code.stage.to_owned();
            match done {
                Ok(got) => {
                    let with = runs.iter().chain(runs.first());
                    if let Some(text) = with.zip(&got).find_map(|(run, got)| judge(run, got, Silent::Reference)) {
                        return Ok(Some(Failure { stage, kind: Kind::Wrong, text }));
                    }
                }
                Err(failed) => return Ok(Some(failed.at(stage))),
            }
        }
        Ok(None)
    }
}

/// What is wrong with the graph as it reads back from an ONNX file. What has no spelling in ONNX is no failure.
fn exported(case: &Case, runs: &[Case]) -> Option<Failure> {
    let stage = || "egret: exported and imported".to_owned();
    let done = guarded(|| {
        let bytes = match onnx::export(&model(case)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::Unsupported => return Ok(None),
            Err(e) => return Err(e),
        };
        let graph = onnx::import_bytes(bytes.into(), None, &onnx::Limits::default())?.graph;
        let got = runs.iter().map(|run| evaluate(&graph, run.inputs.clone(), &Env::default()));
        got.collect::<Result<Vec<_>, _>>().map(Some)
    });
    match done {
        Ok(got) => {
            let text = runs.iter().zip(got?).find_map(|(run, got)| judge(run, &got, Silent::Reference))?;
            Some(Failure { stage: stage(), kind: Kind::Wrong, text })
        }
        Err(failed) => Some(failed.at(stage())),
    }
}

/// A failure before it is known where.
pub(crate) struct Failed {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl Failed {
    pub(crate) fn at(self, stage: String) -> Failure {
        Failure { stage, kind: self.kind, text: self.text }
    }
}

pub(crate) fn guarded<T>(f: impl FnOnce() -> Result<T, Error>) -> Result<T, Failed> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => {
            let kind = if e.kind() == ErrorKind::Limit { Kind::Hang } else { Kind::Refused };
            Err(Failed { kind, text: e.to_string() })
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(Failed { kind: Kind::Crash, text: format!("panic: {}", text.unwrap_or_default()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Config, Generator};

    #[test]
    fn egret_agrees_with_its_reference_on_random_graphs() {
        let mut generator = Generator::new(Config {
            only: ["Add", "Relu", "MatMul", "Transpose"].map(Into::into).into(),
            ..Config::default()
        });
        let mut egret = Egret::default();
        for i in 0..20 {
            let case = generator.generate(&mut Seeded::new(11, i)).unwrap();
            let found = egret.check(&case).unwrap();
            assert!(found.is_none(), "{found:?}\n{}", egret_ir::text::print(&case.graph));
        }
    }

    #[test]
    fn a_changed_result_is_judged_wrong() {
        let mut generator = Generator::new(Config { only: vec!["Add".into()], special: false, ..Config::default() });
        let case = (0..).find_map(|i| {
            let c = generator.generate(&mut Seeded::new(5, i))?;
            c.outputs[0].tensor().is_ok_and(|t| t.dtype() == egret_ir::DType::F32 && !t.is_empty()).then_some(c)
        });
        let case = case.unwrap();
        let t = case.outputs[0].tensor().unwrap();
        let off = egret_ir::Tensor::from_floats(t.dtype(), t.shape(), t.floats().unwrap().into_iter().map(|x| x + 1.0));
        let mut got = case.outputs.clone();
        assert_eq!(judge(&case, &got, Silent::Open), None);
        got[0] = off.into();
        assert!(judge(&case, &got, Silent::Open).is_some());
    }

    #[test]
    fn memory_errors_in_one_place_have_one_cause() {
        let mut b = egret_ir::GraphBuilder::new("g");
        let x = b.input("x", egret_ir::Type::tensor(DType::F32, &[1]));
        let y = b.op("Relu", egret_ir::attrs! {}, &[x]).unwrap();
        let relu = b.finish(&[y]);
        let cause = |kind, text: &str| Failure { stage: "r".into(), kind, text: text.into() }.cause(&relu);
        let in_f = |bytes: usize| cause(Kind::Memory, &format!("Invalid read of size {bytes} at f < g; 0 bytes after"));
        assert_eq!(in_f(8), "r | memory | Invalid read at f < g");
        assert_eq!(in_f(8), in_f(32));
        // Kernels are alike: what they do is in the graph.
        let kernel = cause(Kind::Memory, "Invalid write of size 32 at machine code < run; 4 bytes after");
        assert_eq!(kernel, "r | memory | Relu | Invalid write at machine code < run");
        let died = cause(Kind::Crash, "exit status: 1: SUMMARY: AddressSanitizer: heap-buffer-overflow a.rs:7:3 in f");
        assert_eq!(died, "r | crash | AddressSanitizer: heap-buffer-overflow a.rs:7:3 in f");
    }

    #[test]
    fn refusals_of_one_line_of_the_source_have_one_cause() {
        let cause = |text: &str| {
            let failure = Failure { stage: "r".into(), kind: Kind::Refused, text: text.into() };
            failure.cause(&Graph::new("g"))
        };
        let (a, b) =
            ("while running Gemm: /src/cpu/reduction_ops.cc:813 Fail", "Exception: /src/cpu/reduction_ops.cc:813 x");
        assert_eq!(cause(a), "r | refused | reduction_ops.cc:813");
        assert_eq!(cause(a), cause(b));
        assert_eq!(source_line("a.cc: no"), None);
        let (a, b) = (
            "Node (a_q) Op (Cast) [TypeInferenceError] type 3 of a",
            "Node (b) Op (Cast) [TypeInferenceError] type 4 of a",
        );
        assert_eq!(cause(a), "r | refused | Cast | type");
        assert_eq!(cause(a), cause(b));
        let within = format!("Node (n0) Op (If) [TypeInferenceError] Graph attribute inferencing failed: {a}");
        assert_eq!(cause(&within), cause(a));
        let when = |when: &str| cause(&format!("{when} bad axis"));
        assert_eq!(when(WHEN[0]), when(WHEN[1]));
    }
}
