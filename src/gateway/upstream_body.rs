//! Bodies of requests on their way to an upstream: as they come in, nothing gathered, and never twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use registry::ReceiveError;
use tokio::time::Instant;

use crate::http::extract::body::RequestBody;

/// The body of a request to an upstream. Clones are the same body: what one has sent no other can send again, and
/// whether anything was sent decides whether another upstream may be asked.
#[derive(Clone)]
pub(super) enum UpstreamBody {
    /// There is none.
    Nothing,
    /// Bytes at hand, which can be sent again.
    Whole(Option<Bytes>),
    /// Whatever comes from the client.
    Streamed(Arc<Mutex<Streamed>>),
}

pub(super) struct Streamed {
    receiving: RequestBody,
    announced: Option<u64>,
    room: SizeBudget,
    touched: bool,
    progress: Instant,
    broken: Option<Broken>,
}

/// How many bytes a blob may have, and how many of them are still to come.
#[derive(Clone, Copy)]
pub(super) struct SizeBudget {
    limit: Option<u64>,
    left: u64,
}

/// Why the body of a client did not go up whole.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The blob has more bytes than it may.
    #[error("the blob has more than {0} bytes")]
    TooLarge(u64),
}

impl SizeBudget {
    /// With `limit` bytes in all, or as many as there are, of which `begun` have come before.
    pub(super) fn beside(limit: Option<u64>, begun: u64) -> Self {
        Self { limit, left: limit.map_or(u64::MAX, |limit| limit.saturating_sub(begun)) }
    }

    /// Takes so many bytes.
    fn take(&mut self, bytes: u64) -> Result<(), Broken> {
        match (self.limit, self.left.checked_sub(bytes)) {
            (Some(limit), None) => Err(Broken::TooLarge(limit)),
            (Some(_), Some(left)) => {
                self.left = left;
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }
}

impl UpstreamBody {
    /// What a client sends, as it comes, if there is room for it.
    ///
    /// # Errors
    /// That it says itself that there is not.
    pub(super) fn streamed(receiving: RequestBody, room: SizeBudget) -> Result<Self, Broken> {
        let announced = receiving.announced();
        let mut enough = room;
        enough.take(announced.unwrap_or(0))?;
        if announced == Some(0) {
            return Ok(Self::Whole(Some(Bytes::new())));
        }
        let progress = Instant::now();
        let streamed = Streamed { receiving, announced, room, touched: false, progress, broken: None };
        Ok(Self::Streamed(Arc::new(Mutex::new(streamed))))
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
    pub(super) fn broken(&self) -> Option<Broken> {
        self.lock().and_then(|streamed| streamed.broken.clone())
    }

    fn lock(&self) -> Option<MutexGuard<'_, Streamed>> {
        match self {
            Self::Streamed(streamed) => Some(streamed.lock().unwrap_or_else(PoisonError::into_inner)),
            Self::Nothing | Self::Whole(_) => None,
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
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
        let piece = piece.map(|piece| {
            let piece = piece?;
            streamed.room.take(piece.len() as u64)?;
            Ok(piece)
        });
        if let Some(Err(error)) = &piece {
            let error: &Broken = error;
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
