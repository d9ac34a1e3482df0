//! `wharfinger check`: checks the integrity of all content, and repairs it.

use std::time::Duration;

use api::{
    AdoptedChange, AdoptionProblem, CheckFault, CheckLine, CheckProgress, CheckReport, UnwrittenBlob,
    WrongCounter,
};
use clap::Args;
use indicatif::HumanBytes;
use reqwest::Method;

use super::connection::Connection;
use super::json_lines;
use super::output::{self, Column, Exit, Failure, Format, Row, counted};
use super::progress::progress_bar;
use super::target::Target;

/// Check that every image is complete, and repair what can be repaired
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Check {
    /// Read every blob and compare it with its digest, instead of checking its size only
    #[arg(long)]
    read: bool,

    /// Repair what can be repaired, and move damaged content aside
    #[arg(long)]
    repair: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
A running server keeps serving during the check. Missing links below repositories/ are written again, links that \
another program changed are adopted, and unknown links are reported and left as they are. \
--read goes on where an interrupted check has stopped; check.read_rate limits its I/O. \
--repair links blobs again that an image needs, corrects wrong counters and sizes, puts misplaced content in its place, \
and moves damaged files to wharfinger/quarantine. It deletes nothing, and without it blobs are never changed. \
The size is that of `ls` and `du`: manifests and the blobs they need, each digest counted once. If the database itself \
is lost, stop the server and remove its files (wharfinger/metadata.db*): the next start rebuilds it from \
repositories/, without the accounts, which only a backup has.

Examples:
  wharfinger check
  wharfinger check --read --data /srv/registry
  wharfinger check --read --repair
  wharfinger check --server https://registry.example.com --user admin

Exit codes: 0 everything is complete; 1 content is missing, damaged or not adopted, or the check failed; \
2 invalid command line or configuration.";

/// Reading all content may take days.
pub(super) const TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Row for CheckFault {
    const COLUMNS: &'static [Column] =
        &[Column::text("DIGEST"), Column::text("FAULT").cut(), Column::text("AFFECTS")];

    fn cells(&self) -> Vec<String> {
        let fault = match &self.repair {
            Some(repair) => format!("{}; {repair}", self.fault),
            None => self.fault.clone(),
        };
        vec![self.digest.clone(), fault, self.affected.join(" ")]
    }
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let report = self.target.with(async |registry| check(registry, self.read, self.repair).await).await?;
        if self.format.json {
            output::print_json(&report)?;
        } else {
            print(&report, self.format)?;
        }
        if report.is_sound() { Ok(()) } else { Err(Failure::reported(Exit::Failed)) }
    }
}

async fn check(registry: &Connection, read: bool, repair: bool) -> Result<CheckReport, Failure> {
    let request = registry.request(Method::POST, "/api/v1/check").timeout(TIMEOUT);
    let request = request.query(&[("read", read), ("repair", repair)]);
    let answer = registry.send(request).await?;
    let bar = progress_bar();
    if !read {
        bar.set_message("looking at every image");
    }
    let broken =
        || Failure::new("the check was cut off").help("the server was stopped, or its log says more");
    let ended = json_lines::read(answer, broken, |line| match line {
        CheckLine::Progress(CheckProgress { repositories, bytes }) => {
            let repositories = counted(repositories, "repository", "repositories");
            bar.set_message(format!("{repositories}, {}", HumanBytes(bytes)));
            None
        }
        CheckLine::Report(report) => Some(Ok(report)),
        CheckLine::Failed(reason) => Some(Err(Failure::new("the check could not be finished").help(reason))),
    });
    let ended = ended.await;
    bar.finish_and_clear();
    ended
}

fn print(report: &CheckReport, format: Format) -> Result<(), Failure> {
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
    print_records(report)?;
    if report.links_written > 0 {
        output::print(format_args!(
            "repositories/ was put in step: {} written\n",
            counted(report.links_written, "link", "links")
        ))?;
    }
    for AdoptedChange { repository, change } in &report.changes_adopted {
        output::print(format_args!("adopted a change by another program: {repository}: {change}\n"))?;
    }
    for AdoptionProblem { path, problem } in &report.not_adopted {
        output::print(format_args!("not adopted, and left unchanged: repositories/{path}: {problem}\n"))?;
    }
    for AdoptionProblem { path, problem } in &report.cannot_be_written {
        output::print(format_args!("cannot be written: repositories/{path}: {problem}\n"))?;
    }
    if !report.cannot_be_written.is_empty() {
        output::print("Give these to the user of the server with chown -R; their images are served.\n")?;
    }
    for UnwrittenBlob { digest, problem } in &report.unwritten {
        output::print(format_args!("cannot be written: the file of {digest}: {problem}\n"))?;
    }
    if !report.unwritten.is_empty() {
        output::print(
            "The database keeps these blobs, and they are served. Repair the directories named above.\n",
        )?;
    }
    if !report.faults.is_empty() {
        output::print("\n")?;
        output::print_list(format, &report.faults)?;
        print_advice(&report.faults)?;
    }
    Ok(())
}

/// Prints the wrong records of the database, and the files that it does not know.
fn print_records(report: &CheckReport) -> Result<(), Failure> {
    if let Some(reading) = report.reading.filter(|reading| reading.resumed_bytes > 0) {
        output::print(format_args!(
            "went on after {} that an interrupted check had read\n",
            output::human_size(reading.resumed_bytes)
        ))?;
    }
    if report.replaceable_files > 0 {
        output::print(format_args!(
            "{} of {} that no image requires, such as a cached layer: fetched or pushed again at the next use\n",
            counted(report.replaceable_files, "damaged blob", "damaged blobs"),
            output::human_size(report.replaceable_bytes),
        ))?;
    }
    for quota in &report.quotas {
        output::print(format_args!("the use of the quota of {quota} was counted wrongly\n"))?;
    }
    for WrongCounter { repository, recorded, actual } in &report.counters {
        let done = if report.is_repair { "counted again" } else { "--repair counts again" };
        let recorded = counted(*recorded, "image", "images");
        output::print(format_args!("{repository}: {recorded} recorded, {actual} there: {done}\n"))?;
    }
    if report.orphan_files > 0 {
        let done = if report.is_repair { "recorded as unreferenced" } else { "--repair records them" };
        output::print(format_args!(
            "{} of {} below blobs/ that no record knows: {done}\n",
            counted(report.orphan_files, "file", "files"),
            output::human_size(report.orphan_bytes),
        ))?;
    }
    Ok(())
}

/// Prints each advice once. If there are several, adds the faults to which each applies.
fn print_advice(faults: &[CheckFault]) -> Result<(), Failure> {
    let mut advices: Vec<&str> = faults.iter().filter_map(|fault| fault.advice.as_deref()).collect();
    advices.sort_unstable();
    advices.dedup();
    let mended = faults.iter().filter(|fault| fault.is_mended).count();
    if mended > 0 {
        output::print(format_args!("\nrepaired: {mended} of {}\n", faults.len()))?;
    }
    for advice in &advices {
        let digests = faults.iter().filter(|fault| fault.advice.as_deref() == Some(advice));
        let digests: Vec<&str> = digests.map(|fault| fault.digest.as_str()).collect();
        match advices.len() {
            1 => output::print(format_args!("\nTo do: {advice}.\n"))?,
            _ => output::print(format_args!("\nTo do for {}: {advice}.\n", digests.join(" ")))?,
        }
    }
    Ok(())
}
