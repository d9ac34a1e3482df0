//! `wharfinger check`: checks the integrity of all content.

use std::io::IsTerminal as _;
use std::time::Duration;

use api::{AdoptedChange, AdoptionProblem, CheckFault, CheckLine, CheckProgress, CheckReport};
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use reqwest::Method;

use super::connection::Connection;
use super::output::{self, Column, Exit, Failure, Format, Row};
use super::target::Target;

/// Check that every image is complete, and repair the links of registry:2's layout
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Check {
    /// Read every blob and compare it with its digest, instead of checking its size only
    #[arg(long)]
    read: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
A running server keeps serving during the check. Missing links below repositories/ are written again, links that \
another program changed are adopted, and unknown links are reported and left as they are. Blobs are never changed. \
The size is that of `ls` and `du`: manifests and the blobs they need, each digest counted once. If the database itself \
is lost, stop the server and remove its files (wharfinger/metadata.db*): the next start rebuilds it from \
repositories/, without the accounts, which only a backup has.

Examples:
  wharfinger check
  wharfinger check --read --data /srv/registry
  wharfinger check --server https://registry.example.com --user admin

Exit codes: 0 everything is complete; 1 content is missing, damaged or not adopted, or the check failed; \
2 invalid command line or configuration.";

/// Reading all content may take days.
const TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The interval at which the progress bar is redrawn.
const TICK: Duration = Duration::from_millis(200);

impl Row for CheckFault {
    const COLUMNS: &'static [Column] =
        &[Column::text("DIGEST"), Column::text("FAULT").cut(), Column::text("AFFECTS")];

    fn cells(&self) -> Vec<String> {
        vec![self.digest.clone(), self.fault.clone(), self.affected.join(" ")]
    }
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let report = self.target.with(async |registry| check(registry, self.read).await).await?;
        if self.format.json {
            output::print_json(&report)?;
        } else {
            print(&report, self.format)?;
        }
        if report.is_sound() { Ok(()) } else { Err(Failure::reported(Exit::Failed)) }
    }
}

async fn check(registry: &Connection, read: bool) -> Result<CheckReport, Failure> {
    let request = registry.request(Method::POST, "/api/v1/check").timeout(TIMEOUT);
    let request = if read { request.query(&[("read", "true")]) } else { request };
    let mut answer = registry.send(request).await?;
    let bar = progress_bar();
    if !read {
        bar.set_message("looking at every image");
    }
    let broken =
        || Failure::new("the check was cut off").help("the server was stopped, or its log says more");
    let mut line = Vec::new();
    loop {
        let piece = answer.chunk().await.map_err(|error| broken().because(&error))?.ok_or_else(broken)?;
        for byte in piece {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let parsed = serde_json::from_slice(&line).map_err(|error| broken().because(&error))?;
            line.clear();
            match parsed {
                CheckLine::Progress(CheckProgress { repositories, bytes }) => {
                    bar.set_message(format!("{repositories} repositories, {}", HumanBytes(bytes)));
                }
                CheckLine::Report(report) => {
                    bar.finish_and_clear();
                    return Ok(report);
                }
                CheckLine::Failed(reason) => {
                    bar.finish_and_clear();
                    return Err(Failure::new("the check could not be finished").help(reason));
                }
            }
        }
    }
}

/// The progress bar, at a terminal only.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    let bar =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(TICK);
    bar
}

fn print(report: &CheckReport, format: Format) -> Result<(), Failure> {
    let counted =
        |number: u64, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    output::print(format_args!(
        "{}, {}, {}, {}: {}\n",
        counted(report.repositories, "repository", "repositories"),
        counted(report.manifests, "image", "images"),
        counted(report.blobs, "layer or config", "layers and configs"),
        output::human_size(report.bytes),
        match report.faults.len() {
            0 => "nothing missing".to_owned(),
            faults => format!("{faults} missing or damaged"),
        }
    ))?;
    if report.links_written > 0 {
        output::print(format_args!(
            "repositories/ was put in step: {} links written\n",
            report.links_written
        ))?;
    }
    for AdoptedChange { repository, change } in &report.changes_adopted {
        output::print(format_args!("adopted a change by another program: {repository}: {change}\n"))?;
    }
    for AdoptionProblem { path, problem } in &report.not_adopted {
        output::print(format_args!("not adopted, and left as it is: repositories/{path}: {problem}\n"))?;
    }
    for AdoptionProblem { path, problem } in &report.cannot_be_written {
        output::print(format_args!("cannot be written: repositories/{path}: {problem}\n"))?;
    }
    if !report.cannot_be_written.is_empty() {
        output::print("Give these to the user of the server with chown -R; their images are served.\n")?;
    }
    if !report.faults.is_empty() {
        output::print("\n")?;
        output::print_list(format, &report.faults)?;
        output::print("\nPush the affected images again: a push replaces missing and damaged content.\n")?;
        if report.faults.iter().any(|fault| fault.is_wrong_claim) {
            output::print(
                "A manifest with a wrong size cannot be repaired by a push; build that image anew.\n",
            )?;
        }
    }
    Ok(())
}
