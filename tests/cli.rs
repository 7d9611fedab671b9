//! The program from outside: what it prints, writes and returns.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn digits() -> String {
    models().join("digits.onnx").display().to_string()
}

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the target folder is writable");
    path
}

fn egret(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egret")).args(args).output().expect("egret starts")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

/// Standard output of a command that must succeed.
fn ok(args: &[&str]) -> String {
    let output = egret(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    text(&output)
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(args)).expect("--json prints JSON")
}

/// Exit code and standard error of a command that must fail.
fn fails(args: &[&str]) -> (i32, String) {
    let output = egret(args);
    (output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_sample_image_is_recognised_at_every_level() {
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(models().join("expected.json")).unwrap()).unwrap();
    let samples = expected["samples"].as_object().unwrap();
    assert_eq!(samples.len(), 10);
    for (file, sample) in samples {
        let input = format!("image={}", models().join(file).display());
        for level in ["reference", "interpret", "baseline-without-fma", "baseline", "native"] {
            let shown = json(&["run", &digits(), "--input", &input, "--level", level, "--json", "--elements", "10"]);
            let got = shown["outputs"][0]["value"]["elements"].as_array().unwrap();
            for (g, w) in got.iter().zip(sample["probabilities"].as_array().unwrap()) {
                let (g, w) = (g.as_f64().unwrap(), w.as_f64().unwrap());
                assert!((g - w).abs() < 1e-5, "{file} at {level}: {g} instead of {w}");
            }
        }
        // The first line of the table is the most probable class: the file's name.
        let shown = ok(&["run", &digits(), "--input", &input]);
        let first = shown.lines().skip_while(|l| *l != "probabilities").nth(1).unwrap();
        assert!(
            first.contains(&sample["digit"].to_string()) || first.contains(file.trim_end_matches(".png")),
            "{first}"
        );
        assert!(first.contains('█'));
        assert!(shown.contains("native kernel") && shown.contains("time per run"), "{shown}");
    }
}

#[test]
fn outputs_are_written_and_read_back() {
    let dir = folder("outputs");
    let (npy, pb, npz) = (dir.join("y.npy"), dir.join("y.pb"), dir.join("all.npz"));
    let (npy, pb, npz) = (npy.display().to_string(), pb.display().to_string(), npz.display().to_string());
    let (to_npy, to_pb) = (format!("probabilities={npy}"), format!("probabilities={pb}"));
    ok(&["run", &digits(), "--dim", "n=3", "--output", &to_npy, "--output", &to_pb, "--output", &npz]);
    let bytes = std::fs::read(&npy).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.len() == 128 + 3 * 10 * 4);
    assert!(std::fs::read(&npz).unwrap().starts_with(b"PK"));
    assert!(Path::new(&pb).is_file());
    // What was written is read again.
    let (picture, again) = (dir.join("seven.png").display().to_string(), dir.join("again.npy").display().to_string());
    let seven = format!("image={}", models().join("seven.png").display());
    ok(&["run", &digits(), "--input", &seven, "--want", "image", "--output", &format!("image={picture}")]);
    let run =
        |input: &str| json(&["run", &digits(), "--input", input, "--json", "--elements", "10"])["outputs"].clone();
    assert_eq!(run(&format!("image={picture}")), run(&seven));
    ok(&["run", &digits(), "--input", &seven, "--want", "image", "--output", &format!("image={again}")]);
    assert_eq!(run(&format!("image={again}")), run(&seven));
}

#[test]
fn values_from_the_middle_are_shown() {
    let shown = json(&["inspect", &digits(), "--json"]);
    let name = shown["nodes"][1]["outputs"][0]["name"].as_str().unwrap().to_owned();
    let values = json(&["run", &digits(), "--want", &name, "--level", "reference", "--json"]);
    assert_eq!(values["outputs"][1]["name"], name.as_str());
    // Constants, and values that compiled code has no place for, are shown as well.
    for node in shown["nodes"].as_array().unwrap() {
        let name = node["outputs"][0]["name"].as_str().unwrap();
        assert_eq!(json(&["run", &digits(), "--want", name, "--json"])["outputs"][1]["name"], name);
    }
    let (code, error) = fails(&["run", &digits(), "--want", "nonsense"]);
    assert_eq!(code, 2);
    assert!(error.contains("no value \"nonsense\""), "{error}");
}

#[test]
fn inspect_counts_what_the_models_page_says() {
    let shown = json(&["inspect", &digits(), "--json"]);
    assert_eq!(shown["parameters"].as_u64().unwrap() / 10, 3828, "38,282 weights and perhaps shape constants");
    assert_eq!(shown["operators"]["Conv"], 2);
    // 3x3 from 1 to 16 and from 16 to 32 channels on 8x8 pixels, then 512 -> 64 -> 10.
    assert_eq!(shown["multiply_adds"], 64 * 9 * 16 + 64 * 9 * 16 * 32 + 512 * 64 + 64 * 10);
    let planned = ok(&["inspect", &digits(), "--stage", "planned"]);
    assert!(planned.contains("working memory"), "{planned}");
    assert!(ok(&["inspect", &digits(), "--format", "dot"]).contains("digraph"));
    assert!(ok(&["inspect", &digits(), "--format", "text"]).contains("conv"));
    let graph: Value = serde_json::from_str(&ok(&["inspect", &digits(), "--format", "json"])).unwrap();
    assert!(graph.is_object());
}

#[test]
fn inspect_shows_every_stage_and_what_it_changes() {
    let stages = json(&["inspect", &digits(), "--each", "--json"]);
    let names: Vec<&str> = stages.as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("imported", "planned"));
    for stage in &names {
        let shown = ok(&["inspect", &digits(), "--stage", stage, "--format", "text"]);
        assert!(shown.starts_with("graph @"), "{stage}: {shown}");
    }
    let planned = json(&["inspect", &digits(), "--stage", "planned", "--json"]);
    assert!(planned["plan"]["arena_bytes"].as_u64().unwrap() > 0 && planned["plan"]["not_run"].is_null(), "{planned}");
    assert!(planned["plan"]["native_kernels"].as_u64().unwrap() > 0);
    let (code, error) = fails(&["inspect", &digits(), "--stage", "half-way"]);
    assert!(code == 2 && error.contains("the stages are imported, "), "{error}");
}

