//! Credentials for an upstream: one account, sent as a password (Basic) or exchanged for tokens (Bearer), and the cache
//! of these tokens.
//!
//! The upstream names the token server (the realm), which then gets the password. So a realm is trusted only if its
//! host is the upstream's own or was named by the operator, and never over plain HTTP for an upstream with TLS.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

/// The capacity of the token cache.
const MAX_TOKENS: usize = 10_000;
/// The lifetime in seconds of a token without `expires_in` (distribution's token specification).
const DEFAULT_LIFETIME: u64 = 60;
/// A token is evicted this long before it expires, because it must outlast the request that carries it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(15);

/// The account for an upstream, and its cached tokens. Tokens are requested without an account too: some registries
/// require an anonymous token.
#[derive(Default)]
pub struct CredentialStore {
    basic: Option<HeaderValue>,
    trusted_hosts: Vec<String>,
    challenge: RwLock<Option<Challenge>>,
    tokens: Mutex<HashMap<String, (HeaderValue, Instant)>>,
}

/// The authentication scheme that an upstream requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: Uri, service: Option<String> },
}

/// Why an upstream got no credentials that it accepts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// It requires an account, and there is none.
    #[error("it requires an account, and none is configured")]
    AccountRequired,
    /// It rejects the account.
    #[error("it rejects the configured account")]
    AccountRejected,
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

/// The response of a token server.
#[derive(Deserialize)]
pub(crate) struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl CredentialStore {
    /// Creates the store with an account (user and password), and the hosts besides the upstream's own whose token
    /// servers may get its password.
    #[must_use]
    pub fn new(account: Option<(&str, &str)>, trusted_hosts: Vec<String>) -> Self {
        let basic = account.map(|(user, password)| {
            let mut value =
                HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
                    .expect("base64 is visible ASCII");
            value.set_sensitive(true);
            value
        });
        Self { basic, trusted_hosts, ..Self::default() }
    }

    pub(crate) fn has_account(&self) -> bool {
        self.basic.is_some()
    }

    /// The `Authorization` header with the password.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        self.basic.clone()
    }

    /// The last challenge of the upstream, if there was one.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Parses and stores the challenge in the headers of a 401 from the upstream at `host`.
    pub(crate) fn record_challenge(
        &self,
        headers: &HeaderMap,
        host: &str,
        is_tls: bool,
    ) -> Result<Challenge, AccessError> {
        let mut unsupported = String::new();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let text = value.to_str().unwrap_or_default();
            let challenge = match text.split_once(' ').unwrap_or((text, "")) {
                (scheme, _) if scheme.eq_ignore_ascii_case("basic") => Challenge::Basic,
                (scheme, parameters) if scheme.eq_ignore_ascii_case("bearer") => {
                    self.bearer(parameters, host, is_tls)?
                }
                _ => {
                    text.clone_into(&mut unsupported);
                    continue;
                }
            };
            *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge.clone());
            return Ok(challenge);
        }
        Err(AccessError::UnsupportedChallenge(unsupported))
    }

    fn bearer(&self, parameters: &str, host: &str, is_tls: bool) -> Result<Challenge, AccessError> {
        let parameters = parse_parameters(parameters);
        let named =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let text = named("realm").unwrap_or_default();
        let realm: Uri = text.parse().map_err(|_| AccessError::UnsupportedChallenge(text.to_owned()))?;
        let (Some(scheme), Some(realm_host)) = (realm.scheme_str(), realm.host()) else {
            return Err(AccessError::UnsupportedChallenge(text.to_owned()));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(AccessError::UnsupportedChallenge(text.to_owned()));
        }
        let is_trusted = realm_host.eq_ignore_ascii_case(host)
            || self.trusted_hosts.iter().any(|trusted| trusted.eq_ignore_ascii_case(realm_host));
        if !is_trusted {
            return Err(AccessError::UntrustedRealm(realm_host.to_owned()));
        }
        if is_tls && scheme != "https" {
            return Err(AccessError::InsecureRealm(text.to_owned()));
        }
        Ok(Challenge::Bearer { service: named("service").map(str::to_owned), realm })
    }

    /// The cached token for a scope, as an `Authorization` header.
    pub(crate) fn cached_token(&self, scope: &str) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(scope).filter(|(_, until)| *until > Instant::now()).map(|(value, _)| value.clone())
    }

    /// Caches the token of a response and returns its `Authorization` header; `None` if the response has no token.
    pub(crate) fn cache_token(&self, scope: &str, response: &TokenResponse) -> Option<HeaderValue> {
        let text = response.token.as_deref().or(response.access_token.as_deref())?;
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        let lifetime = Duration::from_secs(response.expires_in.unwrap_or(DEFAULT_LIFETIME).min(24 * 60 * 60));
        let until = Instant::now() + lifetime.saturating_sub(EXPIRY_MARGIN);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            let now = Instant::now();
            tokens.retain(|_, (_, until)| *until > now);
            if tokens.len() >= MAX_TOKENS {
                tokens.clear();
            }
        }
        tokens.insert(scope.to_owned(), (value.clone(), until));
        Some(value)
    }

    /// Evicts a token that the upstream rejected.
    pub(crate) fn evict_token(&self, scope: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }
}

