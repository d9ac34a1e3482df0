//! Check of a whole registry (fsck): the metadata against the stored files and the `repositories/` view.
//!
//! - `content`: each manifest and the content that it needs.
//! - `reading`: the digests of all stored bytes, with an I/O limit and a cursor.
//! - `orphans`: files that the metadata does not know, and counters.
//! - `repair`: mends a fault, or moves damaged bytes aside.
//! - `schedule`: the check in the background.

mod content;
mod orphans;
mod reading;
mod repair;
mod schedule;

use oci::{Digest, RepositoryName};
use serde_json::json;
use store::adopt::Report;
use store::blobs::Unwritten;
use store::metadata::{Affected, ChangeKind, CounterDrift, ErasureMark, NewChange, ViewProblem};
use store::view::RepairReport;

pub(crate) use reading::ReadLimit;
pub use reading::Reading;

use crate::{Error, JobKind, Registry};

/// Rows of one query.
const PAGE: usize = 1000;
/// The maximum number of faults with an event.
const ANNOUNCED: usize = 1000;
/// The maximum number of repositories and tags that a fault names.
pub const AFFECTED: usize = 100;

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Checked repositories.
    pub repositories: u64,
    /// Distinct checked manifests.
    pub manifests: u64,
    /// Distinct checked configs and layers.
    pub blobs: u64,
    /// The total size of the checked content.
    pub bytes: u64,
    /// Missing and damaged content.
    pub faults: Vec<Fault>,
    /// Adopted changes that other programs made below `repositories/`.
    pub adopted: Report,
    /// Entries of `repositories/` that cannot be adopted. They stay on disk unchanged.
    pub problems: Vec<ViewProblem>,
    /// Missing links below `repositories/` that were written again.
    pub view: RepairReport,
    /// Content whose file cannot be written. It is served from the database.
    pub unwritten: Vec<Unwritten>,
    /// The result of reading all content. `None` if that was not requested.
    pub reading: Option<Reading>,
    /// Files of content that no record knows. Another program, or a crash, has left them.
    pub orphans: Orphans,
    /// Damaged content that no manifest requires: cached layers, and blobs without an image. Its next use
    /// fetches or pushes it again.
    pub replaceable: Orphans,
    /// Wrong counters. A repair has corrected them.
    pub counters: Vec<CounterDrift>,
    /// The quotas whose use was counted wrongly. A repair has counted them again.
    pub quotas: Vec<String>,
    /// Whether faults were repaired as far as possible.
    pub is_repair: bool,
}

/// Files of content that no manifest requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Their number.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The options of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Read all content and verify its digests.
    pub read: bool,
    /// Mend faults, and move damaged content aside.
    pub repair: bool,
}

impl Options {
    /// Leaves out a step that has to write below `repositories/` or `blobs/` on a full disk: the view task
    /// repeats it once there is space. A repair needs the step.
    fn unless_full<T: Default>(self, step: Result<T, Error>) -> Result<T, Error> {
        match step {
            Err(Error::Full) if !self.repair => {
                tracing::warn!("the disk is full: the check writes no links, and adopts no changes");
                Ok(T::default())
            }
            step => step,
        }
    }
}

/// Missing or damaged content, and the tags that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first repository with the fault.
    pub repository: RepositoryName,
    /// The digest of the content.
    pub digest: Digest,
    /// The kind of fault.
    pub what: FaultKind,
    /// The repositories and tags that need it, at most [`AFFECTED`].
    pub affected: Vec<Affected>,
    /// The erasure that explains the fault.
    pub erasure: Option<ErasureMark>,
    /// The result of the repair. `None` if nothing was done.
    pub repair: Option<Repair>,
}

impl Fault {
    /// Whether a repair has removed the fault.
    #[must_use]
    pub fn is_mended(&self) -> bool {
        !matches!(self.repair, None | Some(Repair::MovedAside(_)))
    }

    /// The advice for a person. `None` if a repair has removed the fault.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        if self.is_mended() {
            return None;
        }
        Some(match self.what {
            FaultKind::Unreadable => "give the file to the user of the server with chown",
            FaultKind::PartSize { .. } => {
                "build this image anew: a push cannot repair a wrong size in a manifest"
            }
            FaultKind::NotLinked => "run `wharfinger check --repair`, or push the affected images again",
            FaultKind::Erased => "delete the affected images; a repair does not bring erased content back",
            FaultKind::Missing | FaultKind::Size { .. } | FaultKind::Digest { .. } => {
                "push the affected images again, or restore the file from a backup"
            }
        })
    }
}

/// The repair of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The repository holds the blob again.
    Linked,
    /// The recorded size was wrong, and was corrected.
    SizeCorrected,
    /// The bytes lay under the digest of other content, and were put in their place.
    Found,
    /// The damaged bytes were moved to this file. The content is missing until it is pushed again.
    MovedAside(String),
}

