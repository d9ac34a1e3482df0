//! Why an upstream gave no usable response.

use std::time::Duration;

use crate::access_error::AccessError;
use crate::body::SourceError;

/// The cause of a failure in another library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an upstream gave no usable response. The texts are for the log: they may name hosts of the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be made, or it broke.
    #[error("the upstream registry does not answer")]
    Unreachable(#[source] BoxError),
    /// A timeout elapsed.
    #[error("the upstream registry did not answer in time")]
    TimedOut,
    /// It requires credentials that this client does not have, or must not send.
    #[error("the upstream registry refuses access: {0}")]
    AccessDenied(#[source] AccessError),
    /// It answers 429.
    #[error("the upstream registry limits requests for the next {} s", retry_after.as_secs())]
    Limited {
        /// The wait that it asks for.
        retry_after: Duration,
    },
    /// It failed several times in a row, and is not called for a while.
    #[error("the upstream registry has failed several times and is not called for a while")]
    BreakerOpen,
    /// The response violates the protocol.
    #[error("invalid response of the upstream registry: {0}")]
    InvalidResponse(String),
    /// The source of the request's body failed. The upstream is not at fault.
    #[error("the body of the request ended early: {0}")]
    Body(#[source] SourceError),
}

/// Formats an error and its causes on one line. Skips a cause whose text the line contains already.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
