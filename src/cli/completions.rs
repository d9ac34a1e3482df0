//! `wharfinger completions`: shell completions for commands and flags.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::output::{self, Failure};

/// Print a script with which a shell completes commands and flags
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wharfinger completions bash > /etc/bash_completion.d/wharfinger
  wharfinger completions zsh > \"${fpath[1]}/_wharfinger\"
  wharfinger completions fish > ~/.config/fish/completions/wharfinger.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "wharfinger", &mut script);
        output::print(String::from_utf8_lossy(&script))
    }
}
