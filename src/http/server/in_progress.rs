//! The requests in progress of a connection. Without any, its place in the connection limit is idle.

use std::sync::Arc;

use crate::http::server::connection_table::Slot;
use crate::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(crate) struct InProgress {
    requests: AtomicU32,
    /// The place in the connection limit.
    slot: Option<Arc<Slot>>,
}

impl InProgress {
    pub(crate) fn new(slot: Option<Arc<Slot>>) -> Self {
        Self { requests: AtomicU32::new(0), slot }
    }

    /// The number of requests.
    pub(crate) fn count(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn begin(&self) {
        if self.requests.fetch_add(1, Ordering::SeqCst) == 0
            && let Some(slot) = &self.slot
        {
            slot.set_busy();
        }
    }

    pub(crate) fn end(&self) {
        if self.requests.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let Some(slot) = &self.slot else { return };
        // Other requests of HTTP/2 may begin and end meanwhile, so each write is checked.
        loop {
            slot.set_idle();
            if self.count() == 0 {
                return;
            }
            slot.set_busy();
            if self.count() > 0 {
                return;
            }
        }
    }

    /// Waits until the connection has to make room for others.
    pub(crate) async fn evicted(&self) {
        match &self.slot {
            Some(slot) => slot.evicted().await,
            None => std::future::pending().await,
        }
    }
}
