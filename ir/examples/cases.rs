//! Reference evaluation of ONNX's backend test cases: `cargo run --example cases -p egret-ir -- FOLDER [FILTER…]`.
//!
//! `FOLDER` holds one folder a case, as `cargo xtask cases` writes them: `model.onnx`, `data.json` (tolerances) and
//! `test_data_set_<k>/{input,output}_<i>.pb`. A filter is a part of a case's name; `-v` shows whole errors. Prints
//! each failure, the operators that are missing, and totals; the exit code is 1 where a case fails.
#![expect(clippy::print_stdout, reason = "an example reports on its output")]

use egret_ir::eval::{Env, Limits, evaluate};
use egret_ir::onnx::{self, data, import_file};
use egret_ir::{Class, Error, Result, Tensor, Type, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let verbose = args.iter().position(|a| a == "-v").map(|i| args.remove(i)).is_some();
    let Some(folder) = args.first() else {
        println!("usage: cases FOLDER [FILTER…] [-v]");
        return ExitCode::from(2);
    };
    let wanted = |name: &str| args.len() == 1 || args[1..].iter().any(|f| name.contains(f.as_str()));
    let mut cases: Vec<PathBuf> = list(Path::new(folder));
    cases.retain(|c| c.join("model.onnx").exists() && wanted(&name_of(c)));
    let (mut passed, mut failed) = (0, 0);
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let start = Instant::now();
        let result = std::panic::catch_unwind(|| run(case)).unwrap_or_else(|_| Err(Error::bug("it panicked")));
        let took = start.elapsed();
        if took > Duration::from_secs(2) {
            println!("slow {} {:.1} s", name_of(case), took.as_secs_f64());
        }
        match result {
            Ok(()) => passed += 1,
            Err(e) if e.message().contains("the model defines no such function") => {
                let name: String = e.message().split('`').nth(1).unwrap_or_default().to_owned();
                *missing.entry(name).or_default() += 1;
            }
            Err(e) => {
                failed += 1;
                let text = e.to_string();
                let shown = if verbose { &text } else { text.lines().next().unwrap_or_default() };
                println!("FAIL {}: {shown}", name_of(case));
            }
        }
    }
    for (op, n) in &missing {
        println!("missing {op} ({n} cases)");
    }
    println!("{passed} passed, {failed} failed, {} lack an operator", missing.values().sum::<usize>());
    ExitCode::from(u8::from(failed > 0))
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    out.sort();
    out
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A number of the case's `data.json`.
fn tolerance(case: &Path, key: &str, default: f64) -> f64 {
    let text = std::fs::read_to_string(case.join("data.json")).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    json[key].as_f64().unwrap_or(default)
}

fn run(case: &Path) -> Result<()> {
    let limits = onnx::Limits::default();
    let model = import_file(&case.join("model.onnx"), &limits)?;
    let (rtol, atol) = (tolerance(case, "rtol", 1e-3), tolerance(case, "atol", 1e-7));
    for set in list(case).iter().filter(|p| name_of(p).starts_with("test_data_set")) {
        let load = |what: &str, i: usize, ty: &Type| -> Result<Option<Value>> {
            let path = set.join(format!("{what}_{i}.pb"));
            if path.exists() { Ok(Some(data::load(&path, ty, &limits)?.1)) } else { Ok(None) }
        };
        let mut args = Vec::new();
        for (i, &v) in model.graph.inputs.iter().enumerate() {
            let given = load("input", i, model.graph.ty(v))?;
            let default = model.graph.value(v).constant.clone().map(Value::Tensor);
            args.push(given.or(default).ok_or_else(|| Error::invalid(format!("no input_{i}.pb")))?);
        }
        let deadline = Some(Instant::now() + Duration::from_secs(120));
        let env = Env::new(Limits { deadline, ..Limits::default() }, 0);
        let outputs = evaluate(&model.graph, args, &env)?;
        for (i, got) in outputs.iter().enumerate() {
            let Some(want) = load("output", i, &got.ty())? else { continue };
            if !same(got, &want, rtol, atol)? {
                return Err(Error::invalid(format!("output {i} differs: {got:?} instead of {want:?}")));
            }
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value, rtol: f64, atol: f64) -> Result<bool> {
    Ok(match (a, b) {
        (Value::Tensor(x), Value::Tensor(y)) => same_tensor(x, y, rtol, atol)?,
        (Value::Sequence(_, x), Value::Sequence(_, y)) => {
            let mut all = x.len() == y.len();
            for (x, y) in x.iter().zip(y) {
                all = all && same(x, y, rtol, atol)?;
            }
            all
        }
        (Value::Optional(_, x), Value::Optional(_, y)) => match (x, y) {
            (Some(x), Some(y)) => same(x, y, rtol, atol)?,
            (x, y) => x.is_none() && y.is_none(),
        },
        (a, b) => a == b,
    })
}

fn same_tensor(x: &Tensor, y: &Tensor, rtol: f64, atol: f64) -> Result<bool> {
    if x.dtype() != y.dtype() || x.shape() != y.shape() {
        return Ok(false);
    }
    let near = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= atol + rtol * b.abs();
    Ok(match x.dtype().class() {
        Class::Float => x.floats()?.into_iter().zip(y.floats()?).all(|(a, b)| near(a, b)),
        Class::Complex => x.complexes()?.into_iter().zip(y.complexes()?).all(|(a, b)| near(a.0, b.0) && near(a.1, b.1)),
        _ => x == y,
    })
}
