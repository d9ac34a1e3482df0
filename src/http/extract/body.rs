//! Request bodies, as a stream with idle timeout, bandwidth limit and revocation.

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
use crate::http::middleware::request_metrics::Place;
use crate::http::middleware::revocation::RevocationCheck;
use crate::http::server::connection::Connection;
use crate::http::server::idle_timeout::IdleTimeout;

/// The minimum rate of a body that is held in memory, in bytes per second.
const SLOWEST: u64 = 16 << 10;

/// A request body. It buffers nothing: its reader decides how much is in memory.
pub(crate) struct RequestBody {
    /// `None` for a body that has nothing to send.
    body: Option<Incoming>,
    connection: Arc<Connection>,
    place: Place,
    idle_timeout: IdleTimeout,
    limit: Duration,
    throttle: Option<Box<Throttle>>,
    checked: Option<Box<Checked>>,
}

/// A body whose request is authorized again before a piece goes on.
struct Checked {
    check: RevocationCheck,
    /// The result of a poll that waits for the check.
    held: Option<Option<Result<Bytes, ReceiveError>>>,
}

/// A body is larger than the limit of its reader.
pub(crate) struct TooLarge;

impl RequestBody {
    pub(crate) fn new(body: Incoming, connection: Arc<Connection>, place: Place, limit: Duration) -> Self {
        connection.set_receiving(!body.is_end_stream());
        Self {
            body: Some(body),
            connection,
            place,
            idle_timeout: IdleTimeout::new(limit),
            limit,
            throttle: None,
            checked: None,
        }
    }

    /// Returns an empty body on the same connection.
    pub(crate) fn empty(&self) -> Self {
        let (connection, place) = (self.connection.clone(), self.place);
        let idle_timeout = IdleTimeout::new(self.limit);
        Self { body: None, connection, place, idle_timeout, limit: self.limit, throttle: None, checked: None }
    }

    /// Sets the bandwidth limit.
    pub(crate) fn throttle(&mut self, throttle: Box<Throttle>) {
        self.throttle = Some(throttle);
    }

    /// Whether a part of the body may still have to arrive.
    pub(crate) fn is_awaited(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_end_stream())
    }

    /// Ends the body with [`ReceiveError::Revoked`] once its request is no longer allowed.
    pub(crate) fn end_on_revocation(&mut self, check: RevocationCheck) {
        self.checked = Some(Box::new(Checked { check, held: None }));
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the announced length of the body.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact())
    }

    /// Reads the body to its end, if it has at most `most` bytes. A larger body is not read further. A
    /// deadline bounds the time that a slow body is held in memory: `timeout`, and the time of its length at
    /// the minimum rate.
    pub(crate) async fn read_to_end(
        &mut self,
        most: usize,
        timeout: Duration,
    ) -> Result<Result<Bytes, TooLarge>, ReceiveError> {
        let length = self.announced().unwrap_or(most as u64);
        if length > most as u64 {
            return Ok(Err(TooLarge));
        }
        let deadline = timeout.saturating_add(Duration::from_secs(length / SLOWEST));
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

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReceiveError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Some(throttle) = &mut self.throttle {
            // A wait for the bandwidth limit does not count as idle time.
            std::task::ready!(throttle.poll_ready(cx));
        }
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.idle_timeout.progress();
                    if let Ok(piece) = frame.into_data() {
                        self.connection.metrics().received(self.place, piece.len() as u64);
                        if let Some(throttle) = &self.throttle {
                            throttle.passed(piece.len());
                        }
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    // Trailers have no meaning here.
                }
                Poll::Ready(Some(Err(error))) => {
                    self.connection.set_receiving(false);
                    return Poll::Ready(Some(Err(ReceiveError::Torn(error.to_string()))));
                }
                Poll::Ready(None) => {
                    self.connection.set_receiving(false);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    std::task::ready!(self.idle_timeout.poll_exhausted(cx));
                    return Poll::Ready(Some(Err(ReceiveError::Idle(self.limit.as_secs()))));
                }
            }
        }
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, ReceiveError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let held = this.checked.as_mut().and_then(|checked| checked.held.take());
        let piece = match held {
            Some(piece) => piece,
            None => std::task::ready!(this.poll_piece(cx)),
        };
        let Some(checked) = &mut this.checked else { return Poll::Ready(piece) };
        match checked.check.poll_allowed(cx, piece.is_none()) {
            Poll::Ready(Ok(())) => Poll::Ready(piece),
            Poll::Ready(Err(refused)) => Poll::Ready(Some(Err(refused))),
            Poll::Pending => {
                checked.held = Some(piece);
                Poll::Pending
            }
        }
    }
}
