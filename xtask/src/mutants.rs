//! Seeded bugs: each patch of `fuzz/mutants/` is built in a copy of the workspace, and `egret fuzz run` hunts it.
//!
//! The copy is `target/mutants/tree`. Only files that differ are written to it, so a mutant is an incremental build of the
//! crates behind one changed file, with the cargo profile `mutants` and a target folder of its own. A hunt is a row of short
//! campaigns with seeds that follow each other; time is the processor's, children included, so that a busy machine gives
//! the same figures. The unchanged tree is hunted first: what it has anyhow kills no mutant.
//!
//! Invariant: a mutant is killed by a finding that the unchanged tree's campaign did not have and whose case the unchanged
//! program passes, or by ending or hanging the fuzzer; never by failing to build.
//! Invariant: results are kept line by line as they come, so that a run that was stopped goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};
use diffy::{Line, Patch};
use serde_json::{Value, json};

use crate::command::{Cmd, ticks};
use crate::paths;

const USAGE: &str = "\
usage: cargo xtask mutants [--list | --check] [--minutes N] [--seed N] [--redo] [NAME…]

  --list       print the patches and what they break
  --check      check the form of the patches and that each compiles
  --minutes N  hunt each for at most N minutes of processor time (10)
  --seed N     first seed of the campaigns (1)
  --redo       hunt again what target/mutants/results.jsonl has a result of

NAME is a patch of fuzz/mutants, or the beginning of its name (a class); without one all are hunted.";

/// Classes of bugs, as the reports of NNSmith (ASPLOS 2023), NeuRI (ESEC/FSE 2023) and a study of compilers for deep
/// learning (Shen et al., ESEC/FSE 2021) name them.
const CLASSES: &[(&str, &str)] = &[
    ("algebra", "rewrites wrong for NaN, infinities, -0 or overflow"),
    ("cast", "casts of floats that are out of range"),
    ("conv", "convolutions with groups and asymmetric padding"),
    ("defaults", "attributes at their defaults"),
    ("dtype", "promotion of element types, 32 and 64 bits mixed up"),
    ("folding", "constant folding with another rounding, or of empty tensors"),
    ("fusion", "fusion across a value that something else reads"),
    ("index-overflow", "overflow in index arithmetic"),
    ("layout", "rewrites of layouts that forget an axis"),
    ("opset", "differences between opset versions"),
    ("pooling", "poolings with padding that counts, rounding up or dilation"),
    ("reduction", "reductions over no axes or an empty axis"),
    ("remainder", "sizes that are no multiple of a vector or block"),
    ("reuse", "memory of a live value used again"),
    ("scatter", "gathers and scatters at the edge of the range"),
    ("shape", "wrong shape inference"),
    ("tail", "uninitialised lanes at the end"),
];

/// What results are compared with: the name in a patch and the system of `egret fuzz run`.
const ORACLES: &[(&str, &str)] = &[("reference", "egret"), ("onnxruntime", "onnxruntime")];

/// Campaigns are this long, so that a finding is noticed about so soon.
const CAMPAIGN: Duration = Duration::from_secs(30);

/// A campaign may take so much longer than asked: it reduces what it has found.
const PATIENCE: Duration = Duration::from_secs(300);

/// On a busy machine a campaign gets a part of a processor: a hunt is at most so many times the campaigns that an idle one
/// takes, so that it ends even where campaigns take no time at all.
const MOST_CAMPAIGNS: f64 = 8.0;

/// `cargo xtask mutants`.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match Options::parse(args) {
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Some(options) => match run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    List,
    Check,
    Hunt,
}

