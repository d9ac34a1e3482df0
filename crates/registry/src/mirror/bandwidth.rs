//! The bandwidth limit of an upstream.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Pacer {
    bytes_per_second: Option<u64>,
    /// When the next bytes may arrive.
    next: Mutex<Instant>,
}

impl Pacer {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    /// Waits until the received bytes fit the limit.
    pub(super) async fn received(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let until = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next).max(Instant::now()) + cost;
            *next
        };
        tokio::time::sleep_until(until.into()).await;
    }
}
