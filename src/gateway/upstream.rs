//! An upstream: a registry behind the gateway, at an address, and whether it answers these days.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

use super::credentials::CredentialStore;

/// One that did not answer is asked last for so long.
const REST: Duration = Duration::from_secs(10);

/// A registry behind the gateway.
pub(super) struct Upstream {
    /// Its place in the configuration: what an upload's address remembers of where it lives.
    pub(super) index: usize,
    scheme: Scheme,
    authority: Authority,
    /// What stands before `/v2/`: empty, or a path that begins with a slash and does not end with one.
    prefix: String,
    /// What proves to it who is asking.
    pub(super) keeper: CredentialStore,
    /// All times are counted from here.
    begun: Instant,
    /// Milliseconds since `begun` until which it rests; 0 for one that answered last.
    resting: AtomicU64,
}

impl Upstream {
    /// The upstream at a URL that was checked: a scheme, a host, perhaps a path.
    pub(super) fn new(index: usize, url: &Uri, keeper: CredentialStore) -> Option<Self> {
        Some(Self {
            index,
            scheme: url.scheme()?.clone(),
            authority: url.authority()?.clone(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            keeper,
            begun: Instant::now(),
            resting: AtomicU64::new(0),
        })
    }

    /// The address of a path of ours (`/v2/…`, with its query) there.
    pub(super) fn address(&self, path_and_query: &str) -> Result<Uri, hyper::http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path_and_query}", self.prefix))
            .build()
    }

    /// Its host and port.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether it is spoken to in TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The part of a path there that is a path of ours.
    pub(super) fn without_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.prefix.as_str()).filter(|rest| rest.starts_with('/'))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether it failed just now, so that others are better asked first.
    pub(super) fn is_backing_off(&self) -> bool {
        self.resting.load(Ordering::Relaxed) > self.now()
    }

    /// It did not answer.
    pub(super) fn failed(&self, why: &dyn fmt::Display) {
        let rest = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        if self.resting.swap(self.now().saturating_add(rest), Ordering::Relaxed) == 0 {
            tracing::warn!(upstream = %self, reason = %why, "the registry behind the gateway does not answer");
        } else {
            tracing::debug!(upstream = %self, reason = %why, "the registry behind the gateway still does not answer");
        }
    }

    /// It answered.
    pub(super) fn answered(&self) {
        if self.resting.load(Ordering::Relaxed) != 0 && self.resting.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(upstream = %self, "the registry behind the gateway answers again");
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
    fn paths_go_below_the_upstreams_own() {
        for url in ["http://registry:5000/mirror/", "http://registry:5000/mirror"] {
            let upstream = upstream(url);
            let address = upstream.address("/v2/a/tags/list?n=5").unwrap();
            assert_eq!(address, "http://registry:5000/mirror/v2/a/tags/list?n=5");
            assert_eq!(upstream.without_prefix("/mirror/v2/"), Some("/v2/"));
            assert_eq!(upstream.without_prefix("/mirrored/v2/"), None);
            assert_eq!(upstream.without_prefix("/v2/"), None);
        }
        assert_eq!(upstream("http://r").without_prefix("/v2/"), Some("/v2/"));
    }

    #[test]
    fn one_that_failed_rests_until_it_answers() {
        let upstream = upstream("http://registry:5000");
        assert!(!upstream.is_backing_off());
        upstream.failed(&"no route");
        assert!(upstream.is_backing_off());
        upstream.answered();
        assert!(!upstream.is_backing_off());
    }
}
