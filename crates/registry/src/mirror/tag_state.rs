//! The freshness of a tag: the last answer of the upstream, and its age.

use std::time::{Instant, SystemTime};

use oci::Digest;
use store::metadata::UpstreamTag;

/// The last answer of the upstream about a tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagState {
    pub(super) digest: Option<Digest>,
    pub(super) first_seen: SystemTime,
    pub(super) checked: Instant,
}

impl TagState {
    pub(super) fn of(record: &UpstreamTag) -> Self {
        let age = SystemTime::now().duration_since(record.checked_at).unwrap_or_default();
        let checked = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        Self { digest: record.digest, first_seen: record.first_seen, checked }
    }
}
