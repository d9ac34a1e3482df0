//! `wharfinger check`: is everything there, and whole?

use std::io::IsTerminal as _;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar};
use registry::check::{Checked, Fault, FaultKind};
use serde::Serialize;

use super::connection;
use super::output::{self, Column, Exit, Failure, Format, Row};
use super::settings::Place;
use crate::serve;

/// Check that every image is complete, and put the files of registry:2's layout in step
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Check {
    /// Read every blob and compare it with its digest, rather than look at its size alone
    #[arg(long)]
    read: bool,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
It takes the data directory for itself, so stop the server first. Links below repositories/ that are missing or wrong \
are written anew; blobs are only looked at. If the database itself is lost, remove what is left of it \
(wharfinger/metadata.db*): the next start makes it anew from repositories/.

Examples:
  wharfinger check
  wharfinger check --read --data /srv/registry

Exit codes: 0 all is there; 1 something is missing or damaged, or it could not be checked; 2 the command line or the \
configuration is wrong.";

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    repositories: u64,
    contents: u64,
    bytes: u64,
    links_written: u64,
    links_removed: u64,
    unknown_repositories: Vec<String>,
    faults: Vec<Line>,
}

/// A fault, as it is listed.
#[derive(Serialize)]
struct Line {
    repository: String,
    digest: String,
    fault: String,
}

impl Row for Line {
    const COLUMNS: &'static [Column] =
        &[Column::text("REPOSITORY"), Column::text("DIGEST"), Column::text("FAULT")];

    fn cells(&self) -> Vec<String> {
        vec![self.repository.clone(), self.digest.clone(), self.fault.clone()]
    }
}

impl From<Fault> for Line {
    fn from(fault: Fault) -> Self {
        let text = match fault.what {
            FaultKind::Missing => "is missing".to_owned(),
            FaultKind::Size { expected, actual } => format!("has {actual} bytes, not {expected}"),
            FaultKind::Digest { actual } => format!("is damaged: its digest is {actual}"),
        };
        Self { repository: fault.repository.to_string(), digest: fault.digest.to_string(), fault: text }
    }
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.place.load()?.config;
        let directory = connection::open(&config)?;
        let name = directory.root().display().to_string();
        let failed = |error: registry::Error| Failure::new(format!("cannot check {name}")).because(&error);
        let registry = serve::open_registry(&config, directory).await.map_err(failed)?;
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let progress = |repositories: u64, bytes: u64| {
            bar.set_message(format!("{repositories} repositories, {}", HumanBytes(bytes)));
            bar.tick();
        };
        let checked = registry.check(self.read, progress).await;
        bar.finish_and_clear();
        registry.close().await;
        let Checked { repositories, contents, bytes, faults, view } = checked.map_err(failed)?;
        let report = Report {
            repositories,
            contents,
            bytes,
            links_written: view.written,
            links_removed: view.removed,
            unknown_repositories: view.unknown.iter().map(ToString::to_string).collect(),
            faults: faults.into_iter().map(Line::from).collect(),
        };
        let damaged = !report.faults.is_empty();
        if self.format.json {
            output::print_json(&report)?;
        } else {
            report.print(self.format)?;
        }
        if damaged { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
    }
}

impl Report {
    fn print(&self, format: Format) -> Result<(), Failure> {
        let size = output::human_size(self.bytes);
        output::print(format_args!(
            "{} repositories with {} manifests and blobs of {size}: {}\n",
            self.repositories,
            self.contents,
            match self.faults.len() {
                0 => "all there".to_owned(),
                faults => format!("{faults} not as they should be"),
            }
        ))?;
        if self.links_written + self.links_removed > 0 {
            output::print(format_args!(
                "repositories/ is in step again: {} links written, {} removed\n",
                self.links_written, self.links_removed
            ))?;
        }
        for unknown in &self.unknown_repositories {
            output::print(format_args!(
                "repositories/{unknown} is not of this registry, and was left as it is\n"
            ))?;
        }
        if !self.faults.is_empty() {
            output::print("\n")?;
            output::print_list(format, &self.faults)?;
            output::print("\nPush these images again to mend them.\n")?;
        }
        Ok(())
    }
}
