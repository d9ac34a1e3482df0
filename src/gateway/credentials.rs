//! What proves to an upstream who is asking: an account there that the operator gave the gateway, as a password on
//! each request (Basic) or through the token protocol, whichever the upstream asks for.
//!
//! An upstream says where tokens are had, and what is sent there is the password. So it is believed only if it names
//! its own host, or one that the operator named, and never over plain HTTP if it is spoken to in TLS itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

/// Tokens that are kept. What is more than that is had again when it is needed.
const TOKENS: usize = 10_000;
/// How long a token holds that does not say so (distribution's specification of tokens).
const LIFETIME: u64 = 60;
/// A token is had anew so long before its end, as it must last for the request that it is for.
const MARGIN: Duration = Duration::from_secs(15);

/// The account of the gateway in an upstream, and what came of it. Without an account there may still be tokens: some
/// registries want one of everybody.
#[derive(Default)]
pub(super) struct CredentialStore {
    basic: Option<HeaderValue>,
    /// Hosts besides the upstream's own that may be sent the password.
    trusted: Vec<String>,
    challenge: RwLock<Option<Challenge>>,
    tokens: Mutex<HashMap<String, (HeaderValue, Instant)>>,
}

/// How an upstream asks for credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A password on each request.
    Basic,
    /// A token from there.
    Bearer {
        /// Where tokens are had.
        realm: Uri,
        /// What they are made out for.
        service: Option<String>,
    },
}

/// An upstream asks for credentials in a way in which it will not get any.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistrust {
    /// In no way that is known here.
    #[error("it asks for credentials in an unknown way: {0}")]
    Unknown(String),
    /// The realm is elsewhere.
    #[error(
        "it sends the gateway to {0} for a token, which is another host; if that is right, name the host in \
         `gateway.token_hosts`"
    )]
    Elsewhere(String),
    /// The realm would be spoken to without TLS.
    #[error(
        "it sends the gateway from HTTPS to {0} for a token, where the password could be read on the way"
    )]
    Downgrade(String),
}

/// What a realm answers.
#[derive(Deserialize)]
pub(super) struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl CredentialStore {
    /// Keeps an account, which may be none, and the hosts that may hear of it.
    pub(super) fn new(account: Option<(&str, &str)>, trusted: Vec<String>) -> Self {
        let basic = account.map(|(user, password)| {
            let mut value =
                HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
                    .expect("base64 is visible ASCII");
            value.set_sensitive(true);
            value
        });
        Self { basic, trusted, ..Self::default() }
    }

    /// Whether there is an account.
    pub(super) fn has_account(&self) -> bool {
        self.basic.is_some()
    }

    /// The account as a password.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        self.basic.clone()
    }

    /// How the upstream asks, if it ever did.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of how the upstream at `host` asks, as the headers of its 401 say.
    pub(super) fn challenged(
        &self,
        headers: &HeaderMap,
        host: &str,
        secure: bool,
    ) -> Result<Challenge, Mistrust> {
        let mut unknown = String::new();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let text = value.to_str().unwrap_or_default();
            let challenge = match text.split_once(' ').unwrap_or((text, "")) {
                (scheme, _) if scheme.eq_ignore_ascii_case("basic") => Challenge::Basic,
                (scheme, parameters) if scheme.eq_ignore_ascii_case("bearer") => {
                    self.bearer(parameters, host, secure)?
                }
                _ => {
                    text.clone_into(&mut unknown);
                    continue;
                }
            };
            *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge.clone());
            return Ok(challenge);
        }
        Err(Mistrust::Unknown(unknown))
    }

    fn bearer(&self, parameters: &str, host: &str, secure: bool) -> Result<Challenge, Mistrust> {
        let parameters = parameters_of(parameters);
        let named =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let text = named("realm").unwrap_or_default();
        let realm: Uri = text.parse().map_err(|_| Mistrust::Unknown(text.to_owned()))?;
        let (Some(scheme), Some(realms_host)) = (realm.scheme_str(), realm.host()) else {
            return Err(Mistrust::Unknown(text.to_owned()));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(Mistrust::Unknown(text.to_owned()));
        }
        let is_trusted = realms_host.eq_ignore_ascii_case(host)
            || self.trusted.iter().any(|trusted| trusted.eq_ignore_ascii_case(realms_host));
        if !is_trusted {
            return Err(Mistrust::Elsewhere(realms_host.to_owned()));
        }
        if secure && scheme != "https" {
            return Err(Mistrust::Downgrade(text.to_owned()));
        }
        Ok(Challenge::Bearer { service: named("service").map(str::to_owned), realm })
    }

    /// The token for a scope, if there is one that still holds.
    pub(super) fn token(&self, scope: &str) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(scope).filter(|(_, until)| *until > Instant::now()).map(|(value, _)| value.clone())
    }

    /// Keeps a token, and says how it is sent. `None` if there is none in the answer.
    pub(super) fn keep(&self, scope: &str, token: &Token) -> Option<HeaderValue> {
        let text = token.token.as_deref().or(token.access_token.as_deref())?;
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        let lifetime = Duration::from_secs(token.expires_in.unwrap_or(LIFETIME).min(24 * 60 * 60));
        let until = Instant::now() + lifetime.saturating_sub(MARGIN);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS {
            let now = Instant::now();
            tokens.retain(|_, (_, until)| *until > now);
            if tokens.len() >= TOKENS {
                tokens.clear();
            }
        }
        tokens.insert(scope.to_owned(), (value.clone(), until));
        Some(value)
    }

    /// A token was refused; the next one is a new one.
    pub(super) fn forget(&self, scope: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }
}