#[derive(PartialEq, Debug)]
struct Options {
    verb: Verb,
    minutes: f64,
    seed: u64,
    redo: bool,
    names: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Option<Options> {
        let mut options = Options { verb: Verb::Hunt, minutes: 10.0, seed: 1, redo: false, names: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => options.verb = Verb::List,
                "--check" => options.verb = Verb::Check,
                "--redo" => options.redo = true,
                "--minutes" => options.minutes = args.next()?.parse().ok().filter(|m| (0.0..1e6).contains(m))?,
                "--seed" => options.seed = args.next()?.parse().ok()?,
                name if !name.starts_with('-') => options.names.push(name.to_owned()),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Whether all went well.
fn run(options: &Options) -> Result<bool> {
    let mut mutants = read_all()?;
    let wanted = |m: &Mutant| options.names.iter().any(|n| m.name == *n || m.name.starts_with(&format!("{n}-")));
    if !options.names.is_empty() {
        mutants.retain(wanted);
    }
    if mutants.is_empty() {
        bail!("no patch of fuzz/mutants is called so: {}", options.names.join(", "));
    }
    match options.verb {
        Verb::List => {
            mutants.iter().for_each(|m| println!("{:34} {:12} {}", m.name, m.oracle, m.about));
            println!("{} patches", mutants.len());
            Ok(true)
        }
        Verb::Check => check(&mutants),
        Verb::Hunt => hunt_all(&mutants, options),
    }
}

/// A patch.
#[derive(Debug)]
struct Mutant {
    name: String,
    class: String,
    about: String,
    oracle: String,
    diff: String,
}

fn folder() -> PathBuf {
    paths::root().join("fuzz/mutants")
}

/// Every patch, by name.
fn read_all() -> Result<Vec<Mutant>> {
    let folder = folder();
    let mut mutants = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "patch") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            mutants.push(Mutant::read(name, &read(&path)?).with_context(|| path.display().to_string())?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

impl Mutant {
    /// Reads a head of `key: value` lines and the diff behind it.
    fn read(name: String, text: &str) -> Result<Mutant> {
        let start = text.find("\n--- ").context("no diff")? + 1;
        let mut head: BTreeMap<&str, &str> = BTreeMap::new();
        for line in text[..start].lines().filter(|l| !l.is_empty()) {
            let (key, value) = line.split_once(": ").with_context(|| format!("no `key: value`: {line}"))?;
            head.insert(key, value);
        }
        let mut take = |key: &str| head.remove(key).map(str::to_owned).with_context(|| format!("no `{key}: …`"));
        let (class, about, oracle) = (take("class")?, take("about")?, take("oracle")?);
        if let Some(key) = head.keys().next() {
            bail!("`{key}` is not known");
        }
        if !CLASSES.iter().any(|(c, _)| *c == class) {
            bail!("no class is called `{class}`");
        }
        if !name.starts_with(&format!("{class}-")) {
            bail!("the name begins with the class, `{class}-…`");
        }
        if !ORACLES.iter().any(|(o, _)| *o == oracle) {
            bail!("no oracle is called `{oracle}`");
        }
        Ok(Mutant { name, class, about, oracle, diff: text[start..].to_owned() })
    }

    /// The files that it changes, changed, by path from the workspace's root.
    fn applied(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for part in PatchSet::parse(&self.diff, ParseOptions::unidiff()) {
            let part = part.context("the diff cannot be read")?;
            let FileOperation::Modify { original, modified } = part.operation().strip_prefix(1) else {
                bail!("a patch changes files, it makes and removes none");
            };
            if original != modified {
                bail!("{original} and {modified} are two files");
            }
            let before = read(&root.join(&*original))?;
            let patch = part.patch().as_text().context("a binary patch")?;
            only_place(&before, patch).with_context(|| original.to_string())?;
            let after = diffy::apply(&before, patch).with_context(|| original.to_string())?;
            if after == before {
                bail!("{original} stays as it is");
            }
            files.insert(original.into_owned(), after);
        }
        if files.is_empty() {
            bail!("the diff changes no file");
        }
        Ok(files)
    }
}

/// Whether the lines that each hunk replaces are in the file once: a hunk with little context must not land elsewhere when
/// the file changes.
fn only_place(file: &str, patch: &Patch<'_, str>) -> Result<()> {
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    for (h, hunk) in patch.hunks().iter().enumerate() {
        let before = hunk.lines().iter().filter_map(|line| match line {
            Line::Context(text) | Line::Delete(text) => Some(*text),
            Line::Insert(_) => None,
        });
        let before: Vec<&str> = before.collect();
        match lines.windows(before.len().max(1)).filter(|w| **w == before).count() {
            1 => {}
            n => bail!("the lines of hunk {} are there {n} times, not once", h + 1),
        }
    }
    Ok(())
}

/// A copy of the workspace's sources.
struct Tree {
    root: PathBuf,
    /// Where cargo builds it.
    target: PathBuf,
}

impl Tree {
    fn new() -> Result<Tree> {
        let folder = paths::target()?.join("mutants");
        Ok(Tree { root: folder.join("tree"), target: folder.join("build") })
    }

    /// Makes it equal to the workspace but for the patch's files.
    fn set(&self, mutant: Option<&Mutant>) -> Result<()> {
        let mut changed = mutant.map(|m| m.applied(paths::root())).transpose()?.unwrap_or_default();
        let mut wanted = BTreeSet::new();
        copy_sources(paths::root(), &self.root, Path::new(""), &mut changed, &mut wanted)?;
        remove_others(&self.root, Path::new(""), &wanted)?;
        // Programs look for libz3 beside their workspace.
        #[cfg(unix)]
        if !self.root.join(".venv").exists() {
            let link = self.root.join(".venv");
            std::os::unix::fs::symlink(paths::venv(), &link).with_context(|| link.display().to_string())?;
        }
        Ok(())
    }

    fn cargo(&self, verb: &str, profile: &str, target: &Path) -> Cmd {
        let cmd =
            Cmd::cargo().arg(verb).args(["--quiet", "--bin", "egret", "--features", "fuzz", "--profile", profile]);
        cmd.arg("--manifest-path").arg(self.root.join("Cargo.toml")).arg("--target-dir").arg(target)
    }

    /// Whether it compiles; in the workspace's own target folder, whose dependencies serve both.
    fn check(&self) -> Result<()> {
        self.cargo("check", "dev", &paths::target()?).read().map(|_| ())
    }

    /// Builds `egret` and gives its path.
    fn build(&self) -> Result<PathBuf> {
        self.cargo("build", "mutants", &self.target).read()?;
        Ok(self.target.join("mutants/egret"))
    }

    /// Keeps a program beside the mutants'.
    fn keep(&self, egret: &Path) -> Result<PathBuf> {
        let kept = self.target.join("mutants/unchanged");
        fs::copy(egret, &kept).with_context(|| kept.display().to_string())?;
        Ok(kept)
    }
}

/// Folders that hold no sources.
const SKIPPED: &[&str] = &["target", ".git", ".venv", "artifacts", "__pycache__"];

/// Copies the files under `at` that differ, taking the contents of `changed` for the files that it names; `wanted` gets
/// every file's path.
fn copy_sources(
    from: &Path,
    to: &Path,
    at: &Path,
    changed: &mut BTreeMap<String, String>,
    wanted: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let folder = from.join(at);
    fs::create_dir_all(to.join(at)).with_context(|| to.join(at).display().to_string())?;
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), at.join(entry.file_name()));
        if SKIPPED.iter().any(|s| name == *s) {
            continue;
        }
        // A link counts as what it leads to.
        if fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()) {
            copy_sources(from, to, &path, changed, wanted)?;
            continue;
        }
        let content = match changed.remove(&*path.to_string_lossy()) {
            Some(text) => text.into_bytes(),
            None => fs::read(entry.path()).with_context(|| entry.path().display().to_string())?,
        };
        if !fs::read(to.join(&path)).is_ok_and(|there| there == content) {
            fs::write(to.join(&path), content).with_context(|| to.join(&path).display().to_string())?;
        }
        wanted.insert(path);
    }
    Ok(())
}

