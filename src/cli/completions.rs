//! `egret completions`: what a shell needs to complete a command line.

use super::{Cli, say};
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a script that completes egret's verbs and options in a shell.
#[derive(Args)]
#[command(after_help = "\
Examples:
  egret completions bash > ~/.local/share/bash-completion/completions/egret
  egret completions fish > ~/.config/fish/completions/egret.fish")]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "egret", &mut script);
    say(&String::from_utf8_lossy(&script))
}
