//! Credentials for an upstream: one account, sent as a password (Basic) or exchanged for tokens (Bearer), and
//! the cache of these tokens.
//!
//! The upstream names the token server (the realm), which then gets the password. So a realm is trusted only
//! if its host is the upstream's own or was named by the operator, and never over plain HTTP for an upstream
//! with TLS.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use crate::access_error::AccessError;
use crate::helper::{CredentialHelper, Secret};

/// The capacity of the token cache.
const MAX_TOKENS: usize = 10_000;
/// The lifetime in seconds of a token without `expires_in` (distribution's token specification).
const DEFAULT_LIFETIME: u64 = 60;
/// A token is evicted this long before it expires, because it must outlast the request that carries it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(15);

/// The account for an upstream, and its cached tokens. Tokens are requested without an account too: some
/// registries require an anonymous token.
#[derive(Default)]
pub struct CredentialStore {
    account: Account,
    trusted_hosts: Vec<String>,
    /// Whether every realm over HTTPS is trusted while there is no account: it then gets no secret.
    any_realm: bool,
    challenge: RwLock<Option<Challenge>>,
    tokens: Mutex<HashMap<String, (HeaderValue, Instant)>>,
}

/// The account for an upstream.
#[derive(Default)]
pub enum Account {
    /// No account.
    #[default]
    None,
    /// A user with a password.
    Password {
        user: String,
        /// The password or access token.
        password: String,
    },
    /// A refresh token of the token protocol.
    IdentityToken(String),
    /// A command that prints one of the others.
    Helper(CredentialHelper),
}

/// The authentication scheme that an upstream requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: Uri,
        service: Option<String>,
        /// Scopes that the upstream wants besides those of repositories: ECR Public has `aws`.
        extra_scope: Option<String>,
    },
}

/// The response of a token server.
#[derive(Deserialize)]
pub(crate) struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// The response of a token server that refuses a token.
#[derive(Deserialize)]
pub(crate) struct TokenRefusal {
    #[serde(rename = "errors")]
    _errors: Vec<serde::de::IgnoredAny>,
}

impl CredentialStore {
    /// Creates the store with an account (user and password), and the hosts besides the upstream's own whose
    /// token servers may get its password.
    #[must_use]
    pub fn new(account: Option<(&str, &str)>, trusted_hosts: Vec<String>) -> Self {
        let account = account.map(|(user, password)| Account::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        });
        Self { account: account.unwrap_or_default(), trusted_hosts, ..Self::default() }
    }

    /// Creates the store with any kind of account. Without an account, every token server over HTTPS is
    /// asked.
    #[must_use]
    pub fn with_account(account: Account, trusted_hosts: Vec<String>) -> Self {
        Self { account, trusted_hosts, any_realm: true, ..Self::default() }
    }

    pub(crate) fn has_account(&self) -> bool {
        !matches!(self.account, Account::None)
    }

    /// The `Authorization` header with the password.
    pub(crate) async fn basic(&self) -> Result<Option<HeaderValue>, AccessError> {
        match &self.account {
            Account::Password { user, password } => Ok(basic(user, password)),
            Account::Helper(helper) => match helper.account().await? {
                Secret::Password { user, password } => Ok(basic(&user, &password)),
                Secret::IdentityToken(_) => Ok(None),
            },
            Account::None | Account::IdentityToken(_) => Ok(None),
        }
    }

    /// The refresh token of the account, if it is one.
    pub(crate) async fn identity_token(&self) -> Result<Option<String>, AccessError> {
        match &self.account {
            Account::IdentityToken(token) => Ok(Some(token.clone())),
            Account::Helper(helper) => match helper.account().await? {
                Secret::IdentityToken(token) => Ok(Some(token)),
                Secret::Password { .. } => Ok(None),
            },
            Account::None | Account::Password { .. } => Ok(None),
        }
    }

    /// Asks a credential helper again, because the upstream rejected its account.
    pub(crate) fn forget_account(&self) {
        if let Account::Helper(helper) = &self.account {
            helper.forget();
        }
    }

    /// The last challenge of the upstream, if there was one.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the last challenge, because its token server gives no token.
    pub(crate) fn forget_challenge(&self) {
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = None;
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
            // The realm is pinned: an upstream that names another one later gets no new trust.
            if let (
                Some(Challenge::Bearer { realm: pinned, service, extra_scope }),
                Challenge::Bearer { realm, .. },
            ) = (self.challenge(), &challenge)
                && pinned.host() != realm.host()
            {
                return Ok(Challenge::Bearer { realm: pinned, service, extra_scope });
            }
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
        let is_trusted = (self.any_realm && !self.has_account())
            || realm_host.eq_ignore_ascii_case(host)
            || self.trusted_hosts.iter().any(|trusted| trusted.eq_ignore_ascii_case(realm_host));
        if !is_trusted {
            return Err(AccessError::UntrustedRealm(realm_host.to_owned()));
        }
        if is_tls && scheme != "https" {
            return Err(AccessError::InsecureRealm(text.to_owned()));
        }
        let extra = named("scope").unwrap_or_default().split(' ');
        let extra: Vec<&str> =
            extra.filter(|scope| !scope.is_empty() && !scope.starts_with("repository:")).collect();
        let extra_scope = (!extra.is_empty()).then(|| extra.join(" "));
        let service = named("service").filter(|service| !service.is_empty()).map(str::to_owned);
        Ok(Challenge::Bearer { realm, service, extra_scope })
    }

    /// The cached token for a scope, as an `Authorization` header.
    pub(crate) fn cached_token(&self, scope: &str) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(scope).filter(|(_, until)| *until > Instant::now()).map(|(value, _)| value.clone())
    }

    /// Caches the token of a response and returns its `Authorization` header; `None` if the response has no
    /// token.
    pub(crate) fn cache_token(&self, scope: &str, response: &TokenResponse) -> Option<HeaderValue> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        // Harbor sends an empty `access_token` besides the token.
        let text = filled(&response.token).or_else(|| filled(&response.access_token))?;
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        let lifetime = Duration::from_secs(
            response.expires_in.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_LIFETIME).min(24 * 60 * 60),
        );
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