/// Removes files of earlier copies.
fn remove_others(tree: &Path, at: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(tree.join(at)).with_context(|| tree.join(at).display().to_string())? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            remove_others(tree, &path, wanted)?;
        } else if !kind.is_symlink() && !wanted.contains(&path) {
            // Cargo's own lock file may be newer than the workspace's.
            fs::remove_file(entry.path()).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

/// Whether all patches apply and compile.
fn check(mutants: &[Mutant]) -> Result<bool> {
    let tree = Tree::new()?;
    let mut failed = 0;
    for (i, m) in mutants.iter().enumerate() {
        let outcome = tree.set(Some(m)).and_then(|()| tree.check());
        let word = if outcome.is_ok() { "compiles" } else { "FAILED" };
        println!("{:3} of {}  {:34} {word}", i + 1, mutants.len(), m.name);
        if let Err(error) = outcome {
            failed += 1;
            println!("{error:#}");
        }
    }
    println!("{} compile, {failed} failed", mutants.len() - failed);
    Ok(failed == 0)
}

/// How a hunt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// The campaign found something that the unchanged tree does not have.
    Found,
    /// The fuzzer itself ended otherwise.
    Crashed,
    /// The fuzzer did not end.
    Hung,
    Survived,
    /// It does not compile.
    Unbuilt,
}

