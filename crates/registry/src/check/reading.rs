//! Reading of all content: verifies the digest of each stored blob, with a limit on I/O.
//!
//! The blobs are read in the order of their ids, and the id of the last one is saved. After a stop of the
//! client or the server, the next run resumes there. The damage marks keep the results until then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::StoreError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::PAGE;
use crate::integrity::Verified;
use crate::{Error, Registry};

/// The cursor is saved after this many bytes.
const SAVED: u64 = 64 << 20;
/// Waits shorter than this are added to the next one.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// The result of reading all content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The number of blobs that were read.
    pub blobs: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The number of bytes that an earlier, unfinished reading has read. They were not read again.
    pub resumed: u64,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

/// A limit on the bytes that are read in a second, shared by all readings.
pub(crate) struct ReadLimit {
    /// Bytes per second; zero for no limit.
    rate: AtomicU64,
    /// The time at which the bytes read so far are paid for.
    paid: Mutex<Instant>,
}

impl ReadLimit {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate: AtomicU64::new(rate.unwrap_or(0)), paid: Mutex::new(Instant::now()) }
    }

    pub(crate) fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Waits as long as these bytes take.
    pub(crate) async fn charge(&self, bytes: u64) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut paid = self.paid.lock().await;
        let now = Instant::now();
        *paid = (*paid).max(now) + cost;
        let until = *paid;
        drop(paid);
        if until - now >= SHORTEST_WAIT {
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Registry {
    pub(crate) fn read_limit(&self) -> &ReadLimit {
        &self.inner.read_limit
    }

    /// Reads all content that an earlier reading has not read. `progress` receives the bytes read so far.
    pub(super) async fn read_content(
        &self,
        progress: impl Fn(u64) -> bool + Send + Sync,
    ) -> Result<Reading, Error> {
        let begun = self.metadata.content_check().await?;
        let mut reading = Reading { resumed: begun.bytes, ..Reading::default() };
        let (mut cursor, mut saved) = (begun.cursor, 0);
        loop {
            let page = self.metadata.stored_contents(cursor, PAGE).await?;
            if page.is_empty() {
                self.metadata.end_content_check().await?;
                return Ok(reading);
            }
            for content in page {
                let read = reading.resumed + reading.bytes;
                match self.verify(&content.digest, self.read_limit(), |done| progress(read + done)).await {
                    Ok(Verified::Stopped) => {
                        reading.is_stopped = true;
                        self.metadata.save_content_check(cursor, read).await?;
                        return Ok(reading);
                    }
                    Ok(_) => {}
                    // The check of the content reports it.
                    Err(error @ StoreError::Io { .. }) => {
                        tracing::error!(%error, digest = %content.digest, "stored content cannot be read");
                    }
                    Err(error) => return Err(error.into()),
                }
                cursor = content.id;
                reading.blobs += 1;
                reading.bytes += content.size;
                saved += content.size;
                if saved >= SAVED {
                    saved = 0;
                    self.metadata.save_content_check(cursor, reading.resumed + reading.bytes).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn read_limit_spreads_the_bytes() {
        let limit = ReadLimit::new(Some(1_000_000));
        let begun = Instant::now();
        for _ in 0..50 {
            limit.charge(100_000).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!((4.9..5.1).contains(&seconds), "{seconds}");
        let unlimited = ReadLimit::new(None);
        let begun = Instant::now();
        unlimited.charge(u64::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