/// The scope that the Bearer challenge of a response names.
pub(crate) fn challenged_scope(headers: &HeaderMap) -> Option<String> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut bearer = challenges.filter_map(|text| {
        let (scheme, parameters) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| parse_parameters(parameters))
    });
    bearer.next()?.into_iter().find(|(name, _)| name == "scope").map(|(_, scope)| scope)
}

fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Parses the parameters of a challenge: `name=value` or `name="value"`, separated by commas (RFC 9110
/// section 11.2).
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
            extra_scope: None,
        };
        assert_eq!(own, Ok(expected));
        challenge(r#"Bearer realm="https://AUTH.example.com/t""#, "registry", true).unwrap();
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
    fn realm_is_pinned_and_other_scopes_are_kept() {
        let store = CredentialStore::with_account(Account::None, Vec::new());
        let record = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));
            store.record_challenge(&headers, "public.ecr.aws", true)
        };
        let first =
            record(r#"Bearer realm="https://auth.example.net/token/",service="s",scope="aws""#).unwrap();
        assert!(matches!(&first, Challenge::Bearer { extra_scope: Some(scope), .. } if scope == "aws"));
        assert_eq!(record(r#"Bearer realm="https://other.example.net/token""#), Ok(first));
        let account = Account::Password { user: "u".into(), password: "p".into() };
        let store = CredentialStore::with_account(account, Vec::new());
        let mut headers = HeaderMap::new();
        headers
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="https://evil.example/t""#));
        let refused = store.record_challenge(&headers, "registry.example", true);
        assert_eq!(refused, Err(AccessError::UntrustedRealm("evil.example".to_owned())));
    }

    /// The challenges and token answers of public registries. Those marked with (t) rest on tests and logs of
    /// other projects, the others on documentation or source code.
    #[test]
    fn challenges_of_public_registries_are_understood() {
        let cases = [
            // Docker Hub
            (
                "registry-1.docker.io",
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/ubuntu:pull""#,
                r#"{"token":"t","access_token":"t","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}"#,
                Some("registry.docker.io"),
                None,
            ),
            // GHCR, with its placeholder scope (t)
            (
                "ghcr.io",
                r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull""#,
                r#"{"token":"t"}"#,
                Some("ghcr.io"),
                None,
            ),
            // Quay
            (
                "quay.io",
                r#"Bearer realm="https://quay.io/v2/auth",service="quay.io""#,
                r#"{"token":"t"}"#,
                Some("quay.io"),
                None,
            ),
            // ECR Public (t)
            (
                "public.ecr.aws",
                r#"Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws""#,
                r#"{"token":"t"}"#,
                Some("public.ecr.aws"),
                Some("aws"),
            ),
            // Google, with an unquoted service (t)
            (
                "europe-docker.pkg.dev",
                r#"Bearer realm="https://europe-docker.pkg.dev/v2/token",service=europe-docker.pkg.dev"#,
                r#"{"token":"t","expires_in":3600,"issued_at":"2026-01-01T00:00:00Z"}"#,
                Some("europe-docker.pkg.dev"),
                None,
            ),
            // Azure
            (
                "team.azurecr.io",
                r#"Bearer realm="https://team.azurecr.io/oauth2/token",service="team.azurecr.io",scope="repository:app:metadata_read""#,
                r#"{"access_token":"t"}"#,
                Some("team.azurecr.io"),
                None,
            ),
            // GitLab.com, whose token server has another host
            (
                "registry.gitlab.com",
                r#"Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:a/b:pull",error="invalid_token""#,
                r#"{"token":"t"}"#,
                Some("container_registry"),
                None,
            ),
            // Harbor, with an empty access token
            (
                "harbor.example.com",
                r#"Bearer realm="https://harbor.example.com/service/token",service="harbor-registry""#,
                r#"{"token":"t","access_token":"","expires_in":1800,"issued_at":"2026-01-01T00:00:00Z"}"#,
                Some("harbor-registry"),
                None,
            ),
            // NGC, without a service (t)
            (
                "nvcr.io",
                r#"Bearer realm="https://nvcr.io/proxy_auth""#,
                r#"{"token":"t","expires_in":0}"#,
                None,
                None,
            ),
        ];
        for (host, text, answer, service, extra_scope) in cases {
            let store = CredentialStore::with_account(Account::None, Vec::new());
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            let challenge = store.record_challenge(&headers, host, true).unwrap();
            let Challenge::Bearer { service: own, extra_scope: extra, .. } = challenge else {
                panic!("{host}")
            };
            assert_eq!((own.as_deref(), extra.as_deref()), (service, extra_scope), "{host}");
            let answer: TokenResponse = serde_json::from_str(answer).unwrap();
            assert_eq!(store.cache_token("s", &answer).unwrap(), "Bearer t", "{host}");
            assert!(store.cached_token("s").is_some(), "{host}");
        }
        // ECR, Artifactory and Nexus can ask for a password.
        for text in [
            r#"Basic realm="https://1234.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com""#,
            r#"Basic realm="Artifactory Realm""#,
            r#"BASIC realm="Sonatype Nexus Repository Manager""#,
        ] {
            let store = CredentialStore::with_account(Account::None, Vec::new());
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            assert_eq!(store.record_challenge(&headers, "r", true), Ok(Challenge::Basic));
        }
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