/// Parses the parameters of a challenge: `name=value` or `name="value"`, separated by commas (RFC 9110 section 11.2).
fn parse_parameters(mut text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let value;
        if let Some(quoted) = rest.trim_start().strip_prefix('"') {
            let mut unquoted = String::new();
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, char)) = chars.next() {
                match char {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => unquoted.extend(chars.next().map(|(_, escaped)| escaped)),
                    char => unquoted.push(char),
                }
            }
            (value, text) = (unquoted, &quoted[end..]);
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (value, text) = (rest[..end].trim().to_owned(), &rest[end..]);
        }
        parameters.push((name, value));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(value: &'static str, host: &str, is_tls: bool) -> Result<Challenge, AccessError> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        let store = CredentialStore::new(None, vec!["auth.example.com".to_owned()]);
        store.record_challenge(&headers, host, is_tls)
    }

    #[test]
    fn challenge_parameters_may_be_quoted() {
        let text = r#"realm="https://a/token?x=1,2",service=plain , scope="a \"b\" c",error=x"#;
        let expected = [
            ("realm", "https://a/token?x=1,2"),
            ("service", "plain"),
            ("scope", "a \"b\" c"),
            ("error", "x"),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(parse_parameters(text), expected);
        assert_eq!(parse_parameters(""), []);
        assert_eq!(parse_parameters("realm=\"open").len(), 1);
    }

    #[test]
    fn realm_must_be_on_a_trusted_host() {
        let own = challenge(r#"Bearer realm="http://registry:5001/auth",service="r""#, "registry", false);
        let expected = Challenge::Bearer {
            realm: "http://registry:5001/auth".parse().unwrap(),
            service: Some("r".into()),
        };
        assert_eq!(own, Ok(expected));
        assert!(challenge(r#"Bearer realm="https://AUTH.example.com/t""#, "registry", true).is_ok());
        for realm in [
            r#"Bearer realm="https://evil.example/token""#,
            r#"Bearer realm="https://registry@evil.example/token""#,
            r#"Bearer realm="https://registry.evil.example/token""#,
        ] {
            assert!(
                matches!(challenge(realm, "registry", false), Err(AccessError::UntrustedRealm(_))),
                "{realm}"
            );
        }
        let downgrade = challenge(r#"Bearer realm="http://registry/token""#, "registry", true);
        assert!(matches!(downgrade, Err(AccessError::InsecureRealm(_))));
        for unknown in
            [r#"Bearer realm="/token""#, "Bearer", "Negotiate", "Bearer realm=\"file:///etc/passwd\""]
        {
            assert!(
                matches!(challenge(unknown, "registry", false), Err(AccessError::UnsupportedChallenge(_))),
                "{unknown}"
            );
        }
        assert_eq!(challenge("basic realm=\"x\"", "registry", false), Ok(Challenge::Basic));
    }

    #[test]
    fn tokens_are_evicted_before_they_expire() {
        let store = CredentialStore::default();
        let token = |expires_in| TokenResponse { token: None, access_token: Some("t".into()), expires_in };
        assert_eq!(store.cache_token("long", &token(Some(3600))).unwrap(), "Bearer t");
        assert_eq!(store.cached_token("long").unwrap(), "Bearer t");
        store.cache_token("short", &token(Some(5)));
        assert_eq!(store.cached_token("short"), None, "it expires within the margin");
        store.evict_token("long");
        assert_eq!(store.cached_token("long"), None);
        let bad = TokenResponse { token: Some("a\r\nb".into()), access_token: None, expires_in: None };
        assert_eq!(store.cache_token("bad", &bad), None);
    }
}
