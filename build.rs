//! With the feature `fuzz`, the programs of this package find libz3 at run time where `cargo xtask setup` puts it
//! (`.venv/z3`, see `.cargo/config.toml`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_FUZZ").is_some() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}/.venv/z3/lib", env!("CARGO_MANIFEST_DIR"));
    }
}