#[test]
fn check_agrees_at_every_stage() {
    let shown = ok(&["check", &digits()]);
    assert!(shown.lines().count() >= 2 && shown.lines().all(|l| l.contains("agrees")), "{shown}");
    let stages = json(&["check", &digits(), "--json"]);
    let stages = stages.as_array().unwrap();
    let widest = [egret::Level::Avx512, egret::Level::Avx2, egret::Level::Baseline].into_iter().find(|l| l.is_here());
    assert_eq!(stages.last().unwrap()["stage"], widest.unwrap().name());
    assert!(stages.iter().all(|s| s["agrees"] == true && s["values"].as_u64().unwrap() > 0));
}

#[test]
fn check_compares_with_onnx_runtime() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no .venv, which `cargo xtask setup` makes");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_egret"))
        .args(["check", &digits(), "--ort"])
        .env("EGRET_PYTHON", python)
        .output()
        .expect("egret starts");
    let shown = text(&output);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.lines().next().is_some_and(|l| l.starts_with("ort | reference") && l.contains("agrees: 10 values")));
}

#[test]
fn a_converted_model_is_the_same_and_another_is_not() {
    let dir = folder("convert");
    let copy = dir.join("copy.onnx").display().to_string();
    ok(&["convert", &digits(), &copy]);
    let shown = ok(&["diff", &digits(), &copy]);
    assert!(shown.starts_with("structure: the same\n") && shown.contains("agrees"), "{shown}");
    let optimised = dir.join("optimised.onnx").display().to_string();
    ok(&["convert", &digits(), &optimised, "--stage", "optimised"]);
    ok(&["diff", &digits(), &optimised, "--structure-may-differ"]);
    let fold = dir.join("fold.onnx").display().to_string();
    assert_eq!(json(&["convert", &digits(), &fold, "--stage", "fold", "--json"])["stage"], "fold");
    ok(&["diff", &digits(), &fold, "--structure-may-differ", "--json"]);
    assert_eq!(fails(&["convert", &digits(), "x.txt"]).0, 2);
    assert_eq!(fails(&["convert", &digits(), &copy, "--stage", "planned"]).0, 2);
}

