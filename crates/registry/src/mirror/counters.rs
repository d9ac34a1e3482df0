//! Counters of an upstream, which the status and the metrics read.

use std::sync::atomic::AtomicU64;

#[derive(Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) revalidations: AtomicU64,
    pub(super) fetches: AtomicU64,
    pub(super) bytes: AtomicU64,
}
