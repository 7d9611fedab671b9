//! `egret worker`: one command a line on standard input, one JSON object a line on standard output.
//!
//! Test harnesses and the fuzzer drive it; a failed command, a panic included, is answered and the process lives on.

use super::dataset::{self, RawInputs};
use super::{input, panic_text, say};
use anyhow::{Context, Result, bail};
use clap::Args;
use egret::ir::onnx;
use egret::{Executable, Level, Limits, Model, Options, Value};
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Answer commands from another program, one a line.
///
/// Fields of a command are separated by tabs; every answer is one JSON object on one line: {"ok":true,…} or
/// {"ok":false,"error":"…"}, after which the next command is read.
///
///   load THREADS MODEL FOLDER   compile a model for FOLDER/input_k.pb, or for random inputs where FOLDER is random:SEED:
///                               {"ms":…,"base_kb":…}
///   run K                       run it K times: {"ms":[…],"cpu":[…]}
///   save FOLDER                 write the last outputs as FOLDER/output_k.pb
///   input FOLDER                take new inputs without loading again
///   rss                         peak resident memory since `load` began: {"kb":…}
///   limit MIB MS                bound the memory of a run and the time of each command that follows; 0 lifts a bound
///   quit                        end
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct WorkerArgs {
    /// What runs the graph: a level, such as `native`, `baseline` or `reference`. Default: native, or what EGRET_ISA says.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Another runtime than Egret (`tract`), in builds with it.
    #[cfg(feature = "tract")]
    #[arg(long, value_name = "NAME", value_parser = ["tract"], conflicts_with = "level")]
    runtime: Option<String>,
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

#[derive(Default)]
struct Worker {
    level: Option<Level>,
    loaded: Option<Loaded>,
    memory_mib: usize,
    time_ms: u64,
}

struct Loaded {
    model: Model,
    options: Options,
    executable: Executable,
    inputs: Vec<Value>,
    outputs: Option<Vec<Value>>,
}

pub(super) fn run(args: &WorkerArgs) -> Result<()> {
    // Panics are answered; text and place go there and not to standard error.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
        PANIC.with_borrow_mut(|text| *text = format!("{}{place}", panic_text(info.payload())));
    }));
    #[cfg(feature = "tract")]
    if args.runtime.is_some() {
        let mut tract = egret_fuzz::tract::Tract::default();
        return serve(&mut |line| tract.command(line), egret_fuzz::tract::is_unsupported);
    }
    let mut worker = Worker { level: args.level, ..Worker::default() };
    serve(&mut |line| worker.command(line), |_| false)
}

/// Answers commands until `quit` or the end; errors that say so are marked as no failures but things that are not supported.
fn serve(command: &mut dyn FnMut(&str) -> Result<Json>, is_unsupported: fn(&str) -> bool) -> Result<()> {
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line == "quit" {
            break;
        }
        let mut answer = answer(command, line);
        if answer["error"].as_str().is_some_and(is_unsupported) {
            answer["unsupported"] = true.into();
        }
        say(&format!("{answer}\n"))?;
    }
    Ok(())
}

fn answer(command: &mut dyn FnMut(&str) -> Result<Json>, line: &str) -> Json {
    let start = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| command(line)));
    let done = done.unwrap_or_else(|panic| {
        let text = PANIC.take();
        Err(anyhow::anyhow!(if text.is_empty() { panic_text(&*panic) } else { text }))
    });
    match done {
        Ok(mut fields) => {
            fields["ok"] = true.into();
            fields
        }
        Err(e) => {
            let text: String = format!("{e:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            let text: String = text.chars().take(2000).collect();
            json!({ "ok": false, "error": text, "after_ms": ms(start.elapsed()) })
        }
    }
}