#[test]
fn bench_measures_and_traces() {
    let trace = folder("bench").join("trace.json");
    let path = trace.display().to_string();
    let shown = json(&["bench", &digits(), "--seconds", "0.05", "--json", "--trace", &path]);
    assert!(shown["runs"].as_u64().unwrap() >= 3);
    assert!(shown["min_ms"].as_f64().unwrap() <= shown["median_ms"].as_f64().unwrap());
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(trace).unwrap()).unwrap();
    assert!(!trace["traceEvents"].as_array().unwrap().is_empty());
    assert!(ok(&["bench", &digits(), "--seconds", "0.05", "--profile"]).contains("(between steps)"));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let dir = folder("exit");
    let bad = dir.join("bad.onnx");
    std::fs::write(&bad, "not a model").unwrap();
    let (code, error) = fails(&["run", &bad.display().to_string()]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("no ONNX model") && error.contains("bad.onnx"), "{error}");
    let output = egret(&["run", &bad.display().to_string(), "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("failures are JSON too");
    assert_eq!(said["exit_code"], 3);
    assert_eq!(fails(&["run"]).0, 2);
    assert_eq!(fails(&["run", &digits(), "--input", "image=x.tiff"]).0, 2);
    assert_eq!(fails(&["run", &digits(), "--input", "picture=random:1"]).0, 2);
    assert_eq!(fails(&["run", &digits(), "--dim", "n=1000000", "--max-value-mib", "1", "--level", "reference"]).0, 5);
}

/// A case of the digits model: the image of a seven, and what the model says of `image`.
fn case(dir: &Path, name: &str, image: &str) {
    let set = dir.join(name).join("test_data_set_0");
    std::fs::create_dir_all(&set).unwrap();
    std::fs::copy(models().join("digits.onnx"), dir.join(name).join("model.onnx")).unwrap();
    let run = |picture: &str, output: String| {
        let input = format!("image={}", models().join(picture).display());
        ok(&["run", &digits(), "--input", &input, "--want", "image", "--output", &output, "--level", "reference"]);
    };
    run(image, format!("probabilities={}", set.join("output_0.pb").display()));
    run("seven.png", format!("image={}", set.join("input_0.pb").display()));
}

#[test]
fn conform_judges_cases_and_keeps_its_manifest_true() {
    let dir = folder("conform");
    case(&dir, "right", "seven.png");
    case(&dir, "wrong", "two.png");
    let root = dir.display().to_string();
    let output = egret(&["conform", &root, "--level", "reference,native"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    assert!(shown.ends_with("1 passed, 1 failed, 0 skipped\n"), "{shown}");
    assert!(shown.contains("wrong values"), "{shown}");

    let manifest = dir.join("manifest.txt");
    let path = manifest.display().to_string();
    std::fs::write(&manifest, "wrong\tanother picture\n").unwrap();
    let shown = ok(&["conform", &root, "--manifest", &path]);
    assert!(shown.ends_with("1 passed, 0 failed, 1 skipped\n"), "{shown}");
    std::fs::write(&manifest, "right\tit passes\nwrong\tanother picture\n").unwrap();
    let output = egret(&["conform", &root, "--manifest", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).ends_with("0 passed, 1 failed, 1 skipped\n"), "{}", text(&output));
    assert_eq!(fails(&["conform", &models().display().to_string()]).0, 2);
}

struct Worker {
    child: std::process::Child,
    answers: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Worker {
    fn start() -> Worker {
        use std::io::BufRead;
        let mut child = Command::new(env!("CARGO_BIN_EXE_egret"))
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("egret starts");
        let answers = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        Worker { child, answers }
    }

    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        serde_json::from_str(&self.answers.next().expect("an answer").unwrap()).expect("an answer is JSON")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_worker_answers_every_command_and_survives_failures() {
    let dir = folder("worker");
    case(&dir, "one", "seven.png");
    let set = dir.join("one").join("test_data_set_0");
    let mut w = Worker::start();
    assert_eq!(w.ask("run\t1")["ok"], false);
    assert_eq!(w.ask(&format!("load\t1\t/absent\t{}", set.display()))["ok"], false);
    let loaded = w.ask(&format!("load\t1\t{}\t{}", digits(), set.display()));
    assert_eq!(loaded["ok"], true, "{loaded}");
    assert!(loaded["ms"].as_f64().unwrap() > 0.0 && loaded["base_kb"].as_u64().unwrap() > 0);
    let run = w.ask("run\t3");
    assert_eq!((run["ms"].as_array().unwrap().len(), run["cpu"].as_array().unwrap().len()), (3, 3));
    let out = dir.join("out");
    assert_eq!(w.ask(&format!("save\t{}", out.display()))["outputs"], 1);
    assert!(out.join("output_0.pb").is_file());
    assert!(w.ask("rss")["kb"].as_u64().unwrap() >= loaded["base_kb"].as_u64().unwrap());
    assert_eq!(w.ask(&format!("input\t{}", set.display()))["ok"], true);
    assert_eq!(w.ask("limit\t1000\t60000")["ok"], true);
    assert_eq!(w.ask("run\t1")["ok"], true);
    writeln!(w.child.stdin.as_mut().unwrap(), "quit").unwrap();
    assert!(w.child.wait().unwrap().success());
}

#[test]
fn operators_and_completions_are_listed() {
    assert!(ok(&["ops"]).contains("ai.onnx"));
    assert_eq!(json(&["ops", "Conv", "--json"])[0]["name"], "Conv");
    assert_eq!(fails(&["ops", "Nonsense"]).0, 2);
    assert!(fails(&["ops", "Convolve"]).1.contains("near are Conv"), "{}", fails(&["ops", "Convolve"]).1);
    let table = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ir/OPS.md")).unwrap();
    assert_eq!(ok(&["ops", "--markdown"]), table);
    assert!(ok(&["completions", "bash"]).contains("egret"));
}
