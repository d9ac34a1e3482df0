//! Forward authentication (`auth.forward`): asks the operator's server who sends a request, as nginx's
//! `auth_request` does. Answers are cached for `auth.forward_cache`.
//!
//! The server gets a GET without a body, with the configured headers and with `X-Original-URI`,
//! `X-Original-Method` and `X-Real-IP`. Outside the registry protocol it is request about a GET of `/v2/`.
//!
//! - 200: the account in `X-Remote-User` sends the request.
//! - 401: the server does not know the client. The registry's own accounts are request next.
//! - 403: the request is refused.
//! - Anything else, or a timeout: the request fails.
//!
//! A 200 without `X-Remote-User` names no account. A cookie or the client's address may have been enough for
//! it, and the name in the Basic credentials is only a claim. That name counts only if the server accepts
//! these credentials alone and refuses the same request without them. It never signs in to an account with
//! its own password.
//!
//! Bearer tokens are issued by this registry and are never sent to the server.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::AccountName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName};
use quick_cache::sync::Cache;
use registry::access::{Accounts, Identity, SignInError};

use crate::config::Auth;
use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::access_request::AccessRequest;

const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
/// Capacity of the cache, in answers.
const CACHE_ANSWERS: usize = 16_384;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the forward-auth server.
pub(crate) struct Forward {
    client: reqwest::Client,
    url: String,
    headers: Vec<HeaderName>,
    ttl: Duration,
    /// Cache keys are hashed with keys of this process, so that no credentials stay in memory.
    hash_keys: [RandomState; 2],
    answers: Cache<[u64; 2], Arc<Answer>>,
}

struct Answer {
    result: ForwardResult,
    at: Instant,
    /// The identity, and the generation of the accounts at which it was looked up.
    identity: Option<(u64, Identity)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ForwardResult {
    /// The account that `X-Remote-User` names.
    Account(AccountName),
    /// The account whose Basic credentials the server accepted without naming it.
    Credentials(AccountName),
    /// Admitted without an account.
    Anonymous,
    Unknown,
    Forbidden,
}

/// The configured headers that a request to the server has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    OnlyAuthorization,
    AllButAuthorization,
    None,
}

/// An answer of the server.
enum Reply {
    /// 200, with the name in `X-Remote-User`.
    Admitted(Option<String>),
    Unknown,
    Forbidden,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The server refuses the request, or its account is disabled here.
    #[error("the server of auth.forward refuses the request")]
    Forbidden,
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error("the server of auth.forward does not answer: check that it runs, and auth.forward_timeout")]
    Request(#[from] reqwest::Error),
    #[error("the server of auth.forward answered {0}: expected 200, 401 or 403")]
    Status(StatusCode),
    #[error("the server of auth.forward named \"{0}\" in X-Remote-User: not a valid user name")]
    Name(String),
}

impl Forward {
    /// Returns `None` if `auth.forward` is not set.
    pub(crate) fn new(auth: &Auth) -> Result<Option<Self>, reqwest::Error> {
        let Some(url) = &auth.forward else { return Ok(None) };
        let client = reqwest::Client::builder()
            .timeout(auth.forward_timeout)
            .connect_timeout(auth.forward_timeout.min(CONNECT_TIMEOUT))
            // Credentials go to the configured server only.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("wharfinger")
            .build()?;
        Ok(Some(Self {
            client,
            url: url.as_str().to_owned(),
            headers: auth.forward_headers.clone(),
            ttl: auth.forward_cache,
            hash_keys: [RandomState::new(), RandomState::new()],
            answers: Cache::new(CACHE_ANSWERS),
        }))
    }

    /// Identifies the client. Returns `None` if the server does not know it, or if the request has none of
    /// the configured headers.
    pub(crate) async fn identify(
        &self,
        accounts: &Accounts,
        request: AccessRequest<'_>,
    ) -> Result<Option<Identity>, ForwardError> {
        let is_bearer = request.headers.get(AUTHORIZATION).is_some_and(|value| {
            value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
        });
        if is_bearer || !self.headers.iter().any(|name| request.headers.contains_key(name)) {
            return Ok(None);
        }
        let key = self.cache_key(request);
        let generation = accounts.generation();
        let cached = self.answers.get(&key).filter(|answer| answer.at.elapsed() < self.ttl);
        if let Some((at, identity)) = cached.as_ref().and_then(|answer| answer.identity.as_ref())
            && *at == generation
        {
            return Ok(Some(identity.clone()));
        }
        let (result, at) = match &cached {
            Some(answer) => (answer.result.clone(), answer.at),
            None => (self.decide(request).await?, Instant::now()),
        };
        let identity = match &result {
            ForwardResult::Credentials(name) if accounts.has_password(name).await? => None,
            ForwardResult::Account(name) | ForwardResult::Credentials(name) => {
                match accounts.sign_in_forwarded(name.clone(), request.client.address).await {
                    Ok(identity) => Some(identity),
                    Err(SignInError::Store(error)) => return Err(error.into()),
                    // The account is disabled here.
                    Err(_) => return Err(ForwardError::Forbidden),
                }
            }
            // Nobody is signed in, so that `docker login` must not succeed.
            ForwardResult::Anonymous => None,
            ForwardResult::Unknown => None,
            ForwardResult::Forbidden => {
                self.cache(key, result, at, None);
                return Err(ForwardError::Forbidden);
            }
        };
        self.cache(key, result, at, identity.clone().map(|identity| (generation, identity)));
        Ok(identity)
    }