impl Outcome {
    const ALL: [Outcome; 5] = [Outcome::Found, Outcome::Crashed, Outcome::Hung, Outcome::Survived, Outcome::Unbuilt];

    fn name(self) -> &'static str {
        match self {
            Outcome::Found => "found",
            Outcome::Crashed => "crashed",
            Outcome::Hung => "hung",
            Outcome::Survived => "survived",
            Outcome::Unbuilt => "unbuilt",
        }
    }

    fn of(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|o| o.name() == name)
    }

    fn is_kill(self) -> bool {
        matches!(self, Outcome::Found | Outcome::Crashed | Outcome::Hung)
    }
}

/// What a hunt gave; also a line of the results' file.
#[derive(Clone, PartialEq, Debug)]
struct Hunted {
    name: String,
    class: String,
    outcome: Outcome,
    /// Processor time of the campaigns.
    seconds: f64,
    /// Seed of the last campaign.
    seed: u64,
    /// What was found, or the compiler's or the fuzzer's words.
    finding: String,
    /// Causes that are no kill: all of the unchanged tree; of a mutant, those that the unchanged program shows too.
    causes: Vec<String>,
}

impl Hunted {
    fn line(&self) -> String {
        json!({ "name": self.name, "class": self.class, "outcome": self.outcome.name(), "seconds": self.seconds,
                "seed": self.seed, "finding": self.finding, "causes": self.causes })
        .to_string()
    }

    fn of(line: &str) -> Option<Hunted> {
        let v: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| Some(v[key].as_str()?.to_owned());
        let causes = v["causes"].as_array()?.iter().filter_map(|c| Some(c.as_str()?.to_owned())).collect();
        Some(Hunted {
            name: text("name")?,
            class: text("class")?,
            outcome: Outcome::of(v["outcome"].as_str()?)?,
            seconds: v["seconds"].as_f64()?,
            seed: v["seed"].as_u64()?,
            finding: text("finding")?,
            causes,
        })
    }
}

/// Results by name, the last line of each counting.
struct Results {
    path: PathBuf,
    known: BTreeMap<String, Hunted>,
}

impl Results {
    fn open(path: PathBuf) -> Results {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let known = text.lines().filter_map(Hunted::of).map(|h| (h.name.clone(), h)).collect();
        Results { path, known }
    }

    fn add(&mut self, hunted: Hunted) -> Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path);
        let file = file.as_mut().map_err(|e| anyhow::anyhow!("cannot open {}: {e}", self.path.display()))?;
        writeln!(file, "{}", hunted.line()).with_context(|| self.path.display().to_string())?;
        self.known.insert(hunted.name.clone(), hunted);
        Ok(())
    }
}

