//! A worker process behind a watchdog: what may crash, hang or eat memory does so there.
//!
//! It speaks the protocol of `egret worker`: a command a line on standard input, a JSON object a line on standard output.

use serde_json::Value as Json;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What came back for a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// `{"ok":true,…}`.
    Done(Json),
    /// `{"ok":false,"error":…}`; `"unsupported":true` says that it has no such operator, type or form.
    Refused {
        /// What it said.
        error: String,
        /// Whether it says so.
        unsupported: bool,
        /// Whether it says that the model of a `load` is loaded, `"loaded":true`: only the arguments were not taken.
        loaded: bool,
    },
    /// The process ended; how, and the end of its standard error.
    Died(String),
    /// Nothing came in time; the process was killed.
    Silent,
}

/// A running worker process. Dropping it kills it.
pub struct Worker {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    complaints: Arc<Mutex<Vec<u8>>>,
}

/// Bytes of standard error that are kept: a sanitizer's picture of the memory comes behind what it says.
const COMPLAINT_BYTES: usize = 8192;

/// What the line begins with in which a sanitizer of LLVM or GCC sums up.
pub(crate) const SANITIZER: &str = "SUMMARY: ";

impl Worker {
    /// Starts `program` with arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &[String]) -> io::Result<Worker> {
        let [name, args @ ..] = program else { return Err(io::Error::other("no worker program is named")) };
        let mut child = Command::new(name)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let piped = |_| io::Error::other("a pipe of the worker is missing");
        let commands = child.stdin.take().ok_or(()).map_err(piped)?;
        let stdout = child.stdout.take().ok_or(()).map_err(piped)?;
        let mut stderr = child.stderr.take().ok_or(()).map_err(piped)?;
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaints);
        std::thread::spawn(move || {
            let mut block = [0; 1024];
            while let Ok(n) = stderr.read(&mut block) {
                if n == 0 {
                    break;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&block[..n]);
                let extra = kept.len().saturating_sub(COMPLAINT_BYTES);
                kept.drain(..extra);
            }
        });
        Ok(Worker { child, commands, answers, complaints })
    }

    /// Sends a command and waits for its answer. After [`Answer::Died`] and [`Answer::Silent`] the worker is of no use.
    pub fn ask(&mut self, command: &str, patience: Duration) -> Answer {
        // A process that is gone is noticed when no answer comes.
        let _ = self.commands.write_all(format!("{command}\n").as_bytes()).and_then(|()| self.commands.flush());
        match self.answers.recv_timeout(patience) {
            Ok(line) => match serde_json::from_str::<Json>(&line) {
                Ok(answer) if answer["ok"] == true => Answer::Done(answer),
                Ok(answer) => Answer::Refused {
                    error: answer["error"].as_str().unwrap_or("no reason given").to_owned(),
                    unsupported: answer["unsupported"] == true,
                    loaded: answer["loaded"] == true,
                },
                Err(e) => Answer::Died(format!("the answer is no JSON ({e}): {line}")),
            },
            Err(RecvTimeoutError::Timeout) => {
                // Whether it can be killed or was already gone: it is not asked again.
                let _ = self.child.kill();
                let _ = self.child.wait();
                Answer::Silent
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                // The reader of standard error may lag behind the end of standard output.
                std::thread::sleep(Duration::from_millis(20));
                let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
                let said = String::from_utf8_lossy(&complaints);
                // A sanitizer says in one line of many what it found.
                let sanitizer = said.lines().find(|line| line.starts_with(SANITIZER));
                Answer::Died(format!("{status}: {}", sanitizer.unwrap_or(said.trim())))
            }
        }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A line of `/proc/<pid>/status` in KiB: `VmRSS` (resident now) or `VmHWM` (at most since the counter was reset).
    /// `None` where the system has no such file.
    pub fn memory_kb(&self, line: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
        found.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Worker {
        Worker::start(&["sh".into(), "-c".into(), script.into()]).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn answers_deaths_and_silence_are_told_apart() {
        let mut w = shell(r#"while read x; do echo "{\"ok\":$x,\"error\":\"no\"}"; done"#);
        assert!(matches!(w.ask("true", LONG), Answer::Done(_)));
        assert_eq!(w.ask("false", LONG), Answer::Refused { error: "no".into(), unsupported: false, loaded: false });
        let Answer::Died(why) = shell("echo alas >&2; exit 3").ask("x", LONG) else { panic!("it must be dead") };
        assert!(why.contains('3') && why.contains("alas"), "{why}");
        let Answer::Died(why) = shell("printf 'x\\nSUMMARY: a in f\\ny\\n' >&2; exit 1").ask("x", LONG) else {
            panic!("it must be dead")
        };
        assert_eq!(why, "exit status: 1: SUMMARY: a in f");
        assert_eq!(shell("sleep 60").ask("x", Duration::from_millis(50)), Answer::Silent);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(Worker::start(&["/no/such/program".into()]).is_err());
        assert!(Worker::start(&[]).is_err());
    }
}
