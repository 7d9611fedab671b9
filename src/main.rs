//! The program `egret`: see `egret help`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
