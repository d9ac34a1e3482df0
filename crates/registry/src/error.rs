//! Errors of the registry.

use accounts::AccountName;
use oci::{Digest, ManifestError, MediaType, RepositoryName, Tag, TagOrDigest};
use store::StoreError;
use store::metadata::{ContentRefusal, ErasureMark, QuotaExcess, TagRefusal};
use uuid::Uuid;

/// The reason why an operation failed. The text is for the client, except for [`Error::Store`], which is for
/// the operator alone.
#[allow(missing_docs, reason = "the names of most fields say what they hold")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository does not exist.
    #[error("there is no repository {0}")]
    NameUnknown(RepositoryName),
    /// The repository has no such manifest.
    #[error("there is no {} {target} in {repository}", .target.noun())]
    ManifestUnknown {
        repository: RepositoryName,
        /// The requested tag or digest.
        target: TagOrDigest,
    },
    /// The repository has no such blob.
    #[error("there is no blob {digest} in {repository}")]
    BlobUnknown {
        repository: RepositoryName,
        /// The requested blob.
        digest: Digest,
    },
    /// No repository holds this content, or not the requested one.
    #[error("there is no content {digest}{}", .repository.as_ref().map(|name| format!(" in {name}")).unwrap_or_default())]
    ContentUnknown { digest: Digest, repository: Option<RepositoryName> },
    /// The stored bytes of the blob are missing or damaged.
    #[error(
        "blob {digest} of {repository} is missing or damaged in the storage of the registry; push the image again to \
         restore it"
    )]
    BlobDamaged {
        repository: RepositoryName,
        /// The requested blob.
        digest: Digest,
    },
    /// The stored bytes of the manifest, or of its layers, are missing or damaged.
    #[error(
        "manifest {digest} of {repository} is missing or damaged in the storage of the registry; push the image again to \
         restore it"
    )]
    ManifestDamaged {
        repository: RepositoryName,
        /// The requested manifest.
        digest: Digest,
    },
    /// The upload does not exist in this repository for this account.
    #[error("there is no upload {0}: it was finished, cancelled or has expired; begin a new one")]
    UploadUnknown(Uuid),
    /// The upload is being written to by another request.
    #[error("another request is writing to upload {0}; ask for its status, then go on from there")]
    UploadBusy(Uuid),
    /// The manifest is malformed.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The repository lacks required parts of the manifest.
    #[error("the manifest refers to content that is not in {repository}: push it first")]
    PartsMissing {
        /// The target of the push.
        repository: RepositoryName,
        /// The missing parts, in the order of the manifest.
        missing: Vec<Digest>,
    },
    /// The manifest claims a wrong size for a part.
    #[error("the manifest says that {digest} has {claimed} bytes, but it has {actual}")]
    PartSize {
        /// The digest of the part.
        digest: Digest,
        /// The size in the manifest, in bytes.
        claimed: u64,
        /// The size of the part in bytes.
        actual: u64,
    },
    /// The manifest describes another manifest with a wrong media type.
    #[error("the manifest says that {digest} is {claimed}, but it was pushed as {actual}")]
    PartMediaType {
        /// The digest of the other manifest.
        digest: Digest,
        /// The media type in the manifest.
        claimed: MediaType,
        /// The media type of the other manifest.
        actual: MediaType,
    },
    /// The manifest has too many parts.
    #[error("the manifest lists {parts} parts; at most 10,000 are allowed")]
    TooManyParts { parts: usize },
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
    /// The content does not have the claimed digest.
    #[error("the content has the digest {actual} instead of {expected}; send it again")]
    DigestMismatch {
        /// The claimed digest.
        expected: Digest,
        /// The digest of the received bytes.
        actual: Digest,
    },
    /// The chunk does not begin at the end of the upload.
    #[error("the upload has {offset} bytes, but the chunk begins at another offset")]
    OutOfOrder {
        id: Uuid,
        /// The number of bytes that the upload has.
        offset: u64,
    },
    /// The chunk does not have the length of its range.
    #[error("the chunk has {actual} bytes, but its Content-Range has {expected}")]
    ChunkLength {
        /// The length of the range.
        expected: u64,
        /// The received length.
        actual: u64,
    },
    /// The request body is incomplete.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A repository holds entries that could not be adopted and may need its layers.
    #[error(
        "{repository} was not deleted: {problems} of its entries below repositories/ could not be adopted, and they may \
         need its layers; `wharfinger check` names them, and `wharfinger adopt` takes them over once the cause is gone"
    )]
    NotAdopted {
        repository: RepositoryName,
        /// The number of these entries.
        problems: u64,
    },
    /// The policy does not allow deletion.
    #[error("deletion is switched off in this registry (registry.delete = false)")]
    DeleteDisabled,
    /// A rule refuses the change of a tag.
    #[error("{}", refused_tag(repository, tag, refusal))]
    TagRefused { repository: RepositoryName, tag: Tag, refusal: TagRefusal },
    /// A rule on a tag refuses the deletion of content that its image needs.
    #[error("{}", refused_content(.0))]
    ContentRefused(Box<ContentRefusal>),
    /// The account has too many unfinished uploads.
    #[error(
        "{} {limit} unfinished uploads of the last ten minutes: finish or cancel some, or try again later",
        .account.as_ref().map_or("anonymous clients have".to_owned(), |account| format!("{account} has"))
    )]
    TooManyUploads {
        /// The account; `None` for anonymous clients.
        account: Option<AccountName>,
        limit: usize,
    },
    /// A change would exceed a quota.
    #[error("{}", exceeded(.0))]
    QuotaExceeded(Box<QuotaExcess>),
    /// An upload would use the free space that the operator keeps back.
    #[error(
        "no space left on the registry's disk: {} are free, of which the operator keeps back {} (storage.reserve); \
         nothing was stored", human_size(*free), human_size(*reserve)
    )]
    ReserveReached {
        /// The free space in bytes.
        free: u64,
        /// The reserve in bytes.
        reserve: u64,
    },
    /// The tag has no recorded change.
    #[error("no change of {repository}:{tag} is recorded")]
    NoHistory { repository: RepositoryName, tag: Tag },
    /// The tag has no earlier state.
    #[error("{repository}:{tag} cannot be taken back: {reason}")]
    NothingToUndo { repository: RepositoryName, tag: Tag, reason: &'static str },
    /// The manifest was deleted for good.
    #[error("{target} is no longer in {repository}: {}, so that only a push restores it", why_gone(.erasure.as_deref()))]
    ManifestGone {
        repository: RepositoryName,
        target: TagOrDigest,
        /// The erasure of the manifest; `None` if its grace period has ended.
        erasure: Option<Box<ErasureMark>>,
    },
    /// No tag of the repository ever pointed to the manifest.
    #[error(
        "there is no image {digest} in {repository}, and no tag in the history of {repository} pointed to it; \
         `wharfinger history {repository}` shows the digests to go back to"
    )]
    NotInHistory { repository: RepositoryName, digest: Digest },
    /// No deletion of a retention run is recorded.
    #[error(
        "there is no retention run {0} that deleted tags; the audit log and the history of a tag name the runs"
    )]
    NoRun(String),
    /// The disk is full.
    #[error("no space left on the registry's disk (see df -h and df -i); nothing was changed")]
    Full,
    /// The file system is read-only.
    #[error("the registry's disk is read-only; nothing was changed")]
    ReadOnly,
    /// The registry is moving to another storage.
    #[error(
        "the registry is moving to another storage: pulls go on, and pushes are possible again once the server has been \
         restarted there; try again later"
    )]
    Moving,
    /// Only the primary of several servers makes changes.
    #[error(
        "this server is a replica, and only the primary server of the registry does that: name any server with --server URL"
    )]
    Replica,
    /// The database is locked by another program, the content is not mounted, or the object store fails.
    #[error("the registry cannot reach its storage at the moment; its log has the cause; try again later")]
    Unavailable(#[source] StoreError),
    /// The queue of password hashes is full.
    #[error("too many passwords are being checked; try again in a second")]
    Busy,
    /// The new password breaks a rule.
    #[error(transparent)]
    PasswordRefused(#[from] crate::access::PasswordRefused),
    /// The name is not valid for a user.
    #[error("{0} cannot be the name of a user: a name with `+` is that of a robot")]
    NameUnfit(accounts::AccountName),
    /// The htpasswd file cannot be read when the registry is opened.
    #[error(transparent)]
    Htpasswd(#[from] crate::access::HtpasswdError),
    /// An internal error.
    #[error(transparent)]
    Store(StoreError),
}

impl Error {
    /// Whether the requested object does not exist, or is damaged.
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
            StoreError::TagRefused(refused) => {
                let (repository, tag, refusal) = *refused;
                Self::TagRefused { repository, tag, refusal }
            }
            StoreError::ContentRefused(refusal) => Self::ContentRefused(refusal),
            StoreError::QuotaExceeded(excess) => Self::QuotaExceeded(excess),
            error if error.is_read_only() => {
                tracing::error!(%error, "the disk is read-only");
                Self::ReadOnly
            }
            StoreError::Moving => Self::Moving,
            StoreError::Replica => Self::Replica,
            error if error.is_locked() || error.is_away() => Self::Unavailable(error),
            StoreError::ContentGone(_) | StoreError::DatabaseGone(_) | StoreError::ObjectStore { .. } => {
                Self::Unavailable(error)
            }
            StoreError::DigestMismatch { expected, actual } => Self::DigestMismatch { expected, actual },
            error => Self::Store(error),
        }
    }
}

