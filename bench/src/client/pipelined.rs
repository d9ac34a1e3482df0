//! The interface of a pipelined client, and the counts that it fills.

use std::time::Duration;

use anyhow::Result;

use super::stream::Stream;
use crate::statistics::Latencies;

/// The result of all requests.
pub(crate) struct Served {
    pub(crate) requests: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// The latency of each request, up to the end of its response.
    pub(crate) latencies: Latencies,
}

impl Served {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub(super) fn add(&mut self, latency: Duration) {
        self.requests += 1;
        self.latencies.add(latency);
    }
}

/// A non-blocking connection that sends requests and receives responses.
pub(super) trait PipelinedClient {
    fn stream(&self) -> &Stream;
    /// Sends the first requests.
    fn begin(&mut self) -> Result<()>;
    /// Reads all available bytes and sends one request for each complete response. Returns `false` when the
    /// connection takes no more requests.
    fn advance(&mut self, buffer: &mut [u8], served: &mut Served) -> Result<bool>;
}
