//! Operations that continue if the client disconnects, so that a change with several steps is not cut short.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use store::StoreError;
use tokio::sync::watch;

use crate::{Error, Registry};

/// The number of operations that run without their client.
#[derive(Clone)]
pub(crate) struct Detached(watch::Sender<usize>);

impl Default for Detached {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Detached {
    /// Waits until all have ended, at most for `limit`. Returns whether they have.
    pub(crate) async fn ended(&self, limit: Duration) -> bool {
        let mut running = self.0.subscribe();
        tokio::time::timeout(limit, running.wait_for(|running| *running == 0)).await.is_ok()
    }

    fn begin(&self) -> Running {
        self.0.send_modify(|running| *running += 1);
        Running(self.clone())
    }
}

/// A counted operation.
struct Running(Detached);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| *running -= 1);
    }
}

impl Registry {
    /// Runs an operation like [`detach`]. The registry waits for it before it closes.
    pub(crate) fn detach<T, S>(&self, operation: S) -> DetachOnDrop<S>
    where
        T: Send + 'static,
        S: Future<Output = Result<T, Error>> + Send + 'static,
    {
        detach(&self.inner.detached, operation)
    }
}

/// Runs an operation to its end, even if the returned future is dropped.
///
/// While the client is connected, the operation runs on the task of the connection: received bytes are
/// processed while they are in the CPU cache. After a disconnect it continues on a task of its own, and its
/// request body ends in an error.
fn detach<T, S>(detached: &Detached, operation: S) -> DetachOnDrop<S>
where
    T: Send + 'static,
    S: Future<Output = Result<T, Error>> + Send + 'static,
{
    DetachOnDrop { operation: Some(Box::pin(operation)), detached: detached.clone() }
}

/// An operation that is spawned when it is dropped unfinished.
pub(crate) struct DetachOnDrop<S: Future<Output: Send> + Send + 'static> {
    operation: Option<Pin<Box<S>>>,
    detached: Detached,
}

impl<T: Send, S: Future<Output = Result<T, Error>> + Send + 'static> Future for DetachOnDrop<S> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out during the poll, so that an operation that panics is not spawned.
        let Some(mut operation) = self.operation.take() else {
            return Poll::Ready(Err(Error::Store(StoreError::Closed)));
        };
        let result = operation.as_mut().poll(cx);
        if result.is_pending() {
            self.operation = Some(operation);
        }
        result
    }
}

impl<S: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<S> {
    fn drop(&mut self) {
        if let Some(operation) = self.operation.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let running = self.detached.begin();
            runtime.spawn(async move {
                let _running = running;
                operation.await
            });
        }
    }
}
