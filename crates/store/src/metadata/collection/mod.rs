//! Garbage collection: decides which manifests, blob links and content nothing needs any more, and removes
//! their rows.
//!
//! A manifest is held by a tag, by an index that lists it, or by its subject. A link is held by a manifest of
//! its repository, and content by a link, a manifest, the trash or a lease. A change of the outbox that may
//! take away a holder makes a candidate. Each step takes a bounded number of candidates whose period has
//! passed, checks in one transaction that nothing holds them, and removes them.
//!
//! - `candidates`: the rows of the candidates.
//! - `events`: the consumer of the outbox, which finds candidates.
//! - `holders`: the reachability rule.
//! - `removal`: removes a manifest or a link, and finds the candidates that follow from it.
//! - `steps`: the transactions of a collection.
//! - `content`: deletion of content in two transactions around the deletion of its file, and leases.
//! - `preview`: a collection that changes nothing.
//! - `explain`: the chain that holds some content.
//! - `erase`: removal without grace.
//! - `evict`: removal of content that can be fetched again.
//! - `job`: the row of a running collection.
//! - `recount`: finds candidates that no change has recorded.

mod candidates;
mod content;
mod erase;
mod events;
mod evict;
mod explain;
mod holders;
mod job;
mod preview;
mod recount;
mod removal;
mod steps;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use oci::{Digest, RepositoryName};

use candidates::Kind;
pub(super) use candidates::{Candidate, add, forget_repository};
pub use content::DueContent;
pub(super) use content::end_lease;
pub use erase::Erased;
pub use evict::UsedManifest;
pub use explain::{Chain, Explanation, Link, LinkKind};
pub(super) use holders::is_listed;
pub use job::CollectionJob;
pub use preview::Preview;
pub(super) use removal::remove_manifest;
pub(super) use steps::purge_namespace;

/// The periods after which a collection removes content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// The time for which deleted content can be restored.
    pub grace: Duration,
    /// The time for which an untagged manifest is kept after its last push or pull; `None` keeps it.
    pub untagged: Option<Duration>,
    /// The time for which a blob is kept that no manifest needs yet.
    pub upload: Duration,
    /// Manifests and links of up to this time stay for now: a pusher may have been told that they exist.
    pub promised: Option<SystemTime>,
}

/// A kind of candidates, as a collection visits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Manifests that were deleted with their tag, index or subject.
    Deleted,
    /// Manifests without a tag.
    Untagged,
    /// Blob links that no manifest needs.
    Links,
    /// Blob links of manifests that were collected.
    ReleasedLinks,
}

impl Stage {
    /// All stages, in the order of a collection.
    pub const ALL: [Self; 4] = [Self::Deleted, Self::Untagged, Self::Links, Self::ReleasedLinks];

    fn kind(self) -> Kind {
        match self {
            Self::Deleted => Kind::Deleted,
            Self::Untagged => Kind::Untagged,
            Self::Links => Kind::Link,
            Self::ReleasedLinks => Kind::ReleasedLink,
        }
    }

    /// Whether its candidates are manifests.
    #[must_use]
    pub fn is_manifests(self) -> bool {
        matches!(self, Self::Deleted | Self::Untagged)
    }
}

/// A candidate whose period has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub(super) candidate: Candidate,
    /// The repository of the manifest or link.
    pub repository: RepositoryName,
    /// The digest of the manifest or blob.
    pub digest: Digest,
}

/// The reason why a collection removes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was deleted, or belonged to a deleted manifest.
    Deleted,
    /// It has no tag, and was neither pushed nor pulled for `gc.untagged`.
    Untagged,
    /// No manifest needs the blob.
    Unused,
    /// No repository holds the content.
    Unreferenced,
}

/// The removed rows of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The repository; `None` for content.
    pub repository: Option<RepositoryName>,
    /// The digest of the manifest or blob.
    pub digest: Digest,
    /// Whether it is a manifest.
    pub is_manifest: bool,
    /// The cause.
    pub cause: Cause,
    /// The size in bytes.
    pub bytes: u64,
}

/// The result of a step of the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Manifests, tags and links whose grace period is over.
    pub rows: usize,
    /// The manifests among them.
    pub manifests: usize,
}

/// Manifests that a collection keeps for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The number of manifests.
    pub manifests: u64,
    /// The bytes of content that nothing else holds.
    pub bytes: u64,
    /// Whether there is more.
    pub is_cut: bool,
}

/// The space that a collection does not free yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GarbageUsage {
    /// Manifests without a tag, which `gc.untagged` removes.
    pub untagged: Garbage,
    /// Deleted manifests, which go after `gc.grace`.
    pub deleted: Garbage,
    /// Blobs that no manifest needs yet.
    pub unused: Garbage,
}

/// The time before which a candidate has to be recorded, in milliseconds.
fn before(now: SystemTime, period: Duration) -> i64 {
    super::columns::time_in(now).saturating_sub(i64::try_from(period.as_millis()).unwrap_or(i64::MAX))
}

impl Periods {
    /// Whether an item of this time, in milliseconds, stays for a push.
    fn is_promised(&self, at: i64) -> bool {
        self.promised.is_some_and(|promised| at <= super::columns::time_in(promised))
    }

    /// The period of a kind; `None` if its candidates are kept.
    fn of(&self, kind: Kind) -> Option<Duration> {
        match kind {
            Kind::Deleted | Kind::Orphan => Some(self.grace),
            Kind::Untagged => self.untagged,
            Kind::Link => Some(self.upload),
            Kind::ReleasedLink | Kind::Content => Some(Duration::ZERO),
        }
    }
}
