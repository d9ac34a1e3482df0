//! `wharfinger backup`: the metadata, keys and configuration as one file, and the blobs beside it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar};
use reqwest::Method;
use serde::Serialize;

use super::output::{self, Failure, Format};
use super::progress::progress_bar;
use super::target::{Target, hide_server_flags};
use crate::rfc3339;
use crate::serve::private_file;
use crate::serve::restore::{self, ARCHIVE, BLOBS, CopiedBlobs};

/// Back up the metadata, keys and configuration into one file, while the server runs or not
#[derive(Args, Debug)]
#[command(after_help = HELP, mut_args(hide_server_flags))]
pub(super) struct Backup {
    /// The file to write, or a directory for a file with the time in its name
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,

    /// Copy the blobs as well, into the directory: only those that it lacks, by hard links if possible
    #[arg(long)]
    with_blobs: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The file holds the database with accounts, grants and signing keys, certificates that the server made, the \
configuration file and the htpasswd file: keep it secret. It does not hold the blobs. They never change, so copy \
DIR/docker/registry/v2/blobs at any time after the backup, or use --with-blobs. The file is verified before it gets \
its name. `backup.directory` in the configuration makes backups by a schedule.

Examples:
  wharfinger backup /backup/registry.backup --data /var/lib/wharfinger
  wharfinger backup /backup/registry --with-blobs --data /var/lib/wharfinger
      metadata.backup and blobs/; a second time copies new blobs only

Exit codes: 0 done; 1 failure; 2 invalid command line or configuration.";

#[derive(Serialize)]
struct Made {
    file: String,
    bytes: u64,
    blobs: Option<Blobs>,
}

#[derive(Serialize)]
struct Blobs {
    copied: u64,
    copied_bytes: u64,
    present: u64,
}

impl Backup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.target.refuse_server(
            "a backup holds keys and password hashes: make it on the registry's machine, with --data",
        )?;
        let config = self.target.load_place()?.config;
        restore::check_metadata(&config)
            .map_err(|error| Failure::new("cannot back up the metadata").because(&error))?;
        if self.with_blobs {
            // Refuses blobs in a bucket before the backup is made.
            restore::blobs_of(&config)
                .map_err(|error| Failure::new("cannot copy the blobs").because(&error))?;
        }
        let path = if self.with_blobs {
            fs::create_dir_all(&self.path).map_err(|error| cannot_write(&self.path, &error))?;
            self.path.join(ARCHIVE)
        } else if self.path.is_dir() {
            restore::remove_unfinished(&self.path);
            let time = rfc3339::seconds(SystemTime::now()).replace([':', '-'], "");
            self.path.join(format!("wharfinger-{time}.backup"))
        } else if self.path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Failure::new(format!("there is no directory {}", self.path.display()))
                .help("make it first, or name a file"));
        } else {
            self.path.clone()
        };
        let mut name = path.clone().into_os_string();
        name.push(".partial");
        let partial = PathBuf::from(name);
        // Opened before the command becomes the owner of the data directory, who may not write here.
        let mut file =
            private_file::create_unfinished(&partial).map_err(|error| cannot_write(&partial, &error))?;
        let written = self.write(&mut file, &partial).await;
        let published = written.and_then(|()| publish(&file, &partial, &path));
        if published.is_err() {
            // It is incomplete.
            let _ = fs::remove_file(&partial);
        }
        let bytes = published?;
        let blobs = if self.with_blobs { Some(self.copy_blobs()?) } else { None };
        if self.format.json {
            let blobs = blobs.map(|copied| Blobs {
                copied: copied.copied,
                copied_bytes: copied.copied_bytes,
                present: copied.present,
            });
            return output::print_json(&Made { file: path.display().to_string(), bytes, blobs });
        }
        output::print(format_args!("{}, {}\n", path.display(), output::human_size(bytes)))?;
        if let Some(CopiedBlobs { copied, copied_bytes, present, .. }) = blobs {
            let size = output::human_size(copied_bytes);
            output::print(format_args!("{copied} new blobs, {size}; {present} were there\n"))?;
        }
        Ok(())
    }

    /// Writes the archive and verifies it.
    async fn write(&self, file: &mut File, partial: &Path) -> Result<(), Failure> {
        let server = self.target.connect_without_owner().await?;
        let request = server.request(Method::POST, "/api/v1/backup").timeout(super::check::TIMEOUT);
        let received = async {
            let mut answer = server.send(request).await?;
            let broken = |error| Failure::new("the backup was cut off").because(&error);
            let unwritable = |error| cannot_write(partial, &error);
            while let Some(piece) = answer.chunk().await.map_err(broken)? {
                file.write_all(&piece).map_err(unwritable)?;
            }
            file.sync_all().map_err(unwritable)
        }
        .await;
        server.close().await;
        received?;
        let copy =
            file.try_clone().map_err(|error| Failure::new("cannot read the backup").because(&error))?;
        let verified = restore::verify(copy);
        verified.map(drop).map_err(|error| {
            Failure::new("the backup could not be made")
                .because(&error)
                .help("the log of the server says more")
        })
    }

    fn copy_blobs(&self) -> Result<CopiedBlobs, Failure> {
        let config = self.target.load_place()?.config;
        let failed = |error: restore::StoreError| Failure::new("cannot copy the blobs").because(&error);
        let from = restore::blobs_of(&config).map_err(failed)?;
        let bar = progress_bar();
        let copied =
            restore::copy_blobs(&from, &self.path.join(BLOBS), |state| show(&bar, state)).map_err(failed);
        bar.finish_and_clear();
        copied
    }
}

fn publish(file: &File, partial: &Path, path: &Path) -> Result<u64, Failure> {
    let publish = || -> io::Result<u64> {
        fs::rename(partial, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
        Ok(file.metadata()?.len())
    };
    publish().map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}", path.display())).because(error)
}

/// Shows the copied blobs.
pub(super) fn show(bar: &ProgressBar, state: &CopiedBlobs) {
    bar.set_message(format!(
        "{}, {} new, {}",
        output::counted(state.copied + state.present, "blob", "blobs"),
        state.copied,
        HumanBytes(state.copied_bytes)
    ));
}
