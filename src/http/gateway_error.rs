//! Errors of requests that the gateway forwards.

use hyper::StatusCode;
use oci::{Digest, RepositoryName};
use registry::ReceiveError;
use upstream::{AccessError, BoxError, error_chain};

/// Why a request could not be forwarded. Clients read the message. The cause is for the log, because it may
/// name hosts of the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error(
        "the registry behind this gateway does not answer; try again, and if that does not help, tell its operator"
    )]
    Unreachable(#[source] BoxError),
    #[error(
        "the registry behind this gateway took too long to answer; try again, and if that does not help, tell its operator"
    )]
    TimedOut,
    /// The upstream requires credentials, and rejects those of the gateway.
    #[error(
        "the registry behind this gateway rejects the gateway's credentials; its operator finds the reason in the \
         gateway's log"
    )]
    AccessDenied(#[source] AccessError),
    #[error(
        "the registry behind this gateway gave an invalid response; its operator finds the reason in the gateway's log"
    )]
    InvalidResponse(String),
    /// A 5xx response whose body is not the protocol's: usually it comes from a proxy before the upstream.
    #[error(
        "the registry behind this gateway answers {0}; try again, and if that does not help, tell its operator"
    )]
    UpstreamFailed(StatusCode, String),
    /// The body of the client's request ended early.
    #[error(transparent)]
    Receive(ReceiveError),
    #[error("a blob may have at most {0} bytes here")]
    TooLarge(u64),
    /// No manifest is known that refers to the digest, and the upstream does not check that itself.
    #[error(
        "{digest} may not be read from {repository}: the gateway found no manifest there that names it, and the \
         repository is too large to be searched; pull a manifest that names it first"
    )]
    Unproven { repository: RepositoryName, digest: Digest },
    #[error("a gateway cannot answer this, because it stores no images; ask the registry behind it")]
    Unsupported,
    /// The upstream takes no deletion of a tag, which older registries do not have.
    #[error(
        "the registry behind this gateway cannot delete a tag alone; delete the image by its digest (wharfinger rm \
         {repository}@sha256:…), which removes all its tags"
    )]
    NoTagDeletion { repository: RepositoryName },
}

impl GatewayError {
    /// The message with its causes, and the setting to change, for the log.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::InvalidResponse(reason) | Self::UpstreamFailed(_, reason) => format!("{self}: {reason}"),
            Self::Unreachable(cause) => format!("{self}: {}", error_chain(&**cause)),
            Self::AccessDenied(cause) => format!("{self}: {cause}{}", advice(cause)),
            Self::TimedOut
            | Self::Receive(_)
            | Self::TooLarge(_)
            | Self::Unproven { .. }
            | Self::Unsupported
            | Self::NoTagDeletion { .. } => self.to_string(),
        }
    }
}

/// The setting that makes an upstream accept the gateway.
fn advice(error: &AccessError) -> &'static str {
    match error {
        AccessError::AccountRequired => "; set gateway.credentials",
        AccessError::AccountRejected => "; correct gateway.credentials",
        AccessError::UntrustedRealm(_) => {
            "; if that host may get the password, add it to gateway.token_hosts"
        }
        AccessError::UnsupportedChallenge(_)
        | AccessError::NotGranted
        | AccessError::InsecureRealm(_)
        | AccessError::TokenUnavailable(_) => "",
    }
}

impl From<upstream::Error> for GatewayError {
    fn from(error: upstream::Error) -> Self {
        match error {
            upstream::Error::Unreachable(cause) => Self::Unreachable(cause),
            upstream::Error::TimedOut => Self::TimedOut,
            upstream::Error::AccessDenied(cause) => Self::AccessDenied(cause),
            upstream::Error::InvalidResponse(reason) => Self::InvalidResponse(reason),
            limit @ (upstream::Error::Limited { .. } | upstream::Error::BreakerOpen) => {
                Self::Unreachable(limit.to_string().into())
            }
            upstream::Error::Body(error) => match error.downcast_ref::<Self>() {
                Some(Self::Receive(error)) => Self::Receive(error.clone()),
                Some(Self::TooLarge(limit)) => Self::TooLarge(*limit),
                _ => Self::Unreachable(error.into()),
            },
        }
    }
}
