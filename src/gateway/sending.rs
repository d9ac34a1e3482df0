//! Bodies of requests on their way to an upstream: as they come in, nothing gathered, and never twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use registry::ReceiveError;
use tokio::time::Instant;

use crate::http::receive::Receiving;

/// The body of a request to an upstream. Clones are the same body: what one has sent no other can send again, and
/// whether anything was sent decides whether another upstream may be asked.
#[derive(Clone)]
pub(super) enum Sending {
    /// There is none.
    Nothing,
    /// Bytes at hand, which can be sent again.
    Whole(Option<Bytes>),
    /// Whatever comes from the client.
    Streamed(Arc<Mutex<Streamed>>),
}

pub(super) struct Streamed {
    receiving: Receiving,
    announced: Option<u64>,
    touched: bool,
    progress: Instant,
    broken: Option<ReceiveError>,
}

impl Sending {
    /// What a client sends, as it comes.
    pub(super) fn streamed(receiving: Receiving) -> Self {
        let announced = receiving.announced();
        if announced == Some(0) {
            return Self::Whole(Some(Bytes::new()));
        }
        let progress = Instant::now();
        let streamed = Streamed { receiving, announced, touched: false, progress, broken: None };
        Self::Streamed(Arc::new(Mutex::new(streamed)))
    }

    /// Whether nothing of it is gone, so that it can be sent from its beginning.
    pub(super) fn is_untouched(&self) -> bool {
        self.lock().is_none_or(|streamed| !streamed.touched)
    }

    /// When it was last asked for more; `None` for one that never waits for a client.
    pub(super) fn progress(&self) -> Option<Instant> {
        self.lock().map(|streamed| streamed.progress)
    }

    /// Why the client's body ended early, if it did.
    pub(super) fn broken(&self) -> Option<ReceiveError> {
        self.lock().and_then(|streamed| streamed.broken.clone())
    }

    fn lock(&self) -> Option<MutexGuard<'_, Streamed>> {
        match self {
            Self::Streamed(streamed) => Some(streamed.lock().unwrap_or_else(PoisonError::into_inner)),
            Self::Nothing | Self::Whole(_) => None,
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = ReceiveError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
        let streamed = match self.get_mut() {
            Self::Nothing => return Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Streamed(streamed) => streamed,
        };
        let mut streamed = streamed.lock().unwrap_or_else(PoisonError::into_inner);
        streamed.touched = true;
        let piece = ready!(Pin::new(&mut streamed.receiving).poll_next(cx));
        streamed.progress = Instant::now();
        if let Some(Err(error)) = &piece {
            streamed.broken = Some(error.clone());
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streamed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Streamed(_) => {
                let announced = self.lock().and_then(|streamed| streamed.announced);
                announced.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
