//! Valgrind's memcheck around a worker process: reads and writes outside of heap blocks, frees of what is none, copies of which
//! source and destination overlap.
//!
//! It needs no other build of what it watches: a runtime that comes as a binary is checked, and so is machine code that was made
//! a moment before. Memcheck shows an error once, however often it occurs, so its log cannot say whether the case at hand, or
//! a smaller one, has it. What can is Valgrind's own server, which counts occurrences by context: `vgdb` asks it after each
//! case, and what was counted before the first case is nobody's fault.
//!
//! What it does not see: accesses within one heap block (a pool from which a program hands out memory by itself is one), on
//! the stack and in globals. So the workers ask runtimes for no pools.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What memcheck looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memcheck {
    /// Accesses outside of what was allocated.
    #[default]
    Addresses,
    /// Also decisions, addresses and bytes of files that hang on memory which nobody wrote.
    Undefined,
}

/// How many times longer than by itself a program may take: 20 to 50 times is usual by Valgrind's manual (section 2.1), of which
/// the limits, which are generous, cover a part.
pub const SLOWNESS: u32 = 15;

/// What tells a worker that it is watched: it then asks its runtime for no pools of memory.
const WATCHED: &str = "EGRET_MEMCHECK=1";

/// How long Valgrind may take to say what it counted.
const TIME: Duration = Duration::from_secs(60);

/// Frames of a stack that are kept: from a kernel through an interpreter's calls to where it was entered.
const FRAMES: usize = 40;

/// Frames that say where an error is.
const PLACE: usize = 3;

impl Memcheck {
    /// The one that is called so: `addresses`, `undefined`.
    pub fn named(name: &str) -> Option<Memcheck> {
        match name {
            "addresses" => Some(Memcheck::Addresses),
            "undefined" => Some(Memcheck::Undefined),
            _ => None,
        }
    }

    /// The one that shows an error again, by its text.
    pub fn that_shows(text: &str) -> Memcheck {
        if text.contains("ninitialised") { Memcheck::Undefined } else { Memcheck::Addresses }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Memcheck::Addresses => "addresses",
            Memcheck::Undefined => "undefined",
        }
    }

    /// Whether the programs that it needs are there.
    ///
    /// # Errors
    /// When one is not; it says which package has them.
    pub fn available() -> Result<()> {
        for program in ["valgrind", "vgdb"] {
            let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            match started {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    bail!("memcheck needs `{program}` (Debian and Ubuntu: apt-get install valgrind)")
                }
                Err(e) => return Err(e).with_context(|| format!("cannot start `{program}`")),
            }
        }
        Ok(())
    }

    /// The command that runs `program` in memcheck, whose log and pipes lie in `folder`. More options, suppressions among
    /// them, are in the variable `VALGRIND_OPTS`, which Valgrind reads by itself.
    pub(crate) fn around(self, program: &[String], folder: &Path) -> Vec<String> {
        let undefined = if self == Memcheck::Undefined { "yes" } else { "no" };
        // Python's own pools hide what lies in them.
        let fixed = ["env", "PYTHONMALLOC=malloc", WATCHED, "valgrind", "--tool=memcheck", "--leak-check=no", "-s"];
        let options = [
            format!("--undef-value-errors={undefined}"),
            "--error-limit=no".to_owned(),
            // C++ that frees what C allocated reads and writes nothing that it should not.
            "--show-mismatched-frees=no".to_owned(),
            format!("--num-callers={FRAMES}"),
            format!("--log-file={}", log(folder).display()),
            format!("--vgdb-prefix={}", pipes(folder).display()),
        ];
        fixed.into_iter().map(str::to_owned).chain(options).chain(program.iter().cloned()).collect()
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("memcheck.log")
}

fn pipes(folder: &Path) -> PathBuf {
    folder.join("vgdb")
}

/// What memcheck has counted in a process.
pub(crate) struct Watch {
    process: u32,
    folder: PathBuf,
    undefined: bool,
    /// How often each error was there, by its stack.
    counted: BTreeMap<String, u64>,
    objects: Objects,
}

impl Watch {
    /// Of a process that has started up: what is counted by now does not count.
    ///
    /// # Errors
    /// When Valgrind does not say what it counted.
    pub(crate) fn start(memcheck: Memcheck, process: u32, folder: &Path) -> Result<Watch> {
        let mut watch = Watch {
            process,
            folder: folder.to_owned(),
            undefined: memcheck == Memcheck::Undefined,
            counted: BTreeMap::new(),
            objects: Objects::default(),
        };
        watch.counted = watch.errors()?.iter().map(|e| (e.key(), e.count)).collect();
        Ok(watch)
    }

