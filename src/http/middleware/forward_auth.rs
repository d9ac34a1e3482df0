//! `auth.forward`: a server of the operator's that is asked who sends a request, as nginx's `auth_request` asks.
//!
//! It gets a GET without a body, with the headers that the operator chose and with `X-Original-URI`,
//! `X-Original-Method` and `X-Real-IP`. Outside of the registry protocol it is asked about a GET of `/v2/`. 200 vouches
//! for the account that `X-Remote-User` names; 401 means that it knows nobody by these headers, and then the registry's
//! own accounts are asked; 403 refuses the request. Anything else, and an answer that does not come in time, lets
//! nobody in.
//!
//! A 200 without `X-Remote-User` names nobody. A cookie, another header or the client's address may have earned it,
//! while the name in the Basic credentials is only what the client claims. That name counts if the backend lets in
//! these credentials alone and refuses the same request without them. An account with a password of its own is never
//! signed in to by such a name.
//!
//! Bearer tokens are this registry's own, and are not shown to it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::AccountName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName};
use quick_cache::sync::Cache;
use registry::access::{Identity, SignInError};

use crate::config::Auth;
use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::authorization::{AccessRequest, DenyReason};

const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
/// How many answers are kept.
const ANSWERS: usize = 16_384;
/// The longest that making a connection may take, of the time that there is.
const CONNECT: Duration = Duration::from_secs(2);

/// The server that is asked.
pub(crate) struct Forward {
    client: reqwest::Client,
    url: String,
    headers: Vec<HeaderName>,
    lasts: Duration,
    /// What was asked is kept as a hash with keys of this process, so that no credentials stay in memory.
    keys: [RandomState; 2],
    answers: Cache<[u64; 2], Arc<Answer>>,
}

struct Answer {
    verdict: ForwardResult,
    at: Instant,
    /// The account, as it was when accounts were at this generation.
    identity: Option<(u64, Identity)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ForwardResult {
    /// The account that `X-Remote-User` names.
    Account(AccountName),
    /// The account whose Basic credentials the backend has accepted without naming it.
    Credentials(AccountName),
    /// Let in, and nobody in particular.
    Anyone,
    /// Not known there.
    Unknown,
    Refused,
}

/// Which of the chosen headers the backend is asked with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    AuthorizationAlone,
    AllButAuthorization,
    Nothing,
}

/// What the backend answered.
enum Reply {
    /// Let in, with the name in `X-Remote-User`.
    Admitted(Option<String>),
    Unknown,
    Refused,
}

/// Why the server's answer is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// It could not be asked, or did not answer in time.
    #[error("the server of auth.forward does not answer")]
    Request(#[from] reqwest::Error),
    /// It answered something that has no meaning here.
    #[error("the server of auth.forward answered {0}, which is neither 200, 401 nor 403")]
    Status(StatusCode),
    /// It vouched for what cannot be an account.
    #[error("the server of auth.forward names an account that cannot be one: {0}")]
    Name(String),
}

impl Forward {
    /// `None` if the operator has no such server.
    pub(crate) fn new(auth: &Auth) -> Result<Option<Self>, reqwest::Error> {
        let Some(url) = &auth.forward else { return Ok(None) };
        let client = reqwest::Client::builder()
            .timeout(auth.forward_timeout)
            .connect_timeout(auth.forward_timeout.min(CONNECT))
            // Credentials go to the server that the operator named, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("wharfinger")
            .build()?;
        Ok(Some(Self {
            client,
            url: url.as_str().to_owned(),
            headers: auth.forward_headers.clone(),
            lasts: auth.forward_cache,
            keys: [RandomState::new(), RandomState::new()],
            answers: Cache::new(ANSWERS),
        }))
    }

    /// Who sends a request, as far as the server knows; `None` if it does not, or has nothing to know it by.
    ///
    /// # Errors
    /// If it refuses the request, or cannot be asked.
    pub(crate) async fn identify(
        &self,
        app: &App,
        asked: AccessRequest<'_>,
    ) -> Result<Option<Identity>, Error> {
        let is_bearer = asked.headers.get(AUTHORIZATION).is_some_and(|value| {
            value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
        });
        if is_bearer || !self.headers.iter().any(|name| asked.headers.contains_key(name)) {
            return Ok(None);
        }
        let key = self.key(asked);
        let generation = app.accounts.generation();
        let kept = self.answers.get(&key).filter(|answer| answer.at.elapsed() < self.lasts);
        if let Some((at, identity)) = kept.as_ref().and_then(|answer| answer.identity.as_ref())
            && *at == generation
        {
            return Ok(Some(identity.clone()));
        }
        let (verdict, at) = match &kept {
            Some(answer) => (answer.verdict.clone(), answer.at),
            None => (self.decide(asked).await.map_err(Error::Forward)?, Instant::now()),
        };
        let identity = match &verdict {
            ForwardResult::Credentials(name) if app.accounts.has_password(name).await? => None,
            ForwardResult::Account(name) | ForwardResult::Credentials(name) => {
                match app.accounts.sign_in_forwarded(name.clone(), asked.called.from).await {
                    Ok(identity) => Some(identity),
                    Err(SignInError::Store(error)) => return Err(error.into()),
                    // Disabled here, whatever is known there.
                    Err(_) => return Err(Error::Denied { denied: DenyReason::Forbidden, challenge: None }),
                }
            }
            ForwardResult::Anyone => Some(Identity::Anonymous),
            ForwardResult::Unknown => None,
            ForwardResult::Refused => {
                self.keep(key, verdict, at, None);
                return Err(Error::Denied { denied: DenyReason::Forbidden, challenge: None });
            }
        };
        self.keep(key, verdict, at, identity.clone().map(|identity| (generation, identity)));
        Ok(identity)
    }

