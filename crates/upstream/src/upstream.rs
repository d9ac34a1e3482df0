//! One upstream: its address, its credentials, and its backoff after a failure.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

use crate::credentials::CredentialStore;

/// How long an upstream that failed is asked last.
const BACKOFF: Duration = Duration::from_secs(10);

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
}

impl Upstream {
    /// Creates the upstream at `url`, which has a scheme, a host and perhaps a path; `None` without scheme or host.
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

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
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

    /// Whether it failed within the last [`BACKOFF`], so that others are asked first.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.backoff_end.load(Ordering::Relaxed) > self.now()
    }

    /// Starts or extends the backoff.
    pub(crate) fn record_failure(&self, reason: &dyn fmt::Display) {
        let backoff = u64::try_from(BACKOFF.as_millis()).unwrap_or(u64::MAX);
        if self.backoff_end.swap(self.now().saturating_add(backoff), Ordering::Relaxed) == 0 {
            tracing::warn!(upstream = %self, %reason, "the upstream registry does not answer");
        } else {
            tracing::debug!(upstream = %self, %reason, "the upstream registry still does not answer");
        }
    }

    /// Ends the backoff.
    pub(crate) fn record_success(&self) {
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
}
