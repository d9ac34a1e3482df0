//! Response bodies: empty, bytes, a blob, or a stream from an upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use registry::mirror::{InUse, MirrorError};
use registry::records::{BlobStream, StoreError};
use tokio::sync::mpsc;

use crate::http::middleware::access_log::Exchange;
use crate::http::middleware::rate_limit::Throttle;
use crate::http::server::idle_timeout::IdleTimeout;

/// A response body. One enum for all kinds, without a trait object.
#[derive(Default)]
pub(crate) struct Body {
    content: Content,
    /// The access log entry. It ends when the body is dropped.
    exchange: Option<Exchange>,
    throttled: Option<Throttled>,
    /// Keeps the cached blob from being evicted.
    in_use: Option<InUse>,
}

/// The bandwidth limit of a body.
struct Throttled {
    throttle: Box<Throttle>,
    /// The rest of a piece that was larger than a chunk.
    rest: Bytes,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Full(Bytes),
    Blob {
        pieces: BlobStream,
        left: u64,
    },
    Upstream(UpstreamBody),
    /// Pieces from a channel.
    Channel(mpsc::Receiver<Bytes>),
    /// A blob that this registry is fetching.
    Arriving {
        pieces: Arriving,
        left: Option<u64>,
    },
}

/// The pieces of a blob that this registry is fetching.
pub(crate) type Arriving = Pin<Box<dyn Stream<Item = Result<Bytes, MirrorError>> + Send>>;

/// A body that an upstream sends.
struct UpstreamBody {
    body: Incoming,
    idle_timeout: IdleTimeout,
}

/// An incomplete body. The server cuts the connection: after the head, a client can detect missing bytes only
/// so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error("the registry behind the gateway broke off: {0}")]
    Upstream(String),
    #[error("the blob ended {0} bytes early")]
    Short(u64),
    #[error("the blob could not be fetched: {0}")]
    Mirror(MirrorError),
}

impl Body {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Full(bytes.into()), ..Self::default() }
    }

    pub(crate) fn blob(pieces: BlobStream) -> Self {
        let left = pieces.remaining();
        Self { content: Content::Blob { pieces, left }, ..Self::default() }
    }

    /// Makes a body from an upstream. `limit` is the timeout between two pieces.
    pub(crate) fn upstream(body: Incoming, limit: Duration) -> Self {
        Self {
            content: Content::Upstream(UpstreamBody { body, idle_timeout: IdleTimeout::new(limit) }),
            ..Self::default()
        }
    }

    /// Makes a body from a channel. It ends when the sender is dropped.
    pub(crate) fn channel(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { content: Content::Channel(pieces), ..Self::default() }
    }

    /// Makes a body from a blob that is being fetched. `length` is the number of its bytes, if it is known.
    pub(crate) fn arriving(pieces: Arriving, length: Option<u64>) -> Self {
        Self { content: Content::Arriving { pieces, left: length }, ..Self::default() }
    }

    /// Keeps a cached blob from being evicted until this body is dropped.
    pub(crate) fn hold(&mut self, in_use: InUse) {
        self.in_use = Some(in_use);
    }

    /// Returns the content, if it is in memory.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        if let Content::Full(bytes) = &self.content { Some(bytes) } else { None }
    }

    /// Returns the number of remaining bytes, if it is known.
    pub(crate) fn len(&self) -> Option<u64> {
        let held_back = self.throttled.as_ref().map_or(0, |throttled| throttled.rest.len() as u64);
        let content = match &self.content {
            Content::Empty => Some(0),
            Content::Full(bytes) => Some(bytes.len() as u64),
            Content::Blob { left, .. } => Some(*left),
            Content::Upstream(through) => http_body::Body::size_hint(&through.body).exact(),
            Content::Channel(_) => None,
            Content::Arriving { left, .. } => *left,
        };
        content.map(|content| content + held_back)
    }

    /// Sets the bandwidth limit.
    pub(crate) fn throttle(&mut self, throttle: Box<Throttle>) {
        self.throttled = Some(Throttled { throttle, rest: Bytes::new() });
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(Throttled { throttle, rest }) = &mut self.throttled else {
            return self.content.poll_piece(cx);
        };
        ready!(throttle.poll_ready(cx));
        if rest.is_empty() {
            match ready!(self.content.poll_piece(cx)) {
                Some(Ok(piece)) => *rest = piece,
                end => return Poll::Ready(end),
            }
        }
        let piece = rest.split_to(rest.len().min(throttle.chunk_size()));
        throttle.passed(piece.len());
        Poll::Ready(Some(Ok(piece)))
    }

    /// Ends the access log entry with this body.
    pub(crate) fn on_end(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }

    /// Takes the access log entry of a response that is not sent.
    pub(crate) fn take_exchange(&mut self) -> Option<Exchange> {
        self.exchange.take()
    }
}

impl Content {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (pieces, left) = match self {
            Self::Empty => return Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                return Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)));
            }
            Self::Blob { left: 0, .. } => {
                *self = Self::Empty;
                return Poll::Ready(None);
            }
            Self::Blob { pieces, left } => (pieces, left),
            Self::Upstream(through) => return through.poll_piece(cx),
            Self::Channel(pieces) => return pieces.poll_recv(cx).map(|piece| piece.map(Ok)),
            Self::Arriving { pieces, left } => {
                let piece = match ready!(pieces.as_mut().poll_next(cx)) {
                    Some(Ok(piece)) => {
                        *left = left.map(|left| left.saturating_sub(piece.len() as u64));
                        Ok(piece)
                    }
                    Some(Err(error)) => Err(BodyError::Mirror(error)),
                    None => match left {
                        None | Some(0) => return Poll::Ready(None),
                        Some(left) => Err(BodyError::Short(*left)),
                    },
                };
                return Poll::Ready(Some(piece));
            }
        };
        let piece = match ready!(Pin::new(pieces).poll_next(cx)) {
            Some(Ok(piece)) => {
                *left = left.saturating_sub(piece.len() as u64);
                Ok(piece)
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(BodyError::Short(*left)),
        };
        if let Err(error) = &piece {
            tracing::error!(%error, "a blob was not sent to its end");
        }
        Poll::Ready(Some(piece))
    }
}

impl UpstreamBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let reason = match http_body::Body::poll_frame(Pin::new(&mut self.body), cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) => {
                    self.idle_timeout.progress();
                    match frame.into_data() {
                        Ok(piece) => return Poll::Ready(Some(Ok(piece))),
                        // Trailers have no meaning in this protocol.
                        Err(_) => continue,
                    }
                }
                Poll::Ready(Some(Err(error))) => error.to_string(),
                Poll::Pending => {
                    ready!(self.idle_timeout.poll_exhausted(cx));
                    "the upstream sent nothing within the idle timeout".to_owned()
                }
            };
            tracing::error!(reason, "the registry behind the gateway did not send an answer to its end");
            return Poll::Ready(Some(Err(BodyError::Upstream(reason))));
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let piece = ready!(this.poll_piece(cx));
        if let (Some(Ok(piece)), Some(exchange)) = (&piece, &mut this.exchange) {
            exchange.sent(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Upstream(through) => {
                http_body::Body::is_end_stream(&through.body)
                    && self.throttled.as_ref().is_none_or(|throttled| throttled.rest.is_empty())
            }
            _ => self.len() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