fn hunt_all(mutants: &[Mutant], options: &Options) -> Result<bool> {
    let tree = Tree::new()?;
    fs::create_dir_all(&tree.root).with_context(|| tree.root.display().to_string())?;
    let mut results = Results::open(paths::target()?.join("mutants/results.jsonl"));
    let known = |results: &Results, name: &str| results.known.contains_key(name) && !options.redo;
    if mutants.iter().all(|m| known(&results, &m.name)) {
        return Ok(report(mutants, &results));
    }
    tree.set(None)?;
    let unchanged = tree.keep(&tree.build()?)?;
    for (oracle, system) in ORACLES {
        let mine: Vec<&Mutant> = mutants.iter().filter(|m| m.oracle == *oracle).collect();
        if mine.iter().all(|m| known(&results, &m.name)) {
            continue;
        }
        let clean = clean_name(oracle);
        if !known(&results, &clean) {
            println!("the unchanged tree, {oracle}");
            let hunted = hunt(&unchanged, system, options, &Before::Unchanged)?;
            if matches!(hunted.outcome, Outcome::Crashed | Outcome::Hung) {
                bail!("`egret fuzz run` {} on the unchanged tree: {}", hunted.outcome.name(), hunted.finding);
            }
            results.add(Hunted { name: clean.clone(), class: "clean".to_owned(), ..hunted })?;
        }
        let causes: BTreeSet<String> = results.known[&clean].causes.iter().cloned().collect();
        for m in mine {
            if known(&results, &m.name) {
                continue;
            }
            tree.set(Some(m)).with_context(|| m.name.clone())?;
            let hunted = match tree.build() {
                Ok(egret) => hunt(&egret, system, options, &Before::Known(&causes, &unchanged))?,
                Err(error) => Hunted { finding: format!("{error:#}"), ..Hunted::none(Outcome::Unbuilt) },
            };
            let hunted = Hunted { name: m.name.clone(), class: m.class.clone(), ..hunted };
            println!("{}", row(&hunted));
            results.add(hunted)?;
        }
    }
    Ok(report(mutants, &results))
}

fn clean_name(oracle: &str) -> String {
    format!("clean-{oracle}")
}

impl Hunted {
    fn none(outcome: Outcome) -> Hunted {
        let (name, class, finding) = (String::new(), String::new(), String::new());
        Hunted { name, class, outcome, seconds: 0.0, seed: 0, finding, causes: Vec::new() }
    }
}

/// What is known before a hunt.
enum Before<'a> {
    /// Nothing: the tree is the workspace's, and is hunted for the whole time.
    Unchanged,
    /// What the unchanged tree has anyhow, and its program.
    Known(&'a BTreeSet<String>, &'a Path),
}

/// Campaigns until one finds something new or the time is over.
fn hunt(egret: &Path, system: &str, options: &Options, before: &Before<'_>) -> Result<Hunted> {
    let budget = options.minutes * 60.0;
    let most = (budget / CAMPAIGN.as_secs_f64() * MOST_CAMPAIGNS).ceil().max(1.0) as usize;
    let mut hunted = Hunted::none(Outcome::Survived);
    let mut causes = BTreeSet::new();
    let folder = egret.with_file_name("campaign");
    for seed in (options.seed..).take(most) {
        let left = Duration::from_secs_f64((budget - hunted.seconds).max(0.0));
        if left < Duration::from_secs(1) {
            break;
        }
        let time = CAMPAIGN.min(left);
        let cmd = Cmd::new(egret).args(["fuzz", "run", "--json", "--count", "1000000000", "--system", system]);
        let cmd = cmd.arg("--seed").arg(seed.to_string()).arg("--time").arg(time.as_secs_f64().to_string());
        let cmd = match before {
            Before::Unchanged => cmd,
            // One more than are known: at least one of them is new.
            Before::Known(known, _) => {
                if folder.exists() {
                    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
                }
                let enough = known.len() + causes.len() + 1;
                cmd.args(["--max-findings", &enough.to_string(), "--out"]).arg(&folder)
            }
        };
        let clock = Clock::start();
        let ended = cmd.output_within(2 * time + PATIENCE)?;
        hunted.seconds += clock.seconds();
        hunted.seed = seed;
        let found = match &ended {
            None => {
                hunted.outcome = Outcome::Hung;
                hunted.finding = format!("no end after {} s", (2 * time + PATIENCE).as_secs());
                break;
            }
            Some(output) => match output.status.code() {
                Some(0) => continue,
                Some(1) => Finding::all(&output.stdout),
                _ => None,
            },
        };
        let Some(found) = found else {
            hunted.outcome = Outcome::Crashed;
            hunted.finding = ended.map_or(String::new(), |o| last_words(&o));
            break;
        };
        match before {
            Before::Unchanged => {
                for f in found {
                    println!("on the unchanged tree, seed {seed}: {}", f.text);
                    causes.insert(f.cause);
                }
            }
            Before::Known(known, unchanged) => {
                for f in found.into_iter().filter(|f| !known.contains(&f.cause)) {
                    if causes.contains(&f.cause) {
                        continue;
                    }
                    if !f.shows_in(unchanged)? {
                        (hunted.outcome, hunted.finding) = (Outcome::Found, f.text);
                        break;
                    }
                    causes.insert(f.cause);
                }
                if hunted.outcome == Outcome::Found {
                    break;
                }
            }
        }
    }
    hunted.causes = causes.into_iter().collect();
    Ok(hunted)
}

