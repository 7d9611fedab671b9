//! Memcheck and sanitizers as oracles: a program that reads behind its block is found, and only where one watches it.

use egret_fuzz::check::{Failure, Kind, System};
use egret_fuzz::generate::Case;
use egret_fuzz::memcheck::Memcheck;
use egret_fuzz::runtime::{PROGRAM, Runtime};
use egret_ir::{DType, GraphBuilder, Tensor, Type, Value, attrs};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What comes of a graph that gives its argument back, checked several times in one process.
fn checked(worker: &Path, how: &str, memcheck: Option<Memcheck>) -> Vec<Option<Failure>> {
    let name = format!("{PROGRAM}{} {how}", worker.display());
    let mut runtime = match memcheck {
        Some(memcheck) => Runtime::start_watched(memcheck, &name, Path::new("")).unwrap(),
        None => Runtime::start(&name, Path::new("")).unwrap(),
    };
    let mut b = GraphBuilder::new("t");
    let x = b.input("x", Type::tensor(DType::F32, &[3]));
    let y = b.op("Identity", attrs! {}, &[x]).unwrap();
    let value = Value::from(Tensor::from_slice(&[3], &[1.0f32, 2.0, 3.0]));
    let (inputs, outputs) = (vec![value.clone()], vec![value]);
    let case = Case { graph: b.finish(&[y]), inputs, outputs, ..Case::default() };
    (0..4).map(|_| runtime.check(&case).unwrap()).collect()
}

/// The worker, compiled into `folder`; none where the compiler does not take the options.
fn compile(folder: &Path, options: &[&str]) -> Option<PathBuf> {
    let worker = folder.join("worker");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/memcheck/worker.c");
    let status = Command::new("cc").args(options).args(["-g", "-o"]).arg(&worker).arg(source).status().unwrap();
    status.success().then_some(worker)
}

#[test]
fn a_read_behind_a_block_is_found_in_memcheck_alone_and_each_time() {
    if let Err(why) = Memcheck::available() {
        eprintln!("skipped: {why:#}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let worker = compile(folder.path(), &[]).unwrap();

    let found = checked(&worker, "behind", Some(Memcheck::Addresses));
    // Memcheck shows it once; it is there at each odd load.
    let kinds: Vec<_> = found.iter().map(|f| f.as_ref().map(|f| f.kind)).collect();
    assert_eq!(kinds, [Some(Kind::Memory), None, Some(Kind::Memory), None]);
    let failure = found[0].as_ref().unwrap();
    assert!(failure.text.starts_with("Invalid read of size 1 at read_to < main; 0 bytes after a block"), "{failure:?}");
    assert!(failure.text.ends_with("alloc'd in take < main"), "{failure:?}");
    let cause = failure.cause(&egret_ir::Graph::new("any"));
    assert!(cause.ends_with(" | memory | Invalid read at read_to < main"), "{cause}");

    assert!(checked(&worker, "behind", None).iter().all(Option::is_none));
    assert!(checked(&worker, "well", Some(Memcheck::Undefined)).iter().all(Option::is_none));
}

#[test]
fn a_program_that_a_sanitizer_ends_has_its_summary_for_a_cause() {
    let folder = tempfile::tempdir().unwrap();
    let Some(worker) = compile(folder.path(), &["-fsanitize=address"]) else {
        eprintln!("skipped: this `cc` has no AddressSanitizer");
        return;
    };
    let found = checked(&worker, "behind", None);
    let failure = found[0].as_ref().unwrap();
    assert_eq!(failure.kind, Kind::Crash);
    let cause = failure.cause(&egret_ir::Graph::new("any"));
    assert!(
        cause.contains(" | crash | AddressSanitizer: heap-buffer-overflow") && cause.ends_with(" in read_to"),
        "{cause}"
    );
}
