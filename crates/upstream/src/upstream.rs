//! One upstream: its address, its credentials, its circuit breaker, and its rate limit.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper::Uri;
use hyper::header::HeaderMap;
use hyper::http::uri::{Authority, Scheme};
use tokio::sync::Notify;

use crate::credentials::CredentialStore;

/// How long an upstream that failed once is asked last. Each further failure doubles it, up to
/// [`MAX_BACKOFF`].
const BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The number of failures in a row that open the circuit breaker.
const BREAKER: u64 = 3;
/// The wait after a 429 without `Retry-After`.
const DEFAULT_RETRY: Duration = Duration::from_secs(30);
/// The longest wait: a longer one may concern a single image, and the next request finds out.
const MAX_RETRY: Duration = Duration::from_secs(5 * 60);

/// An upstream's health and rate limit, as far as known.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Requests sent, and those of them that failed.
    pub requests: u64,
    /// The number of failed requests.
    pub failures: u64,
    /// The number of 429 answers.
    pub limited: u64,
    /// The last failure, and its time.
    pub last_failure: Option<(String, SystemTime)>,
    /// The end of the wait that the last 429 asked for, if it is not over.
    pub limited_until: Option<SystemTime>,
    /// The requests per window of `ratelimit-limit`.
    pub limit: Option<u64>,
    /// The rest of them, from `ratelimit-remaining`.
    pub remaining: Option<u64>,
    /// Whether it is called.
    pub condition: Condition,
}

/// Whether an upstream is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It answered, or was not called yet.
    #[default]
    Ok,
    /// It asked to wait (429).
    Limited,
    /// It failed several times in a row, and has not answered since.
    Down,
}

#[derive(Default)]
struct State {
    health: Health,
    limited_until: Option<Instant>,
}

/// A registry at an address.
pub struct Upstream {
    index: usize,
    scheme: Scheme,
    authority: Authority,
    /// The path before `/v2/`: empty, or `/path` without a slash at its end.
    prefix: String,
    pub(crate) credentials: CredentialStore,
    created: Instant,
    /// When the backoff ends, in milliseconds since `created`; 0 if the last request succeeded.
    backoff_end: AtomicU64,
    /// Failures since the last success.
    failures: AtomicU64,
    state: Mutex<State>,
    /// Notified when its condition changes.
    pub(crate) changed: Arc<Notify>,
}