impl Worker {
    fn command(&mut self, line: &str) -> Result<Json> {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["load", threads, model, folder] => {
                let threads = threads.parse().with_context(|| format!("threads `{threads}`"))?;
                self.load(threads, Path::new(model), Path::new(folder))
            }
            ["run", k] => self.run(k.parse().with_context(|| format!("number of runs `{k}`"))?),
            ["save", folder] => {
                let loaded = self.loaded()?;
                let outputs = loaded.outputs.as_ref().context("nothing was run")?;
                Ok(json!({ "outputs": dataset::save(Path::new(folder), &loaded.executable, outputs)? }))
            }
            ["input", folder] => self.input(Path::new(folder)),
            ["rss"] => Ok(json!({ "kb": peak_kb() })),
            ["limit", mib, time_ms] => {
                self.memory_mib = mib.parse().with_context(|| format!("MiB `{mib}`"))?;
                self.time_ms = time_ms.parse().with_context(|| format!("milliseconds `{time_ms}`"))?;
                Ok(json!({}))
            }
            _ => bail!("unknown command {line:?}"),
        }
    }

    fn loaded(&mut self) -> Result<&mut Loaded> {
        self.loaded.as_mut().context("no model is loaded")
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if self.memory_mib > 0 {
            limits.memory_bytes = self.memory_mib.saturating_mul(1 << 20);
            limits.value_bytes = limits.memory_bytes;
        }
        if self.time_ms > 0 {
            limits.deadline = Instant::now().checked_add(Duration::from_millis(self.time_ms));
        }
        limits
    }

    fn load(&mut self, threads: usize, path: &Path, folder: &Path) -> Result<Json> {
        self.loaded = None;
        let seed = folder.to_str().and_then(|f| f.strip_prefix("random:"));
        let seed: Option<u64> = seed.map(|s| s.parse().with_context(|| format!("seed `{s}`"))).transpose()?;
        let raw = if seed.is_some() { RawInputs::none() } else { RawInputs::read(folder) };
        let base_kb = start_counting_kb();
        let start = Instant::now();
        let mut file_limits = onnx::Limits::default();
        if self.memory_mib > 0 {
            file_limits.max_dense_bytes = self.memory_mib.saturating_mul(1 << 20);
        }
        file_limits.deadline = self.limits().deadline;
        let model = Model::load_within(path, &file_limits)?;
        let inputs = raw.bind(&model)?;
        let mut options =
            Options { threads, limits: self.limits(), overridable: inputs.overrides, ..Options::from_env()? };
        options.level = self.level.unwrap_or(options.level);
        let executable = model.compile(&options)?;
        let inputs = match seed {
            Some(seed) => input::random_inputs(&executable, seed, options.limits.value_bytes)?,
            None => inputs.order(&executable)?,
        };
        executable.prepare(&inputs.iter().map(Value::ty).collect::<Vec<_>>())?;
        let took = start.elapsed();
        self.loaded = Some(Loaded { model, options, executable, inputs, outputs: None });
        Ok(json!({ "ms": ms(took), "base_kb": base_kb }))
    }

    fn run(&mut self, k: usize) -> Result<Json> {
        let limits = self.limits();
        let loaded = self.loaded()?;
        let (mut times, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..k {
            loaded.outputs = None;
            let (start, before) = (Instant::now(), cpu_time());
            let outputs = loaded.executable.run_within(&loaded.inputs, &limits)?;
            times.push(ms(start.elapsed()));
            cpu.push(ms(cpu_time().saturating_sub(before)));
            loaded.outputs = Some(outputs);
        }
        Ok(json!({ "ms": times, "cpu": cpu }))
    }

    fn input(&mut self, folder: &Path) -> Result<Json> {
        let loaded = self.loaded()?;
        let start = Instant::now();
        let inputs = RawInputs::read(folder).bind(&loaded.model)?;
        if inputs.overrides && !loaded.options.overridable {
            // An input with a default was compiled in as a constant.
            let options = Options { overridable: true, ..loaded.options.clone() };
            loaded.executable = loaded.model.compile(&options)?;
            loaded.options = options;
        }
        loaded.inputs = inputs.order(&loaded.executable)?;
        loaded.outputs = None;
        Ok(json!({ "ms": ms(start.elapsed()) }))
    }
}

fn ms(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e7).round() / 1e4
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec.try_into().unwrap_or(0), t.tv_nsec.try_into().unwrap_or(0))
}

/// Restarts the kernel's peak counter (where it can be) and gives the resident memory now.
fn start_counting_kb() -> u64 {
    // Refused in some sandboxes: then the peak counts from the start of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    peak_kb()
}

/// Peak resident memory in KiB; 0 where the system does not say.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_answered() {
        let mut w = Worker::default();
        for line in ["", "run\t1", "load\tx\ty\tz", "load\t1\t/absent.onnx\t/absent", "save\t/tmp", "limit\t1"] {
            let answer = answer(&mut |line| w.command(line), line);
            assert_eq!(answer["ok"], false, "{line}");
            assert!(!answer["error"].as_str().unwrap().is_empty());
        }
        assert_eq!(answer(&mut |line| w.command(line), "limit\t100\t1000")["ok"], true);
        assert!(answer(&mut |line| w.command(line), "rss")["kb"].as_u64().unwrap() > 0);
    }
}
