//! Why an upstream's answer did not come, or is none that a client could use.

use hyper::StatusCode;
use oci::{Digest, RepositoryName};
use registry::ReceiveError;

use super::upstream_body::Broken;

/// Why a request could not be carried out by a registry behind the gateway. Clients hear the text of each; the reason
/// in [`Error::Unreachable`] and the like is for the log, since it may name hosts that are not theirs to know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// None could be connected to, or the connection broke.
    #[error(
        "the registry behind this gateway does not answer; try again, and if that does not help, tell its operator"
    )]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error(
        "the registry behind this gateway took too long to answer; try again, and if that does not help, tell its operator"
    )]
    TimedOut,
    /// It wants credentials, and does not take the gateway's.
    #[error(
        "the registry behind this gateway does not let the gateway in; its operator finds the reason in the gateway's log"
    )]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its answer makes no sense, such as an address that only it could know.
    #[error(
        "the registry behind this gateway gave an answer that cannot be passed on; its operator finds the reason in the \
         gateway's log"
    )]
    InvalidResponse(String),
    /// It says that it cannot do its work, in words that are not the protocol's: often they are of a proxy before it.
    #[error(
        "the registry behind this gateway answers {0}; try again, and if that does not help, tell its operator"
    )]
    UpstreamFailed(StatusCode, String),
    /// The client's own body ended early.
    #[error(transparent)]
    Receive(ReceiveError),
    /// The client's own body is that of a blob which is larger than the operator allows.
    #[error("a blob has at most {0} bytes here")]
    TooLarge(u64),
    /// Nothing shows that a repository refers to a digest, and the registry behind does not tell repositories apart.
    #[error(
        "{digest} may not be read from {repository}: the gateway found no manifest there that names it, and the \
         repository is too large to be searched; pull a manifest that names it first"
    )]
    Unproven {
        /// The repository.
        repository: RepositoryName,
        /// The digest of the blob.
        digest: Digest,
    },
    /// A gateway keeps no images, so that this is not known here.
    #[error("a gateway cannot tell this, as it keeps no images; ask the registry behind it")]
    Unsupported,
}

impl Error {
    /// What went wrong, with its causes, for the log.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::InvalidResponse(why) | Self::UpstreamFailed(_, why) => format!("{self}: {why}"),
            Self::Unreachable(cause) | Self::Refused(cause) => format!("{self}: {}", chain(&**cause)),
            Self::TimedOut
            | Self::Receive(_)
            | Self::TooLarge(_)
            | Self::Unproven { .. }
            | Self::Unsupported => self.to_string(),
        }
    }

    /// A reason in words.
    pub(super) fn refused(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Refused(why.into())
    }
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Receive(error) => Self::Receive(error),
            Broken::TooLarge(limit) => Self::TooLarge(limit),
        }
    }
}

/// An error with its causes, in a line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