fn why_gone(erasure: Option<&ErasureMark>) -> String {
    let Some(ErasureMark { at, account }) = erasure else {
        return "its grace period (gc.grace) has ended".to_owned();
    };
    let at: chrono::DateTime<chrono::Utc> = (*at).into();
    let by = account.as_ref().map(|account| format!(" by {account}"));
    format!("it was erased on {}{}", at.format("%Y-%m-%dT%H:%M:%SZ"), by.unwrap_or_default())
}

fn refused_tag(repository: &RepositoryName, tag: &Tag, refusal: &TagRefusal) -> String {
    let TagRefusal { is_immutable, pattern } = refusal;
    if *is_immutable {
        format!(
            "the tag {tag} of {repository} is immutable (rule \"{pattern}\"): it can neither be moved nor deleted; push \
             another tag, or change the rule"
        )
    } else {
        format!(
            "the tag {tag} of {repository} is protected (rule \"{pattern}\"): only an administrator may delete it"
        )
    }
}

fn refused_content(refusal: &ContentRefusal) -> String {
    let ContentRefusal { digest, repository, tag, rule: TagRefusal { is_immutable, pattern } } = refusal;
    let rule = match is_immutable {
        true => "is immutable",
        false => "is protected, and only an administrator may delete it",
    };
    format!(
        "{digest} cannot be deleted: the image {repository}:{tag} needs it, which {rule} (rule \"{pattern}\")"
    )
}

