//! `wharfinger version`: the version of the program, its database schema, its commit, and its features.

use clap::Args;
use serde::Serialize;

use super::output::{self, Failure, Format};

/// Print the version; with --json also the versions of the database schema and the source
#[derive(Args, Debug)]
pub(super) struct Version {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Program {
    name: &'static str,
    version: &'static str,
    /// The schema of the metadata database.
    schema_version: u32,
    commit: Option<&'static str>,
    features: &'static [&'static str],
}

impl Version {
    pub(super) fn run(self) -> Result<(), Failure> {
        let program = Program {
            name: "wharfinger",
            version: env!("CARGO_PKG_VERSION"),
            schema_version: registry::SCHEMA_VERSION,
            commit: crate::build::COMMIT,
            features: crate::build::FEATURES,
        };
        if self.format.json {
            output::print_json(&program)
        } else {
            output::print(format_args!("{} {}\n", program.name, program.version))
        }
    }
}
