//! Mutated models against worker processes: each must answer with a result or an error within its limits.
//!
//! A finding is a panic, an error that blames Egret itself, a process that dies, no answer in time, or memory beyond the
//! limit. The model is saved with the story of its making.

use crate::mutate::{Mutant, Seed, mutant};
use crate::worker::{Answer, Worker};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// A worker program with its arguments; each job starts its own.
    pub worker: Vec<String>,
    /// Workers side by side.
    pub jobs: usize,
    /// Number of the first mutant.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Limits of each load and each run that the worker is told.
    pub memory_mib: u64,
    /// As above.
    pub time_ms: u64,
    /// Where models are written, and findings kept.
    pub out: PathBuf,
}

/// What a worker said of a mutant.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It ran.
    Ran,
    /// An error, which begins so.
    Refused(String),
    /// What must not be: the kind in a word or two, and the text.
    Finding(&'static str, String),
}

/// The outcome of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// Mutants that ran.
    pub ran: u64,
    /// Mutants refused because they are wrong.
    pub invalid: u64,
    /// Refused because something is not supported.
    pub unsupported: u64,
    /// Refused by a limit.
    pub limited: u64,
    /// Findings alike, with their number and the first mutant of each.
    pub findings: BTreeMap<String, (u64, u64)>,
}

impl Report {
    /// Mutants that were answered as they should.
    pub fn answered(&self) -> u64 {
        self.ran + self.invalid + self.unsupported + self.limited
    }

    /// Mutants that were not.
    pub fn found(&self) -> u64 {
        self.findings.values().map(|f| f.0).sum()
    }

    fn add(&mut self, number: u64, verdict: &Verdict) {
        match verdict {
            Verdict::Ran => self.ran += 1,
            Verdict::Refused(text) if text.contains("unsupported: ") => self.unsupported += 1,
            Verdict::Refused(text) if text.contains("limit reached: ") => self.limited += 1,
            Verdict::Refused(_) => self.invalid += 1,
            Verdict::Finding(kind, text) => {
                let entry = self.findings.entry(format!("{kind}: {}", cause(text))).or_insert((0, number));
                entry.0 += 1;
                entry.1 = entry.1.min(number);
            }
        }
    }
}

/// A text with what differs between findings of one cause left out: digits, quoted names, what comes late.
fn cause(text: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    for c in text.chars() {
        if c == '"' || c == '`' {
            quoted = !quoted;
        }
        let repeated = c.is_ascii_digit() && out.ends_with('#');
        if !quoted && !repeated {
            out.push(if c.is_ascii_digit() { '#' } else { c });
        }
        if out.len() > 300 {
            break;
        }
    }
    out
}

/// Memory that a worker may take beyond the limit of a value: the compiler's own, a copy of the model, several values.
const SLACK: u64 = 4;
const SLACK_KB: u64 = 256 << 10;

impl Campaign {
    /// Runs it; `tell` sees each mutant with its verdict, in no particular order.
    ///
    /// # Errors
    /// When a worker cannot be started or a file cannot be written.
    pub fn run(&self, seeds: &[Seed], tell: &(dyn Fn(u64, &Mutant, &Verdict) + Sync)) -> io::Result<Report> {
        std::fs::create_dir_all(&self.out)?;
        let next = AtomicU64::new(self.first);
        let end = self.first.saturating_add(self.count);
        let report = Mutex::new(Report::default());
        std::thread::scope(|scope| {
            let job = |job: usize| {
                let path = self.out.join(format!("job-{job}.onnx"));
                let mut worker = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    let mutant = mutant(seeds, number);
                    std::fs::write(&path, &mutant.bytes)?;
                    let verdict = self.judge(&mut worker, &path, number)?;
                    if let Verdict::Finding(kind, text) = &verdict {
                        self.keep(number, &mutant, kind, text)?;
                    }
                    tell(number, &mutant, &verdict);
                    report.lock().unwrap_or_else(PoisonError::into_inner).add(number, &verdict);
                }
                std::fs::remove_file(&path)
                    .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
            };
            let jobs: Vec<_> = (0..self.jobs.max(1)).map(|k| scope.spawn(move || job(k))).collect();
            jobs.into_iter().try_for_each(|j| j.join().map_err(|_| io::Error::other("a job panicked"))?)
        })?;
        Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, number: u64, mutant: &Mutant, kind: &str, text: &str) -> io::Result<()> {
        std::fs::write(self.out.join(format!("finding-{number}.onnx")), &mutant.bytes)?;
        let mut story = String::new();
        let _ = writeln!(story, "mutant {number}: {}\n{kind}: {text}", mutant.story);
        std::fs::write(self.out.join(format!("finding-{number}.txt")), story)
    }

    /// Has one file loaded and run. A worker that died or went silent is replaced.
    fn judge(&self, slot: &mut Option<Worker>, path: &Path, number: u64) -> io::Result<Verdict> {
        // The limit is looked at between steps; one step may take longer, but not without end.
        let patience = Duration::from_millis(self.time_ms.saturating_mul(2).saturating_add(3000));
        let mut worker = match slot.take() {
            Some(worker) => worker,
            None => {
                let mut worker = Worker::start(&self.worker)?;
                worker.ask(&format!("limit\t{}\t{}", self.memory_mib, self.time_ms), patience);
                worker
            }
        };
        let before_kb = worker.memory_kb("VmRSS");
        let start = Instant::now();
        for command in [format!("load\t1\t{}\trandom:{number}", path.display()), "run\t1".to_owned()] {
            let verdict = match worker.ask(&command, patience) {
                Answer::Done(_) => continue,
                Answer::Silent => return Ok(Verdict::Finding("no answer", format!("{:.1?}", start.elapsed()))),
                Answer::Died(why) => return Ok(Verdict::Finding("death", why)),
                Answer::Refused { error, .. } if error.contains("panic: ") => Verdict::Finding("panic", error),
                Answer::Refused { error, .. } if error.contains("bug in egret: ") => Verdict::Finding("bug", error),
                Answer::Refused { error, .. } => Verdict::Refused(error),
            };
            let memory = self.memory(&worker, before_kb);
            *slot = Some(worker);
            return Ok(memory.unwrap_or(verdict));
        }
        let memory = self.memory(&worker, before_kb);
        *slot = Some(worker);
        Ok(memory.unwrap_or(Verdict::Ran))
    }

    fn memory(&self, worker: &Worker, before_kb: Option<u64>) -> Option<Verdict> {
        let more_kb = worker.memory_kb("VmHWM")?.saturating_sub(before_kb?);
        let allowed_kb = SLACK * (self.memory_mib << 10) + SLACK_KB;
        let text = || format!("{} MiB more than before, {} MiB is the limit", more_kb >> 10, self.memory_mib);
        (more_kb > allowed_kb).then(|| Verdict::Finding("memory", text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_one_cause_are_counted_together() {
        let mut report = Report::default();
        report.add(7, &Verdict::Finding("panic", "index 3 of 12 in \"a\"".into()));
        report.add(4, &Verdict::Finding("panic", "index 456 of 7 in \"bc\"".into()));
        report.add(5, &Verdict::Refused("unsupported: this".into()));
        report.add(6, &Verdict::Refused("limit reached: that".into()));
        report.add(8, &Verdict::Ran);
        assert_eq!((report.answered(), report.found()), (3, 2));
        assert_eq!(report.findings.values().collect::<Vec<_>>(), [&(2, 4)]);
    }
}
