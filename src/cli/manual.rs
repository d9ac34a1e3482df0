//! `wharfinger manual`: manual pages, made from the same definitions as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::output::{self, Failure};

/// Print the manual page, or write one for each command
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wharfinger manual | man -l -
  wharfinger manual --output /usr/local/share/man/man1")]
pub(super) struct Manual {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(self) -> Result<(), Failure> {
        let command = super::Cli::command();
        match self.output {
            Some(directory) => std::fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(command, &directory))
                .map_err(|error| {
                    Failure::new(format!("cannot write manual pages to {}", directory.display()))
                        .because(&error)
                }),
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command)
                    .render(&mut page)
                    .map_err(|error| Failure::new("cannot make the manual page").because(&error))?;
                output::print(String::from_utf8_lossy(&page))
            }
        }
    }
}
