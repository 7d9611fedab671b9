//! Each fuzz target over its checked-in corpus, and for some seconds over changed files of it.
//!
//! `EGRET_FUZZ_SECONDS` says how many seconds (default 3) and `EGRET_FUZZ_SEED` where the changes start (default 0), so that a
//! longer search without libFuzzer is one command. A failure names the change; the same seed finds it again.

use egret_fuzz::mutate::change_bytes;
use egret_fuzz::random::Random;
use egret_fuzz::surface;
use std::path::Path;
use std::time::{Duration, Instant};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn search(target: &str, check: fn(&[u8]) -> Result<(), String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = folder.read_dir().expect("the corpus is there").map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut corpus = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        check(&bytes).unwrap_or_else(|finding| panic!("{}: {finding}", file.display()));
        corpus.push(bytes);
    }
    assert!(corpus.len() >= 10, "{} files in {}", corpus.len(), folder.display());
    let end = Instant::now() + Duration::from_secs(number("EGRET_FUZZ_SECONDS", 3));
    let mut seed = number("EGRET_FUZZ_SEED", 0);
    while Instant::now() < end {
        let mut random = Random::new(seed);
        let mut bytes = random.pick(&corpus).expect("the corpus is not empty").clone();
        for _ in 0..1 + random.below(4) {
            change_bytes(&mut bytes, &mut random);
        }
        let caught = std::panic::catch_unwind(|| check(&bytes));
        let finding = match caught {
            Ok(Ok(())) => None,
            Ok(Err(finding)) => Some(finding),
            Err(_) => Some("it panics, see above".to_owned()),
        };
        if let Some(finding) = finding {
            let kept = std::env::temp_dir().join(format!("egret-{target}-{seed}"));
            std::fs::write(&kept, &bytes).unwrap();
            panic!("EGRET_FUZZ_SEED={seed}, kept as {}: {finding}", kept.display());
        }
        seed += 1;
    }
    println!("{target}: {seed} changed files");
}

#[test]
fn import() {
    search("import", surface::import);
}

#[test]
fn text() {
    search("text", surface::text);
}

#[test]
fn rules() {
    search("rules", surface::rules);
}

#[test]
fn graph() {
    search("graph", surface::graph);
}

#[test]
fn compile() {
    search("compile", surface::compile);
}
