//! The error of a sign-in at an upstream.

/// Why an upstream got no credentials that it accepts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// It requires an account, and there is none.
    #[error("it requires an account, and none is configured")]
    AccountRequired,
    /// It rejects the account.
    #[error("it rejects the configured account")]
    AccountRejected,
    /// It gave a token, and denies access with it: the repository is private or does not exist.
    #[error("it denies access to the repository")]
    NotGranted,
    /// The challenge uses an unsupported scheme, or is malformed.
    #[error("it sends an unsupported challenge: {0:?}")]
    UnsupportedChallenge(String),
    /// The token server is on a host that is not trusted with the password.
    #[error("its token server is on another host, {0}, which is not trusted with the account")]
    UntrustedRealm(String),
    /// The token server has no TLS, and the upstream has.
    #[error("it uses HTTPS, and its token server at {0} would get the password in plain text")]
    InsecureRealm(String),
    /// The token server gave no token.
    #[error("{0}")]
    TokenUnavailable(String),
}
