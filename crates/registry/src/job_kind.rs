//! The kinds of background jobs.

/// A kind of background job. The label `kind` of the metrics, `GET /api/v1/jobs` and the page of jobs have its
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Its progress counts bytes written.
    Backup,
    /// Its progress counts bytes read.
    Check,
    /// Its progress counts manifests, links and files removed.
    Collection,
    /// The eviction of cached content of upstreams.
    Eviction,
    /// The removal of idle uploads.
    Expiry,
    /// The removal of leftovers of ended uploads from a bucket.
    Leftovers,
    /// The move to other storage.
    Move,
    /// The prefetch of images of upstreams. Its progress counts images.
    Prefetch,
    /// The deletion of repositories.
    RepositoryDeletion,
    /// Its progress counts repositories.
    Retention,
    /// The copy of the metadata to the bucket.
    Shipping,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Backup,
        Self::Check,
        Self::Collection,
        Self::Eviction,
        Self::Expiry,
        Self::Leftovers,
        Self::Move,
        Self::Prefetch,
        Self::RepositoryDeletion,
        Self::Retention,
        Self::Shipping,
    ];

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Check => "check",
            Self::Collection => "garbage-collection",
            Self::Eviction => "upstream-eviction",
            Self::Expiry => "upload-expiry",
            Self::Leftovers => "upload-leftovers",
            Self::Move => "move",
            Self::Prefetch => "upstream-prefetch",
            Self::RepositoryDeletion => "repository-deletion",
            Self::Retention => "retention",
            Self::Shipping => "metadata-shipping",
        }
    }
}
