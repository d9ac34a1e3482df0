//! Operations that continue if the client disconnects, so that a change with several steps is not cut short.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use store::StoreError;

use crate::Error;

/// Runs an operation to its end, even if the returned future is dropped.
///
/// While the client is connected, the operation runs on the task of the connection: received bytes are processed while
/// they are in the CPU cache. After a disconnect it continues on a task of its own, and its request body ends in an
/// error.
pub(crate) fn detach<T, S>(operation: S) -> DetachOnDrop<S>
where
    T: Send + 'static,
    S: Future<Output = Result<T, Error>> + Send + 'static,
{
    DetachOnDrop(Some(Box::pin(operation)))
}

/// An operation that is spawned when it is dropped unfinished.
pub(crate) struct DetachOnDrop<S: Future<Output: Send> + Send + 'static>(Option<Pin<Box<S>>>);

impl<T: Send, S: Future<Output = Result<T, Error>> + Send + 'static> Future for DetachOnDrop<S> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out during the poll, so that an operation that panics is not spawned.
        let Some(mut operation) = self.0.take() else {
            return Poll::Ready(Err(Error::Store(StoreError::Closed)));
        };
        let result = operation.as_mut().poll(cx);
        if result.is_pending() {
            self.0 = Some(operation);
        }
        result
    }
}

impl<S: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<S> {
    fn drop(&mut self) {
        if let Some(operation) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(operation);
        }
    }
}
