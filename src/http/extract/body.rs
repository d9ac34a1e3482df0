//! Request bodies, as a stream with idle timeout and bandwidth limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body;
use hyper::body::Incoming;
use registry::ReceiveError;
use tokio::task::JoinHandle;

use crate::http::middleware::rate_limit::Throttle;
use crate::http::middleware::recheck::Recheck;
use crate::http::middleware::request_metrics::Place;
use crate::http::server::connection::Connection;
use crate::http::server::idle_timeout::IdleTimeout;

/// The minimum rate of a body that is held in memory, in bytes per second.
const SLOWEST: u64 = 16 << 10;

/// A request body. It buffers nothing: its reader decides how much is in memory.
pub(crate) struct RequestBody {
    body: Incoming,
    connection: Arc<Connection>,
    place: Place,
    idle_timeout: IdleTimeout,
    limit: Duration,
    throttle: Option<Box<Throttle>>,
    recheck: Option<Box<Recheck>>,
    /// The recheck under way, after the last byte.
    rechecking: Option<JoinHandle<bool>>,
}

/// A body is larger than the limit of its reader.
pub(crate) struct TooLarge;

impl RequestBody {
    pub(crate) fn new(body: Incoming, connection: Arc<Connection>, place: Place, limit: Duration) -> Self {
        connection.set_receiving(!body.is_end_stream());
        Self {
            body,
            connection,
            place,
            idle_timeout: IdleTimeout::new(limit),
            limit,
            throttle: None,
            recheck: None,
            rechecking: None,
        }
    }

    /// Sets the bandwidth limit.
    pub(crate) fn throttle(&mut self, throttle: Box<Throttle>) {
        self.throttle = Some(throttle);
    }

    /// Sets the check at the end of the body. A body that is there already needs none.
    pub(crate) fn recheck(&mut self, recheck: impl FnOnce() -> Recheck) {
        if !self.body.is_end_stream() {
            self.recheck = Some(Box::new(recheck()));
        }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the announced length of the body.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Reads the body to its end, if it has at most `most` bytes. A larger body is not read further. A
    /// deadline bounds the time that a slow body is held in memory.
    pub(crate) async fn read_to_end(&mut self, most: usize) -> Result<Result<Bytes, TooLarge>, ReceiveError> {
        let length = self.announced().unwrap_or(most as u64);
        if length > most as u64 {
            return Ok(Err(TooLarge));
        }
        let deadline = self.limit.saturating_add(Duration::from_secs(length / SLOWEST));
        match tokio::time::timeout(deadline, self.gather(most)).await {
            Ok(gathered) => gathered,
            Err(_) => Err(ReceiveError::Slow(deadline.as_secs())),
        }
    }

    async fn gather(&mut self, most: usize) -> Result<Result<Bytes, TooLarge>, ReceiveError> {
        // The announced length is charged to the memory budget already. One allocation suffices.
        let announced = self.announced().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut gathered = BytesMut::with_capacity(announced.min(most));
        while let Some(piece) = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await {
            let piece = piece?;
            if gathered.len() + piece.len() > most {
                return Ok(Err(TooLarge));
            }
            gathered.extend_from_slice(&piece);
        }
        Ok(Ok(gathered.freeze()))
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, ReceiveError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(throttle) = &mut this.throttle {
            // A wait for the bandwidth limit does not count as idle time.
            std::task::ready!(throttle.poll_ready(cx));
        }
        loop {
            if let Some(rechecking) = &mut this.rechecking {
                let holds = std::task::ready!(Pin::new(rechecking).poll(cx)).unwrap_or(false);
                this.rechecking = None;
                return Poll::Ready(if holds { None } else { Some(Err(ReceiveError::Revoked)) });
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.idle_timeout.progress();
                    if let Ok(piece) = frame.into_data() {
                        this.connection.metrics().received(this.place, piece.len() as u64);
                        if let Some(throttle) = &this.throttle {
                            throttle.passed(piece.len());
                        }
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    // Trailers have no meaning here.
                }
                Poll::Ready(Some(Err(error))) => {
                    this.connection.set_receiving(false);
                    return Poll::Ready(Some(Err(ReceiveError::Torn(error.to_string()))));
                }
                Poll::Ready(None) => {
                    this.connection.set_receiving(false);
                    this.rechecking = this.recheck.take().and_then(|recheck| recheck.begin());
                    if this.rechecking.is_none() {
                        return Poll::Ready(None);
                    }
                }
                Poll::Pending => {
                    std::task::ready!(this.idle_timeout.poll_exhausted(cx));
                    return Poll::Ready(Some(Err(ReceiveError::Idle(this.limit.as_secs()))));
                }
            }
        }
    }
}
