//! When a certificate is ordered, and the backoff after a failed order.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::host::Host;
use crate::tls::certificate::{Certificate, rfc3339};

/// The first and the longest backoff after a transient failure.
const TRANSIENT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10 * 60));
/// The same after a failure that the operator must solve. Authorities have rate limits: Let's Encrypt accepts
/// five failed validations per host and hour.
const PERMANENT: (Duration, Duration) = (Duration::from_secs(2 * 60), Duration::from_secs(4 * 60 * 60));
/// The longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// When a certificate is due, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Now: there is none.
    Missing,
    /// Now: the current one does not cover this host.
    HostMissing(Host),
    /// When a third of its lifetime is left.
    At(OffsetDateTime),
    /// When the authority suggests (ARI).
    Suggested(OffsetDateTime),
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none yet"),
            Self::HostMissing(host) => write!(f, "the current one does not cover {host}"),
            Self::At(time) => write!(f, "the current one is due for renewal since {}", rfc3339(*time)),
            Self::Suggested(time) => {
                write!(f, "the authority suggests renewal of the current one since {}", rfc3339(*time))
            }
        }
    }
}

/// Decides when a certificate for `hosts` is due. `suggested` is the time that the authority suggests.
pub(super) fn due(current: Option<&Certificate>, hosts: &[Host], suggested: Option<OffsetDateTime>) -> Due {
    let Some(current) = current else { return Due::Missing };
    // Additional hosts are accepted: some authorities add names.
    if let Some(host) = hosts.iter().find(|host| !current.covers(host)) {
        return Due::HostMissing(host.clone());
    }
    match suggested {
        // A time after the expiry is an error of the authority.
        Some(time) if time < current.not_after => Due::Suggested(time),
        _ => Due::At(current.not_before + (current.not_after - current.not_before) * 2 / 3),
    }
}

impl Due {
    /// Whether the new certificate replaces one for the same hosts.
    pub(super) fn is_renewal(&self) -> bool {
        matches!(self, Self::At(_) | Self::Suggested(_))
    }

    /// The time left until then; `None` if it has come.
    pub(super) fn wait(&self, now: OffsetDateTime) -> Option<Duration> {
        match self {
            Self::Missing | Self::HostMissing(_) => None,
            Self::At(time) | Self::Suggested(time) => {
                Duration::try_from(*time - now).ok().filter(|left| !left.is_zero())
            }
        }
    }
}

/// The exponential backoff after `failures` earlier failures, or `retry_after` if that is longer.
pub(super) fn backoff(failures: u32, is_transient: bool, retry_after: Option<Duration>) -> Duration {
    let (first, longest) = if is_transient { TRANSIENT } else { PERMANENT };
    let backoff = first.saturating_mul(2_u32.saturating_pow(failures)).min(longest);
    backoff.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::Pair;
    use crate::tls::self_signed;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn renewal_is_due_with_a_third_of_life_left() {
        let made = self_signed::create(&hosts(&["a.example", "192.0.2.7"]), 90).unwrap();
        let path = std::path::Path::new("x");
        let pair = Pair::parse((path, made.certificate.as_bytes()), (path, made.key.as_bytes())).unwrap();
        let current = pair.certificate();
        let due = |names: &[&str]| due(Some(current), &hosts(names), None);
        let Due::At(time) = due(&["A.example"]) else { panic!("it covers this host") };
        assert_eq!((current.not_after - time).whole_hours(), (90 * 24 + 1) / 3);
        assert_eq!(due(&["a.example"]).wait(time - time::Duration::SECOND), Some(Duration::from_secs(1)));
        assert_eq!(due(&["a.example"]).wait(time), None);
        assert_eq!(due(&["a.example"]).wait(current.not_after + time::Duration::DAY), None);
        assert_eq!(due(&["a.example", "b.example"]), Due::HostMissing("b.example".parse().unwrap()));
        assert_eq!(super::due(None, &hosts(&["a.example"]), None).wait(time), None);
        let suggested = |time| super::due(Some(current), &hosts(&["a.example"]), Some(time));
        assert_eq!(suggested(current.not_before), Due::Suggested(current.not_before));
        assert_eq!(suggested(current.not_after), Due::At(time));
    }

    #[test]
    fn backoff_grows_and_obeys_retry_after() {
        let seconds = |failures, is_transient, retry_after: u64| {
            let retry_after = (retry_after > 0).then(|| Duration::from_secs(retry_after));
            backoff(failures, is_transient, retry_after).as_secs()
        };
        assert_eq!([0, 1, 2, 30, 999].map(|failures| seconds(failures, true, 0)), [5, 10, 20, 600, 600]);
        assert_eq!(
            [0, 1, 6, 7, 999].map(|failures| seconds(failures, false, 0)),
            [120, 240, 7680, 14400, 14400]
        );
        assert_eq!(seconds(0, true, 90), 90);
        assert_eq!(seconds(0, false, 90), 120);
        assert_eq!(seconds(0, true, u64::MAX), 24 * 60 * 60);
    }
}