    fn cache(&self, key: [u64; 2], result: ForwardResult, at: Instant, identity: Option<(u64, Identity)>) {
        if !self.ttl.is_zero() {
            self.answers.insert(key, Arc::new(Answer { result, at, identity }));
        }
    }

    /// Hashes everything that the server's answer depends on.
    fn cache_key(&self, request: AccessRequest<'_>) -> [u64; 2] {
        let mut headers: Vec<(&str, Vec<&[u8]>)> = Vec::with_capacity(self.headers.len());
        for name in &self.headers {
            let values = request.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
            headers.push((name.as_str(), values));
        }
        let key = (headers, request.method.as_str(), request.uri.to_string(), request.client.address);
        [self.hash_keys[0].hash_one(&key), self.hash_keys[1].hash_one(&key)]
    }

    /// Asks the server, with fewer headers too if the name in the Basic credentials has to be proved.
    async fn decide(&self, request: AccessRequest<'_>) -> Result<ForwardResult, ForwardError> {
        let named = match self.ask(request, Sent::All).await? {
            Reply::Admitted(named) => named,
            Reply::Unknown => return Ok(ForwardResult::Unknown),
            Reply::Forbidden => return Ok(ForwardResult::Forbidden),
        };
        let Some(authorization) = request.headers.get(AUTHORIZATION) else { return admitted(named, None) };
        let claimed = basic_user(authorization.as_bytes());
        let has_other =
            self.headers.iter().any(|name| *name != AUTHORIZATION && request.headers.contains_key(name));
        if !self.headers.contains(&AUTHORIZATION) {
            // The credentials are for the registry's own accounts.
            return Ok(ForwardResult::Unknown);
        }
        if (named.is_some() && !has_other) || !self.admits(request, Sent::AllButAuthorization).await? {
            return admitted(named, claimed);
        }
        // The other headers were enough. The name may be the client's claim only, as nginx's $remote_user is.
        if has_other
            && let Reply::Admitted(named) = self.ask(request, Sent::OnlyAuthorization).await?
            && !self.admits(request, Sent::None).await?
        {
            return admitted(named, claimed);
        }
        tracing::warn!(
            "the server of auth.forward accepts a request without its Authorization header; \
             these credentials are checked against the registry's own accounts"
        );
        Ok(ForwardResult::Unknown)
    }

    async fn admits(&self, request: AccessRequest<'_>, sent: Sent) -> Result<bool, ForwardError> {
        Ok(matches!(self.ask(request, sent).await?, Reply::Admitted(_)))
    }

    async fn ask(&self, request: AccessRequest<'_>, sent: Sent) -> Result<Reply, ForwardError> {
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        // At other endpoints, such as `/token`, only the account matters. `/auth` of another Wharfinger
        // admits the registry protocol only.
        let is_protocol = request.endpoint.is_some_and(Endpoint::is_protocol);
        let (path, method) = if is_protocol { (path, request.method.as_str()) } else { ("/v2/", "GET") };
        let mut query = self
            .client
            .get(&self.url)
            .header("x-original-uri", path)
            .header("x-original-method", method)
            .header("x-real-ip", request.client.address.to_string());
        for name in self.headers.iter().filter(|name| sent.includes(name)) {
            for value in request.headers.get_all(name) {
                query = query.header(name, value);
            }
        }
        let answer = query.send().await.map_err(reqwest::Error::without_url)?;
        match answer.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => {}
            StatusCode::UNAUTHORIZED => return Ok(Reply::Unknown),
            StatusCode::FORBIDDEN => return Ok(Reply::Forbidden),
            other => return Err(ForwardError::Status(other)),
        }
        let named = answer.headers().get(REMOTE_USER);
        let named = named.map(|name| String::from_utf8_lossy(name.as_bytes()).trim().to_owned());
        Ok(Reply::Admitted(named.filter(|name| !name.is_empty())))
    }
}

impl Sent {
    fn includes(self, header: &HeaderName) -> bool {
        match self {
            Self::All => true,
            Self::OnlyAuthorization => *header == AUTHORIZATION,
            Self::AllButAuthorization => *header != AUTHORIZATION,
            Self::None => false,
        }
    }
}

/// Returns the account that the server names, or else the one of the proved credentials.
fn admitted(named: Option<String>, claimed: Option<String>) -> Result<ForwardResult, ForwardError> {
    match (named, claimed) {
        (Some(named), _) => Ok(ForwardResult::Account(user(named)?)),
        (None, Some(claimed)) => Ok(ForwardResult::Credentials(user(claimed)?)),
        (None, None) => Ok(ForwardResult::Anonymous),
    }
}

/// Parses the name of a user. Robots sign in with the registry's own secrets only.
fn user(name: String) -> Result<AccountName, ForwardError> {
    match name.parse::<AccountName>() {
        Ok(account) if !account.is_robot() && !account.is_misleading() => Ok(account),
        _ => Err(ForwardError::Name(name)),
    }
}

/// Returns the user name of Basic credentials.
fn basic_user(authorization: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authorization).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(user, _)| user.to_owned()).filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_user_is_parsed() {
        let user = |text: &str| basic_user(text.as_bytes());
        assert_eq!(user("Basic YW5uOnNlY3JldDp4"), Some("ann".to_owned()));
        assert_eq!(user("basic YW5uOg=="), Some("ann".to_owned()));
        for none in ["", "Basic", "Basic !!!", "Bearer YW5uOnNlY3JldA==", "Basic YW5u", "Basic OnNlY3JldA=="]
        {
            assert_eq!(user(none), None, "{none}");
        }
    }
}
