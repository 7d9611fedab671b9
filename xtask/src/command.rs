//! A program with its arguments: shown as a line that can be pasted into a shell, and run from the workspace's root.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::report::Count;

/// A program is waited for so many times its limit at most: on a busy machine it gets a part of a processor.
const IDLE: u32 = 6;

/// A program, its arguments and the variables set for it.
#[derive(Clone)]
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(&'static str, String)>,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Cmd {
        Cmd { program: program.as_ref().to_owned(), args: Vec::new(), env: Vec::new() }
    }

    /// The cargo that started this program.
    pub(crate) fn cargo() -> Cmd {
        Cmd::new("cargo")
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Cmd {
        self.env.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        // `cargo` stands for the very cargo that runs us, which a toolchain override may have chosen.
        let program = match self.program.to_str() {
            Some("cargo") => std::env::var_os("CARGO").unwrap_or_else(|| self.program.clone()),
            _ => self.program.clone(),
        };
        let mut command = Command::new(program);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(paths::root());
        command
    }

    /// Runs it with our own output; an error if it does not end with success.
    pub(crate) fn run(&self) -> Result<()> {
        self.announce();
        let status = self.command().status().with_context(|| self.cannot_start())?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.program.to_string_lossy());
        }
        Ok(())
    }

    /// Runs it and returns what it wrote to standard output; its standard error is in the error if it fails.
    pub(crate) fn read(&self) -> Result<String> {
        let output = self.command().stdin(Stdio::null()).output().with_context(|| self.cannot_start())?;
        if !output.status.success() {
            bail!("{self}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
        }
        String::from_utf8(output.stdout).with_context(|| format!("{self}: output is not UTF-8"))
    }

    /// Runs it and returns how it ended and what it wrote; none where it was not done after `limit` of processor time, or
    /// after that time [`IDLE`] times over, and was killed.
    pub(crate) fn output_within(&self, limit: Duration) -> Result<Option<Output>> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| self.cannot_start())?;
        let reader = |pipe: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.map_or(Ok(0), |mut p| p.read_to_end(&mut bytes)).map(|_| bytes)
            })
        };
        let stdout = reader(child.stdout.take().map(|p| Box::new(p) as _));
        let stderr = reader(child.stderr.take().map(|p| Box::new(p) as _));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {self}"))? {
                break status;
            }
            let busy = processor_time(child.id()).unwrap_or_else(|| start.elapsed());
            if busy > limit || start.elapsed() > limit * IDLE {
                // It may have ended by itself just now.
                let _ = child.kill();
                child.wait().with_context(|| format!("cannot wait for {self}"))?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let bytes = |thread: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| {
            thread.join().expect("reading does not panic").context("cannot read a program's output")
        };
        Ok(Some(Output { status, stdout: bytes(stdout)?, stderr: bytes(stderr)? }))
    }

    /// Runs it, passes its standard output on line by line, and adds up the tests that the lines report. The count is
    /// returned even if the program fails, next to that error.
    pub(crate) fn run_counting(&self, count: fn(&str) -> Option<Count>) -> (Count, Result<()>) {
        self.announce();
        let mut total = Count::default();
        let outcome = self.pass_lines_on(|line| total += count(line).unwrap_or_default());
        (total, outcome)
    }

    fn pass_lines_on(&self, mut see: impl FnMut(&str)) -> Result<()> {
        let mut child = self.command().stdout(Stdio::piped()).spawn().with_context(|| self.cannot_start())?;
        let mut lines = BufReader::new(child.stdout.take().expect("standard output was piped just above"));
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).context("cannot read a program's output")? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            see(text.trim_end());
        }
        let status = child.wait().with_context(|| format!("cannot wait for {self}"))?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.program.to_string_lossy());
        }
        Ok(())
    }

    fn announce(&self) {
        println!("$ {self}");
    }

    fn cannot_start(&self) -> String {
        format!("cannot start `{}`: is it installed?", self.program.to_string_lossy())
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        // Paths in the workspace are shown relative to its root, where the command runs.
        let root = format!("{}/", paths::root().display());
        for (i, word) in std::iter::once(&self.program).chain(&self.args).enumerate() {
            let word = word.to_string_lossy();
            let word = word.strip_prefix(&root).unwrap_or(&word);
            write!(f, "{}{}", if i == 0 { "" } else { " " }, quoted(word))?;
        }
        Ok(())
    }
}

/// A word as a POSIX shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Processor time of a running program and of those that it has waited for, where the system tells it.
fn processor_time(pid: u32) -> Option<Duration> {
    ticks(&pid.to_string(), 14..=17).map(Duration::from_secs_f64)
}

/// The sum of these fields of Linux's `/proc/PID/stat` (proc(5), which counts from 1), hundredths of a second, in seconds.
pub(crate) fn ticks(pid: &str, fields: RangeInclusive<usize>) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let n = fields.clone().count();
    let found: Vec<f64> = rest.split(' ').skip(fields.start() - 3).take(n).filter_map(|t| t.parse().ok()).collect();
    (found.len() == n).then(|| found.iter().sum::<f64>() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_line() {
        let cmd = Cmd::new("echo").env("A", "1 2").args(["plain", "two words", "it's"]).arg(paths::root().join("x"));
        assert_eq!(cmd.to_string(), r"A='1 2' echo plain 'two words' 'it'\''s' x");
    }

    #[test]
    fn a_failing_command_is_an_error() {
        assert!(Cmd::new("true").run().is_ok());
        assert!(Cmd::new("false").run().unwrap_err().to_string().starts_with("`false` ended with exit status"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cmd::new("egret-no-such-program").run().unwrap_err();
        assert!(error.to_string().contains("`egret-no-such-program`: is it installed?"), "{error}");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let long = Cmd::new("sleep").arg("60");
        assert!(long.output_within(Duration::from_millis(50)).unwrap().is_none());
        let script = "echo out; echo err >&2; exit 3";
        let output = Cmd::new("sh").args(["-c", script]).output_within(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(3), &b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn tests_are_counted_even_if_the_program_fails() {
        let script = "echo 'test result: ok. 3 passed; 1 failed; 0 ignored'; exit 1";
        let (count, outcome) = Cmd::new("sh").args(["-c", script]).run_counting(Count::from_cargo_test);
        assert_eq!(count, Count { passed: 3, failed: 1 });
        assert!(outcome.is_err());
    }
}