/// A finding of a campaign.
struct Finding {
    cause: String,
    text: String,
    /// Where its case was written, if it was.
    folder: Option<PathBuf>,
}

impl Finding {
    /// The findings that `egret fuzz run --json` printed; none where it printed an error instead.
    fn all(stdout: &[u8]) -> Option<Vec<Finding>> {
        let v: Value = serde_json::from_slice(stdout).ok()?;
        let word = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
        let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
        let one = |f: &Value| Finding {
            cause: word(f, "cause"),
            text: first_line(format!("{} ({}): {}", word(f, "stage"), word(f, "kind"), word(f, "text"))),
            folder: f["folder"].as_str().map(PathBuf::from),
        };
        Some(v["findings"].as_array()?.iter().map(one).collect())
    }

    /// Whether its case fails with the unchanged program too: that is another runtime's bug, or a false alarm.
    fn shows_in(&self, unchanged: &Path) -> Result<bool> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let ended = Cmd::new(unchanged).args(["fuzz", "repro"]).arg(folder).output_within(PATIENCE)?;
        // What it cannot read, a program that reads models otherwise has written; that ends with 1 too and prints nothing.
        Ok(ended.is_some_and(|o| o.status.code() == Some(1) && !o.stdout.is_empty()))
    }
}

/// How a program that failed ended.
fn last_words(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    format!("{}: {}", output.status, line.trim())
}