impl Upstream {
    /// Creates the upstream at `url`, which has a scheme, a host and perhaps a path; `None` without scheme or
    /// host.
    #[must_use]
    pub fn new(index: usize, url: &Uri, credentials: CredentialStore) -> Option<Self> {
        Some(Self {
            index,
            scheme: url.scheme()?.clone(),
            authority: url.authority()?.clone(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            credentials,
            created: Instant::now(),
            backoff_end: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Arc::default(),
        })
    }

    /// Its position in the client's list, by which an upload is sent to the upstream where it began.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The URL of a path and query that begin with `/v2/`.
    pub(crate) fn url(&self, path_and_query: &str) -> Result<Uri, hyper::http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path_and_query}", self.prefix))
            .build()
    }

    /// Its host and port.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn host_and_port(&self) -> (&str, u16) {
        let port = self.authority.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 });
        (self.authority.host(), port)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Strips the upstream's own prefix from a path of it.
    pub(crate) fn strip_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.prefix.as_str()).filter(|rest| rest.starts_with('/'))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns its health.
    #[must_use]
    pub fn health(&self) -> Health {
        let wait = self.limited_for();
        let health = self.state().health.clone();
        let limited_until = wait.map(|wait| SystemTime::now() + wait);
        Health { condition: self.condition(), limited_until, ..health }
    }

    /// Returns its condition. It stays down until it answers, also between the attempts of the circuit
    /// breaker.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if self.limited_for().is_some() {
            Condition::Limited
        } else if self.failures.load(Ordering::Relaxed) >= BREAKER {
            Condition::Down
        } else {
            Condition::Ok
        }
    }

    /// Whether the circuit breaker is open: the upstream failed [`BREAKER`] times in a row, and its backoff
    /// is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= BREAKER && self.is_backing_off()
    }

    /// The rest of the wait that the last 429 asked for.
    #[must_use]
    pub fn limited_for(&self) -> Option<Duration> {
        let until = self.state().limited_until?;
        until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// Starts the wait that a 429 asks for.
    pub(crate) fn record_limit(&self, retry_after: Option<Duration>) -> Duration {
        let wait = retry_after.unwrap_or(DEFAULT_RETRY).min(MAX_RETRY);
        let mut state = self.state();
        state.health.limited += 1;
        state.limited_until = Some(Instant::now() + wait);
        drop(state);
        self.changed.notify_one();
        tracing::warn!(upstream = %self, seconds = wait.as_secs(), "the upstream registry limits requests");
        wait
    }

    /// Ends the wait of a 429, because the upstream answers a test of the operator.
    pub(crate) fn end_limit(&self) {
        if self.state().limited_until.take().is_some() {
            self.changed.notify_one();
        }
    }

    /// Records a request, and the rate limit in the headers of its response.
    pub(crate) fn record_response(&self, headers: &HeaderMap) {
        let number = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?;
            text.split(';').next()?.trim().parse::<u64>().ok()
        };
        let (limit, remaining) = (number("ratelimit-limit"), number("ratelimit-remaining"));
        let mut state = self.state();
        state.health.requests += 1;
        if limit.is_some() {
            state.health.limit = limit;
        }
        if remaining.is_some() {
            state.health.remaining = remaining;
        }
    }

    /// Whether it failed within the last backoff, so that others are asked first.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.backoff_end.load(Ordering::Relaxed) > self.now()
    }

    /// Starts or extends the backoff.
    pub(crate) fn record_failure(&self, reason: &dyn fmt::Display) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let longest = BACKOFF.saturating_mul(1 << failures.min(8)).min(MAX_BACKOFF);
        let backoff = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        // Jitter: servers that lost one upstream do not all come back at one time.
        let backoff = backoff + RandomState::new().hash_one(failures) % (backoff / 4).max(1);
        {
            let mut state = self.state();
            state.health.failures += 1;
            state.health.last_failure = Some((reason.to_string(), SystemTime::now()));
        }
        if failures + 1 == BREAKER {
            self.changed.notify_one();
        }
        if self.backoff_end.swap(self.now().saturating_add(backoff), Ordering::Relaxed) == 0 {
            tracing::warn!(upstream = %self, %reason, "the upstream registry does not answer");
        } else {
            tracing::debug!(upstream = %self, %reason, "the upstream registry still does not answer");
        }
    }

    /// Ends the backoff.
    pub(crate) fn record_success(&self) {
        if self.failures.swap(0, Ordering::Relaxed) >= BREAKER {
            self.changed.notify_one();
        }
        let failed = self.backoff_end.load(Ordering::Relaxed) != 0;
        if failed && self.backoff_end.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(upstream = %self, "the upstream registry answers again");
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Upstream {
        Upstream::new(0, &url.parse().unwrap(), CredentialStore::default()).unwrap()
    }

    #[test]
    fn url_is_below_the_prefix() {
        for url in ["http://registry:5000/mirror/", "http://registry:5000/mirror"] {
            let upstream = upstream(url);
            let url = upstream.url("/v2/a/tags/list?n=5").unwrap();
            assert_eq!(url, "http://registry:5000/mirror/v2/a/tags/list?n=5");
            assert_eq!(upstream.strip_prefix("/mirror/v2/"), Some("/v2/"));
            assert_eq!(upstream.strip_prefix("/mirrored/v2/"), None);
            assert_eq!(upstream.strip_prefix("/v2/"), None);
        }
        assert_eq!(upstream("http://r").strip_prefix("/v2/"), Some("/v2/"));
    }

    #[test]
    fn backoff_lasts_until_a_success() {
        let upstream = upstream("http://registry:5000");
        assert!(!upstream.is_backing_off());
        upstream.record_failure(&"no route");
        assert!(upstream.is_backing_off());
        upstream.record_success();
        assert!(!upstream.is_backing_off());
    }

    #[test]
    fn breaker_opens_after_three_failures() {
        let upstream = upstream("http://registry:5000");
        for is_open in [false, false, true] {
            upstream.record_failure(&"no route");
            assert_eq!(upstream.is_open(), is_open);
            assert_eq!(upstream.condition() == Condition::Down, is_open);
        }
        upstream.record_success();
        assert!(!upstream.is_open());
        assert_eq!(upstream.health().failures, 3);
    }

    #[test]
    fn rate_limit_headers_are_recorded() {
        let upstream = upstream("http://registry:5000");
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", "100;w=21600".parse().unwrap());
        headers.insert("ratelimit-remaining", "7;w=21600".parse().unwrap());
        upstream.record_response(&headers);
        assert_eq!((upstream.health().limit, upstream.health().remaining), (Some(100), Some(7)));
        assert_eq!(upstream.limited_for(), None);
        upstream.record_limit(Some(Duration::from_secs(100)));
        assert!(upstream.limited_for().is_some_and(|wait| wait > Duration::from_secs(90)));
        upstream.record_limit(Some(Duration::from_secs(3600)));
        assert!(
            upstream.limited_for().is_some_and(|wait| wait <= MAX_RETRY),
            "one answer stops it for minutes"
        );
    }
}
