//! What the registry refuses, and why.

use oci::{Digest, ManifestError, RepositoryName, TagOrDigest};
use store::StoreError;
use uuid::Uuid;

/// Why a request was not carried out. The text is meant for the person who made it, except for
/// [`Error::Store`], which is for the operator alone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such repository.
    #[error("there is no repository {0}")]
    NameUnknown(RepositoryName),
    /// No such manifest in the repository.
    #[error("there is no {target} in {repository}")]
    ManifestUnknown {
        /// The repository asked.
        repository: RepositoryName,
        /// What was asked for.
        target: TagOrDigest,
    },
    /// No such blob in the repository.
    #[error("there is no blob {digest} in {repository}")]
    BlobUnknown {
        /// The repository asked.
        repository: RepositoryName,
        /// The blob asked for.
        digest: Digest,
    },
    /// A blob of the repository whose stored bytes are missing or damaged.
    #[error(
        "blob {digest} of {repository} is missing or damaged in the storage of the registry; push the image again to \
         restore it"
    )]
    BlobDamaged {
        /// The repository asked.
        repository: RepositoryName,
        /// The blob asked for.
        digest: Digest,
    },
    /// A manifest of the repository whose stored bytes are missing or damaged.
    #[error(
        "manifest {digest} of {repository} is missing or damaged in the storage of the registry; push the image again to \
         restore it"
    )]
    ManifestDamaged {
        /// The repository asked.
        repository: RepositoryName,
        /// The manifest asked for.
        digest: Digest,
    },
    /// No such upload in the repository: never begun, ended, cancelled, expired, or of another one.
    #[error("there is no upload {0}: it was finished, cancelled or expired; begin a new one")]
    UploadUnknown(Uuid),
    /// The upload is being written to by another request.
    #[error("another request is writing to upload {0}; ask for its status, then go on from there")]
    UploadBusy(Uuid),
    /// The manifest is not one.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// Content to which the manifest refers is not in the repository.
    #[error("the manifest refers to content that is not in {repository}: push it first")]
    PartsMissing {
        /// The repository pushed to.
        repository: RepositoryName,
        /// Everything that is missing, in the manifest's order.
        missing: Vec<Digest>,
    },
    /// The manifest claims another size for content than it has.
    #[error("the manifest says that {digest} has {claimed} bytes, but it has {actual}")]
    PartSize {
        /// The config, layer or manifest.
        digest: Digest,
        /// Its size in bytes, as the manifest claims.
        claimed: u64,
        /// Its size in bytes.
        actual: u64,
    },
    /// The manifest is larger than the limit.
    #[error("the manifest is larger than {limit} bytes")]
    ManifestTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The blob is larger than the limit.
    #[error("the blob is larger than {limit} bytes")]
    BlobTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The content has another digest than was claimed.
    #[error("the content has the digest {actual} instead of {expected}; send it again")]
    DigestMismatch {
        /// The claim.
        expected: Digest,
        /// What was received.
        actual: Digest,
    },
    /// A chunk does not begin where the upload ends.
    #[error("the upload has {offset} bytes, and the chunk begins elsewhere")]
    OutOfOrder {
        /// The upload.
        id: Uuid,
        /// How many bytes the upload has.
        offset: u64,
    },
    /// A chunk is not as long as its range says.
    #[error("the chunk has {actual} bytes, its Content-Range says {expected}")]
    ChunkLength {
        /// What the range says.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// The body of a request did not arrive whole.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A repository holds entries that could not be adopted and may need its layers.
    #[error(
        "{repository} was not deleted: {problems} of its entries below repositories/ could not be adopted, and they may \
         need its layers; `wharfinger check` names them, and `wharfinger adopt` takes them over once the cause is gone"
    )]
    NotAdopted {
        /// The repository.
        repository: RepositoryName,
        /// The number of these entries.
        problems: u64,
    },
    /// The operator does not allow deletion.
    #[error("deletion is switched off in this registry (registry.delete = false)")]
    DeleteDisabled,
    /// No room left.
    #[error("no space left on the registry's disk; nothing was stored")]
    Full,
    /// The store cannot be written for now: another program has locked the database, or the content is not mounted.
    #[error("the registry cannot write for now")]
    Unavailable(#[source] StoreError),
    /// Too many passwords are being hashed.
    #[error("too many passwords are being checked at this moment; try again in a second")]
    Busy,
    /// A text is not taken as a new password.
    #[error(transparent)]
    PasswordRefused(#[from] crate::access::PasswordRefused),
    /// The name cannot be that of a user.
    #[error("{0} cannot be the name of a user: it is a robot's")]
    NameUnfit(accounts::AccountName),
    /// The htpasswd file cannot be used; only when a registry is opened.
    #[error(transparent)]
    Htpasswd(#[from] crate::access::HtpasswdError),
    /// Something broke that the client has no part in.
    #[error(transparent)]
    Store(StoreError),
}

impl Error {
    /// Whether what was asked for is not there.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::NameUnknown(_)
                | Self::ManifestUnknown { .. }
                | Self::BlobUnknown { .. }
                | Self::BlobDamaged { .. }
                | Self::ManifestDamaged { .. }
                | Self::UploadUnknown(_)
        )
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            full if full.is_full() => {
                tracing::warn!(error = %full, "no space left");
                Self::Full
            }
            error if error.is_locked() => Self::Unavailable(error),
            StoreError::ContentGone(_) => Self::Unavailable(error),
            StoreError::DigestMismatch { expected, actual } => Self::DigestMismatch { expected, actual },
            error => Self::Store(error),
        }
    }
}

/// Why the body of a request did not arrive whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The connection broke, or the body was not framed as HTTP wants it.
    #[error("the request's body ended early: {0}")]
    Torn(String),
    /// Nothing came for too long.
    #[error("no byte of the request's body came for {0} seconds")]
    Idle(u64),
    /// A body that is held in memory came too slowly.
    #[error("the request's body did not come within {0} seconds")]
    Slow(u64),
}