/// Processor time that ended children took, and theirs; the wall's where the system does not tell.
struct Clock {
    cpu: Option<f64>,
    wall: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { cpu: children_seconds(), wall: Instant::now() }
    }

    fn seconds(&self) -> f64 {
        match (self.cpu, children_seconds()) {
            (Some(before), Some(now)) => now - before,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

/// Of programs that have ended.
fn children_seconds() -> Option<f64> {
    ticks("self", 16..=17)
}

/// The line of a mutant.
fn row(h: &Hunted) -> String {
    let first = h.finding.lines().next().unwrap_or_default();
    format!("{:34} {:9} {:>7.1} s  seed {:<4} {first}", h.name, h.outcome.name(), h.seconds, h.seed)
}

/// Prints the table, the last line `N killed, M survived, K failed to build`; whether the unchanged tree is clean and all
/// was built.
fn report(mutants: &[Mutant], results: &Results) -> bool {
    let mut text = String::from("\n");
    let mut false_alarms = 0;
    for (oracle, _) in ORACLES.iter().filter(|(o, _)| mutants.iter().any(|m| m.oracle == *o)) {
        for cause in results.known.get(&clean_name(oracle)).iter().flat_map(|h| &h.causes) {
            // Another runtime has bugs of its own.
            false_alarms += usize::from(*oracle == "reference");
            let _ = writeln!(text, "on the unchanged tree, {oracle}: {cause}");
        }
    }
    let hunted: Vec<&Hunted> = mutants.iter().filter_map(|m| results.known.get(&m.name)).collect();
    let n = |f: fn(Outcome) -> bool| hunted.iter().filter(|h| f(h.outcome)).count();
    for (class, what) in CLASSES {
        let mine: Vec<_> = hunted.iter().filter(|h| h.class == *class).collect();
        if !mine.is_empty() {
            let killed = mine.iter().filter(|h| h.outcome.is_kill()).count();
            let _ = writeln!(text, "\n{class}: {killed} of {} killed ({what})", mine.len());
            mine.iter().for_each(|h| text += &format!("  {}\n", row(h)));
        }
    }
    let mut seconds: Vec<f64> = hunted.iter().filter(|h| h.outcome.is_kill()).map(|h| h.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    if let (Some(median), Some(most)) = (seconds.get(seconds.len() / 2), seconds.last()) {
        let _ = writeln!(text, "\ntime to kill: median {median:.1} s, most {most:.1} s of processor time");
    }
    let _ = writeln!(text, "false alarms on the unchanged tree: {false_alarms}");
    let unbuilt = n(|o| o == Outcome::Unbuilt);
    let (killed, survived) = (n(Outcome::is_kill), n(|o| o == Outcome::Survived));
    println!("{text}{killed} killed, {survived} survived, {unbuilt} failed to build");
    false_alarms == 0 && unbuilt == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read() {
        let o = Options::parse(&words("--minutes 0.5 conv --redo --seed 7")).unwrap();
        assert_eq!(o, Options { verb: Verb::Hunt, minutes: 0.5, seed: 7, redo: true, names: vec!["conv".into()] });
        assert_eq!(Options::parse(&words("--check")).unwrap().verb, Verb::Check);
        for wrong in ["--minutes", "--minutes -1", "--minutes x", "--fast"] {
            assert_eq!(Options::parse(&words(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn every_patch_applies_and_says_what_it_is() {
        let mutants = read_all().unwrap();
        let wrong: Vec<String> = mutants
            .iter()
            .filter_map(|m| m.applied(paths::root()).err().map(|e| format!("{}: {e:#}", m.name)))
            .collect();
        assert!(wrong.is_empty(), "patches that no longer apply:\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_class_has_its_patches() {
        let mutants = read_all().unwrap();
        for (class, _) in CLASSES {
            let n = mutants.iter().filter(|m| m.class == *class).count();
            assert!(n >= 3, "{n} patches of class {class}, 3 are wanted");
        }
        assert!(mutants.len() >= 63, "{} patches, 63 are wanted", mutants.len());
    }

    const PATCH: &str =
        "class: cast\nabout: a\noracle: reference\n\n--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n";

    #[test]
    fn a_patch_is_a_head_and_a_diff() {
        let m = Mutant::read("cast-a".into(), PATCH).unwrap();
        assert_eq!((&*m.class, &*m.about, &*m.oracle), ("cast", "a", "reference"));
        for (from, to, says) in [
            ("class: cast", "class: cats", "no class is called `cats`"),
            ("oracle: reference\n", "", "no `oracle: …`"),
            ("about: a", "about: a\nby: b", "`by` is not known"),
            ("--- a", "a", "no diff"),
        ] {
            let error = Mutant::read("cast-a".into(), &PATCH.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
        assert!(Mutant::read("conv-a".into(), PATCH).is_err());
    }

    #[test]
    fn a_hunk_has_one_place() {
        let m = Mutant::read("cast-a".into(), PATCH).unwrap();
        let folder = std::env::temp_dir().join(format!("egret-mutants-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let with = |text: &str| {
            fs::write(folder.join("x.rs"), text).unwrap();
            m.applied(&folder).map(|mut f| f.remove("x.rs").unwrap()).map_err(|e| format!("{e:#}"))
        };
        assert_eq!(with("new\none\ntwo\n").as_deref(), Ok("new\none\nthree\n"));
        assert!(with("one\ntwo\none\ntwo\n").unwrap_err().contains("2 times"));
        assert!(with("one\nthree\n").unwrap_err().contains("0 times"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_tree_follows_its_workspace() {
        let base = std::env::temp_dir().join(format!("egret-tree-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        for (path, text) in [("a/x.rs", "one\ntwo\n"), ("a/y.rs", "y"), ("target/z", "z"), ("a/.git/w", "w")] {
            fs::create_dir_all(from.join(path).parent().unwrap()).unwrap();
            fs::write(from.join(path), text).unwrap();
        }
        let set = |changed: &[(&str, &str)]| {
            let mut changed = changed.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect();
            let mut wanted = BTreeSet::new();
            copy_sources(&from, &to, Path::new(""), &mut changed, &mut wanted).unwrap();
            remove_others(&to, Path::new(""), &wanted).unwrap();
            assert!(changed.is_empty());
            wanted.len()
        };
        assert_eq!(set(&[("a/x.rs", "mutant")]), 2);
        assert_eq!(fs::read_to_string(to.join("a/x.rs")).unwrap(), "mutant");
        let untouched = fs::metadata(to.join("a/y.rs")).unwrap().modified().unwrap();
        fs::remove_file(from.join("a/x.rs")).unwrap();
        assert_eq!(set(&[]), 1);
        assert!(!to.join("a/x.rs").exists() && !to.join("target").exists());
        assert_eq!(fs::metadata(to.join("a/y.rs")).unwrap().modified().unwrap(), untouched);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_result_is_read_as_it_was_written() {
        let h = Hunted {
            name: "cast-a".into(),
            class: "cast".into(),
            outcome: Outcome::Found,
            seconds: 12.25,
            seed: 3,
            finding: "egret: native (wrong): \"y\"\nis 1".into(),
            causes: vec!["a | b".into()],
        };
        assert_eq!(Hunted::of(&h.line()), Some(h.clone()));
        assert_eq!(h.line().lines().count(), 1);
        assert_eq!(Hunted::of("{\"name\": \"half a li"), None);
    }

    /// A program that stands for `egret`: what it does follows from the seed, which is its ninth argument.
    #[cfg(unix)]
    fn program(folder: &Path, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(folder).unwrap();
        let path = folder.join("egret");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    #[cfg(unix)]
    fn a_hunt_ends_with_the_first_finding_that_is_new() {
        let folder = std::env::temp_dir().join(format!("egret-hunt-{}", std::process::id()));
        let finding = |c: &str| {
            let text = format!(r#""cause": "{c}", "stage": "s", "kind": "k", "text": "t", "folder": "{c}""#);
            format!(r#"echo '{{"findings": [{{{text}}}]}}'; exit 1"#)
        };
        let (old, own, new) = (finding("old"), finding("own"), finding("new"));
        let body = format!("case \"$9\" in 2) {old} ;; 3) {own} ;; 4) {new} ;; *) exit 0 ;; esac");
        let egret = program(&folder, &body);
        // The unchanged program fails with one of the cases and cannot read another.
        let repro = r#"case "$3" in own) echo 's (k): t'; exit 1 ;; *) exit 1 ;; esac"#;
        let unchanged = program(&folder.join("unchanged"), repro);
        let options = Options::parse(&words("--minutes 5")).unwrap();
        let all = hunt(&egret, "egret", &options, &Before::Unchanged).unwrap();
        assert_eq!((all.outcome, all.causes), (Outcome::Survived, ["new", "old", "own"].map(str::to_owned).to_vec()));
        let known = BTreeSet::from(["old".to_owned()]);
        let one = hunt(&egret, "egret", &options, &Before::Known(&known, &unchanged)).unwrap();
        assert_eq!((one.outcome, one.seed, &*one.finding), (Outcome::Found, 4, "s (k): t"));
        assert_eq!(one.causes, ["own"]);
        let broken = program(&folder, "echo lost >&2; exit 101");
        let crashed = hunt(&broken, "egret", &options, &Before::Known(&known, &unchanged)).unwrap();
        assert_eq!((crashed.outcome, crashed.seed), (Outcome::Crashed, 1));
        assert!(crashed.finding.ends_with(": lost"), "{}", crashed.finding);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn findings_are_read_and_errors_are_none() {
        let text = r#"{"findings": [{"cause": "c", "stage": "egret: native", "kind": "wrong", "text": "y\nz"}]}"#;
        let all = Finding::all(text.as_bytes()).unwrap();
        assert_eq!((&*all[0].cause, &*all[0].text), ("c", "egret: native (wrong): y"));
        assert!(Finding::all(br#"{"error": "no z3", "exit_code": 1}"#).is_none());
    }
}
