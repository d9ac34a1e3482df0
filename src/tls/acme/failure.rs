//! Why the authority issued no certificate, with advice for the operator.

use instant_acme::{Error, Problem};
use upstream::error_chain;

use crate::host::Host;
use crate::tls::pair::PairError;

/// Why no certificate was obtained. The subject of each message is the authority.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It does not answer, or its response is not ACME.
    #[error(
        "it cannot be reached: {0}; check tls.acme.directory, the network and, for a private authority, tls.acme.ca"
    )]
    Unreachable(String),
    #[error("it refuses: {}{}", problem_text(.0), advice(.0))]
    Refused(Problem),
    #[error("it could not validate {host}: {}; {advice}", reason.as_ref().map_or_else(|| "no reason given".to_owned(), problem_text))]
    ValidationFailed { host: String, reason: Option<Problem>, advice: &'static str },
    #[error("it does not accept {challenge} for {host}; it offers {offered}")]
    NoChallenge { host: String, challenge: &'static str, offered: String },
    #[error("it did not finish the order in time")]
    TimedOut,
    /// The certificate is invalid or does not match the key.
    #[error("its certificate is invalid: {0}")]
    InvalidCertificate(PairError),
    #[error("its certificate does not cover {0}")]
    HostMissing(Host),
    #[error("its certificate cannot be used for HTTPS: {0}")]
    Unusable(rustls::Error),
    #[error("the certificate request cannot be made: {0}; check tls.acme.hosts")]
    Request(#[from] rcgen::Error),
    /// A failure of this server.
    #[error("{0}")]
    Local(String),
}

impl Failure {
    /// Whether a retry may succeed without a change by the operator.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut => true,
            Self::Refused(problem) => {
                matches!(kind(problem), "badNonce" | "serverInternal")
                    || problem.status.is_some_and(|status| status >= 500)
            }
            _ => false,
        }
    }

    /// Whether the authority does not know the account (RFC 8555 section 6.7).
    pub(super) fn is_account_unknown(&self) -> bool {
        matches!(self, Self::Refused(problem) if kind(problem) == "accountDoesNotExist")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(problem),
            Error::Timeout(_) => Self::TimedOut,
            Error::Other(error) => Self::Unreachable(error_chain(&*error)),
            error @ (Error::Crypto | Error::KeyRejected) => Self::Local(error_chain(&error)),
            // Invalid JSON, or a missing field.
            error => Self::Unreachable(format!("its response is not valid ACME ({error})")),
        }
    }
}

/// The type of a problem without its URN prefix.
fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind)
}

fn problem_text(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| "without a reason".to_owned());
    for below in &problem.subproblems {
        if let Some(detail) = &below.detail {
            text = format!("{text}; {detail}");
        }
    }
    match kind(problem) {
        "" => text,
        kind => format!("{text} ({kind})"),
    }
}

/// Advice for the problem types of RFC 8555 section 6.7 that the operator can solve.
fn advice(problem: &Problem) -> &'static str {
    match kind(problem) {
        "invalidContact" | "unsupportedContact" => "; check tls.acme.contact",
        "rejectedIdentifier" | "unsupportedIdentifier" => "; check tls.acme.hosts",
        "caa" => "; the CAA records of the domain must name this authority",
        "externalAccountRequired" => {
            "; it requires an existing account: name it in tls.acme.external_account"
        }
        "userActionRequired" => "; its terms of service may have changed: read them",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Failure {
        Failure::from(Error::Api(serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn refusal_names_the_reason_and_the_setting() {
        let failure = refused(
            r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "status": 400, "detail": "no names of localhost",
                "subproblems": [{"detail": "not a public name"}]}"#,
        );
        assert_eq!(
            failure.to_string(),
            "it refuses: no names of localhost; not a public name (rejectedIdentifier); check tls.acme.hosts"
        );
        assert!(!failure.is_transient());
    }

    #[test]
    fn transient_failures_are_recognized() {
        assert!(refused(r#"{"type": "urn:ietf:params:acme:error:badNonce", "status": 400}"#).is_transient());
        assert!(refused(r#"{"status": 503}"#).is_transient());
        assert!(Failure::from(Error::Other("connection refused".into())).is_transient());
        assert!(
            !refused(r#"{"type": "urn:ietf:params:acme:error:rateLimited", "status": 429}"#).is_transient()
        );
        let unknown = refused(r#"{"type": "urn:ietf:params:acme:error:accountDoesNotExist"}"#);
        assert!(unknown.is_account_unknown() && !unknown.is_transient());
    }
}
