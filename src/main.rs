//! The program `egret`: see `egret help`.

mod cli;

/// Generating and comparing small graphs is a fifth allocation with the system's allocator.
#[cfg(feature = "fuzz")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
