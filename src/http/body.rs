//! Bodies of answers: nothing, some bytes, or a blob as it is read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use store::StoreError;
use store::blobs::files::Pieces;

use super::access_log::Exchange;
use super::allowance::Pace;

/// The body of an answer. One type for all of them, so that none is behind a trait object.
#[derive(Default)]
pub(crate) struct Body {
    content: Content,
    /// Ends when the body is dropped: it was sent, or will never be.
    exchange: Option<Exchange>,
    paced: Option<Paced>,
}

/// A body that may not be sent as fast as it can be.
struct Paced {
    pace: Box<Pace>,
    /// The rest of a piece that was too large to be sent at once.
    rest: Bytes,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Full(Bytes),
    /// Boxed, since it is large beside the bodies of most answers.
    Blob {
        pieces: Box<Pieces>,
        left: u64,
    },
}

/// Why a blob could not be sent to its end. The server breaks the connection on it: the client has seen the length
/// and part of the content, and only so can it tell that the rest is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// It ended before its length.
    #[error("the blob ended {0} bytes early")]
    Short(u64),
}

impl Body {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Full(bytes.into()), exchange: None, paced: None }
    }

    pub(crate) fn blob(pieces: Pieces) -> Self {
        let left = pieces.remaining();
        Self { content: Content::Blob { pieces: Box::new(pieces), left }, exchange: None, paced: None }
    }

    /// How many bytes are still to come.
    pub(crate) fn len(&self) -> u64 {
        let held_back = self.paced.as_ref().map_or(0, |paced| paced.rest.len() as u64);
        held_back
            + match &self.content {
                Content::Empty => 0,
                Content::Full(bytes) => bytes.len() as u64,
                Content::Blob { left, .. } => *left,
            }
    }

    /// Has it sent no faster than this.
    pub(crate) fn keep(&mut self, pace: Box<Pace>) {
        self.paced = Some(Paced { pace, rest: Bytes::new() });
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(Paced { pace, rest }) = &mut self.paced else { return self.content.poll_piece(cx) };
        ready!(pace.poll_ready(cx));
        if rest.is_empty() {
            match ready!(self.content.poll_piece(cx)) {
                Some(Ok(piece)) => *rest = piece,
                end => return Poll::Ready(end),
            }
        }
        let piece = rest.split_to(rest.len().min(pace.gulp()));
        pace.passed(piece.len());
        Poll::Ready(Some(Ok(piece)))
    }

    /// Has the exchange end with this body.
    pub(crate) fn ends(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
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
        };
        let piece = match ready!(Pin::new(&mut **pieces).poll_next(cx)) {
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
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
