//! Runs `tests/files/<command>/*.gir`; see [`egret_ir::filetest`] for what a file may say.
//!
//! `BLESS=1 cargo test --test filetests` writes what a command prints into the files that have an `// expect:` line: read
//! the difference before it is committed.

use egret_ir::filetest::{Runner, check, reference, split_expected};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a readable folder").path()).collect();
    paths.sort();
    paths
}

#[test]
fn files_hold() {
    let runner = Runner { engines: &[("reference", &reference)], commands: &[] };
    let bless = env::var_os("BLESS").is_some();
    let (mut failures, mut count) = (String::new(), 0);
    for folder in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")) {
        let command = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        for path in files(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "gir")) {
            count += 1;
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let outcome = check(&text, &command, &runner);
            let printed = outcome.printed.trim();
            if bless && outcome.expected.as_ref().is_some_and(|e| e.trim() != printed) {
                let (source, _) = split_expected(&text);
                let blessed = format!("{source}// expect:\n{printed}\n");
                fs::write(&path, blessed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                continue;
            }
            if outcome.checked == 0 {
                writeln!(failures, "{}: nothing is checked", path.display()).expect("writing to a string never fails");
            }
            for f in &outcome.failures {
                writeln!(failures, "{}: {f}", path.display()).expect("writing to a string never fails");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(count >= 12, "only {count} files were found");
}
