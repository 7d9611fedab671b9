//! Programs of this package find libz3 at run time where `cargo xtask setup` puts it (`.venv/z3`, see `.cargo/config.toml`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}/../.venv/z3/lib", env!("CARGO_MANIFEST_DIR"));
}
