//! Why a pull through the cache fails.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oci::{Digest, RepositoryName, Tag, TagOrDigest};

use crate::Error;

/// Why a pull through the cache fails. The texts are for the client, and name no address of an upstream.
#[allow(missing_docs, reason = "the names of most fields say what they hold")]
#[derive(Clone, Debug, thiserror::Error)]
pub enum MirrorError {
    /// The operator does not allow this repository.
    #[error("{repository} may not be pulled through this registry: the rules for {upstream} do not allow it")]
    NotAllowed { upstream: String, repository: RepositoryName },
    /// The content is not here, and the caller may not fetch it.
    #[error(
        "{repository} is not completely cached here, and only accounts with the right to fill may fetch from {upstream}"
    )]
    MayNotFill { upstream: String, repository: RepositoryName },
    /// The upstream does not have the manifest, or does not show it.
    #[error("{upstream} has no manifest {target} in {repository}, or it is private there")]
    ManifestAbsent {
        upstream: String,
        repository: RepositoryName,
        /// The requested tag or digest.
        target: TagOrDigest,
    },
    /// The upstream does not have the blob.
    #[error("{upstream} has no blob {digest} in {repository}, or it is private there")]
    BlobAbsent {
        upstream: String,
        repository: RepositoryName,
        /// The requested blob.
        digest: Digest,
    },
    /// The upstream answers 429.
    #[error("{upstream} limits the requests of this registry; try again in {} s", retry_after.as_secs().max(1))]
    Limited {
        upstream: String,
        /// The wait that it asks for.
        retry_after: Duration,
    },
    /// The upstream does not answer, or not to this account.
    #[error("{upstream} does not answer this registry; its operator finds the reason in the log")]
    Down {
        upstream: String,
        /// For the log.
        reason: String,
    },
    /// The answer of the upstream violates the protocol, or has another digest.
    #[error("{upstream} gave an invalid answer; the operator of this registry finds the reason in the log")]
    Invalid {
        upstream: String,
        /// For the log.
        reason: String,
    },
    /// The digest is too new.
    #[error(
        "{repository}:{tag} is in quarantine: {digest} appeared in {upstream} recently, and is served in {} s",
        rest(until)
    )]
    Quarantined {
        upstream: String,
        repository: RepositoryName,
        tag: Tag,
        /// The new digest.
        digest: Digest,
        /// The end of the quarantine.
        until: SystemTime,
    },
    /// A push below the name of an upstream.
    #[error(
        "{repository} is cached from {upstream}, and takes no pushes; push to another name, or let the operator set \
         push = \"overlay\" for {upstream}"
    )]
    PushRefused { upstream: String, repository: RepositoryName },
    /// The namespace is none of this registry's upstreams.
    #[error("this registry does not mirror {0}")]
    UnknownNamespace(String),
    /// An error of this registry itself.
    #[error(transparent)]
    Registry(Arc<Error>),
}

fn rest(until: &SystemTime) -> u64 {
    until.duration_since(SystemTime::now()).unwrap_or_default().as_secs().max(1)
}

impl From<Error> for MirrorError {
    fn from(error: Error) -> Self {
        Self::Registry(Arc::new(error))
    }
}

impl From<store::StoreError> for MirrorError {
    fn from(error: store::StoreError) -> Self {
        Error::from(error).into()
    }
}

impl MirrorError {
    /// Converts an error of the client of an upstream.
    pub(super) fn of_upstream(name: &str, error: &upstream::Error) -> Self {
        let (upstream, reason) = (name.to_owned(), upstream::error_chain(error));
        match error {
            upstream::Error::Limited { retry_after } => Self::Limited { upstream, retry_after: *retry_after },
            upstream::Error::InvalidResponse(_) => Self::Invalid { upstream, reason },
            _ => Self::Down { upstream, reason },
        }
    }

    /// Whether the upstream does not have the content, or the operator does not allow it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::ManifestAbsent { .. } | Self::BlobAbsent { .. } | Self::NotAllowed { .. } => true,
            Self::Registry(error) => error.is_unknown(),
            _ => false,
        }
    }

    /// The reason for the log, beyond the text for clients.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Down { reason, .. } | Self::Invalid { reason, .. } => Some(reason),
            _ => None,
        }
    }
}
