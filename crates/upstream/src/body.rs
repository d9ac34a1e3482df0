//! Bodies of requests to an upstream: streamed without a buffer, and sent at most once.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The body of a request to an upstream. Clones of a stream share it: bytes that one clone has sent are gone
/// for the others. So a stream that was polled rules out a retry and a fail-over.
#[derive(Clone)]
pub struct OutgoingBody(Content);

#[derive(Clone)]
enum Content {
    Empty,
    /// Taken when it is sent. A clone can send it again.
    Bytes(Option<Bytes>),
    Stream(Arc<Mutex<Source>>),
}

struct Source {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>,
    length: Option<u64>,
    is_polled: bool,
    progress: Instant,
    error: Option<SourceError>,
}

/// The error of the stream that a request's body was read from.
#[derive(Clone)]
pub struct SourceError(Arc<dyn std::error::Error + Send + Sync>);

impl SourceError {
    /// Returns the stream's own error, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl OutgoingBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Content::Empty)
    }

    /// A body in memory, which can be sent again.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self(Content::Bytes(Some(bytes)))
    }

    /// A stream, whose length in bytes is announced to the upstream if it is known.
    pub fn stream<S, E>(stream: S, length: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let stream = Box::pin(Erased(stream));
        let source = Source { stream, length, is_polled: false, progress: Instant::now(), error: None };
        Self(Content::Stream(Arc::new(Mutex::new(source))))
    }

    /// Whether no byte was read yet, so that the body can be sent from its beginning.
    pub(crate) fn is_untouched(&self) -> bool {
        self.lock().is_none_or(|source| !source.is_polled)
    }

    /// When the stream last yielded, or was created. `None` for bodies that never wait.
    pub(crate) fn progress(&self) -> Option<Instant> {
        self.lock().map(|source| source.progress)
    }

    /// The error of the stream, if it failed.
    pub(crate) fn error(&self) -> Option<SourceError> {
        self.lock().and_then(|source| source.error.clone())
    }

    fn lock(&self) -> Option<MutexGuard<'_, Source>> {
        match &self.0 {
            Content::Stream(source) => Some(source.lock().unwrap_or_else(PoisonError::into_inner)),
            Content::Empty | Content::Bytes(_) => None,
        }
    }
}

/// A stream whose error type is erased.
struct Erased<S>(S);

impl<S, E> Stream for Erased<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    type Item = Result<Bytes, SourceError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(Pin::new(&mut self.get_mut().0).poll_next(cx));
        Poll::Ready(chunk.map(|chunk| chunk.map_err(|error| SourceError(Arc::new(error)))))
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let source = match &mut self.get_mut().0 {
            Content::Empty => return Poll::Ready(None),
            Content::Bytes(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Content::Stream(source) => source,
        };
        let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
        source.is_polled = true;
        let chunk = ready!(source.stream.as_mut().poll_next(cx));
        source.progress = Instant::now();
        if let Some(Err(error)) = &chunk {
            source.error = Some(error.clone());
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Empty => true,
            Content::Bytes(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Empty => SizeHint::with_exact(0),
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Stream(_) => {
                let length = self.lock().and_then(|source| source.length);
                length.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[derive(Debug, thiserror::Error, PartialEq)]
    #[error("the client left")]
    struct Left;

    struct Chunks(Vec<Result<Bytes, Left>>);

    impl Stream for Chunks {
        type Item = Result<Bytes, Left>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop())
        }
    }

    async fn next(body: &mut OutgoingBody) -> Option<Result<Bytes, SourceError>> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }

    #[tokio::test]
    async fn bytes_are_sent_again_by_a_clone() {
        let body = OutgoingBody::bytes(Bytes::from_static(b"{}"));
        for _ in 0..2 {
            let mut sent = body.clone();
            assert_eq!(next(&mut sent).await.unwrap().unwrap(), "{}");
            assert!(next(&mut sent).await.is_none());
            assert!(body.is_untouched());
        }
    }

    #[tokio::test]
    async fn stream_is_shared_and_keeps_its_error() {
        let chunks = Chunks(vec![Err(Left), Ok(Bytes::from_static(b"a"))]);
        let body = OutgoingBody::stream(chunks, Some(2));
        assert_eq!(body.size_hint().exact(), Some(2));
        assert!(body.is_untouched() && body.error().is_none());
        let mut sent = body.clone();
        assert_eq!(next(&mut sent).await.unwrap().unwrap(), "a");
        assert!(!body.is_untouched());
        next(&mut sent).await.unwrap().unwrap_err();
        assert_eq!(body.error().unwrap().downcast_ref(), Some(&Left));
    }
}