    /// The first error that has occurred since it was last asked and is the runtime's, in words.
    ///
    /// # Errors
    /// When Valgrind does not say what it counted.
    pub(crate) fn news(&mut self) -> Result<Option<String>> {
        let errors = self.errors()?;
        let risen = |e: &&Report| self.counted.get(&e.key()).is_none_or(|before| e.count > *before);
        let fresh: Vec<Report> = errors.iter().filter(risen).cloned().collect();
        self.counted = errors.iter().map(|e| (e.key(), e.count)).collect();
        if fresh.is_empty() {
            return Ok(None);
        }
        self.objects = Objects::of(self.process)?;
        Ok(fresh.iter().find(|e| e.is_the_runtimes(&self.objects, self.undefined)).map(|e| e.text(&self.objects)))
    }

    /// What memcheck said last of a process that died, if it said anything of its memory.
    pub(crate) fn last_words(&self) -> Option<String> {
        let said = std::fs::read_to_string(log(&self.folder)).ok()?;
        let before = said.split("Process terminating").next().unwrap_or(&said);
        let blocks = plain(before);
        let errors = blocks.split("\n\n").filter_map(Report::read);
        errors.last().map(|e| e.text(&self.objects))
    }

    fn errors(&self) -> Result<Vec<Report>> {
        let said = self.ask("v.info all_errors")?;
        let (errors, ended) = contexts(&said);
        ensure!(ended, "memcheck does not say what it counted, but: {said}");
        Ok(errors)
    }