/// The kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The file is missing.
    Missing,
    /// The file cannot be opened or read.
    Unreadable,
    /// The repository of the image does not hold the blob any more.
    NotLinked,
    /// The blob was erased from the repository of the image, see [`Fault::erasure`]. It is not repaired.
    Erased,
    /// The file has another size in bytes than recorded.
    Size {
        /// The recorded size.
        expected: u64,
        /// The size of the file.
        actual: u64,
    },
    /// The file's bytes have another digest.
    Digest {
        /// The digest of the stored bytes.
        actual: Digest,
    },
    /// A manifest claims a wrong size in bytes for one of its parts.
    PartSize {
        /// The digest of the part.
        part: Digest,
        /// The size in the manifest.
        claimed: u64,
        /// The size of the part.
        actual: u64,
    },
}

impl FaultKind {
    /// The name in events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::NotLinked => "not linked",
            Self::Erased => "erased",
            Self::Size { .. } => "wrong size",
            Self::Digest { .. } => "damaged",
            Self::PartSize { .. } => "wrong size in a manifest",
        }
    }
}

impl Registry {
    /// Checks that each manifest and its required parts exist with their sizes. With `read`, also verifies
    /// digests and sets or clears the damage marks.
    ///
    /// # Errors
    /// The errors of [`check_with`](Self::check_with).
    pub async fn check(
        &self,
        read: bool,
        progress: impl Fn(u64, u64) -> bool + Send + Sync,
    ) -> Result<Checked, Error> {
        self.check_with(Options { read, repair: false }, progress).await
    }

    /// Checks the registry, and repairs it on request. One check runs at a time.
    ///
    /// Before that, adopts changes below `repositories/` and writes missing links there. The registry serves
    /// requests meanwhile. `progress` receives the checked repositories and bytes, also within a large blob.
    /// It stops the check by returning `false`. A reading that was stopped goes on where it was.
    ///
    /// # Errors
    /// The errors of the store. Faults of content are in the result.
    pub async fn check_with(
        &self,
        options: Options,
        progress: impl Fn(u64, u64) -> bool + Send + Sync,
    ) -> Result<Checked, Error> {
        let _alone = self.inner.checking.lock().await;
        let job = self.job_metrics(JobKind::Check);
        let counted = |repositories, bytes| {
            job.progress(if repositories > 0 { repositories } else { bytes });
            progress(repositories, bytes)
        };
        job.run(self.check_all(options, counted)).await
    }

    async fn check_all(
        &self,
        options: Options,
        progress: impl Fn(u64, u64) -> bool + Send + Sync,
    ) -> Result<Checked, Error> {
        let adopted = options.unless_full(self.adopt().await)?;
        let view = self.inner.background.view().repair(|_| ()).await;
        let view = options.unless_full(view.map_err(Error::from))?;
        let problems = self.metadata.view_problems().await?;
        // The repair of the view has flushed the journal.
        let unwritten = self.unwritten_content();
        let mut checked =
            Checked { adopted, problems, view, unwritten, is_repair: options.repair, ..Checked::default() };
        checked.counters = self.check_counters(options.repair).await?;
        checked.quotas = self.check_quotas(options.repair).await?;
        if options.read {
            let reading = self.read_content(|bytes| progress(0, bytes)).await?;
            let is_stopped = reading.is_stopped;
            checked.reading = Some(reading);
            if is_stopped {
                return Ok(checked);
            }
        }
        checked.orphans = self.check_orphans(options.repair).await?;
        self.check_content(&mut checked, progress).await?;
        checked.replaceable = self.check_replaceable(&checked.faults).await?;
        if options.repair {
            self.repair(&mut checked.faults).await?;
            // The next collection looks for garbage in all rows.
            self.metadata.request_recount().await?;
        }
        self.announce_faults(&checked.faults).await?;
        Ok(checked)
    }

    /// Appends an event for each fault that is left.
    async fn announce_faults(&self, faults: &[Fault]) -> Result<(), Error> {
        let left = faults.iter().filter(|fault| !fault.is_mended()).take(ANNOUNCED);
        let events: Vec<NewChange> = left
            .map(|fault| {
                let affected = fault.affected.iter().map(|(repository, tag)| match tag {
                    Some(tag) => format!("{repository}:{tag}"),
                    None => repository.to_string(),
                });
                let detail = json!({ "fault": fault.what.name(), "affected": affected.collect::<Vec<_>>() });
                NewChange::of(ChangeKind::CheckFinding, &fault.repository).digest(fault.digest).detail(detail)
            })
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        Ok(self.metadata.changes().append(events).await?)
    }
}