fn exceeded(excess: &QuotaExcess) -> String {
    let QuotaExcess { scope, is_bytes, used, limit, unfinished, deleted } = excess;
    if *unfinished > 0 {
        let [used, unfinished, limit] = [used, unfinished, limit].map(|bytes| human_size(*bytes));
        return format!(
            "the quota of {scope} is exceeded: {used} of {limit} are used, and unfinished uploads hold {unfinished}; finish \
             or cancel them, or wait until they expire (registry.upload_expiry)"
        );
    }
    if *is_bytes {
        let [used, limit, held] = [used, limit, deleted].map(|bytes| human_size(*bytes));
        if *deleted > 0 {
            return format!(
                "the quota of {scope} is exceeded: {used} of {limit} used, {held} of it by deleted images that can be \
                 restored until gc.grace has passed: wait until then, or ask an administrator to erase them at once \
                 (wharfinger erase), to shorten gc.grace, or to raise the quota"
            );
        }
        return format!(
            "the quota of {scope} is exceeded: {used} of {limit} used. Deleted images count until gc.grace has passed: \
             delete images and wait, or ask an administrator to erase them at once (wharfinger erase), to shorten \
             gc.grace, or to raise the quota"
        );
    }
    let tags = if *limit == 1 { "tag" } else { "tags" };
    format!(
        "the quota of {scope} is exceeded: {used} of {limit} {tags} used; delete tags, or ask an administrator to raise \
         the quota"
    )
}

/// Formats a number of bytes: `4.0 MiB`.
fn human_size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// The reason why a request body is incomplete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The connection broke, or the framing of the body is not valid HTTP.
    #[error("the request body ended early: {0}")]
    Torn(String),
    /// The idle timeout of the body has passed.
    #[error("the request body timed out: no byte arrived for {0} seconds")]
    Idle(u64),
    /// A body that is held in memory exceeded its total timeout.
    #[error("the request body timed out: it did not arrive within {0} seconds")]
    Slow(u64),
    /// The sign-in or the right no longer holds at the end of the body.
    #[error("the right to do this was revoked while the request was being sent")]
    Revoked,
    /// The accounts may have changed, and cannot be read.
    #[error("the right to do this cannot be checked at the moment; try again later")]
    Unchecked,
}
