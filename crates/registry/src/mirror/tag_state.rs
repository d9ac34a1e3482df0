//! The freshness of a tag: the last answer of the upstream, and its age.

use std::time::{Duration, Instant, SystemTime};

use oci::Digest;
use store::metadata::UpstreamTag;

/// The age of an answer whose time is unknown. It is stale.
const UNKNOWN_AGE: Duration = Duration::from_secs(365 * 86_400);

/// The last answer of the upstream about a tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagState {
    pub(super) digest: Option<Digest>,
    pub(super) first_seen: SystemTime,
    pub(super) checked: Instant,
}

impl TagState {
    pub(super) fn of(record: &UpstreamTag) -> Self {
        let now = SystemTime::now();
        // A time in the future is from a clock that was wrong, so the answer may have any age.
        let age = now.duration_since(record.checked_at).unwrap_or(UNKNOWN_AGE);
        let checked = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        Self { digest: record.digest, first_seen: record.first_seen, checked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_from_the_future_is_stale() {
        let state = |checked_at| {
            let first_seen = SystemTime::UNIX_EPOCH;
            TagState::of(&UpstreamTag { digest: None, first_seen, checked_at })
        };
        let minute = Duration::from_secs(60);
        assert!(state(SystemTime::now() - minute).checked.elapsed() < 2 * minute);
        assert!(state(SystemTime::now() + 2 * minute).checked.elapsed() >= UNKNOWN_AGE);
    }
}
