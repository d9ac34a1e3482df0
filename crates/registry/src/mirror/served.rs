//! A manifest that the cache serves, and how it was found.

use std::sync::Arc;

use super::error::MirrorError;
use crate::manifests::StoredManifest;

/// A manifest, and how it was found.
#[derive(Clone, Debug)]
pub struct ServedManifest {
    /// The manifest.
    pub manifest: Arc<StoredManifest>,
    /// How it was found.
    pub source: Source,
}

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the cache, without a question.
    Hit,
    /// In the cache, after a question to the upstream.
    Revalidated,
    /// From the upstream.
    Fetched,
    /// In the cache, although the upstream has another answer or none.
    Stale(StaleReason),
}

/// Why an answer may be outdated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleReason {
    /// The upstream does not answer.
    Down,
    /// The upstream limits requests.
    Limited,
    /// The upstream has deleted the tag.
    Gone,
    /// The new digest is in quarantine.
    Quarantine,
}

impl StaleReason {
    /// The word for logs and headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "upstream-down",
            Self::Limited => "upstream-limited",
            Self::Gone => "upstream-gone",
            Self::Quarantine => "quarantine",
        }
    }
}

pub(super) type TagOutcome = Result<ServedManifest, MirrorError>;
