//! The program `egret`: see `egret help`.

mod cli;

/// Generating and comparing small graphs allocates many small pieces.
#[cfg(feature = "fuzz")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