    fn keep(&self, key: [u64; 2], verdict: ForwardResult, at: Instant, identity: Option<(u64, Identity)>) {
        if !self.lasts.is_zero() {
            self.answers.insert(key, Arc::new(Answer { verdict, at, identity }));
        }
    }

    /// What stands for all that the server is told.
    fn key(&self, asked: AccessRequest<'_>) -> [u64; 2] {
        let mut said: Vec<(&str, Vec<&[u8]>)> = Vec::with_capacity(self.headers.len());
        for name in &self.headers {
            let values = asked.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
            said.push((name.as_str(), values));
        }
        let told = (said, asked.method.as_str(), asked.uri.to_string(), asked.called.from);
        [self.keys[0].hash_one(&told), self.keys[1].hash_one(&told)]
    }

    /// Asks the backend who sends a request, as often as it takes to be sure of the name.
    async fn decide(&self, asked: AccessRequest<'_>) -> Result<ForwardResult, ForwardError> {
        let named = match self.ask(asked, Sent::All).await? {
            Reply::Admitted(named) => named,
            Reply::Unknown => return Ok(ForwardResult::Unknown),
            Reply::Refused => return Ok(ForwardResult::Refused),
        };
        let Some(authorization) = asked.headers.get(AUTHORIZATION) else { return admitted(named, None) };
        let claimed = basic_user(authorization.as_bytes());
        let brings_more =
            self.headers.iter().any(|name| *name != AUTHORIZATION && asked.headers.contains_key(name));
        if !self.headers.contains(&AUTHORIZATION) {
            // These credentials are for the registry's own accounts.
            return Ok(ForwardResult::Unknown);
        }
        if (named.is_some() && !brings_more) || !self.admits(asked, Sent::AllButAuthorization).await? {
            return admitted(named, claimed);
        }
        // Something else was enough, and the name may be no more than the client's claim, as nginx's $remote_user is.
        if brings_more
            && let Reply::Admitted(named) = self.ask(asked, Sent::AuthorizationAlone).await?
            && !self.admits(asked, Sent::Nothing).await?
        {
            return admitted(named, claimed);
        }
        tracing::warn!(
            "the server of auth.forward lets in a request without its Authorization; \
             these credentials are checked by the registry's own accounts"
        );
        Ok(ForwardResult::Unknown)
    }

    async fn admits(&self, asked: AccessRequest<'_>, sent: Sent) -> Result<bool, ForwardError> {
        Ok(matches!(self.ask(asked, sent).await?, Reply::Admitted(_)))
    }

    async fn ask(&self, asked: AccessRequest<'_>, sent: Sent) -> Result<Reply, ForwardError> {
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        // Elsewhere, at `/token` for example, only the account matters: `/auth` of another Wharfinger lets nothing
        // pass but the registry protocol.
        let is_protocol = asked.endpoint.is_some_and(Endpoint::is_protocol);
        let (path, method) = if is_protocol { (path, asked.method.as_str()) } else { ("/v2/", "GET") };
        let mut request = self
            .client
            .get(&self.url)
            .header("x-original-uri", path)
            .header("x-original-method", method)
            .header("x-real-ip", asked.called.from.to_string());
        for name in self.headers.iter().filter(|name| sent.includes(name)) {
            for value in asked.headers.get_all(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        match answer.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => {}
            StatusCode::UNAUTHORIZED => return Ok(Reply::Unknown),
            StatusCode::FORBIDDEN => return Ok(Reply::Refused),
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
            Self::AuthorizationAlone => *header == AUTHORIZATION,
            Self::AllButAuthorization => *header != AUTHORIZATION,
            Self::Nothing => false,
        }
    }
}

/// Who is let in: the account that the backend names, or the one whose proved credentials these are.
fn admitted(named: Option<String>, claimed: Option<String>) -> Result<ForwardResult, ForwardError> {
    match (named, claimed) {
        (Some(named), _) => Ok(ForwardResult::Account(user(named)?)),
        (None, Some(claimed)) => Ok(ForwardResult::Credentials(user(claimed)?)),
        (None, None) => Ok(ForwardResult::Anyone),
    }
}

/// The account of this name, which is a user's: a robot is an account of ours with a secret of ours.
fn user(name: String) -> Result<AccountName, ForwardError> {
    match name.parse::<AccountName>() {
        Ok(account) if !account.is_robot() => Ok(account),
        _ => Err(ForwardError::Name(name)),
    }
}

/// The user of Basic credentials.
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
    fn the_user_of_basic_credentials() {
        let user = |text: &str| basic_user(text.as_bytes());
        assert_eq!(user("Basic YW5uOnNlY3JldDp4"), Some("ann".to_owned()));
        assert_eq!(user("basic YW5uOg=="), Some("ann".to_owned()));
        for none in ["", "Basic", "Basic !!!", "Bearer YW5uOnNlY3JldA==", "Basic YW5u", "Basic OnNlY3JldA=="]
        {
            assert_eq!(user(none), None, "{none}");
        }
    }
}
