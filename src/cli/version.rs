//! `wharfinger version`: which version this is.

use clap::Args;
use serde::Serialize;

use super::output::{self, Failure, Format};

/// Print the version
#[derive(Args, Debug)]
pub(super) struct Version {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Program {
    name: &'static str,
    version: &'static str,
}

impl Version {
    pub(super) fn run(self) -> Result<(), Failure> {
        let program = Program { name: "wharfinger", version: env!("CARGO_PKG_VERSION") };
        if self.format.json {
            output::print_json(&program)
        } else {
            output::print(format_args!("{} {}\n", program.name, program.version))
        }
    }
}
