//! What needs PyTorch, which is a large download and no part of the test command:
//! `cargo xtask runtime torch torch`, then `cargo test -p egret-fuzz --features z3 --test torch -- --ignored`.

use egret_fuzz::blackbox::BlackBox;
use egret_fuzz::check::System;
use egret_fuzz::choices::Seeded;
use egret_fuzz::generate::{Config, Generator};
use egret_fuzz::runtime::Runtime;
use egret_fuzz::trace::{Outcome, Record, read, trace_script};
use std::path::PathBuf;

fn python() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/runtimes/torch/bin/python"))
}

const SCRIPT: &str = r"
import sys, torch
import torch.nn.functional as F
assert sys.argv[1:] == ['--n', '2'] and __name__ == '__main__'
x = torch.zeros(1, 2, 8, 8)
F.conv2d(x, torch.zeros(4, 2, 3, 3), stride=2)
F.max_pool2d(x, 2, ceil_mode=True)
torch.cat([x, x], 1)
x.view(-1, 4).sum(1, keepdim=True)
torch.einsum('abcd->dcba', x)
torch.gather(x[0, 0], 1, torch.zeros(1, 1, dtype=torch.int64))
torch.vmap(lambda a: a + 1)(x)
torch.fft.fft(x)
try:
    torch.cat([x, torch.zeros(2)])
except RuntimeError:
    pass
sys.exit(3)
";

#[test]
#[ignore = "needs target/runtimes/torch"]
fn a_script_is_recorded_and_keeps_its_arguments_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (script, out) = (folder.path().join("script.py"), folder.path().join("records.jsonl"));
    std::fs::write(&script, SCRIPT).unwrap();
    let status = trace_script(&python(), &script, &["--n", "2"], &out, 100).unwrap();
    assert_eq!(status.code(), Some(3));
    let records = read(&std::fs::read_to_string(out).unwrap()).unwrap();
    let of = |op: &str| -> Vec<&Record> { records.iter().filter(|r| r.call.op == op).collect() };
    assert_eq!(of("torch.nn.functional.conv2d")[0].call.operands, ["input", "weight"]);
    assert!(of("torch.nn.functional.conv2d")[0].defaults.contains_key("padding"));
    assert!(of("torch.nn.functional.max_pool2d")[0].flags.contains(&"ceil_mode".to_owned()));
    assert_eq!(of("torch.einsum")[0].call.operands, ["operands.0"]);
    assert_eq!(of("torch.Tensor.view").len(), 1);
    let cat: Vec<bool> = of("torch.cat").iter().map(|r| matches!(r.outcome, Outcome::Valid(_))).collect();
    assert_eq!(cat, [true, false]);
}

#[test]
#[ignore = "needs target/runtimes/torch"]
fn recorded_calls_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (script, out) =
        (PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch/functions.py")), folder.path().join("r"));
    let none: [&str; 0] = [];
    assert!(trace_script(&python(), &script, &none, &out, 100).unwrap().success());
    let records = read(&std::fs::read_to_string(out).unwrap()).unwrap();
    assert!(records.len() > 60, "{}", records.len());
    let mut torch = Runtime::start("torch", &python()).unwrap();
    for r in records {
        assert_eq!(torch.call(&r.call), r.outcome, "{:?}", r.call);
    }
}

#[test]
#[ignore = "needs target/runtimes/torch"]
fn generated_graphs_agree_with_torch() {
    let mut torch = Runtime::start("torch", &python()).unwrap();
    let only = ["Add", "Conv", "Gather", "MatMul", "MaxPool", "Pad", "ReduceSum", "Reshape", "Softmax", "Transpose"];
    let only = only.map(String::from).into();
    let mut generator = Generator::new(Config { only, stated: true, ..Config::default() });
    for k in 0..60 {
        let case = generator.generate(&mut Seeded::new(5, k)).unwrap();
        let failure = torch.check(&case).unwrap();
        assert!(failure.is_none(), "graph {k}: {failure:?}");
    }
    assert!(torch.untaken().unsupported < 30, "{:?}", torch.untaken());
}