/// The parameters of a challenge: `name=value` or `name="value"`, with commas between them (RFC 9110, section 11.2).
fn parameters_of(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
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
        found.push((name, value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenged(value: &'static str, host: &str, secure: bool) -> Result<Challenge, Mistrust> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        CredentialStore::new(None, vec!["auth.example.com".to_owned()]).challenged(&headers, host, secure)
    }

    #[test]
    fn parameters_may_be_quoted() {
        let text = r#"realm="https://a/token?x=1,2",service=plain , scope="a \"b\" c",error=x"#;
        let expected = [
            ("realm", "https://a/token?x=1,2"),
            ("service", "plain"),
            ("scope", "a \"b\" c"),
            ("error", "x"),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(parameters_of(text), expected);
        assert_eq!(parameters_of(""), []);
        assert_eq!(parameters_of("realm=\"open").len(), 1);
    }

    #[test]
    fn the_password_goes_to_the_upstreams_own_host_or_a_named_one() {
        let own = challenged(r#"Bearer realm="http://registry:5001/auth",service="r""#, "registry", false);
        let expected = Challenge::Bearer {
            realm: "http://registry:5001/auth".parse().unwrap(),
            service: Some("r".into()),
        };
        assert_eq!(own, Ok(expected));
        assert!(challenged(r#"Bearer realm="https://AUTH.example.com/t""#, "registry", true).is_ok());
        for realm in [
            r#"Bearer realm="https://evil.example/token""#,
            r#"Bearer realm="https://registry@evil.example/token""#,
            r#"Bearer realm="https://registry.evil.example/token""#,
        ] {
            assert!(matches!(challenged(realm, "registry", false), Err(Mistrust::Elsewhere(_))), "{realm}");
        }
        let downgrade = challenged(r#"Bearer realm="http://registry/token""#, "registry", true);
        assert!(matches!(downgrade, Err(Mistrust::Downgrade(_))));
        for unknown in
            [r#"Bearer realm="/token""#, "Bearer", "Negotiate", "Bearer realm=\"file:///etc/passwd\""]
        {
            assert!(matches!(challenged(unknown, "registry", false), Err(Mistrust::Unknown(_))), "{unknown}");
        }
        assert_eq!(challenged("basic realm=\"x\"", "registry", false), Ok(Challenge::Basic));
    }

    #[test]
    fn tokens_end() {
        let keeper = CredentialStore::default();
        let token = |expires_in| Token { token: None, access_token: Some("t".into()), expires_in };
        assert_eq!(keeper.keep("long", &token(Some(3600))).unwrap(), "Bearer t");
        assert_eq!(keeper.token("long").unwrap(), "Bearer t");
        keeper.keep("short", &token(Some(5)));
        assert_eq!(keeper.token("short"), None, "it would end on its way");
        keeper.forget("long");
        assert_eq!(keeper.token("long"), None);
        let bad = Token { token: Some("a\r\nb".into()), access_token: None, expires_in: None };
        assert_eq!(keeper.keep("bad", &bad), None);
    }
}
