//! `wharfinger restore`: puts a backup into a data directory.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::backup::show;
use super::output::{self, Failure, Format, counted};
use super::owner;
use super::progress::progress_bar;
use super::settings::DataDir;
use crate::rfc3339;
use crate::serve::restore::{self, ARCHIVE, BLOBS, Difference, RestoreReport, Restoring};

/// Restore a backup into a data directory, and report missing and extra blobs
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Restore {
    /// The file of the backup, or a directory with metadata.backup and blobs/
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,

    /// Replace the metadata of the directory; it is kept in wharfinger/replaced-TIME
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    data: DataDir,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The backup is verified before anything changes: the digest of every part, and every page of the database. No server \
may run on the directory. Blobs of the directory stay as they are. Blobs that the backup knows and the directory \
lacks are reported as missing: pulls of them fail until they are pushed or copied again. Extra blobs were pushed \
after the backup; their tags come back at the next start, as far as links below repositories/ name them.

Events that waited for a webhook are parked: `wharfinger webhook replay` sends them.

Tokens and passwords are those of the backup: revoke again what was revoked after it.

Examples:
  wharfinger restore /backup/registry.backup --data /var/lib/wharfinger
  wharfinger restore /backup/registry --replace --data /var/lib/wharfinger
      with the blobs of a backup that was made with --with-blobs

Exit codes: 0 restored, also if blobs are missing; 1 failure: the metadata has not changed, and blobs that were copied \
stay for a repetition; 2 invalid command line or configuration.";

#[derive(Serialize)]
struct Restored {
    made_at: String,
    version: String,
    repositories: u64,
    manifests: u64,
    tags: u64,
    blobs: u64,
    copied_blobs: u64,
    refused_blobs: u64,
    refused: Vec<String>,
    missing_blobs: u64,
    missing_bytes: u64,
    missing: Vec<String>,
    extra_blobs: u64,
    extra_bytes: u64,
    extra: Vec<String>,
    replaced: Option<String>,
    configuration: Option<String>,
}

impl Restore {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.data.load_for(&["data"])?.0.config;
        let path = restore::archive_at(&self.path);
        let cannot = |error: &dyn std::error::Error| {
            Failure::new(format!("cannot restore {}", path.display())).because(error)
        };
        // Opened before the command becomes the owner of the data directory.
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.path.is_dir() => {
                return Err(Failure::new(format!("there is no backup in {}", self.path.display())).help(
                    format!("it has neither {ARCHIVE} nor a file of the schedule, wharfinger-TIME.backup"),
                ));
            }
            opened => opened.map_err(|error| cannot(&error))?,
        };
        owner::become_owner(&config.data)?;
        let blobs = Some(self.path.join(BLOBS)).filter(|_| self.path.is_dir()).filter(|blobs| blobs.is_dir());
        let restoring = Restoring { data: config.data, replace: self.replace, blobs };
        let bar = progress_bar();
        let archive = restore::verify(file).map_err(|error| cannot(&error))?;
        let restored = restore::restore(&archive, &restoring, |state| show(&bar, state));
        bar.finish_and_clear();
        let report = restored.map_err(|error| cannot(&error))?;
        let manifest = archive.manifest();
        let made_at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(manifest.created_at);
        let made_at = rfc3339::seconds(made_at);
        if self.format.json {
            return output::print_json(&summary(report, made_at, manifest.version.clone()));
        }
        print(&report, &made_at)
    }
}

fn summary(report: RestoreReport, made_at: String, version: String) -> Restored {
    let digests = |difference: &Difference| difference.first.iter().map(ToString::to_string).collect();
    Restored {
        made_at,
        version,
        repositories: report.counts.repositories,
        manifests: report.counts.manifests,
        tags: report.counts.tags,
        blobs: report.counts.blobs,
        copied_blobs: report.copied.copied,
        refused_blobs: report.copied.refused,
        refused: report.copied.refused_files.iter().map(|path| path.display().to_string()).collect(),
        missing_blobs: report.missing.number,
        missing_bytes: report.missing.bytes,
        missing: digests(&report.missing),
        extra_blobs: report.extra.number,
        extra_bytes: report.extra.bytes,
        extra: digests(&report.extra),
        replaced: report.replaced.map(|path| path.display().to_string()),
        configuration: report.configuration.map(|path| path.display().to_string()),
    }
}

fn print(report: &RestoreReport, made_at: &str) -> Result<(), Failure> {
    let counts = &report.counts;
    output::print(format_args!(
        "restored the backup of {made_at}: {}, {}, {}\n",
        counted(counts.repositories, "repository", "repositories"),
        counted(counts.tags, "tag", "tags"),
        counted(counts.blobs, "blob", "blobs")
    ))?;
    if report.copied.copied > 0 {
        let size = output::human_size(report.copied.copied_bytes);
        output::print(format_args!("copied {}, {size}\n", counted(report.copied.copied, "blob", "blobs")))?;
    }
    let refused = report.copied.refused;
    if refused > 0 {
        output::print(format_args!(
            "{refused} files of the backup were refused: they are not regular files, or do not have their digest:\n"
        ))?;
        for file in report.copied.refused_files.iter().take(20) {
            output::print(format_args!("  {}\n", file.display()))?;
        }
    }
    for (difference, what) in [(&report.missing, "missing"), (&report.extra, "extra")] {
        if difference.number > 0 {
            let size = output::human_size(difference.bytes);
            output::print(format_args!("{} {what}, {size}:\n", counted(difference.number, "blob", "blobs")))?;
            for digest in difference.first.iter().take(20) {
                output::print(format_args!("  {digest}\n"))?;
            }
        }
    }
    if let Some(kept) = &report.replaced {
        output::print(format_args!("the replaced metadata is in {}\n", kept.display()))?;
    }
    if let Some(configuration) = &report.configuration {
        output::print(format_args!("the configuration of the backup is in {}\n", configuration.display()))?;
    }
    Ok(())
}
