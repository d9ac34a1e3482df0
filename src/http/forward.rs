//! `auth.forward`: a server of the operator's that is asked who sends a request, as nginx's `auth_request` asks.
//!
//! It gets a GET without a body, with the headers that the operator chose and with `X-Original-URI`,
//! `X-Original-Method` and `X-Real-IP`. 200 vouches for the account that `X-Remote-User` names (without it, for the
//! user of the Basic credentials, or for nobody in particular); 401 means that it knows nobody by these headers, and
//! then the registry's own accounts are asked; 403 refuses the request. Anything else, and an answer that does not
//! come in time, lets nobody in.
//!
//! Bearer tokens are this registry's own, and are not shown to it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName};
use quick_cache::sync::Cache;
use registry::access::{Identity, SignInError};
use store::accounts::AccountName;

use super::access::{Asked, Denied};
use super::app::App;
use super::error::Error;
use crate::config::Auth;

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
    verdict: Verdict,
    at: Instant,
    /// The account, as it was when accounts were at this generation.
    identity: Option<(u64, Identity)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Account(AccountName),
    /// Let in, and nobody in particular.
    Anyone,
    /// Not known there.
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
    pub(crate) async fn identify(&self, app: &App, asked: Asked<'_>) -> Result<Option<Identity>, Error> {
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
            None => (self.ask(asked).await.map_err(Error::Forward)?, Instant::now()),
        };
        let identity = match &verdict {
            Verdict::Account(name) => match app.accounts.vouched(name.clone()).await {
                Ok(identity) => Some(identity),
                Err(SignInError::Store(error)) => return Err(error.into()),
                // Disabled here, whatever is known there.
                Err(_) => return Err(Error::Denied { denied: Denied::Forbidden, challenge: None }),
            },
            Verdict::Anyone => Some(Identity::Anonymous),
            Verdict::Unknown => None,
            Verdict::Refused => {
                self.keep(key, verdict, at, None);
                return Err(Error::Denied { denied: Denied::Forbidden, challenge: None });
            }
        };
        self.keep(key, verdict, at, identity.clone().map(|identity| (generation, identity)));
        Ok(identity)
    }

    fn keep(&self, key: [u64; 2], verdict: Verdict, at: Instant, identity: Option<(u64, Identity)>) {
        if !self.lasts.is_zero() {
            self.answers.insert(key, Arc::new(Answer { verdict, at, identity }));
        }
    }

    /// What stands for all that the server is told.
    fn key(&self, asked: Asked<'_>) -> [u64; 2] {
        let mut said: Vec<(&str, Vec<&[u8]>)> = Vec::with_capacity(self.headers.len());
        for name in &self.headers {
            let values = asked.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
            said.push((name.as_str(), values));
        }
        let told = (said, asked.method.as_str(), asked.uri.to_string(), asked.called.from);
        [self.keys[0].hash_one(&told), self.keys[1].hash_one(&told)]
    }

    async fn ask(&self, asked: Asked<'_>) -> Result<Verdict, ForwardError> {
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self
            .client
            .get(&self.url)
            .header("x-original-uri", path)
            .header("x-original-method", asked.method.as_str())
            .header("x-real-ip", asked.called.from.to_string());
        for name in &self.headers {
            for value in asked.headers.get_all(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        match answer.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => {}
            StatusCode::UNAUTHORIZED => return Ok(Verdict::Unknown),
            StatusCode::FORBIDDEN => return Ok(Verdict::Refused),
            other => return Err(ForwardError::Status(other)),
        }
        let named = match answer.headers().get(REMOTE_USER) {
            Some(name) => {
                let name = String::from_utf8_lossy(name.as_bytes()).trim().to_owned();
                Some(name).filter(|name| !name.is_empty())
            }
            None => asked.headers.get(AUTHORIZATION).and_then(|value| basic_user(value.as_bytes())),
        };
        match named {
            // A robot is an account of ours with a secret of ours.
            Some(name) => match name.parse::<AccountName>() {
                Ok(account) if !account.is_robot() => Ok(Verdict::Account(account)),
                _ => Err(ForwardError::Name(name)),
            },
            None => Ok(Verdict::Anyone),
        }
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
