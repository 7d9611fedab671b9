//! Builds the runtime library of models compiled ahead of time, which the program embeds, so that an installed `egret` has
//! it at hand: one file of Rust without dependencies, by the compiler that builds this crate. An object file rather than an
//! archive: rustc's archives carry 4 MB of compiler support that nothing here needs, the object has 27 KB.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=runtime");
    let var = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let library = Path::new(&var("OUT_DIR")).join("egret_runtime.o");
    let status = Command::new(var("RUSTC"))
        .args(["--edition=2024", "--crate-name=egret_runtime", "--crate-type=lib", "--emit=obj"])
        .args(["-Copt-level=2", "-Cpanic=abort", "-Ccodegen-units=1", "--target", &var("TARGET"), "-o"])
        .arg(&library)
        .arg("runtime/lib.rs")
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("runtime/lib.rs cannot be built: {other:?}"),
    }
    println!("cargo:rustc-env=EGRET_RUNTIME_LIBRARY={}", library.display());
    println!("cargo:rustc-env=EGRET_RUNTIME_TARGET={}", var("TARGET"));
}
