//! `wharfinger mirror`: makes clients use a registry as their mirror.

mod setup;

use clap::{Args, Subcommand};

use super::output::Failure;

/// Mirrors: make clients pull from this registry without a change of the images' names
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct MirrorCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  wharfinger mirror setup --for containerd --registry https://r.example.com
      print the files that a node needs
  wharfinger mirror setup --for docker --registry https://r.example.com \\
    --write
      write them

Exit codes: 0 success; 1 failure; 2 invalid command line.";

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Setup),
}

impl MirrorCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Setup(command) => command.run(),
        }
    }
}
