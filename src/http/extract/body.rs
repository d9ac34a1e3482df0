//! Bodies of requests, as they come in.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body;
use hyper::body::Incoming;
use registry::ReceiveError;

use crate::http::middleware::rate_limit::Throttle;
use crate::http::server::connection::Connection;
use crate::http::server::idle_timeout::IdleTimeout;

/// How fast a body has to come that is held in memory, in bytes a second.
const SLOWEST: u64 = 16 << 10;

/// The body of a request. Nothing of it is gathered here: who polls it decides how much is in memory.
pub(crate) struct RequestBody {
    body: Incoming,
    connection: Arc<Connection>,
    idle_timeout: IdleTimeout,
    limit: Duration,
    throttle: Option<Box<Throttle>>,
}

/// A body that was to be held in memory is larger than it may be.
pub(crate) struct TooLarge;

impl RequestBody {
    pub(crate) fn new(body: Incoming, connection: Arc<Connection>, limit: Duration) -> Self {
        connection.set_receiving(!body.is_end_stream());
        Self { body, connection, idle_timeout: IdleTimeout::new(limit), limit, throttle: None }
    }

    /// Has it received no faster than this.
    pub(crate) fn keep(&mut self, throttle: Box<Throttle>) {
        self.throttle = Some(throttle);
    }

    /// The idle timeout.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// How long the body is, if the head of the request says so.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The whole body, if it has no more than `most` bytes. One that is said or found to be larger is not read
    /// to its end. However steadily its bytes drip in, there is a deadline, because it is held in memory.
    pub(crate) async fn whole(&mut self, most: usize) -> Result<Result<Bytes, TooLarge>, ReceiveError> {
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
        // What is announced is charged by now, so that its memory can be had at once, and given back as one piece.
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
            // Nothing is waited for but our own leave, which is not held against the client.
            std::task::ready!(throttle.poll_ready(cx));
        }
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.idle_timeout.progress();
                    if let Ok(piece) = frame.into_data() {
                        if let Some(throttle) = &this.throttle {
                            throttle.passed(piece.len());
                        }
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    // Trailers, which mean nothing here.
                }
                Poll::Ready(Some(Err(error))) => {
                    // There is nothing left to be received, and nobody to wait for.
                    this.connection.set_receiving(false);
                    return Poll::Ready(Some(Err(ReceiveError::Torn(error.to_string()))));
                }
                Poll::Ready(None) => {
                    this.connection.set_receiving(false);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    std::task::ready!(this.idle_timeout.poll_exhausted(cx));
                    return Poll::Ready(Some(Err(ReceiveError::Idle(this.limit.as_secs()))));
                }
            }
        }
    }
}