    /// What Valgrind's server answers.
    fn ask(&self, command: &str) -> Result<String> {
        let mut vgdb = Command::new("vgdb")
            .args([format!("--vgdb-prefix={}", pipes(&self.folder).display()), format!("--pid={}", self.process)])
            .args(command.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start `vgdb`")?;
        let reader = |pipe: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What came until it broke is shown.
                let _ = pipe.map(|mut p| p.read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = reader(vgdb.stdout.take().map(|p| Box::new(p) as _));
        let stderr = reader(vgdb.stderr.take().map(|p| Box::new(p) as _));
        let deadline = Instant::now() + TIME;
        let status = loop {
            match vgdb.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => {
                    let _ = vgdb.kill();
                    let _ = vgdb.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let (said, complaint) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        match status {
            Some(status) if status.success() => Ok(said),
            Some(status) => bail!("`vgdb` cannot ask Valgrind (it needs ptrace): {status}: {}", complaint.trim()),
            None => bail!("`vgdb` cannot ask Valgrind (it needs ptrace): no answer in {} s", TIME.as_secs()),
        }
    }
}

/// Lines without `==PID== ` in front.
fn plain(said: &str) -> String {
    let line = |line: &str| {
        let rest =
            line.strip_prefix("==").and_then(|l| l.split_once("== ")).filter(|(pid, _)| pid.parse::<u32>().is_ok());
        let line = rest.map_or(line, |(_, rest)| rest).trim_end();
        // A line that is blank but for the number.
        let blank =
            line.strip_prefix("==").and_then(|l| l.strip_suffix("==")).is_some_and(|pid| pid.parse::<u32>().is_ok());
        format!("{}\n", if blank { "" } else { line })
    };
    said.lines().map(line).collect()
}

/// The errors of an answer to `v.info all_errors`, and whether it is a whole one.
fn contexts(said: &str) -> (Vec<Report>, bool) {
    let said = plain(said);
    let ended = said.lines().any(|l| l.starts_with("ERROR SUMMARY: "));
    let mut errors = Vec::new();
    for block in said.split("\n\n") {
        // `2 errors in context 1 of 1:`, then the error.
        let Some((head, error)) = block.trim_start().split_once('\n') else { continue };
        let Some(count) = head.split_once(" errors in context ").and_then(|(n, _)| n.replace(',', "").parse().ok())
        else {
            continue;
        };
        errors.extend(Report::read(error).map(|e| Report { count, ..e }));
    }
    (errors, ended)
}

/// An error as memcheck shows it.
#[derive(Clone, Debug, PartialEq)]
struct Report {
    count: u64,
    /// `Invalid read of size 4`.
    what: String,
    stack: Vec<Frame>,
    /// `Address 0x4a40068 is 0 bytes after a block of size 40 alloc'd`, and by whom.
    about: Option<(String, Vec<Frame>)>,
}

/// A call that was under way.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    at: u64,
    /// None where no symbol says it.
    function: Option<String>,
}

impl Frame {
    /// `   by 0x10917D: main (t.c:4)`.
    fn read(line: &str) -> Option<Frame> {
        let line = line.trim_start();
        let (at, name) = line.strip_prefix("at 0x").or_else(|| line.strip_prefix("by 0x"))?.split_once(": ")?;
        // Behind the name its file follows in brackets; names of C++ have brackets of their own.
        let name = name.rsplit_once(" (").map_or(name, |(name, _)| name);
        let function = (name != "???").then(|| name.to_owned());
        Some(Frame { at: u64::from_str_radix(at, 16).ok()?, function })
    }

    /// A function's name, or a place in a file, or that it is machine code in neither.
    fn name(&self, objects: &Objects) -> String {
        match (&self.function, objects.find(self.at)) {
            (Some(function), _) => short(function),
            (None, Some((object, offset))) => format!("{}+{offset:#x}", file_name(object)),
            (None, None) => MACHINE_CODE.to_owned(),
        }
    }
}

/// What is said of bytes that go to a file and were never defined: of a result.
const WRITTEN: &str = "Syscall param write(buf)";

/// What is said of a frame that lies in no file.
const MACHINE_CODE: &str = "machine code";

/// A name of C++ or Rust without what fills lines: types in brackets, the hash.
fn short(function: &str) -> String {
    let mut depth = 0i32;
    let mut out = String::new();
    for c in function.chars() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    let out = out.trim();
    match out.is_empty() || depth != 0 {
        true => function.to_owned(),
        false => out.to_owned(),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Report {
    /// A block of text without process numbers.
    fn read(text: &str) -> Option<Report> {
        let mut lines = text.lines().skip_while(|l| l.trim().is_empty());
        let mut what = lines.next()?.trim().to_owned();
        let (mut stack, mut about) = (Vec::new(), None::<(String, Vec<Frame>)>);
        for line in lines {
            match (Frame::read(line), &mut about) {
                (Some(frame), Some((_, block))) => block.push(frame),
                (Some(frame), None) => stack.push(frame),
                (None, None) if stack.is_empty() => what = format!("{what} {}", line.trim()),
                (None, None) => about = Some((line.trim().to_owned(), Vec::new())),
                // Who freed and who allocated a block: the first is enough.
                (None, Some(_)) => break,
            }
        }
        (!stack.is_empty()).then_some(Report { count: 1, what, stack, about })
    }

    /// Errors of one context are one.
    fn key(&self) -> String {
        let at: Vec<String> = self.stack.iter().map(|f| format!("{:x}", f.at)).collect();
        format!("{} {}", kind(&self.what), at.join(" "))
    }

    /// Whether it is a memory error and any code but that of the system's libraries, of Python and of what the worker itself
    /// reads and writes arrays with takes part in it; of what is written to a file without having been defined, anybody.
    fn is_the_runtimes(&self, objects: &Objects, undefined: bool) -> bool {
        let written = undefined && self.what.starts_with(WRITTEN);
        let fishy = self.what.starts_with("Argument ");
        written || !fishy && self.stack.iter().any(|f| !objects.find(f.at).is_some_and(|(o, _)| is_innocent(o)))
    }

    /// In one line: what, where, and of which block; [`place`] cuts it.
    fn text(&self, objects: &Objects) -> String {
        let place = |stack: &[Frame]| {
            let of_system = |f: &&Frame| objects.find(f.at).is_none_or(|(o, _)| !is_system(o));
            let mut names: Vec<String> = Vec::new();
            // A library's copy or its allocation is called from where the error is.
            for f in stack.iter().filter(of_system) {
                let name = f.name(objects);
                if names.last() != Some(&name) {
                    names.push(name);
                }
            }
            names.truncate(PLACE);
            names.join(" < ")
        };
        let about = self.about.as_ref().map_or(String::new(), |(about, stack)| {
            // The address is another in each run.
            let about = about.split_once(" is ").filter(|(a, _)| a.starts_with("Address")).map_or(&**about, |(_, b)| b);
            let by = if stack.is_empty() { String::new() } else { format!(" in {}", place(stack)) };
            format!("; {about}{by}")
        });
        format!("{} at {}{about}", kind_of_size(&self.what), place(&self.stack))
    }
}

/// Without addresses and sizes of operands: `Source and destination overlap in memcpy(0x1, 0x2, 5)`.
fn kind_of_size(what: &str) -> &str {
    what.split_once("(0x").map_or(what, |(kind, _)| kind)
}

/// The same without the size of the access.
fn kind(what: &str) -> &str {
    let what = kind_of_size(what);
    what.split_once(" of size ").map_or(what, |(kind, _)| kind)
}

/// The part of an error's text that failures of one cause share, and whether it says where that cause is: code of no file is any
/// kernel, and what writes a file has not left out what it writes.
pub(crate) fn place(text: &str) -> (String, bool) {
    if text.starts_with(WRITTEN) {
        return (WRITTEN.to_owned(), false);
    }
    let (what, place) = text.split(';').next().unwrap_or(text).split_once(" at ").unwrap_or((text, ""));
    (format!("{} at {place}", kind(what)), !place.starts_with(MACHINE_CODE))
}

/// Whether a file is the system's: its functions are called from where an error is.
fn is_system(object: &str) -> bool {
    let starts = [
        "ld-linux",
        "libc.so",
        "libc-",
        "libm.so",
        "libpthread",
        "libdl.so",
        "libgcc_s",
        "libstdc++",
        "vgpreload_",
        "memcheck-",
    ];
    starts.iter().any(|s| file_name(object).starts_with(s)) || object == "[vdso]"
}

/// Whether a file is the system's, Python's, or of a package that the worker reads and writes arrays with.
fn is_innocent(object: &str) -> bool {
    let python = ["python", "libpython"].iter().any(|s| file_name(object).starts_with(s));
    let packages = ["/numpy/", "/numpy.libs/", "/onnx/", "/google/", "/ml_dtypes/", "/lib-dynload/"];
    python || is_system(object) || packages.iter().any(|p| object.contains(p))
}

/// Files that a process has mapped, by address.
#[derive(Default)]
struct Objects {
    maps: Vec<(Range<u64>, String)>,
}

impl Objects {
    fn of(process: u32) -> Result<Objects> {
        let path = format!("/proc/{process}/maps");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        Ok(Objects { maps: text.lines().filter_map(mapped).collect() })
    }

    /// The file at an address, and how far behind its beginning that is.
    fn find(&self, at: u64) -> Option<(&str, u64)> {
        let (_, object) = self.maps.iter().find(|(range, _)| range.contains(&at))?;
        let base = self.maps.iter().filter(|(_, o)| o == object).map(|(range, _)| range.start).min()?;
        Some((object, at - base))
    }
}

/// `7f00-7f20 r-xp 00002000 fe:00 1234   /usr/lib/x.so`; none where no file is named.
fn mapped(line: &str) -> Option<(Range<u64>, String)> {
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let name = fields.skip(4).collect::<Vec<_>>().join(" ");
    let number = |text| u64::from_str_radix(text, 16).ok();
    (!name.is_empty()).then_some((number(from)?..number(to)?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "==7== ERROR SUMMARY: 3 errors from 2 contexts (suppressed: 0 from 0)
==7== 
==7== 1 errors in context 1 of 2:
==7== Source and destination overlap in memcpy(0x5000, 0x5004, 8)
==7==    at 0x7010: memcpy (in /usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so)
==7==    by 0x9010: ??? (in /usr/bin/python3.11)
==7== 
==7== 
==7== 2 errors in context 2 of 2:
==7== Invalid read of size 4
==7==    at 0x7010: memcpy (in /usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so)
==7==    by 0x4030: ??? (in /x/librt.so)
==7==    by 0x4050: std::vector<int>::at(unsigned long) (v.h:3)
==7==    by 0x9010: ??? (in /usr/bin/python3.11)
 Address 0x4a40068 is 0 bytes after a block of size 40 alloc'd
==7==    at 0x7020: malloc (in /usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so)
==7==    by 0x1: ???
==7== 
==7== ERROR SUMMARY: 3 errors from 2 contexts (suppressed: 0 from 0)
";

    fn objects() -> Objects {
        let maps = "4000-4040 r--p 0 fe:00 1 /x/librt.so\n4040-5000 r-xp 0 fe:00 1 /x/librt.so\n5000-6000 rw-p 0 0 0\n\
                    7000-8000 r-xp 0 fe:00 1 /usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so\n\
                    9000-a000 r-xp 0 fe:00 1 /usr/bin/python3.11";
        Objects { maps: maps.lines().filter_map(mapped).collect() }
    }

    #[test]
    fn errors_are_read_and_those_of_python_alone_are_not_the_runtimes() {
        let (errors, ended) = contexts(SAID);
        assert!(ended && errors.len() == 2, "{errors:?}");
        assert_eq!(errors.iter().map(|e| e.count).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(errors.iter().map(|e| e.is_the_runtimes(&objects(), false)).collect::<Vec<_>>(), [false, true]);
        let text = errors[1].text(&objects());
        let about = "0 bytes after a block of size 40 alloc'd in machine code";
        assert_eq!(
            text,
            format!("Invalid read of size 4 at librt.so+0x30 < std::vector::at < python3.11+0x10; {about}")
        );
        assert_eq!(place(&text).0, "Invalid read at librt.so+0x30 < std::vector::at < python3.11+0x10");
        assert!(!contexts("").1);
    }

    #[test]
    fn code_of_no_file_is_no_place() {
        assert!(!place("Invalid write of size 32 at machine code < f; 0 bytes after").1);
        assert!(place("Invalid write of size 32 at f < machine code").1);
        let result = "Syscall param write(buf) points to uninitialised byte(s) at _Py_write; 7 bytes inside a block";
        assert_eq!(place(result), (WRITTEN.to_owned(), false));
    }
}
