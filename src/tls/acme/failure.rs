//! Why no certificate was obtained, in words that say what to do, and whether it passes by itself.

use instant_acme::{Error, Problem};

use super::directory::with_causes;
use crate::host::Host;
use crate::tls::pair::PairError;

/// Why no certificate was obtained. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It does not answer, or not as an authority does.
    #[error(
        "it cannot be reached: {0}; check tls.acme.directory, at the network and, for an authority of your own, at \
         tls.acme.ca"
    )]
    Unreachable(String),
    /// It says no.
    #[error("it refuses: {}{}", said(.0), advice(.0))]
    Refused(Problem),
    /// It looked whether a name leads here, and found that it does not.
    #[error("it could not verify that {host} leads to this server: {}; {way}", reason.as_ref().map_or_else(|| "no reason given".to_owned(), said))]
    Unproven {
        /// The name or address.
        host: String,
        /// What it says that it found.
        reason: Option<Problem>,
        /// How it comes here.
        way: &'static str,
    },
    /// It wants another proof than the one that can be given.
    #[error("it does not take {challenge} as proof for {host}; it offers {offered}")]
    NoChallenge {
        /// The name or address.
        host: String,
        /// The proof that the settings ask for.
        challenge: &'static str,
        /// Those that it takes.
        offered: String,
    },
    /// It takes too long.
    #[error("it did not finish the order in time")]
    Slow,
    /// What it gave is no certificate for the key.
    #[error("its certificate cannot be used: {0}")]
    NoCertificate(PairError),
    /// What it gave is a certificate for other hosts.
    #[error("its certificate is not for {0}")]
    NotFor(Host),
    /// What it gave cannot be used for TLS.
    #[error("its certificate cannot be used for HTTPS: {0}")]
    Unusable(rustls::Error),
    /// A host cannot be asked for.
    #[error("the certificate request cannot be made: {0}; check tls.acme.hosts")]
    Request(#[from] rcgen::Error),
    /// Something broke here.
    #[error("{0}")]
    Here(String),
}

impl Failure {
    /// Whether it may well be over in a moment, without anyone doing anything.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Slow => true,
            Self::Refused(problem) => {
                matches!(kind(problem), "badNonce" | "serverInternal")
                    || problem.status.is_some_and(|status| status >= 500)
            }
            _ => false,
        }
    }

    /// Whether the authority does not know the account with which it was asked (RFC 8555 section 6.7).
    pub(super) fn is_of_a_forgotten_account(&self) -> bool {
        matches!(self, Self::Refused(problem) if kind(problem) == "accountDoesNotExist")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(problem),
            Error::Timeout(_) => Self::Slow,
            Error::Other(error) => Self::Unreachable(with_causes(&*error)),
            error @ (Error::Crypto | Error::KeyRejected) => Self::Here(with_causes(&error)),
            // Not JSON, or not all that belongs there.
            error => Self::Unreachable(format!("its answer is not an authority's ({error})")),
        }
    }
}

/// The kind of a problem, without what all kinds begin with.
fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind)
}

fn said(problem: &Problem) -> String {
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

/// What to do about the kinds of RFC 8555 section 6.7 that are the operator's to put right.
fn advice(problem: &Problem) -> &'static str {
    match kind(problem) {
        "invalidContact" | "unsupportedContact" => "; check tls.acme.contact",
        "rejectedIdentifier" | "unsupportedIdentifier" => "; check tls.acme.hosts",
        "caa" => "; the CAA records of the domain name the authorities that may give certificates for it",
        "externalAccountRequired" => "; it wants an existing account: name it in tls.acme.external_account",
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
    fn what_the_authority_says_is_told_with_what_to_do() {
        let failure = refused(
            r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "status": 400, "detail": "no names of localhost",
                "subproblems": [{"detail": "not a public name"}]}"#,
        );
        assert_eq!(
            failure.to_string(),
            "it refuses: no names of localhost; not a public name (rejectedIdentifier); check tls.acme.hosts"
        );
        assert!(!failure.passes());
    }

    #[test]
    fn what_passes_by_itself() {
        assert!(refused(r#"{"type": "urn:ietf:params:acme:error:badNonce", "status": 400}"#).passes());
        assert!(refused(r#"{"status": 503}"#).passes());
        assert!(Failure::from(Error::Other("connection refused".into())).passes());
        assert!(!refused(r#"{"type": "urn:ietf:params:acme:error:rateLimited", "status": 429}"#).passes());
        let forgotten = refused(r#"{"type": "urn:ietf:params:acme:error:accountDoesNotExist"}"#);
        assert!(forgotten.is_of_a_forgotten_account() && !forgotten.passes());
    }
}
